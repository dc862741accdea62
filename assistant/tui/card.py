"""The approval card: everything a person must see before a change, as lines. Pure; its text is what `shown` digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from assistant.domain.action import RiskLevel
from assistant.domain.proposal import CheckResult, DiffLine, LineOrigin, Proposal
from assistant.policy.sanitize import safe
from assistant.tui.lines import BLANK, Given, Line, Tone, as_text, block, columns, line
from assistant.tui.transcript import clock

LONGEST_BODY = 256 * 1024
"""Characters of a request body that one card shows; a longer one cannot be reviewed, so it cannot be approved."""

TABS = ("Diff", "Impact", "Checks", "Action", "Undo")
"""What the one pane of a narrow screen can show."""

CHECK_TONES = {
    CheckResult.PASS: Tone.GOOD, CheckResult.WARN: Tone.WARN, CheckResult.FAIL: Tone.BAD,
    CheckResult.UNKNOWN: Tone.WARN,
}  # fmt: skip
CHECK_WORDS = {
    CheckResult.PASS: "pass", CheckResult.WARN: "WARN", CheckResult.FAIL: "FAIL", CheckResult.UNKNOWN: "UNKNOWN",
}  # fmt: skip


def why_not_approvable(proposal: Proposal) -> str:
    """Return why nobody may approve this here, "" where it may be approved."""
    if proposal.not_approvable:
        return proposal.not_approvable
    if proposal.second is not None and proposal.second.missing:
        return f"a second person has to sign: pilothouse approvals export {proposal.id}"
    if len(proposal.action.body) > LONGEST_BODY:
        return f"the request body has {len(proposal.action.body):,} characters and cannot be shown whole"
    return ""


def countdown(proposal: Proposal, now: datetime) -> str:
    """Return `04:31`, or "expired"."""
    left = int((proposal.expires - now).total_seconds())
    return f"{left // 60:02d}:{left % 60:02d}" if left > 0 else "expired"


def risk_tone(level: RiskLevel) -> Tone:
    """Return how a risk level stands out; its word is always printed too."""
    return {RiskLevel.LOW: Tone.GOOD, RiskLevel.MEDIUM: Tone.WARN, RiskLevel.HIGH: Tone.BAD}.get(level, Tone.ALERT)


def action_lines(proposal: Proposal) -> list[Line]:
    """Return WHAT WILL RUN: verb, object, place, and the same as a kubectl line."""
    action, target = proposal.action, proposal.action.target
    place = f"namespace {target.namespace}" if target.namespace else "object of the whole cluster"
    return columns([
        ("what", (f"{action.method} {target.api_version} {target.kind} {target.name}", Tone.STRONG)),
        ("where", f"{place}   cluster {proposal.cluster}   as {proposal.identity}"),
        ("same as", (proposal.kubectl or "no kubectl equivalent", Tone.CODE)),
    ])  # fmt: skip


def request_lines(proposal: Proposal) -> list[Line]:
    """Return the exact request but its body: path, query, type, preconditions."""
    action, target = proposal.action, proposal.action.target
    rows: list[tuple[str, Given]] = [("path", action.path)]
    rows += [("query", f"{name}={value}") for name, value in action.query]
    if action.content_type:
        rows.append(("type", action.content_type))
    if proposal.resource_version:
        rows.append(("only if", f"resourceVersion is {proposal.resource_version}"))
    if target.uid:
        rows.append(("uid", target.uid))
    return columns(rows)


def body_lines(proposal: Proposal) -> list[Line]:
    """Return the request body in full, as it will be sent; JSON is also laid out where that changes nothing."""
    body = proposal.action.body
    if not body:
        return [line((" no body", Tone.MUTED))]
    if len(body) > LONGEST_BODY:
        return [line((f" {why_not_approvable(proposal)}", Tone.BAD), hang=1)]
    return block(_laid_out(body), Tone.CODE, indent=1)


def _laid_out(body: str) -> str:
    try:
        value = json.loads(body)
    except ValueError:
        return body
    if not isinstance(value, dict | list):
        return body
    if len(json.dumps(value, separators=(",", ":"), ensure_ascii=False)) != len("".join(_squeezed(body))):
        # Repeated keys or odd number forms: the layout would hide something, so the bytes are shown as they are.
        return body
    return json.dumps(value, indent=2, ensure_ascii=False)


def _squeezed(body: str) -> list[str]:
    kept, inside, escaped = [], False, False
    for char in body:
        if inside:
            kept.append(char)
            inside = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char not in " \t\r\n":
            kept.append(char)
            inside = char == '"'
    return kept


def why_lines(proposal: Proposal) -> list[Line]:
    """Return WHY: the reason, what it rests on and who asked."""
    origin = proposal.origin
    rests = " ".join(origin.evidence) or "nothing"
    rows: list[tuple[str, Given]] = [
        ("why", origin.why or ("no reason given", Tone.WARN)),
        ("rests on", (rests, Tone.ACCENT if origin.evidence else Tone.WARN)),
        ("asked by", origin.who + (f" ({origin.kind})" if origin.client else "")),
    ]
    if (second := proposal.second) is not None:
        agreed = f"{' and '.join(second.agreed)} agreed" if second.agreed else "nobody has agreed yet"
        people = f"; one of {', '.join(second.people)} can" if second.missing and second.people else ""
        alone = "; one may break the glass (approvals approve --break-glass)" if second.break_glass else ""
        rows.append(
            ("two people", (f"{second.rule}; {agreed}{people}{alone}", Tone.WARN if second.missing else Tone.GOOD))
        )
    if proposal.approvable_if:
        rows.append(("to approve", (proposal.approvable_if, Tone.WARN)))
    return columns(rows)


def check_lines(proposal: Proposal) -> list[Line]:
    """Return CHECKS, one a line."""
    if not proposal.checks:
        return [line((" no check could be made", Tone.BAD))]
    width = max(len(safe(check.name)) for check in proposal.checks)
    return [
        line(
            " ", (f"{CHECK_WORDS[check.result]:<7} ", CHECK_TONES[check.result]), f"{check.name:<{width}}  ",
            check.text, hang=11 + width,
        )
        for check in proposal.checks
    ]  # fmt: skip


def impact_lines(proposal: Proposal) -> list[Line]:
    """Return BLAST RADIUS; a counted part says "at least"."""
    if not proposal.impact:
        return [line((" not known", Tone.WARN))]
    return columns([(i.heading, f"at least {i.text}" if i.at_least else i.text) for i in proposal.impact])


def risk_lines(proposal: Proposal) -> list[Line]:
    """Return RISK with the rules that fired."""
    word = (f" {proposal.risk.level.value.upper()} ", risk_tone(proposal.risk.level))
    reasons = "; ".join(proposal.risk.reasons) or "no rule fired"
    return [line((" RISK", Tone.HEADING), " ", word, " ", reasons, hang=6)]


def undo_lines(proposal: Proposal) -> list[Line]:
    """Return UNDO, or "none" in plain words."""
    tone = Tone.PLAIN if proposal.undo.action else Tone.WARN
    out = [line(" ", (proposal.undo.text or "none", tone), hang=1)]
    if (action := proposal.undo.action) is not None:
        out.append(line((f" {action.method} {action.path}", Tone.MUTED), hang=3))
    return out


def before_lines(proposal: Proposal) -> list[Line]:
    """Return the whole object that a delete takes away, [] for other changes."""
    if not proposal.undo.before:
        return []
    return [line((" OBJECT NOW", Tone.HEADING)), *block(proposal.undo.before.rstrip("\n"), Tone.CODE, indent=1)]


def diff_lines(proposal: Proposal, *, hidden: bool = False) -> list[Line]:
    """Return the diff: our lines, then what the server changes by itself, then bookkeeping (folded unless `hidden`)."""
    ours = [d for d in proposal.diff if d.origin is LineOrigin.OURS]
    server = [d for d in proposal.diff if d.origin is LineOrigin.SERVER]
    rest = [d for d in proposal.diff if d.origin is LineOrigin.HIDDEN]
    out = [_diff_line(d) for d in ours] or [line(("no line of the object changes", Tone.WARN))]
    if server:
        out += [BLANK, line(("set by the server, not by us", Tone.HEADING)), *(_diff_line(d) for d in server)]
    if rest:
        hint = "h hides" if hidden else "h shows"
        out += [
            BLANK,
            line((f"bookkeeping: {len(rest)} lines (managedFields, status)", Tone.MUTED), right=[(hint, Tone.MUTED)]),
        ]
        out += [_diff_line(d) for d in rest] if hidden else []
    return [*out, BLANK, line((f"end of diff, {len(proposal.diff)} lines", Tone.MUTED))]


def _diff_line(given: DiffLine) -> Line:
    tone = {"+": Tone.ADDED, "-": Tone.REMOVED, "@": Tone.HEADING}.get(given.sign, Tone.PLAIN)
    sign = "@@" if given.sign == "@" else given.sign
    return line((f"{sign:<3}{given.text}", tone), hang=5)


def diff_count(proposal: Proposal) -> str:
    """Return `+3 -0`, our own lines only."""
    ours = [d.sign for d in proposal.diff if d.origin is LineOrigin.OURS]
    return f"+{ours.count('+')} -{ours.count('-')}"


def facts(proposal: Proposal, as_of: str = "") -> list[Line]:
    """Return everything but the diff, in the order in which one decides; `as_of` replaces the local time."""

    def title(text: str, right: Sequence[Given] = ()) -> Line:
        return line((f" {text}", Tone.HEADING), right=right)

    made = (f"as of {as_of or clock(proposal.created)} ", Tone.MUTED)
    out = [title("WHAT WILL RUN"), *action_lines(proposal), *risk_lines(proposal), title("WHY"), *why_lines(proposal)]
    out += [title("CHECKS", [made]), *check_lines(proposal), title("BLAST RADIUS"), *impact_lines(proposal)]
    out += [title("UNDO"), *undo_lines(proposal)]
    out += [title("EXACT REQUEST"), *request_lines(proposal), title("BODY"), *body_lines(proposal)]
    return out + before_lines(proposal)


def shown_digest(proposal: Proposal) -> str:
    """Return the SHA-256 of the card's text: the facts, the whole diff and the digest that an approval binds."""
    # In UTC, so that the hash can be computed again wherever the log is read.
    made = f"{proposal.created.astimezone(UTC):%H:%M:%S}"
    text = as_text([*facts(proposal, made), *diff_lines(proposal, hidden=True)])
    return hashlib.sha256(f"{proposal.id}\n{proposal.digest}\n{text}".encode()).hexdigest()


def brief_lines(proposal: Proposal) -> list[Line]:
    """Return the three lines that stand above the one pane of a narrow screen."""
    action = proposal.action
    only_if = f"  if resourceVersion {proposal.resource_version}" if proposal.resource_version else ""
    checks: list[Given] = [" "]
    for check in proposal.checks:
        checks += [f"{check.name} ", (CHECK_WORDS[check.result], CHECK_TONES[check.result]), ("  ", Tone.MUTED)]
    first = line((f" {action.method} {action.target}", Tone.STRONG), (only_if, Tone.MUTED))
    return [first, *risk_lines(proposal), line(*checks)]


def tab_row(proposal: Proposal, chosen: int) -> Line:
    """Return the tabs of a narrow screen, the chosen one in brackets."""
    given: list[Given] = []
    for index, name in enumerate(TABS):
        text = f"{index + 1} {name}"
        given.append((f"[{text}]", Tone.HEADING) if index == chosen else (f" {text} ", Tone.MUTED))
    return line(*given, right=[f"{diff_count(proposal)} "])


def pane_lines(proposal: Proposal, tab: int, *, hidden: bool) -> list[Line]:
    """Return a tab of the one pane of a narrow screen; the first one is the diff."""
    match TABS[tab]:
        case "Impact":
            return [*impact_lines(proposal), BLANK, *risk_lines(proposal)]
        case "Checks":
            return [*check_lines(proposal), BLANK, *why_lines(proposal)]
        case "Action":
            title = line((" BODY", Tone.HEADING))
            return [*action_lines(proposal), *request_lines(proposal), title, *body_lines(proposal)]
        case "Undo":
            return [*undo_lines(proposal), *before_lines(proposal)]
        case _:
            return diff_lines(proposal, hidden=hidden)
