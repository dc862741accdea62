"""The app's own keys: stop, quit, copy, commands, the change that waits. Every key passes the approval guard first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import events
from textual.app import App
from textual.screen import ModalScreen

from assistant.errors import PilothouseError
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import Key, Place, bindings

if TYPE_CHECKING:
    from assistant.domain.case import Case
    from assistant.tui.ports import SessionLike
    from assistant.tui.typeahead import TypeAhead


class KeyedApp(App[int]):
    """An app with the keys that hold anywhere; `app.PilothouseApp` adds session and screens."""

    BINDINGS = bindings(Place.ANYWHERE)
    session: SessionLike | None
    stopping: bool
    note: str
    ahead: TypeAhead

    @property
    def working(self) -> bool:
        """Say whether something runs that one can stop."""
        raise NotImplementedError

    @property
    def undecided(self) -> bool:
        """Say whether an approval waits."""
        raise NotImplementedError

    @property
    def case(self) -> Case:
        """Return the session's case."""
        raise NotImplementedError

    def switch(self, mode: str) -> None:
        """Show another screen."""
        raise NotImplementedError

    def screens_of(self, kind: type[InvestigateScreen]) -> list[InvestigateScreen]:
        """Return the live screens of a kind."""
        raise NotImplementedError

    def tell(self, text: str) -> None:
        """Show a sentence in the status row."""
        raise NotImplementedError

    def draw(self) -> None:
        """Have the screen in front draw the case."""
        raise NotImplementedError

    def go(self, command: str | None) -> None:
        """Run a go command."""
        raise NotImplementedError

    def open_approvals(self, proposal_id: str = "") -> None:
        """Show a proposal."""
        raise NotImplementedError

    async def leave(self) -> None:
        """Close the session and end."""
        raise NotImplementedError

    async def on_event(self, event: events.Event) -> None:
        """Show every key to the approval guard before anything can act on it; clicks and pastes disarm."""
        typed = event if isinstance(event, events.Key | events.Paste) and not event.is_forwarded else None
        if typed is not None and not self.ahead.admit(typed):
            return
        if isinstance(event, events.Key | events.MouseDown | events.Paste) and not event.is_forwarded:
            admit = getattr(self.screen, "admit", None)
            if admit is not None and isinstance(event, events.Key):
                if not admit(event):
                    self.ahead.sent()
                    return
            elif (disarm := getattr(self.screen, "disarm", None)) is not None:
                disarm()
        await super().on_event(event)
        if typed is not None:
            self.ahead.sent()

    def action_approvals_now(self) -> None:
        """Open the change that waits longest."""
        if not isinstance(self.screen, ModalScreen):
            self.open_approvals()

    def action_asked_now(self) -> None:
        """Open the held call or the server's question that waits longest."""
        from assistant.domain.asking import CallHeld
        from assistant.tui.asked import asked_first

        if isinstance(self.screen, ModalScreen):
            return
        first = asked_first(self.case)
        if first is None:
            self.tell("no MCP server waits for you")
        else:
            self.note = ""
            self.switch("call" if isinstance(first, CallHeld) else "question")

    def take_prompt(self, text: str, server: str) -> None:
        """Put a text of an MCP server into the prompt; a person reads it and sends it, or does not."""
        self.switch("investigate")
        kept = False
        for screen in self.screens_of(InvestigateScreen):
            if screen.typing:
                # An enter that was pressed once too often must not send what nobody has read.
                screen.back()
            kept = kept or bool(screen.prompt.text.strip())
            screen.offer(text)
        words = f"the words of MCP server {server} stand in the prompt: i, read them, enter sends them"
        self.tell("your own text stands in the prompt: send or empty it first" if kept else words)

    async def action_stop_or_back(self) -> None:
        """Close the overlay, else leave the screen, else stop the turn, else leave the prompt."""
        if isinstance(self.screen, ModalScreen):
            self.screen.dismiss(None)
        elif isinstance(self.screen, InvestigateScreen) and self.working:
            await self._stop()
        elif (back := getattr(self.screen, "back", None)) is not None:
            back()

    async def action_interrupt(self) -> None:
        """Copy the selection, else stop the turn; never quit."""
        focused: Any = self.focused
        text = self.screen.get_selected_text() or getattr(focused, "selected_text", "")
        if text:
            self.copy_to_clipboard(text)
            self.tell(f"sent {len(text):,} characters to the terminal's clipboard (OSC 52)")
        elif self.working:
            await self._stop()
        else:
            self.tell("ctrl+q quits")

    async def _stop(self) -> None:
        if self.session is None or self.stopping:
            return
        self.stopping = True
        self.draw()
        self.run_worker(self._stop_session(self.session), group="stop")

    async def _stop_session(self, session: SessionLike) -> None:
        try:
            await session.stop("stopped by you")
        except PilothouseError as error:
            self.tell(f"{error.meaning} {error.hint}")
        finally:
            self.stopping = False
            self.draw()

    def stop_changes(self) -> None:
        """Ask why, then have the gate void all that waits and send nothing more; esc leaves everything as it is."""
        from assistant.tui.overlays import FieldScreen

        session = self.session
        if session is None or isinstance(self.screen, FieldScreen):
            self.tell("no session is open here: there is nothing to stop")
            return

        def answered(why: str | None) -> None:
            if why is not None:
                self.run_worker(self._stop_changes(session, why.strip()), group="stop")

        self.push_screen(FieldScreen("stop ALL changes? why (enter stops them, esc does not): "), answered)

    async def _stop_changes(self, session: SessionLike, why: str) -> None:
        try:
            ended = await session.stop_changes(why)
        except PilothouseError as error:
            self.tell(f"{error.meaning} {error.hint}")
        else:
            self.tell(f"stopped: {ended} void, and nothing more is sent until a new gate starts")
        self.draw()

    def action_redraw(self) -> None:
        """Draw everything again."""
        self.refresh(layout=True)

    def action_palette(self) -> None:
        """Find a command by typing."""
        from assistant.tui.overlays import PaletteScreen

        base = self.screen
        if isinstance(base, ModalScreen):
            return

        def chosen(key: Key | None) -> None:
            if key is None:
                return
            if key.name.startswith("go_"):
                self.go(key.name)
            elif key.by_screen:
                self.tell(f"press {key.label}: this is not run from a list")
            else:
                self.call_later(self.run_action, key.name, base if hasattr(base, f"action_{key.name}") else self)

        self.push_screen(PaletteScreen(getattr(base, "PLACE", Place.TEXT)), chosen)

    async def action_leave(self) -> None:
        """Quit; asks where something runs or waits."""
        if self.working or self.undecided:
            waits = "a change waits, --resume brings it back"
            what = waits if self.undecided else "a turn runs"
            from assistant.tui.overlays import FieldScreen

            def answered(text: str | None) -> None:
                if text is not None and text.strip().lower() in ("y", "yes"):
                    self.run_worker(self.leave(), group="leave")

            if not isinstance(self.screen, ModalScreen):
                self.push_screen(FieldScreen(f"{what}; quit? y, then enter: "), answered)
            return
        self.run_worker(self.leave(), group="leave")
