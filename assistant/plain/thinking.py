"""What a language model adds to a case, in words: the board, its calls, their price, what nothing carries."""

from __future__ import annotations

from assistant.domain import event as ev
from assistant.domain.case import Case, Spent
from assistant.domain.finding import Finding
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.policy.sanitize import safe


def hypothesis_words(hypothesis: Hypothesis) -> str:
    """Return one hypothesis with its mark, its evidence and what would decide it."""
    mark = "" if hypothesis.mark is Mark.OPEN else f" {hypothesis.mark.value.upper()}:"
    target = f", {hypothesis.target}" if hypothesis.target is not None else ""
    told = [f"by {hypothesis.by}", f"for {' '.join(hypothesis.speaks_for) or 'nothing yet'}"]
    told.append(f"against {' '.join(hypothesis.speaks_against) or 'nothing yet'}")
    if hypothesis.decides:
        told.append(f"decides: {hypothesis.decides}")
    return f"{hypothesis.id}{mark} {hypothesis.cause.rstrip('.')}{target} ({'; '.join(told)})"


def marked_words(payload: ev.HypothesisMarked) -> str:
    """Return what a person said of a hypothesis and what it means."""
    means = {Mark.STRUCK: ", it is not looked into any more", Mark.PINNED: ", it is decided first"}
    return f"{payload.hypothesis} {payload.mark.value}{means.get(payload.mark, ' again')}"


def claim_words(finding: Finding, mind: str) -> str:
    """Return who claims a finding, where that is not the turn's mind, and why nothing carries it; "" for neither."""
    told = [f"by {finding.by}"] if finding.by != mind else []
    if finding.unsupported:
        told.append(f"unsupported: {finding.unsupported}")
    return "; ".join(told)


def call_words(call: ev.ModelCalled) -> str:
    """Return one call of a model: who answered, where, for what, what it took, what went wrong."""
    asked = f" (asked {call.instead_of})" if call.instead_of else ""
    endpoint = f" at {call.endpoint}" if call.endpoint else ""
    about = "about " if call.estimated else ""
    used = f"{about}{call.prompt_tokens} + {call.completion_tokens} tokens"
    told = [f"{call.model}{asked}{endpoint}", call.purpose, used, Spent().plus(call).price, f"{call.seconds:.1f} s"]
    told += [f"cut: {call.cut}"] if call.cut else []
    told += [f"FAILED: {call.failed}"] if call.failed else []
    return ", ".join(told)


def spent_words(case: Case) -> str:
    """Return which models answered in the session and what that cost; "" where none was called."""
    spent = case.spent
    if not spent.calls:
        return ""
    names = dict.fromkeys(e.payload.model for e in case.transcript if isinstance(e.payload, ev.ModelCalled))
    calls = "1 call" if spent.calls == 1 else f"{spent.calls} calls"
    return safe(f"{', '.join(names)}: {calls}, {spent.prompt_tokens} + {spent.completion_tokens} tokens, {spent.price}")


def opinions(case: Case) -> list[ev.OpinionGiven]:
    """Return the opinions of the turn, in order."""
    given: list[ev.OpinionGiven] = []
    for entry in reversed(case.transcript):
        if isinstance(entry.payload, ev.Asked):
            break
        if isinstance(entry.payload, ev.OpinionGiven):
            given.insert(0, entry.payload)
    return given
