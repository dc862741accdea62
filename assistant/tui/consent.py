"""What a yes needs that no gate examined: the whole text in sight once, a key that arms, then enter. As on approvals.

Two screens are made of it: a held call of an MCP tool, and the approval of an MCP server or its tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import events
from textual.app import ComposeResult
from textual.css.query import NoMatches

from assistant.tui.arming import Guard, Locks, Move
from assistant.tui.lines import Given, Line, Tone, line, row_count
from assistant.tui.screen import CaseScreen, framed
from assistant.tui.view import LinesView, Row, Rule

HEAD_ROWS = 5
"""Rows of our own words above the text; on the smallest screen there is still text below them."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is asked. `key` names it with its digest: another key is another card, which nobody has looked at yet.

    `head` is ours and always in sight, `lines` is what has to be read. `closed` is why nothing can be said to it.
    """

    key: str
    title: tuple[Given, ...]
    right: tuple[Given, ...]
    head: tuple[Line, ...]
    lines: Sequence[Line]
    closed: str = ""
    over: bool = False


class ReadView(LinesView):
    """A text that knows how far it was read: which rows were in sight, from the first one on without a gap."""

    def __init__(self, *, id: str) -> None:
        """Start unread."""
        super().__init__(id=id)
        self.read_rows = 0

    def show(self, lines: Sequence[Line], *, reset: bool = False) -> None:
        """Replace the text; another text is unread."""
        if reset or (lines is not self.lines and list(lines) != list(self.lines)):
            self.read_rows, reset = 0, True
        super().show(lines, reset=reset)
        self.call_after_refresh(self.note)

    def note(self) -> None:
        """Note what is in sight."""
        top = self.scroll_offset.y
        if self._height() > 0 and top <= self.read_rows:
            self.read_rows = max(self.read_rows, min(top + self._height(), self._row_total))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Note every move: a jump to the end leaves what is between unread."""
        super().watch_scroll_y(old_value, new_value)
        self.note()

    def on_resize(self) -> None:
        """Note what came into sight."""
        super().on_resize()
        self.call_after_refresh(self.note)

    @property
    def whole(self) -> bool:
        """Say whether every row was in sight."""
        return bool(self.lines) and self.read_rows >= self._row_total

    @property
    def place(self) -> str:
        """Return `42 of 80 rows`."""
        return f"{self.read_rows} of {self._row_total} rows"

    @property
    def cells(self) -> int:
        """Return how wide a row may be; a little less than there is before it was laid out."""
        return max(self._text_width(), 20)


class ConsentScreen(CaseScreen):
    """A card with the action bar always in sight. Subclasses say what is asked and what a yes does."""

    AUTO_FOCUS = "#text"
    VERB = "approve"
    OTHERS: tuple[str, ...] = ()
    """The other answers, as they stand in the action bar."""

    def __init__(self) -> None:
        """Start covered: nothing counts before the card was painted."""
        super().__init__()
        self.guard = Guard(lambda: self.host.clock.monotonic())
        self._key = ""
        self._hint = ""
        self._sending = False
        self._laid: tuple[str, int, Sequence[Line]] = ("", 0, ())

    @staticmethod
    def styled(name: str) -> str:
        """Return the style of a screen of this kind."""
        return framed(name, f"{name} #text {{ height: 1fr; }} {name} #head {{ height: 1; }}")

    def card(self) -> Card | None:
        """Return what is asked now, None for nothing."""
        raise NotImplementedError

    def allow(self, card: Card) -> None:
        """Do what a yes does."""
        raise NotImplementedError

    def empty(self) -> Line:
        """Return what stands there where nothing is asked."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        top = self.chrome_top()
        yield top[0]
        yield Row(id="title")
        yield Row(id="head")
        yield top[1]
        yield ReadView(id="text")
        yield Rule()
        yield Row(id="actions")
        yield Row(id="hint")
        yield from self.chrome_bottom()

    @property
    def text(self) -> ReadView:
        """Return what has to be read."""
        return self.query_one("#text", ReadView)

    def cover(self) -> None:
        """Drop every key until the next paint, and for the settling time after it."""
        self.guard.cover()
        self.call_after_refresh(self.guard.settle)

    def on_screen_resume(self) -> None:
        """The card comes into sight: what was typed before does not count."""
        self.cover()
        super().on_screen_resume()

    def laid(self, key: str, make: Callable[[int], Sequence[Line]]) -> Sequence[Line]:
        """Return the text of a card at the present width; laid out once, because it may be long."""
        width = self.text.cells
        if self._laid[:2] != (key, width):
            self._laid = (key, width, make(width))
        return self._laid[2]

    # Drawing -----------------------------------------------------------------------------------------------------

    def refresh_case(self) -> None:
        """Draw the card."""
        if not self.drawable:
            return
        try:
            view = self.text
        except NoMatches:
            return
        card = self.card()
        if card is None:
            self._key = ""
            view.show([line(self.empty().text, hang=2), line(("esc goes back", Tone.MUTED))])
            for name in ("title", "head", "actions", "hint"):
                self.query_one(f"#{name}", Row).show()
            self.refresh_rows()
            return
        if card.key != self._key:
            # Another card, or the same with another text: what was read and pressed until now was for something else.
            self._hint = "It changed since you looked: read it again." if self._same(card) else ""
            self._key = card.key
            self.cover()
            view.show([], reset=True)
            view.focus()
        head = self.query_one("#head", Row)
        head.styles.height = min(
            HEAD_ROWS, max(1, sum(row_count(each, max(self.size.width, 20)) for each in card.head))
        )
        head.show(*card.head)
        self.query_one("#title", Row).show(line(" ", *card.title, right=card.right))
        view.show(card.lines)
        self._draw_bar(card)
        self.refresh_rows()
        self.call_after_refresh(self._draw_again)

    def _same(self, card: Card) -> bool:
        return bool(self._key) and self._key.rpartition(" ")[0] == card.key.rpartition(" ")[0]

    def _draw_again(self) -> None:
        if self.drawable and (card := self.card()) is not None and card.key == self._key:
            self._draw_bar(card)

    def on_lines_view_moved(self, message: LinesView.Moved) -> None:
        """Say how much is still to be read."""
        self.call_after_refresh(self._draw_again)

    def _draw_bar(self, card: Card) -> None:
        actions, hint = self.query_one("#actions", Row), self.query_one("#hint", Row)
        if card.over:
            actions.show(line((" [ esc back ]", Tone.MUTED)))
            hint.show(line((f" {card.closed}", Tone.WARN)))
            return
        locks, armed = self.locks(card), self.guard.armed_seconds
        if armed:
            first: Given = (f"[ ARMED: enter {self._does()} ]", Tone.ALERT)
        elif locks.reason:
            first = (f"[ {self.VERB}: locked ]", Tone.MUTED)
        else:
            first = (f"[ a {self.VERB} ]", Tone.STRONG)
        gap = "   " if self.wide else "  "
        actions.show(line(" ", first, *(f"{gap}[ {each} ]" if self.wide else f"{gap}{each}" for each in self.OTHERS)))
        if self._sending:
            text: Given = (" handing your answer over ..", Tone.ACCENT)
        elif armed:
            text = (f" enter {self._does()}, any other key disarms ({int(armed) + 1} s)", Tone.WARN)
        elif self._hint:
            text = (f" {self._hint}", Tone.WARN)
        elif locks.reason:
            text = (f" {locks.reason}", Tone.WARN)
        else:
            text = (f" Nothing is armed. a arms, then enter {self._does()}.", Tone.MUTED)
        hint.show(line(text))

    def _does(self) -> str:
        return "allows this one call" if self.VERB == "allow once" else f"{self.VERB}s it"

    # Deciding ----------------------------------------------------------------------------------------------------

    def locks(self, card: Card) -> Locks:
        """Return why nobody can say yes now."""
        closed = card.closed
        if not closed and self.host.read_only:
            closed = "There is no session to answer in."
        if not closed and self._sending:
            closed = "An answer is on its way."
        if not closed and not self.text.whole:
            closed = f"Read all of it first: ctrl+d goes on ({self.text.place} were in sight)."
        return Locks(closed)

    def admit(self, event: events.Key) -> bool:
        """See every key before anything else does; returns whether it may go on to the bindings."""
        card = self.card()
        if card is None or event.key in ("ctrl+q", "ctrl+c", "ctrl+l"):
            self.guard.disarm()
            return True
        if card.key != self._key:
            # It turned into another one since it was last drawn: this key was not meant for it.
            self.refresh_case()
            return False
        self._hint = ""
        locks = self.locks(card)
        move = self.guard.press(event.key, locks)
        if move is Move.LOCKED:
            self._hint = locks.reason
        if move is Move.RUN:
            self.allow(card)
        self._draw_again()
        return move is Move.PASS

    def disarm(self) -> None:
        """A click, a paste or a lost focus disarms like any other key."""
        if self.guard.armed_seconds:
            self.guard.disarm()
            self._draw_again()

    def on_mouse_down(self) -> None:
        """A click disarms, wherever it came from."""
        self.disarm()

    def say(self, text: str) -> None:
        """Show a sentence below the answers."""
        self._hint = text
        self._draw_again()
