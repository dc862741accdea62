"""The data side: every request of every client, classified, then streamed through, held, or refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Container
from typing import Any, Final

import aiohttp
from aiohttp import web

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Origin, ProposalState
from assistant.errors import ClusterError, PilothouseError, StoreError
from assistant.gate.broker import Broker, Held
from assistant.gate.clients import Clients
from assistant.gate.failures import UpstreamError, excerpt, named
from assistant.gate.headers import forwarded, returned, switching
from assistant.gate.once import Answers, asked_digest
from assistant.gate.peer import process_of
from assistant.gate.prepare import Prepared, media_type, parse_body
from assistant.gate.status import refusal
from assistant.gate.tunnel import Tunnels
from assistant.gate.upstream import Upstream, read_limited
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
from assistant.policy.classify import Verdict, classify, with_body
from assistant.policy.connect import connects, read_connect
from assistant.policy.limits import FIRST_BYTE_SECONDS, MAX_PARSED_ANSWER_BYTES, MAX_REQUEST_BODY_BYTES
from assistant.policy.redact import Redactor, has_placeholder
from assistant.policy.sanitize import safe
from assistant.store.journal import Journal

_CLIENT_BYTES: Final = 120
_PATH_CHARACTERS: Final = 500
_NO_CHANGE: Final = (RequestClass.READ, RequestClass.VIRTUAL, RequestClass.SENSITIVE)
_SAID_NO: Final = (ProposalState.DENIED, ProposalState.EXPIRED, ProposalState.WITHDRAWN)
_QUOTED_BYTES: Final = 4096


class Proxy:
    """Answers requests that carry the data token."""

    def __init__(
        self, upstream: Upstream, broker: Broker, redactor: Redactor, journal: Journal, tunnels: Tunnels, *,
        hold_seconds: float, protected: Container[str], clients: Clients,
    ) -> None:  # fmt: skip
        """Keep the parts.

        Args:
            upstream: the way to the API server.
            broker: holds changes.
            redactor: takes secret values out of answers.
            journal: records what passes.
            tunnels: sessions that were approved.
            hold_seconds: how long a client waits for a decision.
            protected: namespaces in which every write is critical.
            clients: says whose token a request carries.
        """
        self._protected = protected
        self._upstream = upstream
        self._broker = broker
        self._redactor = redactor
        self._seen = Seen(redactor)
        self._journal = journal
        self._tunnels = tunnels
        self._hold_seconds = hold_seconds
        self._clients = clients
        self._answers = Answers()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what goes wrong becomes a Status with its meaning."""
        verdict: Verdict | None = None
        try:
            verdict = classify(request.method, request.raw_path, request.headers.items(), self._protected)
            return await self._treat(request, verdict)
        except Refused as refused:
            await self._refused(request, verdict, refused.rule, refused.code)
            return refusal(refused.code, f"Pilothouse refused this request: {refused.meaning}", refused.rule)
        except StoreError as error:
            return refusal(
                503, f"Pilothouse cannot write its journal, so it sends no change. {error.meaning}", error.code
            )
        except ClusterError as error:
            status = error.status if isinstance(error, UpstreamError) else 502
            await self._refused(request, verdict, error.code, status)
            return refusal(status, f"{error.meaning} {error.hint}".strip(), error.code)
        except PilothouseError as error:
            return refusal(503, f"{error.meaning} {error.hint}".strip(), error.code)

    async def _refused(self, request: web.BaseRequest, verdict: Verdict | None, rule: str, code: int) -> None:
        """Record what was refused, where it could have changed something; the record holds no body and no query."""
        if verdict is not None and verdict.request_class in _NO_CHANGE:
            return
        if verdict is None and request.method in ("GET", "HEAD") and "Upgrade" not in request.headers:
            return
        origin = await self._origin(request)
        # The record of a refusal is no condition for refusing.
        with contextlib.suppress(StoreError):
            line = self._line(request, verdict)
            self._journal.refused({**line, "process": origin.process, "rule": rule, "code": code})

    async def _origin(self, request: web.BaseRequest) -> Origin:
        transport = request.transport
        peer, own = (transport.get_extra_info(name) if transport else None for name in ("peername", "sockname"))
        process = await asyncio.to_thread(process_of, peer and peer[:2], own and own[:2], self._words)
        return Origin("client", _client(request), token=self._clients.name(request), process=process)

    def _words(self, words: list[str]) -> list[str]:
        return [str(word) for word in self._redactor.object(words)[0]]

    def _asker(self, request: web.BaseRequest) -> str:
        return f"{self._clients.name(request)} {_client(request)}"

    def _line(self, request: web.BaseRequest, verdict: Verdict | None) -> dict[str, object]:
        path = verdict.path if verdict is not None else request.raw_path.partition("?")[0]
        said = {"method": request.method, "path": safe(path, multiline=False)[:_PATH_CHARACTERS]}
        return {**said, "client": _client(request), "token": self._clients.name(request)}

    async def _treat(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse:
        if verdict.request_class in (RequestClass.READ, RequestClass.VIRTUAL):
            body = await _body(request) if verdict.request_class is RequestClass.VIRTUAL else None
            return await self._pass(request, verdict, body)
        if verdict.request_class is RequestClass.SENSITIVE:
            return await self._sensitive(request, verdict)
        if connects(verdict):
            return await self._connect(request, verdict)
        api = verdict.api
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
            self._journal.passed(self._line(request, verdict))
            # The bytes that the server reads are the ones that were judged: written anew from the parsed form.
            again = json.dumps(parsed).encode() if parsed is not None else b""
            return await self._pass(request, verdict, again)
        return await self._hold(request, verdict, content_type, body)

    async def _hold(
        self, request: web.BaseRequest, verdict: Verdict, content_type: str, body: bytes
    ) -> web.StreamResponse:
        asked = Prepared(request.method, verdict.path, verdict.query, media_type(content_type), body.decode())
        return await self._deliver(request, await self._decided(request, verdict, asked))

    async def _connect(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse:
        """Hold an exec, attach, port-forward or proxied request, and pass its bytes once a person has said yes."""
        wanted = read_connect(verdict, request.headers.items())
        body = await _body(request)
        if wanted.upgrade and body:
            raise Refused("upgrade-body", "a request that opens a session has no body.", 400)
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise Refused("body-type", "the body is not text, so it cannot be shown to a person.", 415) from error
        if has_placeholder(text) or any(has_placeholder(word) for _, word in verdict.query):
            raise Refused("placeholder", "it carries a value that Pilothouse took out of an answer.", 422)
        carried = switching(request, wanted.upgrade) if wanted.upgrade else forwarded(request, rewritten=False)
        asked = _verbatim(request, verdict, text, carried)
        question = asked_digest(self._asker(request), "session", request.raw_path, b"")
        if wanted.upgrade and (no := self._answers.refused(question, wanted.upgrade)) is not None:
            return _answer(no)
        held = await self._decided(request, verdict, asked)
        if wanted.upgrade and held.state in _SAID_NO:
            self._answers.refuse(question, wanted.upgrade, held)
        return await self._deliver(request, held)

    async def _sensitive(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse:
        """Ask once per object and client; then the answer passes as it is."""
        if self._clients.ours(request):
            text = "its answer is sensitive and could reach a model; ask with a client of your own."
            raise Refused(verdict.rule, text, 403)
        body = await _body(request)
        question = asked_digest(self._asker(request), request.method, request.raw_path, body)
        if not self._broker.stopped and (granted := self._answers.granted(question)):
            self._journal.passed({**self._line(request, verdict), "granted": granted})
            return await self._pass(request, verdict, body)
        # What cannot be read cannot be shown.
        parse_body(request.headers.get("Content-Type", ""), body)
        asked = _verbatim(request, verdict, body.decode(), forwarded(request, rewritten=False))
        held = await self._decided(request, verdict, asked)
        if held.state is ProposalState.APPLIED:
            self._answers.grant(question, held.proposal.id)
        return await self._deliver(request, held)

    async def _deliver(self, request: web.BaseRequest, held: Held) -> web.StreamResponse:
        opened = held.answer.opened if held.answer is not None else None
        return await self._tunnels.run(request, opened) if opened is not None else _answer(held)

    async def _decided(self, request: web.BaseRequest, verdict: Verdict, asked: Prepared) -> Held:
        """Hold a request until it has an end, and return what became of it; a client that goes away takes it back."""
        held = await self._broker.propose(verdict, asked, await self._origin(request), "", own=False)
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
            self._tunnels.forget(self._closed_unseen(last))
            raise
        return held

    async def _closed_unseen(self, held: Held) -> None:
        # It may be opening just now: a session that nobody is there to use must not stay open.
        await held.done.wait()
        if held.answer is not None and held.answer.opened is not None:
            await held.answer.opened.close()

    async def _give_up(self, held: Held) -> None:
        if self._broker.give_up(held) is ProposalState.SENDING:
            await held.done.wait()

    async def _pass(self, request: web.BaseRequest, verdict: Verdict, body: bytes | None) -> web.StreamResponse:
        kind = parsed_kind(verdict.api)
        in_passing = streamed_env(verdict.api)
        headers = forwarded(request, rewritten=verdict.request_class is RequestClass.DRY_RUN and bool(body))
        if kind or in_passing:
            accept = json_accept(request.headers.get("Accept", ""))
            headers = [(k, v) for k, v in headers if k.lower() not in ("accept", "accept-encoding")]
            headers += [("Accept", accept), ("Accept-Encoding", "identity")]
        try:
            async with self._upstream.stream(request.method, request.raw_path, headers, body or None) as answer:
                if (kind or in_passing) and answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
                    raise await _unreadable(answer, "it is packed, though it was asked for as it is")
                if kind and verdict.verb != "watch":
                    return await self._redacted(answer, kind, request.method)
                return await self._streamed(request, answer, verdict, kind, in_passing)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise named(error) from error

    async def _redacted(self, answer: aiohttp.ClientResponse, kind: str, method: str) -> web.Response:
        data = await read_limited(answer, MAX_PARSED_ANSWER_BYTES)
        headers = returned(answer)
        if method == "HEAD" or not data:
            return web.Response(status=answer.status, headers=headers)
        if data.lstrip()[:1] == b"<":
            raise await _unreadable(answer, "it is not JSON", data)
        clean = await asyncio.to_thread(redact_body, self._redactor, data, kind)
        return web.Response(status=answer.status, headers=headers, body=clean)

    async def _streamed(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, verdict: Verdict, kind: str, in_passing: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=returned(answer))
        filtered: Any = None
        if kind:
            filtered = WatchRedactor(self._redactor, kind)
        elif in_passing and answer.headers.get("Content-Type", "").startswith("application/json"):
            watch = verdict.verb == "watch"
            filtered = _Lines(self._redactor, self._seen) if watch else EnvRedactor(self._redactor, self._seen)
        elif in_passing and answer.status == 200 and request.method != "HEAD":
            raise await _unreadable(answer, "it is not JSON")
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


async def _unreadable(answer: aiohttp.ClientResponse, why: str, data: bytes = b"") -> UpstreamError:
    """Return the error for an answer whose secret values cannot be taken out, with its beginning where it is a page."""
    data = data or await asyncio.wait_for(answer.content.read(_QUOTED_BYTES), FIRST_BYTE_SECONDS)
    shown = excerpt(data, answer.headers.get("Content-Type", ""))
    hint = "Its secret values could not be taken out."
    return UpstreamError("withheld", f"The answer was withheld: {why} ({shown}).", hint)


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


def _verbatim(request: web.BaseRequest, verdict: Verdict, body: str, carried: list[tuple[str, str]]) -> Prepared:
    kind = media_type(request.headers.get("Content-Type", "")) if body else ""
    return Prepared(request.method, verdict.path, verdict.query, kind, body, request.raw_path, tuple(carried))


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
