"""Kueue's quotas in numbers: what a queue may give of a resource in a flavor, what it has given, and to whom."""

from __future__ import annotations

from dataclasses import dataclass

from agents.expert.analyzers.queues import WORKLOADS
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota of a queue: its path, what is nominal, and what is given away, all in base units."""

    path: str
    nominal: float
    used: float
    known: bool


def quota_of(view: ClusterView, queue: Thing, what: str, flavor: str) -> Quota | None:
    """Return a queue's quota of a resource in a flavor, with what its status says is reserved; None without one.

    Cohorts lend more than that: what may be borrowed is no part of it.
    """
    for i, group in enumerate(queue.rows("spec.resourceGroups")):
        for j, entry in enumerate(rows(group.get("flavors"))):
            for k, resource in enumerate(rows(entry.get("resources"))):
                if entry.get("name") == flavor and resource.get("name") == what:
                    path = f"spec.resourceGroups[{i}].flavors[{j}].resources[{k}].nominalQuota"
                    used, known = _reserved(view, queue, what, flavor)
                    return Quota(path, quantity(resource.get("nominalQuota")), used, known)
    return None


def _reserved(view: ClusterView, queue: Thing, what: str, flavor: str) -> tuple[float, bool]:
    for name in ("flavorsReservation", "flavorsUsage"):
        for entry in queue.rows(f"status.{name}"):
            for resource in rows(entry.get("resources")):
                if entry.get("name") == flavor and resource.get("name") == what:
                    return quantity(resource.get("total")), True
    # Without it, those that can be seen have to do: all of them only where every namespace was read.
    return sum(n for _, n in holders(view, queue, what, flavor)), view.complete(WORKLOADS) and not view.namespace


def holders(view: ClusterView, queue: Thing, what: str, flavor: str) -> list[tuple[Thing, float]]:
    """Return the workloads that hold a resource of a flavor in a queue, the largest first."""
    memo = view.memo("kueue-holders", logs=False)
    if "all" not in memo:
        index: dict[tuple[str, str, str], list[tuple[Thing, float]]] = {}
        for work in view.all(WORKLOADS):
            home = work.text("status.admission.clusterQueue")
            if not home or work.condition("Finished").get("status") == "True":
                continue
            sums: dict[tuple[str, str, str], float] = {}
            for part in work.rows("status.admission.podSetAssignments"):
                for name, amount in mapping(part.get("resourceUsage")).items():
                    key = (home, name, text(mapping(part.get("flavors")).get(name)))
                    sums[key] = sums.get(key, 0.0) + quantity(amount)
            for key, amount in sums.items():
                index.setdefault(key, []).append((work, amount))
        memo["all"] = index
    found: dict[tuple[str, str, str], list[tuple[Thing, float]]] = memo["all"]
    return sorted(found.get((queue.name, what, flavor), []), key=lambda pair: -pair[1])


def shown(what: str, amount: float) -> str:
    """Return an amount of a resource as people write it."""
    if "memory" in what or "storage" in what:
        return shown_bytes(amount)
    return f"{amount:g}"
