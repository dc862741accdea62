"""An API server on bare sockets that switches protocols: what comes after the switch is a script's to do."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml
from aiohttp import web

from assistant.loopback import identity
from tests.gate.scripted import ApiServer, Request

PODS = "/api/v1/namespaces/shop/pods"
Script = Callable[["Arrived", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pod(uid: str = "pod-uid-1", *containers: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "uid": uid, "resourceVersion": "7"},
        "spec": {"containers": [{"name": name, "image": "web:1"} for name in containers or ("web",)]},
        "status": {"phase": "Running"},
    }  # fmt: skip


@dataclass
class Arrived:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def headers_of(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class Upgrading(ApiServer):
    """`script` gets each request with an Upgrade, or one whose path `takes` says it wants; TLS like a real one."""

    script: Script | None = None
    takes: Callable[[str], bool] = lambda path: False
    tls: bool = True
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0
    _ca: bytes = b""

    async def start(self) -> None:
        self.objects[f"{PODS}/web-1"] = pod()
        made = identity("scripted")
        self._ca = made.certificate_pem
        context: ssl.SSLContext | None = made.context if self.tls else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"

    def kubeconfig(self, path: Path) -> str:
        value = yaml.safe_load(Path(super().kubeconfig(path)).read_text())
        if self.tls:
            value["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(self._ca).decode()
        path.write_text(yaml.safe_dump(value))
        return str(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (arrived := await _read(reader)) is not None:
                self.arrived.append(arrived)
                parts = urlsplit(arrived.target)
                if self.script is not None and (arrived.header("upgrade") or self.takes(parts.path)):
                    await self.script(arrived, reader, writer)
                    return
                body = yaml.safe_load(arrived.body) if arrived.body else None
                seen = Request(
                    arrived.method, parts.path, dict(parse_qsl(parts.query)), body, "", dict(arrived.headers)
                )
                self.requests.append(seen)
                await _write(writer, self._answer(seen))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def opened(self) -> list[Arrived]:
        """The requests that a script answered."""
        return [item for item in self.arrived if item.header("upgrade") or self.takes(urlsplit(item.target).path)]


async def _read(reader: asyncio.StreamReader) -> Arrived | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    arrived = Arrived(method, target, headers)
    arrived.body = await reader.readexactly(int(arrived.header("content-length") or 0))
    return arrived


async def _write(writer: asyncio.StreamWriter, answer: web.Response) -> None:
    body = answer.body if isinstance(answer.body, bytes) else b""
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    await writer.drain()


def switch(arrived: Arrived, *headers: str) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        f"Upgrade: {arrived.header('upgrade')}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def echo(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what comes, until the client ends."""
    writer.write(switch(arrived))
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
