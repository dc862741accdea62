"""A terminal that tests sit in front of: runs the real program on a pty and reads the screen as a person would."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

READ_SECONDS = 0.1


class Terminal:
    """`pilothouse ARGS` on a pty of `columns` x `rows`, with a home of its own under `home`."""

    def __init__(
        self, *args: str, home: Path, columns: int = 120, rows: int = 36, env: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = bytearray()
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "assistant", *args],
            dimensions=(rows, columns),
            env=private_environment(home) | dict(env or {}),
            timeout=None,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.child.isalive():
            self.child.terminate(force=True)

    def _read(self) -> None:
        try:
            data = self.child.read_nonblocking(65536, READ_SECONDS)
        except pexpect.TIMEOUT:
            return
        self.raw += data
        self._stream.feed(data)

    def text(self) -> str:
        """Return the screen as it stands, right-stripped lines."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, pattern: str, seconds: float = 60.0) -> str:
        """Read until the screen matches `pattern` (a regular expression); fail with the screen otherwise."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            try:
                self._read()
            except pexpect.EOF:
                break
            if re.search(pattern, self.text()):
                return self.text()
        raise AssertionError(f"the screen never showed {pattern!r}; it shows:\n{self.text()}")

    def wait_gone(self, pattern: str, seconds: float = 60.0) -> str:
        """Read until the screen no longer matches `pattern`."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self._read()
            if not re.search(pattern, self.text()):
                return self.text()
        raise AssertionError(f"the screen still shows {pattern!r}:\n{self.text()}")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as a person drags its corner."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def press(self, *keys: str) -> None:
        """Send keys: text as it is, or a name of `KEYS`."""
        for key in keys:
            self.child.send(KEYS.get(key, key))

    def wait_end(self, seconds: float = 30.0) -> int:
        """Read until the program ends and return its exit code."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            try:
                self._read()
            except pexpect.EOF:
                self.child.close()
                return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)
        raise AssertionError(f"the program still runs; its screen:\n{self.text()}")


KEYS = {
    "enter": "\r",
    "f2": "\x1bOQ",
    "esc": "\x1b",
    "tab": "\t",
    "ctrl+q": "\x11",
    "ctrl+c": "\x03",
    "ctrl+p": "\x10",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "end": "\x1b[F",
    "home": "\x1b[H",
    "page down": "\x1b[6~",
}


def private_environment(home: Path) -> dict[str, str]:
    """Return this environment with every place that Pilothouse reads or writes moved under `home`."""
    places = {
        "HOME": home,
        "XDG_STATE_HOME": home / "state",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_DATA_HOME": home / "data",
        "XDG_RUNTIME_DIR": home / "run",
    }
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o700)
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PILOTHOUSE_", "KUBECONFIG", "NO_COLOR", "COLUMNS", "LINES"))
    }
    root = Path(__file__).resolve().parents[2]
    return kept | {k: str(v) for k, v in places.items()} | {"TERM": "xterm-256color", "PYTHONPATH": str(root)}
