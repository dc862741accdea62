"""What a person approved: command lines and tool definitions by hash, in a file of the state directory.

The file keeps the approved lines too, so that a change can be shown as a difference.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assistant.domain.canonical import sha256
from assistant.domain.toolserver import Standing
from assistant.errors import StoreError
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe
from assistant.tools.mcp.classes import profile_of
from assistant.tools.mcp.definition import Definition, compared
from assistant.tools.mcp.environment import program_of
from assistant.tools.mcp.private import write_private
from assistant.tools.mcp.servers import Server, fingerprint, remote_host

FILE: Final = "mcp-pins.json"
LARGEST_PROGRAM: Final = 300_000_000
_VERSION: Final = 1
_HASHED: Final[dict[tuple[int, ...], str]] = {}
"""Programs are large and asked about before each call; a file that was written to has another change time."""


@dataclass(frozen=True, slots=True)
class Pin:
    """Something to approve: the digest that an approval is bound to, and the lines that a person reads."""

    digest: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How something stands, and what changed where it did."""

    standing: Standing
    changes: tuple[str, ...] = ()


def pin_of(server: Server, environ: Mapping[str, str] | None = None) -> Pin:
    """Return the pin of a server: its whole command line, the program's own hash, or its address.

    Values of variables and headers are told apart by a short hash, because they may be credentials.
    """
    lines = [f"server: {server.name}"]
    if server.url:
        lines.append(f"address: {server.url}")
        host = remote_host(server)
        lines.append(f"sends: what stands in calls, over the network to {host}" if host else "sends: nowhere else")
        lines += [f"header: {key} = #{fingerprint(value)}" for key, value in server.headers]
    else:
        lines.append(f"command: {server.command}")
        program = program_of(server, environ)
        lines.append(f"program: {program or 'not there'}")
        lines.append(f"contents: {_contents(program)}")
        lines += [f"argument {i}: {arg}" for i, arg in enumerate(server.args, 1)]
        lines += [f"variable: {key} = #{fingerprint(value)}" for key, value in server.env]
        lines.append(f"folder: {server.cwd or 'the current one'}")
    lines.append(f"may see: {', '.join(server.allow_env) or 'no further variable'}")
    lines.append(f"profile: {profile_of(server) or 'none'}")
    lines += [f"only reads: {name}" for name in sorted(server.reads)]
    return Pin(sha256(lines), tuple(str(safe(redact_text(line)[0], multiline=False)) for line in lines))


def _contents(program: str | None) -> str:
    if program is None:
        return "none"
    try:
        with Path(program).open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > LARGEST_PROGRAM:
                return "too large to tell"
            mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if mark not in _HASHED:
                _HASHED[mark] = hashlib.file_digest(file, "sha256").hexdigest()
            return _HASHED[mark]
    except OSError:
        return "cannot be read"


class Pins:
    """The file of approvals. Read anew for each question, so that an approval in another terminal counts at once."""

    def __init__(self, path: Path) -> None:
        """Keep the path; the file need not be there."""
        self._path = path
        self._seen: tuple[tuple[int, int, int], dict[str, Any]] | None = None

    def server(self, name: str, pin: Pin) -> Verdict:
        """Say how a server's command line stands. Raises StoreError."""
        return _judged(self._entry(name), pin)

    def tool(self, definition: Definition) -> Verdict:
        """Say how a tool's definition stands. Raises StoreError."""
        return self.tools(definition.server, [definition])[0]

    def tools(self, server: str, definitions: Iterable[Definition]) -> list[Verdict]:
        """Say how each of a server's definitions stands, from one look at the file. Raises StoreError."""
        known = self._entry(server).get("tools", {})
        return [_standing(each, known.get(each.name, {})) for each in definitions]

    def approve_server(self, name: str, pin: Pin) -> None:
        """Keep a server's command line as approved. Tools approved before stay: they have pins of their own.

        Raises StoreError.
        """

        def change(servers: dict[str, Any]) -> None:
            servers.setdefault(name, {}).update(digest=pin.digest, lines=list(pin.lines))

        self._change(change)

    def approve_tools(self, definitions: list[Definition]) -> None:
        """Keep these definitions as approved. Raises StoreError."""

        def change(servers: dict[str, Any]) -> None:
            for each in definitions:
                tools = servers.setdefault(each.server, {}).setdefault("tools", {})
                tools[each.name] = {"digest": each.digest, "lines": list(each.lines)}

        self._change(change)

    def forget(self, name: str) -> None:
        """Take back every approval of a server. Raises StoreError."""

        def change(servers: dict[str, Any]) -> None:
            servers.pop(name, None)

        self._change(change)

    def _entry(self, name: str) -> dict[str, Any]:
        entry = self._servers().get(name, {})
        return entry if isinstance(entry, dict) else {}

    def _servers(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                mark = (found.st_ino, found.st_mtime_ns, found.st_size)
                if self._seen is not None and self._seen[0] == mark:
                    return self._seen[1]
                data = json.load(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(
                f"The approvals of MCP servers in {self._path} cannot be read.",
                "Nothing of MCP is used until they can; move the file away to approve anew.", detail=str(error),
            ) from error  # fmt: skip
        if not _well_formed(data):
            raise StoreError(
                f"The approvals of MCP servers in {self._path} are not in a form that this version knows.",
                "Move the file away to approve anew.",
            )
        self._seen = (mark, data["servers"])
        return self._seen[1]

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(self._path.with_suffix(".lock")):
                servers = json.loads(json.dumps(self._servers()))
                change(servers)
                write_private(self._path, json.dumps({"version": _VERSION, "servers": servers}, indent=1))
        except OSError as error:
            raise StoreError(
                f"The approval cannot be kept in {self._path}.", "Check the disk and the rights, then approve again.",
                detail=str(error.strerror or error),
            ) from error  # fmt: skip


def _well_formed(data: Any) -> bool:
    if not isinstance(data, dict) or data.get("version") != _VERSION or not isinstance(data.get("servers"), dict):
        return False
    for entry in data["servers"].values():
        if not isinstance(entry, dict) or not isinstance(entry.get("tools", {}), dict):
            return False
        if not all(isinstance(tool, dict) for tool in entry.get("tools", {}).values()):
            return False
    return True


def _standing(definition: Definition, kept: Mapping[str, Any]) -> Verdict:
    if definition.refused:
        return Verdict(Standing.REFUSED, (f"cannot be used: {definition.refused}",))
    if kept.get("digest") == definition.digest:
        return Verdict(Standing.APPROVED)
    return _judged(kept, Pin(definition.digest, definition.lines) if kept else Pin(definition.digest, ()))


def _judged(kept: Mapping[str, Any], pin: Pin) -> Verdict:
    if "digest" not in kept:
        return Verdict(Standing.NEW)
    if kept["digest"] == pin.digest:
        return Verdict(Standing.APPROVED)
    before = [str(line) for line in kept.get("lines", [])]
    return Verdict(Standing.CHANGED, compared(before, pin.lines))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
