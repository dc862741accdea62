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
_WIDTHS: Final = frozenset({60, 64, 65, 70, 72, 76, 77, 78, 79, 80, 100, 120, 132})
_MAX_LINES: Final = 2000
# How a line begins that cannot continue another one: a time or a level.
_NEW_LINE: Final = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d|\d\d?:\d\d:\d\d|[IWEF]\d{4} \d|(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b"
)
# How a line begins that rather stands for itself: a field, a list item, a bracket, a frame of a stack.
_REST_OF_TOKEN: Final = re.compile(r"(?=[^\s]*[0-9A-Z])(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=.~%!@#^*?-]{5,}")
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

    A terminal, `base64` or `fold` breaks at one width, so only the longest lines of a passage, or lines of a usual
    width, can be continued. Not `sure` where a line begins like something of its own (a field, a time): then it is a
    continuation only if that explains more.
    """
    offset = 0
    for block in text.split("\n\n"):
        yield from ((start + offset, end + offset, joined, sure) for start, end, joined, sure in _wrapped(block))
        offset += len(block) + 2


def _wrapped(text: str) -> Iterator[tuple[int, int, str, bool]]:
    lines = text.split("\n")
    width = max(map(len, lines))
    if len(lines) < 2 or width < _MIN_WIDTH:
        return
    offset, start, body, sure = 0, -1, -1, True
    parts: list[str] = []
    for index, line in enumerate(lines):
        if start >= 0 and _NEW_LINE.match(line):
            if len(parts) > 1:
                yield start, offset - 1, _one(parts), sure
            start = -1
        if start >= 0:
            blanks = len(parts[0]) - len(parts[0].lstrip(" "))
            rest = line[blanks:] if line[:blanks].isspace() else line
            sure = sure and bool(rest) and not rest[0].isspace() and not _OWN_START.match(rest)
            parts.append(rest)
            # A first line with something before it is longer than those that follow; these are of one width.
            body = len(line) if len(parts) == 2 else body
            more = len(line) == body >= _MIN_WIDTH and (
                body == len(parts[0]) or _goes_on("".join(lines[index + 1 : index + 2]))
            )
            if not more or len(parts) > _MAX_LINES:
                yield start, offset + len(line), _one(parts), sure
                start = -1
        elif len(line) >= _MIN_WIDTH:
            usual = len(line) == width or len(line) in _WIDTHS
            # Where something stands before the first line (the time of a log), only what follows tells.
            if usual or (index + 1 < len(lines) and _goes_on(lines[index + 1])):
                start, parts, sure = offset, [line], True
        offset += len(line) + 1
    if len(parts) > 1 and start >= 0:
        yield start, offset - 1, _one(parts), sure


def _goes_on(line: str) -> bool:
    """Say whether a line begins with what can be the rest of a credential and hardly anything else."""
    found = _REST_OF_TOKEN.match(line)
    return found is not None and not _NEW_LINE.match(line) and not _OWN_START.match(line)


def _one(parts: list[str]) -> str:
    return "".join(part.rstrip("\r") for part in parts[:-1]) + parts[-1]


def unquoted(text: str) -> str:
    """Return the text without the shell's way of putting a quote between quotes."""
    return text.replace("'\\''", "'")
