"""Quotes that can be checked: the text of a field as it stands in the pretty JSON of its object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assistant.domain.raw import dig, mapping

QUOTE_LIMIT = 500
"""Characters; a prefix of a verbatim quote is still verbatim."""


def body_of(raw: Mapping[str, Any]) -> str:
    """Return the object as pretty JSON without managedFields, which say nothing to people and are most of it."""
    meta = {k: v for k, v in mapping(raw.get("metadata")).items() if k != "managedFields"}
    kept = {k: (meta if k == "metadata" and isinstance(v, dict) else v) for k, v in raw.items()}
    return json.dumps(kept, indent=2, ensure_ascii=False, default=str)


def quote_of(raw: Mapping[str, Any], path: str) -> str:
    """Return `"image": "docker.io/acme/x:1"` for a path; "" where nothing stands there."""
    name, value = dig(raw, path)
    if value is None:
        return ""
    shown = " ".join(json.dumps(value, indent=2, ensure_ascii=False, default=str).split())
    return (f'"{name}": {shown}' if name else shown)[:QUOTE_LIMIT]


def emptiness_of(raw: Mapping[str, Any], path: str) -> str:
    """Return `"endpoints": null` for a field that stands there and holds nothing; "" where it is missing or full."""
    head, _, name = path.rpartition(".")
    above = dig(raw, head)[1] if head else raw
    if not isinstance(above, Mapping) or name not in above or above[name]:
        return ""
    return f'"{name}": {json.dumps(above[name], ensure_ascii=False)}'
