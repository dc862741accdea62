"""From what the model quotes to what stands in the evidence: a projected line is found again in its object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from assistant.domain.quoting import quote_of

LINE: Final = re.compile(r"^\s*([A-Za-z][\w.\[\]'/*-]*): (.+)$")
_PIECE: Final = re.compile(r" \| |…| \(\d+ characters\)")
_COUNTED: Final = re.compile(r"^x\d+ \[[\d.]+\] |^\d+\| ")
"""What stands before a log's line where it is shown among others: how often, and where."""


_ESCAPES: Final = {"\\n": "\n", "\\t": "\t", "\\r": "\r"}
_ESCAPE: Final = re.compile(r"\\(.)")


def squeezed(text: str) -> str:
    """Return a text with its blanks made one, which is how quotes are compared."""
    return " ".join(text.split())


def stands(quote: str, text: str) -> bool:
    """Say whether a quote stands in a text; what JSON escapes may be quoted either way."""
    return squeezed(quote) in squeezed(text) or _unescaped(quote) in _unescaped(text)


def _unescaped(text: str) -> str:
    return squeezed(_ESCAPE.sub(lambda found: _ESCAPES.get(found[0], found[1]), text))


def verbatim(quote: str, body: str) -> str:
    """Return the parts of a quote that stand in `body`, joined by " … "; "" where none does.

    `body` is an object's JSON or any other text. A line `path: value` becomes the field as it stands in the JSON.
    """
    whole, raw = squeezed(body), _object(body)
    found: list[str] = []
    for line in quote.splitlines():
        found += _parts(line, whole, raw)
    return " … ".join(dict.fromkeys(found))


def _parts(line: str, body: str, raw: Mapping[str, Any]) -> list[str]:
    plain = squeezed(_COUNTED.sub("", line))
    if not plain:
        return []
    if plain in body:
        return [plain]
    # A line of a file that stands in an object, as JSON writes it there.
    escaped = json.dumps(plain, ensure_ascii=False)[1:-1]
    if raw and escaped in body:
        return [escaped]
    match = LINE.match(plain)
    if match and raw:
        field = quote_of(raw, match[1])
        if field and squeezed(field) in body:
            return [squeezed(field)]
    said = match[2] if match else plain
    pieces = [squeezed(piece) for piece in _PIECE.split(said)]
    return [piece for piece in pieces if len(piece) > 2 and piece in body]


def _object(body: str) -> Mapping[str, Any]:
    if not body.startswith("{"):
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
