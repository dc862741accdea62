"""The workflow of a turn on LangGraph.

```
 planner ─► diagnoser x n ─► planner: enough? ─► reporter ─► end
    ▲            │                                  │ a remedy can be proposed
    └────────────┘ more steps                       ▼
                  ┌───────────────────────────► executor ─► settle: nothing (more) to propose
                  │ denied with feedback, void      ▼
                  ├──────────────────────────── approval ─► settle: denied, expired, refused, withdrawn
                  │ next change                     ▼ approved
                  └──────────── verify ◄──────── apply ───► settle: failed, unknown

 settle ─► end: what could not be told while another change was to come is judged now
        └► executor: it did not help, and there is an alternative
```
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from agents.apply import apply
from agents.approval import approval
from agents.checkpoint import open_checkpoints
from agents.diagnoser import diagnoser
from agents.executor import executor
from agents.mind import Mind
from agents.planner import planner
from agents.reporter import reporter
from agents.state import Budget, Limits, Parts, TurnState
from agents.verify import settle, verify
from assistant.domain.ports import Clock, Gate, Pause, Recorder, Resolution, Turn
from assistant.wire import to_builtins

Graph = CompiledStateGraph[TurnState, Parts, TurnState, TurnState]


class GraphWorkflow:
    """Implements `assistant.domain.ports.Workflow`. Close it when the session is over.

    `requests` returns how many API requests the mind's tools have sent so far, for what a turn cost.
    """

    def __init__(
        self,
        mind: Mind,
        gate: Gate | None,
        checkpoints_path: Path | None,
        clock: Clock,
        limits: Limits | None = None,
        requests: Callable[[], int] = lambda: 0,
    ) -> None:
        self._mind = mind
        self._gate = gate
        self._path = checkpoints_path
        self._clock = clock
        self._limits = limits or Limits()
        self._requests = requests
        self._saver: AsyncSqliteSaver | None = None
        self._graph: Graph | None = None

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        """Start a turn, or carry on from its checkpoint. Raises PilothouseError."""
        graph, config = await self._open(), self._config(turn)
        place = await graph.aget_state(config)
        if place.interrupts:
            return Pause(place.interrupts[0].value["proposal"])
        if place.values and not place.next:
            await self._over(turn)
            return None
        # None means: go on where the checkpoint stands.
        return await self._go(graph, None if place.values else TurnState(rounds=0), turn, recorder)

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        """Carry on after a pause. Raises PilothouseError."""
        graph = await self._open()
        return await self._go(graph, Command(resume=to_builtins(resolution)), turn, recorder)

    async def close(self) -> None:
        """Close the checkpoint file."""
        if self._saver is not None:
            await self._saver.conn.close()
            self._saver = self._graph = None

    async def _go(self, graph: Graph, given: Any, turn: Turn, recorder: Recorder) -> Pause | None:
        now = self._clock.monotonic()
        parts = Parts(
            self._mind, self._gate, self._clock, self._limits, recorder, turn,
            Budget(now, now + self._limits.seconds), self._requests(),
        )  # fmt: skip
        try:
            await graph.ainvoke(given, self._config(turn), context=parts, durability="sync")
        finally:
            parts.used(self._requests())
        place = await graph.aget_state(self._config(turn))
        if place.interrupts:
            return Pause(place.interrupts[0].value["proposal"])
        await self._over(turn)
        return None

    async def _over(self, turn: Turn) -> None:
        if self._saver is not None:
            await self._saver.adelete_thread(turn.thread)

    async def _open(self) -> Graph:
        if self._graph is None:
            self._saver = await open_checkpoints(self._path)
            self._graph = build(self._saver)
        return self._graph

    def _config(self, turn: Turn) -> RunnableConfig:
        return {
            "configurable": {"thread_id": turn.thread},
            "max_concurrency": self._limits.parallel,
            "recursion_limit": self._limits.recursion,
        }


def build(saver: AsyncSqliteSaver) -> Graph:
    """Return the compiled graph; see the picture above."""
    graph = StateGraph(TurnState, context_schema=Parts)
    graph.add_node("planner", planner)
    graph.add_node("diagnoser", diagnoser)
    graph.add_node("reporter", reporter)
    graph.add_node("executor", executor)
    graph.add_node("approval", approval)
    graph.add_node("apply", apply)
    graph.add_node("verify", verify)
    graph.add_node("settle", settle)
    graph.add_edge(START, "planner")
    return graph.compile(checkpointer=saver)
