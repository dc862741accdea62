"""`mcp`: Pilothouse as an MCP server, on standard input and output or on a loopback port."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from assistant.commands.opening import place_for, settings_of
from assistant.errors import UsageError


def mcp(given: argparse.Namespace) -> int:
    """Serve until the client goes or a signal comes."""
    if sys.stdin.isatty():
        raise UsageError(
            "An MCP client starts this command and speaks to it; a terminal cannot.",
            "Put it into your client's mcpServers: docs/mcp.md.",
        )
    return asyncio.run(_serve(given))


async def _serve(given: argparse.Namespace) -> int:
    source, sink = _claimed()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    from assistant.mcpserver.server import build
    from assistant.mcpserver.stdio import serve_stdio
    from assistant.pool import SessionPool

    pool = SessionPool(settings_of(given), place_for(given))
    try:
        await _until_signal(serve_stdio(build(pool), source, sink))
    finally:
        await pool.close()
    return 0


def _claimed() -> tuple[int, int]:
    # From now on the protocol has descriptors of its own: a stray print of any library lands in the log, and no child
    # inherits the pipes.
    source, sink = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return source, sink


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
