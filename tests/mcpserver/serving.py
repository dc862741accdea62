"""The real command as a child: spoken to with the SDK's client, or line by line as any client may."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent

ROOT: Final = Path(__file__).parents[2]
NAMESPACE: Final = "storefront-web"
BUNDLE: Final = ROOT / "recordings" / "practice" / "missing-image" / "bundle.tar.gz"
ON_BUNDLE: Final = ("--bundle", str(BUNDLE), "-n", NAMESPACE)
QUESTION: Final = "why does the storefront not start?"
SECONDS: Final = 60
LIMIT: Final = 64 * 1024 * 1024
MODERN: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "lines", "version": "1"},
}


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PILOTHOUSE_", "KUBE"))}
    own = {"HOME": str(home), "PILOTHOUSE_STATE_DIR": str(home / "state"), "PILOTHOUSE_RUNTIME_DIR": str(home / "run")}
    return {**kept, **own, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def connected(home: Path, *arguments: str, mode: Any = "auto") -> AsyncIterator[Client]:
    command = ["-m", "assistant", "mcp", *(arguments or ON_BUNDLE)]
    started = StdioServerParameters(command=sys.executable, args=command, env=environment(home), cwd=str(ROOT))
    with (home / "stderr").open("a") as errors:
        async with asyncio.timeout(SECONDS), Client(stdio_client(started, errlog=errors), mode=mode) as client:
            yield client


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


def said(result: CallToolResult) -> dict[str, Any]:
    """Return the structured content of an answer that is no error."""
    assert not result.is_error, text(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def error_code(result: CallToolResult) -> str:
    assert result.is_error
    assert result.meta is not None
    return str(dict(result.meta)["pilothouse/error"]["code"])


@dataclass
class Lines:
    """A server that is spoken to by lines."""

    process: asyncio.subprocess.Process

    async def send(self, message: Mapping[str, Any] | bytes) -> None:
        assert self.process.stdin is not None
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()

    async def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS)
        assert line, "the server has ended"
        value = json.loads(line)
        assert isinstance(value, dict)
        assert value["jsonrpc"] == "2.0"
        return value

    async def answer(self, ident: int | str | None) -> dict[str, Any]:
        """Return the answer to a request; what comes before it are notifications."""
        while True:
            value = await self.receive()
            if "method" not in value:
                assert value.get("id") == ident
                return value

    async def ask(self, ident: int | str, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        await self.send({"jsonrpc": "2.0", "id": ident, "method": method, "params": dict(params or {})})
        return await self.answer(ident)

    async def shake_hands(self, version: str) -> dict[str, Any]:
        offered = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "lines", "version": "1"}}
        answer = await self.ask("hello", "initialize", offered)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def children(self) -> list[int]:
        return children(self.process.pid)

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        return await asyncio.wait_for(self.process.wait(), SECONDS)


@asynccontextmanager
async def speaking(home: Path, *arguments: str) -> AsyncIterator[Lines]:
    pipe = asyncio.subprocess.PIPE
    with (home / "stderr").open("a") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "assistant", "mcp", *(arguments or ON_BUNDLE),
            cwd=ROOT, env=environment(home), stdin=pipe, stdout=pipe, stderr=errors, limit=LIMIT,
        )  # fmt: skip
    try:
        yield Lines(process)
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            await asyncio.wait_for(process.wait(), SECONDS)


def children(pid: int) -> list[int]:
    return [int(part) for part in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
