"""The kubectl command line that would do the same, for people to check and to copy; never run by us."""

from __future__ import annotations

import json
import shlex
from typing import Any

from assistant.domain.action import Action
from assistant.policy.api_path import read_path

_PATCH_TYPES = {
    "application/strategic-merge-patch+json": "strategic",
    "application/merge-patch+json": "merge",
    "application/json-patch+json": "json",
}
_INLINE_BYTES = 2000


def kubectl_line(action: Action, body: Any) -> str:
    """Return the command for an action whose parsed body is `body`; `kubectl --raw` where no better form exists."""
    api = read_path(action.path)
    if api is None or not api.resource:
        return f"kubectl {action.method.lower()} --raw {shlex.quote(action.path)}"
    place = ["-n", api.namespace] if api.namespace and api.resource != "namespaces" else []
    kind = f"{api.resource}.{api.group}" if api.group and "." in api.group else api.resource
    thing = f"{kind}/{api.name}"
    special = _special(action, api.sub, api.resource, body)
    match action.method:
        case "DELETE" if api.name:
            words = ["kubectl", *place, "delete", thing, *_delete_options(body)]
        case "DELETE":
            words = ["kubectl", *place, "delete", kind, "--all"]
        case "PATCH" if special:
            words = ["kubectl", *place, *special, thing, *_special_tail(special, body)]
        case "PATCH" if action.content_type.startswith("application/apply-patch"):
            words = ["kubectl", *place, "apply", "--server-side", "-f", "-"]
        case "PATCH":
            sub = [f"--subresource={api.sub}"] if api.sub else []
            patch = _PATCH_TYPES.get(action.content_type, "merge")
            text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            shown = text if len(text) <= _INLINE_BYTES else "(see the diff)"
            words = ["kubectl", *place, "patch", thing, *sub, f"--type={patch}", "-p", shown]
        case "POST" if api.sub == "eviction":
            return f"kubectl create --raw {shlex.quote(action.path)} -f -"
        case "POST" if not api.sub:
            words = ["kubectl", *place, "create", "-f", "-"]
        case "PUT" if not api.sub:
            words = ["kubectl", *place, "replace", "-f", "-"]
        case _:
            words = ["kubectl", "replace" if action.method == "PUT" else "create", "--raw", action.path, "-f", "-"]
    return " ".join(shlex.quote(word) for word in words)


def _special(action: Action, sub: str, resource: str, body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    if sub == "scale" or (not sub and resource in ("deployments", "statefulsets", "replicasets")):
        spec = body.get("spec")
        if _only(body, "spec") and isinstance(spec, dict) and set(spec) == {"replicas"}:
            return ["scale"]
    images = set_images(body)
    return ["set", "image"] if images and not sub and action.content_type.endswith("strategic-merge-patch+json") else []


def _special_tail(special: list[str], body: Any) -> list[str]:
    if special == ["scale"]:
        return [f"--replicas={body['spec']['replicas']}"]
    return [f"{name}={image}" for name, image in set_images(body)]


def set_images(body: Any) -> list[tuple[str, str]]:
    """Return the container images that a patch sets, if that is all it does."""
    try:
        spec = body["spec"]["template"]["spec"]
        if not (
            _only(body, "spec") and set(body["spec"]) == {"template"} and set(body["spec"]["template"]) == {"spec"}
        ):
            return []
        containers = spec["containers"]
        if set(spec) - {"$setElementOrder/containers"} != {"containers"}:
            return []
        if any(set(item) != {"name", "image"} for item in containers):
            return []
        return [(str(item["name"]), str(item["image"])) for item in containers]
    except (KeyError, TypeError):
        return []


def _only(body: dict[str, Any], key: str) -> bool:
    # Preconditions that the gate adds are no part of what the person wants.
    rest = {k: v for k, v in body.items() if k not in ("apiVersion", "kind")}
    metadata = rest.pop("metadata", {})
    plain = isinstance(metadata, dict) and set(metadata) <= {"uid", "resourceVersion", "name", "namespace"}
    return plain and set(rest) == {key}


def _delete_options(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    words = []
    if (grace := body.get("gracePeriodSeconds")) is not None:
        words.append(f"--grace-period={grace}")
    if policy := body.get("propagationPolicy"):
        words.append(f"--cascade={str(policy).lower()}")
    return words
