"""What a call came to, as text that may be kept and shown: secrets out, safe, in bounds, its source as citation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mcp_types as types

from assistant.domain.canonical import canonical
from assistant.domain.evidence import Citation
from assistant.policy.redact import redact_object, redact_text
from assistant.policy.sanitize import safe

LARGEST_RAW: Final = 2_000_000
LARGEST_BODY: Final = 500_000
LONGEST_REQUEST: Final = 400
QUOTED_LINES: Final = 3
QUOTED_CHARACTERS: Final = 300
MOST_PARTS: Final = 200
MOST_VALUES: Final = 3_000
"""Of a structure that are looked for in the text beside it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call's result. `ok` false: the server says that it failed, and `citation.body` has what it said.

    `notes` say what is not in the body; `redactions` counts the values that were taken out.
    """

    ok: bool
    citation: Citation
    notes: tuple[str, ...] = ()
    redactions: int = 0

    @property
    def text(self) -> str:
        """Return all of the clean text."""
        return self.citation.body


def request_line(server: str, tool: str, arguments: Mapping[str, Any]) -> str:
    """Return `mcp SERVER TOOL ARGS`, without secrets, on one line."""
    clean, _ = redact_object(dict(arguments))
    return _request(server, tool, canonical(clean).decode(errors="replace"))


def outcome_of(server: str, tool: str, arguments: Mapping[str, Any], result: types.CallToolResult) -> Outcome:
    """Return what a call came to, of whatever the server sent."""
    request = request_line(server, tool, arguments)
    return _outcome(request, result.content, result.structured_content, ok=not result.is_error)


def read_outcome(server: str, uri: str, result: types.ReadResourceResult) -> Outcome:
    """Return what a resource says: `mcp SERVER resource URI`."""
    parts: list[types.ContentBlock] = []
    for each in result.contents:
        if isinstance(each, types.TextResourceContents) and each.uri == uri:
            parts.append(types.TextContent(text=each.text))
        else:
            parts.append(types.EmbeddedResource(resource=each))
    return _outcome(_request(server, "resource", uri), parts)


def prompt_outcome(server: str, name: str, values: Mapping[str, str], result: types.GetPromptResult) -> Outcome:
    """Return what a prompt says with its values filled in: `mcp SERVER prompt NAME VALUES`.

    Who is to have said what is told only where that is not the person alone.
    """
    mixed = {each.role for each in result.messages} != {"user"}
    parts: list[types.ContentBlock] = []
    for each in result.messages:
        content = each.content
        if mixed and isinstance(content, types.TextContent):
            content = types.TextContent(text=f"{each.role}: {content.text}")
        parts.append(content)
    request = _request(server, "prompt", f"{name} {canonical(dict(values)).decode(errors='replace')}")
    return _outcome(request, parts)


def _request(server: str, what: str, about: str) -> str:
    shown = redact_text(about)[0]
    if len(shown) > LONGEST_REQUEST:
        shown = shown[:LONGEST_REQUEST] + "…"
    return str(safe(f"mcp {server} {what} {shown}", multiline=False))


def _outcome(
    request: str, content: Sequence[types.ContentBlock], structured: Any = None, *, ok: bool = True
) -> Outcome:
    texts: list[str] = []
    raw: list[str] = []
    notes: list[str] = []
    redactions = 0
    for part in content[:MOST_PARTS]:
        text, note = _part(part)
        if note:
            notes.append(note)
        if text:
            raw.append(text[:LARGEST_RAW])
            clean, count = _clean(text)
            texts.append(clean)
            redactions += count
    if len(content) > MOST_PARTS:
        notes.append(f"{len(content) - MOST_PARTS} more parts were left out")
    if structured is not None and not _repeated(structured, raw):
        clean, count = _structure(structured)
        texts.append(clean)
        redactions += count
    body = "\n".join(texts)
    if len(body) > LARGEST_BODY:
        notes.append(f"cut after {LARGEST_BODY // 1000} kB of {len(body) // 1000}")
        # At a line's end, so that no half of a value stands there as if it were one.
        body = body[:LARGEST_BODY].rpartition("\n")[0] or body[:LARGEST_BODY]
    notes = [str(safe(note, multiline=False)) for note in notes]
    body = str(body)
    if not body:
        body = "; ".join(notes) or "(nothing)"
    return Outcome(ok, Citation(request, _quote(body), body), tuple(notes), redactions)


def _part(part: types.ContentBlock) -> tuple[str, str]:
    """Return the text of a part, or a note on what it is where it is none. Nothing is fetched."""
    match part:
        case types.TextContent():
            return part.text, ""
        case types.ImageContent() | types.AudioContent():
            what = "an image" if isinstance(part, types.ImageContent) else "a sound"
            return "", f"{what} ({_short(part.mime_type)}, {len(part.data) * 3 // 4} bytes) was left out"
        case types.ResourceLink():
            return "", f"a link to the resource {_short(part.uri)} was not followed"
        case types.EmbeddedResource():
            inner = part.resource
            if isinstance(inner, types.TextResourceContents):
                return inner.text, f"from the resource {_short(inner.uri)}"
            return "", f"the resource {_short(inner.uri)} ({len(inner.blob) * 3 // 4} bytes) was left out"


def _short(value: object) -> str:
    return redact_text(str(value)[:200])[0]


def _clean(text: str) -> tuple[str, int]:
    cut = len(text) > LARGEST_RAW
    if cut:
        text = text[:LARGEST_RAW].rpartition("\n")[0] or text[:LARGEST_RAW]
    elif text.lstrip()[:1] in ("{", "["):
        try:
            return _structure(json.loads(text))
        except (ValueError, RecursionError):
            pass
    clean, count = redact_text(text)
    return safe(clean) + ("\n… (more was left out)" if cut else ""), count


def _structure(value: Any) -> tuple[str, int]:
    clean, count = redact_object(value)
    try:
        text = json.dumps(clean, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return "(a structure that is nested too deep was left out)", count
    text, more = redact_text(text[:LARGEST_RAW])
    return safe(text), count + more


def _repeated(structured: Any, texts: list[str]) -> bool:
    """Say whether the texts hold every value already: servers repeat a structure as JSON, YAML or a table."""
    squeezed = " ".join(" ".join(texts).split())
    pending, seen = [structured], 0
    while pending:
        value = pending.pop()
        seen += 1
        if seen > MOST_VALUES:
            return False
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and not _in(value, squeezed):
            return False
    return bool(squeezed)


def _in(value: str | float, squeezed: str) -> bool:
    plain = " ".join(str(value).split())
    return plain in squeezed or json.dumps(value, ensure_ascii=False).strip('"') in squeezed


def _quote(body: str) -> str:
    lines = [" ".join(line.split()) for line in body.splitlines() if line.strip()]
    return " … ".join(line[:QUOTED_CHARACTERS] for line in lines[:QUOTED_LINES])
