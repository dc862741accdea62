"""What a change takes away from a running workload or from a list: the fields that nobody meant to lose.

Apart from the other risk rules, because it is decided by the object before and after alone, whoever takes it away.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from assistant.domain.proposal import LineOrigin
from assistant.policy.diff import MISSING, Change, Path, booked, walk
from assistant.policy.summary import listing, place_of, removals
from assistant.policy.surroundings import POD_TEMPLATES

# Fields of a container or a pod that are a loss when they go whole, whatever comes beside them.
_WHOLE: Final = frozenset(
    {"ports", "env", "envFrom", "volumeMounts", "volumeDevices", "volumes", "resources", "securityContext"}
    | {"livenessProbe", "readinessProbe", "startupProbe", "containers", "initContainers"}
)  # fmt: skip
# Maps of a container or a pod of which every part counts.
_MAPS: Final = frozenset({"resources", "securityContext"})


def template_losses(kind: str, before: Any, after: Any) -> str:
    """Return what goes from a pod template, by container, "" for nothing.

    Containers are looked for in every object, so that a custom resource with a pod template counts too.
    """
    found = _gone(before, after)
    lost = [change for change in found if _in_template(change.path, kind) is not None and _is_loss(change, found, kind)]
    homes: dict[str, list[str]] = {}
    for container, name in removals(lost):
        homes.setdefault(container, []).append(name)
    return "; ".join(f"{home} {listing(names)}".lstrip() for home, names in homes.items())


def list_losses(kind: str, before: Any, after: Any) -> str:
    """Return what else goes from lists: entries, and fields of entries that get none in their place; "" for nothing."""
    found = _gone(before, after)
    lost = [change for change in found if _in_template(change.path, kind) is None and _is_loss(change, found, kind)]
    shorter = [
        Change(path, old, MISSING, LineOrigin.OURS)
        for path, old, new in walk((), before, after)
        if not booked(path) and isinstance(old, list) and isinstance(new, list) and len(new) < len(old)
        and all(isinstance(item, dict) for item in old)
    ]  # fmt: skip
    return listing([f"{home} {name}".lstrip() for home, name in removals([*lost, *shorter])])


def _gone(before: Any, after: Any) -> list[Change]:
    # An addition stands in it, too: what takes the place of something is no loss.
    return [
        Change(path, old, new, LineOrigin.OURS)
        for path, old, new in walk((), before, after)
        if not booked(path) and path[:2] != ("metadata", "managedFields") and (old is MISSING or new is MISSING)
    ]


def _is_loss(change: Change, found: list[Change], kind: str) -> bool:
    if change.after is not MISSING or change.before in ({}, [], "", None):
        return False
    inside = _in_template(change.path, kind)
    if inside is not None and (not inside or inside[0] in (_WHOLE if len(inside) == 1 else _MAPS)):
        return True
    if not any(part.startswith("[") for part in change.path):
        return False
    balance = Counter(c.path[:-1] for c in found if c.after is MISSING)
    balance.subtract(c.path[:-1] for c in found if c.before is MISSING)
    return balance[change.path[:-1]] > 0


def _in_template(path: Path, kind: str) -> Path | None:
    """Return the path inside of a container or of the spec of a pod template, None for what is in neither."""
    place = place_of(path)
    if place.container:
        return place.rest
    template = () if kind == "Pod" else POD_TEMPLATES.get(kind)
    if template is None or path[: len(template) + 1] != (*template, "spec"):
        return None
    return path[len(template) + 1 :]
