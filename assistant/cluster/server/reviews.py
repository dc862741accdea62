"""Access reviews and the identity review: virtual creates that ask something and store nothing."""

from __future__ import annotations

from typing import Any

from assistant.cluster.server.clock import stamp
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object
from assistant.cluster.server.rights import Attempt, User, allowed, impersonated, rules_review
from assistant.cluster.server.status import ApiError, bad_request

REVIEWS = frozenset(
    {
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
    }
)


def review(cluster: Cluster, name: str, user: User, body: Object, namespace: str) -> Object:
    """Answer one review. Raises ApiError 400 or 422 for a request that asks nothing."""
    spec = body.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    head: Object = {"kind": body.get("kind"), "apiVersion": body.get("apiVersion"), "metadata": {}}
    match name:
        case "selfsubjectreviews":
            info = {"username": user.name, "groups": list(user.groups)}
            head["metadata"] = {"creationTimestamp": stamp(cluster.clock.now())}
            return {**head, "status": {"userInfo": info}}
        case "selfsubjectrulesreviews":
            if not spec.get("namespace"):
                raise bad_request("no namespace on request")
            return {**head, "spec": {}, "status": rules_review(cluster, user, str(spec["namespace"]))}
        case "tokenreviews":
            return {**head, "spec": {}, "status": {"user": {}, "error": "a recorded cluster knows no tokens"}}
        case "subjectaccessreviews" | "localsubjectaccessreviews":
            if not spec.get("user") and not spec.get("groups"):
                raise _invalid(str(body.get("kind")), "spec.user", "at least one of user or group must be specified")
            user = impersonated(str(spec.get("user", "")), [str(group) for group in spec.get("groups") or []])
        case _:
            pass
    attempt = _attempt(spec, str(body.get("kind")), namespace)
    answer, why = allowed(cluster, user, attempt)
    status: dict[str, Any] = {"allowed": answer}
    if why:
        status["reason"] = why
    return {**head, "spec": spec, "status": status}


def _attempt(spec: Object, kind: str, namespace: str) -> Attempt:
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(asked, dict) == isinstance(path, dict):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(kind, "spec.resourceAttributes", why)
    if isinstance(path, dict):
        return Attempt(str(path.get("verb", "")), path=str(path.get("path", "")))
    assert isinstance(asked, dict)  # noqa: S101 (the two lines above leave nothing else)
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    values = {name: str(asked.get(name) or "") for name in names}
    values["namespace"] = values["namespace"] or namespace
    return Attempt(**values)


def _invalid(kind: str, field: str, why: str) -> ApiError:
    message = f"Invalid value: null: {why}"
    group_kind = f"{kind}.authorization.k8s.io"
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": field}]
    details = {"group": "authorization.k8s.io", "kind": kind, "causes": causes}
    return ApiError(422, "Invalid", f'{group_kind} "" is invalid: {field}: {message}', details)
