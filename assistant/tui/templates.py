"""Addresses with names in braces (RFC 6570, the simple forms): which names are open, and the address with values in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

_OPEN: Final = re.compile(r"\{(\+?)([A-Za-z0-9_.%]+)\*?\}")


def blanks(uri: str) -> list[str] | None:
    """Return the names that are open in an address, None where it has parts of another form."""
    if "{" in _OPEN.sub("", uri) or "}" in _OPEN.sub("", uri):
        return None
    return list(dict.fromkeys(match[2] for match in _OPEN.finditer(uri)))


def filled(uri: str, values: Mapping[str, str]) -> str:
    """Return the address with these values; only `{+name}` lets a value keep its slashes."""
    return _OPEN.sub(lambda match: quote(values.get(match[2], ""), safe="/" if match[1] else ""), uri)
