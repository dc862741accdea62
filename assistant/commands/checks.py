"""What a check of `doctor` comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One check: what was looked at, what was found, what to do."""

    state: State
    what: str
    found: str
    to_do: str = ""
