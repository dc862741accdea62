"""`mcp`: Pilothouse as an MCP server, on standard input and output or on a loopback port."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.commands.opening import place_for, settings_of
from assistant.config import Settings
from assistant.errors import UsageError
from assistant.processes import claim_pipes

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def mcp(given: argparse.Namespace) -> int:
    """Serve until the client goes or a signal comes."""
    if given.http is None and sys.stdin.isatty():
        raise UsageError(
            "An MCP client starts this command and speaks to it; a terminal cannot.",
            "Put it into your client's mcpServers (docs/mcp.md), or serve a port: pilothouse mcp --http",
        )
    return asyncio.run(_serve(given))


async def _serve(given: argparse.Namespace) -> int:
    settings, place = settings_of(given), place_for(given)
    pipes = claim_pipes() if given.http is None else None
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from assistant.mcpserver.server import build
    from assistant.mcpserver.stdio import serve_stdio
    from assistant.pool import SessionPool

    pool = SessionPool(settings, place)
    server = build(pool)
    try:
        await _until_signal(serve_stdio(server, *pipes) if pipes else _on_port(server, settings, given.http))
    finally:
        await pool.close()
    return 0


async def _on_port(server: MCPServer[Any], settings: Settings, wanted: int) -> None:
    from assistant.gate.kubeconfig import write_private
    from assistant.mcpserver.http import LOOPBACK, PATH, listening, serve_http

    at = listening(wanted)
    port = at.getsockname()[1]
    token = secrets.token_urlsafe(32)
    file: Path = settings.runtime / f"mcp-{port}.token"
    write_private(file, token.encode())
    try:
        said = {"ready": True, "url": f"http://{LOOPBACK}:{port}{PATH}", "token_file": str(file)}
        print(json.dumps(said), flush=True)
        await serve_http(server, at, token)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(file)  # noqa: PTH108 - one small call on the way out


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
