"""Sessions: find, look at, replay and resume what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input

from assistant.domain.case import Case, fold
from assistant.errors import PilothouseError
from assistant.policy.sanitize import clip
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import BLANK, Given, Line, Tone, line
from assistant.tui.markdown import markdown_lines
from assistant.tui.overlays import Field
from assistant.tui.panes import finding_item
from assistant.tui.ports import ListedSession, Recording
from assistant.tui.screen import CaseScreen, framed
from assistant.tui.view import LinesView, Row, Rule

ROWS = 500
"""Sessions listed at once; a search covers all of them."""
LOOK_SECONDS = 0.15
"""The preview waits so long, so that moving through the list loads nothing."""


class SessionsScreen(CaseScreen):
    """A list from the index, a preview of the chosen one."""

    PLACE = Place.SESSIONS
    BINDINGS = bindings(Place.SESSIONS)
    AUTO_FOCUS = "#list"
    CSS = framed(
        "SessionsScreen",
        """
    SessionsScreen #listpane { width: 55%; border-right: solid $border; }
    SessionsScreen #search { margin: 0 1; }
    SessionsScreen #preview { width: 1fr; }
    SessionsScreen.-narrow #preview { display: none; }
    SessionsScreen.-narrow #listpane { width: 1fr; border: none; }
    """,
    )

    def __init__(self) -> None:
        """Start with nothing listed."""
        super().__init__()
        self._listed: tuple[ListedSession, ...] = ()
        self._trouble = ""
        self._query = ""
        self._look: Timer | None = None
        self._loaded: tuple[str, Case] | None = None

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield from self.chrome_top()
        with Horizontal(id="body"):
            with Vertical(id="listpane"):
                yield Row(id="count")
                yield Field(id="search")
                yield Rule()
                yield LinesView(picks=True, id="list")
            yield LinesView(id="preview")
        yield from self.chrome_bottom()

    def on_screen_resume(self) -> None:
        """Read the list again: sessions may have ended meanwhile."""
        super().on_screen_resume()
        self.action_reload()

    def state_word(self) -> str:
        """Return `search` where letters are text."""
        return "search" if isinstance(self.focused, Field) else "normal"

    def action_reload(self) -> None:
        """Read the list."""
        self._read()

    @work(group="list", exclusive=True)
    async def _read(self) -> None:
        library = self.host.library
        if library is None:
            self._trouble = "There is no session store here."
        else:
            try:
                rows: Sequence[ListedSession] = await asyncio.to_thread(library.list, ROWS, self._query)
                self._listed, self._trouble = tuple(rows), ""
            except PilothouseError as error:
                self._trouble = f"{error.meaning} {error.hint}"
        if not self.drawable:
            return
        self.refresh_case()
        view = self.query_one("#list", LinesView)
        if not view.cursor:
            view.move(1)

    def refresh_case(self) -> None:
        """Draw the list and the preview."""
        if not self.drawable or not self.query("#count"):
            return
        found = f"with “{self._query}”" if self._query else "newest first"
        more = f"{ROWS} or more" if len(self._listed) >= ROWS else str(len(self._listed))
        self.query_one("#count", Row).show(
            line((" SESSIONS ", Tone.HEADING), f"{more}, {found}", right=[("/ searches all text ", Tone.MUTED)])
        )
        lines = [each for listed in self._listed for each in row_lines(listed)]
        if self._trouble:
            lines = [line((self._trouble, Tone.BAD), hang=2)]
        elif not lines:
            empty = (
                "Nothing matches; esc shows all sessions again."
                if self._query
                else "No session is recorded yet: gi, then ask."
            )
            lines = [BLANK, line((empty, Tone.MUTED), hang=2)]
        self.query_one("#list", LinesView).show(lines)
        self._draw_preview()
        self.refresh_rows()

    def _chosen(self) -> ListedSession | None:
        cursor = self.query_one("#list", LinesView).cursor
        return next((each for each in self._listed if each.row.id == cursor), None)

    def on_lines_view_picked(self, message: LinesView.Picked) -> None:
        """Look at the chosen session when the cursor rests."""
        # The message may come when the screen is being taken down.
        if message.view.id == "list" and self.drawable:
            self._draw_preview()
            if self._look is not None:
                self._look.stop()
            self._look = self.set_timer(LOOK_SECONDS, self._look_at)

    def _look_at(self) -> None:
        if self.wide and self.drawable:
            self._load_preview()

    @work(group="preview", exclusive=True)
    async def _load_preview(self) -> None:
        chosen, library = self._chosen(), self.host.library
        if chosen is None or library is None or (self._loaded is not None and self._loaded[0] == chosen.row.id):
            return
        try:
            case = await asyncio.to_thread(lambda: fold(library.load(chosen.row.id)))
        except (PilothouseError, ValueError):
            return
        self._loaded = (chosen.row.id, case)
        if self.drawable:
            self._draw_preview()

    def _draw_preview(self) -> None:
        chosen = self._chosen()
        view = self.query_one("#preview", LinesView)
        if chosen is None:
            view.show([])
            return
        row = chosen.row
        out = [line((row.title or "(no question)", Tone.STRONG)), line((row.id, Tone.MUTED))]
        out.append(
            line(f"{row.opened_at.astimezone():%Y-%m-%d %H:%M}  {row.context}  {row.namespace}  mind {row.mind}")
        )
        out.append(line(f"{row.events} events, {row.applied} changes applied  ", *state_words(chosen)))
        if row.result:
            out.append(line((row.result, Tone.PLAIN), hang=2))
        if self._loaded is not None and self._loaded[0] == row.id:
            case = self._loaded[1]
            out += [BLANK, *(each for finding in case.findings for each in finding_item(finding, case.mind))]
            if case.answer is not None:
                out += [BLANK, *markdown_lines(case.answer.markdown)]
        view.show(out)

    # Keys --------------------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Search all text of all sessions."""
        self.query_one("#search", Field).focus()

    def on_key(self, event: events.Key) -> None:
        """Leave the search field downwards."""
        if isinstance(self.focused, Field) and event.key in ("down", "tab"):
            event.stop()
            self.query_one("#list", LinesView).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search."""
        self._query = event.value.strip()
        self.query_one("#list", LinesView).cursor = ""
        self.query_one("#list", LinesView).focus()
        self.action_reload()

    def back(self) -> None:
        """Leave the search, then the screen."""
        if isinstance(self.focused, Field):
            self.query_one("#list", LinesView).focus()
        elif self._query:
            self._query = ""
            self.query_one("#search", Field).value = ""
            self.action_reload()
        else:
            self.host.switch("investigate")

    def action_open(self) -> None:
        """Replay the chosen session."""
        if not isinstance(self.focused, Field):
            self._replay()

    @work(group="open", exclusive=True)
    async def _replay(self) -> None:
        chosen, library = self._chosen(), self.host.library
        if chosen is None or library is None:
            return
        try:
            events_ = await asyncio.to_thread(library.load, chosen.row.id)
        except PilothouseError as error:
            self.host.tell(f"{error.meaning} {error.hint}")
            return
        self.host.recording = Recording(chosen.row.id, tuple(events_), library.body)
        self.host.switch("replay")

    def action_resume(self) -> None:
        """Carry on with the chosen session."""
        chosen = self._chosen()
        if chosen is not None:
            self.host.resume_session(chosen.row.id)


def state_words(listed: ListedSession) -> list[Given]:
    """Return the verdict and the state of a session in words."""
    row = listed.row
    tone = {"fault": Tone.BAD, "healthy": Tone.GOOD}.get(row.verdict, Tone.WARN)
    out: list[Given] = [(row.verdict, tone), " "] if row.verdict else []
    if listed.interrupted:
        return [*out, ("interrupted", Tone.WARN)]
    # After a change the result says more than that the session is over.
    ended = row.result if row.applied and row.result and row.status in ("done", "closed") else row.status
    return [*out, (ended, Tone.GOOD if ended == "fixed" else Tone.MUTED)]


def row_lines(listed: ListedSession) -> list[Line]:
    """Return the two lines of a session in the list."""
    row = listed.row
    head = line((clip(row.title or "(no question)", 90), Tone.STRONG), hang=2, right=state_words(listed), ref=row.id)
    place = f"{row.context}/{row.namespace}" if row.namespace else row.context
    changes = f"  {row.applied} applied" if row.applied else ""
    when = f"  {row.opened_at.astimezone():%Y-%m-%d %H:%M}"
    return [head, line((f"{when}  {clip(place, 40)}  {row.events} events{changes}", Tone.MUTED), hang=2, ref=row.id)]
