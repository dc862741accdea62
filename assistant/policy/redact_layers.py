"""The disguises of a text: colours and invisible characters, wide letters, line wraps, and what was encoded.

Apart from the patterns, because each disguise is taken off in one place and the patterns then see plain text.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

# What may stand between the letters of a token without being part of it.
CONTROLS: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x9b[0-?]*[ -/]*[@-~]"
    "|[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0000-\U000e01ef]"
)
BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}(?![A-Za-z0-9+/=_-])")
HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[2-7][0-9A-Fa-f]|0[9aAdD]){12,}(?![0-9A-Za-z])")
PERCENT: Final = re.compile(r"(?:[\w.~*+-]|%[0-9A-Fa-f]{2}){3,}")
_GZIP: Final = b"\x1f\x8b"
_UNZIPPED_BYTES: Final = 4 * 1024 * 1024
_MIN_WIDTH: Final = 40
_MAX_LINES: Final = 2000
# How a line begins that cannot continue another one: a time or a level.
_NEW_LINE: Final = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d|\d\d?:\d\d:\d\d|[IWEF]\d{4} \d|(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b"
)
# How a line begins that rather stands for itself: a field, a list item, a bracket, a frame of a stack.
_OWN_START: Final = re.compile(r"[\"']?[A-Za-z_][\w./-]{0,60}[\"']?(?:: |:$|\s?= )|[-*#|>] |[\[{(<}\])]|at ")


def folded(text: str) -> str:
    """Return the text with compatibility forms (full-width letters, no-break blanks) as plain ones (UAX 15, NFKC)."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def decoded(value: str) -> str:
    """Return the text behind base64 (also URL-safe, also gzipped inside), "" where it is none."""
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    if raw[:2] == _GZIP:
        try:
            raw = zlib.decompressobj(31).decompress(raw, _UNZIPPED_BYTES)
        except zlib.error:
            return ""
    return _readable(raw)


def from_hex(value: str) -> str:
    """Return the text behind hexadecimal digits, "" where it is none."""
    return _readable(bytes.fromhex(value))


def from_percent(value: str) -> str:
    """Return the text behind percent encoding, "" where nothing was encoded."""
    return unquote(value.replace("+", " "), errors="replace") if "%" in value else ""


def _readable(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() or all(ch.isprintable() or ch in "\r\n\t\x1b" for ch in text) else ""


def wrapped(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield (start, end, joined, sure) for passages that look hard-wrapped: lines of the greatest length and one.

    A terminal, `base64` or `fold` breaks at one width, so only the longest lines can be continued. Not `sure` where a
    line begins like something of its own (a field, a time): then it is a continuation only if that explains more.
    """
    lines = text.split("\n")
    width = max(map(len, lines))
    if len(lines) < 2 or width < _MIN_WIDTH:
        return
    offset, start, sure = 0, -1, True
    parts: list[str] = []
    for line in lines:
        if start >= 0 and _NEW_LINE.match(line):
            if len(parts) > 1:
                yield start, offset - 1, _one(parts), sure
            start = -1
        if start >= 0:
            blanks = len(parts[0]) - len(parts[0].lstrip(" "))
            rest = line[blanks:] if line[:blanks].isspace() else line
            sure = sure and bool(rest) and not rest[0].isspace() and not _OWN_START.match(rest)
            parts.append(rest)
            if len(line) != width or len(parts) > _MAX_LINES:
                yield start, offset + len(line), _one(parts), sure
                start = -1
        elif len(line) == width:
            start, parts, sure = offset, [line], True
        offset += len(line) + 1
    if len(parts) > 1 and start >= 0:
        yield start, offset - 1, _one(parts), sure


def _one(parts: list[str]) -> str:
    return "".join(part.rstrip("\r") for part in parts[:-1]) + parts[-1]


def unquoted(text: str) -> str:
    """Return the text without the shell's way of putting a quote between quotes."""
    return text.replace("'\\''", "'")
