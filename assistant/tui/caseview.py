"""The panes of Investigate: transcript, and the case beside it. Apart, because they come after the first frame."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from assistant.tui.view import LinesView, Row


class CaseBody(Horizontal):
    """Transcript on the left, the case on the right; on narrow screens one of the two."""

    SCOPED_CSS: ClassVar[bool] = False
    DEFAULT_CSS = """
    InvestigateScreen #transcript { width: 1fr; }
    InvestigateScreen #case { width: 38%; border-left: solid $border; }
    InvestigateScreen #items { height: 1fr; }
    InvestigateScreen #detail { height: 45%; border-top: solid $border; }
    InvestigateScreen.-narrow #case { display: none; border: none; width: 1fr; }
    InvestigateScreen.-narrow.-case #case { display: block; }
    InvestigateScreen.-narrow.-case #transcript { display: none; }
    """

    def compose(self) -> ComposeResult:
        """Lay the panes out."""
        yield LinesView(follow=True, id="transcript")
        with Vertical(id="case"):
            yield Row(id="tabs")
            yield LinesView(picks=True, id="items")
            yield LinesView(id="detail")
