"""The reporter: puts the answer on record. What to do about it is the executor's."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import END, Ports, State
from assistant.domain.action import Remedy
from assistant.domain.event import Answered, FindingsRanked, RemediesSuggested
from assistant.domain.finding import Finding, Verdict
from assistant.wire import convert


async def reporter(state: State, runtime: Runtime[Ports]) -> Command[Literal["executor", "__end__"]]:
    """Emit findings, suggestions and the answer, then go on to a change where one was asked for."""
    ports = runtime.context
    recorder = ports.recorder
    answer = state["answer"]
    verdict = Verdict(answer["verdict"])
    recorder.emit(FindingsRanked(tuple(convert(Finding, item) for item in state["findings"])))
    recorder.emit(RemediesSuggested(tuple(convert(Remedy, item) for item in state["remedies"])))
    recorder.emit(Answered(answer["markdown"], verdict, ports.mind.name, tuple(answer["checked"])))
    change = ports.turn.propose and ports.gate is not None and verdict is Verdict.FAULT
    return Command(goto="executor" if change else END)
