"""The planner: turns the question into steps, and decides when enough is known to answer."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from agents.state import Ports, State
from assistant.domain.event import BudgetReached, Noted, PlanMade
from assistant.domain.finding import Finding
from assistant.domain.plan import Step
from assistant.wire import convert, to_builtins


async def planner(state: State, runtime: Runtime[Ports]) -> Command[Literal["diagnoser", "weigher"]]:
    """Ask the mind for a plan and start every step as a branch of its own."""
    ports = runtime.context
    steps = await ports.mind.plan(ports.turn, ports.recorder)
    ports.recorder.emit(PlanMade(steps))
    update: State = {"steps": to_builtins(steps), "rounds": 1}
    if not steps:
        return Command(update=update, goto="weigher")
    return Command(update=update, goto=[Send("diagnoser", {"step": to_builtins(step)}) for step in steps])


async def weigher(state: State, runtime: Runtime[Ports]) -> Command[Literal["diagnoser", "reporter"]]:
    """Weigh what all branches found: answer, or look further within the bound."""
    ports = runtime.context
    for direction in ports.recorder.steering():
        ports.recorder.emit(Noted(f"Direction taken into account from here on: {direction}"))
    found = tuple(convert(Finding, item) for item in state.get("found", []))
    conclusion = await ports.mind.conclude(ports.turn, found, ports.recorder)
    rounds = state.get("rounds", 1)
    if conclusion.more and rounds < ports.limits.rounds:
        known = tuple(convert(Step, item) for item in state.get("steps", []))
        ports.recorder.emit(PlanMade((*known, *conclusion.more), "more is needed before an answer"))
        update: State = {"steps": to_builtins((*known, *conclusion.more)), "rounds": rounds + 1}
        return Command(update=update, goto=[Send("diagnoser", {"step": to_builtins(s)}) for s in conclusion.more])
    if conclusion.more:
        text = f"The plan was extended {rounds - 1} times; the answer rests on what is known now."
        ports.recorder.emit(BudgetReached("steps", float(ports.limits.rounds), text))
    answer = {
        "verdict": conclusion.verdict.value,
        "markdown": conclusion.markdown,
        "checked": list(conclusion.checked),
    }
    return Command(
        update={
            "findings": to_builtins(conclusion.findings),
            "remedies": to_builtins(conclusion.remedies),
            "answer": answer,
        },
        goto="reporter",
    )
