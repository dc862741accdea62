"""Which process stands at the other end of a loopback connection, as far as the system says. For people only.

Linux tells (proc(5): /proc/net/tcp names a socket's inode, /proc/PID/fd who holds it); elsewhere it is not known. A
process can change its own name and command line, so nothing may rest on this.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from assistant.policy.sanitize import clip, safe

COMMAND_CELLS: Final = 120
Place = tuple[str, int]
Words = Callable[[list[str]], list[str]]


def process_of(peer: Place | None, own: Place | None, redact: Words, proc: Path = Path("/proc")) -> str:
    """Return one line on the process that connected from `peer` to `own`, without secret values in its arguments.

    Where it cannot be known, the line says so. Reads a few files per process, so call it off the event loop.
    """
    if sys.platform != "linux":
        return "process not known (only Linux tells)"
    if peer is None or own is None:
        return "process not known (the connection is gone)"
    found = _socket(peer, own, proc)
    if found is None:
        return "process not known (its connection is not listed here)"
    uid, inode = found
    for pid in _holders(inode, uid, proc):
        return _described(pid, redact, proc)
    if uid != os.geteuid():
        return f"a process of user {uid}"
    return "process not known (it hides its open files)"


def _socket(peer: Place, own: Place, proc: Path) -> tuple[int, str] | None:
    """Return user and inode of the client's end, which has the client's port as its own and ours as the other."""
    for table, form in (("tcp", _hex4), ("tcp6", _hex6)):
        wanted = (form(peer), form(own))
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and (words[1], words[2]) == wanted and words[9] != "0":
                return int(words[7]), words[9]
    return None


def _hex4(place: Place) -> str:
    host, port = place
    return f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"


def _hex6(place: Place) -> str:
    # An IPv4 peer of an IPv6 socket: ::ffff:127.0.0.1, printed as four words in the machine's byte order.
    host, port = place
    return f"0000000000000000FFFF0000{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"


def _holders(inode: str, uid: int, proc: Path) -> Iterator[int]:
    link = f"socket:[{inode}]"
    for entry in sorted((path for path in proc.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)):
        try:
            if entry.stat().st_uid != uid:
                continue
            if any(str(handle.readlink()) == link for handle in (entry / "fd").iterdir()):
                yield int(entry.name)
        except OSError:
            # It ended while we looked, or it does not let us.
            continue


def _described(pid: int, redact: Words, proc: Path) -> str:
    folder = proc / str(pid)
    try:
        name = (folder / "exe").readlink().name
    except OSError:
        name = ""
    try:
        words = [word.decode("utf-8", "replace") for word in (folder / "cmdline").read_bytes().split(b"\0") if word]
    except OSError:
        words = []
    if words:
        words[0] = Path(words[0]).name or words[0]
    # Secret values go first: a cut could leave half of one that no pattern knows any more.
    command = clip(safe(" ".join(redact(words)), multiline=False), COMMAND_CELLS)
    shown = safe(name, multiline=False)
    if not command:
        return f"pid {pid} ({shown})" if shown else f"pid {pid}"
    return f"pid {pid}: {command}" if not shown or words[0] == name else f"pid {pid} ({shown}): {command}"
