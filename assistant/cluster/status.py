"""What an answer that is no good means: the API server's Status, the gate's own refusals, pages of a proxy in between.

Apart from the client, because this is the reading of the answer and that is the way to get it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from assistant.errors import ClusterError, ForbiddenError, NotFoundError
from assistant.policy.limits import QUOTED_CHARACTERS
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe

MEANINGS: Final = {
    400: ("The API server did not understand the request.", "This is a fault of ours or of a proxy in between."),
    401: ("The cluster does not accept these credentials: login needed.", "Log in to the cluster again, then retry."),
    403: ("This identity may not read that.", "Ask for read access, or continue without that kind."),
    404: ("The object or kind does not exist.", "Check the name and the namespace."),
    410: ("The list changed while it was being read.", "Read it again."),
    429: ("The API server is overloaded and asked us to wait.", "Wait a moment, then retry."),
    500: ("The API server failed inside.", "Look at the API server's own log."),
    502: ("Something between us and the API server failed.", "Check proxies and load balancers in between."),
    503: ("The API server or an aggregated API behind it is not available.", "Check the APIService or wait."),
    504: ("The API server did not answer in time.", "Wait a moment, then retry."),
}
_SAID_CHARACTERS: Final = 2000
PASSING: Final = frozenset({"upstream-closed", "upstream-cut", "upstream-unreachable"})
"""Causes that the gate gives for failures of the connection that may be over at the next try (gate/failures.py)."""


class ExpiredError(ClusterError):
    """The list's continue token has expired (410); the list has to be read again."""

    code = "expired"


class TooLargeError(ClusterError):
    """An answer is larger than may be kept in memory; nothing of it was kept."""

    code = "too-large"


class BrokenOffError(ClusterError):
    """The connection broke before the answer was whole; reading again may succeed."""

    code = "broken-off"


class GateLostError(ClusterError):
    """Nobody listens at the gate's address any more: its process has ended."""

    code = "gate-lost"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; `cut` says that there was more of it than was wanted."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    cut: bool = False

    @property
    def cause(self) -> str:
        """Return the gate's own cause when the gate itself refused, "" when the answer is the API server's."""
        body = _object(self.data)
        details = body.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        first = causes[0] if isinstance(causes, list) and causes else None
        own = isinstance(first, dict) and first.get("reason") == "Pilothouse"
        return str(first.get("message") or "") if own and isinstance(first, dict) else ""


def quoted(data: bytes, content_type: str = "") -> str:
    """Return the beginning of an answer that makes no sense, without secrets and control characters, for people."""
    text = " ".join(safe(data[: 8 * QUOTED_CHARACTERS].decode("utf-8", "replace")).split())
    shown = redact_text(text)[0][:QUOTED_CHARACTERS]
    what = f"{safe(content_type.split(';')[0].strip())[:60]}, " if content_type else ""
    return f"{what}{len(data)} bytes, beginning: {shown}" if shown else f"{what}{len(data)} bytes"


def error_of(reply: Reply) -> ClusterError:
    """Return the typed error for a status that is not 200, with the server's own message as detail."""
    status = reply.status
    message = str(_object(reply.data).get("message") or "")
    if reply.cause and message:
        # The gate's sentence says what happened and what to do; there is no better one here.
        kind = ForbiddenError if status == 403 else ClusterError
        return kind(str(safe(message))[:_SAID_CHARACTERS])
    if 300 <= status < 400:
        where = quoted(reply.headers.get("Location", "").encode())
        text = "The answer is a redirection to another address, which is not followed."
        return ClusterError(text, "Check the address of the cluster; a login page may stand in between.", detail=where)
    meaning, hint = MEANINGS.get(status, (f"The API server answered with status {status}.", "See the detail."))
    kind = {403: ForbiddenError, 404: NotFoundError, 410: ExpiredError}.get(status, ClusterError)
    said = str(safe(message))[:_SAID_CHARACTERS] or quoted(reply.data, reply.headers.get("Content-Type", ""))
    return kind(meaning, hint, detail=said)


def not_json(reply: Reply, what: str = "The answer is not JSON.") -> ClusterError:
    """Return the error for a body that is no JSON object, with its beginning."""
    detail = quoted(reply.data, reply.headers.get("Content-Type", ""))
    return ClusterError(what, "Something in between may have changed it.", detail=detail)


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > 1024 * 1024 or data.lstrip()[:1] != b"{":
        return {}
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return body if isinstance(body, dict) else {}
