"""Puts servers of another client's file into our own, in the portable form, when a person asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assistant.tools.mcp.faults import McpConfigError
from assistant.tools.mcp.private import write_private
from assistant.tools.mcp.servers import CALL_SECONDS, Server, load, parse


def add(path: Path, servers: Iterable[Server], allow_env: Iterable[str] = ()) -> None:
    """Add servers to our own file. `allow_env` are the variables that the person agreed they may see.

    The file is as good afterwards as before: a name that is taken, or a variable that nobody agreed to, adds nothing.
    Raises McpConfigError.
    """
    have = load(path).servers
    names = {server.name for server in have}
    adding = list(servers)
    for server in adding:
        if server.name in names:
            raise McpConfigError(f"{path.name} has a server {server.name!r} already.", "Rename or remove that one.")
        names.add(server.name)
    allowed = sorted({*allow_env, *(name for server in have for name in server.allow_env)})
    entries = {server.name: _entry(server) for server in [*have, *adding]}
    text = json.dumps({"allowEnv": allowed, "mcpServers": entries}, indent=2, ensure_ascii=False) + "\n"
    parse(text, path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text)
    except OSError as error:
        raise McpConfigError(
            f"{path} cannot be written.", "Check the disk and the rights.", detail=str(error.strerror or error)
        ) from error


def _entry(server: Server) -> dict[str, Any]:
    made: dict[str, Any] = {
        "command": server.command, "args": list(server.args), "env": dict(server.env), "cwd": server.cwd,
        "url": server.url, "headers": dict(server.headers), "reads": list(server.reads), "profile": server.profile,
    }  # fmt: skip
    if server.timeout_seconds != CALL_SECONDS:
        made["timeoutSeconds"] = server.timeout_seconds
    return {key: value for key, value in made.items() if value}
