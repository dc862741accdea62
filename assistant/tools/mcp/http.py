"""A server behind an address: streamable HTTP with time-outs, bodies in bounds, and no redirect off its origin."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

from assistant.tools.mcp.environment import Launch
from assistant.tools.mcp.stdio import LONGEST_LINE

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 3600.0
"""Of one answer; calls have time limits of their own, and a stream of events may be silent for long."""


class _Bounded(httpx2.AsyncBaseTransport):
    """Ends an answer that is not a stream of events and grows past what one message may be."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        if not events and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Cut(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Cut(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._inner:
            size += len(part)
            if size > LONGEST_LINE:
                raise httpx2.StreamError(f"The answer is larger than {LONGEST_LINE // 1_000_000} MB.")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextlib.asynccontextmanager
async def endpoint(launch: Launch) -> AsyncIterator[TransportStreams]:
    """Connect to a server at its address and yield its streams.

    Proxies of the environment are not used: what is configured is whom we talk to, with these headers.
    """
    client = httpx2.AsyncClient(
        headers=dict(launch.headers), transport=_Bounded(httpx2.AsyncHTTPTransport()), trust_env=False,
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=READ_SECONDS),
    )  # fmt: skip
    async with (
        client,
        streamable_http_client(launch.url, http_client=client, max_sse_event_size=LONGEST_LINE) as streams,
    ):
        yield streams
