"""A chat completions server that does as it is told, on a real socket, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agents.model.types import Endpoint

ANSWERING = "the-model-that-answers"
DONE = b"data: [DONE]\n\n"


def event(delta: Mapping[str, Any] | None, finish: str | None = None, usage: Mapping[str, int] | None = None) -> bytes:
    """One chunk as a server sends it; without `delta` it is the last one, with usage only."""
    choices = [] if delta is None else [{"index": 0, "delta": dict(delta), "finish_reason": finish}]
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": ANSWERING, "choices": choices}
    return b"data: " + json.dumps(value | ({"usage": usage} if usage else {})).encode() + b"\n\n"


def text(*words: str, finish: str | None = "stop") -> list[bytes]:
    """An answer of words."""
    end = [event({}, finish)] if finish else []
    return [event({"role": "assistant", "content": ""}), *(event({"content": word}) for word in words), *end]


def call(name: str, *pieces: str, index: int = 0, id: str = "c1") -> list[bytes]:
    """The chunks of one tool call, its arguments in these pieces."""
    first = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
    return [event({"tool_calls": [each]}) for each in (first, *rest)]


def usage(prompt: int = 120, completion: int = 7) -> bytes:
    return event(
        None,
        usage={"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    )


@dataclass
class Says:
    """One answer: a status, headers and what is written; then the end, a broken connection, or nothing more."""

    parts: Iterable[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    then: str = "end"


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Says:
    body = json.dumps({"error": {"message": message, "type": "x", "code": code}}).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Says([body], status, given, "application/json")


@dataclass
class Server:
    """What it will say, one after the other (the last for ever), and what it was asked."""

    url: str = ""
    answers: list[Says] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    think: Callable[[dict[str, Any]], Says] | None = None

    def endpoint(self, model: str = "openai/m", **more: Any) -> Endpoint:
        return Endpoint(model, self.url, **{"api_key": "k-" + "of-nobody", **more})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.think is not None:
            says = self.think(self.asked[-1])
        else:
            says = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        response = web.StreamResponse(
            status=says.status, headers={"Content-Type": says.content_type, **dict(says.headers)}
        )
        await response.prepare(request)
        try:
            for part in says.parts:
                await response.write(part)
            if says.then == "reset":
                # What is under way when a connection is cut may be lost with it; here it has been read.
                await self.heard.wait()
                assert request.transport is not None
                request.transport.abort()
            if says.then == "hang":
                await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response


@asynccontextmanager
async def serving(*answers: Says) -> AsyncIterator[Server]:
    server = Server(answers=list(answers))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
