"""Plans the steps of a turn and, once they are done, decides whether what was found is enough."""

from __future__ import annotations

from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from agents.mind import Conclusion
from agents.state import Parts, StepState, TurnState
from assistant.domain.event import Noted, PlanMade
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step
from assistant.errors import BudgetError
from assistant.wire import convert, to_builtins

Goto = Command[Literal["diagnoser", "reporter"]]


async def planner(state: TurnState, runtime: Runtime[Parts]) -> Goto:
    """Plan on the first visit; later conclude, and go round again where the mind wants more and may have it."""
    parts = runtime.context
    directions = [*state.get("directions", []), *parts.recorder.steering()]
    if "steps" in state:
        return await _enough(state, parts, directions)
    try:
        steps = await parts.within(parts.mind.plan(parts.directed(directions), parts.recorder))
    except BudgetError as error:
        return _report(_cut((), error, parts), directions)
    steps = _bounded(steps, 0, parts)
    if steps and parts.recorder.case.plan != steps:
        parts.recorder.emit(PlanMade(steps))
    return _look(steps, (), state, directions) if steps else await _enough(state, parts, directions)


async def _enough(state: TurnState, parts: Parts, directions: list[str]) -> Goto:
    found = convert(tuple[Finding, ...], state.get("found", []))
    try:
        thought = parts.mind.conclude(parts.directed(directions), found, parts.recorder)
        conclusion = await parts.within(thought, closing=True)
    except BudgetError as error:
        return _report(parts.mind.standing(parts.turn) or _cut(found, error, parts), directions)
    looked = set(state.get("looked", []))
    again = [step.id for step in conclusion.more if step.id in looked]
    if again:
        parts.recorder.emit(Noted(f"Already looked at, so not again: {', '.join(again)}.", "warning"))
    known = convert(tuple[Step, ...], state.get("steps", []))
    more = tuple(step for step in conclusion.more if step.id not in looked)
    if more and state.get("rounds", 1) >= parts.limits.rounds:
        text = f"The plan was extended {parts.limits.rounds - 1} times, which is all that a turn may."
        parts.bound("steps", float(parts.limits.rounds), text)
        more = ()
    more = _bounded(more, len(known), parts)
    if not more:
        return _report(conclusion, directions)
    parts.recorder.emit(PlanMade((*known, *more), "what was found so far asks for more"))
    return _look(more, known, state, directions)


def _bounded(steps: tuple[Step, ...], before: int, parts: Parts) -> tuple[Step, ...]:
    room = max(parts.limits.steps - before, 0)
    if len(steps) > room:
        text = f"A turn may have {parts.limits.steps} steps; {len(steps) - room} were left out."
        parts.bound("steps", float(parts.limits.steps), text)
    return steps[:room]


def _look(steps: tuple[Step, ...], known: tuple[Step, ...], state: TurnState, directions: list[str]) -> Goto:
    sends = [Send("diagnoser", StepState(step=to_builtins(step), directions=directions)) for step in steps]
    update: dict[str, Any] = {
        "steps": to_builtins((*known, *steps)), "rounds": state.get("rounds", 0) + 1, "directions": directions,
    }  # fmt: skip
    return Command(update=update, goto=sends)


def _report(conclusion: Conclusion, directions: list[str]) -> Goto:
    return Command(update={"conclusion": to_builtins(conclusion), "directions": directions}, goto="reporter")


def _cut(found: tuple[Finding, ...], error: BudgetError, parts: Parts) -> Conclusion:
    # The mind may not think any more, so this only repeats what its steps have said, unranked.
    said = "\n".join(f"- {item.summary} {' '.join(f'[{fact}]' for fact in item.evidence)}" for item in found)
    text = f"{error.meaning} I cannot tell yet what the cause is."
    text += f"\n\nSeen so far:\n\n{said}" if said else "\n\nNothing wrong was seen so far."
    parts.recorder.emit(Noted(f"The answer is incomplete: {error.meaning}", "warning"))
    return Conclusion(Verdict.UNDETERMINED, found, (), text)
