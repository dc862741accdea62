"""Text from clusters, models and people, made safe to show. Apart, because every face must draw through it.

Nothing is dropped: what a terminal would act on or a person could not see is replaced by a visible mark.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

TAB_STOP_CELLS = 4
MOST_COMBINING_MARKS = 3
"""Marks stacked on one letter before the rest are shown as code points; natural writing needs at most three."""

_BLANK_LOOKALIKES = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_PLAIN = re.compile(r"[\n -~]*\Z")


class SafeText(str):
    """Text that may reach a widget: no control, escape, bidirectional, zero-width or tag characters are left in it.

    Making one sanitises, so there is no way to have an unsafe one. Line feeds are kept.
    """

    __slots__ = ()

    def __new__(cls, text: str = "") -> SafeText:
        """Return `text` itself where it is safe already, else its sanitised form."""
        if isinstance(text, SafeText):
            return text
        return super().__new__(cls, _visible(text))


def safe(text: str, *, multiline: bool = True) -> SafeText:
    r"""Return `text` with everything invisible made visible; doing it twice changes nothing.

    Control characters become their picture (`␛`), the rest `\u{202e}`. Tabs become blanks up to the next stop.
    Line feeds stay when `multiline`, else they become `␊`.
    """
    result = SafeText(text)
    if multiline or "\n" not in result:
        return result
    return SafeText(result.replace("\n", "␊"))


def cell_width(text: str) -> int:
    """Return how many terminal cells one line of safe text takes (Unicode TR 11: wide and full-width take two)."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def clip(text: str, cells: int, ellipsis: str = "..") -> SafeText:
    """Return the first line of `text` cut to at most `cells` cells; what was cut is marked with `ellipsis`."""
    line = safe(text.split("\n", 1)[0])
    if cell_width(line) <= cells and "\n" not in text:
        return line
    room = cells - cell_width(ellipsis)
    if room < 0:
        return SafeText("")
    taken = 0
    for index, char in enumerate(line):
        taken += _cells(char)
        if taken > room:
            return SafeText(line[:index] + ellipsis)
    return SafeText(line + ellipsis)


def _visible(text: str) -> str:
    if _PLAIN.match(text):
        return text
    out: list[str] = []
    column = marks = 0
    for char in text.replace("\r\n", "\n"):
        if char == "\n":
            out.append(char)
            column = marks = 0
            continue
        if char == "\t":
            shown = " " * (TAB_STOP_CELLS - column % TAB_STOP_CELLS)
        elif unicodedata.category(char) in ("Mn", "Me") and _shown(char) == char:
            marks += 1
            shown = char if 0 < marks <= MOST_COMBINING_MARKS and column else _code(char)
        else:
            marks = 0
            shown = _shown(char)
        out.append(shown)
        column += cell_width(shown)
    return "".join(out)


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp") or char in _BLANK_LOOKALIKES:
        return _code(char)
    if category == "Zs" and char != " ":
        return _code(char)
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180F:
        return _code(char)
    return char


def _code(char: str) -> str:
    return f"\\u{{{ord(char):x}}}"


@lru_cache(maxsize=4096)
def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
