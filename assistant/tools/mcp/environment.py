"""What a server's process is given: an environment of named variables only, and the gate's kubeconfig."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from assistant.tools.mcp.faults import McpServerError
from assistant.tools.mcp.servers import KUBECONFIG, Server, expand, filled

PASSED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
"""What a program needs to run at all. Nothing that names a cluster, a cloud account or a token."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start or reach a server, its variables filled in. Never shown: values may be credentials."""

    argv: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = ""
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def launch(server: Server, kubeconfig: str, environ: Mapping[str, str] | None = None) -> Launch:
    """Return how to start a server. Without a gate, `kubeconfig` is "" and the server has no cluster.

    Raises McpConfigError for a variable that is not set, McpServerError for a program that is not there.
    """
    environ = os.environ if environ is None else environ
    guarded = kubeconfig or os.devnull
    values = filled(server, environ, guarded)
    if server.url:
        return Launch(url=values["url"], headers={key: values[f"headers.{key}"] for key, _ in server.headers})
    env = {name: environ[name] for name in PASSED if name in environ}
    env["TERM"] = "dumb"
    env.update({key: values[f"env.{key}"] for key, _ in server.env})
    env[KUBECONFIG] = guarded
    program = program_of(server, environ)
    if program is None:
        raise McpServerError(
            f"The program of MCP server {server.name} is not there.", "Install it, or correct command in mcp.json.",
            detail=server.command,
        )  # fmt: skip
    return Launch((program, *(values[f"args[{i}]"] for i in range(len(server.args)))), env, values["cwd"])


def program_of(server: Server, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the absolute path of what would be started, None where there is nothing: what is pinned is what runs."""
    environ = os.environ if environ is None else environ
    path = environ.get("PATH", "")
    for key, value in server.env:
        if key == "PATH":
            try:
                path = expand(value, server.allow_env, environ.get)
            except ValueError:
                return None
    command = server.command
    if server.cwd and "/" in command:
        command = str(Path(server.cwd, command))
    found = shutil.which(command, path=path or os.defpath)
    return os.path.abspath(found) if found else None  # noqa: PTH100 - links are kept: npx is one
