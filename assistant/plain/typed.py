"""Lines that a person types, also while a turn runs. Apart from the conversation, which says what they mean."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TextIO

ReadLine = Callable[[str], Awaitable[str | None]]


class TypedLines:
    """Reads one line at a time. A line that was begun while a turn ran goes to whoever asks for the next one.

    `early` says whether lines are taken while a turn runs: from a terminal they are, from a pipe they would be eaten
    before the turn comes to the question that they answer.
    """

    def __init__(self, read: ReadLine, show: Callable[[str], None], *, early: bool = False) -> None:
        self.early = early
        self._read = read
        self._show = show
        self._begun: asyncio.Future[str | None] | None = None

    async def __call__(self, prompt: str) -> str | None:
        """Return the next line, None at the end of input."""
        if self._begun is None:
            return await self._read(prompt)
        self._show(prompt)
        begun, self._begun = self._begun, None
        return await begun

    def begin(self) -> asyncio.Future[str | None]:
        """Begin to read a line, unless one is begun."""
        if self._begun is None:
            self._begun = asyncio.ensure_future(self._read(""))
        return self._begun

    def take(self) -> str | None:
        """Return the line that was begun and is there; the end of input (None) stays for whoever reads next."""
        if self._begun is None:
            return None
        line = self._begun.result()
        if line is not None:
            self._begun = None
        return line

    def put_back(self, line: str) -> None:
        """Have `line` read next."""
        self._begun = asyncio.get_running_loop().create_future()
        self._begun.set_result(line)

    def close(self) -> None:
        """Give a line up that nobody waits for any more."""
        if self._begun is not None:
            self._begun.cancel()


class TerminalLines:
    """Reads lines of a terminal without a thread, so that giving one up leaves nothing behind that eats the next."""

    def __init__(self, source: int, out: TextIO) -> None:
        self._source = source
        self._out = out
        self._rest = b""

    async def __call__(self, prompt: str) -> str | None:
        """Print the prompt and return the next line without its end, None at the end of input."""
        self._out.write(prompt)
        self._out.flush()
        while b"\n" not in self._rest:
            await self._readable()
            data = os.read(self._source, 65_536)
            if not data:
                rest, self._rest = self._rest, b""
                return rest.decode("utf-8", "replace") or None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._source, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._source)
