"""What a request by itself makes of an object: RFC 7386, RFC 6902 and replacement, before the server adds its part.

Apart from the diff, because these are the semantics of the content types. A strategic merge patch and a server-side
apply are merged by the server with what it knows of each field, so of those the effect is not computed here.
"""

from __future__ import annotations

import base64
import copy
import re
from typing import Any, Final

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"
# The lists that a strategic merge merges item by item (x-kubernetes-patch-strategy of the 1.36 OpenAPI documents);
# every other list it replaces.
MERGED_LISTS: Final = frozenset(
    {
        "addresses", "conditions", "containers", "drivers", "env", "ephemeralContainers", "finalizers", "hostAliases",
        "hostIPs", "imagePullSecrets", "initContainers", "matchConditions", "ownerReferences", "podCIDRs", "podIPs",
        "ports", "reservedFor", "resourceClaimStatuses", "resourceClaims", "schedulingGates", "secrets",
        "topologySpreadConstraints", "variables", "volumeDevices", "volumeMounts", "volumes", "webhooks",
        "x-kubernetes-validations",
    }
)  # fmt: skip
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")


def meant(method: str, media_type: str, parsed: Any, live: dict[str, Any]) -> dict[str, Any] | None:
    """Return the object that a request asks for; None where only the server can tell, or where it does not fit."""
    made: Any = None
    if method == "PUT" and isinstance(parsed, dict):
        made = copy.deepcopy(parsed)
    elif method == "PATCH" and media_type == MERGE and isinstance(parsed, dict):
        made = merged(live, parsed)
    elif method == "PATCH" and media_type == JSON_PATCH and isinstance(parsed, list):
        made = stepped(live, parsed)
    if not isinstance(made, dict):
        return None
    return _with_text_folded(made) if (made.get("kind") or live.get("kind")) == "Secret" else made


def merged(target: Any, patch: Any) -> Any:
    """Return a value with a JSON merge patch (RFC 7386): null removes, maps merge, all else replaces, lists too."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


def stepped(target: Any, operations: list[Any]) -> Any:
    """Return a value with a JSON patch (RFC 6902), None where an operation does not fit it.

    What `test` finds is left to the server and to the check of expectations.
    """
    made = copy.deepcopy(target)
    try:
        for operation in operations:
            made = _step(made, operation)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None
    return made


def _step(made: Any, operation: dict[str, Any]) -> Any:
    path = _parts(operation["path"])
    match operation["op"]:
        case "test":
            return made
        case "remove":
            return _without(made, path)
        case "add":
            return _with(made, path, operation["value"])
        case "replace":
            _at(made, path)
            return _with(_without(made, path), path, operation["value"]) if path else operation["value"]
        case "copy":
            return _with(made, path, _at(made, _parts(operation["from"])))
        case "move":
            source = _parts(operation["from"])
            value = _at(made, source)
            return _with(_without(made, source), path, value)
        case other:
            raise ValueError(other)


def _parts(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(pointer)
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _number(part: str, length: int) -> int:
    if not _INDEX.fullmatch(part) or int(part) >= length:
        raise IndexError(part)
    return int(part)


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[_number(part, len(value))] if isinstance(value, list) else value[part]
    return value


def _with(made: Any, path: list[str], value: Any) -> Any:
    value = copy.deepcopy(value)
    if not path:
        return value
    parent, last = _at(made, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _number(last, len(parent) + 1), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise TypeError(last)
    return made


def _without(made: Any, path: list[str]) -> Any:
    parent = _at(made, path[:-1])
    del parent[_number(path[-1], len(parent)) if isinstance(parent, list) else path[-1]]
    return made


def _with_text_folded(made: dict[str, Any]) -> dict[str, Any]:
    # The server keeps the text of a Secret under `data`; both are the same place.
    text, data = made.get("stringData"), made.get("data")
    if not isinstance(text, dict):
        return made
    folded = {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
    rest = {key: value for key, value in made.items() if key != "stringData"}
    return {**rest, "data": {**(data if isinstance(data, dict) else {}), **folded}}
