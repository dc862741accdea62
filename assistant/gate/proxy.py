"""The data side: every request of every client, classified, then streamed through, held, or refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Container
from typing import Any, Final

import aiohttp
from aiohttp import web

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Origin, ProposalState
from assistant.errors import ClusterError, PilothouseError, StoreError
from assistant.gate.broker import Broker, Held
from assistant.gate.prepare import Prepared, media_type, parse_body
from assistant.gate.status import refusal
from assistant.gate.upstream import Upstream, named, read_limited
from assistant.gate.wire_redaction import (
    EnvRedactor,
    Seen,
    WatchRedactor,
    json_accept,
    parsed_kind,
    redact_body,
    streamed_env,
)  # fmt: skip
from assistant.policy.api_path import Refused
from assistant.policy.classify import CONNECT, Verdict, classify, with_body
from assistant.policy.limits import MAX_PARSED_ANSWER_BYTES, MAX_REQUEST_BODY_BYTES
from assistant.policy.redact import Redactor, has_placeholder
from assistant.store.journal import Journal

# fmt: off
_HOP: Final = frozenset(
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "authorization", "cookie", "expect",
    ]
)
# fmt: on
_CLIENT_BYTES: Final = 120


class Proxy:
    """Answers requests that carry the data token."""

    def __init__(
        self, upstream: Upstream, broker: Broker, redactor: Redactor, journal: Journal, *, hold_seconds: float,
        protected: Container[str],
    ) -> None:  # fmt: skip
        """Keep the parts; every write in a protected namespace is critical."""
        self._protected = protected
        self._upstream = upstream
        self._broker = broker
        self._redactor = redactor
        self._seen = Seen(redactor)
        self._journal = journal
        self._hold_seconds = hold_seconds

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what goes wrong becomes a Status with its meaning."""
        try:
            verdict = classify(request.method, request.raw_path, request.headers.items(), self._protected)
            return await self._treat(request, verdict)
        except Refused as refused:
            return refusal(refused.code, f"Pilothouse refused this request: {refused.meaning}", refused.rule)
        except StoreError as error:
            return refusal(
                503, f"Pilothouse cannot write its journal, so it sends no change. {error.meaning}", error.code
            )
        except ClusterError as error:
            timeout = "in time" in error.meaning
            return refusal(504 if timeout else 502, f"{error.meaning} {error.hint}".strip(), error.code)
        except PilothouseError as error:
            return refusal(503, f"{error.meaning} {error.hint}".strip(), error.code)

    async def _treat(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse:
        if verdict.request_class in (RequestClass.READ, RequestClass.VIRTUAL):
            body = await _body(request) if verdict.request_class is RequestClass.VIRTUAL else None
            return await self._pass(request, verdict, body)
        if verdict.request_class is RequestClass.SENSITIVE:
            raise Refused(
                verdict.rule, "This would hand out sensitive answers and is not passed on in this version.", 403
            )
        api = verdict.api
        if api is not None and (api.sub.split("/")[0] in CONNECT or verdict.rule.startswith("connect-")):
            text = "exec, attach, port-forward and proxy are not supported through the gate yet."
            raise Refused(verdict.rule, text, 403)
        if request.method not in ("POST", "PUT", "PATCH", "DELETE") or api is None:
            raise Refused(verdict.rule, "The gate does not know what this request does, so it is not passed on.", 403)
        body = await _body(request)
        content_type = request.headers.get("Content-Type", "")
        if has_placeholder(body.decode(errors="replace")):
            text = "it carries a value that Pilothouse took out of an answer; writing it would destroy the real one."
            raise Refused("placeholder", text, 422)
        parsed = parse_body(content_type, body)
        verdict = with_body(verdict, parsed)
        if verdict.request_class is RequestClass.DRY_RUN:
            self._journal.passed({"method": request.method, "path": verdict.path, "client": _client(request)})
            # The bytes that the server reads are the ones that were judged: written anew from the parsed form.
            again = json.dumps(parsed).encode() if parsed is not None else b""
            return await self._pass(request, verdict, again)
        return await self._hold(request, verdict, content_type, body)

    async def _hold(
        self, request: web.BaseRequest, verdict: Verdict, content_type: str, body: bytes
    ) -> web.StreamResponse:
        asked = Prepared(request.method, verdict.path, verdict.query, media_type(content_type), body.decode())
        held = await self._broker.propose(verdict, asked, Origin("client", _client(request)), "", own=False)
        try:
            async with asyncio.timeout(self._hold_seconds):
                while True:
                    await held.done.wait()
                    if held.successor is None:
                        break
                    held = held.successor
        except TimeoutError:
            await self._give_up(held)
        except asyncio.CancelledError:
            # The client went away: nobody waits for the answer, so nobody wants the change.
            last = held
            while last.successor is not None:
                last = last.successor
            self._broker.withdraw(last.proposal.id)
            raise
        return _answer(held)

    async def _give_up(self, held: Held) -> None:
        if self._broker.give_up(held) is ProposalState.SENDING:
            await held.done.wait()

    async def _pass(self, request: web.BaseRequest, verdict: Verdict, body: bytes | None) -> web.StreamResponse:
        kind = parsed_kind(verdict.api)
        in_passing = streamed_env(verdict.api)
        headers = _forwarded(request, rewritten=bool(body))
        if kind or in_passing:
            accept = json_accept(request.headers.get("Accept", ""))
            headers = [(k, v) for k, v in headers if k.lower() not in ("accept", "accept-encoding")]
            headers += [("Accept", accept), ("Accept-Encoding", "identity")]
        try:
            async with self._upstream.stream(request.method, request.raw_path, headers, body or None) as answer:
                if kind and verdict.verb != "watch":
                    return await self._redacted(answer, kind, request.method)
                return await self._streamed(request, answer, verdict, kind, in_passing)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise named(error) from error

    async def _redacted(self, answer: aiohttp.ClientResponse, kind: str, method: str) -> web.Response:
        data = await read_limited(answer, MAX_PARSED_ANSWER_BYTES)
        headers = _returned(answer)
        if method == "HEAD" or not data:
            return web.Response(status=answer.status, headers=headers)
        clean = await asyncio.to_thread(redact_body, self._redactor, data, kind)
        return web.Response(status=answer.status, headers=headers, body=clean)

    async def _streamed(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, verdict: Verdict, kind: str, in_passing: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=_returned(answer))
        filtered: Any = None
        if kind:
            filtered = WatchRedactor(self._redactor, kind)
        elif in_passing and answer.headers.get("Content-Type", "").startswith("application/json"):
            watch = verdict.verb == "watch"
            filtered = _Lines(self._redactor, self._seen) if watch else EnvRedactor(self._redactor, self._seen)
        elif in_passing and answer.status == 200 and request.method != "HEAD":
            raise ClusterError("The answer was withheld: it is not JSON.", "Its secret values could not be taken out.")
        if filtered is None and "Content-Length" in answer.headers:
            response.content_length = int(answer.headers["Content-Length"])
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            async for chunk in answer.content.iter_any():
                data = filtered.feed(chunk) if filtered else chunk
                if data:
                    await response.write(data)
            if filtered and (rest := filtered.end()):
                await response.write(rest)
            await response.write_eof()
        except (aiohttp.ClientError, ClusterError, TimeoutError, OSError):
            # The head is gone already: only a broken connection tells the client that the answer is not whole.
            if request.transport is not None:
                request.transport.abort()
        return response


class _Lines:
    """Env values in a watch: each line is whole, so nothing of an event is held back until the next one."""

    def __init__(self, redactor: Redactor, seen: Seen) -> None:
        self._redactor = redactor
        self._seen = seen
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def end(self) -> bytes:
        rest, self._rest = self._rest, b""
        return self._line(rest)

    def _line(self, line: bytes) -> bytes:
        one = EnvRedactor(self._redactor, self._seen)
        return one.feed(line) + one.end()


async def _body(request: web.BaseRequest) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_REQUEST_BODY_BYTES:
            raise Refused("body-size", "the body is larger than the API server accepts.", 413)
        parts.append(chunk)
    return b"".join(parts)


def _client(request: web.BaseRequest) -> str:
    agent = request.headers.get("User-Agent", "unknown client")
    return "".join(ch if " " <= ch <= "~" else "?" for ch in agent)[:_CLIENT_BYTES]


def _hops(headers: Any) -> frozenset[str]:
    listed = ",".join(headers.getall("Connection", []))
    return _HOP | frozenset(name.strip().lower() for name in listed.split(","))


def _forwarded(request: web.BaseRequest, *, rewritten: bool) -> list[tuple[str, str]]:
    drop = _hops(request.headers)
    headers = [(k, v) for k, v in request.headers.items() if k.lower() not in drop]
    if rewritten and media_type(request.headers.get("Content-Type", "")) == "application/yaml":
        headers = [(k, v) for k, v in headers if k.lower() != "content-type"] + [("Content-Type", "application/json")]
    return headers


def _returned(answer: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    drop = _hops(answer.headers)
    return [(k, v) for k, v in answer.headers.items() if k.lower() not in drop and k.lower() != "set-cookie"]


def _answer(held: Held) -> web.StreamResponse:
    sent, outcome = held.answer, held.outcome
    if sent is not None and sent.status and sent.body:
        return web.Response(
            status=sent.status, body=sent.body, headers={"Content-Type": sent.content_type or "application/json"}
        )
    message = outcome.message if outcome else "nothing was sent."
    cause = f"{held.proposal.id} {held.state.value}"
    match held.state:
        case ProposalState.DENIED | ProposalState.EXPIRED | ProposalState.WITHDRAWN | ProposalState.REFUSED:
            return refusal(403, f"Pilothouse did not send this change: {message}", cause)
        case ProposalState.VOID:
            return refusal(409, f"Pilothouse did not send this change: {message}", cause)
        case ProposalState.FAILED:
            code = sent.status if sent and sent.status else 409
            return refusal(code, message, cause)
        case ProposalState.APPLIED:
            return refusal(502, message, cause)
        case _:
            return refusal(504, message, cause)
