"""The workflow as a LangGraph graph. Only this package knows LangGraph.

    START ─► planner ─► diagnoser x n ─► weigher ─► reporter ─► END
                            ▲               │            │
                            └── more steps ─┘            ▼
                                  ┌──────────────── executor ─► END
                                  ▼                     ▲
                              approval ── denied ───────┤
                                  │ approved            │
                                  ▼                     │
                               applier ─► verifier ─────┘

A node may run again after a crash. So nothing in one has an effect that doubles: evidence and events are recorded
once, a proposal has a key from the state, and the gate sends an approved change once.
"""

from __future__ import annotations

import os

# Both before LangGraph is imported: a checkpoint must never rebuild a class by name, and nothing is traced to anybody.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"

from pathlib import Path
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import Command

from agents.applier import applier
from agents.approval import approval
from agents.checkpoint import checkpointer
from agents.diagnoser import diagnoser
from agents.executor import executor
from agents.mind import Mind
from agents.planner import planner, weigher
from agents.reporter import reporter
from agents.state import Limits, Ports, State
from agents.verifier import verifier
from assistant.domain.event import Used
from assistant.domain.ports import Clock, Gate, Pause, Recorder, Resolution, Turn

DURABILITY: Final = "sync"
"""Every superstep is on disk before the next begins; the other modes lose the position at kill -9 (measured)."""


class GraphWorkflow:
    """Implements `assistant.domain.ports.Workflow` for one mind."""

    def __init__(
        self, mind: Mind, gate: Gate | None, checkpoints: Path, clock: Clock, limits: Limits | None = None
    ) -> None:
        """Take the parts. `checkpoints` is a folder; each session has a file of its own in it."""
        self._mind = mind
        self._gate = gate
        self._checkpoints = checkpoints
        self._clock = clock
        self._limits = limits or Limits()

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        """Start the turn, or carry on from its checkpoint. See the protocol."""
        return await self._drive(turn, recorder, None)

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        """Carry on with what became of the proposal. See the protocol."""
        said = {
            "proposal": resolution.proposal,
            "state": resolution.state.value,
            "feedback": resolution.feedback,
        }
        return await self._drive(turn, recorder, said)

    async def _drive(self, turn: Turn, recorder: Recorder, said: dict[str, str] | None) -> Pause | None:
        ports = Ports(turn, self._mind, recorder, self._gate, self._clock, self._limits, self._clock.monotonic())
        config: RunnableConfig = {
            "configurable": {"thread_id": turn.thread},
            "max_concurrency": self._limits.parallel,
            "recursion_limit": self._limits.supersteps,
        }
        async with checkpointer(self._checkpoints, turn.session) as saver:
            graph = build().compile(checkpointer=saver)
            before = await graph.aget_state(config)
            if before.interrupts and said is None:
                return Pause(str(before.interrupts[0].value["proposal"]))
            given: Any = Command(resume=said) if said is not None else None if before.next else {"rounds": 0}
            try:
                await graph.ainvoke(given, config, context=ports, durability=DURABILITY)
            finally:
                recorder.emit(self._used(ports))
            after = await graph.aget_state(config)
            if after.interrupts:
                return Pause(str(after.interrupts[0].value["proposal"]))
            await saver.adelete_thread(turn.thread)
        return None

    def _used(self, ports: Ports) -> Used:
        case = ports.recorder.case
        requests = sum(bool(call.request) for call in case.calls)
        return Used(case.used.seconds + self._clock.monotonic() - ports.started, requests)


def build() -> StateGraph[State, Ports, State, State]:
    """Return the graph, not yet compiled."""
    graph = StateGraph(State, context_schema=Ports)
    graph.add_node("planner", planner)
    graph.add_node("diagnoser", diagnoser)
    graph.add_node("weigher", weigher)
    graph.add_node("reporter", reporter)
    graph.add_node("executor", executor)
    graph.add_node("approval", approval)
    graph.add_node("applier", applier)
    graph.add_node("verifier", verifier)
    graph.add_edge(START, "planner")
    graph.add_edge("diagnoser", "weigher")
    return graph
