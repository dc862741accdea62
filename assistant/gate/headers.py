"""Which headers go on to the other side: all but those of one connection and those that say who asks."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from aiohttp import web

from assistant.gate.prepare import media_type

# fmt: off
_HOP: Final = frozenset(
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "authorization", "cookie", "expect",
    ]
)
# fmt: on
# What belongs to the switch itself and to nothing else (RFC 6455 section 4; client-go httpstream).
_SWITCH: Final = "sec-websocket-"
_STREAMS: Final = "x-stream-protocol-version"


def forwarded(request: web.BaseRequest, *, rewritten: bool) -> list[tuple[str, str]]:
    """Return what is sent on; `rewritten` says that the body is JSON now, whatever it was."""
    drop = _hops(request.headers)
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in drop]
    if rewritten and media_type(request.headers.get("Content-Type", "")) == "application/yaml":
        headers = [(k, v) for k, v in headers if k.lower() != "content-type"] + [("Content-Type", "application/json")]
    return headers


def returned(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """Return what the client gets."""
    drop = _hops(answer.headers)
    return [(k, v) for k, v in answer.headers.items() if k.lower() not in drop and k.lower() != "set-cookie"]


def switching(request: web.BaseRequest, upgrade: str) -> list[tuple[str, str]]:
    """Return the headers of an upgrade: the switch, and which of its sub-protocols the client speaks."""
    kept = [(k, v) for k, v in request.headers.items() if k.lower().startswith(_SWITCH) or k.lower() == _STREAMS]
    return [("Connection", "Upgrade"), ("Upgrade", upgrade), *kept]


def _hops(headers: Any) -> frozenset[str]:
    listed = ",".join(headers.getall("Connection", []))
    return _HOP | frozenset(name.strip().lower() for name in listed.split(","))
