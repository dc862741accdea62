"""Carries out one step of the plan; several run at once, and one that fails does not end the others."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import Parts, StepState
from assistant.domain.event import StepEnded, StepStarted
from assistant.domain.finding import Finding
from assistant.domain.plan import Step, StepStatus
from assistant.errors import BudgetError, PilothouseError
from assistant.wire import convert, to_builtins


async def diagnoser(state: StepState, runtime: Runtime[Parts]) -> Command[Literal["planner"]]:
    """Have the mind investigate one step and keep what it found."""
    parts = runtime.context
    step = convert(Step, state["step"])
    parts.recorder.emit(StepStarted(step.id))
    found: tuple[Finding, ...] = ()
    status, note = StepStatus.DONE, ""
    try:
        turn = parts.directed(state["directions"])
        found = await parts.within(parts.mind.investigate(turn, step, parts.recorder))
    except BudgetError as error:
        status, note = StepStatus.SKIPPED, error.meaning
    except PilothouseError as error:
        status, note = StepStatus.FAILED, error.meaning
    parts.recorder.emit(StepEnded(step.id, status, note))
    return Command(update={"found": to_builtins(found), "looked": [step.id]}, goto="planner")
