"""The one listening socket: who may come in, and to which side. TLS on 127.0.0.1, two tokens, no browsers."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
from typing import Final

from aiohttp import web

from assistant.gate.clients import Clients, bearer
from assistant.gate.control_api import PREFIX, ControlApi
from assistant.gate.proxy import Proxy
from assistant.gate.status import refusal
from assistant.loopback import Identity

_LOG: Final = logging.getLogger("pilothouse.gate")
# client-go sends no header of this size; the API server allows 1 MiB in all, aiohttp counts per field.
_MAX_FIELD_BYTES: Final = 65536


class Door:
    """Serves both sides on one port."""

    def __init__(self, identity: Identity, clients: Clients, control_token: str) -> None:
        """Keep the certificate and the tokens: those of the data side and the control side's."""
        self._identity = identity
        self._clients = clients
        self._control = control_token
        self._hosts: frozenset[str] = frozenset()
        self._proxy: Proxy | None = None
        self._api: ControlApi | None = None
        self._server: asyncio.Server | None = None
        self._http: web.Server | None = None
        self.url = ""

    async def listen(self) -> str:
        """Bind a free port and return the URL; requests are answered once `open` was called."""
        self._http = web.Server(
            self._handle, handler_cancellation=True, keepalive_timeout=75.0, max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES, access_log=None,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._http, "127.0.0.1", 0, ssl=self._identity.context)
        port = self._server.sockets[0].getsockname()[1]
        self._hosts = frozenset(f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]"))
        self.url = f"https://127.0.0.1:{port}"
        return self.url

    def open(self, proxy: Proxy, api: ControlApi) -> None:
        """Begin to answer."""
        self._proxy, self._api = proxy, api
        # What was loaded until now lives as long as the process: no collection, the one at the end least of all, has to
        # look through it again (measured: a third of the time to exit).
        gc.freeze()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            await self._http.shutdown(1.0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._admit(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            _LOG.exception("the gate failed on a request")
            return refusal(500, "Pilothouse's gate failed on this request; nothing was sent for it.", "internal")

    async def _admit(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.getall("Host", []) not in [[host] for host in self._hosts]:
            return refusal(403, "The gate answers to its own address only.", "host")
        if self._from_browser(request):
            return refusal(403, "The gate does not answer to browsers.", "origin")
        control = request.raw_path.startswith(PREFIX)
        if control:
            known = hmac.compare_digest(bearer(request).encode(), self._control.encode())
        else:
            known = self._clients.of(request) is not None
        if not known:
            return refusal(401, "Unauthorized", "token")
        if self._proxy is None or self._api is None:
            return refusal(503, "The gate is starting.", "starting")
        if control:
            return await self._api.handle(request, request.raw_path[len(PREFIX) :].partition("?")[0])
        return await self._proxy.handle(request)

    def _from_browser(self, request: web.BaseRequest) -> bool:
        if "Sec-Fetch-Site" in request.headers:
            return True
        # websocket-client, and so the official Python client, names the server itself as the origin of a WebSocket. The
        # gate has no pages, so no page has this origin.
        own = [f"https://{request.headers['Host']}"]
        return request.headers.getall("Origin", []) not in ([], own if "Upgrade" in request.headers else [])
