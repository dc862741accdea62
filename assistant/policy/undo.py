"""The way back of a change: the inverse request with the before-image, or none, said in plain words."""

from __future__ import annotations

import json
from typing import Any, Final

from assistant.domain.action import Action
from assistant.domain.proposal import Undo
from assistant.domain.target import Target
from assistant.policy.api_path import ApiPath
from assistant.policy.patch import JSON_PATCH
from assistant.policy.redact import redact_object
from assistant.policy.removal import propagation
from assistant.policy.surroundings import Obj, Surroundings, at, controller_of

# A name that ends so is not known yet (generateName).
MADE_BY_SERVER: Final = "*"
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
    """Return the inverse of a change, from the object before and the dry run after.

    The way back of a patch names the values that it expects to find: where somebody changed one of them since, the
    server refuses it, so that nothing is overwritten unseen.
    """
    if around.kind == "Secret":
        return Undo("none: the old value of a Secret is not kept")
    if api.sub == "eviction" or (around.deleting and around.kind == "Pod"):
        owned = controller_of(around.live) is not None
        return Undo("not needed: its controller starts another pod" if owned else "none: the pod is not made again")
    if around.deleting:
        return _made_again(api, target, around)
    if around.live is None:
        return _taken_away(api, target, around)
    if around.after is None:
        return Undo("none: without a dry run the way back is not known")
    if api.sub not in ("", "scale"):
        return Undo(f"none: a change of {api.sub} has no way back")
    lost = set(at(around.live, "metadata", "finalizers", default=[])) - set(
        at(around.after, "metadata", "finalizers", default=[])
    )
    if lost and at(around.live, "metadata", "deletionTimestamp"):
        return Undo("none: without its finalizer the object is gone")
    return _patched_back(api, target, around.live, around.after)


def _taken_away(api: ApiPath, target: Target, around: Surroundings) -> Undo:
    if around.method == "POST" and api.sub:
        return Undo(f"none: a request for {api.sub} has no way back")
    if target.name.endswith(MADE_BY_SERVER):
        return Undo("none prepared: the server makes the name; afterwards the object can be deleted by it")
    name = api.name or target.name
    gone = Action("DELETE", f"{api.collection}/{name}", target)
    keeps = propagation(around.kind, api.api_version, {}, around.after)
    text = f"delete {target}" + (" (what it made stays behind)" if keeps == "Orphan" else "")
    return Undo(text, gone)


def _made_again(api: ApiPath, target: Target, around: Surroundings) -> Undo:
    if not api.name:
        return Undo("none: several objects at once are not brought back by one request")
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
    lost = "" if not around.dependents else ", and what goes with it is made anew by its controller"
    return Undo(f"create {target} again from its state before; it gets a new uid{lost}", action)


def _patched_back(api: ApiPath, target: Target, live: Obj, after: Obj) -> Undo:
    before, then = _own(live), _own(after)
    steps = inverse_steps(before, then)
    if not steps:
        return Undo("not needed: nothing changes")
    # Both sides are in it: the values to find, and the values to put back.
    sides = (inverse_patch(before, then), inverse_patch(then, before))
    if any(redact_object({**side, "kind": target.kind})[1] for side in sides):
        return Undo(_HOLDS_SECRETS)
    body = json.dumps(steps, separators=(",", ":"), ensure_ascii=False)
    text = f"set {target} back to its state before; refused where somebody changed the same fields since"
    return Undo(text, Action("PATCH", api.path, target, (), JSON_PATCH, body))


def _own(value: Obj) -> Obj:
    metadata = {k: v for k, v in at(value, "metadata", default={}).items() if k in ("labels", "annotations")}
    return {**{k: v for k, v in value.items() if k not in ("status", "apiVersion", "kind")}, "metadata": metadata}


def inverse_patch(before: Obj, after: Obj) -> Obj:
    """Return the JSON merge patch (RFC 7386) that turns `after` into `before`; applying it gives exactly `before`."""
    patch: Obj = {}
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


def inverse_steps(before: Obj, after: Obj, at_pointer: str = "") -> list[Obj]:
    """Return the JSON patch (RFC 6902) that turns `after` into `before`, with a test of each value it replaces.

    A field that the change took away has no value to test; that it is still absent shows in the diff of the undo.
    """
    steps: list[Obj] = []
    for key in [*before, *(k for k in after if k not in before)]:
        pointer = f"{at_pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
        if key not in after:
            steps.append({"op": "add", "path": pointer, "value": before[key]})
        elif key not in before:
            steps += [{"op": "test", "path": pointer, "value": after[key]}, {"op": "remove", "path": pointer}]
        elif isinstance(before[key], dict) and isinstance(after[key], dict):
            steps += inverse_steps(before[key], after[key], pointer)
        elif before[key] != after[key]:
            steps.append({"op": "test", "path": pointer, "value": after[key]})
            steps.append({"op": "replace", "path": pointer, "value": before[key]})
    return steps


def moved_since(operations: Any, live: Obj | None) -> list[tuple[str, Any, Any]]:
    """Return the tests of a JSON patch that the object as it is now does not pass: pointer, found, expected."""
    if not isinstance(operations, list):
        return []
    found = []
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("op") != "test":
            continue
        here: Any = live
        for raw in str(operation.get("path", "")).split("/")[1:]:
            part = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(here, list) and part.isdigit() and int(part) < len(here):
                here = here[int(part)]
            else:
                here = here.get(part) if isinstance(here, dict) else None
        if here != operation.get("value"):
            found.append((str(operation.get("path", "")), here, operation.get("value")))
    return found
