"""What it might be: the board of causes that a mind weighs and that a person can strike or pin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from assistant.domain.target import Target


class Mark(StrEnum):
    """What a person said of a hypothesis. STRUCK is not looked into any more, PINNED has to be decided first."""

    OPEN = "open"
    PINNED = "pinned"
    STRUCK = "struck"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One possible cause. `speaks_for` and `speaks_against` hold evidence ids; `decides` is what would settle it.

    `by` is who put it up: "expert", or the model's name.
    """

    id: str
    cause: str
    by: str
    target: Target | None = None
    speaks_for: tuple[str, ...] = ()
    speaks_against: tuple[str, ...] = ()
    decides: str = ""
    mark: Mark = Mark.OPEN
