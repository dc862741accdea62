"""Failures on the way to the API server as what they mean: the phase, the time that went by, and what to do.

Apart from `upstream`, which makes the requests: this only names what came of them.
"""

from __future__ import annotations

import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import yarl

from assistant.errors import ClusterError
from assistant.policy.limits import CLOCK_SKEW_SECONDS, QUOTED_CHARACTERS
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe

# Verification codes of OpenSSL (x509_vfy.h), in its own words elsewhere.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset({62, 64})


class UpstreamError(ClusterError):
    """The API server was not reached, or did not answer as one. `status` is the HTTP status for a waiting client."""

    def __init__(self, code: str, meaning: str, hint: str, *, detail: str = "", status: int = 502) -> None:
        """Keep the texts; `code` is the cause that clients of the gate can tell apart."""
        super().__init__(meaning, hint, detail=detail)
        self.code = code
        self.status = status


class NotSentError(UpstreamError):
    """The request never left: there were no credentials for it."""


@dataclass(slots=True)
class Progress:
    """How far one request has come. Phases: name look-up, connection, TLS handshake, answer."""

    phase: str = "connection"
    began: float = field(default_factory=time.monotonic)

    def enter(self, phase: str) -> None:
        """Begin a phase; its time counts from now."""
        self.phase, self.began = phase, time.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long the phase has lasted."""
        return time.monotonic() - self.began


PROGRESS: Final[ContextVar[Progress | None]] = ContextVar("progress", default=None)
"""The request that this task is making; shared with the tasks that it starts for it."""


def enter(phase: str) -> None:
    """Note the phase of the request that is being made."""
    if (progress := PROGRESS.get()) is not None:
        progress.enter(phase)


def tracing() -> aiohttp.TraceConfig:
    """Return what notes the phases that aiohttp tells; the TLS handshake is noted by `NotingContext`."""
    trace = aiohttp.TraceConfig()

    def note(phase: str) -> Any:
        async def noted(session: object, context: object, params: object) -> None:
            enter(phase)

        return noted

    trace.on_dns_resolvehost_start.append(note("name look-up"))
    trace.on_dns_resolvehost_end.append(note("connection"))
    trace.on_connection_create_end.append(note("answer"))
    trace.on_connection_reuseconn.append(note("answer"))
    return trace


class NotingContext(ssl.SSLContext):
    """Notes when the TLS handshake begins, which is when the connection stands."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS over memory, as asyncio does."""
        enter("TLS handshake")
        return super().wrap_bio(*args, **options)


def named(error: BaseException) -> ClusterError:
    """Return a transport failure as what it means."""
    if isinstance(error, ClusterError):
        return error
    detail = str(safe(f"{type(error).__name__}: {error}"[:300]))
    match error:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return _distrusted(error, detail)
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return UpstreamError(
                "upstream-tls", "The API server does not speak TLS as it should.",
                "Check the address and port, and what stands in between.", detail=detail,
            )  # fmt: skip
        case aiohttp.ClientConnectorDNSError():
            text = "The API server's name cannot be resolved."
            return UpstreamError("upstream-name", text, "Check the network or VPN.", detail=detail)
        case aiohttp.ClientConnectorError():
            text = "The API server cannot be reached: nothing listens there, or the way is closed."
            return UpstreamError("upstream-unreachable", text, "Check the network, VPN and address.", detail=detail)
        case TimeoutError():
            return _too_slow(detail)
        case aiohttp.ClientPayloadError():
            return UpstreamError("upstream-cut", "The API server's answer was cut off.", "Try again.", detail=detail)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | ConnectionError():
            text = "The API server closed the connection before it answered."
            return UpstreamError("upstream-closed", text, "Try again.", detail=detail)
        case _:
            text = "The API server's answer is not proper HTTP."
            return UpstreamError("upstream-not-http", text, "Check what listens there.", detail=detail)


def _distrusted(error: BaseException, detail: str) -> UpstreamError:
    inner = getattr(error, "certificate_error", error)
    code = getattr(inner, "verify_code", 0)
    if code == _EXPIRED:
        what, hint = "has expired", "Have it renewed; if it is new, check this machine's clock."
    elif code == _NOT_YET_VALID:
        what, hint = "is not valid yet", "Check this machine's clock, then the certificate."
    elif code in _OTHER_NAME:
        what, hint = "is for another name", "Check the address in the kubeconfig, or its tls-server-name."
    else:
        what = "is not signed by the authority of this context"
        hint = "Find out who answers at this address before anything else; get the new authority from who runs it."
    return UpstreamError("upstream-certificate", f"The API server's certificate {what}.", hint, detail=detail)


def _too_slow(detail: str) -> UpstreamError:
    progress = PROGRESS.get()
    phase, seconds = (progress.phase, progress.seconds) if progress else ("answer", 0.0)
    spent = f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    what = {
        "name look-up": "its name was not resolved",
        "connection": "no connection was made",
        "TLS handshake": "the connection stands, but the TLS handshake did not end",
    }.get(phase, "the request was made, but the answer did not come or did not end")
    text = f"The API server did not answer in time: {what} in {spent}."
    code = {"answer": "upstream-answer-timeout"}.get(phase, "upstream-connect-timeout")
    return UpstreamError(code, text, "Try again, or check the network.", detail=detail, status=504)


def login_needed(context: str, why: str) -> UpstreamError:
    """Return the error for credentials that do not work any more, with the command that asks for new ones."""
    hint = f"Log in again, for example: kubectl --context {safe(context)} auth whoami"
    return UpstreamError("login-needed", f"Login needed: {why}.", hint, status=401)


def redirected(location: str, server: str) -> UpstreamError:
    """Return the error for a redirection. It is not followed, because what follows would get the credentials."""
    there = yarl.URL(str(safe(location.split("?")[0]))[:QUOTED_CHARACTERS])
    where = f"{there.scheme}://{there.authority}" if there.host else "another path"
    text = f"The API server's address answers with a redirection to {where}, which is not followed."
    return UpstreamError("upstream-redirect", text, f"Check {server}; a login page may stand in between.")


def excerpt(body: bytes, content_type: str) -> str:
    """Return the beginning of an answer that is no API object, safe to show; nothing of what may be one."""
    text = body[: 8 * QUOTED_CHARACTERS].decode("utf-8", "replace").strip()
    what = str(safe(content_type.split(";")[0].strip()))[:60] or "no content type"
    if not text.startswith("<"):
        return f"{what}, {len(body)} bytes"
    return f"{what}, beginning: {redact_text(' '.join(safe(text).split()))[0][:QUOTED_CHARACTERS]}"


def skew_note(date: str, now: float) -> str:
    """Return a sentence when the server's Date header and our clock (seconds since 1970) are far apart, else ""."""
    try:
        ahead = parsedate_to_datetime(date).timestamp() - now
    except (TypeError, ValueError, IndexError, OverflowError):
        return ""
    if abs(ahead) < CLOCK_SKEW_SECONDS:
        return ""
    word = "ahead of" if ahead > 0 else "behind"
    minutes = abs(ahead) / 60
    far = (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.0f} h"
        if minutes < 2880
        else f"{minutes / 1440:.0f} days"
    )
    text = f"The API server's clock is {far} {word} this machine's"
    return f"{text}: tokens and certificates may count as expired or not yet valid, and ages here are wrong by that."
