"""Reading of raw JSON objects that may lack any field or have another type there; and paths as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_EMPTY: Mapping[str, Any] = {}
_TOKEN = re.compile(r"""\.?([^.\[\]]+)|\[(?:'([^']*)'|"([^"]*)"|(\d+)|(?:name=)?([^\]]*))\]""")


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the mappings in `value` if it is a list, otherwise none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return `value` if it is text, otherwise ""."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> list[str]:
    """Return the texts in `value` if it is a list, otherwise none."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def fold_int(value: object, default: int = 0) -> int:
    """Return a whole number, the default for anything else (booleans included)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


@lru_cache(maxsize=8192)
def tokens(path: str) -> tuple[str | int, ...]:
    """Split `spec.containers[0].env[name=X].value` or `data['a.b']` into keys and indexes.

    Cached, because the same few hundred paths are asked of every object.
    """
    found: list[str | int] = []
    for plain, single, double, index, named in _TOKEN.findall(path):
        found.append(int(index) if index else plain or single or double or named)
    return tuple(found)


def dig(raw: object, path: str) -> tuple[str, Any]:
    """Return the last key of a path ("" for a list's item) and what stands there; None where nothing does."""
    current, name = raw, ""
    for token in tokens(path):
        if isinstance(token, int) and isinstance(current, list):
            current, name = current[token] if token < len(current) else None, ""
        elif isinstance(current, dict):
            current, name = current.get(str(token)), str(token)
        elif isinstance(current, list):
            current, name = next((i for i in current if isinstance(i, dict) and i.get("name") == token), None), ""
        else:
            return name, None
    return name, current
