"""What the session needs from a store. Apart, because the real one and the one in memory both answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from assistant.domain.event import Event
from assistant.domain.toolserver import ToolServer
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


class ToolServers(Protocol):
    """The MCP servers of a session as a person handles them (`assistant.toolservers`)."""

    @property
    def file(self) -> str:
        """Return the path of `mcp.json`, which need not be there."""
        ...

    @property
    def problem(self) -> str:
        """Return why the file cannot be used and what to do, "" where it can."""
        ...

    def servers(self) -> tuple[ToolServer, ...]:
        """Return how each server stands; none is started. Raises StoreError."""
        ...

    async def look(self, name: str) -> ToolServer:
        """Start a server and return what it offers. Raises PilothouseError."""
        ...

    async def approve_server(self, name: str, digest: str) -> None:
        """Take a person's yes to what starts a server, as it was shown. Raises PilothouseError."""
        ...

    async def approve_tools(self, name: str, digests: Mapping[str, str]) -> None:
        """Take a person's yes to tools, by name and as they were shown. Raises PilothouseError."""
        ...

    async def forget(self, name: str) -> None:
        """Take back every approval of a server. Raises StoreError."""
        ...

    async def read(self, name: str, uri: str) -> str:
        """Return the text of a resource. Raises PilothouseError."""
        ...

    async def prompt(self, name: str, prompt: str, values: Mapping[str, str]) -> str:
        """Return the text of a server's prompt, filled in. Raises PilothouseError."""
        ...
