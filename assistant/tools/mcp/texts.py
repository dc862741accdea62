"""Texts of servers: in bounds, without secrets, safe to show, and plain, because they go into the log too."""

from __future__ import annotations

from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe


def line(text: object, most: int = 400) -> str:
    """Return a text on one line, "" for what is no text."""
    shown = " ".join(text[: most * 4].split()) if isinstance(text, str) else ""
    return str(safe(redact_text(shown)[0][:most], multiline=False))


def lines(text: str, most: int) -> str:
    """Return a text with its line ends."""
    return str(safe(redact_text(text[: most * 2])[0][:most]))
