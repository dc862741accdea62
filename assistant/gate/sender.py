"""Sends one approved change and says what came of it: applied, failed, or not known. Never sends again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from assistant.domain.proposal import ProposalState
from assistant.errors import ClusterError
from assistant.gate.preview import Examined
from assistant.gate.upstream import Upstream, named, read_limited
from assistant.gate.wire_redaction import parsed_kind, redact_body
from assistant.policy.limits import MAX_PREVIEW_BYTES
from assistant.policy.redact import Redactor
from assistant.policy.surroundings import at


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending. `body` is the API server's answer as the client may see it."""

    state: ProposalState
    status: int = 0
    message: str = ""
    resource_version: str = ""
    body: bytes = b""
    content_type: str = "application/json"


class Sender:
    """The write path of one gate. In observe mode there is none of these."""

    def __init__(self, upstream: Upstream, redactor: Redactor) -> None:
        """Keep the way to the cluster."""
        self._upstream = upstream
        self._redactor = redactor

    async def send(self, examined: Examined, mark_sent: Callable[[], None]) -> Sent:
        """Send the request as prepared. Every way that this can end is a value."""
        prepared = examined.prepared
        status = 0
        answer = ""
        body = b""
        try:
            async with self._upstream.write(
                prepared.method, prepared.raw_target, prepared.headers, prepared.payload
            ) as response:
                status, answer = response.status, response.headers.get("Content-Type", "")
                mark_sent()
                body = await read_limited(response, MAX_PREVIEW_BYTES)
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError) as error:
            # Raised before a connection stood, so not a byte of the request has left.
            return Sent(ProposalState.FAILED, message=f"Nothing was sent: {named(error).meaning}")
        except aiohttp.ConnectionTimeoutError as error:
            return Sent(ProposalState.FAILED, message=f"Nothing was sent: {named(error).meaning}")
        except (aiohttp.ClientError, TimeoutError, OSError, ClusterError) as error:
            meaning = error.meaning if isinstance(error, ClusterError) else named(error).meaning
            if 200 <= status < 300:
                return Sent(ProposalState.APPLIED, status, f"Applied, but the answer was not whole: {meaning}")
            if 400 <= status < 500:
                return Sent(ProposalState.FAILED, status, f"The API server refused it: {meaning}")
            text = f"It was sent, and whether it took effect is not known: {meaning}"
            return Sent(ProposalState.UNKNOWN, status, text)
        return self._read(examined, status, answer, body)

    def _read(self, examined: Examined, status: int, content_type: str, body: bytes) -> Sent:
        kind = parsed_kind(examined.verdict.api)
        try:
            value = json.loads(body) if body else {}
            shown = redact_body(self._redactor, body, kind) if kind and body else body
        except (ValueError, ClusterError):
            value, shown = {}, b""
        value = value if isinstance(value, dict) else {}
        message = self._redactor.text(str(at(value, "message", default="")))[0][:1000]
        version = str(at(value, "metadata", "resourceVersion", default=""))
        if 200 <= status < 300:
            return Sent(ProposalState.APPLIED, status, "Applied.", version, shown, content_type)
        if status == 409:
            text = f"It changed since you looked; nothing was changed. {message}".strip()
            return Sent(ProposalState.FAILED, status, text, "", shown, content_type)
        if status == 429:
            text = f"The API server asked to wait; it was not sent again. {message}".strip()
            return Sent(ProposalState.FAILED, status, text, "", shown, content_type)
        if 400 <= status < 500:
            text = f"The API server refused it. {message}".strip()
            return Sent(ProposalState.FAILED, status, text, "", shown, content_type)
        text = f"The API server answered with HTTP {status}; whether it took effect is not known. {message}".strip()
        return Sent(ProposalState.UNKNOWN, status, text, "", shown, content_type)
