"""Serves the protocol on standard input and output: one JSON-RPC message a line, and nothing else on that pipe.

The SDK's own reader takes lines of any length and leaves what is no message without an answer; this one does not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, cast

import mcp_types
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes of one message: the bound that the SDK sets over HTTP too."""
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_CHUNK: Final = 65_536

_LOG: Final = logging.getLogger(__name__)


class Wire:
    """The two descriptors of the protocol. Threads of their own, so that neither a silent nor a slow client holds us.

    They are daemons: one that is blocked in a read or a write ends with the process.
    """

    def __init__(self, source: int, sink: int) -> None:
        """Keep the descriptors; `start` begins to read."""
        self._source = source
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=8)
        self._out: queue.SimpleQueue[tuple[bytes, Future[None]]] = queue.SimpleQueue()

    def start(self) -> None:
        """Begin to read and to write."""
        for number in (self._source, self._sink):
            # Whoever made the pipes may have left them otherwise, and a read that has to wait is not their end.
            os.set_blocking(number, True)
        threading.Thread(target=self._read, name="mcp input", daemon=True).start()
        threading.Thread(target=self._write, name="mcp output", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the lines that are messages; the others are answered with an error here."""
        while (line := await self._lines.get()) is not None:
            if not line.strip():
                continue
            fault = _fault(line)
            if fault is None:
                yield line.decode("utf-8")
            else:
                await self.write(json.dumps({"jsonrpc": "2.0", "id": None, "error": fault}) + "\n")

    async def write(self, text: str) -> None:
        """Return when the text has left. Raises OSError when nobody reads any more."""
        done: Future[None] = Future()
        self._out.put((text.encode("utf-8", "replace"), done))
        await asyncio.wrap_future(done)

    async def flush(self) -> None:
        """Do nothing: `write` returns when it is done."""

    def _read(self) -> None:
        rest = b""
        skipping = False
        while True:
            try:
                chunk = os.read(self._source, _CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not skipping and not self._hand(line):
                    return
                skipping = False
            if len(rest) > LONGEST_LINE:
                # Told once; the rest of that line is dropped as it comes, whatever its length.
                if not skipping and not self._hand(rest):
                    return
                skipping, rest = True, b""
        if rest and not skipping:
            self._hand(rest)
        self._hand(None)

    def _hand(self, line: bytes | None) -> bool:
        try:
            asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()
        except (RuntimeError, asyncio.CancelledError):
            return False  # the loop has ended
        return True

    def _write(self) -> None:
        while True:
            data, done = self._out.get()
            try:
                while data:
                    data = data[os.write(self._sink, data) :]
            except OSError as error:
                _settle(done, error)
            else:
                _settle(done, None)


def _settle(done: Future[None], error: OSError | None) -> None:
    with suppress(Exception):  # whoever waited may have been cancelled meanwhile
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def _fault(line: bytes) -> dict[str, Any] | None:
    if len(line) > LONGEST_LINE:
        return {"code": _INVALID_REQUEST, "message": f"A message may have {LONGEST_LINE} bytes at most."}
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {"code": _PARSE_ERROR, "message": "The line is not JSON in UTF-8."}
    try:
        # The SDK's own reading of the same bytes: what it would drop without a word is answered here.
        mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        if "id" in value and (isinstance(value["id"], bool) or not isinstance(value["id"], str | int)):
            # The SDK would take it for a notification, and whoever sent it would wait for ever.
            return {"code": _INVALID_REQUEST, "message": "An id has to be a string or a whole number."}
        # What a decoder forgives (half a surrogate pair) cannot be sent back.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return {"code": _INVALID_REQUEST, "message": "The line is not one JSON-RPC 2.0 message."}
    return None


async def serve_stdio(server: MCPServer[Any], source: int, sink: int) -> None:
    """Serve until the client closes its end. Raises nothing where it is the client who went."""
    wire = Wire(source, sink)
    wire.start()
    lowlevel = server._lowlevel_server  # the SDK's `run_stdio_async` does the same, with streams that cannot be chosen
    try:
        async with stdio_server(cast("Any", wire), cast("Any", wire)) as (incoming, outgoing):
            await lowlevel.run(incoming, outgoing, lowlevel.create_initialization_options())
    except* OSError as broken:
        # Whoever asked is gone, and that is an end like any other.
        _LOG.info("The client's pipe broke: %r", broken.exceptions)
