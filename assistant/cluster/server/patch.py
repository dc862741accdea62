"""JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386) and Kubernetes' strategic merge patch on plain objects."""

from __future__ import annotations

import copy
import re
from typing import Any

from assistant.cluster.server import schema
from assistant.cluster.server.schema import Spec
from assistant.cluster.server.status import ApiError, bad_request

Object = dict[str, Any]
_ABSENT = object()


def json_patch(target: Object, operations: Any) -> Object:
    """Apply the operations in order, all or none.

    Raises ApiError 400 for something that is not a patch and 422 for one that does not fit the object; the text is the
    API server's own, which does not say which operation failed.
    """
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    made: Any = copy.deepcopy(target)
    for operation in operations:
        try:
            made = _operate(made, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            text = "the server rejected our request due to an error in our request"
            raise ApiError(422, "Invalid", text, {}) from error
    if not isinstance(made, dict):
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})
    return made


def _operate(target: Any, operation: Object) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "test":
            if not same(_get(target, path), operation.get("value")):
                raise ValueError("test failed")
            return target
        case "add":
            return _add(target, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(target, path)
        case "replace":
            _get(target, path)
            value = copy.deepcopy(operation["value"])
            return _add(_remove(target, path), path, value) if path else value
        case "copy":
            return _add(target, path, copy.deepcopy(_get(target, _pointer(operation["from"]))))
        case "move":
            source = _pointer(operation["from"])
            if path[: len(source)] == source and path != source:
                raise ValueError("cannot move into itself")
            value = _get(target, source)
            return _add(_remove(target, source), path, value)
        case _:
            raise ValueError("unknown operation")


def same(one: Any, other: Any) -> bool:
    """Compare JSON values: true is not 1, but 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise ValueError("not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(part: str, length: int) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]*", part) or int(part) >= length:
        raise IndexError(part)
    return int(part)


def _get(target: Any, path: list[str]) -> Any:
    for part in path:
        target = target[_index(part, len(target))] if isinstance(target, list) else target[part]
    return target


def _add(target: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(target, path[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError("parent is a scalar")
    return target


def _remove(target: Any, path: list[str]) -> Any:
    parent = _get(target, path[:-1])
    if isinstance(parent, list):
        del parent[_index(path[-1], len(parent))]
    else:
        del parent[path[-1]]
    return target


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge_patch(made.get(key), value)
    return made


def strategic_merge(original: Object, patch: Object, spec: Spec) -> Object:
    """Apply a strategic merge patch with its directives ($patch, $retainKeys, $setElementOrder, …)."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: _clean(value) for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type: {directive}")
    made = dict(original)
    if isinstance(patch.get("$retainKeys"), list):
        made = {key: value for key, value in made.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            made[name] = [item for item in made.get(name) or [] if item not in value]
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        field = schema.child(spec, key)
        strategy = str(schema.resolve(field).get("strategy", "")).split(",")
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict) and isinstance(made.get(key), dict) and "replace" not in strategy:
            made[key] = strategic_merge(made[key], value, field)
        elif isinstance(value, list) and "merge" in strategy:
            order = patch.get(f"$setElementOrder/{key}")
            made[key] = _merge_lists(made.get(key) or [], value, field, order)
        else:
            made[key] = _clean(value)
    for key, order in patch.items():
        name = key.partition("/")[2]
        if key.startswith("$setElementOrder/") and name not in patch and isinstance(made.get(name), list):
            made[name] = _ordered(made[name], made[name], order, schema.child(spec, name).get("merge", ""))
    return made


def _merge_lists(original: list[Any], patch: list[Any], field: Spec, order: Any) -> list[Any]:
    key = field.get("merge", "")
    if not key:
        made = [*original, *(item for item in patch if item not in original)]
        return _ordered(original, made, order, "")
    if any(isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1 for item in patch):
        return [_clean(item) for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    made = list(original)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next(
            (index for index, old in enumerate(made) if isinstance(old, dict) and old.get(key) == item[key]), None
        )
        if item.get("$patch") == "delete":
            made = [old for old in made if not (isinstance(old, dict) and old.get(key) == item[key])]
        elif at is None:
            made.append(_clean(item))
        else:
            made[at] = strategic_merge(made[at], item, schema.items(field))
    return _ordered(original, made, order, key)


def _ordered(original: list[Any], made: list[Any], order: Any, key: str) -> list[Any]:
    """Sort by `$setElementOrder`; what the patch does not name stays behind its predecessor in the live list."""
    if not isinstance(order, list):
        return made

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    listed = sorted((item for item in made if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    live = [identity(item) for item in original]
    for item in made:
        if identity(item) in wanted:
            continue
        before = live[: live.index(identity(item))] if identity(item) in live else live
        at = 0
        for index, placed in enumerate(listed):
            if identity(placed) in before:
                at = index + 1
        listed.insert(at, item)
    return listed


def _clean(value: Any) -> Any:
    """Drop directives and nulls from a part of a patch that becomes new content."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if not k.startswith("$") and v is not None}
    if isinstance(value, list):
        kept = (item for item in value if not (isinstance(item, dict) and item.get("$patch") == "delete"))
        return [_clean(item) for item in kept]
    return value
