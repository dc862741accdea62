"""Kubernetes `Status` bodies: the only form in which a client of the API understands a refusal."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

# fmt: off
REASONS: Final = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 502: "InternalError",
    503: "ServiceUnavailable", 504: "Timeout",
}
# fmt: on


def status_body(code: int, message: str, cause: str = "") -> bytes:
    """Return a Failure Status (meta/v1); `cause` names our rule or the proposal for programs."""
    details = {"causes": [{"reason": "Pilothouse", "message": cause}]} if cause else {}
    return json.dumps(
        {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": REASONS.get(code, "Unknown"), "details": details, "code": code,
        }
    ).encode()  # fmt: skip


def success_body(message: str) -> bytes:
    """Return a Success Status (meta/v1), as the API server answers a delete."""
    return json.dumps(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "message": message}
    ).encode()


def refusal(code: int, message: str, cause: str = "") -> web.Response:
    """Return an answer with a Status body."""
    # kubectl retries a 429 or 503 that names no time of its own only with Retry-After, so there is none here.
    return web.Response(status=code, body=status_body(code, message, cause), content_type="application/json")
