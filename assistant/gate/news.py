"""Tells whoever listens what happens at the gate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from assistant.domain.event import Concluded, Decided, Proposed, Sending

Event = Proposed | Decided | Sending | Concluded


class News:
    """Any number of listeners, each with a queue of its own."""

    def __init__(self) -> None:
        """Begin without listeners."""
        self.listeners: set[asyncio.Queue[Event]] = set()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """Yield a queue of what happens from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            yield queue
        finally:
            self.listeners.discard(queue)

    def tell(self, event: Event) -> None:
        """Tell every listener."""
        for queue in self.listeners:
            queue.put_nowait(event)
