"""The keys of every text and list: movement, find, copy, help. Apart, because overlays have them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from textual.screen import Screen

from assistant.policy.sanitize import safe
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import as_text
from assistant.tui.view import LinesView

if TYPE_CHECKING:
    from assistant.tui.app import PilothouseApp

Result = TypeVar("Result")


class KeyedScreen(Screen[Result]):
    """A screen whose texts answer to the common keys."""

    PLACE: Place = Place.TEXT
    BINDINGS = bindings(Place.TEXT)

    @property
    def host(self) -> PilothouseApp:
        """Return the app with its own type."""
        return cast("PilothouseApp", self.app)

    def view(self) -> LinesView | None:
        """Return the text that movement keys mean: the focused one, else the first that is shown."""
        if isinstance(self.focused, LinesView):
            return self.focused
        return next((v for v in self.query(LinesView) if v.display and v.region.area), None)

    def action_down(self) -> None:
        """One row down."""
        self._each("step", 1)

    def action_up(self) -> None:
        """One row up."""
        self._each("step", -1)

    def action_half_down(self) -> None:
        """Half a page down."""
        self._each("page", 1)

    def action_half_up(self) -> None:
        """Half a page up."""
        self._each("page", -1)

    def action_next_block(self) -> None:
        """Cursor to the next block."""
        self._each("move", 1)

    def action_previous_block(self) -> None:
        """Cursor to the previous block."""
        self._each("move", -1)

    def _each(self, method: str, *values: int) -> None:
        if (view := self.view()) is not None:
            cast("Any", getattr(view, method))(*values)

    def action_bottom(self) -> None:
        """To the end, and follow."""
        if (view := self.view()) is not None:
            view.go(end=True)

    def action_top(self) -> None:
        """To the top."""
        if (view := self.view()) is not None:
            view.go(end=False)

    def action_next_pane(self) -> None:
        """Focus the next pane."""
        self.focus_next()

    def action_previous_pane(self) -> None:
        """Focus the previous pane."""
        self.focus_previous()

    def action_find(self) -> None:
        """Ask what to find, then go to it."""
        from assistant.tui.overlays import FieldScreen

        view = self.view()
        if view is None:
            return

        def found(text: str | None) -> None:
            if text:
                count = view.find(text)
                self.host.tell(
                    f"{count} lines with {safe(text, multiline=False)!s}" + ("; n next, N previous" if count else "")
                )

        self.app.push_screen(FieldScreen("find: "), found)

    def action_find_next(self) -> None:
        """Next hit."""
        self._hit(1)

    def action_find_previous(self) -> None:
        """Previous hit."""
        self._hit(-1)

    def _hit(self, step: int) -> None:
        if (view := self.view()) is not None:
            place, count = view.find_next(step)
            self.host.tell(f"match {place} of {count}" if count else "nothing found; / asks what to find")

    def action_help(self) -> None:
        """Show the keys that work here."""
        from assistant.tui.overlays import TextScreen, help_lines

        self.app.push_screen(TextScreen("Keys", help_lines(self.PLACE)))

    def action_palette(self) -> None:
        """Show every command."""
        self.host.action_palette()

    def action_go(self) -> None:
        """Wait for the second key of a go command."""
        from assistant.tui.overlays import GoScreen

        self.app.push_screen(GoScreen(), self.host.go)

    def action_stop_changes(self) -> None:
        """Stop all changes; asks first."""
        self.host.stop_changes()

    def action_error_detail(self) -> None:
        """Show the raw text behind the last error."""
        from assistant.tui.overlays import TextScreen, error_text

        self.app.push_screen(TextScreen("Last error", error_text(self.host)))

    def action_copy_block(self) -> None:
        """Copy the source text of the item under the cursor, else of the whole view."""
        view = self.view()
        if view is None:
            return
        chosen = [each for each in view.lines if each.ref == view.cursor] if view.cursor else list(view.lines)
        text = self.source_of(view, view.cursor) or as_text(chosen)
        self.app.copy_to_clipboard(text)
        self.host.tell(f"sent {len(text):,} characters to the terminal's clipboard (OSC 52)")

    def source_of(self, view: LinesView, ref: str) -> str:
        """Return the source text of an item, "" where its lines are the source."""
        return ""
