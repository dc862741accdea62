"""The difference between the live object and the server's dry run, as YAML blocks with the origin of each line.

Apart because who changed a line (our request, the server's defaults and admission, bookkeeping) is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import yaml

from assistant.domain.proposal import DiffLine, LineOrigin
from assistant.policy.limits import MAX_DIFF_LINES

Path = tuple[str, ...]
MISSING: Final = object()
_NOTHING: Final[Mapping[Path, Any]] = MappingProxyType({})
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
# Bookkeeping that moves with every write; shown only on request.
BOOKKEEPING: Final = (
    ("metadata", "managedFields"),
    ("metadata", "resourceVersion"),
    ("metadata", "generation"),
    ("metadata", "uid"),
    ("metadata", "creationTimestamp"),
    ("metadata", "selfLink"),
    ("metadata", "annotations", LAST_APPLIED),
    ("metadata", "annotations", "deployment.kubernetes.io/revision"),
    ("status",),
)
# Keys by which the API merges lists of maps (x-kubernetes-list-map-keys of the 1.36 OpenAPI documents).
_MERGE_KEYS: Final = (
    "name",
    "mountPath",
    "containerPort",
    "port",
    "key",
    "type",
    "ip",
    "topologyKey",
    "uid",
    "devicePath",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One changed place; `before` or `after` is MISSING where it was added or removed."""

    path: Path
    before: Any
    after: Any
    origin: LineOrigin


def changes(
    before: Any, after: Any, touched: frozenset[Path], wanted: Mapping[Path, Any] = _NOTHING, *, hidden: bool = True
) -> list[Change]:
    """Return what differs between two objects, each place with who changes it.

    `touched` are the places that the request itself names, `wanted` the values that it asks for there: a value that
    comes out another one than was asked for is ours up to that value and the server's beyond it, and of a value that
    is new only the named parts are ours.
    """
    found: list[Change] = []
    for path, old, new in walk((), before, after):
        found.extend(_told_apart(path, old, new, touched, wanted))
    found.extend(_dropped(after, wanted))
    return [change for change in found if hidden or change.origin is not LineOrigin.HIDDEN]


def booked(path: Path) -> bool:
    """Say whether a place is bookkeeping, which moves with every write."""
    return any(path[: len(prefix)] == prefix for prefix in BOOKKEEPING)


def _origin(path: Path, touched: frozenset[Path]) -> LineOrigin:
    if booked(path):
        named = any(path[: len(t)] == t for t in touched if len(t) > 1)
        return LineOrigin.OURS if named else LineOrigin.HIDDEN
    if any(path[: len(t)] == t or t[: len(path)] == path for t in touched):
        return LineOrigin.OURS
    return LineOrigin.SERVER


def _told_apart(
    path: Path, old: Any, new: Any, touched: frozenset[Path], wanted: Mapping[Path, Any]
) -> Iterator[Change]:
    origin = _origin(path, touched)
    asked = wanted.get(path, MISSING)
    if origin is not LineOrigin.OURS:
        yield Change(path, old, new, origin)
    elif isinstance(new, dict | list):
        mine, rest = _split(path, new, touched, wanted)
        if mine is not MISSING and mine != old:
            yield Change(path, old, mine, origin)
        for place, was, value in rest:
            by = LineOrigin.HIDDEN if was is MISSING and booked(place) else LineOrigin.SERVER
            yield Change(place, was, value, by)
    elif isinstance(asked, str | int | float) and asked != new:
        if asked != old:
            yield Change(path, old, asked, origin)
        yield Change(path, asked, new, LineOrigin.SERVER)
    else:
        yield Change(path, old, new, origin)


def _split(
    path: Path, value: Any, touched: frozenset[Path], wanted: Mapping[Path, Any]
) -> tuple[Any, list[tuple[Path, Any, Any]]]:
    """Return the part of a new value that the request asks for, and each other place with `was` and value."""
    asked = wanted.get(path, MISSING)
    if isinstance(asked, str | int | float) and asked != value:
        return asked, [(path, asked, value)]
    below = any(len(t) > len(path) and t[: len(path)] == path for t in touched)
    if not below:
        named = any(path[: len(t)] == t for t in touched)
        return (value, []) if named else (MISSING, [(path, MISSING, value)])
    kept: Any
    rest: list[tuple[Path, Any, Any]] = []
    if isinstance(value, dict):
        kept = {}
        key = path[-1][1:].partition("=")[0] if path and path[-1].startswith("[") else ""
        for name, item in value.items():
            if name == key:
                kept[name] = item
                continue
            mine, others = _split((*path, str(name)), item, touched, wanted)
            if mine is not MISSING:
                kept[name] = mine
            rest += others
        return kept, rest
    if isinstance(value, list) and (key := merge_key(value)):
        kept = []
        for item in value:
            place = (*path, f"[{key}={item[key]}]")
            if not any(t[: len(place)] == place for t in touched):
                rest.append((place, MISSING, item))
                continue
            mine, others = _split(place, item, touched, wanted)
            kept.append(mine)
            rest += others
        return kept, rest
    return value, rest


def _dropped(after: Any, wanted: Mapping[Path, Any]) -> Iterator[Change]:
    # A server that does not know a field may leave it away without a word. What is empty it may leave away, too.
    for path, value in wanted.items():
        if not isinstance(value, str | int | float) or not value or booked(path) or path[:1] in ((), ("stringData",)):
            continue
        if look(after, path) is MISSING:
            yield Change(path, MISSING, value, LineOrigin.OURS)
            yield Change(path, value, MISSING, LineOrigin.SERVER)


def diff_lines(found: list[Change]) -> tuple[tuple[DiffLine, ...], int]:
    """Return the lines to show, ours first, hidden last, and how many had to be left out."""
    order = {LineOrigin.OURS: 0, LineOrigin.SERVER: 1, LineOrigin.HIDDEN: 2}
    lines: list[DiffLine] = []
    for change in sorted(found, key=lambda item: order[item.origin]):
        lines.append(DiffLine("@", show_path(change.path), change.origin))
        lines.extend(DiffLine("-", text, change.origin) for text in _block(change.path, change.before))
        lines.extend(DiffLine("+", text, change.origin) for text in _block(change.path, change.after))
    return tuple(lines[:MAX_DIFF_LINES]), max(0, len(lines) - MAX_DIFF_LINES)


def show_path(path: Path) -> str:
    """Return a path as people read it: `spec.template.spec.containers[name=web].image`."""
    text = ""
    for part in path:
        text += part if part.startswith("[") else (f".{part}" if text else part)
    return text or "(whole object)"


def asked(body: Any, before: Any = None, after: Any = None) -> dict[Path, Any]:
    """Return the places that a request body names, with the value it asks for (merge, strategic, apply, whole object).

    The value is MISSING where the request removes something. Lists are keyed as in the two objects around the change.
    """
    found = dict(_leaves((), body, before, after))
    for path, value in list(found.items()):
        if path[:1] == ("stringData",):
            found.setdefault(("data", *path[1:]), MISSING if value is MISSING else None)
    return found


def leaves(body: Any, before: Any = None, after: Any = None) -> frozenset[Path]:
    """Return the places that a request body names."""
    return frozenset(asked(body, before, after))


def named(body: Any, live: Any) -> frozenset[Path]:
    """Return the places that the body of a patch names, list indexes of a JSON patch turned into merge keys."""
    if not isinstance(body, list):
        return leaves(body)
    pointers = [str(item.get(key, "")) for item in body if isinstance(item, dict) for key in ("path", "from")]
    return frozenset(_pointer(pointer, live) for pointer in pointers)


def requested(parsed: Any, live: Any) -> list[Change]:
    """Return the changes that a patch asks for, where no dry run shows what it leads to; `before` as far as known."""
    pairs: list[tuple[Path, Any]] = []
    if isinstance(parsed, list):
        for item in parsed:
            if isinstance(item, dict) and item.get("op") != "test":
                path = _pointer(str(item.get("path", "")), live)
                pairs.append((path, _after(item, look(live, path))))
    else:
        pairs = [(path, look(parsed, path)) for path in sorted(leaves(parsed))]
    found = [Change(path, look(live, path), after, LineOrigin.OURS) for path, after in pairs]
    return [change for change in found if change.before is MISSING or change.before != change.after]


def _after(operation: dict[str, Any], before: Any) -> Any:
    value = operation.get("value")
    if operation.get("op") == "remove":
        return MISSING
    # At the end of a list the pointer leads to the list itself.
    if operation.get("op") == "add" and isinstance(before, list) and not isinstance(value, list):
        return [*before, value]
    return value


def look(value: Any, path: Path) -> Any:
    """Return what stands at a path, MISSING for nothing."""
    for part in path:
        if isinstance(value, list) and "=" not in part:
            index = part.strip("[]")
            value = value[int(index)] if index.isdigit() and int(index) < len(value) else MISSING
        elif isinstance(value, list):
            key, _, name = part.strip("[]").partition("=")
            value = next((i for i in value if isinstance(i, dict) and key in i and str(i[key]) == name), MISSING)
        elif isinstance(value, dict):
            value = value.get(part, MISSING)
        else:
            return MISSING
    return value


def _pointer(pointer: str, live: Any, after: Any = None) -> Path:
    path: list[str] = []
    here, there = live, after
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            index = int(part) if part.isdigit() else len(here)
            key = merge_key(*[side for side in (here, there) if isinstance(side, list)])
            if index >= len(here):
                return tuple(path)
            item = here[index]
            path.append(f"[{key}={item[key]}]" if key else f"[{index}]")
            here, there = item, look(there, (path[-1],)) if key else None
        else:
            path.append(part)
            here = here.get(part) if isinstance(here, dict) else None
            there = there.get(part) if isinstance(there, dict) else None
    return tuple(path)


def merge_key(*lists: list[Any]) -> str:
    """Return the key by which the items of these lists can be told apart, "" where there is none."""
    items = [item for one in lists for item in one]
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    for key in _MERGE_KEYS:
        if all(isinstance(item.get(key), str | int) for item in items) and all(
            len({item[key] for item in one}) == len(one) for one in lists
        ):
            return key
    return ""


def walk(path: Path, before: Any, after: Any) -> Iterator[tuple[Path, Any, Any]]:
    """Yield each place where two values differ, with both sides."""
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            yield from walk((*path, str(key)), before.get(key, MISSING), after.get(key, MISSING))
    elif isinstance(before, list) and isinstance(after, list) and (key := merge_key(before, after)):
        old = {item[key]: item for item in before}
        new = {item[key]: item for item in after}
        found = False
        for name in [*old, *(n for n in new if n not in old)]:
            for item in walk((*path, f"[{key}={name}]"), old.get(name, MISSING), new.get(name, MISSING)):
                found = True
                yield item
        if not found and before != after:
            yield path, before, after
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old_item, new_item) in enumerate(zip(before, after, strict=True)):
            yield from walk((*path, f"[{index}]"), old_item, new_item)
    else:
        yield path, before, after


def _leaves(path: Path, value: Any, before: Any, after: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if not str(key).startswith("$"):
                sides = [side.get(key) if isinstance(side, dict) else None for side in (before, after)]
                yield from _leaves((*path, str(key)), item, *sides)
            elif str(key).startswith("$deleteFromPrimitiveList/"):
                yield (*path, str(key).partition("/")[2]), None
            elif not str(key).startswith("$setElementOrder/"):
                # A directive of the strategic merge ($patch, $retainKeys) is about the whole place it stands in.
                yield path, MISSING
    elif isinstance(value, list) and (key := _shared_key(value, before, after)):
        for item in value:
            rest = {k: v for k, v in item.items() if k != key}
            mark = f"[{key}={item[key]}]"
            sides = [look(side, (mark,)) if isinstance(side, list) else None for side in (before, after)]
            yield from _leaves((*path, mark), rest or {key: item[key]}, *sides)
    else:
        yield path, MISSING if value is None else value


def _shared_key(value: list[Any], before: Any, after: Any) -> str:
    # The key by which the walk over both objects will tell the items apart; without it the list is named as a whole.
    sides = [side for side in (before, after) if isinstance(side, list)]
    key = merge_key(*sides) if sides else merge_key(value)
    return key if value and all(isinstance(item, dict) and key in item for item in value) else ""


def _block(path: Path, value: Any) -> list[str]:
    if value is MISSING:
        return []
    name = path[-1] if path else ""
    shown = value if not name or name.startswith("[") else {name: value}
    if name.startswith("["):
        shown = [value]
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    return [line for line in text.rstrip("\n").split("\n") if line != "..."]
