"""How the settings name a language model's address, its headers and its key. Nothing here repeats a value in an error.

Pure and apart from the settings, because what is refused here may well be a key that was pasted into the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

MAX_NAME_CHARACTERS: Final = 200
_NAME: Final = re.compile(rf"[!-~]{{1,{MAX_NAME_CHARACTERS}}}")
_NAME_AT_ADDRESS: Final = re.compile(r"(.+?)@(https?://.*)", re.IGNORECASE)
"""Only what begins like an address is one: names of models hold `@` too (`vertex_ai/claude-sonnet@20250514`)."""
_ADDRESS: Final = re.compile(r"[!-~]+")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[ -~]+")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
"""Capitals only, as such names are by custom: a key that was pasted here is refused and never shown as a name."""


def read_address(text: str) -> str:
    """Return the base address of a model's API. Raises ValueError, without the address, for what cannot be one."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("an address has no blanks and no letters beyond ASCII")
    try:
        where = urlsplit(text)
        host, _ = where.hostname, where.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    if where.scheme not in ("http", "https") or not host:
        raise ValueError("it has to begin with http:// or https:// and name a host")
    if where.query or where.fragment or text.endswith(("?", "#")):
        # The path of each request is put behind it, and whatever it held would be shown as part of the address.
        raise ValueError("it must not hold ? or #; a key belongs into model_key_env or [model_headers]")
    return text


def read_model(text: str) -> str:
    """Return the name of a model. Raises ValueError for what cannot be one."""
    if _NAME_AT_ADDRESS.fullmatch(text):
        raise ValueError("it holds an address, which belongs into base_url")
    if not _NAME.fullmatch(text):
        raise ValueError(f"a name has no blanks and at most {MAX_NAME_CHARACTERS} letters of ASCII")
    return text


def read_fallback(text: str) -> tuple[str, str]:
    """Return name and address of `NAME` or `NAME@URL`, "" for no address. Raises ValueError."""
    found = _NAME_AT_ADDRESS.fullmatch(text)
    if found is None:
        return read_model(text), ""
    return read_model(found[1]), read_address(found[2])


def read_headers(values: Mapping[str, object]) -> dict[str, str]:
    """Return headers that are sent with every request to a model. Raises ValueError, without the values."""
    read: dict[str, str] = {}
    for name, value in values.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("one of its names is no name of a header")
        # A line break in a value would begin another header.
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} has to be one line of ASCII text")
        read[name] = value
    return read


def read_variable(text: str) -> str:
    """Return the name of an environment variable. Raises ValueError, without the text."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError("it has to be the name of an environment variable in capitals, not the key itself")
    return text
