"""What became of a change: the result first, then what was read, the way back, who decided; and what to do next."""

from __future__ import annotations

from datetime import datetime

from assistant.domain.case import Case, ProposalCase
from assistant.domain.event import Healing
from assistant.domain.proposal import Answer, ProposalState
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.transcript import clock

HEALING_TONES = {Healing.FIXED: Tone.GOOD, Healing.NOT_FIXED: Tone.BAD}


def result(known: ProposalCase) -> tuple[str, Tone]:
    """Return the word for what became of a change: `FIXED`, `NOT FIXED`, `DENIED`, `APPLIED`, `SENDING`."""
    if known.verified is not None:
        return known.verified.healing.value.upper(), HEALING_TONES.get(known.verified.healing, Tone.WARN)
    good = known.state is ProposalState.APPLIED
    return known.state.value.upper(), Tone.GOOD if good else Tone.WARN


def progress_lines(known: ProposalCase, now: datetime) -> list[Line]:
    """Return what has happened since the decision; nothing while the change waits for one."""
    if known.state is ProposalState.OPEN and known.decision is None:
        return []
    code = f"HTTP {known.outcome.status_code}" if known.outcome and known.outcome.status_code else ""
    said = known.outcome.message if known.outcome else ""
    out: list[Line] = []
    match known.state:
        case ProposalState.APPROVED:
            out.append(line((" APPROVED", Tone.ACCENT), "  about to be sent", hang=2))
        case ProposalState.SENDING:
            out.append(line((" SENDING", Tone.WARN), "  waiting for the answer; it cannot be recalled", hang=2))
        case ProposalState.APPLIED if known.verified is None:
            out.append(line(" ", result(known), f"  {code}  now reading whether it helped ..", hang=2))
        case ProposalState.APPLIED if known.verified is not None:
            found: Given = (known.verified.healing.value, result(known)[1])
            out.append(line(" check: ", found, f"  {known.verified.text}", hang=2))
        case ProposalState.DENIED:
            out.append(line(" ", result(known), "  nothing was sent", hang=2))
        case _:
            out.append(line(" ", result(known), f"  {code} {said}".rstrip(), hang=2))
    if known.undo is not None:
        over = now >= known.undo.until
        head: Given = (" undo is over", Tone.MUTED) if over else (" U undo", Tone.STRONG)
        until = "" if over else f" until {clock(known.undo.until)}"
        out.append(line(head, f"{until}: {known.undo.text}", hang=2))
    if known.decision is not None:
        at = clock(known.decided_at or known.decision.at)
        word = "approved" if known.decision.answer is Answer.APPROVE else "denied"
        sent = f", applied {code}" if known.state is ProposalState.APPLIED else ""
        why = f": {known.decision.reason}" if known.decision.reason else ""
        out.append(line((f" {word} by {known.decision.by} at {at}{sent}{why}", Tone.MUTED), hang=2))
    return out


def next_step(case: Case, known: ProposalCase) -> Line:
    """Return what a person can do after this change: the next change first, it may be part of the same repair."""
    others = [each for each in case.waiting if each.proposal.id != known.proposal.id]
    if others:
        count = f"{len(others)} changes wait" if len(others) > 1 else "the next change waits"
        return line((f" {count}: f2 opens it", Tone.ALERT), f"  {others[0].proposal.title}")
    if case.running and known.verified is not None:
        return line((" The turn goes on: esc shows it; a further change would open by f2.", Tone.ACCENT))
    return line((" esc goes back to the conversation", Tone.MUTED))
