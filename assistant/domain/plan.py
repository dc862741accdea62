"""What will be looked at, in which order, by whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan; `owner` is "auto", "you" or "approval"."""

    id: str
    title: str
    owner: str = "auto"
    status: StepStatus = StepStatus.PENDING
    note: str = ""
