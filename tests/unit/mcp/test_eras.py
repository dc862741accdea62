"""The same call against servers of three revisions of the protocol, over pipes and over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from assistant.tools.mcp.connection import CallNews
from assistant.tools.mcp.faults import McpCallError, McpError, McpServerError, McpUnknownOutcomeError
from assistant.tools.mcp.servers import Server
from tests.unit.mcp.conftest import Desks
from tests.unit.mcp.servers.scripted import MODERN, Script

ERAS = ("2025-06-18", "2025-11-25", MODERN)


class Endpoint:
    """A scripted server behind HTTP, in the form of its era. `fault` changes what a call gets."""

    def __init__(self, era: str, fault: str = "", **orders: Any) -> None:
        self.script = Script({"era": era, **orders})
        self.fault = fault
        self.era = era
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.closed = asyncio.Event()
        self.sessions = 0
        self.late: asyncio.Future[dict[str, Any]]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405)
        asked = json.loads(await request.read())
        if "method" not in asked:
            if (late := self.script.answered(asked)) is not None:
                self.late.set_result(late)
            return web.Response(status=202)
        self.seen.append((asked["method"], dict(request.headers)))
        greeted = self.era == MODERN or asked["method"] in ("initialize", "server/discover")
        if not greeted and request.headers.get("Mcp-Session-Id") != f"s{self.sessions}":
            return web.Response(status=404)
        if asked["method"] == "tools/call" and self.fault:
            return await self.misbehave(request, asked)
        if asked["method"] == "tools/call" and self.era != MODERN and self.script.orders.get("asks"):
            return await self.asking(request, asked)
        answer = self.script.answer(asked)
        if answer is None:
            return web.Response(status=202)
        headers = {}
        if asked["method"] == "initialize":
            self.sessions += 1
            headers["Mcp-Session-Id"] = f"s{self.sessions}"
        return web.json_response(answer, headers=headers)

    async def asking(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        """Put the questions of an older revision into the stream of the call, and its answer after theirs."""
        self.script.calls += 1
        self.script.waiting, self.late = asked, asyncio.get_running_loop().create_future()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for message in self.script.questions():
            await response.write(f"event: message\ndata: {json.dumps(message)}\n\n".encode())
        await response.write(f"event: message\ndata: {json.dumps(await self.late)}\n\n".encode())
        return response

    async def misbehave(self, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        self.script.calls += 1
        match self.fault:
            case "large":
                return web.Response(body=b'"' + b"x" * 9_000_000 + b'"', content_type="application/json")
            case "error":
                return web.Response(status=503, text="try later")
            case "elsewhere":
                return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/steal"})
            case "not-json":
                return web.Response(text="<html>", content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        news = {"progressToken": asked["params"]["_meta"]["progressToken"], "progress": 1, "message": "at it"}
        message = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": news})
        await response.write(f"event: message\ndata: {message}\n\n".encode())
        try:
            await asyncio.Event().wait()
        finally:
            self.closed.set()
        return response


@contextlib.asynccontextmanager
async def served(endpoint: Endpoint) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_route("*", "/mcp", endpoint.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield Server(
            "far", url=f"http://127.0.0.1:{port}/mcp", headers=(("Authorization", "Bearer ${T}"),), allow_env=("T",)
        )
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_over_pipes(desks: Desks, era: str) -> None:
    async with desks(near={"era": era}) as desk:
        await desk.approve("near")
        assert (await desk.call("near__echo", "hello")).text == "said hello"
        assert desk.hub.status()[0].protocol == era
        assert desk.calls("near") == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_over_http(desks: Desks, era: str) -> None:
    endpoint = Endpoint(era)
    async with served(endpoint) as server, desks(server, environ={"T": "team-token"}) as desk:
        await desk.approve("far")
        assert (await desk.call("far__echo", "hello")).text == "said hello"
        assert desk.hub.status()[0].protocol == era
        assert endpoint.script.calls == 1
        assert all(headers["Authorization"] == "Bearer team-token" for _, headers in endpoint.seen)


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_over_http_is_cancelled_at_the_server(desks: Desks, era: str) -> None:
    endpoint = Endpoint(era, "hang")
    async with served(endpoint) as server, desks(server, environ={"T": "t"}) as desk:
        await desk.approve("far")
        heard = asyncio.Event()

        def watch(news: CallNews) -> None:
            if news.message:
                heard.set()

        task = asyncio.create_task(desk.call("far__echo", watch=watch))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if era == MODERN:
            await endpoint.closed.wait()
        else:
            await desk.clock.pass_seconds(61)
            await desk.hub.tools("far")
            assert "notifications/cancelled" in [method for method, _ in endpoint.seen]
        assert endpoint.script.calls == 1


@pytest.mark.parametrize("fault", ["large", "error", "elsewhere", "not-json"])
@pytest.mark.parametrize("era", [ERAS[1], MODERN])
async def test_a_bad_answer_over_http_fails_the_call_once(desks: Desks, era: str, fault: str) -> None:
    endpoint = Endpoint(era, fault)
    async with served(endpoint) as server, desks(server, good={}, environ={"T": "t"}) as desk:
        await desk.approve("far")
        await desk.approve("good")
        task = asyncio.create_task(desk.call("far__echo"))
        with pytest.raises(McpError):
            await task
        assert endpoint.script.calls == 1
        assert (await desk.call("good__echo")).ok


async def test_an_older_server_that_forgot_the_session_is_greeted_anew(desks: Desks) -> None:
    endpoint = Endpoint(ERAS[1])
    async with served(endpoint) as server, desks(server, environ={"T": "t"}) as desk:
        await desk.approve("far")
        request = await desk.hub.prepare("far__echo", {"text": "x"})
        endpoint.sessions += 1
        with pytest.raises(McpCallError):
            await desk.hub.call(request, request.digest)
        again = asyncio.create_task(desk.call("far__echo"))
        while not again.done() and not desk.clock.sleeping:  # noqa: ASYNC110 - the clock is the test's
            await asyncio.sleep(0)
        await desk.clock.pass_seconds(5)
        assert (await again).ok
        assert endpoint.script.calls == 1


async def test_nobody_at_the_address_is_said(desks: Desks) -> None:
    async with desks(Server("far", url="http://127.0.0.1:9/mcp")) as desk:
        desk.hub.approve_server("far", desk.hub.status()[0].digest)
        with pytest.raises((McpServerError, McpUnknownOutcomeError)) as caught:
            await desk.hub.tools("far")
        assert "cannot be started" in caught.value.meaning
