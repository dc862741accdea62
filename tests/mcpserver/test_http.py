"""The HTTP transport: loopback, a token, no foreign page; and the same answers as over stdio."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.mcpserver.serving import META, MODERN, ON_BUNDLE, QUESTION, ROOT, SECONDS, alive, children, environment, said

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@dataclass
class Served:
    url: str
    file: Path
    process: asyncio.subprocess.Process

    @property
    def token(self) -> str:
        return self.file.read_text()


@asynccontextmanager
async def served(home: Path, *arguments: str) -> AsyncIterator[Served]:
    with (home / "stderr").open("a") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "assistant", "mcp", "--http", *(arguments or ON_BUNDLE),
            cwd=ROOT, env=environment(home), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), SECONDS))
        yield Served(ready["url"], Path(ready["token_file"]), process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), SECONDS)


@asynccontextmanager
async def connected(at: Served, mode: Any = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {at.token}"}
    async with (
        asyncio.timeout(SECONDS),
        httpx2.AsyncClient(headers=headers, timeout=SECONDS, trust_env=False) as http,
        Client(streamable_http_client(at.url, http_client=http), mode=mode) as client,
    ):
        yield client


async def test_both_eras_get_the_same_answers_from_one_cluster(tmp_path: Path) -> None:
    async with served(tmp_path) as at:
        told: list[str] = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.append(message or "")

        async with connected(at) as new, connected(at, "legacy") as old:
            assert new.protocol_version == MODERN
            assert old.protocol_version == "2025-11-25"
            first = said(await new.call_tool("diagnose", {"question": QUESTION}, progress_callback=progress))
            assert first["verdict"] == "fault"
            assert told
            seen = said(await old.call_tool("explain_finding", {"session": first["session"], "finding": "F1"}))
            assert seen["finding"]["id"] == "F1"
            assert len(list((tmp_path / "run" / "gates").glob("*.json"))) == 1
        needed = children(at.process.pid)
        assert len(needed) >= 2
        at.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(at.process.wait(), SECONDS) == 0
        assert not [pid for pid in needed if alive(pid)]
        assert not at.file.exists()


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.long)])
async def test_a_client_that_gives_up_stops_its_question(tmp_path: Path, mode: str) -> None:
    begun = asyncio.Event()

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    async with served(tmp_path) as at, connected(at, mode) as client:
        asked = asyncio.create_task(client.call_tool("diagnose", {"question": QUESTION}, progress_callback=progress))
        await begun.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert said(await client.call_tool("scan", {}))["verdict"] == "fault"
        rows = said(await client.call_tool("list_sessions", {}))["sessions"]
        assert [row["status"] for row in rows if row["question"] == QUESTION] == ["stopped"]


async def test_the_token_is_its_owners_alone_and_each_request_needs_it(tmp_path: Path) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    modern = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}
    async with served(tmp_path) as at, aiohttp.ClientSession() as http:
        assert stat.S_IMODE(at.file.stat().st_mode) == 0o600
        assert at.url.startswith("http://127.0.0.1:")
        right = {"Authorization": f"Bearer {at.token}"}

        async def status(headers: dict[str, str], url: str = at.url, data: Any = None) -> int:
            sent = json.dumps(body) if data is None else data
            async with http.post(url, data=sent, headers={**ACCEPT, **modern, **headers}) as answer:
                await answer.read()
                return answer.status

        assert await status(right) == 200
        for wrong in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {at.token}x"},
                      {"Authorization": f"Basic {at.token}"}, {"Authorization": "Bearer \u00e9"}):  # fmt: skip
            assert await status(wrong) == 401, wrong
        assert await status(right, at.url.replace("/mcp", "/else")) == 404
        for host in ("evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"):
            assert await status({**right, "Host": host}) == 421, host
        for origin in ("http://evil.example", "null", "https://127.0.0.1", at.url.replace("/mcp", ".evil.example")):
            assert await status({**right, "Origin": origin}) == 403, origin
        assert await status({**right, "Origin": at.url.removesuffix("/mcp")}) == 200
        assert await status(right, data=b"x" * 5_000_000) == 413
        assert await status(right, data=b"[" * 100_000) == 400
        assert await status(right, data=b"\xff") == 400
        assert await status(right) == 200


@pytest.mark.long
async def test_a_port_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port in (taken.getsockname()[1], 99_999, -1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "assistant", "mcp", *ON_BUNDLE, f"--http={port}",
                cwd=ROOT, env=environment(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, errors = await asyncio.wait_for(process.communicate(), SECONDS)
            assert process.returncode == 2
            assert b"cannot be used" in errors
            assert out == b""
