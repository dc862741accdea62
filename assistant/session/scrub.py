"""Takes secrets out of events and evidence before anything is kept. Apart, so that there is one way into the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from assistant.domain.event import Payload, RemediesSuggested, UndoOffered
from assistant.domain.evidence import Citation
from assistant.store.bodies import body_key, encoded
from assistant.wire import convert

Redact = Callable[[str], tuple[str, int]]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAMES: Final = frozenset(
    {"id", "call", "proposal", "at", "created", "expires", "until", "uid", "resource_version", "api_version", "session"}
)
WITHHELD: Final = "[the quoted place holds a value that looks secret]"
_CACHED_BODIES: Final = 16


class Scrubber:
    """Redacts by an injected function `(text) -> (text, number of redactions)`."""

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._bodies: dict[str, tuple[str, int]] = {}

    def payload(self, payload: Payload) -> Payload:
        """Return the payload as it may be kept; the very same object where nothing had to go.

        An action that somebody may still want to run loses its whole body when a part of it is secret: sending a
        redacted body would write the placeholder into the cluster.
        """
        # msgspec's own form, because text that is not Unicode has no JSON form before it was cleaned.
        value = msgspec.to_builtins(payload)
        clean, count = self._walk(value, "", isinstance(payload, RemediesSuggested | UndoOffered))
        return convert(type(payload), clean) if count else payload

    def citation(self, citation: Citation) -> tuple[str, str, int]:
        """Return body and quote as they may be kept and the number of redactions in the body.

        The quote stays verbatim in the kept body: what was redacted in the body must not survive in the quote.
        """
        body, count = self.body(citation.body)
        quote, hits = self._text(citation.quote)
        if not count and not hits:
            return body, quote, count
        squeezed = " ".join(body.split())
        parts = [_verbatim(part, squeezed) for part in citation.quote.split(" … ")]
        return body, " … ".join(part for part in parts if part) or WITHHELD, max(count, hits)

    def body(self, text: str) -> tuple[str, int]:
        """Return a text and the number of redactions in it; the same text is worked on once."""
        key = body_key(text)
        known = self._bodies.get(key)
        if known is None:
            known = self._text(text)
            self._bodies[key] = known
            if len(self._bodies) > _CACHED_BODIES:
                del self._bodies[next(iter(self._bodies))]
        return known

    def _text(self, text: str) -> tuple[str, int]:
        if not text.isascii():
            text = encoded(text).decode()
        return self._redact(text)

    def _walk(self, value: Any, name: str, runnable: bool) -> tuple[Any, int]:
        match value:
            case str():
                if not value or name in _NAMES or _DIGEST.fullmatch(value):
                    return value, 0
                text, count = self._text(value)
                return text, count or int(text != value)
            case list() | tuple():
                pairs = [self._walk(item, name, runnable) for item in value]
                return [item for item, _ in pairs], sum(count for _, count in pairs)
            case dict():
                clean: dict[str, Any] = {}
                total = 0
                for key, item in value.items():
                    clean[key], count = self._walk(item, str(key), runnable or key == "undo")
                    total += count
                    if count and key == "body" and runnable and "method" in value:
                        clean[key] = ""
                return clean, total
            case _:
                return value, 0


def _verbatim(part: str, squeezed: str) -> str:
    # The longest beginning, by words, that stands in the redacted body; it cannot hold what was taken out there.
    words = part.split()
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if " ".join(words[:middle]) in squeezed:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])
