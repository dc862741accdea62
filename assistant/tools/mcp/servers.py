"""MCP servers as the `mcpServers` JSON of other clients names them, read strictly: an error says what is wrong where.

Values may hold `${NAME}` and `${NAME:-default}`, but only for names that the file lists in `allowEnv`: a file that came
with a repository must not be able to send any variable it likes to a server. `${KUBECONFIG}` is always the guarded one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from assistant.domain.canonical import sha256
from assistant.tools.mcp.faults import McpConfigError

FILE: Final = "mcp.json"
KUBECONFIG: Final = "KUBECONFIG"
CALL_SECONDS: Final = 30.0
LONGEST_CALL_SECONDS: Final = 3600.0
MOST_SERVERS: Final = 64
LARGEST_FILE: Final = 1_000_000
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""Without an underscore, so that `server__tool` can be read in one way only."""
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_REFERENCE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_EDITORS: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STDIO: Final = frozenset({"command", "args", "env", "cwd"})
_HTTP: Final = frozenset({"url", "headers"})
_OURS: Final = frozenset({"reads", "profile", "timeoutSeconds"})
_IGNORED: Final = frozenset({"type", "transport", "disabled", "description"})
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
KUBECONFIG_FLAGS: Final = ("--kubeconfig", "-kubeconfig")
_AROUND_THE_GATE: Final = frozenset({"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_MASTER"})
"""With these a client library finds a cluster by itself, whatever kubeconfig it is given."""


@dataclass(frozen=True, slots=True)
class Server:
    """One configured server, its variables not yet filled in: `command` for stdio, `url` for streamable HTTP."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    url: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    reads: tuple[str, ...] = ()
    profile: str = ""
    timeout_seconds: float = CALL_SECONDS
    allow_env: tuple[str, ...] = ()
    source: str = ""

    @property
    def place(self) -> str:
        """Return where in which file this server stands."""
        return f"{self.source}: mcpServers.{self.name}"


@dataclass(frozen=True, slots=True)
class Servers:
    """What a file says. `notes` are sentences on what was left out or changed, for the person who imports it."""

    servers: tuple[Server, ...] = ()
    notes: tuple[str, ...] = ()


def load(path: Path) -> Servers:
    """Return the servers of our own file; none where there is no such file. Raises McpConfigError."""
    if not path.exists():
        return Servers()
    return parse(_read(path), path.name)


def imported(path: Path) -> Servers:
    """Return the servers of another client's file, with notes on what does not come along. Raises McpConfigError."""
    return parse(_read(path), path.name, foreign=True)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise McpConfigError(
            f"{path} cannot be read.", "Check its path and rights.", detail=str(error.strerror or error)
        ) from error
    if len(data) > LARGEST_FILE:
        raise McpConfigError(f"{path} is larger than {LARGEST_FILE // 1000} kB.", "Name a file with mcpServers in it.")
    return data.decode("utf-8", "replace")


def parse(text: str, source: str, *, foreign: bool = False) -> Servers:
    """Return the servers of a JSON text. `foreign` drops what other clients know and we do not, with a note.

    Raises McpConfigError, which names the place.
    """
    try:
        given = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise McpConfigError(f"{source} is nested too deep.", "Write plain mcpServers.") from error
    except ValueError as error:
        raise McpConfigError(f"{source} is not JSON: {error}.", "Correct it at that place.") from error
    top = _object(given, source)
    notes: list[str] = []
    for key in sorted(top.keys() - {"mcpServers", "allowEnv"}):
        if not foreign:
            raise McpConfigError(f"{source}: {key!r} is not known.", "Known are mcpServers and allowEnv.")
    allowed = _strings(top.get("allowEnv", []), f"{source}: allowEnv")
    for name in allowed:
        if not _ENV_NAME.fullmatch(name):
            raise McpConfigError(f"{source}: allowEnv has {name!r}, which is no variable's name.", "List plain names.")
    if foreign and allowed:
        allowed = ()
        notes.append("allowEnv was not taken over: list the variables that servers may see yourself.")
    if foreign and "mcpServers" not in top and "servers" in top:
        top = {**top, "mcpServers": top["servers"]}  # as VS Code calls it
    entries = _object(top.get("mcpServers", {}), f"{source}: mcpServers")
    if len(entries) > MOST_SERVERS:
        raise McpConfigError(f"{source}: {len(entries)} servers are too many.", f"At most {MOST_SERVERS} are taken.")
    servers: list[Server] = []
    for name, entry in entries.items():
        place = f"{source}: mcpServers.{name}"
        fields = _object(entry, place)
        if foreign:
            name, fields = _adapted(name, fields, notes)
        if fields.get("disabled") is True:
            notes.append(f"{name} is disabled there and was left out.")
            continue
        try:
            server = _server(name, fields, allowed, source, place, notes if foreign else None)
            if any(other.name == server.name for other in servers):
                raise McpConfigError(f"{place}: there is another server {server.name!r}.", "Give each its own name.")
        except McpConfigError as error:
            if not foreign:
                raise
            notes.append(f"{name} was left out: {error.meaning}")
            continue
        servers.append(server)
    return Servers(tuple(servers), tuple(notes))


def _adapted(name: str, fields: Mapping[str, Any], notes: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a foreign entry as ours: a name that we can take, nothing that goes round the gate."""
    # Editors write ${env:NAME}, and some clients have other words for the address.
    changed = json.loads(_EDITORS.sub(r"${\1}", json.dumps(dict(fields))))
    for word in ("httpUrl", "serverUrl"):
        if word in changed:
            changed.setdefault("url", changed.pop(word))
    ours = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
    if ours != name:
        notes.append(f"{name} is called {ours} here.")
    for key in sorted(changed.keys() - _STDIO - _HTTP - _IGNORED):
        del changed[key]
        notes.append(f"{ours}: {key} was left out.")
    env = changed.get("env")
    if isinstance(env, dict):
        dropped = sorted(key for key in env if key == KUBECONFIG or key in _AROUND_THE_GATE)
        changed["env"] = {key: value for key, value in env.items() if key not in dropped}
        notes.extend(f"{ours}: env {key} was left out, the server gets the guarded kubeconfig." for key in dropped)
    args = changed.get("args")
    if isinstance(args, list):
        changed["args"] = _guarded(args)
        if changed["args"] != args:
            notes.append(f"{ours}: --kubeconfig now names the guarded kubeconfig.")
    return ours, changed


def _guarded(args: list[Any]) -> list[Any]:
    out: list[Any] = []
    for index, arg in enumerate(args):
        flag = arg.partition("=")[0] if isinstance(arg, str) else ""
        if index and args[index - 1] in KUBECONFIG_FLAGS:
            out.append("${KUBECONFIG}")
        elif flag in KUBECONFIG_FLAGS and "=" in arg:
            out.append(f"{flag}=${{KUBECONFIG}}")
        else:
            out.append(arg)
    return out


def _server(
    name: str, fields: Mapping[str, Any], allowed: tuple[str, ...], source: str, place: str, notes: list[str] | None
) -> Server:
    if not _NAME.fullmatch(name):
        raise McpConfigError(
            f"{place}: the name is not usable.", "Use at most 32 small letters, digits and hyphens, no underscore."
        )
    for key in sorted(fields.keys() - _STDIO - _HTTP - _OURS - _IGNORED):
        known = ", ".join(sorted(_STDIO | _HTTP | _OURS))
        raise McpConfigError(f"{place}.{key} is not known.", f"Known are {known}.")
    command, url = _text(fields, "command", place), _text(fields, "url", place)
    if bool(command) == bool(url):
        raise McpConfigError(f"{place} needs either command or url.", "Give one of the two.")
    for key in sorted(fields.keys() & (_HTTP if command else _STDIO)):
        raise McpConfigError(f"{place}.{key} does not go with {'command' if command else 'url'}.", "Take it out.")
    kind = fields.get("type", fields.get("transport", ""))
    if kind in ("sse", "ws", "websocket"):
        raise McpConfigError(f"{place}: transport {kind!r} is not spoken.", "Use stdio or streamable HTTP.")
    server = Server(
        name, command, _strings(fields.get("args", []), f"{place}.args"), _pairs(fields, "env", place),
        _text(fields, "cwd", place), url, _pairs(fields, "headers", place),
        _strings(fields.get("reads", []), f"{place}.reads"), _text(fields, "profile", place),
        _seconds(fields.get("timeoutSeconds", CALL_SECONDS), place), allowed, source,
    )  # fmt: skip
    _check(server, notes)
    return server


def _check(server: Server, notes: list[str] | None) -> None:
    place = server.place
    for key, _ in server.env:
        if not _ENV_NAME.fullmatch(key):
            raise McpConfigError(f"{place}.env has {key!r}, which is no variable's name.", "Use letters, digits and _.")
        if key == KUBECONFIG or key in _AROUND_THE_GATE:
            raise McpConfigError(
                f"{place}.env.{key} would lead past the gate.", "Take it out; the server gets the guarded kubeconfig."
            )
    for key, value in server.headers:
        if not _HEADER.fullmatch(key) or any(ord(char) < 0x20 for char in value):
            raise McpConfigError(f"{place}.headers.{key!r} is no HTTP header.", "Use a plain name and one line.")
    if server.args and _guarded(list(server.args)) != list(server.args):
        raise McpConfigError(
            f"{place}.args name a kubeconfig, which would lead past the gate.",
            "Leave --kubeconfig out, or write --kubeconfig=${KUBECONFIG}.",
        )
    if server.url:
        _check_url(server)
    for where, value in (("command", server.command), ("cwd", server.cwd)):
        if _VARIABLE.search(value):
            # What is approved is one program; a variable would make it another one without a change of the file.
            raise McpConfigError(f"{place}.{where} holds a variable.", "Write the path in full.")
    for where, value in _values(server):
        try:
            expand(value, server.allow_env, lambda _: "")
        except ValueError as error:
            if notes is None:
                raise McpConfigError(f"{place}.{where}: {error}", "List the name in allowEnv of the file.") from error
            notes.append(f"{server.name}: {where}: {error}")


def _check_url(server: Server) -> None:
    try:
        parts = urlsplit(server.url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise McpConfigError(f"{server.place}.url is no address: {error}.", "Write https://HOST/PATH.") from error
    if parts.scheme not in ("http", "https") or not host:
        raise McpConfigError(f"{server.place}.url is no http address.", "Write https://HOST/PATH.")
    if parts.username or parts.password:
        raise McpConfigError(f"{server.place}.url holds a credential.", "Put it into headers, as ${NAME}.")
    if parts.scheme == "http" and host not in _THIS_MACHINE:
        raise McpConfigError(f"{server.place}.url is not encrypted.", "Use https; http is for this machine only.")


def remote_host(server: Server) -> str:
    """Return the host of a server that is not on this machine, "" for one that is."""
    host = urlsplit(server.url).hostname or "" if server.url else ""
    return "" if host in _THIS_MACHINE else host


def _values(server: Server) -> list[tuple[str, str]]:
    return [
        ("command", server.command), *((f"args[{i}]", arg) for i, arg in enumerate(server.args)),
        *((f"env.{key}", value) for key, value in server.env), ("cwd", server.cwd), ("url", server.url),
        *((f"headers.{key}", value) for key, value in server.headers),
    ]  # fmt: skip


def expand(value: str, allowed: tuple[str, ...], look_up: Callable[[str], str | None]) -> str:
    """Return `value` with its variables filled in. Raises ValueError with a sentence for one that is not allowed."""

    def one(found: re.Match[str]) -> str:
        parts = _REFERENCE.fullmatch(found[1])
        if parts is None:
            raise ValueError(f"{found[0][:60]} is no variable.")
        name, default = parts[1], parts[2]
        if name != KUBECONFIG and name not in allowed:
            raise ValueError(f"${{{name}}} is not in allowEnv.")
        got = look_up(name)
        if got is None and default is None:
            raise ValueError(f"${{{name}}} is not set.")
        return got if got is not None else str(default)

    return _VARIABLE.sub(one, value)


def filled(server: Server, environ: Mapping[str, str], kubeconfig: str) -> dict[str, str]:
    """Return every value of a server with its variables filled in, by place. Raises McpConfigError."""
    known = {**environ, KUBECONFIG: kubeconfig}
    done = {}
    for where, value in _values(server):
        try:
            done[where] = expand(value, server.allow_env, known.get)
        except ValueError as error:
            raise McpConfigError(f"{server.place}.{where}: {error}", "Set it, or give a default.") from error
    return done


def fingerprint(value: str) -> str:
    """Return a short hash that tells two values apart without showing them."""
    return sha256(value)[:12]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {key[:60]!r} is there twice")
        made[key] = value
    return made


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise McpConfigError(f"{place} must be an object.", 'Write {"name": …}.')
    return value


def _strings(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise McpConfigError(f"{place} must be a list of texts.", 'Write ["one", "two"].')
    return tuple(value)


def _text(fields: Mapping[str, Any], key: str, place: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str) or "\0" in value:
        raise McpConfigError(f"{place}.{key} must be a text.", "Put it between quotation marks.")
    return value


def _pairs(fields: Mapping[str, Any], key: str, place: str) -> tuple[tuple[str, str], ...]:
    given = _object(fields.get(key, {}), f"{place}.{key}")
    return tuple((name, _text(given, name, f"{place}.{key}")) for name in given)


def _seconds(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_CALL_SECONDS:
        raise McpConfigError(
            f"{place}.timeoutSeconds must be a number up to {LONGEST_CALL_SECONDS:.0f}.", "Write 30, for example."
        )
    return float(value)
