"""The difference between the live object and the server's dry run, as YAML blocks with the origin of each line.

Apart because who changed a line (our request, the server's defaults and admission, bookkeeping) is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from assistant.domain.proposal import DiffLine, LineOrigin
from assistant.policy.limits import MAX_DIFF_LINES

Path = tuple[str, ...]
MISSING: Final = object()
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


def changes(before: Any, after: Any, touched: frozenset[Path], *, hidden: bool = True) -> list[Change]:
    """Return what differs between two objects; `touched` are the places that the request itself names."""
    found = []
    for path, old, new in _walk((), before, after):
        if any(path[: len(prefix)] == prefix for prefix in BOOKKEEPING):
            origin = LineOrigin.HIDDEN
            if any(path[: len(t)] == t for t in touched if len(t) > 1):
                origin = LineOrigin.OURS
        elif any(path[: len(t)] == t or t[: len(path)] == path for t in touched):
            origin = LineOrigin.OURS
        else:
            origin = LineOrigin.SERVER
        if hidden or origin is not LineOrigin.HIDDEN:
            found.append(Change(path, old, new, origin))
    return found


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


def leaves(body: Any, live: Any = None) -> frozenset[Path]:
    """Return the places that a request body names (merge, strategic, apply or whole object)."""
    return frozenset(_leaves((), body))


def pointer_paths(operations: list[Any], live: Any) -> frozenset[Path]:
    """Return the places that a JSON patch (RFC 6902) changes, with list indexes turned into merge keys."""
    found = set()
    for operation in operations:
        if isinstance(operation, dict) and operation.get("op") != "test":
            found.add(_pointer(str(operation.get("path", "")), live))
            if operation.get("op") == "move":
                found.add(_pointer(str(operation.get("from", "")), live))
    return frozenset(found)


def requested(parsed: Any, live: Any) -> list[Change]:
    """Return the changes that a patch asks for, where no dry run shows what it leads to; `before` as far as known."""
    pairs: list[tuple[Path, Any]] = []
    if isinstance(parsed, list):
        for item in parsed:
            if isinstance(item, dict) and item.get("op") != "test":
                path = _pointer(str(item.get("path", "")), live)
                pairs.append((path, _after(item, _look(live, path))))
    else:
        pairs = [(path, _look(parsed, path)) for path in sorted(leaves(parsed))]
    found = [Change(path, _look(live, path), after, LineOrigin.OURS) for path, after in pairs]
    return [change for change in found if change.before is MISSING or change.before != change.after]


def _after(operation: dict[str, Any], before: Any) -> Any:
    value = operation.get("value")
    if operation.get("op") == "remove":
        return MISSING
    # At the end of a list the pointer leads to the list itself.
    if operation.get("op") == "add" and isinstance(before, list) and not isinstance(value, list):
        return [*before, value]
    return value


def _look(value: Any, path: Path) -> Any:
    for part in path:
        if isinstance(value, list):
            key, _, name = part.strip("[]").partition("=")
            value = next((i for i in value if isinstance(i, dict) and key in i and str(i[key]) == name), MISSING)
        elif isinstance(value, dict):
            value = value.get(part, MISSING)
        else:
            return MISSING
    return value


def _pointer(pointer: str, live: Any) -> Path:
    path: list[str] = []
    here = live
    for raw in pointer.split("/")[1:]:
        part = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list):
            index = int(part) if part.isdigit() else len(here)
            key = _merge_key(here)
            if index >= len(here):
                return tuple(path)
            item = here[index]
            path.append(f"[{key}={item[key]}]" if key else f"[{index}]")
            here = item
        else:
            path.append(part)
            here = here.get(part) if isinstance(here, dict) else None
    return tuple(path)


def _merge_key(*lists: list[Any]) -> str:
    items = [item for one in lists for item in one]
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    for key in _MERGE_KEYS:
        if all(isinstance(item.get(key), str | int) for item in items) and all(
            len({item[key] for item in one}) == len(one) for one in lists
        ):
            return key
    return ""


def _walk(path: Path, before: Any, after: Any) -> Iterator[tuple[Path, Any, Any]]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            yield from _walk((*path, str(key)), before.get(key, MISSING), after.get(key, MISSING))
    elif isinstance(before, list) and isinstance(after, list) and (key := _merge_key(before, after)):
        old = {item[key]: item for item in before}
        new = {item[key]: item for item in after}
        found = False
        for name in [*old, *(n for n in new if n not in old)]:
            for item in _walk((*path, f"[{key}={name}]"), old.get(name, MISSING), new.get(name, MISSING)):
                found = True
                yield item
        if not found and before != after:
            yield path, before, after
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old_item, new_item) in enumerate(zip(before, after, strict=True)):
            yield from _walk((*path, f"[{index}]"), old_item, new_item)
    else:
        yield path, before, after


def _leaves(path: Path, value: Any) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if str(key).startswith("$"):
                yield path
            else:
                yield from _leaves((*path, str(key)), item)
    elif isinstance(value, list) and (key := _merge_key(value)):
        for item in value:
            rest = {k: v for k, v in item.items() if k != key}
            place = (*path, f"[{key}={item[key]}]")
            yield from _leaves(place, rest) if rest else iter([place])
    else:
        yield path


def _block(path: Path, value: Any) -> list[str]:
    if value is MISSING:
        return []
    name = path[-1] if path else ""
    shown = value if not name or name.startswith("[") else {name: value}
    if name.startswith("["):
        shown = [value]
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=False)
    return [line for line in text.rstrip("\n").split("\n") if line != "..."]
