"""What the workflow keeps between nodes: plain JSON types only, so that a checkpoint can rebuild no object of ours.

What cannot be stored (mind, gate, recorder, clock) travels beside it, in `Parts`.
"""

from __future__ import annotations

import operator
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypedDict, TypeVar

from agents.deadline import OverdueError, within
from agents.mind import Mind
from assistant.domain.event import BudgetReached, Used
from assistant.domain.ports import Clock, Gate, Recorder, Turn
from assistant.errors import BudgetError

T = TypeVar("T")


class TurnState(TypedDict, total=False):
    """One turn. Lists with a reducer are written by parallel branches."""

    steps: list[dict[str, Any]]
    found: Annotated[list[dict[str, Any]], operator.add]
    looked: Annotated[list[str], operator.add]
    directions: list[str]
    rounds: int
    conclusion: dict[str, Any]
    tried: list[str]
    applied: list[str]
    unclear: list[list[str]]
    unfixed: list[str]
    exhausted: bool
    voided: int
    remedy: str
    proposal: str
    feedback: str


class StepState(TypedDict):
    """What one diagnoser branch is sent: its step and the directions given so far."""

    step: dict[str, Any]
    directions: list[str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a turn. `seconds` is for thinking and reading; waiting for a person and verifying do not count.

    `closing_seconds` come on top, for ranking and wording what was found when the time was up.
    """

    seconds: float = 300.0
    closing_seconds: float = 20.0
    steps: int = 40
    rounds: int = 3
    proposals: int = 8
    parallel: int = 8
    recursion: int = 50


@dataclass(slots=True)
class Budget:
    """How long a turn has thought. Kept per process: after a crash the clock starts again, never twice in one."""

    began: float
    deadline: float
    said: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Parts:
    """What nodes work with (LangGraph's run-time context)."""

    mind: Mind
    gate: Gate | None
    clock: Clock
    limits: Limits
    recorder: Recorder
    turn: Turn
    budget: Budget
    requests: int

    def directed(self, directions: list[str]) -> Turn:
        """Return the turn with what the person said meanwhile added to the question."""
        return replace(self.turn, question="\n".join([self.turn.question, *directions])) if directions else self.turn

    def bound(self, name: str, limit: float, text: str) -> None:
        """Say once that a bound was hit."""
        if name not in self.budget.said:
            self.budget.said.add(name)
            self.recorder.emit(BudgetReached(name, limit, text))

    def used(self, requests: int) -> None:
        """Record what the turn has cost so far."""
        self.recorder.emit(Used(self.clock.monotonic() - self.budget.began, requests - self.requests))

    async def within(self, work: Coroutine[Any, Any, T], *, closing: bool = False) -> T:
        """Await `work` for as long as the turn may still think. Raises BudgetError after that."""
        left = self.budget.deadline - self.clock.monotonic() + self.limits.closing_seconds * closing
        try:
            return await within(work, left, self.clock)
        except OverdueError as error:
            text = f"The investigation took longer than {self.limits.seconds:.0f} seconds."
            self.bound("seconds", self.limits.seconds, text)
            raise BudgetError(text, "Ask a narrower question, or raise the bound.") from error
