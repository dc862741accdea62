"""Ends the servers' process groups when we are gone, also after kill -9: it waits for the end of a pipe that we hold.

Runs as a file of its own, so it imports the standard library only and starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


class Warden:
    """Our side: started with the first child, told of each group that begins and ends."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, group: int) -> None:
        """Have a group ended should we not come to it."""
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - this very file, by the interpreter that runs it
                [sys.executable, "-I", "-S", str(Path(__file__).resolve())], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={}, start_new_session=True,
            )  # fmt: skip
        self._tell(f"+{group}")

    def remove(self, group: int) -> None:
        """Forget a group that has ended: its number may soon be another's."""
        self._tell(f"-{group}")

    def close(self) -> None:
        """End the warden, and with it every group that was not removed."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            # One that was killed watches nothing any more; our own ways out still end every child.
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()


def main() -> None:
    """Take groups from standard input until its end, then end those that are left."""
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line[1:])
        if line.startswith("+"):
            groups.add(number)
        else:
            groups.discard(number)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
