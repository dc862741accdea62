"""What the session needs from a store. Apart, because the real one and the one in memory both answer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from assistant.domain.event import Event
from assistant.errors import StoreError


class Log(Protocol):
    """Where events and bodies go: `store.log.SessionStore`, or `store.memory.MemoryStore` when that cannot be used."""

    @property
    def trouble(self) -> StoreError | None:
        """Return why nothing can be written at the moment."""
        ...

    def listen(self, on_trouble: Callable[[StoreError | None], None]) -> None:
        """Call `on_trouble`, from any thread, when writing begins to fail (with why) and when it works again (None)."""
        ...

    def append(self, event: Event) -> None:
        """Queue an event."""
        ...

    def put_body(self, session: str, text: str) -> str:
        """Queue a text and return its SHA-256."""
        ...

    def body(self, sha256: str) -> str:
        """Return a text. Raises StoreError."""
        ...

    async def flush(self) -> None:
        """Return when all is durable. Raises StoreError."""
        ...

    def claim(self, session: str) -> None:
        """Mark a session as ours. Raises StoreError when another process has it."""
        ...

    def release(self, session: str) -> None:
        """Give the claim up."""
        ...
