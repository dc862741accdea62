"""A server as a child process: JSON-RPC lines on its pipes, every line, log and wait bounded, its whole group ended.

Our own instead of the SDK's transport, which reads lines of any length and gives the child a terminal for its errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe
from assistant.tools.mcp.environment import Launch
from assistant.tools.mcp.warden import Warden

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

LONGEST_LINE: Final = 8_000_000
MOST_GARBAGE: Final = 1_000_000
"""Bytes of lines that are no messages before a server counts as broken; some print a banner first."""
KEPT_STDERR: Final = 256_000
TAIL_STDERR: Final = 8_000
STOP_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01
_CHUNK: Final = 65_536


class StderrLog:
    """What a child says on standard error: the first part in a file of this user's only, the last part in memory."""

    def __init__(self, path: Path) -> None:
        """Keep the path; the file is written anew for each start."""
        self.path = path
        self.left_out = 0
        self._room = KEPT_STDERR
        self._unfinished = b""
        self._tail: deque[int] = deque(maxlen=TAIL_STDERR)

    def begin(self) -> None:
        """Empty the file. Where it cannot be written, only the tail is kept."""
        self.left_out, self._room, self._unfinished = 0, KEPT_STDERR, b""
        self._tail.clear()
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.close(handle)

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._tail.extend(data[-TAIL_STDERR:])
        kept = data[: self._room]
        self._room -= len(kept)
        self.left_out += len(data) - len(kept)
        # Whole lines only: half of a secret is not known for one.
        whole, end, rest = (self._unfinished + kept).rpartition(b"\n")
        if len(rest) > TAIL_STDERR:
            whole, end, rest = whole + end, rest, b""
        self._unfinished = rest
        if end:
            self._append(whole + end)

    def end(self) -> None:
        """Say in the file how much is missing, and add the last words, which tell most about a crash."""
        if self._unfinished:
            self._append(self._unfinished)
            self._unfinished = b""
        if self.left_out:
            self._append(f"\n… {self.left_out} bytes were left out; the last of them:\n".encode() + bytes(self._tail))

    @property
    def last(self) -> str:
        """Return the last line that was not empty, clean, "" for none."""
        lines = bytes(self._tail).decode("utf-8", "replace").split("\n")
        found = next((line for line in reversed(lines) if line.strip()), "")
        return safe(redact_text(found)[0].strip()[:300], multiline=False)

    def _append(self, data: bytes) -> None:
        with contextlib.suppress(OSError), self.path.open("ab") as file:
            file.write(redact_text(data.decode("utf-8", "replace"))[0].encode(errors="replace"))


@contextlib.asynccontextmanager
async def child(
    launch: Launch, log: StderrLog, ended: Callable[[str], None], warden: Warden
) -> AsyncIterator[TransportStreams]:
    """Start a server and yield its streams. `ended` is told once why it can no longer be talked to.

    Whatever leaves this context, also a second cancellation, the child's process group is gone afterwards.
    Raises OSError where the program cannot be started.
    """
    log.begin()
    process = await asyncio.create_subprocess_exec(
        *launch.argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=dict(launch.env), cwd=launch.cwd or None, start_new_session=True,
    )  # fmt: skip
    warden.add(process.pid)
    to_us, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    pumps = [
        asyncio.create_task(_read(process, to_us, ended, log), name="mcp stdout"),
        asyncio.create_task(_write(process, from_us, ended), name="mcp stdin"),
        asyncio.create_task(_log(process, log), name="mcp stderr"),
    ]
    try:
        yield incoming, outgoing
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await _stop(process, pumps)
        finally:
            # Synchronous, so that no cancellation can come between: whatever is left of the group ends now.
            _signal(process.pid, signal.SIGKILL)
            warden.remove(process.pid)
            for pump in pumps:
                pump.cancel()
            for stream in (to_us, incoming, outgoing, from_us):
                stream.close()
            _close_pipes(process)
            log.end()


async def _read(process: asyncio.subprocess.Process, to_us: Any, ended: Callable[[str], None], log: StderrLog) -> None:
    stdout = process.stdout
    if stdout is None:
        return
    why = ""
    try:
        why = await _lines(stdout, to_us)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        return  # we are ending it ourselves
    finally:
        to_us.close()
        # The last words on standard error may still be on their way.
        await asyncio.sleep(0)
        ended(why or "it ended" + (f"; its last words: {log.last}" if log.last else ""))


async def _lines(stdout: asyncio.StreamReader, to_us: Any) -> str:
    """Hand on messages until the end. Returns why reading was given up, "" at the end of the stream."""
    buffer, garbage = bytearray(), 0
    while chunk := await stdout.read(_CHUNK):
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            buffer += chunk[start:end]
            start = end + 1
            if buffer.strip():
                try:
                    message = jsonrpc_message_adapter.validate_json(bytes(buffer), by_name=False)
                except ValueError:
                    garbage += len(buffer)
                else:
                    await to_us.send(SessionMessage(message))
            buffer.clear()
        buffer += chunk[start:]
        if len(buffer) > LONGEST_LINE:
            return f"it wrote a line of more than {LONGEST_LINE // 1_000_000} MB"
        if garbage > MOST_GARBAGE:
            return f"it wrote more than {MOST_GARBAGE // 1_000_000} MB that is no MCP to standard output"
    return ""


async def _write(process: asyncio.subprocess.Process, from_us: Any, ended: Callable[[str], None]) -> None:
    stdin = process.stdin
    if stdin is None:
        return
    try:
        async for each in from_us:
            stdin.write(each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await stdin.drain()
    except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        ended("it no longer reads its standard input")
    finally:
        from_us.close()


async def _log(process: asyncio.subprocess.Process, log: StderrLog) -> None:
    while process.stderr is not None and (data := await process.stderr.read(_CHUNK)):
        log.add(data)


async def _stop(process: asyncio.subprocess.Process, pumps: list[asyncio.Task[None]]) -> None:
    """End a child as the protocol says: close its input, then SIGTERM, then SIGKILL, each to the whole group."""
    pumps[1].cancel()
    if process.stdin is not None:
        process.stdin.close()
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        if number:
            _signal(process.pid, number)
        deadline = anyio.current_time() + STOP_SECONDS
        # Not process.wait(): that waits for the pipes too, which a grandchild may hold.
        while process.returncode is None and anyio.current_time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        if process.returncode is not None:
            return


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    # Nothing public closes the pipes that a grandchild holds; left open they warn at exit.
    close = getattr(getattr(process, "_transport", None), "close", None)
    if callable(close):
        close()
