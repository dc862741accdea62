"""What a person calls a step of a session: reads in a row are one, bookkeeping belongs to what it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from assistant.domain import event as ev
from assistant.domain.case import Spent
from assistant.domain.proposal import Answer
from assistant.domain.thinking import MODEL_TOOL
from assistant.policy.sanitize import clip
from assistant.tui.asked import asked_headline
from assistant.tui.lines import Line, Tone, line
from assistant.tui.quotes import readable
from assistant.tui.thinking import marked, tokens

LONGEST_TEXT = 76
"""Cells of a step in the list: two rows at most; the whole text stands beside it."""


class Show(StrEnum):
    """Which steps the list shows; `f` goes on to the next."""

    STEPS = "steps"
    CHANGES = "changes"
    EVENTS = "every event"


@dataclass(frozen=True, slots=True)
class Step:
    """Events `first` to `last` (counted from 1) as one step; `seconds` is when it began, `ids` the facts it found."""

    first: int
    last: int
    seconds: float
    text: str
    tone: Tone
    change: bool = False
    reads: int = 0
    failed: int = 0
    ids: tuple[str, ...] = ()
    model: bool = False


_READING = (ev.ToolStarted, ev.ToolWaiting, ev.ToolProgressed, ev.ToolEnded, ev.EvidenceAdded)
_FOLLOWING = (ev.StepStarted, ev.StepEnded, ev.Used, ev.TurnEnded)
_OF_CHANGES = (ev.Asked, ev.Answered, ev.Proposed, ev.Decided, ev.Sending, ev.Concluded, ev.Verified, ev.UndoOffered,
               ev.CallHeld, ev.CallDecided, ev.QuestionPut, ev.QuestionAnswered, ev.ErrorRaised,
               ev.SessionClosed)  # fmt: skip


def grouped(events: Sequence[ev.Event], show: Show) -> list[Step]:
    """Return the steps of a session in order; with `Show.EVENTS` every event is one."""
    start = events[0].at if events else None
    out: list[Step] = []
    for number, event in enumerate(events, start=1):
        payload = event.payload
        seconds = max(0.0, (event.at - start).total_seconds()) if start else 0.0
        if show is Show.EVENTS:
            out.append(Step(number, number, seconds, *headline(payload)))
            continue
        before = out[-1] if out else None
        if before is not None and isinstance(payload, _FOLLOWING):
            out[-1] = replace(before, last=number)
        elif isinstance(payload, ev.ModelCalled) and before is not None and before.model:
            text, tone = headline(payload)
            out[-1] = replace(before, last=number, text=text, tone=tone, reads=0)
        elif isinstance(payload, _READING):
            reading = before is not None and (before.reads > 0 or bool(before.ids))
            if before is not None and isinstance(payload, ev.ToolStarted):
                # A call of a model is a step of its own, which what is told of it afterwards sums up.
                reading = reading and not before.model and payload.tool != MODEL_TOOL
            if (
                before is not None
                and not reading
                and isinstance(payload, ev.ToolWaiting | ev.ToolProgressed | ev.ToolEnded)
            ):
                # Something else happened while it ran; where it failed, that has to be seen.
                late = isinstance(payload, ev.ToolEnded) and not payload.ok
                tone = Tone.BAD if late else before.tone
                out[-1] = replace(before, last=number, failed=before.failed + late, tone=tone)
                continue
            step = before if before is not None and reading else Step(number, number, seconds, "", Tone.PLAIN)
            step = _read(replace(step, last=number), payload)
            out[len(out) - reading :] = [step]
        elif before is not None and isinstance(payload, ev.RemediesSuggested):
            count = len(payload.remedies)
            words = f", {count} {'remedy' if count == 1 else 'remedies'}"
            out[-1] = replace(before, last=number, text=before.text + words)
        elif before is not None and isinstance(payload, ev.Concluded) and _sent(events, number):
            text, tone = headline(payload)
            out[-1] = replace(before, last=number, text=f"sent, {text}", tone=tone)
        else:
            text, tone = headline(payload)
            out.append(Step(number, number, seconds, text, tone, isinstance(payload, _OF_CHANGES)))
    return [each for each in out if each.change] if show is Show.CHANGES else out


def _sent(events: Sequence[ev.Event], number: int) -> bool:
    return isinstance(events[number - 2].payload, ev.Sending)


def _read(step: Step, payload: ev.Payload) -> Step:
    """Return the step of reads with one more event in it."""
    match payload:
        case ev.ToolStarted():
            only = f"{payload.title} " if step.reads == 0 else ""
            step = replace(step, reads=step.reads + 1, text=only, model=payload.tool == MODEL_TOOL)
        case ev.ToolEnded(ok=False):
            step = replace(step, failed=step.failed + 1)
        case ev.EvidenceAdded():
            step = replace(step, ids=(*step.ids, payload.evidence.id))
        case _:
            pass
    return replace(step, tone=Tone.BAD if step.failed else Tone.PLAIN)


def step_text(step: Step) -> str:
    """Return what a step says in the list: reads are counted, failures and facts named."""
    if not step.reads and not step.ids:
        return step.text
    what = step.text.strip() if step.reads == 1 else f"{step.reads} reads" if step.reads else "evidence"
    failed = f", {step.failed} FAILED" if step.failed else ""
    span = f"{step.ids[0]}..{step.ids[-1]}" if len(step.ids) > 1 else "".join(step.ids)
    return f"{what}{failed}  {span}".rstrip()


def step_line(number: int, step: Step, here: int) -> Line:
    """Return one row of the step list; its item is named after the step's last event."""
    later = step.first > here
    tone = Tone.MUTED if later else step.tone
    return line(
        (f"{number:>4}  {mmss(step.seconds)}  ", Tone.MUTED), (clip(step_text(step), LONGEST_TEXT), tone),
        hang=13, ref=str(step.last),
    )  # fmt: skip


def mmss(seconds: float) -> str:
    """Return `02:31`, with hours where there are any."""
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole % 3600 // 60:02d}:{whole % 60:02d}"


def headline(payload: ev.Payload) -> tuple[str, Tone]:
    """Return what happened at an event in a few words."""
    match payload:
        case ev.SessionOpened():
            return f"opened on {payload.context or payload.cluster} as {payload.identity}", Tone.MUTED
        case ev.Asked():
            return f"you ask: {payload.text}", Tone.STRONG
        case ev.PlanMade():
            return f"plan made, {len(payload.steps)} steps", Tone.PLAIN
        case ev.StepStarted():
            return f"step {payload.step} begins", Tone.MUTED
        case ev.StepEnded():
            return f"step {payload.step} {payload.status.value}", Tone.MUTED
        case ev.ToolStarted():
            return f"{payload.title} ..", Tone.MUTED
        case ev.ToolWaiting():
            return f"  waits {payload.seconds:.1f} s: {payload.why}", Tone.WARN
        case ev.ToolProgressed():
            return f"  given up in {payload.seconds_left:.0f} s  {readable(payload.text)}".rstrip(), Tone.MUTED
        case ev.CallHeld() | ev.CallDecided() | ev.QuestionPut() | ev.QuestionAnswered():
            return asked_headline(payload)
        case ev.ToolEnded():
            return (f"  {payload.result}", Tone.PLAIN) if payload.ok else (f"  FAILED {payload.result}", Tone.BAD)
        case ev.EvidenceAdded():
            return f"evidence {payload.evidence.id}  {readable(payload.evidence.quote)}", Tone.ACCENT
        case ev.FindingsRanked():
            return "findings " + " ".join(f.id for f in payload.findings), Tone.STRONG
        case ev.RemediesSuggested():
            return f"{len(payload.remedies)} remedies suggested", Tone.PLAIN
        case ev.BoardMade():
            return "might be " + " ".join(each.id for each in payload.hypotheses), Tone.PLAIN
        case ev.HypothesisMarked():
            return f"you: {marked(payload)}", Tone.STRONG
        case ev.OpinionGiven():
            return f"{payload.who} says: {payload.verdict.value}", Tone.STRONG
        case ev.ModelCalled():
            used = f"{tokens(payload.prompt_tokens + payload.completion_tokens)}, {Spent().plus(payload).price}"
            wrong = f", FAILED {payload.failed}" if payload.failed else f", cut: {payload.cut}" if payload.cut else ""
            return f"model {payload.model} {payload.purpose}, {used}{wrong}", Tone.WARN if wrong else Tone.PLAIN
        case ev.Answered():
            return f"answer: {payload.verdict.value}", Tone.STRONG
        case ev.Proposed():
            return f"proposed {payload.proposal.id}: {payload.proposal.title}", Tone.WARN
        case ev.Decided():
            word = "APPROVED" if payload.decision.answer is Answer.APPROVE else "DENIED"
            why = f": {payload.decision.reason}" if payload.decision.reason else ""
            return f"{word} by {payload.decision.by}{why}", Tone.WARN
        case ev.Sending():
            return f"{payload.proposal} sent", Tone.WARN
        case ev.Concluded():
            code = f" (HTTP {payload.outcome.status_code})" if payload.outcome.status_code else ""
            return f"{payload.outcome.proposal} {payload.outcome.state.value}{code}", Tone.STRONG
        case ev.Verified():
            return f"check: {payload.healing.value}  {payload.text}", Tone.STRONG
        case ev.UndoOffered():
            return f"undo offered: {payload.text}", Tone.PLAIN
        case ev.ErrorRaised():
            return f"error: {payload.meaning}", Tone.BAD
        case ev.SessionClosed():
            return f"closed: {payload.result}", Tone.STRONG
        case _:
            words = getattr(payload, "text", "") or getattr(payload, "reason", "")
            return f"{ev.NAMES[type(payload)].replace('_', ' ')}  {words}".rstrip(), Tone.MUTED
