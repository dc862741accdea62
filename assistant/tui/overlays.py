"""What comes over a screen for a moment: help, texts, one-line questions, commands, the second key after g.

Apart, because they are imported when first opened and not before the first frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from assistant.domain.case import Case
from assistant.domain.evidence import Evidence
from assistant.policy.sanitize import safe
from assistant.tui.keys import KEYS, TITLES, Key, Place, bindings, in_place
from assistant.tui.lines import BLANK, Line, Tone, as_text, block, line
from assistant.tui.panes import evidence_head
from assistant.tui.ports import PracticeIncident
from assistant.tui.textkeys import KeyedScreen
from assistant.tui.transcript import error_lines
from assistant.tui.view import LinesView, Row, Rule

if TYPE_CHECKING:
    from assistant.tui.app import PilothouseApp


def help_lines(place: Place) -> list[Line]:
    """Return the keys that hold on a screen; made from the registry, so it cannot be stale."""
    places = [place, Place.TEXT, Place.GO, Place.ANYWHERE]
    if place is Place.INVESTIGATE:
        places.insert(1, Place.PROMPT)
    out: list[Line] = []
    for each in dict.fromkeys(places):
        out += [line((TITLES[each], Tone.HEADING))]
        out += [line((f"  {key.label:<22}", Tone.STRONG), key.text, hang=24) for key in in_place(each)]
        out.append(BLANK)
    return out[:-1]


def error_text(app: PilothouseApp) -> list[Line]:
    """Return the last error in full."""
    if app.failure is not None:
        error = app.failure
        head = [line((error.meaning, Tone.BAD)), line(("do: ", Tone.STRONG), error.hint)]
        return [*head, BLANK, *block(error.detail or "There is no more detail.", Tone.CODE)]
    if app.case.errors:
        last = app.case.errors[-1]
        return [*error_lines(last, ""), BLANK, *block(last.detail or "There is no more detail.", Tone.CODE)]
    return [line(("No error so far.", Tone.MUTED))]


class TextScreen(KeyedScreen[None], ModalScreen[None]):
    """A text over the whole screen, with find and copy."""

    CSS = """
    TextScreen { background: $background 60%; align: center middle; }
    TextScreen #box { width: 96%; height: 94%; max-width: 140; background: $background; border: solid $border; }
    TextScreen #head { height: auto; max-height: 7; }
    """

    def __init__(self, title: str, lines: Sequence[Line], *, head: Sequence[Line] = (), reveal: int = -1) -> None:
        """Take what to show; `reveal` is the line to begin at."""
        super().__init__()
        self._title = line(
            (f" {safe(title, multiline=False)} ", Tone.HEADING), right=[("/ find  y copy  esc close ", Tone.MUTED)]
        )
        self._head, self._lines, self._reveal = head, lines, reveal

    def compose(self) -> ComposeResult:
        """Lay the text out."""
        with Vertical(id="box"):
            yield Row(self._title)
            if self._head:
                yield Row(*self._head, id="head")
            yield Rule()
            yield LinesView(id="text")

    def on_mount(self) -> None:
        """Show the text from the asked line."""
        view = self.query_one("#text", LinesView)
        for row in self.query("#head").results(Row):
            row.styles.height = min(7, len(self._head) + 1)
        view.show(self._lines)
        view.focus()
        if self._reveal >= 0:
            self.call_after_refresh(view.open_at, self._reveal)

    def action_go(self) -> None:
        """`g` goes to the top here; an overlay is closed before another screen is opened."""
        self.query_one("#text", LinesView).go(end=False)

    def action_help(self) -> None:
        """Close: help over help says nothing."""
        self.dismiss(None)

    def action_copy_block(self) -> None:
        """Copy the whole text."""
        text = as_text(self._lines)
        self.app.copy_to_clipboard(text)
        self.host.tell(f"sent {len(text):,} characters to the terminal's clipboard (OSC 52)")


def quoted_lines(body: str, quote: str) -> set[int]:
    """Return the line numbers of `body` in which the parts of `quote` stand.

    A quote is verbatim after blanks are squeezed; parts that are not neighbours are joined by " … ".
    """
    squeezed: list[str] = []
    places: list[int] = []
    for number, row in enumerate(body.split("\n")):
        for word in row.split():
            squeezed.append(word)
            places += [number] * (len(word) + 1)
    text = " ".join(squeezed)
    marked: set[int] = set()
    for part in quote.split(" … "):
        wanted = " ".join(part.split())
        start = text.find(wanted) if wanted else -1
        if start >= 0:
            marked |= set(places[start : start + len(wanted)])
    return marked


def evidence_screen(evidence: Evidence, case: Case, body: str) -> TextScreen:
    """Return the whole text of a fact with the quoted lines marked, opened at the first of them."""
    rows = safe(body).split("\n")
    marked = quoted_lines("\n".join(rows), safe(evidence.quote))
    lines = [
        line(("> " if n in marked else "  ", Tone.ACCENT), (row, Tone.MATCH if n in marked else Tone.CODE), hang=2)
        for n, row in enumerate(rows)
    ]
    return TextScreen(
        f"Evidence {evidence.id}", lines, head=evidence_head(evidence, case), reveal=min(marked, default=-1)
    )


class Field(Input):
    """One line to type into. `no_paste` is for the typed name of a critical change: it has to be typed."""

    DEFAULT_CSS = "Field { border: none; height: 1; padding: 0; background: $surface; width: 1fr; }"

    def __init__(self, *, no_paste: bool = False, id: str | None = None) -> None:
        """Start empty."""
        super().__init__(id=id, compact=True, select_on_focus=False)
        self.no_paste = no_paste
        self.cursor_blink = False

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if not self.no_paste:
            self.insert_text_at_cursor(safe(event.text, multiline=False))

    def action_paste(self) -> None:
        """Paste Textual's own clipboard, under the same rule."""
        if not self.no_paste:
            self.insert_text_at_cursor(safe(self.app.clipboard, multiline=False))


class FieldScreen(ModalScreen[str | None]):
    """One question at the bottom of the screen; esc gives None and loses nothing else."""

    CSS = """
    FieldScreen { background: $background 0%; align: left bottom; }
    FieldScreen #box { height: 3; width: 1fr; background: $surface; border-top: solid $border; layout: horizontal; }
    FieldScreen #label { width: auto; background: $surface; }
    """

    def __init__(self, label: str) -> None:
        """Take the words in front of the field."""
        super().__init__()
        self._label = label

    def compose(self) -> ComposeResult:
        """Lay label and field out."""
        with Vertical(id="box"):
            row = Row(line((f" {self._label}", Tone.HEADING)), id="label")
            row.styles.width = len(self._label) + 2
            yield row
            yield Field()

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Field).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the text over."""
        event.stop()
        self.dismiss(event.value)


class GoScreen(ModalScreen[str]):
    """Waits for the key after `g` and says which there are."""

    CSS = """
    GoScreen { background: $background 0%; align: left bottom; }
    GoScreen Row { background: $surface; }
    """

    def compose(self) -> ComposeResult:
        """Name the keys."""
        words = [f"{key.keys[0]} {key.text}" for key in in_place(Place.GO)]
        yield Row(line((" g ", Tone.HEADING), "   ".join(words)))

    def on_key(self, event: events.Key) -> None:
        """End with the name of the command, or none."""
        event.stop()
        chosen = next((key.name for key in in_place(Place.GO) if event.key in key.keys), "")
        self.dismiss(chosen)


class PaletteScreen(ModalScreen[Key | None]):
    """Every command that works here, found by typing."""

    CSS = """
    PaletteScreen { background: $background 60%; align: center top; }
    PaletteScreen #box { width: 76; max-width: 96%; height: 80%; margin-top: 1;
        background: $background; border: solid $border; }
    """

    def __init__(self, place: Place) -> None:
        """Take the screen it was opened on."""
        super().__init__()
        places = (place, Place.GO, Place.TEXT, Place.ANYWHERE)
        self._keys = list({key.name: key for key in KEYS if key.place in places and len(key.keys) < 4}.values())

    def compose(self) -> ComposeResult:
        """Lay field and list out."""
        with Vertical(id="box"):
            yield Field()
            yield Rule()
            yield LinesView(picks=True, id="commands")

    def on_mount(self) -> None:
        """List everything."""
        self._list("")
        self.query_one(Field).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """List what matches: every typed word must stand in the name or the text."""
        self._list(event.value)

    def _list(self, typed: str) -> None:
        words = typed.lower().split()
        found = [k for k in self._keys if all(w in f"{k.name} {k.text}".lower().replace("_", " ") for w in words)]
        view = self.query_one("#commands", LinesView)
        view.show([line(key.text, right=[(key.label, Tone.STRONG)], ref=key.name) for key in found], reset=True)
        view.cursor = ""
        view.move(1)

    def on_key(self, event: events.Key) -> None:
        """Move in the list while the field has the focus."""
        if event.key in ("down", "up"):
            self.query_one("#commands", LinesView).move(1 if event.key == "down" else -1)
            event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Run what the cursor is on."""
        event.stop()
        chosen = self.query_one("#commands", LinesView).cursor
        self.dismiss(next((key for key in self._keys if key.name == chosen), None))


class ChooserScreen(KeyedScreen[PracticeIncident | None], ModalScreen[PracticeIncident | None]):
    """The practice incidents: recorded clusters, so nothing outside this machine is touched."""

    BINDINGS = bindings(Place.CHOOSER)
    CSS = TextScreen.CSS.replace("TextScreen", "ChooserScreen")

    def __init__(self, incidents: Sequence[PracticeIncident]) -> None:
        """Take the incidents."""
        super().__init__()
        self._incidents = incidents

    def compose(self) -> ComposeResult:
        """Lay the list out."""
        title = line(
            (" Practice on a recorded cluster ", Tone.HEADING),
            right=[("j k choose  enter open  esc close ", Tone.MUTED)],
        )
        with Vertical(id="box"):
            yield Row(title)
            yield Rule()
            yield LinesView(picks=True, id="text")

    def on_mount(self) -> None:
        """List the incidents."""
        lines: list[Line] = []
        for each in self._incidents:
            place = [(each.namespace, Tone.MUTED)] if each.namespace else []
            lines.append(
                line((f"{each.title}  ", Tone.STRONG), (each.name, Tone.MUTED), hang=2, right=place, ref=each.name)
            )
            lines += [line(f"  {each.symptom}", hang=2, ref=each.name), line("", ref=each.name)]
        view = self.query_one("#text", LinesView)
        view.show(lines or [line(("No practice incidents are installed.", Tone.WARN))])
        view.focus()
        view.move(1)

    def action_open(self) -> None:
        """Open the chosen incident."""
        chosen = self.query_one("#text", LinesView).cursor
        self.dismiss(next((each for each in self._incidents if each.name == chosen), None))
