"""What a kubelet says after the switch: WebSocket channels and SPDY streams, as little as real clients need.

WebSocket: RFC 6455; channels as in k8s.io/apimachinery remotecommand (v4, v5) and in the kubelet's port-forward.
SPDY/3.1: frames only. Which stream is which is known from the order in which client-go opens them, so header blocks,
which are compressed with a dictionary, are never read.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import zlib
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

from tests.gate.upgrading import Arrived, switch

STDIN, STDOUT, STDERR, ERROR, CLOSED = 0, 1, 2, 3, 255
SUCCESS = b'{"metadata":{},"status":"Success"}'
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_FIN = 1

Read = Callable[[int], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


class WebSocket:
    """The server's end of one."""

    def __init__(self, arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        offered = [name.strip() for name in arrived.header("sec-websocket-protocol").split(",")]
        self.protocol = offered[0]
        proof = base64.b64encode(hashlib.sha1(arrived.header("sec-websocket-key").encode() + _MAGIC).digest()).decode()  # noqa: S324
        writer.write(
            switch(arrived, f"Sec-WebSocket-Accept: {proof}", f"Sec-WebSocket-Protocol: {self.protocol}")
        )  # fmt: skip

    async def send(self, data: bytes, kind: int = 2) -> None:
        size = len(data)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else None
        self._writer.write(bytes([0x80 | kind]) + (length or b"\x7f" + struct.pack(">Q", size)) + data)
        await self._writer.drain()

    async def receive(self) -> bytes | None:
        """Return the next message, None at the end."""
        whole = b""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                width = 2 if size == 126 else 8
                size = int.from_bytes(await self._reader.readexactly(width), "big")
            mask = await self._reader.readexactly(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await self._reader.readexactly(size)))
            match first & 0x0F:
                case 8:
                    return None
                case 9:
                    await self.send(data, 10)
                case 0 | 1 | 2:
                    whole += data
                    if first & 0x80:
                        return whole


def _asked(arrived: Arrived) -> dict[str, list[str]]:
    return parse_qs(urlsplit(arrived.target).query)


def _wants(arrived: Arrived, stream: str) -> bool:
    return _asked(arrived).get(stream, ["false"])[0] not in ("0", "false")


async def exec_for_kubectl(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be silent until something is typed: kubectl drops what comes before it has made its streams, and tells so."""
    await exec_by_websocket(arrived, reader, writer, waits=True)


async def exec_by_websocket(
    arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, waits: bool = False
) -> None:
    """Say what the command is; with stdin, then repeat all of it in upper case once it has ended."""
    socket = WebSocket(arrived, reader, writer)
    typed, message = b"", b""
    if waits and _wants(arrived, "stdin"):
        message = await socket.receive() or b""
    await socket.send(bytes([STDOUT]) + "|".join(_asked(arrived)["command"]).encode() + b"\n")
    if _wants(arrived, "stdin"):
        message = message or await socket.receive() or b""
        while message and message[0] == STDIN and message[1:] != b"end\n":
            typed += message[1:]
            message = await socket.receive() or b""
        await socket.send(bytes([STDOUT]) + typed.upper())
    await socket.send(bytes([STDERR]) + b"done\n")
    await socket.send(bytes([ERROR]) + SUCCESS)
    await socket.send(struct.pack(">H", 1000), 8)
    await reader.read()


async def forward_by_channels(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo in upper case on the data channel of the first port."""
    socket = WebSocket(arrived, reader, writer)
    port = struct.pack("<H", int(_asked(arrived)["ports"][0].split(",")[0]))
    await socket.send(b"\x00" + port)
    await socket.send(b"\x01" + port)
    while message := await socket.receive():
        await socket.send(message[:1] + message[1:].upper())


class Spdy:
    """The server's end of a SPDY/3.1 connection. `opened` numbers the client's streams in their order."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read, self._write = read, write
        self._pack = zlib.compressobj()
        self.opened: list[int] = []

    async def receive(self) -> tuple[int, bytes, bool]:
        """Return the next data: the stream's place in `opened`, bytes, and whether its end."""
        while True:
            head = await self._read(8)
            word, rest = struct.unpack(">II", head)
            flags, body = rest >> 24, await self._read(rest & 0xFFFFFF)
            if not word >> 31:
                return self.opened.index(word), body, bool(flags & _FIN)
            match word & 0xFFFF:
                case kind if kind == _SYN_STREAM:
                    stream = struct.unpack(">I", body[:4])[0] & 0x7FFFFFFF
                    self.opened.append(stream)
                    block = self._pack.compress(bytes(4)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
                    await self._control(_SYN_REPLY, struct.pack(">I", stream) + block)
                    return len(self.opened) - 1, b"", False
                case kind if kind == _PING:
                    await self._control(_PING, body)
                case kind if kind == _GOAWAY:
                    raise EOFError

    async def _control(self, kind: int, body: bytes) -> None:
        await self._write(struct.pack(">II", 0x80030000 | kind, len(body)) + body)

    async def send(self, place: int, data: bytes, *, last: bool = False) -> None:
        await self._write(struct.pack(">II", self.opened[place], (_FIN if last else 0) << 24 | len(data)) + data)


async def exec_by_spdy(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same as by WebSocket. The client opens error, then stdin, stdout and stderr where it wants them."""
    writer.write(switch(arrived, f"X-Stream-Protocol-Version: {arrived.headers_of('x-stream-protocol-version')[0]}"))
    spdy = Spdy(reader.readexactly, _writing(writer))
    names = ["error", *(name for name in ("stdin", "stdout", "stderr") if _wants(arrived, name))]
    while len(spdy.opened) < len(names):
        await spdy.receive()
    place = {name: index for index, name in enumerate(names)}
    await spdy.send(place["stdout"], "|".join(_asked(arrived)["command"]).encode() + b"\n")
    if "stdin" in place:
        typed, ended = b"", False
        while not ended:
            at, data, last = await spdy.receive()
            if at == place["stdin"]:
                typed, ended = typed + data, last
        await spdy.send(place["stdout"], typed.upper())
    await spdy.send(place["stdout"], b"", last=True)
    await spdy.send(place["stderr"], b"done\n", last=True)
    await spdy.send(place["error"], SUCCESS, last=True)
    await reader.read()


async def forward_by_spdy(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo in upper case on every data stream; each connection opens an error stream, then a data stream."""
    if arrived.header("upgrade") == "websocket":
        socket, rest = WebSocket(arrived, reader, writer), bytearray()

        async def read(count: int) -> bytes:
            while len(rest) < count:
                message = await socket.receive()
                if message is None:
                    raise EOFError
                rest.extend(message)
            data = bytes(rest[:count])
            del rest[:count]
            return data

        spdy = Spdy(read, socket.send)
    else:
        writer.write(switch(arrived, "X-Stream-Protocol-Version: portforward.k8s.io"))
        spdy = Spdy(reader.readexactly, _writing(writer))
    try:
        while True:
            place, data, last = await spdy.receive()
            if place % 2 and (data or last):
                await spdy.send(place, data.upper(), last=last)
                if last:
                    await spdy.send(place - 1, b"", last=True)
    except EOFError:
        return


def _writing(writer: asyncio.StreamWriter) -> Write:
    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return write
