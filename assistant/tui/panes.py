"""The case pane and the rows around every screen, as lines: its five tabs, identity and status."""

from __future__ import annotations

from datetime import datetime

from assistant.domain.case import Case, ProposalCase
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role
from assistant.domain.plan import StepStatus
from assistant.domain.proposal import ProposalState
from assistant.policy.sanitize import cell_width, clip
from assistant.tui.asked import asked_count
from assistant.tui.card import countdown, risk_tone
from assistant.tui.lines import BLANK, Given, Line, Tone, line
from assistant.tui.quotes import readable
from assistant.tui.thinking import board_items, hypothesis_at, hypothesis_detail, spent_parts
from assistant.tui.transcript import clock, plan_lines

TABS = ("Evidence", "Findings", "Changes", "Plan", "Board")
PLAN = TABS.index("Plan")
BOARD = TABS.index("Board")
ROLE_WORDS = {Role.ROOT_CAUSE: "ROOT CAUSE", Role.CONSEQUENCE: "follows", Role.NOTE: "note"}


GIVE_WAY = (PLAN, 0, BOARD, 1, 2)
"""Whose count is left out first where the row is short."""
BOARD_IS_FOR = (
    "Here stands what it might be, with what speaks for and against, while a language model looks for the cause. "
    "Strike one (s) and it is not looked into; pin one (m) and it is decided first."
)
ENDED_UNSENT = frozenset({ProposalState.WITHDRAWN, ProposalState.EXPIRED, ProposalState.DENIED, ProposalState.VOID})
"""Nothing was sent: the remedy behind such a proposal can be examined anew."""


def tab_line(case: Case, chosen: int, width: int = 80) -> Line:
    """Return the row of tabs; the chosen one stands in brackets, the counts of the others give way first."""
    changes = len(case.proposals) or len(case.remedies)
    counts = (len(case.evidence), len(case.findings), changes, len(case.plan), len(case.board))
    names = [f"{name} {count}" for name, count in zip(TABS, counts, strict=True)]
    names[BOARD] = names[BOARD] if case.board else TABS[BOARD]  # without a model it stays empty
    pad = " " if sum(map(len, names)) + 2 * len(names) <= width else ""
    for index in (each for each in GIVE_WAY if each != chosen):
        if sum(map(len, names)) + len(names) + 1 > width:
            names[index] = TABS[index]
    given: list[Given] = []
    for index, name in enumerate(names):
        given.append((f"[{name}]", Tone.HEADING) if index == chosen else (f"{pad}{name} ", Tone.MUTED))
    return line(*given)


def tab_lines(case: Case, chosen: int, now: datetime) -> list[Line]:
    """Return the items of a tab, or what will be there."""
    match chosen:
        case 0:
            items = [each for evidence in case.evidence for each in evidence_item(evidence)]
            return items or _empty("No evidence yet.", "What is read from the cluster and cited stands here.")
        case 1:
            items = [each for finding in case.findings for each in finding_item(finding, case.mind)]
            return items or _empty("No findings yet.", "Each names the evidence that it rests on.")
        case 2:
            items = change_items(case, now)
            return items or _empty("No change is proposed.", "Nothing runs before a person approves it.")
        case 3:
            return plan_lines(case.plan) or _empty("No plan yet.", "Ask something first: i, then type.")
        case _:
            return board_items(case) or _empty("Nothing is on the board.", BOARD_IS_FOR)


def _empty(what: str, then: str) -> list[Line]:
    return [line((what, Tone.MUTED)), line((then, Tone.MUTED), hang=2)]


def _short_request(evidence: Evidence) -> str:
    if evidence.target is not None:
        kind, name = evidence.target.kind, evidence.target.name
        # An Event is named after its object, then a dot and a time in hexadecimal (client-go, record.EventRecorder).
        return f"{kind} {name.rpartition('.')[0] if kind == 'Event' and '.' in name else name}"
    return evidence.request.split("?")[0].rsplit("/", 2)[-1]


def evidence_item(evidence: Evidence) -> list[Line]:
    """Return one item of the evidence list: id, about what, when; then the quote."""
    ref = evidence.id
    right = [(clock(evidence.at), Tone.MUTED)]
    quote = readable(evidence.quote) if evidence.quote else "(no quote)"
    return [
        line((f"{evidence.id} ", Tone.ACCENT), _short_request(evidence), hang=4, right=right, ref=ref),
        line(("   ", Tone.MUTED), (clip(quote, 160), Tone.CODE), hang=3, ref=ref),
    ]


def finding_item(finding: Finding, mind: str = "expert") -> list[Line]:
    """Return one finding: what does not carry it is said first, who claims it where that is not the turn's `mind`."""
    ref = finding.id
    tone = Tone.MUTED if finding.role is not Role.ROOT_CAUSE else Tone.WARN if finding.unsupported else Tone.BAD
    head: list[Given] = [(f"{finding.id} ", Tone.ACCENT), (ROLE_WORDS[finding.role], tone), f"  {finding.target}"]
    right: list[Given] = [(f"by {clip(finding.by, 24)} ", Tone.MUTED)] if finding.by != mind else []
    right.append((f"{finding.confidence:.0%}", Tone.STRONG))
    out = [line(*head, hang=4, right=right, ref=ref), line(f"   {finding.summary}", hang=3, ref=ref)]
    if finding.unsupported:
        out.insert(1, line((f"   unsupported: {finding.unsupported}", Tone.WARN), hang=5, ref=ref))
    if finding.field:
        out.append(line(("   field ", Tone.MUTED), (finding.field, Tone.CODE), hang=9, ref=ref))
    cited = " ".join(finding.evidence)
    guess = "nothing" if finding.unsupported else "unsupported: a guess"
    rests: Given = (cited, Tone.ACCENT) if cited else (guess, Tone.WARN)
    explains = f"   explains {' '.join(finding.explains)}" if finding.explains else ""
    out.append(line(("   rests on ", Tone.MUTED), rests, (explains, Tone.MUTED), hang=5, ref=ref))
    if finding.outside:
        out.append(line(("   outside the cluster: ", Tone.WARN), finding.outside, hang=5, ref=ref))
    return out


def change_items(case: Case, now: datetime) -> list[Line]:
    """Return the proposals, newest first, then the remedies that nobody has submitted."""
    out: list[Line] = []
    for known in reversed(case.proposals):
        out += proposal_item(known, now)
    taken = {known.proposal.origin.remedy for known in case.proposals if known.state not in ENDED_UNSENT}
    for remedy in case.remedies:
        if remedy.id in taken:
            continue
        ref = f"remedy:{remedy.id}"
        risk = (remedy.risk.value, risk_tone(remedy.risk))
        out.append(line((f"{remedy.id} ", Tone.ACCENT), remedy.title, hang=4, right=[risk], ref=ref))
        if remedy.reason:
            out.append(line((f"   {remedy.reason}", Tone.MUTED), hang=3, ref=ref))
        if remedy.action is None:
            out.append(
                line(("   outside: ", Tone.WARN), remedy.outside or "no cluster change is right", hang=5, ref=ref)
            )
        else:
            out.append(line(("   suggested; p has it examined as a change", Tone.MUTED), hang=3, ref=ref))
    return out


def proposal_item(known: ProposalCase, now: datetime) -> list[Line]:
    """Return one proposal of the changes list."""
    proposal, ref = known.proposal, f"proposal:{known.proposal.id}"
    waits = known.state is ProposalState.OPEN
    state: Given = (f"waits, {countdown(proposal, now)} left", Tone.WARN) if waits else (known.state.value, Tone.STRONG)
    out = [
        line((f"{proposal.id} ", Tone.ACCENT), proposal.title, hang=4, ref=ref),
        line("   risk ", (proposal.risk.level.value, risk_tone(proposal.risk.level)), "   ", state, hang=3, ref=ref),
    ]
    if known.verified is not None:
        out.append(line(f"   check: {known.verified.healing.value}  {known.verified.text}", hang=3, ref=ref))
    return out


def evidence_head(evidence: Evidence, case: Case) -> list[Line]:
    """Return where a fact comes from and who rests on it."""
    cited = [f.id for f in case.findings if evidence.id in f.evidence]
    redacted = f"   redacted {evidence.redactions}" if evidence.redactions else ""
    return [
        line((f"{evidence.id}  ", Tone.ACCENT), (str(evidence.target or ""), Tone.STRONG), hang=4),
        line((evidence.request, Tone.CODE), hang=4),
        line((f"read {clock(evidence.at)}  {evidence.source}  {size(evidence.size_bytes)}{redacted}", Tone.MUTED)),
        line((f"supports {' '.join(cited)}" if cited else "no finding rests on it", Tone.MUTED)),
    ]


def item_detail(case: Case, tab: int, ref: str) -> list[Line]:
    """Return what stands below the list for the chosen item."""
    if tab == BOARD and (hypothesis := hypothesis_at(case, ref)) is not None:
        return hypothesis_detail(case, hypothesis)
    if tab != 0 or (evidence := case.fact(ref)) is None:
        return []
    quote = [
        line((f" {readable(part)}", Tone.CODE), hang=3)
        for row in evidence.quote.splitlines()
        for part in row.split(" … ")
    ]
    return [*evidence_head(evidence, case), BLANK, *quote, BLANK, line(("enter opens the whole text", Tone.MUTED))]


def size(count: int) -> str:
    """Return a size as people read it."""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"


def identity_line(case: Case, now: datetime, width: int, *, replayed: str = "") -> Line:
    """Return context, PROD word, namespace, identity, mode; mind, tokens, cost, recording. Less where it is narrow."""
    opened = case.opened
    if opened is None:
        return line((" pilothouse", Tone.HEADING), ("  not connected", Tone.MUTED))
    wide = width >= 100
    given: list[Given] = [" ", (clip(opened.context or opened.cluster, 40 if wide else 22), Tone.STRONG)]
    if opened.production:
        given += [" ", (" PROD ", Tone.ALERT)]
    namespace = case.namespace or opened.namespace or "all namespaces"
    given.append(f"  ns {namespace}" if wide else f"  {clip(namespace, 20)}")
    given.append((f"  as {opened.identity}" if wide else f"  {clip(opened.identity, 14)}", Tone.MUTED))
    mode = {"ask": "changes: ask each time", "observe": "changes: never (observe)"}.get(opened.mode, opened.mode)
    if wide or opened.mode != "ask":
        given.append((f"  {mode}" if wide else f"  {opened.mode}", Tone.MUTED))
    right = spent_parts(case, wide=wide)
    if wide and not right:
        right.append((f"mind {clip(opened.mind, 24)}  ", Tone.MUTED))
    if width < 40:
        right = []
    elif replayed:
        right.append((replayed, Tone.WARN))
    elif case.opened_at is not None:
        spent = max(0, int((now - case.opened_at).total_seconds()))
        right.append((f"REC {spent // 60:02d}:{spent % 60:02d} ", Tone.STRONG))
    room = width - sum(cell_width(g if isinstance(g, str) else g[0]) for g in right) - 2
    return line(*_fit(given, room), right=right)


def _fit(given: list[Given], room: int) -> list[Given]:
    out: list[Given] = []
    for each in given:
        text, tone = (each, Tone.PLAIN) if isinstance(each, str) else each
        cells = cell_width(text)
        if cells > room:
            out.append((clip(text, max(room, 0)), tone))
            break
        out.append((text, tone))
        room -= cells
    return out


def working(case: Case) -> bool:
    """Say whether something runs that one can stop: a turn that waits for a person does not."""
    return case.running and not case.waiting


def status_line(
    case: Case, now: datetime, *, state: str, note: str, width: int, stopping: bool = False, stops: bool = True
) -> Line:
    """Return what runs, and the key that stops it where `stops`; how many approvals wait."""
    given: list[Given] = [(f" {state} ", Tone.ACCENT)] if state else [" "]
    running = [call for call in case.calls if not call.done]
    if stopping:
        given.append((f" stopping: waiting for {len(running)} reads", Tone.WARN))
    elif working(case):
        step = next((s.title for s in case.plan if s.status is StepStatus.RUNNING), "")
        what = running[-1].title if running else step or "thinking"
        since = running[-1].started if running else case.last_at or now
        given += [f" working: {clip(what, max(10, width - 48))}  {max(0, int((now - since).total_seconds()))} s  "]
        given += [("esc stops", Tone.STRONG)] if stops else []
    elif case.waiting or asked_count(case):
        given.append(" waits for your decision")
    elif note:
        pass
    elif case.cluster_lost:
        given.append((" no cluster: " + clip(case.cluster_lost, 40), Tone.BAD))
    elif case.closed:
        given.append(f" closed: {case.closed}")
    if note:
        given.append((f"  {note}", Tone.WARN))
    right = waiting_parts(case, width)
    return line(*_fit(given, width - sum(len(each[0]) for each in right) - 2 * bool(right)), right=right)


def waiting_parts(case: Case, width: int) -> list[tuple[str, Tone]]:
    """Return how many changes wait for a person, and how many MCP servers do; never left out."""
    changes, asks = len(case.waiting), asked_count(case)
    out: list[tuple[str, Tone]] = []
    if changes:
        words = f"{changes} approval{'s' if changes > 1 else ''} waiting" if width >= 100 else f"{changes} approval"
        out.append((f" {words if width >= 40 else f'{changes} waits'} (f2) ", Tone.ALERT))
    if asks:
        words = f"{asks} MCP call{'s' if asks > 1 else ''}" if not case.questions else f"{asks} from MCP"
        words = f"{words} waiting" if width >= 100 else words if width >= 60 else f"{asks}"
        out.append((f" {words} (f3) ", Tone.MATCH))
    return out
