"""Investigate: talk, watch the work, read findings. Transcript, case pane and prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.css.query import NoMatches

from assistant.policy.sanitize import safe
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import Line, Tone, line
from assistant.tui.screen import CaseScreen, framed, keys_line
from assistant.tui.view import LinesView, Row, Rule
from assistant.tui.welcome import welcome_lines

if TYPE_CHECKING:
    from assistant.tui.prompt import Prompt
    from assistant.tui.transcript import Transcript

HINT = "ask what is wrong, or steer while it works"
TALL_ROWS = 30
SHARES = ("30%", "38%", "50%", "62%")
"""Widths of the case pane, from small to big."""


def _markdown(text: str, ref: str) -> list[Line]:
    from assistant.tui.markdown import markdown_lines

    return markdown_lines(text, ref)


class InvestigateScreen(CaseScreen):
    """The first screen. Its first frame is a few rows; panes and prompt follow, and no text is lost between."""

    PLACE = Place.INVESTIGATE
    BINDINGS = bindings(Place.INVESTIGATE)
    AUTO_FOCUS = ""
    CSS = framed(
        "InvestigateScreen",
        """
    InvestigateScreen #body { height: 1fr; }
    InvestigateScreen #more { display: none; }
    InvestigateScreen.-more #more { display: block; }
    """,
    )

    def __init__(self) -> None:
        """Start with the evidence tab."""
        super().__init__()
        self._tab = 0
        self._share = 1
        self._made: Transcript | None = None
        self._furnished = False
        self._first: Row | None = None
        self._early: list[events.Key | events.Paste] = []
        self._offered = ""

    def compose(self) -> ComposeResult:
        """Lay the first frame out: what is known before anything else is loaded."""
        width = self.app.size.width
        yield Row(self.identity(), id="identity")
        yield Rule()
        self._first = Row(*self._welcome(), id="body")
        yield self._first
        yield Rule()
        yield Row(self._early_line(), id="early")
        yield Row(self.status(), id="status")
        yield Row(keys_line(width, Place.PROMPT, Place.ANYWHERE), id="keys")

    def on_mount(self) -> None:
        """Bring the rest after the first frame."""
        # While an app starts it paints nothing (it is in a batch until its messages are looked at): what is asked for
        # after a refresh already now comes before there is one to see.
        self.app.call_later(self.call_after_refresh, self._furnish)

    async def _furnish(self) -> None:
        """Put panes and prompt in the place of the first frame's rows, then hand over what was typed meanwhile."""
        from assistant.tui.caseview import CaseBody
        from assistant.tui.prompt import Prompt

        # From here until the panes stand there is nothing to draw on, and the app's timers go on.
        self._first = None
        with self.app.batch_update():
            await self.query("#body, #early").remove()
            rules = list(self.query(Rule))
            await self.mount(CaseBody(id="body"), Row(id="more"), after=rules[0])
            await self.mount(Prompt(id="prompt"), after=rules[1])
            self._furnished = True
            self.layout_changed()
            if self._offered:
                self.prompt.fill(self._offered)
            self.prompt.focus()
            self.refresh_case()
        early, self._early = self._early, []
        for place, event in enumerate(early):
            if isinstance(event, events.Key) and event.key == "escape":
                self.back()
                for later in early[place + 1 :]:
                    self.app.post_message(later)
                return
            self.prompt.post_message(event)

    def admit(self, event: events.Key) -> bool:
        """Keep what is typed before the prompt is there; returns whether the bindings may have this key."""
        if self._furnished or event.key in ("ctrl+q", "ctrl+c", "ctrl+l"):
            return True
        if event.key == "backspace":
            del self._early[-1:]
        elif event.is_printable or event.key in ("enter", "ctrl+j", "escape"):
            self._early.append(event)
        self._show_early()
        return False

    def on_paste(self, event: events.Paste) -> None:
        """Keep what is pasted before the prompt is there."""
        if not self._furnished:
            event.stop()
            self._early.append(event)
            self._show_early()

    def _show_early(self) -> None:
        try:
            self.query_one("#early", Row).show(self._early_line())
        except NoMatches:
            # The prompt is about to take the row's place and shows these keys itself.
            return

    def _early_line(self) -> Line:
        typed = "".join(
            safe(e.text, multiline=False) if isinstance(e, events.Paste) else e.character or ""
            for e in self._early if isinstance(e, events.Paste) or e.is_printable
        )  # fmt: skip
        return line(f" {typed}") if typed else line((f" {HINT}", Tone.MUTED))

    @property
    def _transcript(self) -> Transcript:
        if self._made is None:
            from assistant.tui.transcript import Transcript

            self._made = Transcript(_markdown)
        return self._made

    @property
    def prompt(self) -> Prompt:
        """Return the prompt; there is none before the first frame is out."""
        from assistant.tui.prompt import Prompt

        return self.query_one("#prompt", Prompt)

    @property
    def typing(self) -> bool:
        """Say whether letters are text."""
        return not self._furnished or self.focused is self.prompt

    def offer(self, text: str) -> None:
        """Put a text into the prompt where nothing was typed."""
        self._offered = text
        if self._furnished:
            self.prompt.fill(text)

    def leave_empty_prompt(self) -> None:
        """Let the keys of a failure (c, r, !) work at once; nobody is interrupted who types already."""
        if self._furnished and self.typing and not self.prompt.text:
            self.set_focus(self.query_one("#transcript"))

    def state_word(self) -> str:
        """Return `prompt` where letters are text."""
        return "prompt" if self.typing else "normal"

    def key_row(self) -> Line:
        """Return the keys of the state."""
        if self.typing:
            return keys_line(self.size.width, Place.PROMPT, Place.ANYWHERE)
        return keys_line(self.size.width, Place.INVESTIGATE, Place.TEXT, Place.ANYWHERE)

    def refresh_case(self) -> None:
        """Draw transcript, case pane and rows."""
        if not self.drawable:
            return
        if not self._furnished:
            if self._first is not None:
                self._first.show(*self._welcome())
                self.refresh_rows()
            return
        if not self.host.opened:
            # The domain is not imported before the first frame, and there is nothing to fold yet.
            self.query_one("#transcript", LinesView).show(self._welcome())
            self.refresh_rows()
            return
        from assistant.tui.panes import PLAN, tab_line, tab_lines

        case, now = self.host.case, self.host.now()
        lines = self._transcript.lines(case, now, narrow=not self.wide)
        self.query_one("#transcript", LinesView).show(lines or self._welcome())
        tabs = self.query_one("#tabs", Row)
        tabs.show(tab_line(case, self._tab, tabs.size.width or 80))
        items = self.query_one("#items", LinesView)
        items.show(tab_lines(case, self._tab, now))
        if not items.cursor and items.refs and self._tab != PLAN:
            items.pick(items.refs[0], reveal=False)
        self._refresh_detail()
        self._refresh_more()
        self.refresh_rows()

    def _refresh_detail(self) -> None:
        from assistant.tui.panes import BOARD, item_detail

        detail, case = self.query_one("#detail", LinesView), self.host.case
        # A hypothesis says most of itself in the list: where there are few rows, they are the list's.
        board = self._tab == BOARD and bool(case.board) and self.size.height >= TALL_ROWS
        detail.display = board or (self._tab == 0 and bool(case.evidence))
        detail.show(item_detail(case, self._tab, self.query_one("#items", LinesView).cursor))

    def _refresh_more(self) -> None:
        view = self.query_one("#transcript", LinesView)
        hidden = not view.following and view.unseen > 0
        self.set_class(hidden, "-more")
        if hidden:
            self.query_one("#more", Row).show(line((f"  -- {view.unseen} new lines  G", Tone.WARN)))

    def _welcome(self) -> list[Line]:
        app = self.host
        return welcome_lines(
            app.failure, practice=len(app.practice), connected=app.session is not None, connecting=app.connecting,
            place=app.case.namespace if app.opened else "", typing=self.typing,
        )  # fmt: skip

    def on_descendant_focus(self) -> None:
        """Say which keys work in this state."""
        super().on_descendant_focus()
        if not self.host.opened:
            self.refresh_case()

    # Events of the parts -----------------------------------------------------------------------------------------

    def on_lines_view_picked(self, message: LinesView.Picked) -> None:
        """Show what the cursor is on."""
        if message.view.id == "items" and self.drawable:
            self._refresh_detail()

    def on_lines_view_moved(self, message: LinesView.Moved) -> None:
        """Say how much is new below."""
        if message.view.id == "transcript" and self.drawable:
            self._refresh_more()

    def on_prompt_sent(self, message: Prompt.Sent) -> None:
        """Ask or steer."""
        self.host.send(message.text)
        self.query_one("#transcript", LinesView).go(end=True)

    def on_prompt_command(self, _: Prompt.Command) -> None:
        """Show the commands."""
        self.host.action_palette()

    def on_prompt_leave(self, _: Prompt.Leave) -> None:
        """Go to the next pane."""
        self.action_next_pane()

    # Keys --------------------------------------------------------------------------------------------------------

    def layout_changed(self) -> None:
        """Give the case pane its share again."""
        if self._furnished:
            self._resize_case(0)

    def back(self) -> None:
        """Leave the prompt for the transcript; the text stays."""
        if self.typing:
            self.set_focus(self.query_one("#transcript" if self.query_one("#transcript").display else "#items"))
        elif self.has_class("-case"):
            self.remove_class("-case")
            self.query_one("#transcript").focus()

    def action_prompt(self) -> None:
        """Type."""
        self.prompt.focus()

    def action_next_pane(self) -> None:
        """Go round transcript, case pane and prompt; on narrow screens the case pane takes the transcript's place."""
        transcript, items = self.query_one("#transcript"), self.query_one("#items")
        if self.focused is transcript:
            self.add_class("-case")
            self.call_after_refresh(items.focus)
        elif self.focused is items and self.query_one("#detail").display:
            self.query_one("#detail").focus()
        elif self.focused is self.prompt:
            self.remove_class("-case")
            self.call_after_refresh(transcript.focus)
        else:
            self.remove_class("-case")
            self.prompt.focus()

    def action_tab_number(self, key: str) -> None:
        """Choose a tab of the case pane."""
        self._tab = int(key) - 1
        self.add_class("-case")
        items = self.query_one("#items", LinesView)
        items.cursor = ""
        items.show([], reset=True)
        self.refresh_case()
        self.call_after_refresh(items.focus)

    def action_fold(self) -> None:
        """Turn the block under the cursor over."""
        view = self.query_one("#transcript", LinesView)
        ref = view.cursor
        if ref == "plan":
            self.action_plan()
            return
        self._transcript.turn_over(ref, self.host.case)
        self.refresh_case()

    def action_plan(self) -> None:
        """Turn the plan over."""
        self._transcript.folds.plan_open = not self._transcript.folds.plan_open
        self.refresh_case()

    def action_open(self) -> None:
        """Open the item under the cursor."""
        from assistant.tui.items import open_item

        view = self.view()
        ref = view.cursor if view is not None else ""
        if view is not None and view.id == "detail":
            ref = self.query_one("#items", LinesView).cursor
        if ref and not open_item(self.host, ref):
            self.action_fold()

    def action_open_evidence(self) -> None:
        """Open the whole text of the evidence under the cursor."""
        ref = self.query_one("#items", LinesView).cursor
        if self.host.case.fact(ref) is not None:
            self.host.open_evidence(ref)

    def action_propose(self) -> None:
        """Have the chosen remedy examined."""
        ref = self.query_one("#items", LinesView).cursor
        if ref.startswith("remedy:"):
            self.host.review(ref.removeprefix("remedy:"))
        else:
            self.host.tell("choose a suggested change first (3)")

    def action_strike(self) -> None:
        """Strike the hypothesis under the cursor, or take that back."""
        self._mark("struck")

    def action_pin(self) -> None:
        """Pin the hypothesis under the cursor, or take that back."""
        self._mark("pinned")

    def _mark(self, word: str) -> None:
        from assistant.domain.hypothesis import Mark
        from assistant.tui.items import turn_mark

        turn_mark(self.host, self.query_one("#items", LinesView).cursor, Mark(word))

    def action_wider(self) -> None:
        """Make the case pane bigger."""
        self._resize_case(1)

    def action_narrower(self) -> None:
        """Make the case pane smaller."""
        self._resize_case(-1)

    def _resize_case(self, step: int) -> None:
        # The row of tabs says less where it has less room.
        self.call_after_refresh(self.refresh_case)
        self._share = min(max(self._share + step, 0), len(SHARES) - 1)
        self.query_one("#case").styles.width = SHARES[self._share] if self.wide else "1fr"

    def action_practice(self) -> None:
        """List the practice incidents."""
        self.host.choose_practice()

    def action_retry(self) -> None:
        """Connect again after a failure."""
        self.host.reconnect()

    def source_of(self, view: LinesView, ref: str) -> str:
        """Return the Markdown of an answer, the whole quote of a fact."""
        from assistant.tui.items import source_text

        return source_text(self.host.case, ref)
