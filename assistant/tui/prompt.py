"""The prompt: several lines, history, and a first-character command key. Text is never lost by leaving it."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from assistant.policy.sanitize import safe
from assistant.tui.investigate import HINT


class Prompt(TextArea):
    """Where questions are typed. Enter sends, ctrl+j makes a line."""

    DEFAULT_CSS = """
    Prompt { height: auto; min-height: 1; max-height: 6; border: none; padding: 0 1; background: $surface; }
    Prompt:focus { border: none; }
    Prompt .text-area--cursor-line { background: $surface; }
    """

    class Sent(Message):
        """A person sent this text."""

        def __init__(self, text: str) -> None:
            """Keep the text."""
            super().__init__()
            self.text = text

    class Command(Message):
        """A person asked for the commands."""

    class Leave(Message):
        """A person wants to go to the next pane."""

    def __init__(self, *, id: str) -> None:
        """Start empty."""
        super().__init__(id=id, soft_wrap=True, show_line_numbers=False, tab_behavior="focus", placeholder=HINT)
        self.cursor_blink = False
        self.asked: list[str] = []
        self._place = 0
        self._draft = ""

    async def _on_key(self, event: events.Key) -> None:
        row = self.cursor_location[0]
        match event.key:
            case "enter":
                self._stop(event)
                text = self.text.strip()
                if text:
                    # Taken here, not by who gets the message: what is typed until then must not be thrown away.
                    self._take(text)
                    self.post_message(self.Sent(text))
            case "ctrl+j" | "shift+enter":
                self._stop(event)
                self.insert("\n")
            case "colon" if not self.text:
                self._stop(event)
                self.post_message(self.Command())
            case "tab" | "shift+tab":
                self._stop(event)
                self.post_message(self.Leave())
            case "up" if row == 0 and self.asked:
                self._stop(event)
                self._recall(-1)
            case "down" if row == self.document.line_count - 1 and self._place < len(self.asked):
                self._stop(event)
                self._recall(1)
            case _:
                await super()._on_key(event)

    def _stop(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.insert(safe(event.text))

    def _take(self, text: str) -> None:
        if not self.asked or self.asked[-1] != text:
            self.asked.append(text)
        self._place, self._draft = len(self.asked), ""
        self.text = ""

    def fill(self, text: str) -> None:
        """Offer a text; nothing that was typed is overwritten."""
        if not self.text.strip():
            self.text = safe(text)
            self.move_cursor(self.document.end)

    def _recall(self, step: int) -> None:
        if self._place == len(self.asked):
            self._draft = self.text
        self._place = min(max(self._place + step, 0), len(self.asked))
        self.text = self.asked[self._place] if self._place < len(self.asked) else self._draft
        self.move_cursor(self.document.end)
