"""Conditions in the form of meta/v1, wherever custom resources keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assistant.domain.raw import rows, text
from assistant.domain.view import Thing

GOOD_WHEN_TRUE = frozenset(
    {
        "Ready",
        "Available",
        "Accepted",
        "Programmed",
        "ResolvedRefs",
        "Active",
        "Established",
        "Healthy",
        "Synced",
        "Valid",
        "Reconciled",
        "PredictorReady",
        "IngressReady",
        "HeadPodReady",
        "PoolFound",
        "AppDispatched",
        "AppReady",
        "Progressing",
        "Succeeded",
    }
)
BAD_WHEN_TRUE = frozenset(
    {"Failed", "Degraded", "Stalled", "Conflicted", "Error", "ReplicaFailure", "PartiallyInvalid"}
)


def _conditions(thing: Thing) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every condition with its path: of the object, of route parents, of gateway listeners."""
    for i, condition in enumerate(thing.rows("status.conditions")):
        yield f"status.conditions[{i}]", condition
    for group in ("parents", "ancestors", "listeners"):
        for i, part in enumerate(thing.rows(f"status.{group}")):
            for j, condition in enumerate(rows(part.get("conditions"))):
                yield f"status.{group}[{i}].conditions[{j}]", condition


def bad_conditions(thing: Thing) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the conditions that say something is wrong, with their paths."""
    return [
        (p, c)
        for p, c in _conditions(thing)
        if (c.get("status") == "False" and text(c.get("type")) in GOOD_WHEN_TRUE)
        or (c.get("status") == "True" and text(c.get("type")) in BAD_WHEN_TRUE)
    ]
