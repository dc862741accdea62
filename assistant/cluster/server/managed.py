"""Field ownership: `managedFields`, updates that take fields over, and server-side apply with its conflicts.

Follows structured-merge-diff: a set of owned paths per manager, where lists with `x-kubernetes-list-type: map` are
addressed by key, sets by value, and atomic lists and maps as a whole.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assistant.cluster.server import schema
from assistant.cluster.server.patch import same
from assistant.cluster.server.schema import Spec
from assistant.cluster.server.status import ApiError

Object = dict[str, Any]
Path = tuple[str, ...]

# Never owned by anybody (kube apiserver, fieldmanager/stripmeta.go).
_UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields",
                     "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds")
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the manager's name, the API version it speaks, the time as RFC 3339 text, and a subresource."""

    manager: str
    api_version: str
    time: str
    subresource: str = ""


def fields_of(item: Object, spec: Spec) -> dict[Path, Any]:
    """Return every owned path of an object with its value; for containers that are merely present, None."""
    found: dict[Path, Any] = {}
    _walk(item, spec, (), found)
    return {path: value for path, value in found.items() if path not in _UNOWNED and path[:2] not in _UNOWNED}


def _walk(value: Any, spec: Spec, path: Path, found: dict[Path, Any]) -> None:
    whole = schema.resolve(spec)
    if isinstance(value, dict) and whole.get("map") != "atomic":
        if not value:
            found[path] = None
        for name, item in value.items():
            below = (*path, f"f:{name}")
            if not path and name in ("apiVersion", "kind"):
                continue
            if isinstance(item, dict) and "fields" not in whole:
                found[below] = None
            _walk(item, schema.child(whole, name), below, found)
    elif isinstance(value, list) and whole.get("list") in ("map", "set"):
        for element, item in _elements(value, whole):
            found[(*path, element)] = None
            if whole["list"] == "map":
                _walk(item, schema.items(whole), (*path, element), found)
    else:
        found[path] = value


def _elements(value: list[Any], spec: Spec) -> Iterator[tuple[str, Any]]:
    for item in value:
        yield _element(item, spec), item


def _element(item: Any, spec: Spec) -> str:
    if spec.get("list") == "set" or not isinstance(item, dict):
        return f"v:{json.dumps(item, separators=(',', ':'))}"
    keys = {key: item[key] for key in spec.get("keys", []) if key in item}
    if "protocol" in spec.get("keys", []):
        keys.setdefault("protocol", "TCP")  # the one key with a default in the API
    return f"k:{json.dumps(dict(sorted(keys.items())), separators=(',', ':'))}"


def flatten(fields: Object, prefix: Path = ()) -> set[Path]:
    """Return the paths of a `fieldsV1`."""
    found: set[Path] = set()
    for name, below in fields.items():
        if name == ".":
            found.add(prefix)
        elif not below:
            found.add((*prefix, name))
        else:
            found |= flatten(below, (*prefix, name))
    return found


def nest(paths: set[Path]) -> Object:
    """Return the `fieldsV1` of a set of paths."""
    made: Object = {}
    for path in sorted(paths):
        node = made
        for part in path:
            node = node.setdefault(part, {})
    for path in paths:
        node = made
        for part in path:
            node = node[part]
        if node:
            node["."] = {}
    return made


def _entries(item: Object) -> list[Object]:
    return list(item["metadata"].get("managedFields") or [])


def _store(item: Object, entries: list[Object]) -> Object:
    kept = [entry for entry in entries if entry["fieldsV1"]]
    meta = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": {**meta, "managedFields": kept} if kept else meta}


def _entry(writer: Writer, operation: str, paths: set[Path]) -> Object:
    made = {
        "manager": writer.manager,
        "operation": operation,
        "apiVersion": writer.api_version,
        "time": writer.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": nest(paths),
    }
    return {**made, "subresource": writer.subresource} if writer.subresource else made


def _is(entry: Object, writer: Writer, operation: str) -> bool:
    return (
        entry.get("manager") == writer.manager
        and entry.get("operation") == operation
        and entry.get("subresource", "") == writer.subresource
    )


def track_update(live: Object | None, new: Object, spec: Spec, writer: Writer) -> Object:
    """Return `new` with the ownership after an ordinary write by `writer`.

    An object whose ownership was never recorded stays without (apiserver, skipnonapplied.go): its managedFields were
    removed from the bundle, and inventing them would put words into the record.
    """
    if live is not None and not _entries(live):
        return _store(new, [])
    before = fields_of(live, spec) if live else {}
    after = fields_of(new, spec)
    changed = {path for path, value in after.items() if path not in before or not same(before[path], value)}
    gone = before.keys() - after.keys()
    if not changed and not gone and live is not None:
        return _store(new, _entries(live))
    made: list[Object] = []
    own: set[Path] = set()
    for entry in _entries(live) if live else []:
        if _is(entry, writer, "Update"):
            own = flatten(entry["fieldsV1"])
        else:
            made.append({**entry, "fieldsV1": nest(flatten(entry["fieldsV1"]) - changed - gone)})
    return _store(new, [*made, _entry(writer, "Update", (own | changed) - gone)])


def apply(live: Object, applied: Object, spec: Spec, writer: Writer, *, force: bool) -> Object:
    """Return `live` after a server-side apply of `applied`. Raises ApiError 409 with every conflict, unless `force`."""
    entries = _entries(live)
    if not entries and live["metadata"].get("uid"):
        first = Writer("before-first-apply", writer.api_version, writer.time)
        entries = [_entry(first, "Update", set(fields_of(live, spec)))]
    others = [entry for entry in entries if not _is(entry, writer, "Apply")]
    last = set().union(*(flatten(entry["fieldsV1"]) for entry in entries if _is(entry, writer, "Apply")))
    owned = [flatten(entry["fieldsV1"]) for entry in others]
    wanted, current = fields_of(applied, spec), fields_of(live, spec)
    changed = {path for path, value in wanted.items() if path not in current or not same(current[path], value)}
    conflicts = [
        (entry, sorted(paths & changed)) for entry, paths in zip(others, owned, strict=True) if paths & changed
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    made = _merge(live, applied, spec)
    kept = set().union(*owned) | set(wanted)
    for path in sorted(last - set(wanted), key=len):  # a list item goes before the key that it is found by
        if not any(other[: len(path)] == path for other in kept):
            _remove(made, path)
    remaining = [
        {**entry, "fieldsV1": nest(paths - changed)} if paths & changed else entry
        for entry, paths in zip(others, owned, strict=True)
    ]
    unchanged = last == set(wanted) and not changed
    own = [entry for entry in entries if _is(entry, writer, "Apply")] if unchanged else []
    return _store(made, [*(own or [_entry(writer, "Apply", set(wanted))]), *remaining])


def _merge(live: Any, applied: Any, spec: Spec) -> Any:
    whole = schema.resolve(spec)
    if isinstance(live, dict) and isinstance(applied, dict) and whole.get("map") != "atomic":
        made = dict(live)
        for name, value in applied.items():
            made[name] = _merge(live[name], value, schema.child(whole, name)) if name in live else copy.deepcopy(value)
        return made
    if isinstance(live, list) and isinstance(applied, list) and whole.get("list") in ("map", "set"):
        known = dict(_elements(live, whole))
        new = dict(_elements(applied, whole))
        merged = {element: _merge(item, new[element], schema.items(whole)) if element in new else item
                  for element, item in known.items()}  # fmt: skip
        return [*merged.values(), *(copy.deepcopy(item) for element, item in new.items() if element not in known)]
    return copy.deepcopy(applied)


def _remove(item: Any, path: Path) -> None:
    """Take the value at `path` out of `item`; a path that is already gone is fine."""
    node = item
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        kind, text = part[:2], part[2:]
        if kind == "f:" and isinstance(node, dict) and text in node:
            if last:
                node[text] = None
                del node[text]
                return
            node[text] = copy.copy(node[text])
            node = node[text]
        elif isinstance(node, list):
            wanted = json.loads(text)
            at = next((i for i, entry in enumerate(node) if _fits(entry, wanted, kind)), None)
            if at is None:
                return
            if last:
                del node[at]
                return
            node[at] = copy.copy(node[at])
            node = node[at]
        else:
            return


def _fits(entry: Any, wanted: Any, kind: str) -> bool:
    if kind == "v:":
        return bool(entry == wanted)
    if not isinstance(entry, dict):
        return False
    return all(entry.get(key, "TCP" if key == "protocol" else None) == value for key, value in wanted.items())


def readable(path: Path) -> str:
    """Return a path as conflicts show it: `.spec.template.spec.containers[name="api"].image`."""
    made = ""
    for part in path:
        kind, text = part[:2], part[2:]
        if kind == "f:":
            made += f".{text}"
        elif kind == "v:":
            made += f"[={text}]"
        else:
            pairs = (f"{key}={json.dumps(value)}" for key, value in json.loads(text).items())
            made += f"[{','.join(pairs)}]"
    return made


def _conflict(conflicts: list[tuple[Object, list[Path]]]) -> ApiError:
    causes, groups = [], []
    for entry, paths in conflicts:
        who = f'"{entry["manager"]}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry.get("operation") != "Apply":
            who += f" using {entry['apiVersion']}"
        for path in paths:
            causes.append(
                {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": readable(path)}
            )
        groups.append((who, [readable(path) for path in paths]))
    total = len(causes)
    if total == 1:
        text = f"conflict with {groups[0][0]}: {groups[0][1][0]}"
    else:
        parts = ["conflicts with " + who + ":" + "".join(f"\n- {path}" for path in paths) for who, paths in groups]
        text = "\n".join(parts)
    noun = "conflict" if total == 1 else "conflicts"
    return ApiError(409, "Conflict", f"Apply failed with {total} {noun}: {text}", {"causes": causes})
