"""Outer bounds of a turn. The workflow plans within its own; these hold even if it does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one turn may use. `work_seconds` does not count the time that it waits for a person."""

    tool_calls: int = 400
    work_seconds: float = 600.0
