"""A call that could be made, as a person has to see it, and what is looked at before anything is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.domain.canonical import canonical
from assistant.domain.toolserver import Standing
from assistant.policy.redact import has_placeholder, redact_object, redact_text
from assistant.policy.sanitize import safe
from assistant.tools.mcp.catalog import Tool
from assistant.tools.mcp.faults import McpCallError, McpNotApprovedError

LARGEST_ARGUMENTS: Final = 200_000
LONGEST_PLACE: Final = 80
_KIND: Final = re.compile(r"\[REDACTED:([^:\]]+)")


@dataclass(frozen=True, slots=True)
class Request:
    """A call that could be made. What is not a read needs `digest` as consent, from whoever was shown `lines`."""

    server: str
    tool: Tool
    arguments: Mapping[str, Any]
    digest: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what a person has to see before a yes: server, tool, what it says of itself, all arguments."""
        shown = _shown(dict(self.arguments))
        hints = ", ".join(f"{key} {str(value).lower()}" for key, value in self.tool.definition.hints.items())
        return (
            f"server: {self.server}",
            f"tool: {safe(self.tool.definition.name, multiline=False)}",
            f"it says of itself: {hints or 'nothing'}",
            *(f"note: {note}" for note in self.tool.notes),
            *safe(shown).split("\n"),
        )


def check_standing(tool: Tool) -> None:
    """Raise McpNotApprovedError where nobody has approved a tool as it is now."""
    if tool.usable:
        return
    why = {
        Standing.NEW: "has not been approved",
        Standing.CHANGED: "is not what was approved",
        Standing.REFUSED: "cannot be used",
    }[tool.verdict.standing]
    raise McpNotApprovedError(
        f"Tool {tool.name} {why}.", "Look at it among the MCP servers.", detail="\n".join(tool.verdict.changes)
    )


def sendable(arguments: Mapping[str, Any]) -> str:
    """Return arguments as JSON that may be sent. Raises McpCallError: no JSON, too large, or something secret in it."""
    try:
        text = canonical(dict(arguments)).decode()
    except (ValueError, TypeError, RecursionError) as error:
        raise McpCallError(
            "The arguments are no JSON object.", "Give plain values.", detail=str(error)[:200]
        ) from error
    if len(text) > LARGEST_ARGUMENTS:
        raise McpCallError(f"The arguments are larger than {LARGEST_ARGUMENTS // 1000} kB.", "Ask for less at once.")
    if has_placeholder(text):
        raise McpCallError(
            "The arguments hold a value that was taken out of a text as a secret.", "Name where it stands instead."
        )
    found = secret_in(json.loads(text))
    if found is not None:
        where, what = found
        raise McpCallError(
            f"The argument {where} holds what looks like a secret ({what}).",
            "Nothing was sent. Name where the value stands instead.",
        )
    return text


def secret_in(value: Any) -> tuple[str, str] | None:
    """Return where in a value something looks like a secret, and what it looks like; None for nowhere."""
    clean, count = redact_object(value)
    if count:
        return _differing(value, clean, "")
    return _key_in(value, "") or _masked(value)


def _masked(value: Any) -> tuple[str, str] | None:
    # A number under a secret's name is taken for none, but the log masks its line: a yes would be to what nobody saw.
    for shown in _shown(value).split("\n"):
        clean, count = redact_text(shown)
        if count:
            kind = _KIND.search(clean)
            return _place(shown.partition(":")[0].strip(' "')), kind[1] if kind else "secret"
    return None


def _shown(arguments: Any) -> str:
    return json.dumps(arguments, indent=2, ensure_ascii=False, sort_keys=True)


def _differing(before: Any, after: Any, path: str) -> tuple[str, str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, inner in before.items():
            if key not in after or after[key] != inner:
                return _differing(inner, after.get(key), f"{path}.{key}" if path else str(key))
    if isinstance(before, list) and isinstance(after, list):
        for number, inner in enumerate(before):
            if number >= len(after) or after[number] != inner:
                return _differing(inner, after[number] if number < len(after) else None, f"{path}[{number}]")
    kind = _KIND.search(after) if isinstance(after, str) else None
    return _place(path), kind[1] if kind else "value of a Secret"


def _key_in(value: Any, path: str) -> tuple[str, str] | None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(key, str):
            clean, count = redact_text(key)
            if count:
                kind = _KIND.search(clean)
                return _place(f"{path}.(a name)" if path else "(a name)"), kind[1] if kind else "secret"
        found = _key_in(inner, f"{path}.{key}" if path else str(key))
        if found is not None:
            return found
    return None


def _place(path: str) -> str:
    return safe(path[:LONGEST_PLACE] or "(all)", multiline=False)
