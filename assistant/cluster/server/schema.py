"""What the API knows about the fields of each kind: names, types, merge keys and list types.

The table is derived from the OpenAPI documents of a real API server (see `openapi/derive.py`).
"""

from __future__ import annotations

import functools
import gzip
from importlib import resources as package_data
from typing import Any

import msgspec

from assistant.cluster.server.status import bad_request

Spec = dict[str, Any]
Object = dict[str, Any]

OPEN: Spec = {"type": "object", "open": True}
_TYPES = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,)}
_GO = {"string": "string", "integer": "int32", "number": "float64", "boolean": "bool", "array": "[]interface {}"}


@functools.cache
def _table() -> dict[str, Any]:
    path = package_data.files("assistant.cluster.server.openapi") / "fields.json.gz"
    table: dict[str, Any] = msgspec.json.decode(gzip.decompress(path.read_bytes()))
    return table


def root(api_version: str, kind: str) -> Spec | None:
    """Return the fields of a kind, None when they are not known (a custom resource without a recorded schema)."""
    name = _table()["kinds"].get(f"{api_version}/{kind}")
    return None if name is None else {"ref": name}


def resolve(spec: Spec) -> Spec:
    """Follow a reference; what is said beside the reference wins."""
    if "ref" not in spec:
        return spec
    target = _table()["types"].get(spec["ref"], OPEN)
    return {**target, **{key: value for key, value in spec.items() if key != "type"}}


def child(spec: Spec, name: str) -> Spec:
    """Return the field `name` of a map or struct; an open one where nothing is known."""
    whole = resolve(spec)
    fields = whole.get("fields") or {}
    return fields.get(name) or whole.get("values") or OPEN


def items(spec: Spec) -> Spec:
    """Return what the elements of a list are."""
    return resolve(spec).get("items") or OPEN


def prune(value: Any, spec: Spec, path: str, unknown: list[str]) -> Any:
    """Return `value` without fields that the kind does not have, and note their paths in `unknown`.

    Raises ApiError 400 for a value of the wrong JSON type, like the decoder of the API server.
    """
    whole = resolve(spec)
    if value is None or whole.get("open") or whole.get("either"):
        return value
    if isinstance(value, dict):
        fields, values = whole.get("fields"), whole.get("values")
        if whole.get("type", "object") != "object":
            raise _wrong_type("object", whole, path)
        if fields is None and values is None:
            return value
        made = {}
        for name, item in value.items():
            below = f"{path}.{name}" if path else name
            known = (fields or {}).get(name) or values
            if known is None:
                unknown.append(below)
            elif item is not None or fields is None:  # null in a struct means that the field is not there
                made[name] = prune(item, known, below, unknown)
        return made
    kind = whole.get("type", "")
    if isinstance(value, list):
        if kind not in ("array", ""):
            raise _wrong_type("array", whole, path)
        below = resolve(items(whole))
        empty: Any = {} if "fields" in below else None  # null in a list of structs is an empty one to the decoder
        return [
            prune(empty if item is None else item, below, f"{path}[{index}]", unknown)
            for index, item in enumerate(value)
        ]
    allowed = _TYPES.get(kind)
    wrong = kind == "object" and ("fields" in whole or "values" in whole)
    if wrong or (allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and kind != "boolean"))):
        names = {bool: "bool", str: "string", int: "number", float: "number"}
        raise _wrong_type(names[type(value)], whole, path)
    return value


def _wrong_type(found: str, spec: Spec, path: str) -> Exception:
    target = spec.get("ref", "").rpartition(".")[2] or _GO.get(spec.get("type", ""), "object")
    return bad_request(f"json: cannot unmarshal {found} into Go struct field {path} of type {target}")
