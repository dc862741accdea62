"""Answers as MCP results: what clusters said made visible and masked, and errors that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from mcp_types import CallToolResult, TextContent

from assistant.errors import PilothouseError
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe

LONGEST_TEXT: Final = 24_000
ERROR_KEY: Final = "pilothouse/error"
_OWN: Final = frozenset({"session", "proposal", "id", "state", "at", "expires", "opened_at", "verdict", "status"})
"""What we wrote ourselves: ids and times, which a scanner for secrets must not read as keys."""
_WITHHELD: Final = frozenset({"digest"})
"""What a person types to approve; an agent that could also type commands would not have to read the card for it."""

_LOG: Final = logging.getLogger(__name__)


def visible(text: str) -> str:
    """Return text without secrets, and with control, bidirectional and zero-width characters made visible."""
    return str(safe(redact_text(text)[0]))


def visible_value(value: Any, key: str = "") -> Any:
    """Return plain JSON with every text in it `visible`."""
    if isinstance(value, str):
        return str(safe(value)) if key in _OWN else visible(value)
    if isinstance(value, Mapping):
        return {str(safe(str(k))): visible_value(v, str(k)) for k, v in value.items() if k not in _WITHHELD}
    if isinstance(value, list | tuple):
        return [visible_value(item, key) for item in value]
    return value


def result(text: str, structured: Mapping[str, Any]) -> CallToolResult:
    """Return an answer; `structured` must be `visible_value` already, the text is cut where it is too long."""
    shown = visible(text)
    if len(shown) > LONGEST_TEXT:
        shown = f"{shown[:LONGEST_TEXT]}\n… cut; the whole answer is in the structured content."
    return CallToolResult(content=[TextContent(type="text", text=shown)], structured_content=dict(structured))


def failure(error: PilothouseError) -> CallToolResult:
    """Return an error as a result that a model can act on: what it means, what to do, and its code."""
    said = {"code": error.code, "meaning": visible(error.meaning), "hint": visible(error.hint)}
    text = f"{said['meaning']} {said['hint']}".strip()
    # Beside the result, because some clients hold structured content against the output schema, errors included.
    return CallToolResult(
        content=[TextContent(type="text", text=f"{text} ({error.code})")], is_error=True, _meta={ERROR_KEY: said}
    )


async def answered(work: Awaitable[CallToolResult]) -> CallToolResult:
    """Await a tool's work; whatever it raises becomes a result with an error, so that the server lives."""
    try:
        return await work
    except PilothouseError as error:
        return failure(error)
    except Exception as error:
        # The text of an unexpected exception may hold anything: it goes to our log, not to the client.
        _LOG.exception("A tool failed.")
        text = "There is a fault in Pilothouse; nothing was changed by it."
        return failure(PilothouseError(text, "Try again, or report it.", detail=repr(error)))
