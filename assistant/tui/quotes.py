"""Quotes as people read them: JSON without quotation marks and escapes. What is stored and copied stays verbatim."""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r'"[A-Za-z_][^"\\]{0,120}"\s*:')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)("|\Z)(\s*:)?', re.DOTALL)
_MARKS = re.compile(r"[\s{}\[\]]+")


def readable(quote: str) -> str:
    """Return a quote on one line: `"image": "a/b:1"` as `image: a/b:1`; text that is no JSON only loses line feeds."""
    return " … ".join(filter(None, (_part(part) for part in quote.split(" … "))))


def _part(part: str) -> str:
    if part.lstrip()[:1] not in ('"', "{", "[") or not _KEY.search(part):
        return " ".join(part.split())
    out: list[str] = []
    place = 0
    for match in _STRING.finditer(part):
        out.append(_between(part[place : match.start()]))
        text = _unescaped(match[1])
        out.append(f"{text}: " if match[3] else text)
        place = match.end()
    out.append(_between(part[place:]))
    joined = " ".join("".join(out).split()).strip(" ,")
    return re.sub(r"(\s*,)+\s*", ", ", joined)


def _between(text: str) -> str:
    """Return what stands between two strings: numbers, words and commas, without brackets."""
    return _MARKS.sub(" ", text)


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        # A quote may be cut inside an escape; the rest of it still reads better.
        return text.replace('\\"', '"').replace("\\n", " ").replace("\\\\", "\\")


def spread(body: str) -> list[str]:
    """Return a JSON text as rows, `key: value` and strings with their line feeds; other text as its own lines."""
    try:
        return _rows("", json.loads(body), "")
    except (ValueError, RecursionError):
        return body.split("\n")


def _rows(name: str, value: Any, pad: str) -> list[str]:
    lead = f"{pad}{name}: " if name else pad
    head, inner = ([lead.rstrip()], f"{pad}  ") if name else ([], pad)
    match value:
        case dict() if value:
            return head + [row for key, item in value.items() for row in _rows(str(key), item, inner)]
        case list() if value:
            out = head
            for item in value:
                first, *rest = _rows("", item, f"{inner}  ")
                out += [f"{inner}- {first.lstrip()}", *rest]
            return out
        case str() if "\n" in value:
            return head + [f"{inner}{row}" for row in value.split("\n")]
        case _:
            return [lead + (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
