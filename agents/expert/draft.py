"""What an analyzer returns: a claim with its citations, what it is about, what it would explain and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from assistant.domain.action import Action, RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.target import Target


class Level(IntEnum):
    """How far up the chain of causes a claim stands: a lower one may explain a higher one, never the reverse."""

    PLATFORM = 0
    POLICY = 1
    OBJECT = 2
    WORKLOAD = 3
    POD = 4
    TRAFFIC = 5
    CALLER = 6


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend a fault, before it has an id. `then` marks a step that follows the fix in front of it."""

    title: str
    risk: RiskLevel
    reason: str
    action: Action | None = None
    kubectl: str = ""
    undo: str = "none"
    outside: str = ""
    then: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """One claim of one analyzer.

    `about` holds the keys of the objects that are in trouble, `explains` those whose trouble follows.
    `confidence` is what the evidence is worth by itself: 0.95 a component said so and the object agrees, 0.8 the
    object says so alone, 0.6 a log line joined to a setting, 0.4 a symptom without a cause. `missing` says what
    would decide a claim that the evidence leaves open. `note` marks what is worth saying and breaks nothing. `asks`
    is a pattern of questions: what the claim is about may well be meant, so it is a note unless one asks for it.
    """

    category: str
    target: Target
    field: str
    summary: str
    confidence: float
    level: Level
    citations: tuple[Citation, ...]
    about: frozenset[str] = frozenset()
    explains: frozenset[str] = frozenset()
    fixes: tuple[Fix, ...] = ()
    outside: str = ""
    missing: str = ""
    note: bool = False
    asks: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return what makes two claims the same one: category, object, field."""
        return (self.category, f"{self.target.kind}/{self.target.namespace}/{self.target.name}", self.field)
