# ruff: noqa: E501 - bytes on the wire
"""Requests that no HTTP library would send, byte by byte at the real gate: none reaches the API server as a change."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gate.conftest import Lab, lab
from tests.gate.scripted import DEPLOYMENT

BODY = '{"spec":{"replicas":0}}'
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
JSON = "Content-Type: application/json"
MERGE = "Content-Type: application/merge-patch+json"
# {A}: Host and Authorization lines of a client that may come in. {D}: a whole second request that deletes.
DELETE = f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n\r\n"


def chunked(*parts: str, trailers: str = "") -> str:
    return "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts) + f"0\r\n{trailers}\r\n"


ATTEMPTS: dict[str, str] = {
    "plain": DELETE,
    "absolute form": "DELETE https://{H}" + DEPLOYMENT + " HTTP/1.1\r\n{A}\r\n\r\n",
    "absolute form to elsewhere": "DELETE http://10.96.0.1" + DEPLOYMENT + " HTTP/1.1\r\n{A}\r\n\r\n",
    "authority form": "CONNECT 10.96.0.1:443 HTTP/1.1\r\n{A}\r\n\r\n",
    "asterisk form": "OPTIONS * HTTP/1.1\r\n{A}\r\n\r\n",
    "fragment": f"DELETE {DEPLOYMENT}#?dryRun=All HTTP/1.1\r\n{{A}}\r\n\r\n",
    "small letters": f"delete {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n\r\n",
    "GET and a body": f"GET {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}",
    "override in a GET": f"GET {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
    "override in a trailer": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n"
    f"Trailer: X-HTTP-Method-Override\r\n\r\n" + chunked("{}", trailers="X-HTTP-Method-Override: DELETE\r\n"),
    "dry run in a trailer": f"PATCH {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(BODY[:5], BODY[5:], trailers="dryRun: All\r\n"),
    "chunks": f"PATCH {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(*BODY),
    "chunk extension": f"PATCH {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"{len(BODY):x};dryRun=All\r\n{BODY}\r\n0\r\n\r\n",
    "length and chunks, length first": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 7\r\n"
    "Transfer-Encoding: chunked\r\n\r\n" + chunked("{}") + "{D}",
    "length and chunks, chunks first": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n"
    "Content-Length: 2\r\n\r\n0\r\n\r\n{D}",
    "two lengths": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{{{{}}}}{{D}}",
    "length with a sign": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: +2\r\n\r\n{{{{}}}}{{D}}",
    "length in a list": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 2, 2\r\n\r\n{{{{}}}}{{D}}",
    "blank before the colon": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 2\r\n"
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{D}",
    "coding in capitals": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{{D}}",
    "two codings": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{{D}}",
    "folded header": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nX-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{{D}}",
    "line feeds alone": f"DELETE {DEPLOYMENT}?dryRun=All HTTP/1.1\n{{A}}\nX-A: b\n\nDELETE {DEPLOYMENT} HTTP/1.1\n{{A}}\n\n",
    "body in a body": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 2\r\n\r\n{{{{}}}}{{D}}",
    "bad chunk size": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{{{{}}}}\r\n0\r\n\r\n{{D}}",
    "huge chunk size": f"POST {REVIEW} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff2\r\n{{{{}}}}{{D}}",
    "pipelined": "GET /version HTTP/1.1\r\n{A}\r\n\r\n{D}{D}",
    "websocket upgrade of an exec": f"GET {DEPLOYMENT.replace('apps', 'x')}/exec?command=sh HTTP/1.1\r\n{{A}}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "h2c upgrade": "GET /version HTTP/1.1\r\n{A}\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n{D}",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{D}",
    "HTTP/1.0": f"DELETE {DEPLOYMENT} HTTP/1.0\r\n{{A}}\r\n\r\n",
    "HTTP/0.9": f"DELETE {DEPLOYMENT}\r\n\r\n",
    "expect": f"PATCH {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nExpect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}",
    "two hosts": f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\nHost: evil.example\r\n\r\n",
    "two tokens": f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\nAuthorization: Bearer x\r\n\r\n",
    "no token": f"DELETE {DEPLOYMENT} HTTP/1.1\r\nHost: {{H}}\r\n\r\n",
    "empty token": f"DELETE {DEPLOYMENT} HTTP/1.1\r\nHost: {{H}}\r\nAuthorization: Bearer \r\n\r\n",
    "nul in a header": f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\nX-A: \x00\r\n\r\n",
    "hop header": f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\nConnection: close, Content-Length\r\n\r\n",
    "gzip body": f"PATCH {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{MERGE}\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u008b\x08\x00",
    "encoded slash": f"DELETE {DEPLOYMENT.replace('/web', '%2fweb')} HTTP/1.1\r\n{{A}}\r\n\r\n",
    "dots": f"GET /version/..{DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n\r\n",
    "two slashes": f"DELETE /{DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n\r\n",
    "dry run twice": f"DELETE {DEPLOYMENT}?dryRun=All&dryRun= HTTP/1.1\r\n{{A}}\r\n\r\n",
    "dry run of the query, body that is none": f"DELETE {DEPLOYMENT}?dryRun=All HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 24\r\n\r\n"
    '{{"kind":"DeleteOptions"}}',
    "field twice": f"DELETE {DEPLOYMENT} HTTP/1.1\r\n{{A}}\r\n{JSON}\r\nContent-Length: 31\r\n\r\n"
    '{{"dryRun":["All"],"dryRun":[]} }',
}  # fmt: skip


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Lab]:
    # Nobody decides here, so what is held is given up soon and its client told.
    async with lab(tmp_path, hold_seconds=0.1) as made:
        yield made


def wire(text: str, here: Lab) -> bytes:
    host = here.gate.ready["data_url"].removeprefix("https://")
    allowed = f"Host: {host}\r\nAuthorization: Bearer {here.gate.ready['data_token']}"
    text = text.replace("{D}", DELETE).replace("{H}", host).replace("{A}", allowed)
    return text.replace("{{", "{").replace("}}", "}").encode("latin-1")


async def exchange(here: Lab, data: bytes) -> bytes:
    """Send bytes, and read until the gate closes or has been silent for a while."""
    host, port = here.gate.ready["data_url"].removeprefix("https://").split(":")
    tls = ssl.create_default_context(cadata=here.gate.ready["ca_pem"])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    answer = b""
    try:
        writer.write(data)
        await writer.drain()
        while True:
            got = await asyncio.wait_for(reader.read(65536), 0.5)
            if not got:
                break
            answer += got
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_no_strange_request_changes_anything(gate: Lab, name: str) -> None:
    answer = await exchange(gate, wire(ATTEMPTS[name], gate))
    assert gate.server.writes == []
    assert DEPLOYMENT in gate.server.objects
    # Whatever reached the API server is of a class that is let through, or the gate's own look at the object.
    for request in gate.server.requests:
        reads = request.method in ("GET", "HEAD") or "selfsubject" in request.path
        assert reads or not request.writes, request
        assert "x-http-method-override" not in {key.lower() for key in request.headers}
        assert "upgrade" not in {key.lower() for key in request.headers}
    for line in answer.split(b"\r\n"):
        if line.startswith(b"HTTP/1."):
            status = int(line.split()[1])
            assert status < 300 or status >= 400, line
    # And the gate is still there, with nothing approved.
    assert b" 200 " in (await exchange(gate, wire("GET /version HTTP/1.1\r\n{A}\r\nConnection: close\r\n\r\n", gate)))
    assert all(state.value in ("withdrawn", "expired", "open") for _, state in gate.gate.broker.listed())


async def test_a_request_that_is_approved_arrives_by_the_same_way(gate: Lab) -> None:
    """The attempts above would be seen: the same bytes, without the gate, change the object."""
    host, port = gate.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"DELETE {DEPLOYMENT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert json.loads((await reader.read()).split(b"\r\n\r\n", 1)[1])["status"] == "Success"
    writer.close()
    assert len(gate.server.writes) == 1
