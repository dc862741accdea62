"""What the workflow remembers between nodes: plain JSON types and ids only.

Checkpoints are read back in strict mode, where a class of ours would come back as a dict; so none goes in.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypedDict

from agents.mind import Mind
from assistant.domain.ports import Clock, Gate, Recorder, Turn

END: Final[Literal["__end__"]] = "__end__"
"""LangGraph's own constant, with the type that a route in a signature needs."""


class State(TypedDict, total=False):
    """One turn.

    `steps`, `findings` and `remedies` are domain types as builtins. `tried` holds remedy ids that were proposed,
    `applied` those that took effect, `unproven` pairs of proposal and finding id whose verification was not clear.
    `attempts` counts proposals of the current remedy.
    """

    steps: list[dict[str, Any]]
    found: Annotated[list[dict[str, Any]], operator.add]
    rounds: int
    findings: list[dict[str, Any]]
    remedies: list[dict[str, Any]]
    answer: dict[str, Any]
    tried: list[str]
    applied: list[str]
    remedy: str
    attempts: int
    proposal: str
    resolution: dict[str, str]
    unproven: list[list[str]]


class Branch(TypedDict):
    """What a parallel branch is given: one step."""

    step: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one turn. `step_seconds` bounds one step of the plan, `rounds` how often a mind may ask for more."""

    rounds: int = 3
    parallel: int = 4
    step_seconds: float = 120.0
    attempts: int = 3
    supersteps: int = 50


@dataclass(frozen=True, slots=True)
class Ports:
    """What the nodes reach the world through; passed anew to every run, never kept in a checkpoint."""

    turn: Turn
    mind: Mind
    recorder: Recorder
    gate: Gate | None
    clock: Clock
    limits: Limits
    started: float
