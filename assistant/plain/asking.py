"""What was asked in the middle of a turn, in words: calls of tools that waited for a yes, questions of MCP servers."""

from __future__ import annotations

from typing import assert_never

from assistant.domain import event as ev
from assistant.domain.asking import Reply

Asked = ev.CallHeld | ev.CallDecided | ev.QuestionPut | ev.QuestionAnswered

_REPLIES = {Reply.ACCEPT: "answered", Reply.DECLINE: "declined", Reply.CANCEL: "not answered"}


def asked_words(payload: Asked) -> tuple[str, str]:
    """Return a label and what was asked or answered, on one line; the text is not safe yet."""
    match payload:
        case ev.CallHeld():
            what = "may destroy something" if payload.destructive else "may change something"
            told = "; ".join(" ".join(line.split()) for line in payload.lines)
            return "held", f"call {payload.call} of an MCP tool {what} and waits for a person: {told}"
        case ev.CallDecided():
            word = f"allowed once by {payload.by}" if payload.allowed else "not allowed"
            who = f" by {payload.by}" if payload.by and not payload.allowed else ""
            return "decided", f"call {payload.call} {word}{who}{': ' if payload.reason else ''}{payload.reason}"
        case ev.QuestionPut():
            fields = ", ".join(field.title or field.name for field in payload.fields)
            wanted = f"to look at {payload.url}" if payload.url else f"for {fields}" if fields else "for a yes"
            return "server asks", f"MCP server {payload.server} asks {wanted}: {payload.message}"
        case ev.QuestionAnswered():
            fields = f" ({', '.join(payload.fields)})" if payload.fields else ""
            who = f" by {payload.by}" if payload.by else ""
            return "you answer", f"the server's question was {_REPLIES[payload.reply]}{who}{fields}"
        case _:
            assert_never(payload)
