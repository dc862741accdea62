"""Two answers to the same question side by side: what was found, and what it took. Pure; what was not measured is None.

`before` is the recorded turn, `after` the one that reasoned again over its evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.raw import tokens
from assistant.domain.recorded import EXPERT

RECORDED = "recorded"
"""The mind of a session in which only a recording spoke: nothing was thought, so nothing was spent."""


class Agreement(StrEnum):
    """Whether two answers name the same root causes; the order does not count."""

    SAME = "same"
    SAME_OBJECT = "same object"
    PARTLY = "partly the same"
    OTHER = "other"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Cause:
    """A root cause: object and field. `before` and `after` are the findings that name it, None where nothing does."""

    before: Finding | None
    after: Finding | None

    @property
    def exact(self) -> bool:
        """Say whether both name it, with the same category and field."""
        return self.before is not None and self.after is not None and _key(self.before) == _key(self.after)


@dataclass(frozen=True, slots=True)
class Effort:
    """What one answer took. None is "not known": not measured, or, for the cost, a price that nobody told.

    `estimated` says that some of the tokens were counted here and not told by the server. `unpriced` counts the calls
    without a price. `seconds` go from the question to the answer.
    """

    steps: int
    tool_calls: int
    model_calls: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    seconds: float | None
    estimated: bool = False
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """One answer. `mind` is who gave it, "" where there is none; `cited` are the texts that its findings rest on."""

    session: str
    turn: int
    mind: str
    verdict: Verdict | None
    causes: tuple[Finding, ...]
    cited: frozenset[str]
    effort: Effort


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both answers, and how far they agree. `cited_by_both` counts the texts that both rest on.

    `beside` holds what a model says in the rerun besides the causes: where the expert is nearly certain, or where its
    evidence does not carry it, a model's cause is only a note, and would not be seen among them.
    """

    question: str
    before: Side
    after: Side
    agreement: Agreement
    causes: tuple[Cause, ...]
    cited_by_both: int
    beside: tuple[Finding, ...] = ()

    @property
    def same_verdict(self) -> bool:
        """Say whether both came to the same verdict."""
        return self.before.verdict is not None and self.before.verdict is self.after.verdict


def compare(before: Case, after: Case) -> Comparison:
    """Compare the last turn of two cases."""
    one, two = _side(before), _side(after)
    causes = _matched(one.causes, two.causes)
    beside = tuple(each for each in after.findings if each.role is Role.NOTE and each.by != EXPERT)
    return Comparison(before.question, one, two, _agreement(causes), causes, len(one.cited & two.cited), beside)


def _side(case: Case) -> Side:
    facts = {fact.id: fact.body for fact in case.evidence}
    cited = frozenset(facts[name] for finding in case.findings for name in finding.evidence if name in facts)
    answer = case.answer
    return Side(
        case.session, case.turn, answer.mind if answer else "", answer.verdict if answer else None,
        case.root_causes, cited, _effort(case),
    )  # fmt: skip


def _effort(case: Case) -> Effort:
    asked, answered = _times(case)
    spent = _model_calls(case)
    # A mind that calls no model has spent nothing on one. Of any other, silence says only that it was not written down.
    mind = case.answer.mind if case.answer else ""
    known = bool(spent) or mind == EXPERT or (case.opened is not None and case.opened.mind in (EXPERT, RECORDED))
    unpriced = sum(call.cost_usd < 0 for call in spent)
    during = [
        call
        for call in case.calls
        if asked is not None and asked <= call.started and (answered is None or call.started <= answered)
    ]
    return Effort(
        len(case.plan), len(during),
        len(spent) if known else None,
        sum(call.prompt_tokens for call in spent) if known else None,
        sum(call.completion_tokens for call in spent) if known else None,
        sum((call.cost_usd for call in spent), 0.0) if known and not unpriced else None,
        (answered - asked).total_seconds() if asked and answered else None,
        any(call.estimated for call in spent), unpriced,
    )  # fmt: skip


def _times(case: Case) -> tuple[datetime | None, datetime | None]:
    """Return when the last question was asked and when it was answered."""
    asked = answered = None
    for entry in case.transcript:
        if isinstance(entry.payload, ev.Asked):
            asked, answered = entry.at, None
        elif isinstance(entry.payload, ev.Answered):
            answered = entry.at
    return asked, answered


def _model_calls(case: Case) -> list[ev.ModelCalled]:
    calls: list[ev.ModelCalled] = []
    for entry in case.transcript:
        if isinstance(entry.payload, ev.Asked):
            calls = []
        elif isinstance(entry.payload, ev.ModelCalled):
            calls.append(entry.payload)
    return calls


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.category, *_object(finding), tokens(finding.field)


def _object(finding: Finding) -> tuple[str, str, str]:
    # Without API version and uid: a model names an object as people do.
    return finding.target.kind.lower(), finding.target.namespace, finding.target.name


def _matched(before: Sequence[Finding], after: Sequence[Finding]) -> tuple[Cause, ...]:
    left = list(after)
    pairs: dict[int, Finding] = {}
    for alike in (_key, _object):
        for place, one in enumerate(before):
            found = next((two for two in left if place not in pairs and alike(one) == alike(two)), None)
            if found is not None:
                pairs[place] = found
                left.remove(found)
    return (
        *(Cause(one, pairs.get(place)) for place, one in enumerate(before)),
        *(Cause(None, two) for two in left),
    )


def _agreement(causes: Sequence[Cause]) -> Agreement:
    if not any(cause.after for cause in causes):
        # Where neither names a cause they agree: nothing is wrong, or it cannot be told.
        return Agreement.NONE if causes else Agreement.SAME
    both = [cause for cause in causes if cause.before and cause.after]
    if not both:
        return Agreement.OTHER
    if len(both) < len(causes):
        return Agreement.PARTLY
    return Agreement.SAME if all(cause.exact for cause in both) else Agreement.SAME_OBJECT
