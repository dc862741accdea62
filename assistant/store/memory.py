"""What a session writes to when there is no usable store: it goes on in memory, says so, and cannot change anything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from assistant.domain.case import Spent
from assistant.domain.event import Event
from assistant.errors import StoreError
from assistant.store import bodies


class MemoryStore:
    """Keeps the bodies of one process; every `flush` raises, so nothing is ever approved or sent without a log."""

    def __init__(self, reason: StoreError) -> None:
        self.reason = reason
        self._bodies: dict[str, str] = {}

    @property
    def trouble(self) -> StoreError | None:
        """Return why there is no store."""
        return self.reason

    def listen(self, on_trouble: Callable[[StoreError | None], None]) -> None:
        """Say at once that there is no store."""
        on_trouble(self.reason)

    def append(self, event: Event) -> None:
        """Keep nothing: the session holds its own events."""

    def put_body(self, session: str, text: str) -> str:
        """Keep a text for this process."""
        sha256 = bodies.body_key(text)
        self._bodies[sha256] = text
        return sha256

    def body(self, sha256: str) -> str:
        """Return a text of this process. Raises StoreError."""
        if sha256 not in self._bodies:
            raise StoreError(f"The text {sha256[:12]} is not there.", "This session is not stored.")
        return self._bodies[sha256]

    def spent_since(self, at: datetime) -> Spent:
        """Return nothing: what other sessions have spent cannot be read, and this one knows its own."""
        return Spent()

    async def flush(self) -> None:
        """Raise the reason."""
        raise self.reason

    def claim(self, session: str) -> None:
        """Do nothing: nobody else can see this session."""

    def release(self, session: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
