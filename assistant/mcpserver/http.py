"""Serves the protocol as streamable HTTP on loopback, to whoever has the token; no web page can reach it."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.errors import UsageError

LOOPBACK: Final = "127.0.0.1"
PATH: Final = "/mcp"
LARGEST_BODY: Final = 4 * 1024 * 1024
GRACE_SECONDS: Final = 3


class Guard:
    """Lets a request pass that names this host, comes from no foreign page, and brings the token; in this order."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        """Keep what a request is held against."""
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(f"http://{host}" for host in hosts)
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused, hand on any other."""
        if scope["type"] == "http":
            refused = self._refused(Headers(scope=scope))
            if refused is not None:
                await refused(scope, receive, send)
                return
        elif scope["type"] != "lifespan":
            return
        await self._app(scope, receive, send)

    def _refused(self, headers: Headers) -> Response | None:
        # A page that had its name rebound to loopback sends its own name as Host.
        named = headers.getlist("host")
        if len(named) != 1 or named[0] not in self._hosts:
            return PlainTextResponse("This host is not served here.\n", 421)
        if any(origin not in self._origins for origin in headers.getlist("origin")):
            return PlainTextResponse("Pages of other origins are not served here.\n", 403)
        given = headers.getlist("authorization")
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self._expected):
            text = "The bearer token is missing or wrong; it is in the file that the server named.\n"
            return PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})
        return None


class _Quiet(uvicorn.Server):
    # Signals are ours: uvicorn would raise them again once it has ended, and nothing after it would be reaped.
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(port: int) -> socket.socket:
    """Return a socket on loopback, on a free port where `port` is 0. Raises UsageError where it is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOOPBACK, port))
        made.listen()
    except (OSError, OverflowError) as error:
        made.close()
        raise UsageError(
            f"Port {port} cannot be used ({error}).", "Choose another one; --http alone takes any."
        ) from error
    return made


async def serve_http(server: MCPServer[Any], at: socket.socket, token: str) -> None:
    """Serve until cancelled; what is being answered then has a few seconds to end."""
    port = at.getsockname()[1]
    hosts = frozenset(f"{name}:{port}" for name in (LOOPBACK, "localhost"))
    security = TransportSecuritySettings(
        allowed_hosts=sorted(hosts), allowed_origins=[f"http://{host}" for host in sorted(hosts)]
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH, max_request_body_size=LARGEST_BODY, transport_security=security
    )
    settings = uvicorn.Config(
        Guard(app, hosts, token), log_config=None, access_log=False, lifespan="on", server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    running = _Quiet(settings)
    serving = asyncio.create_task(running.serve(sockets=[at]), name="http")
    try:
        await asyncio.shield(serving)
    finally:
        running.should_exit = True
        await asyncio.wait({serving})
