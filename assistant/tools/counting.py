"""The words behind a finished tool call: "14 pods, 2 not ready"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.domain.raw import mapping, rows
from assistant.domain.thing import Kept


def counted(number: int, what: str, items: Sequence[dict[str, Any] | Kept] = ()) -> str:
    """Return a count with its noun, and for pods and workloads how many are not ready."""
    plural = (
        what
        if number == 1
        else what[:-1] + "ies"
        if what.endswith("y")
        else (what + "es" if what.endswith(("s", "ss")) else what + "s")
    )
    words = f"{number} {plural}"
    bad = sum(_unready(what, item) for item in items)
    return f"{words}, {bad} not ready" if bad else words


def _unready(what: str, item: dict[str, Any] | Kept) -> bool:
    if isinstance(item, Kept):
        if what == "pod":
            return not item.ready
        item = {
            "spec": {"replicas": item.facts.get("spec.replicas")},
            "status": {"readyReplicas": item.facts.get("status.readyReplicas")},
        }
    status, spec = mapping(item.get("status")), mapping(item.get("spec"))
    match what:
        case "pod" | "node":
            if status.get("phase") == "Succeeded":
                return False
            return not any(
                c.get("type") == "Ready" and c.get("status") == "True" for c in rows(status.get("conditions"))
            )
        case "deployment" | "statefulset" | "replicaset":
            wanted = spec.get("replicas", 1)
            ready = status.get("readyReplicas") or 0
            return isinstance(wanted, int) and isinstance(ready, int) and ready < wanted
        case _:
            return False
