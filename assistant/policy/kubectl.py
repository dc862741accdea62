"""The kubectl command line that would do the same, for people to check and to copy; never run by us."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any, Final

from assistant.domain.action import Action
from assistant.policy.api_path import ApiPath, read_path
from assistant.policy.classify import BUILT_IN_GROUPS
from assistant.policy.diff import MISSING, Change
from assistant.policy.patch import JSON_PATCH, MERGE, STRATEGIC
from assistant.policy.redact import has_placeholder
from assistant.policy.summary import applied, each, env_value, is_restart, place_of, switched

_PATCH_TYPES: Final = {STRATEGIC: "strategic", MERGE: "merge", JSON_PATCH: "json"}
_INLINE_BYTES = 2000
_ROLLED: Final = frozenset({"deployments", "statefulsets", "daemonsets"})
_SCALED: Final = frozenset({"deployments", "statefulsets", "replicasets", "replicationcontrollers"})
# What `kubectl set` knows the pod template of.
_TEMPLATED: Final = _ROLLED | {"replicasets", "replicationcontrollers"}


def kubectl_line(action: Action, body: Any, found: Sequence[Change] = ()) -> str:
    """Return the command for an action whose parsed body is `body`; `kubectl --raw` where no better form exists.

    `found` is what the action changes, without secret values: where a well-known command changes exactly that, it is
    that command.
    """
    api = read_path(action.path)
    if api is None or not api.resource:
        return f"kubectl {action.method.lower()} --raw {shlex.quote(action.path)}"
    place = ["-n", api.namespace] if api.namespace and api.resource != "namespaces" else []
    kind = _kind(action, api)
    thing = f"{kind}/{api.name}"
    match action.method:
        case "DELETE" if api.name:
            words = ["delete", kind, api.name, *_delete_options(body)]
        case "DELETE":
            words = ["delete", kind, "--all"]
        case "PATCH" if action.content_type.startswith("application/apply-patch"):
            words = ["apply", "--server-side", *_apply_options(dict(action.query)), "-f", "-"]
        case "PATCH" if applied(found) and _is_apply(action.content_type, api):
            words = ["apply", "-f", "-"]
        case "PATCH" | "PUT" if special := _special(api, action.target.kind, thing, each(found)):
            words = special
        case "PATCH":
            sub = [f"--subresource={api.sub}"] if api.sub else []
            patch = _PATCH_TYPES.get(action.content_type, "merge")
            text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
            shown = text if len(text) <= _INLINE_BYTES else "(see the diff)"
            words = ["patch", kind, api.name, *sub, f"--type={patch}", "-p", shown]
        case "POST" if api.sub == "eviction":
            return f"kubectl create --raw {shlex.quote(action.path)} -f -"
        case "POST" if not api.sub:
            words = ["create", "-f", "-"]
        case "PUT" if not api.sub:
            words = ["replace", "-f", "-"]
        case _:
            place, words = [], ["replace" if action.method == "PUT" else "create", "--raw", action.path, "-f", "-"]
    return " ".join(shlex.quote(word) for word in ["kubectl", *place, *words])


def _apply_options(query: dict[str, str]) -> list[str]:
    manager = query.get("fieldManager", "kubectl")
    words = [] if manager == "kubectl" else [f"--field-manager={manager}"]
    return words + (["--force-conflicts"] if query.get("force") == "true" else [])


def _is_apply(content_type: str, api: ApiPath) -> bool:
    # kubectl sends a merge patch for custom resources only; one that replaces lists of a built-in kind is none of its.
    return content_type == STRATEGIC or (content_type == MERGE and api.group not in BUILT_IN_GROUPS)


def _kind(action: Action, api: ApiPath) -> str:
    if api.group and "." in api.group and api.group not in BUILT_IN_GROUPS:
        return f"{api.resource}.{api.group}"
    # The kind as people type it; what is not the singular of the resource (a subresource's kind) is not the object's.
    kind = action.target.kind.lower()
    return kind if api.resource in (f"{kind}s", f"{kind}es", f"{kind.removesuffix('y')}ies") else api.resource


def _special(api: ApiPath, kind: str, thing: str, found: Sequence[Change]) -> list[str]:
    # An idiom is named only where it leads to exactly the same object; anything hidden is no value to type.
    if not found or any(isinstance(c.after, str) and has_placeholder(c.after) for c in found):
        return []
    places = [place_of(change.path) for change in found]
    if [change.path for change in found] == [("spec", "replicas")] and isinstance(found[0].after, int):
        if api.resource not in _SCALED:
            return []
        return ["scale", thing, f"--replicas={found[0].after}"]
    if api.sub:
        return []
    if len(found) == 1 and (word := switched(found[0], kind)):
        return [word, api.name] if kind == "Node" else ["rollout", word, thing]
    if api.resource in _ROLLED and is_restart(found):
        return ["rollout", "restart", thing]
    for notes in ("labels", "annotations"):
        if all(change.path[:2] == ("metadata", notes) and len(change.path) == 3 for change in found):
            return _marked("label" if notes == "labels" else "annotate", thing, found)
    if api.resource not in _TEMPLATED or len({(place.containers, place.container) for place in places}) != 1:
        return []
    container = places[0].container
    if not container or places[0].containers == "ephemeralContainers":
        return []
    if all(place.rest == ("image",) and isinstance(c.after, str) for place, c in zip(places, found, strict=True)):
        return ["set", "image", thing, f"{container}={found[0].after}"]
    if all(place.env for place in places):
        return _env(thing, container, found)
    return _resources(thing, container, found) if places[0].containers == "containers" else []


def _marked(verb: str, thing: str, found: Sequence[Change]) -> list[str]:
    words = []
    for change in found:
        gone = change.after is MISSING or change.after is None
        if not gone and not isinstance(change.after, str):
            return []
        words.append(f"{change.path[2]}-" if gone else f"{change.path[2]}={change.after}")
    over = any(change.before is not MISSING and change.after not in (MISSING, None) for change in found)
    return [verb, thing, *words, *(["--overwrite"] if over else [])]


def _env(thing: str, container: str, found: Sequence[Change]) -> list[str]:
    words = []
    for change in found:
        name, value = place_of(change.path).env, env_value(change)
        gone = change.after is MISSING and change.path[-1] != "value"
        if value is None and not gone:
            return []
        words.append(f"{name}-" if gone else f"{name}={value}")
    if any(has_placeholder(word) for word in words):
        return []
    return ["set", "env", thing, "-c", container, *words]


def _resources(thing: str, container: str, found: Sequence[Change]) -> list[str]:
    kinds: dict[str, list[str]] = {"limits": [], "requests": []}
    for change in found:
        match place_of(change.path).rest:
            case ("resources", "limits" | "requests" as kind, name) if isinstance(change.after, str | int):
                kinds[kind].append(f"{name}={change.after}")
            case _:
                return []
    flags = [f"--{kind}={','.join(pairs)}" for kind, pairs in kinds.items() if pairs]
    return ["set", "resources", thing, "-c", container, *flags]


def _delete_options(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    words = []
    if (grace := body.get("gracePeriodSeconds")) is not None:
        words.append(f"--grace-period={grace}")
    # Background is what kubectl does by itself.
    if (policy := body.get("propagationPolicy")) and policy != "Background":
        words.append(f"--cascade={str(policy).lower()}")
    return words
