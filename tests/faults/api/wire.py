"""An API server on a raw socket that misbehaves where a test says so, and counts what really arrived.

Requests without a fault are answered by the scripted API server of the gate's tests.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
import yarl

from tests.gate.scripted import DEPLOYMENT, ApiServer

PODS = "/api/v1/namespaces/shop/pods"
LOG = PODS + "/web-1/log"
TOKEN = "to" + "ken-of-nobody"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire; `operation` is list, watch, log, dry run, mutate or other."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        url = yarl.URL(self.target, encoded=True)
        if self.method not in ("GET", "HEAD"):
            if "selfsubject" in url.path:
                return "other"
            return "dry run" if url.query.get("dryRun") == "All" or b"dryRun" in self.body else "mutate"
        if url.path.endswith("/log"):
            return "log"
        if url.path != PODS:
            return "other"
        return "watch" if url.query.get("watch") in ("true", "1") else "list"


Writer = asyncio.StreamWriter
Fault = Callable[[Seen, Writer], Awaitable[None]]


@dataclass
class Wire(ApiServer):
    """`faults` holds what happens to the next requests of an operation, one after the other; then all is well.

    `refuse` connections are reset as soon as they were accepted, before a byte of a request was read.
    """

    faults: dict[str, list[Fault]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    refuse: int = 0
    refused: int = 0
    connections: int = 0
    tls: ssl.SSLContext | None = None
    cluster: dict[str, Any] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=lambda: {"token": TOKEN})
    date: Callable[[], str] | None = None
    _listener: asyncio.Server | None = None
    _inner: str = ""
    _port: int = 0

    def __post_init__(self) -> None:
        names = [{"name": n, "kind": k, "namespaced": True, "verbs": ["list"]} for n, k in RESOURCES]
        self.put("/api", {"kind": "APIVersions", "versions": ["v1"]})
        self.put("/apis", {"kind": "APIGroupList", "groups": []})
        self.put("/api/v1", {"kind": "APIResourceList", "resources": names})
        self.put(PODS, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []})
        self.raw[LOG] = (200, {"Content-Type": "text/plain"}, b"one\ntwo\n")

    def put(self, path: str, value: Any, status: int = 200) -> None:
        """Answer a path with this object."""
        self.raw[path] = (status, JSON, json.dumps(value).encode())

    def of(self, operation: str) -> list[Seen]:
        """Return the requests of an operation that arrived."""
        return [seen for seen in self.seen if seen.operation == operation]

    async def start(self) -> None:
        await super().start()
        self._inner = self.url
        await self.listen(self.tls)

    async def listen(self, tls: ssl.SSLContext | None) -> None:
        """Listen with this certificate, at the same address as before."""
        self.tls = tls
        if self._listener is not None:
            self._listener.close()
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=tls, limit=2**22)
        self._port = self._listener.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"

    def stop(self) -> None:
        super().stop()
        if self._listener is not None:
            self._listener.close()

    def kubeconfig(self, path: Path) -> str:
        value = {
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "c", "cluster": {"server": self.url, **self.cluster}}],
            "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(value))
        return str(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        number = self.connections
        if self.refuse:
            self.refuse -= 1
            self.refused += 1
            reset(writer)
            return
        try:
            while not writer.is_closing():
                seen = await read_request(reader, number)
                self.seen.append(seen)
                waiting = self.faults.get(seen.operation)
                if waiting:
                    await waiting.pop(0)(seen, writer)
                else:
                    await self._forward(seen, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _forward(self, seen: Seen, writer: Writer) -> None:
        headers = {k: v for k, v in seen.headers.items() if k not in ("host", "content-length", "connection")}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                seen.method, yarl.URL(self._inner + seen.target, encoded=True), headers=headers, data=seen.body or None
            ) as answer,
        ):
            body = await answer.read()
        kept = {k: v for k, v in answer.headers.items() if k not in ("Content-Length", "Transfer-Encoding", "Date")}
        if self.date is not None:
            kept["Date"] = self.date()
        writer.write(head(answer.status, {**kept, "Content-Length": str(len(body))}) + body)
        await writer.drain()


RESOURCES = (("pods", "Pod"), ("services", "Service"), ("configmaps", "ConfigMap"))


async def read_request(reader: asyncio.StreamReader, connection: int) -> Seen:
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = text.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(connection, method, target, headers, body)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode()


def reset(writer: Writer) -> None:
    """End a connection the hard way (RST), as a crashed process or a firewall does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def answering(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Fault:
    """Answer with this status, body and headers (`Retry_After="3"`)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {**JSON, **named, "Content-Length": str(len(data))}

    async def fault(seen: Seen, writer: Writer) -> None:
        writer.write(head(status, sent) + data)
        await writer.drain()

    return fault


def failing(status: int, message: str = "scripted", **headers: str) -> Fault:
    """Answer with a Status object."""
    value = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
    return answering(status, value, **headers)


async def hang_up(seen: Seen, writer: Writer) -> None:
    """Reset the connection after the request was read."""
    reset(writer)


def broken_off(body: bytes, length: int = 100_000) -> Fault:
    """Answer with a part of a body, then reset."""

    async def fault(seen: Seen, writer: Writer) -> None:
        writer.write(head(200, {**JSON, "Content-Length": str(length)}) + body)
        await writer.drain()
        await asyncio.sleep(0.05)  # let the part arrive: a reset may overtake what was sent before
        reset(writer)

    return fault


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def watching(*events: dict[str, Any], end: str) -> Fault:
    """Stream these events; then `end` the stream: "reset", "closed" (no last chunk) or "clean"."""

    async def fault(seen: Seen, writer: Writer) -> None:
        writer.write(head(200, {**JSON, "Transfer-Encoding": "chunked"}))
        for event in events:
            writer.write(chunk(json.dumps(event).encode() + b"\n"))
        await writer.drain()
        await asyncio.sleep(0.05)
        if end == "clean":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif end == "reset":
            reset(writer)
        else:
            writer.close()

    return fault


def http_date(moment: Any) -> str:
    return format_datetime(moment, usegmt=True)


__all__ = ["DEPLOYMENT", "LOG", "PODS", "Seen", "Wire", "answering", "broken_off", "failing", "hang_up", "watching"]
