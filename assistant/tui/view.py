"""The one widget that shows text: rows of lines, drawn without child widgets and without markup.

Lists, the transcript, a diff, a log of a hundred thousand lines: all are lines here, so each costs what its visible
rows cost. Nothing but `Line` is accepted, so nothing but safe text is drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from assistant.tui.lines import Line, Part, Tone, row_count, wrap
from assistant.tui.themes import DEFAULT, PALETTES, Palette


def palette_of(widget: Widget) -> Palette:
    """Return the palette of the theme that the app shows now."""
    return PALETTES.get(widget.app.theme, PALETTES[DEFAULT])


_STYLES: dict[str, RichStyle] = {}


def rich_style(palette: Palette, tone: Tone) -> RichStyle:
    """Return the parsed style of a tone."""
    words = palette.style(tone)
    found = _STYLES.get(words)
    if found is None:
        found = _STYLES[words] = RichStyle.parse(words)
    return found


def ground(palette: Palette) -> RichStyle:
    """Return the style of an empty cell; asking Textual for it costs more than drawing the row."""
    found = _STYLES.get(palette.background)
    if found is None:
        found = _STYLES[palette.background] = RichStyle(bgcolor=palette.background)
    return found


def strip_of(row: Sequence[Part], width: int, palette: Palette, base: RichStyle) -> Strip:
    """Return a row of parts as a strip that fills `width` cells."""
    segments = [Segment(str(text), base + rich_style(palette, tone)) for text, tone in row]
    return Strip(segments).adjust_cell_length(width, base + rich_style(palette, Tone.PLAIN))


class LinesView(ScrollView, can_focus=True):
    """Lines with scrolling, a cursor over items, search, and following of the end.

    An item is a run of lines with the same `ref`. With `picks` the plain movement keys move the cursor over items,
    else they scroll and only the block keys move it. `follow` keeps the last line in sight until somebody scrolls up.
    """

    DEFAULT_CSS = """
    LinesView { background: $background; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
        scrollbar-background: $background; scrollbar-color: $border; scrollbar-color-hover: $primary;
        scrollbar-color-active: $primary; scrollbar-background-hover: $background; overflow-x: hidden; }
    """
    GUTTER: ClassVar[int] = 2

    class Picked(Message):
        """The cursor moved to another item."""

        def __init__(self, view: LinesView, ref: str) -> None:
            """Keep the view and the item."""
            super().__init__()
            self.view, self.ref = view, ref

    class Moved(Message):
        """The visible part changed, or there are more lines below it."""

        def __init__(self, view: LinesView) -> None:
            """Keep the view."""
            super().__init__()
            self.view = view

    def __init__(self, *, picks: bool = False, follow: bool = False, id: str | None = None) -> None:
        """Start empty."""
        super().__init__(id=id)
        self.picks, self.following, self._follows = picks, follow, follow
        self.cursor = ""
        self.unseen = 0
        self._lines: Sequence[Line] = ()
        self._first_row: list[int] = []
        self._row_total = 0
        self._width = 0
        self._wrapped: dict[int, list[tuple[Part, ...]]] = {}
        self._needle, self._hits, self._hit = "", list[int](), -1
        self._seen_end = False

    @property
    def lines(self) -> Sequence[Line]:
        """Return what is shown."""
        return self._lines

    @property
    def refs(self) -> list[str]:
        """Return the items in order."""
        return list(dict.fromkeys(each.ref for each in self._lines if each.ref))

    @property
    def seen_end(self) -> bool:
        """Say whether the last row has been in sight since the lines were last replaced."""
        self._note_end()
        return self._seen_end

    def show(self, lines: Sequence[Line], *, reset: bool = False) -> None:
        """Replace the lines; rows above the first changed line are kept. `reset` also goes back to the top."""
        same = 0
        if not reset:
            for old, new in zip(self._lines, lines, strict=False):
                if old is not new and old != new:
                    break
                same += 1
            if same == len(lines) == len(self._lines):
                return
        grown = max(0, len(lines) - len(self._lines))
        self._lines = lines
        self._seen_end = False
        if self.cursor and self.cursor not in {each.ref for each in lines}:
            self.cursor = ""
        self._layout_rows(same)
        if self._needle:
            self._collect_hits()
        if reset:
            self.scroll_to(y=0, animate=False)
        if self.following:
            self.unseen = 0
            self.call_after_refresh(self._to_end)
        elif self._follows:
            self.unseen += grown
        self.refresh()
        self.post_message(self.Moved(self))

    def _layout_rows(self, same: int = 0) -> None:
        width = self._text_width()
        if width <= 0:
            # Not on screen: rows of lines that are gone must not be drawn when it comes back.
            self._width = self._row_total = 0
            self._first_row.clear()
            self._wrapped.clear()
            return
        if width != self._width:
            self._width, same = width, 0
        if same < len(self._first_row):
            self._row_total = self._first_row[same]
            del self._first_row[same:]
            self._wrapped = {i: rows for i, rows in self._wrapped.items() if i < same}
        total, append = self._row_total, self._first_row.append
        for each in islice(self._lines, len(self._first_row), None):
            append(total)
            total += row_count(each, width)
        self._row_total = total
        self.virtual_size = Size(self.scrollable_content_region.width, total)

    def _at_row(self, row: int) -> tuple[int, int]:
        """Return the line at a screen row, and which of its rows that is."""
        index = bisect_right(self._first_row, row) - 1
        return index, row - self._first_row[index]

    def _text_width(self) -> int:
        return self.scrollable_content_region.width - self.GUTTER

    def on_resize(self) -> None:
        """Wrap anew and keep the line that was at the top where it was."""
        if self._text_width() == self._width:
            self._note_end()
            if self.following:
                self.call_after_refresh(self._to_end)
            return
        top = self._at_row(min(self.scroll_offset.y, self._row_total - 1))[0] if self._row_total else -1
        self._layout_rows()
        if self.following:
            self.call_after_refresh(self._to_end)
        elif self._first_row and top >= 0:
            self.scroll_to(y=self._first_row[top], animate=False)
        self.refresh()

    def _to_end(self) -> None:
        self.scroll_to(y=max(0, self._row_total - self._height()), animate=False)

    def _height(self) -> int:
        return self.scrollable_content_region.height

    def _note_end(self) -> None:
        if self._height() > 0 and self.scroll_offset.y + self._height() >= self._row_total:
            self._seen_end = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when somebody scrolls up."""
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value + self._height() >= self._row_total
        if self._follows and new_value < old_value and not at_end:
            self.following = False
        self._note_end()
        self.post_message(self.Moved(self))

    def render_line(self, y: int) -> Strip:
        """Draw one visible row."""
        row = self.scroll_offset.y + y
        width = self.size.width
        palette = palette_of(self)
        if row >= self._row_total:
            return Strip.blank(width, ground(palette))
        index, sub = self._at_row(row)
        given = self._lines[index]
        base = RichStyle(bgcolor=palette.surface) if given.ref and given.ref == self.cursor else RichStyle()
        if given.fill is not Tone.PLAIN:
            base += rich_style(palette, given.fill)
        base = ground(palette) + base
        mark = ">" if given.ref and given.ref == self.cursor and sub == 0 and self._starts(index) else " "
        wrapped = self._wrapped.get(index)
        if wrapped is None:
            if len(self._wrapped) > 2000:
                self._wrapped.clear()
            wrapped = self._wrapped[index] = wrap(given, self._width)
        parts = wrapped[sub] if sub < len(wrapped) else ()
        strip = strip_of(parts, max(0, width - self.GUTTER), palette, base)
        text = "".join(t for t, _ in parts)
        for start, end, tone in self._marks(row, index, text):
            cells = [len(text[:start]), len(text[:end])]
            strip = Strip.join([
                strip.crop(0, cells[0]),
                strip.crop(cells[0], cells[1]).apply_style(rich_style(palette, tone)),
                strip.crop(cells[1], None),
            ])  # fmt: skip
        head = Strip([Segment(mark.ljust(self.GUTTER), base + rich_style(palette, Tone.ACCENT))])
        return Strip.join([head, strip]).apply_offsets(0, row)

    def _starts(self, index: int) -> bool:
        return index == 0 or self._lines[index - 1].ref != self._lines[index].ref

    def _marks(self, row: int, index: int, text: str) -> list[tuple[int, int, Tone]]:
        found: list[tuple[int, int, Tone]] = []
        if self._needle and text.isascii():
            start = text.lower().find(self._needle)
            while start >= 0:
                found.append((start, start + len(self._needle), Tone.MATCH))
                start = text.lower().find(self._needle, start + len(self._needle))
        selection = self.text_selection
        if selection is not None and text.isascii():
            span = selection.get_span(row)
            if span is not None:
                end = len(text) if span[1] == -1 else span[1] - self.GUTTER
                found.append((max(0, span[0] - self.GUTTER), min(len(text), end), Tone.MATCH))
        return [mark for mark in found if mark[1] > mark[0]]

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the selected text (Textual asks for it when somebody copies)."""
        rows = [
            " " * self.GUTTER + "".join(text for text, _ in row)
            for each in self._lines
            for row in wrap(each, self._width)
        ]
        return selection.extract("\n".join(rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw the selection."""
        self.refresh()

    def find(self, text: str) -> int:
        """Mark every line with `text` (case does not matter), go to the next one and return how many there are."""
        self._needle = text.lower()
        self._collect_hits()
        self._hit = -1
        if self._hits:
            self.find_next(1)
        self.refresh()
        return len(self._hits)

    def _collect_hits(self) -> None:
        self._hits = (
            [i for i, each in enumerate(self._lines) if self._needle in each.text.lower()] if self._needle else []
        )

    def find_next(self, step: int) -> tuple[int, int]:
        """Go to the next (`step` 1) or previous (-1) hit; returns which one of how many."""
        if not self._hits:
            return 0, 0
        self._hit = (self._hit + step) % len(self._hits)
        self.reveal_line(self._hits[self._hit])
        return self._hit + 1, len(self._hits)

    def reveal_line(self, index: int) -> None:
        """Scroll so that a line is in sight."""
        if index < len(self._first_row):
            row = self._first_row[index]
            region = Region(0, row, 1, row_count(self._lines[index], max(self._width, 4)))
            self.scroll_to_region(region, animate=False, force=True)

    def open_at(self, index: int) -> None:
        """Scroll so that a line stands in the upper third, with what leads to it above."""
        if index < len(self._first_row):
            self.scroll_to(y=max(0, self._first_row[index] - self._height() // 3), animate=False, force=True)

    def pick(self, ref: str, *, reveal: bool = True) -> None:
        """Put the cursor on an item."""
        if ref == self.cursor:
            return
        self.cursor = ref
        index = next((i for i, each in enumerate(self._lines) if each.ref == ref), -1)
        if reveal and index >= 0:
            self.reveal_line(index)
        self.refresh()
        self.post_message(self.Picked(self, ref))

    def move(self, step: int) -> None:
        """Move the cursor by items, from the first or last one where there is no cursor."""
        refs = self.refs
        if not refs:
            return
        if self.cursor in refs:
            place = min(max(refs.index(self.cursor) + step, 0), len(refs) - 1)
        else:
            place = 0 if step > 0 else len(refs) - 1
        self.pick(refs[place])

    def step(self, rows: int) -> None:
        """Answer a plain movement key: the cursor in lists, the text elsewhere."""
        if self.picks:
            self.move(1 if rows > 0 else -1)
        else:
            self.scroll_relative(y=rows, animate=False, force=True)

    def page(self, halves: int) -> None:
        """Move by half screens."""
        if self.picks:
            self.move(halves * max(1, self._height() // 2))
        else:
            self.scroll_relative(y=halves * max(1, self._height() // 2), animate=False, force=True)

    def go(self, *, end: bool) -> None:
        """Go to the first line, or to the last and follow from there."""
        if self._follows:
            self.following, self.unseen = end, 0
        if self.picks and self.refs:
            self.pick(self.refs[-1 if end else 0])
        self.scroll_to(y=max(0, self._row_total - self._height()) if end else 0, animate=False, force=True)
        self.post_message(self.Moved(self))


class Row(Widget):
    """A line or a few, without scrolling: identity, status, keys, titles."""

    DEFAULT_CSS = "Row { height: 1; width: 1fr; background: $background; }"

    def __init__(self, *lines: Line, id: str | None = None, classes: str | None = None) -> None:
        """Start with these lines."""
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = lines

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return what is shown."""
        return self._lines

    def show(self, *lines: Line) -> None:
        """Replace the lines; the first wrapped rows that fit are drawn."""
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        rows = [(row, each) for each in self._lines for row in wrap(each, self.size.width)[: self.size.height]]
        base = self.rich_style
        if y >= len(rows):
            return Strip.blank(self.size.width, base)
        row, given = rows[y]
        palette = palette_of(self)
        if given.fill is not Tone.PLAIN:
            base += rich_style(palette, given.fill)
        return strip_of(row, self.size.width, palette, base)


class Rule(Widget):
    """A line between two parts of a screen; in production its pattern says so."""

    DEFAULT_CSS = "Rule { height: 1; width: 1fr; background: $background; }"
    mark: str = "-"

    def render_line(self, y: int) -> Strip:
        """Draw the rule."""
        palette = palette_of(self)
        style = self.rich_style + RichStyle(color=palette.border)
        return Strip([Segment(self.mark * self.size.width, style)], self.size.width)
