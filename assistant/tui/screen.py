"""What every screen shares: identity row, status row, key row, the sentence for tiny terminals, keys for text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events
from textual.widget import Widget

from assistant.tui.keys import Place, in_place
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.textkeys import KeyedScreen
from assistant.tui.view import Row, Rule

if TYPE_CHECKING:
    from assistant.domain.case import Case

SMALLEST = (60, 16)
"""Columns and rows below which a screen is one sentence; identity, pending count and the stop key stay."""
WIDE_COLUMNS = 100


FRAME = """
CaseScreen { background: $background; layout: vertical; }
CaseScreen #body { height: 1fr; }
CaseScreen.-tiny > * { display: none; }
CaseScreen.-tiny > #identity, CaseScreen.-tiny > #keys, CaseScreen.-tiny > #status { display: block; }
CaseScreen.-tiny > #keys { height: 1fr; }
"""


def framed(name: str, css: str) -> str:
    """Return a screen's style with the frame's; style sheets are scoped by class name, so they cannot be inherited."""
    return FRAME.replace("CaseScreen", name) + css


class CaseScreen(KeyedScreen[None]):
    """A screen over the app's case. Subclasses fill `body()` and `refresh_case()`."""

    @property
    def drawable(self) -> bool:
        """Say whether all parts are there: mounted, and not being taken down, while timers still run."""
        return self.is_mounted and self.app.is_running and self in self.app.screen_stack

    @property
    def wide(self) -> bool:
        """Say whether there is room for two panes."""
        return self.size.width >= WIDE_COLUMNS

    def chrome_top(self) -> list[Widget]:
        """Return the rows above the body."""
        return [Row(id="identity"), Rule()]

    def chrome_bottom(self) -> list[Widget]:
        """Return the rows below the body."""
        return [Row(id="status"), Row(id="keys")]

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for this size."""
        width, height = event.size
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-tiny")
        self.set_class(width >= WIDE_COLUMNS, "-wide")
        self.set_class(width < WIDE_COLUMNS, "-narrow")
        self.layout_changed()
        self.call_after_refresh(self.refresh_case)

    def layout_changed(self) -> None:
        """Adapt what style classes cannot say."""

    def on_screen_resume(self) -> None:
        """Show what happened while another screen was in front."""
        self.refresh_case()

    def on_descendant_focus(self) -> None:
        """Say in the rows below which state holds."""
        self.refresh_rows()

    def evidence_source(self) -> tuple[Case, Callable[[str], str]] | None:
        """Return another case and its texts where this screen does not show the session's."""
        return None

    def refresh_case(self) -> None:
        """Draw the case; subclasses add their parts."""
        self.refresh_rows()

    def identity(self) -> Line:
        """Return the identity row."""
        if not self.host.opened:
            return line((" pilothouse", Tone.HEADING), ("  not connected", Tone.MUTED))
        from assistant.tui.panes import identity_line

        return identity_line(self.host.case, self.host.now(), self.size.width)

    def state_word(self) -> str:
        """Return the input state: `normal`, or `prompt` where letters are text."""
        return "normal"

    def key_row(self) -> Line:
        """Return the keys that work now, as many as fit."""
        return keys_line(self.size.width, self.PLACE, Place.TEXT, Place.ANYWHERE)

    def status(self) -> Line:
        """Return the status row."""
        app = self.host
        width = self.app.size.width
        if not app.opened:
            return line((f" {self.state_word()} ", Tone.ACCENT), (f"  {app.note}", Tone.WARN))
        from assistant.tui.panes import status_line

        return status_line(
            app.case, app.now(), state=self.state_word(), note=app.note, width=width, stopping=app.stopping,
            stops=self.PLACE is Place.INVESTIGATE,
        )  # fmt: skip

    def refresh_rows(self) -> None:
        """Draw identity, status and keys."""
        if not self.drawable:
            return
        # Where there is no room, one sentence takes the place of everything but identity and status.
        below = _too_small if self.has_class("-tiny") else self.key_row
        for name, made in (("identity", self.identity), ("status", self.status), ("keys", below)):
            for row in self.query(f"#{name}").results(Row):
                row.show(made())
        opened = self.host.case.opened if self.host.opened else None
        mark = "=" if opened is not None and opened.production else "-"
        for rule in self.query(Rule):
            if rule.mark != mark:
                rule.mark = mark
                rule.refresh()


def keys_line(width: int, *places: Place) -> Line:
    """Return `? help  / find …`: the keys with a short word, as many as fit into `width` cells."""
    given: list[Given] = [" "]
    used = 1
    names: set[str] = set()
    for key in (each for place in places for each in in_place(place)):
        if not key.short or key.short in names:
            continue
        label = key.label.split()[0]
        cells = len(label) + len(key.short) + 3
        if used + cells > width:
            break
        names.add(key.short)
        given += [(label, Tone.STRONG), (f" {key.short}  ", Tone.MUTED)]
        used += cells
    return line(*given)


def _too_small() -> Line:
    return line("Too small: needs 60x16 cells.")
