"""The diagnoser: carries out one step of the plan. Runs once a step, several at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.runtime import Runtime

from agents.state import Branch, Ports
from assistant.domain.event import BudgetReached, ErrorRaised, StepEnded, StepStarted
from assistant.domain.plan import Step, StepStatus
from assistant.errors import BudgetError, PilothouseError
from assistant.wire import convert, to_builtins


async def diagnoser(state: Branch, runtime: Runtime[Ports]) -> dict[str, list[dict[str, Any]]]:
    """Investigate one step; what fails in it is said, and the other steps go on."""
    ports = runtime.context
    step = convert(Step, state["step"])
    recorder = ports.recorder
    recorder.emit(StepStarted(step.id))
    try:
        async with asyncio.timeout(ports.limits.step_seconds):
            found = await ports.mind.investigate(ports.turn, step, recorder)
    except TimeoutError:
        limit = ports.limits.step_seconds
        recorder.emit(BudgetReached("seconds", limit, f"{step.title}: stopped after {limit:.0f} seconds."))
        recorder.emit(StepEnded(step.id, StepStatus.FAILED, "took too long"))
        return {"found": []}
    except BudgetError as error:
        recorder.emit(StepEnded(step.id, StepStatus.SKIPPED, error.meaning))
        return {"found": []}
    except PilothouseError as error:
        if not any(known.meaning == error.meaning for known in recorder.case.errors):
            recorder.emit(ErrorRaised(error.code, error.meaning, error.hint, error.detail))
        recorder.emit(StepEnded(step.id, StepStatus.FAILED, error.meaning))
        return {"found": []}
    recorder.emit(StepEnded(step.id, StepStatus.DONE))
    return {"found": to_builtins(found)}
