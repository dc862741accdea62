"""The way back of a change: the inverse request with the before-image, or none, said in plain words."""

from __future__ import annotations

import json
from typing import Any, Final

from assistant.domain.action import Action
from assistant.domain.proposal import Undo
from assistant.domain.target import Target
from assistant.policy.api_path import ApiPath
from assistant.policy.impact import Surroundings, at
from assistant.policy.redact import redact_object

_MERGE: Final = "application/merge-patch+json"
_BOOKKEEPING: Final = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
]
# Kinds that are their own declaration: made again from the before-image they are as they were.
_DECLARED: Final = frozenset(
    [
        "ConfigMap",
        "Service",
        "Deployment",
        "DaemonSet",
        "CronJob",
        "Ingress",
        "NetworkPolicy",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "ResourceQuota",
        "LimitRange",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "PriorityClass",
        "HTTPRoute",
        "GRPCRoute",
        "Gateway",
    ]
)
_HOLDS_SECRETS: Final = "none: the before-image holds values that look secret, so it is not kept"


def undo_of(api: ApiPath, target: Target, around: Surroundings) -> Undo:
    """Return the inverse of a change, from the object before and the dry run after."""
    if around.kind == "Secret":
        return Undo("none: the old value of a Secret is not kept")
    if api.sub == "eviction" or (around.deleting and around.kind == "Pod"):
        owned = bool(at(around.live, "metadata", "ownerReferences"))
        return Undo("not needed: its controller starts another pod" if owned else "none: the pod is not made again")
    if around.deleting:
        return _made_again(api, target, around)
    if around.live is None:
        if around.method == "POST" and not api.sub and target.name:
            gone = Action("DELETE", f"{api.collection}/{target.name}", target)
            return Undo(f"delete {target}", gone)
        return Undo("none: the object does not exist yet")
    if around.after is None:
        return Undo("none: without a dry run the way back is not known")
    if api.sub not in ("", "scale"):
        return Undo(f"none: a change of {api.sub} has no way back")
    return _patched_back(api, target, around.live, around.after)


def _made_again(api: ApiPath, target: Target, around: Surroundings) -> Undo:
    if around.live is None or around.kind not in _DECLARED:
        return Undo(f"none: a deleted {around.kind} cannot be brought back as it was")
    image = {key: value for key, value in around.live.items() if key != "status"}
    metadata = {k: v for k, v in image.get("metadata", {}).items() if k not in _BOOKKEEPING}
    image["metadata"] = metadata
    image.setdefault("apiVersion", target.api_version)
    image.setdefault("kind", target.kind)
    if redact_object(image)[1]:
        return Undo(_HOLDS_SECRETS)
    body = json.dumps(image, separators=(",", ":"), ensure_ascii=False)
    action = Action("POST", api.collection, target, (), "application/json", body)
    return Undo(f"create {target} again from its state before; it gets a new uid", action)


def _patched_back(api: ApiPath, target: Target, live: dict[str, Any], after: dict[str, Any]) -> Undo:
    patch = inverse_patch(_own(live), _own(after))
    if not patch:
        return Undo("not needed: nothing changes")
    if redact_object({**patch, "kind": target.kind})[1]:
        return Undo(_HOLDS_SECRETS)
    body = json.dumps(patch, separators=(",", ":"), ensure_ascii=False)
    return Undo(f"set {target} back to its state before", Action("PATCH", api.path, target, (), _MERGE, body))


def _own(value: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in at(value, "metadata", default={}).items() if k in ("labels", "annotations")}
    return {**{k: v for k, v in value.items() if k not in ("status", "apiVersion", "kind")}, "metadata": metadata}


def inverse_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that turns `after` into `before`; applying it gives exactly `before`."""
    patch: dict[str, Any] = {}
    for key in [*before, *(k for k in after if k not in before)]:
        if key not in before:
            patch[key] = None
        elif key not in after:
            patch[key] = before[key]
        elif isinstance(before[key], dict) and isinstance(after[key], dict):
            inner = inverse_patch(before[key], after[key])
            if inner:
                patch[key] = inner
        elif before[key] != after[key]:
            patch[key] = before[key]
    return patch
