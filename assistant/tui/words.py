"""Other people's words on our screens: every row of them stands behind a bar, so no text can pass for the screen's own.

Apart from `lines`, because the rows depend on a width: a bar that only the first row has could be left behind.
"""

from __future__ import annotations

from collections.abc import Iterable

from assistant.policy.sanitize import clip, safe
from assistant.tui.lines import Given, Line, Tone, line, wrap

BAR = "| "
LONGEST_NAME = 40
"""Cells of a server's, tool's or field's name where it stands among our words."""
LOOKED_AT = 8
"""Characters looked at for each cell that is shown of a text that is cut: some take no cell."""
_TONES = {"+": Tone.ADDED, "-": Tone.REMOVED}


def said(text: str, width: int, tone: Tone = Tone.CODE, *, indent: int = 0, ref: str = "", most: int = 0) -> list[Line]:
    """Return a text in rows of at most `width` cells, each behind a bar; `most` rows, with a word on the rest."""
    lead = " " * indent + BAR
    room = max(width - len(lead), 8)
    # Of a text of which a few rows are shown, no more is looked at: it may be long, and is drawn every second.
    begin = text[: most * room * LOOKED_AT] if most else text
    rows = [row for each in safe(begin).split("\n") for row in wrap(line((each, tone)), room)]
    left = len(rows) - most if most and len(rows) > most else 0
    # Where there is less room than was thought, what is broken again stands in at least as far as the bar.
    out = [line((lead, Tone.MUTED), *row, hang=len(lead), ref=ref) for row in rows[: len(rows) - left]]
    cut = len(begin) < len(text)
    more = "and many rows more" if cut else f"and {left} rows more"
    return [*out, line((f"{' ' * indent}  {more}", Tone.MUTED), ref=ref)] if left or cut else out


def said_lines(lines: Iterable[str], width: int, *, changes: bool = False) -> list[Line]:
    """Return lines of somebody else's behind the bar; with `changes` the sign before each tells what became of it."""
    out: list[Line] = []
    for each in lines:
        tone = _TONES.get(each[:1], Tone.PLAIN) if changes else Tone.CODE
        out += said(each, width, tone)
    return out


def short(name: str, cells: int = LONGEST_NAME) -> str:
    """Return a name of somebody else's on one line, cut."""
    return clip(safe(name[: cells * LOOKED_AT], multiline=False), cells) or "(no name)"


def named(name: str) -> Given:
    """Return a name of somebody else's as one short word of a row, in the tone of foreign text."""
    return short(name), Tone.CODE


def one_line(text: str, cells: int) -> str:
    """Return the beginning of a text of somebody else's on one line, blanks squeezed."""
    more = " .." if len(text) > cells * LOOKED_AT else ""
    return clip(" ".join(safe(text[: cells * LOOKED_AT]).split()) + more, cells)
