"""Tells the answer. What the log already holds is not said twice, because a node may run again after a crash."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.event import Answered, FindingsRanked, RemediesSuggested
from assistant.wire import convert


async def reporter(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor", "__end__"]]:
    """Record findings, suggestions and answer; go on to the executor where a change may be proposed."""
    parts = runtime.context
    conclusion = convert(Conclusion, state["conclusion"])
    recorder = parts.recorder
    if recorder.case.answer is None:
        recorder.emit(FindingsRanked(conclusion.findings))
        recorder.emit(RemediesSuggested(conclusion.remedies))
        name = conclusion.by or parts.mind.name
        recorder.emit(Answered(conclusion.markdown, conclusion.verdict, name, conclusion.checked, conclusion.remark))
    changes = any(remedy.action for remedy in conclusion.remedies)
    propose = parts.turn.propose and parts.gate is not None and changes
    if propose:
        return Command(goto="executor")
    return Command(goto="__end__")
