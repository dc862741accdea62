"""One turn out of a recording, for whoever reasons over it again. Reads events and texts, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from assistant.domain import event as ev
from assistant.domain.action import Remedy
from assistant.domain.case import Case, fold
from assistant.domain.finding import Finding
from assistant.domain.recorded import EXPERT, RecordedAnswer, RecordedFact, RecordedTurn
from assistant.errors import RecordingError, StoreError, UsageError


def turns_of(events: Iterable[ev.Event]) -> tuple[int, ...]:
    """Return the numbers of the turns in which something was asked."""
    return tuple(event.payload.turn for event in events if isinstance(event.payload, ev.Asked))


def case_of_turn(events: Sequence[ev.Event], number: int) -> Case:
    """Return the case as it was when a turn was over. Raises UsageError when there is no such turn."""
    start = _start(events, number)
    later = (place for place in range(start + 1, len(events)) if isinstance(events[place].payload, ev.Asked))
    return fold(events[: next(later, len(events))])


def recorded_turn(events: Sequence[ev.Event], body: Callable[[str], str], number: int) -> RecordedTurn:
    """Return what was known when a turn was answered. Raises UsageError when there is no such turn.

    What came after the answer is left out: evidence of the cluster after a change would give the answer away.
    """
    start = _start(events, number)
    turn: list[ev.Event] = []
    for event in events[start:]:
        if turn and isinstance(event.payload, ev.Asked):
            break
        turn.append(event)
        if isinstance(event.payload, ev.Answered):
            break
    case = fold(events[: start + len(turn)])
    return RecordedTurn(
        case.session, number, case.question, case.namespace,
        tuple(RecordedFact(fact, _text(body, fact.body)) for fact in case.evidence),
        tuple(dict.fromkeys(call.request for call in case.calls if call.request)),
        _answer([event.payload for event in turn], case),
        case.stopped,
    )  # fmt: skip


def _start(events: Sequence[ev.Event], number: int) -> int:
    for place, event in enumerate(events):
        if isinstance(event.payload, ev.Asked) and event.payload.turn == number:
            return place
    known = turns_of(events)
    if not known:
        raise UsageError(
            "Nothing was asked in this recording.", "Give one with a question: `pilothouse sessions list`."
        )
    raise UsageError(f"There is no turn {number} in this recording.", f"It has {', '.join(map(str, known))}.")


def _text(body: Callable[[str], str], sha256: str) -> str | None:
    try:
        return body(sha256)
    except (StoreError, RecordingError):
        return None


def _answer(payloads: Sequence[ev.Payload], case: Case) -> RecordedAnswer | None:
    """Return the expert's answer where there is one, otherwise the one that was given."""
    given = case.answer
    told = [each for each in payloads if isinstance(each, ev.OpinionGiven) and each.mind == EXPERT]
    if given is not None and (given.mind == EXPERT or not told):
        return RecordedAnswer(
            given.mind, given.verdict, case.findings, case.remedies, given.markdown, given.checked, given.remark
        )
    if not told:
        return None
    findings = _expert_findings(payloads, case)
    checked, remark = (given.checked, given.remark) if given else ((), "")
    remedies = _expert_remedies(case.remedies, findings, given.mind if given else "")
    return RecordedAnswer(EXPERT, told[-1].verdict, findings, remedies, told[-1].markdown, checked, remark)


def _expert_remedies(all_of_them: Sequence[Remedy], findings: Sequence[Finding], model: str) -> tuple[Remedy, ...]:
    """Return those that mend the expert's findings, in its order; the reason of a model's begins with its name."""
    known = {finding.id for finding in findings}
    own = [
        remedy
        for remedy in all_of_them
        if (not remedy.fixes or known & set(remedy.fixes))
        and not (model and f"{remedy.reason}:".startswith(f"{model}:"))
    ]
    return tuple(sorted(own, key=lambda remedy: int(remedy.id[1:]) if remedy.id[1:].isdecimal() else 0))


def _expert_findings(payloads: Sequence[ev.Payload], case: Case) -> tuple[Finding, ...]:
    # The expert's own ranking, where it was told before the model's; otherwise its part of the last one.
    ranked = [payload.findings for payload in payloads if isinstance(payload, ev.FindingsRanked)]
    own = next((each for each in ranked if all(finding.by == EXPERT for finding in each)), None)
    if own is not None:
        return own
    shared = (finding for finding in case.findings if EXPERT in finding.by.split(" and "))
    return tuple(replace(finding, by=EXPERT, unsupported="") for finding in shared)
