"""The API server's way to say no: `Status` objects with the texts and shapes of the real one."""

from __future__ import annotations

from typing import Any

from assistant.cluster.server.catalog import Resource

Cause = dict[str, str]


class ApiError(Exception):
    """A failure that is answered as a `Status` object with the HTTP status `code`."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        *,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Keep the parts of the Status; `details` None leaves the field away."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.meta = meta or {}

    def status(self) -> dict[str, Any]:
        """Return the body of the answer."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.meta,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


def details(resource: Resource, name: str = "", causes: list[Cause] | None = None, *, kind: str = "") -> dict[str, Any]:
    """Return the `details` of a Status: name, group and kind (which is the resource's name, except for 422)."""
    made: dict[str, Any] = {}
    if name:
        made["name"] = name
    if resource.group:
        made["group"] = resource.group
    made["kind"] = kind or resource.name
    if causes:
        made["causes"] = causes
    return made


def bad_request(message: str) -> ApiError:
    """400: the request itself cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: the token is not ours."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403: understood and refused."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details(resource, name))


def not_found(resource: Resource, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', details(resource, name))


def no_such_path() -> ApiError:
    """404 for a path that nothing serves; the answer is plain text and not a Status."""
    return ApiError(404, "", "404 page not found")


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_acceptable(offered: str) -> ApiError:
    """406."""
    return ApiError(406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {offered}", {})


def exists(resource: Resource, name: str) -> ApiError:
    """409: an object with that name is there."""
    return ApiError(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409: the caller's view of the object is out of date."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details(resource, name))


def expired(message: str, continue_token: str = "") -> ApiError:
    """410: that version of the list is not kept any more."""
    return ApiError(410, "Expired", message, meta={"continue": continue_token} if continue_token else None)


def unsupported_media(offered: str) -> ApiError:
    """415."""
    text = f"the body of the request was in an unknown format - accepted media types include: {offered}"
    return ApiError(415, "UnsupportedMediaType", text)


def invalid(resource: Resource, name: str, causes: list[Cause]) -> ApiError:
    """422 with one cause a field; the message lists them the way apimachinery joins errors."""
    parts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    message = f'{kind} "{name}" is invalid: {text}'
    return ApiError(422, "Invalid", message, details(resource, name, causes, kind=resource.kind))


def too_large_version(wanted: int, current: int) -> ApiError:
    """504 as the watch cache answers it for a version from the future."""
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def success(resource: Resource, name: str, uid: str) -> dict[str, Any]:
    """Return the Status of a delete that left nothing behind."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**details(resource, name), "uid": uid},
    }
