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

_PROBES: Final = frozenset({"livenessProbe", "readinessProbe", "startupProbe"})
# Lists of a container or a pod whose items each are a setting.
_LISTS: Final = frozenset({"ports", "env", "envFrom", "volumeMounts", "volumeDevices", "volumes"})
# Maps of which every part counts.
_MAPS: Final = frozenset({"resources", "securityContext"})


def template_losses(kind: str, before: Any, after: Any) -> str:
    """Return the fields of a pod template that go, by container, "" for none: ports, env, probes, resources, volumes.

    Containers are looked for in every object, so that a custom resource with a pod template counts too.
    """
    template = () if kind == "Pod" else POD_TEMPLATES.get(kind)
    found = _gone(before, after)
    lost = [c for c in found if _of_template(c.path, template) and _fewer(c, found)]
    homes: dict[str, list[str]] = {}
    for container, name in removals(lost):
        homes.setdefault(container, []).append(name)
    return "; ".join(f"{home} {listing(names)}".lstrip() for home, names in homes.items())


def list_losses(kind: str, before: Any, after: Any) -> str:
    """Return what else goes from lists: entries, and fields of entries that get none in their place; "" for none."""
    template = () if kind == "Pod" else POD_TEMPLATES.get(kind)
    found = _gone(before, after)
    lost = [
        c for c in found
        if any(part.startswith("[") for part in c.path) and not _of_template(c.path, template) and _fewer(c, found)
    ]  # fmt: skip
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


def _fewer(change: Change, found: list[Change]) -> bool:
    if change.after is not MISSING or change.before in ({}, [], "", None):
        return False
    whole = place_of(change.path).rest[-1:] == change.path[-1:] and change.path[-1] in _LISTS | _MAPS | _PROBES
    if whole:
        return True
    balance = Counter(c.path[:-1] for c in found if c.after is MISSING)
    balance.subtract(c.path[:-1] for c in found if c.before is MISSING)
    return balance[change.path[:-1]] > 0


def _of_template(path: Path, template: Path | None) -> bool:
    place = place_of(path)
    if place.container:
        rest = place.rest
        if not rest:
            return True
        if rest[0] in _MAPS:
            return True
        return len(rest) == 1 if rest[0] in _PROBES else rest[0] in _LISTS and len(rest) <= 2
    if template is None or path[: len(template) + 1] != (*template, "spec"):
        return False
    rest = path[len(template) + 1 :]
    return rest[:1] == ("securityContext",) or (rest[:1] == ("volumes",) and len(rest) <= 2) or (
        rest in (("initContainers",), ("containers",))
    )  # fmt: skip
