"""Lines of text as the screens draw them: safe parts with a meaning, wrapped by cells.

Apart and free of Textual, so that what a card says can be digested, tested and printed without a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from assistant.policy.sanitize import SafeText, cell_width, clip, safe


class Tone(StrEnum):
    """What a piece of text means; the theme decides how that looks, and never by colour alone."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    HEADING = "heading"
    ACCENT = "accent"
    CODE = "code"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    ADDED = "added"
    REMOVED = "removed"
    MATCH = "match"
    ALERT = "alert"


Part = tuple[SafeText, Tone]
Given = str | tuple[str, Tone]


@dataclass(frozen=True, slots=True)
class Line:
    """One line before wrapping. `hang` indents what does not fit, `right` stands at the right edge.

    `ref` names what the line shows (`E3`, `call:c4`), "" for none; neighbours with one `ref` are one item.
    """

    parts: tuple[Part, ...]
    hang: int = 0
    right: tuple[Part, ...] = ()
    ref: str = ""
    fill: Tone = Tone.PLAIN

    def __post_init__(self) -> None:
        """Refuse text that has not been made safe: this is the only door to a widget."""
        for text, _ in (*self.parts, *self.right):
            if not isinstance(text, SafeText) or "\n" in text:
                raise TypeError("a line takes safe text without line feeds")

    @property
    def text(self) -> str:
        """Return the words without tones; the right part after two blanks."""
        left = "".join(text for text, _ in self.parts)
        right = "".join(text for text, _ in self.right)
        return f"{left}  {right}" if right else left


def parts(*given: Given) -> tuple[Part, ...]:
    """Return the parts, made safe and without line feeds; empty ones are left out."""
    made = ((g, Tone.PLAIN) if isinstance(g, str) else g for g in given)
    return tuple((safe(text, multiline=False), tone) for text, tone in made if text)


def line(*given: Given, hang: int = 0, right: Sequence[Given] = (), ref: str = "", fill: Tone = Tone.PLAIN) -> Line:
    """Return a line; every text in it is made safe."""
    return Line(parts(*given), hang, parts(*right), ref, fill)


BLANK = line()


def block(text: str, tone: Tone = Tone.PLAIN, *, indent: int = 0, ref: str = "") -> list[Line]:
    """Return a text of several lines, indented by `indent` cells."""
    pad = " " * indent
    return [line((pad + row, tone), hang=indent, ref=ref) for row in safe(text).split("\n")]


def columns(rows: Iterable[tuple[str, Given]], *, indent: int = 1, gap: int = 2) -> list[Line]:
    """Return `name  value` lines with the values under each other."""
    kept = list(rows)
    width = max((cell_width(safe(name)) for name, _ in kept), default=0)
    made = []
    for name, value in kept:
        label = safe(name, multiline=False)
        lead = " " * indent + label + " " * (width - cell_width(label) + gap)
        made.append(line((lead, Tone.MUTED), value, hang=indent + width + gap))
    return made


def as_text(lines: Iterable[Line]) -> str:
    """Return the lines as plain text; this is what `shown` digests, so it does not depend on a width."""
    return "\n".join(each.text for each in lines)


def row_count(given: Line, width: int) -> int:
    """Return how many screen rows a line takes at `width` cells."""
    size = 0
    for text, _ in given.parts:
        size += len(text) if text.isascii() else cell_width(text)
    if size + (cell_width("".join(t for t, _ in given.right)) + 2 if given.right else 0) <= width:
        return 1
    return len(wrap(given, width))


def wrap(given: Line, width: int) -> list[tuple[Part, ...]]:
    """Return the rows of a line at `width` cells: broken at blanks, inside words only where a word is too long."""
    width = max(width, 4)
    hang = min(given.hang, width // 2)
    right = given.right
    right_cells = sum(cell_width(text) for text, _ in right)
    if right_cells + 2 > width // 2 * 2:
        right, right_cells = (), 0
    room = width - (right_cells + 2 if right else 0)
    rows = _wrap_parts(given.parts, room, width, hang) if room >= 8 else _wrap_parts(given.parts, width, width, hang)
    if given.right and not right:
        rows += _wrap_parts(given.right, width, width, hang)
    if right:
        used = sum(cell_width(text) for text, _ in rows[0])
        gap = SafeText(" " * max(1, width - used - right_cells))
        rows[0] = (*rows[0], (gap, Tone.PLAIN), *right)
    return [_joined(row) for row in rows]


def _joined(row: Sequence[Part]) -> tuple[Part, ...]:
    """Return the row with neighbours of one tone as one part: the terminal gets fewer style changes."""
    out: list[Part] = []
    for text, tone in row:
        if out and out[-1][1] is tone:
            out[-1] = (SafeText(str.__add__(out[-1][0], text)), tone)
        else:
            out.append((text, tone))
    return tuple(out)


def _wrap_parts(given: Sequence[Part], first: int, width: int, hang: int) -> list[tuple[Part, ...]]:
    rows: list[tuple[Part, ...]] = []
    row: list[Part] = []
    used, room, start = 0, first, 0
    for text, tone in given:
        for word in _words(text):
            cells = cell_width(word)
            if used + cells > room and word.isspace():
                continue
            # A word that fits on no row is broken where it stands, not moved first.
            if used + cells > room and used > start and not (cells > width - hang and room - used >= 8):
                rows.append(tuple(row))
                row, used, room, start = [(SafeText(" " * hang), Tone.PLAIN)] if hang else [], hang, width, hang
            rest = str(word)
            while used + cell_width(rest) > room:
                head = _head(rest, room - used)
                row.append((SafeText(head), tone))
                rows.append(tuple(row))
                rest = rest[len(head) :]
                row, used, room, start = [(SafeText(" " * hang), Tone.PLAIN)] if hang else [], hang, width, hang
            row.append((SafeText(rest), tone))
            used += cell_width(rest)
    rows.append(tuple(row))
    return rows


def _words(text: str) -> list[str]:
    words: list[str] = []
    start = 0
    for index in range(1, len(text)):
        if (text[index] == " ") != (text[index - 1] == " "):
            words.append(text[start:index])
            start = index
    words.append(text[start:])
    return words


def _head(text: str, cells: int) -> str:
    head = clip(text, max(cells, 1), ellipsis="")
    return head or text[0]
