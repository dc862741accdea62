"""Sends one approved change and says what came of it: applied, failed, or not known. Never sends again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import aiohttp

from assistant.domain.action import RequestClass
from assistant.domain.proposal import ProposalState
from assistant.errors import ClusterError
from assistant.gate.facts import ask
from assistant.gate.failures import NotSentError, excerpt, login_needed, named, redirected
from assistant.gate.prepare import Prepared
from assistant.gate.preview import Examined
from assistant.gate.tunnel import Opened
from assistant.gate.upstream import Upstream, read_limited
from assistant.gate.wire_redaction import parsed_kind, redact_body
from assistant.policy.connect import read_upgrade
from assistant.policy.limits import MAX_PREVIEW_BYTES, SEND_SECONDS
from assistant.policy.redact import Redactor
from assistant.policy.retry import BUSY, asked_seconds, refused_by_budget, spoken
from assistant.policy.sanitize import safe
from assistant.policy.surroundings import at

# Raised before a connection stood, so not a byte of the request has left.
_NOT_CONNECTED: Final = (
    NotSentError,
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorDNSError,
    aiohttp.ConnectionTimeoutError,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending. `body` is the API server's answer as the client may see it.

    `opened` is set where the answer is not read here: a session, or an answer that streams to the client as it is.
    """

    state: ProposalState
    status: int = 0
    message: str = ""
    resource_version: str = ""
    body: bytes = b""
    content_type: str = "application/json"
    opened: Opened | None = None


class Sender:
    """The write path of one gate. In observe mode there is none of these."""

    def __init__(self, upstream: Upstream, redactor: Redactor) -> None:
        """Keep the way to the cluster."""
        self._upstream = upstream
        self._redactor = redactor

    async def send(self, examined: Examined, mark_sent: Callable[[], None]) -> Sent:
        """Send the request as prepared. Every way that this can end is a value; what is unknown is looked at once."""
        if examined.prepared.raw:
            # What a session did to an object, if it did, cannot be told from the object.
            return await self._open(examined, mark_sent)
        sent = await self._send(examined, mark_sent)
        if sent.state is not ProposalState.UNKNOWN:
            return sent
        return replace(sent, message=f"{sent.message} {await self._seen(examined)}")

    async def _send(self, examined: Examined, mark_sent: Callable[[], None]) -> Sent:
        prepared = examined.prepared
        status = 0
        headers: Mapping[str, str] = {}
        body = b""
        try:
            async with self._upstream.write(
                prepared.method, prepared.raw_target, prepared.headers, prepared.payload
            ) as response:
                status, headers = response.status, response.headers
                mark_sent()
                body = await read_limited(response, MAX_PREVIEW_BYTES)
        except _NOT_CONNECTED as error:
            failure = named(error)
            return Sent(ProposalState.FAILED, message=f"Nothing was sent: {failure.meaning} {failure.hint}")
        except (aiohttp.ClientError, TimeoutError, OSError, ClusterError) as error:
            failure = named(error)
            meaning = failure.meaning
            if failure.code == "upstream-connect-timeout" and not status:
                # The time for all of it was up while there was no connection yet.
                return Sent(ProposalState.FAILED, message=f"Nothing was sent: {meaning} {failure.hint}")
            if 200 <= status < 300:
                return Sent(ProposalState.APPLIED, status, f"Applied, but the answer was not whole: {meaning}")
            if 400 <= status < 500:
                return Sent(ProposalState.FAILED, status, f"The API server refused it: {meaning}")
            text = f"It was sent, and whether it took effect is not known: {meaning}"
            return Sent(ProposalState.UNKNOWN, status, text)
        return self._read(examined, status, headers, body)

    async def _open(self, examined: Examined, mark_sent: Callable[[], None]) -> Sent:
        """Send a request in the client's own bytes and leave its answer to be streamed."""
        prepared = examined.prepared
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    response = await stack.enter_async_context(
                        self._upstream.write(
                            prepared.method, prepared.raw_target, prepared.carried, prepared.payload, lasting=True
                        )
                    )
            except _NOT_CONNECTED as error:
                failure = named(error)
                return Sent(ProposalState.FAILED, message=f"Nothing was sent: {failure.meaning} {failure.hint}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = named(error)
                if failure.code == "upstream-connect-timeout":
                    text = f"Nothing was sent: {failure.meaning} {failure.hint}"
                    return Sent(ProposalState.FAILED, message=text)
                text = f"It was sent, and whether it took effect is not known: {failure.meaning}"
                return Sent(ProposalState.UNKNOWN, message=text)
            mark_sent()
            state, message, whole = _opening(examined, prepared, response)
            if not whole:
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        body = await read_limited(response, MAX_PREVIEW_BYTES)
                except (aiohttp.ClientError, TimeoutError, OSError, ClusterError):
                    body = b""
                kind = response.headers.get("Content-Type", "")
                return Sent(state, response.status, message, body=body, content_type=kind)
            opened = Opened(response, stack.pop_all(), examined.proposal.id)
            return Sent(state, response.status, message, opened=opened)

    def _read(self, examined: Examined, status: int, headers: Mapping[str, str], body: bytes) -> Sent:
        kind = parsed_kind(examined.verdict.api)
        content_type = headers.get("Content-Type", "")
        try:
            value = json.loads(body) if body else {}
            shown = redact_body(self._redactor, body, kind) if kind and body else body
        except (ValueError, ClusterError):
            value, shown = {}, b""
        said = value if isinstance(value, dict) else {}
        message = str(safe(self._redactor.text(str(at(said, "message", default="")))[0][:1000]))
        version = str(at(said, "metadata", "resourceVersion", default=""))
        if 200 <= status < 300:
            if body and not said:
                text = (
                    f"The API server says that it took it, but its answer is no object ({excerpt(body, content_type)})."
                )
                return Sent(ProposalState.UNKNOWN, status, text)
            return Sent(ProposalState.APPLIED, status, "Applied.", version, shown, content_type)
        if body and not said and not message:
            message = f"The answer: {excerpt(body, content_type)}."
        if 400 <= status < 500:
            text = f"{_refused(status, headers, said, self._upstream.context)} {message}".strip()
            return Sent(ProposalState.FAILED, status, text, "", shown, content_type)
        if 300 <= status < 400:
            message = redirected(headers.get("Location", ""), self._upstream.server).meaning
        text = f"The API server answered with HTTP {status}; whether it took effect is not known. {message}".strip()
        return Sent(ProposalState.UNKNOWN, status, text, "", shown, content_type)

    async def _seen(self, examined: Examined) -> str:
        """Say what the object is like right after a change whose end is not known; it stays unknown all the same."""
        before = examined.proposal.resource_version
        if not examined.live_target:
            return "It has no name that could be looked for."
        try:
            status, now = await ask(self._upstream, "GET", examined.live_target)
        except ClusterError as error:
            return f"The object could not be read again: {error.meaning}"
        if status == 404:
            return "Read again: there is no such object" + (" any more." if before else "; it was not made so far.")
        if status != 200:
            return f"The object could not be read again (HTTP {status})."
        after = str(at(now, "metadata", "resourceVersion", default=""))
        if before == after:
            return f"Read again: the object is as it was, resourceVersion {before}."
        return (
            f"Read again: the object has changed, resourceVersion {before or 'none'} -> {after}; look whether by this."
        )


def _opening(
    examined: Examined, prepared: Prepared, response: aiohttp.ClientResponse
) -> tuple[ProposalState, str, bool]:
    """Return the state, the sentence for it, and whether the answer is the client's to have as it streams."""
    status = response.status
    if examined.verdict.request_class is RequestClass.SENSITIVE:
        if status < 500:
            return ProposalState.APPLIED, f"Read (HTTP {status}); nothing changed.", True
        return ProposalState.FAILED, f"The API server answered with HTTP {status}; nothing changed.", True
    switching = bool(read_upgrade(prepared.carried))
    if status == 101 and switching and response.connection is not None:
        return ProposalState.APPLIED, "The session was opened.", True
    if not switching and status != 101:
        said = f"It answered with HTTP {status}."
        if status < 400:
            return ProposalState.APPLIED, said, True
        return (ProposalState.FAILED if status < 500 else ProposalState.UNKNOWN), said, True
    if 400 <= status < 500:
        return ProposalState.FAILED, f"The API server did not open the session (HTTP {status}).", False
    text = f"The API server answered with HTTP {status} and opened no session; whether anything ran is not known."
    return ProposalState.UNKNOWN, text, False


def _refused(status: int, headers: Mapping[str, str], said: object, context: str) -> str:
    if status == 409:
        return "It changed since you looked; nothing was changed."
    if status == 401:
        error = login_needed(context, "the API server does not accept the credentials of this context")
        return f"Nothing was changed. {error.meaning} {error.hint}"
    if status == BUSY and not refused_by_budget(said):
        asked = asked_seconds(headers.get("Retry-After", ""), headers.get("Date", ""), datetime.now(UTC))
        how_long = f" {spoken(asked)}" if asked else ""
        return f"The API server asked to wait{how_long}; nothing was changed, and it is not sent again."
    return "The API server refused it."
