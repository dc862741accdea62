"""Passes bytes between a client and the cluster once an approved session is open, both ways, as they come.

The seam on both sides is the one that aiohttp's own WebSockets use (`set_parser`): until the switch it speaks HTTP,
after it every byte comes here and none is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.http import StreamWriter

from assistant.errors import ClusterError, StoreError
from assistant.gate.headers import returned
from assistant.store.journal import Journal

# How much of one side may wait for the other before the sender is made to wait.
_WAITING_BYTES: Final = 262_144


@dataclass(slots=True)
class Opened:
    """The cluster's side of an approved request, answered and not read yet; somebody has to close it."""

    response: aiohttp.ClientResponse
    stack: AsyncExitStack
    proposal: str

    @property
    def switched(self) -> bool:
        """Say whether it is a session; else it is an answer to be streamed."""
        return self.response.status == 101

    async def close(self) -> None:
        """Drop the connection to the cluster, after what was written to it has left."""
        await self.stack.aclose()


@dataclass(slots=True)
class _Feed:
    """What one side has sent, in order; stops that side while too much of it waits."""

    transport: asyncio.Transport
    passed: int = 0
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0
    _stopped: bool = False
    _ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes; the answer is what aiohttp asks of a parser: not at the end, nothing left over."""
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size > _WAITING_BYTES and not self._stopped:
            self._stopped = True
            self.transport.pause_reading()
        self._news.set()
        return False, b""

    def feed_eof(self) -> None:
        """Note that this side has ended."""
        self._ended = True
        self._news.set()

    async def read(self) -> bytes:
        """Return what has come, b"" at the end."""
        while not self._parts and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._stopped:
            self._stopped = False
            self.transport.resume_reading()
        return data

    async def copy(self, to: web.StreamResponse | StreamWriter) -> bool:
        """Pass everything on; says whether this side's own end was reached, or else the other's."""
        try:
            while data := await self.read():
                await to.write(data)
                self.passed += len(data)
        except ConnectionError:
            return False
        return True


class Tunnels:
    """The open sessions of one gate."""

    def __init__(self, journal: Journal) -> None:
        """Keep the journal, which hears of each end."""
        self._journal = journal
        self._running: set[asyncio.Task[Any]] = set()
        self._stopped = False

    @property
    def count(self) -> int:
        """Return how many sessions are open."""
        return len(self._running)

    async def run(self, request: web.BaseRequest, opened: Opened) -> web.StreamResponse:
        """Give the client what was opened for it: a session until one side ends it, or an answer as it streams.

        Raises ClusterError when the session ended before it began.
        """
        if self._stopped and opened.switched:
            await opened.close()
            raise ClusterError("All changes were stopped, and this session with them.", "Start the gate anew.")
        return await (self._session(request, opened) if opened.switched else _stream(request, opened))

    async def _session(self, request: web.BaseRequest, opened: Opened) -> web.StreamResponse:
        answer = opened.response
        near, far = request.protocol, answer.connection.protocol if answer.connection is not None else None
        if near is None or near.transport is None or far is None or far.transport is None or not far.upgraded:
            await opened.close()
            raise ClusterError("The session ended before it began.", "Ask again.")
        from_client, from_cluster = _Feed(near.transport), _Feed(far.transport)
        # The client's side before it hears of the switch: its first bytes may follow at once.
        near.set_parser(from_client)  # type: ignore[arg-type]
        far.set_parser(from_cluster, None)
        head = web.StreamResponse(status=101, reason=answer.reason, headers=_switching(answer))
        head.force_close()
        try:
            await head.prepare(request)
        except BaseException:
            await opened.close()
            raise
        to_cluster = StreamWriter(far, asyncio.get_running_loop())
        work = self._task(self._pass(from_client, to_cluster, from_cluster, head, opened))
        # Its own task: when the client ends, aiohttp cancels this one, and what the client sent last is still owed.
        await asyncio.shield(work)
        return head

    def forget(self, closing: Coroutine[Any, Any, None]) -> None:
        """Finish closing what nobody will take, because its client is gone."""
        self._task(closing)

    def stop(self) -> None:
        """End every session, and each one that is being opened now; there will be no other."""
        self._stopped = True
        for task in list(self._running):
            task.cancel()

    async def close(self) -> None:
        """End every session and wait for it."""
        self.stop()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _pass(
        self, from_client: _Feed, to_cluster: StreamWriter, from_cluster: _Feed, to_client: web.StreamResponse,
        opened: Opened,
    ) -> None:  # fmt: skip
        began = time.monotonic()
        up = asyncio.create_task(from_client.copy(to_cluster))
        down = asyncio.create_task(from_cluster.copy(to_client))
        ended_by = "gate"
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            first = up if up in done else down
            ended_by = "client" if (first is up) is first.result() else "cluster"
            if not first.result():
                # It could not be delivered because the other side is gone; what that side sent before still is.
                await asyncio.wait({up, down})
        finally:
            up.cancel()
            down.cancel()
            from_client.transport.close()
            await opened.close()
            self._note(opened.proposal, ended_by, time.monotonic() - began, from_client.passed, from_cluster.passed)

    def _note(self, proposal: str, ended_by: str, seconds: float, sent: int, received: int) -> None:
        line: dict[str, object] = {"ended": proposal, "by": ended_by, "seconds": round(seconds, 3)}
        # The session is over whatever the disk says.
        with contextlib.suppress(StoreError):
            self._journal.passed({**line, "to_cluster": sent, "to_client": received})


async def _stream(request: web.BaseRequest, opened: Opened) -> web.StreamResponse:
    answer = opened.response
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=returned(answer))
    if "Content-Length" in answer.headers:
        response.content_length = int(answer.headers["Content-Length"])
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        except (aiohttp.ClientError, TimeoutError, OSError):
            # The head is gone already: only a broken connection tells the client that the answer is not whole.
            if request.transport is not None:
                request.transport.abort()
        return response
    finally:
        await opened.close()


def _switching(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(k, v) for k, v in answer.headers.items() if k.lower() not in ("set-cookie", "content-length")]
