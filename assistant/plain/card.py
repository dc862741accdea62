"""The approval in text: the whole proposal on one card, and what a person types to answer it."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from assistant.domain.proposal import Answer, LineOrigin, Proposal
from assistant.errors import UsageError
from assistant.plain.lines import WIDTH, one_line, wrapped
from assistant.policy.sanitize import SafeText, cell_width, clip, safe

DIGEST_CHARACTERS: Final = 6
SHORT_WIDTH: Final = 120
MOST_ANSWER_ROWS: Final = 6


class Place(Enum):
    """Where a card's answer is typed."""

    CARD = "below the card"
    GATE = "in the terminal of a gate, which may show several"
    SHELL = "in a shell"


@dataclass(frozen=True, slots=True)
class Typed:
    """A decision as it was typed."""

    answer: Answer
    reason: str = ""
    typed_name: str = ""


@dataclass(frozen=True, slots=True)
class Short:
    """A card that fits a terminal; `whole` is false where lines of it are missing."""

    lines: list[SafeText]
    whole: bool = True


def card_lines(
    proposal: Proposal, now: datetime, width: int = WIDTH, *, whole: bool = False, answering: bool = True,
    place: Place = Place.CARD,
) -> list[SafeText]:  # fmt: skip
    """Return everything a person needs to decide: request, diff, checks, impact, risk, undo, expiry, how to answer.

    With `whole`, an object that would be deleted is printed in full as well; `answering` false leaves out the last,
    for whoever reads it without being able to decide, and `place` is where that is typed.
    """
    origin = proposal.origin
    who = "this session" if origin.kind == "session" else f"another client, {origin.who}"
    lines = _block("change", f"{proposal.id}: {proposal.title}", width)
    lines += _block("asked by", who + (f", because {origin.why}" if origin.why else ""), width)
    lines += _block("cluster", f"{proposal.cluster}, as {proposal.identity}", width)
    lines += _block(
        "object", f"{proposal.action.target}, resource version {proposal.resource_version or 'none yet'}", width
    )
    query = "&".join(f"{key}={value}" for key, value in proposal.action.query)
    lines += _block("request", f"{proposal.action.method} {proposal.action.path}{'?' + query if query else ''}", width)
    # Never wrapped, to be copied.
    lines.append(SafeText(f"kubectl: {one_line(proposal.kubectl) or 'no equivalent'}"))
    lines += _diff(proposal)
    for check in proposal.checks:
        lines += _block(f"check {check.result.value}", f"{check.name}: {check.text}", width)
    for impact in proposal.impact:
        lines += _block(impact.heading, f"{'at least ' if impact.at_least else ''}{impact.text}", width)
    lines += _block(
        "risk", f"{proposal.risk.level.value}: {'; '.join(proposal.risk.reasons) or 'no rule fired'}", width
    )
    lines += _block("undo", proposal.undo.text, width)
    lines += _before(proposal, whole=whole)
    lines += _second(proposal, width)
    left = max(0, int((proposal.expires - now).total_seconds()))
    lines += _block("open for", f"{left // 60} min {left % 60:02} s", width)
    lines += _block("digest", proposal.digest, width)
    return lines + (wrapped(how_to_answer(proposal, place), width=width, rest="  ") if answering else [])


def short_card(proposal: Proposal, now: datetime, rows: int, columns: int) -> Short:
    """Return the card of a terminal that other things scroll through as well: never taller than `rows` as displayed.

    A card that does not fit is cut in its middle, and says by how much and what shows all of it.
    """
    width = max(40, min(columns, SHORT_WIDTH))
    whole = card_lines(proposal, now, width, answering=False)
    answer = wrapped(how_to_answer(proposal, Place.GATE), width=width, rest="  ")
    answer = [clip(line, columns) for line in answer[:MOST_ANSWER_ROWS]]
    if sum(max(1, -(-cell_width(line) // columns)) for line in whole) + len(answer) <= rows:
        return Short([*whole, *answer])
    risk = f"risk: {proposal.risk.level.value}: {'; '.join(proposal.risk.reasons) or 'no rule fired'}"
    # How to approve stands under the whole card only: nobody can have read what is not here.
    name = one_line(proposal.id)
    answer = [clip(f"Type: show {name}   or: deny {name} REASON", columns)]
    kept = max(1, rows - 2 - len(answer))
    cut = f"… {len(whole) - kept} more lines: show {name}  (or: pilothouse approvals show {name})"
    head = [clip(line, columns) for line in whole[:kept]]
    return Short([*head, *(clip(line, columns) for line in (cut, one_line(risk))), *answer], whole=False)


def how_to_answer(proposal: Proposal, place: Place = Place.CARD) -> str:
    """Return the sentence that says what to type, at a card, in the terminal of a gate, or in a shell."""
    if place is not Place.CARD:
        return _answer_elsewhere(proposal, place)
    if not proposal.approvable:
        instead = f" {one_line(proposal.approvable_if)}" if proposal.approvable_if else ""
        return f"This cannot be approved: {one_line(proposal.not_approvable).rstrip('.')}.{instead} Type: deny REASON"
    name = f" {one_line(proposal.typed_name)}" if proposal.typed_name else ""
    if proposal.second is not None and proposal.second.missing:
        return (
            f"A second person has to sign first: `pilothouse approvals export {proposal.id}` writes what they sign with"
            f" `pilothouse approvals sign FILE`; then `pilothouse approvals approve {proposal.id}"
            f" {proposal.digest[:DIGEST_CHARACTERS]}{' --name' if name else ''}{name} --second SIGNED`."
            " Or type: deny REASON"
        )
    return f"Type: approve {proposal.digest[:DIGEST_CHARACTERS]}{name}   or: deny REASON   or: later"


def shown_digest(lines: list[SafeText]) -> str:
    """Return the SHA-256 of the card that was on screen, which goes into the decision."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def card_digest(proposal: Proposal) -> str:
    """Return the hash of a proposal's card, 80 columns wide, with the time left as it was when it was made.

    So it can be computed again from the log, whenever and however wide the card was on screen. How to answer is not
    part of it, for that depends on where the card is shown.
    """
    return shown_digest(card_lines(proposal, proposal.created, answering=False))


def read_decision(line: str, proposal: Proposal, place: Place = Place.CARD) -> Typed:
    """Read what a person typed about this proposal. Raises UsageError that says what is missing."""
    words = line.split()
    if not words:
        raise UsageError("Nothing was decided.", how_to_answer(proposal, place))
    if words[0] == "deny":
        return Typed(Answer.DENY, line.strip()[len("deny") :].strip())
    if words[0] != "approve":
        raise UsageError(f"{one_line(words[0])!r} is neither approve nor deny.", how_to_answer(proposal, place))
    if not proposal.approvable:
        why = one_line(proposal.not_approvable).rstrip(".")
        raise UsageError(f"This cannot be approved: {why}.", one_line(proposal.approvable_if) or "Type: deny REASON")
    prefix = words[1].lower() if len(words) > 1 else ""
    if len(prefix) < DIGEST_CHARACTERS or not proposal.digest.startswith(prefix):
        raise UsageError("The digest typed is not the one of this change.", how_to_answer(proposal, place))
    name = words[2] if len(words) > 2 else ""
    if name != proposal.typed_name or len(words) > 3:
        raise UsageError(
            "This change is critical, so the object's name has to be typed."
            if proposal.typed_name
            else "Too many words.",
            how_to_answer(proposal, place),
        )
    return Typed(Answer.APPROVE, typed_name=name)


def _answer_elsewhere(proposal: Proposal, place: Place) -> str:
    here = "pilothouse approvals " if place is Place.SHELL else ""
    name, digest = one_line(proposal.id), proposal.digest[:DIGEST_CHARACTERS]
    deny = f"{here}deny {name} {'--reason TEXT' if here else 'REASON'}"
    if not proposal.approvable or (proposal.second is not None and proposal.second.missing):
        # What a card says about this holds everywhere; only the denial is typed in another form.
        return how_to_answer(proposal).replace("deny REASON", deny)
    typed = one_line(proposal.typed_name)
    typed = f" {'--name ' if here else ''}{shlex.quote(typed) if here else typed}" if typed else ""
    return f"Type: {here}approve {name} {digest}{typed}   or: {deny}"


def _second(proposal: Proposal, width: int) -> list[SafeText]:
    second = proposal.second
    if second is None:
        return []
    agreed = f"{' and '.join(second.agreed)} agreed" if second.agreed else "nobody has agreed yet"
    missing = ""
    if second.missing:
        who = (
            f"one of {', '.join(second.people)}"
            if second.people
            else "anybody at all: [approvers] in the settings is empty"
        )
        missing = f"; missing: {who}"
    alone = (
        " One person may go on alone with --break-glass, which every list and export shows."
        if second.break_glass
        else ""
    )
    return _block("second person", f"{second.rule}; {agreed}{missing}.{alone}", width)


def _block(label: str, text: str, width: int) -> list[SafeText]:
    return wrapped(one_line(text), first=f"{one_line(label)}: ", rest="  ", width=width)


def _diff(proposal: Proposal) -> list[SafeText]:
    if not proposal.diff:
        return [SafeText("diff: none could be made; the body that will be sent:"), *_body(proposal)]
    hidden = sum(line.origin is LineOrigin.HIDDEN for line in proposal.diff)
    lines = [SafeText("diff (+ is added, - is removed, the server's own changes are marked):")]
    for line in proposal.diff:
        if line.origin is LineOrigin.HIDDEN:
            continue
        mark = "   (by the server)" if line.origin is LineOrigin.SERVER and line.sign in "+-" else ""
        # Never wrapped and never cut: what is approved is what is read.
        lines.append(safe(f"  {line.sign} {line.text}{mark}", multiline=False))
    if hidden:
        lines.append(SafeText(f"  ({hidden} lines of bookkeeping not shown: managedFields, status)"))
    return lines


def _before(proposal: Proposal, *, whole: bool) -> list[SafeText]:
    if not proposal.undo.before:
        return []
    text = safe(proposal.undo.before.rstrip("\n")).split("\n")
    if whole:
        return [SafeText("the whole object now:"), *(SafeText(f"  {line}") for line in text)]
    return [
        SafeText(f"the whole object now: {len(text)} lines, see: pilothouse approvals show {one_line(proposal.id)}")
    ]


def _body(proposal: Proposal) -> list[SafeText]:
    return [SafeText(f"  {line}") for line in safe(proposal.action.body or "(no body)").split("\n")]
