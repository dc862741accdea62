"""Child processes that never outlive their parent: gate, recorded cluster and model worker are started this one way.

Settings go in as one JSON line on standard input, which stays open: its end tells the child that the parent is gone.
One JSON line comes out when the child is ready or cannot start.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any, Final

from assistant.errors import GateError, PilothouseError

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 3.0
KEPT_LOG_BYTES: Final = 1_000_000
LINE_BYTES: Final = 64 * 1024
"""Of a line that a child writes, where nothing else is said."""


class ChildError(GateError):
    """A part of Pilothouse that runs as its own process could not start or has ended."""

    code = "child"


class ChildProcess:
    """`python -m MODULE` as a child. Make it with `start`; `ready` is what it said when it was."""

    def __init__(self, module: str, process: asyncio.subprocess.Process, ready: dict[str, Any], log: Path) -> None:
        self.module = module
        self.ready = ready
        self.log = log
        self._process = process
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, module: str, settings: Mapping[str, object], log: Path, *, ready_seconds: float = READY_SECONDS
    ) -> ChildProcess:
        """Start a child and wait until it is ready.

        Raises ChildError when it does not come up, or the PilothouseError that it reports: its meaning and hint are
        the child's own.
        """
        child = await cls.spawn(module, log)
        await child.begin(settings, ready_seconds=ready_seconds)
        return child

    @classmethod
    async def spawn(
        cls, module: str, log: Path, *, without: Collection[str] = (), line_bytes: int = LINE_BYTES
    ) -> ChildProcess:
        """Start a child that loads its code and waits for its settings; `begin` gives it those. Raises OSError.

        It does not get the environment variables `without`, which hold what is none of its business.
        """
        with _open_log(log) as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                # A copy: an import in another thread may set a variable, which moves the C library's table meanwhile.
                env={name: value for name, value in dict(os.environ).items() if name not in without},
                limit=line_bytes,
                # Its own session, so that ctrl+c in the terminal reaches us alone and we end it in order.
                start_new_session=True,
            )
        return cls(module, process, {}, log)

    async def begin(self, settings: Mapping[str, object], *, ready_seconds: float = READY_SECONDS) -> None:
        """Send the settings and wait until the child is ready. Raises as `start` does; then the child is ended."""
        try:
            self.ready = await self._handshake(settings, ready_seconds)
        except BaseException:
            await self.stop()
            raise

    def write(self, line: bytes) -> None:
        """Have a line written, whole or not at all. Raises ConnectionError."""
        stdin = self._pipes[0]
        if stdin.is_closing():
            raise ConnectionResetError(f"{self.module} does not read any more")
        stdin.write(line)

    async def drain(self) -> None:
        """Wait while the child reads more slowly than we write. Raises ConnectionError."""
        await self._pipes[0].drain()

    async def receive(self) -> bytes:
        """Return the next line, empty at the end. Raises ValueError for one that is too long."""
        return await self._pipes[1].readline()

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Say whether the child still runs."""
        return self._process.returncode is None

    def on_death(self, told: Callable[[str], Awaitable[None]]) -> None:
        """Have `told` called once, with the reason, when the child ends without `stop`."""

        async def watch() -> None:
            code = await self._process.wait()
            await told(f"{self.module} ended with code {code}; its log is {self.log}")

        self._watch = asyncio.create_task(watch(), name=f"death of {self.module}")

    async def stop(self) -> None:
        """End the child: by closing its standard input, then by SIGTERM, then by SIGKILL."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process.stdin is not None:
            self._process.stdin.close()
        for push in (None, self._process.terminate, self._process.kill):
            if push is not None and self.alive:
                push()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
                return
            except TimeoutError:
                continue

    @property
    def _pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ChildError(f"{self.module} has no pipes.", "Please report this.")
        return stdin, stdout

    async def _handshake(self, settings: Mapping[str, object], ready_seconds: float) -> dict[str, Any]:
        stdin, stdout = self._pipes
        line = b""
        try:
            async with asyncio.timeout(ready_seconds):
                stdin.write(json.dumps(settings).encode() + b"\n")
                await stdin.drain()
                line = await stdout.readline()
        except TimeoutError as error:
            raise ChildError(
                f"{self.module} was not ready after {ready_seconds:.0f} seconds.",
                f"Look into {self.log}, then try again.",
            ) from error
        except (ConnectionError, ValueError) as error:
            raise ChildError(
                f"{self.module} ended before it was ready.", f"Look into {self.log}.", detail=repr(error)
            ) from error
        return self._read_ready(line)

    def _read_ready(self, line: bytes) -> dict[str, Any]:
        try:
            ready = json.loads(line)
        except ValueError as error:
            text = line[:200].decode("utf-8", "replace")
            raise ChildError(
                f"{self.module} ended before it was ready.", f"Look into {self.log}.", detail=text
            ) from error
        if not isinstance(ready, dict):
            raise ChildError(f"{self.module} said something that is not understood.", f"Look into {self.log}.")
        if ready.get("ready") is not True:
            raise _reported(self.module, ready)
        return ready


def claim_pipes() -> tuple[int, int]:
    """Give a protocol on standard input and output descriptors of its own, and return them.

    From then on a stray print of any library lands in the log, and no child inherits the pipes.
    """
    source, sink = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return source, sink


def _open_log(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        long = path.exists() and path.stat().st_size >= KEPT_LOG_BYTES
        opened = path.open("wb" if long else "ab")
        path.chmod(0o600)  # it may quote what a cluster said
    except OSError:
        # Looking at a cluster must not depend on the disk; that nothing can be recorded is said by the session.
        return Path(os.devnull).open("wb")
    return opened


def _reported(module: str, said: Mapping[str, Any]) -> PilothouseError:
    error = ChildError(
        str(said.get("meaning") or f"{module} could not start."),
        str(said.get("hint") or ""),
        detail=str(said.get("detail") or ""),
    )
    error.code = str(said.get("code") or ChildError.code)
    return error
