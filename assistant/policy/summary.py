"""Changed places in the words of the people who run clusters: `set image of container web in …: 5.21.0 → 5.12.0`.

Apart from the diff, because this is the one line that is read first, in a list, at night; values may be shortened here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from assistant.domain.target import Target
from assistant.policy.diff import BOOKKEEPING, LAST_APPLIED, MISSING, Change, Path, show_path
from assistant.policy.redact import has_placeholder
from assistant.policy.redact_text import sensitive_name

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
HIDDEN: Final = "(hidden)"
_SHOWN_CHANGES: Final = 3
_SHOWN_ITEMS: Final = 2
_SHOWN_REMOVALS: Final = 5
_LISTED_CHARACTERS: Final = 100
_VALUE_CHARACTERS: Final = 48
_PATH_CHARACTERS: Final = 60
_CONTAINER_LISTS: Final = {
    "containers": "container",
    "initContainers": "init container",
    "ephemeralContainers": "ephemeral container",
}
_PROBES: Final = frozenset({"livenessProbe", "readinessProbe", "startupProbe"})
# Maps and lists that hold one setting an entry: added or removed whole, they are still told entry by entry.
_ENTRIES: Final = frozenset(
    {"annotations", "labels", "matchLabels", "nodeSelector", "data", "binaryData", "stringData", "selector"}
    | {"resources", "limits", "requests", "env"}
)  # fmt: skip
_DATA: Final = (("data",), ("binaryData",), ("stringData",))
_DROPPED: Final = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "uid"), ("metadata", "namespace"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change is: the list and name of a container, "" outside of one, and the path inside of it."""

    containers: str
    container: str
    rest: Path

    @property
    def env(self) -> str:
        """Return the name of the environment variable that the place is the literal value of, else ""."""
        match self.rest:
            case ("env", item) | ("env", item, "value") if item.startswith("[name="):
                return _key(item)
            case _:
                return ""


def place_of(path: Path) -> Place:
    """Return a path split at its container."""
    for index, part in enumerate(path[:-1]):
        if part in _CONTAINER_LISTS and path[index + 1].startswith("[name="):
            return Place(part, _key(path[index + 1]), path[index + 2 :])
    return Place("", "", path)


def each(found: Sequence[Change]) -> list[Change]:
    """Return the changes with maps of settings taken apart, without bookkeeping and what only names the object."""
    out: list[Change] = []
    for change in found:
        out.extend(_apart(change))
    named = _without(out, _DROPPED)
    # A request that writes nothing but bookkeeping (a status, say) must not read as one that changes nothing.
    return _without(named, BOOKKEEPING) or named


def _without(found: Sequence[Change], places: Sequence[Path]) -> list[Change]:
    return [change for change in found if not any(change.path[: len(place)] == place for place in places)]


def applied(found: Sequence[Change]) -> bool:
    """Say whether the request writes the annotation of a client-side `kubectl apply`."""
    return any(entry.path[-1:] == (LAST_APPLIED,) for change in found for entry in _apart(change))


def switched(change: Change, kind: str) -> str:
    """Return what the people who run clusters call this switch (`cordon`, `pause`), "" where it is none."""
    on = change.after is True
    match kind, change.path:
        case "Node", ("spec", "unschedulable"):
            return "cordon" if on else "uncordon"
        case "Deployment", ("spec", "paused"):
            return "pause" if on else "resume"
        case _:
            return ""


def env_value(change: Change) -> str | None:
    """Return the literal value that a change of an environment variable sets, None where it is no literal."""
    value = change.after
    if isinstance(value, dict) and set(value) <= {"name", "value"}:
        value = value.get("value", "")
    return value if isinstance(value, str) else None


def is_restart(found: Sequence[Change]) -> bool:
    """Say whether all that changes is the annotation that `kubectl rollout restart` sets."""
    return [change.path for change in found] == [("spec", "template", "metadata", "annotations", RESTARTED_AT)]


def told(found: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """Return what is set and what is removed, each as it is told: a map or list that goes whole is one removal."""
    kept: list[Change] = []
    removed: list[Change] = []
    for change in found:
        parts = each([change])
        if _is_gone(change.after):
            # Whole, but for labels and annotations: some of these are bookkeeping.
            whole = change.path[-1:] not in (("labels",), ("annotations",))
            removed += [change] if parts and whole else parts
        else:
            kept += [part for part in parts if not _is_gone(part.after)]
            removed += [part for part in parts if _is_gone(part.after)]
    named = [_without(side, BOOKKEEPING) for side in (kept, removed)]
    return (named[0], named[1]) if any(named) else (kept, removed)


def removals(removed: Sequence[Change]) -> list[tuple[str, str]]:
    """Return the container ("" outside of one) and the name of each removed thing; limits and requests are resources.

    The same name twice is one thing.
    """
    names = [(place.container if place.rest else "", _removed_name(place)) for place in _places(removed)]
    for container, name in list(names):
        pair = [(container, f"resources.{kind}") for kind in ("limits", "requests")]
        if name == "resources.limits" and pair[1] in names:
            names = [(container, "resources") if item == pair[0] else item for item in names if item != pair[1]]
    return list(dict.fromkeys(names))


def listing(names: Sequence[str], most: int = _SHOWN_REMOVALS) -> str:
    """Return names in one line; what is too much for it is counted."""
    shown = list(names[:most])
    while len(shown) > 1 and sum(map(len, shown)) > _LISTED_CHARACTERS:
        shown.pop()
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def summary(found: Sequence[Change], target: Target, verb: str = "change") -> str:
    """Return one line for what a request changes in `target`; an empty list is said to change nothing.

    A line that says one change says the removals beside it, and what it does not say it counts.
    """
    kept, removed = told(found)
    if not kept and not removed:
        return f"{verb} nothing in {target}"
    if is_restart(kept) and not removed:
        return f"restart {target}"
    if len(kept) + len(removed) == 1:
        return _one((kept or removed)[0], target)
    gone = removals(removed)
    if not kept:
        inside = {(place.containers, place.container) for place in _places(removed) if place.rest}
        if len(inside) == 1 and all(place.rest for place in _places(removed)) and (home := inside.pop())[1]:
            names, where = [name for _, name in gone], f"{_CONTAINER_LISTS[home[0]]} {home[1]} in {target}"
        else:
            names, where = [" ".join(part for part in pair if part) for pair in gone], str(target)
        return f"remove {listing(names)} from {where}"
    if len(kept) == 1:
        return f"{_one(kept[0], target)}, and removes {listing(_beside(gone, place_of(kept[0].path).container))}"
    most = _SHOWN_CHANGES - bool(gone)
    lines = [_short(change, target.kind) for change in kept[:most]]
    lines += [f"removes {listing(_beside(gone, ''))}"] if gone else []
    lines += [f"and {len(kept) - most} more"] if len(kept) > most else []
    return f"{verb} {target}: {'; '.join(lines)}"


def with_removals(line: str, found: Sequence[Change]) -> str:
    """Return a line that says something of the whole request, with what the request removes."""
    gone = removals(told(found)[1])
    return f"{line}, and removes {listing(_beside(gone, ''))}" if gone else line


def _beside(gone: Sequence[tuple[str, str]], container: str) -> list[str]:
    return [name if home in ("", container) else f"{home} {name}" for home, name in gone]


def _places(removed: Sequence[Change]) -> list[Place]:
    return [place_of(change.path) for change in removed]


def _removed_name(place: Place) -> str:
    if not place.rest:
        return _clip(f"{_CONTAINER_LISTS.get(place.containers, 'whole object')} {place.container}".rstrip())
    return _clip(_what(place))


def _apart(change: Change) -> list[Change]:
    before, after, path = change.before, change.after, change.path
    if not path or path[-1] not in _ENTRIES or (len(path) == 1 and path not in _DATA):
        return [change]
    if path[-1] == "env":
        before, after = _by_name(before), _by_name(after)
    sides = [value for value in (before, after) if value is not MISSING and value is not None]
    if not sides or not all(isinstance(value, dict) for value in sides):
        return [change]
    old, new = (value if isinstance(value, dict) else {} for value in (before, after))
    out: list[Change] = []
    for key in [*old, *(k for k in new if k not in old)]:
        was, now = old.get(key, MISSING), new.get(key, MISSING)
        if was is MISSING or was != now:
            out.extend(_apart(replace(change, path=(*path, str(key)), before=was, after=now)))
    return out


def _by_name(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value):
        return {f"[name={item['name']}]": item for item in value}
    return value


def _one(change: Change, target: Target) -> str:
    place = place_of(change.path)
    if not change.path:
        return f"replace {target}"
    if change.path == ("spec", "replicas") and not _is_gone(change.after):
        before = f" {_plain(change.before)}" if _plain(change.before) else ""
        return f"scale {target}{before} → {_plain(change.after)}"
    if word := switched(change, target.kind):
        return f"{word} {target}" if target.kind == "Node" else f"{word} the rollout of {target}"
    added, removed = change.before is MISSING, _is_gone(change.after)
    noun = _CONTAINER_LISTS.get(place.containers, "")
    if place.container and not place.rest:
        verb, link = ("add", "to") if added else ("remove", "from") if removed else ("replace", "in")
        return f"{verb} {noun} {place.container} {link} {target}"
    where = f"{noun} {place.container} in {target}" if place.container else str(target)
    if moved := _moved(change):
        link = "to" if moved[0].startswith("add") else "from"
        return f"{moved[0]} {link} {where}" if len(moved) == 1 else f"change {where}: {'; '.join(moved)}"
    if removed:
        return f"remove {_what(place)} from {where}"
    entry = bool(place.env) or change.path[:1] in _DATA
    verb = "set" if entry or place.rest == ("image",) else "change"
    link = "in" if entry and not place.env else "of"
    if added:
        whole = isinstance(change.after, dict | list) and not place.env
        verb, link = ("add", "to") if whole else ("set", link)
    return f"{verb} {_what(place)} {link} {where}{_values(change, target.kind)}"


def _short(change: Change, kind: str) -> str:
    place = place_of(change.path)
    inside = f"{place.container} " if place.container else ""
    whole = f"{_CONTAINER_LISTS.get(place.containers, 'whole object')} {place.container}".rstrip()
    what = inside + _what(place) if place.rest else whole
    if moved := _moved(change):
        return inside + "; ".join(moved)
    values = _values(change, kind).removeprefix(": ")
    if change.before is MISSING:
        return f"{what} added {values}".rstrip()
    return f"{what}{values}" if values.startswith((",", " (")) else f"{what} {values or 'changed'}"


def _is_gone(value: Any) -> bool:
    return value is MISSING or value is None


def _what(place: Place) -> str:
    rest = place.rest
    match rest:
        case ("env", item, *deeper) if item.startswith("[name="):
            return ".".join([f"env {_key(item)}", *(deeper if deeper != ["value"] else [])])
        case ("resources", "limits" | "requests" as kind, resource):
            return f"{resource} {kind.removesuffix('s')}"
        case (probe, *deeper) if probe in _PROBES and deeper:
            return f"{probe} {deeper[-1]}"
        case ("metadata", "labels" | "annotations" as kind, name):
            return f"{kind.removesuffix('s')} {name}"
        case ("spec", "template", "metadata", "labels" | "annotations" as kind, name):
            return f"pod {kind.removesuffix('s')} {name}"
        case ("data" | "binaryData" | "stringData", name):
            return name
        case ("spec", "selector", name) | ("spec", "selector", "matchLabels", name):
            return f"selector {name}"
        case ("spec", "ports", item, field) if item.startswith("["):
            return f"{field} of port {_key(item)}"
        case ("metadata", "finalizers"):
            return "finalizers"
        case _:
            return _shortened(rest)


def _shortened(path: Path) -> str:
    for prefix in (("spec", "template", "spec"), ("spec",)):
        if path[: len(prefix)] == prefix and len(path) > len(prefix):
            path = path[len(prefix) :]
            break
    text = show_path(path) if path else ""
    while len(text) > _PATH_CHARACTERS and len(path) > 1:
        # Whole parts only: half a field name is a name that does not exist.
        path = path[1:]
        text = "…" + show_path(path)
    return text


def _moved(change: Change) -> list[str]:
    # Lists of plain values (finalizers, arguments): what went and what came says more than both lists whole.
    before, after = ([] if _is_gone(value) else value for value in (change.before, change.after))
    plain = all(isinstance(side, list) and all(isinstance(i, str | int) for i in side) for side in (before, after))
    if not plain or not change.path:
        return []
    noun = change.path[-1].removesuffix("s")
    gone = [item for item in before if item not in after]
    came = [item for item in after if item not in before]
    if max(len(gone), len(came)) > _SHOWN_ITEMS:
        return []
    return [f"remove {noun} {_value(item)}" for item in gone] + [f"add {noun} {_value(item)}" for item in came]


def _values(change: Change, kind: str) -> str:
    before, after, env = change.before, change.after, place_of(change.path).env
    if change.path[-1:] == ("image",) and isinstance(before, str) and isinstance(after, str):
        return ": " + " → ".join(_tags(before, after))
    if env:
        before, after = (_env(value) for value in (before, after))
    if kind == "Secret" and change.path[:1] in _DATA:
        return ""
    if sensitive_name(env) or (change.path[:1] in _DATA and sensitive_name(change.path[-1])):
        return f": {HIDDEN}"
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        return _lines(before, after)
    if isinstance(after, dict | list) or isinstance(before, dict | list):
        return ""
    free = change.path[:1] in _DATA or change.path[-2:-1] in (("labels",), ("annotations",)) or bool(env)
    if before is MISSING:
        return f": {_value(after, quoted=free)}"
    return f": {_value(before, quoted=free)} → {_value(after, quoted=free)}"


def _env(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("value", "") if set(value) <= {"name", "value"} else value
    return value


def _lines(before: str, after: str) -> str:
    old, new = before.splitlines(), after.splitlines()
    differing = [number for number, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]]
    if len(old) != len(new):
        return f" ({len(old)} lines → {len(new)} lines)"
    if len(differing) != 1:
        return f" ({len(differing)} lines)"
    number = differing[0]
    return f", line {number + 1}: {_value(old[number].strip())} → {_value(new[number].strip())}"


def _tags(before: str, after: str) -> tuple[str, str]:
    (was, old), (now, new) = _split_image(before), _split_image(after)
    return (old, new) if was == now and old and new else (_clip(before), _clip(after))


def _split_image(image: str) -> tuple[str, str]:
    name, at, digest = image.partition("@")
    if at:
        return name, digest[:19]
    head, colon, tag = image.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (image, "")


def _plain(value: Any) -> str:
    return "" if value is MISSING or value is None else str(value)


def _value(value: Any, *, quoted: bool = True) -> str:
    if isinstance(value, str):
        if has_placeholder(value):
            return HIDDEN
        text = _clip(value)
        # A plain word needs no quotes; where any text may stand, '20' must not read like the number.
        plain = bool(text) and " " not in text and (text[0].isalpha() or not quoted)
        return text if plain else f"'{text}'"
    if value is None or value is MISSING:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clip(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _VALUE_CHARACTERS else flat[: _VALUE_CHARACTERS - 1] + "…"


def _key(item: str) -> str:
    return item.strip("[]").partition("=")[2]
