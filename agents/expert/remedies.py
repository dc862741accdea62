"""Fixes as exact requests: the bytes that would be sent, the kubectl line that does the same, and the way back."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from agents.expert.draft import Fix
from agents.expert.workload import Workload
from assistant.domain.action import Action, RiskLevel
from assistant.domain.raw import dig, tokens
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Thing

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
CRITICAL_KINDS = frozenset(
    {
        "Node",
        "Namespace",
        "PersistentVolume",
        "StorageClass",
        "ValidatingWebhookConfiguration",
        "APIService",
        "MutatingWebhookConfiguration",
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "PersistentVolumeClaim",
    }
)
ROLLING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def object_path(resource: str, api_version: str, namespace: str, name: str) -> str:
    """Return the API path of an object; `resource` is "plural.group"."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"/namespaces/{namespace}" if namespace else ""
    tail = f"/{name}" if name else ""
    return f"{root}{place}/{resource.split('.')[0]}{tail}"


def path_of(thing: Thing) -> str:
    """Return the API path of an object that was read."""
    return object_path(thing.resource, thing.api_version, thing.namespace, thing.name)


def risk_of(thing: Thing) -> RiskLevel:
    """Return the risk of changing an object by its kind alone; the gate computes the full one."""
    if thing.kind in CRITICAL_KINDS:
        return RiskLevel.CRITICAL
    return RiskLevel.MEDIUM if thing.kind in (*ROLLING_KINDS, "Service", "CronJob") else RiskLevel.LOW


def pointer(path: str) -> str:
    """Return a path as an RFC 6901 JSON pointer."""
    return "".join("/" + str(t).replace("~", "~0").replace("/", "~1") for t in tokens(path))


def _kubectl(thing: Thing, kind: str, body: str) -> str:
    place = f"-n {thing.namespace} " if thing.namespace else ""
    word = thing.kind.lower()
    # The full name where another API may have the same kind; kubectl would take the built-in one.
    group = thing.resource.partition(".")[2]
    built_in = group.endswith("k8s.io") and not group.endswith("x-k8s.io")
    if group not in ("", "apps", "batch", "autoscaling", "policy") and not built_in:
        word = thing.resource
    return f"kubectl {place}patch {word} {thing.name} --type {kind} -p {shlex.quote(body)}"


def set_path(thing: Thing, path: str, value: Any, title: str, reason: str) -> Fix:
    """Set (add or replace) or, with None, remove one field by JSON patch. Lists are addressed by index."""
    old = dig(thing.raw, path)[1]
    where = pointer(numbered(thing.raw, path))
    step: dict[str, Any] = {"op": "remove" if value is None else "replace" if old is not None else "add", "path": where}
    if value is not None:
        step["value"] = value
    back = f"set {path} back to {json.dumps(old, ensure_ascii=False)}" if old is not None else f"remove {path} again"
    return json_patch(thing, [step], title, reason, back)


def numbered(raw: Mapping[str, Any], path: str) -> str:
    """Return a path with list items by name turned into indexes, so that a JSON pointer can be made of it."""
    current: Any = raw
    out = ""
    for token in tokens(path):
        if isinstance(current, list) and isinstance(token, str):
            token = next((i for i, x in enumerate(current) if isinstance(x, dict) and x.get("name") == token), 0)
        if isinstance(current, list) and isinstance(token, int):
            out += f"[{token}]"
            current = current[token] if token < len(current) else None
        else:
            out += f"['{token}']"
            current = current.get(str(token)) if isinstance(current, dict) else None
    return out


def json_patch(thing: Thing, steps: list[dict[str, Any]], title: str, reason: str, undo: str) -> Fix:
    """Change an object by JSON patch (RFC 6902)."""
    body = json.dumps(steps, ensure_ascii=False)
    action = Action("PATCH", path_of(thing), thing.target, content_type=JSON_PATCH, body=body)
    return Fix(title, risk_of(thing), reason + _put_back(thing), action, _kubectl(thing, "json", body), undo)


def _put_back(thing: Thing) -> str:
    """Return the warning that the owner of an object may undo a change, "" where nothing of another API owns it."""
    owner = next((r for r in thing.rows("metadata.ownerReferences") if r.get("controller")), {})
    if not owner or str(owner.get("apiVersion", "")).startswith(("apps/", "batch/")) or thing.kind == "Pod":
        return ""
    return f"; {owner.get('kind')} {owner.get('name')} owns it and may put it back, so change it there too"


def merge_patch(thing: Thing, change: Mapping[str, Any], title: str, reason: str, undo: str) -> Fix:
    """Change an object by JSON merge patch (RFC 7386)."""
    body = json.dumps(change, ensure_ascii=False)
    action = Action("PATCH", path_of(thing), thing.target, content_type=MERGE_PATCH, body=body)
    return Fix(title, risk_of(thing), reason, action, _kubectl(thing, "merge", body), undo)


def set_data(config: Thing, key: str, value: str | None, title: str, reason: str) -> Fix:
    """Set or remove one key of a ConfigMap."""
    old = config.map("data").get(key)
    back = f"set data.{key} back to {json.dumps(old, ensure_ascii=False)}" if old is not None else f"remove data.{key}"
    return merge_patch(config, {"data": {key: value}}, title, reason, back)


def restart(view: ClusterView, workload: Workload, *, then: bool = True) -> Fix | None:
    """Restart a workload's pods as `kubectl rollout restart` does; None for what cannot be rolled."""
    thing = workload.thing
    if thing.kind not in ROLLING_KINDS:
        return None
    stamp = view.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    body = json.dumps({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}})
    action = Action("PATCH", path_of(thing), thing.target, content_type=MERGE_PATCH, body=body)
    return Fix(
        f"Restart {thing.kind.lower()} {thing.name} so that its pods read the new setting",
        RiskLevel.MEDIUM,
        "running containers do not see a changed ConfigMap in their environment",
        action,
        f"kubectl -n {thing.namespace} rollout restart {thing.kind.lower()}/{thing.name}",
        "a restart needs no undo; the pods are replaced one after the other",
        then=then,
    )


def create(resource: str, body: Mapping[str, Any], title: str, reason: str, risk: RiskLevel = RiskLevel.MEDIUM) -> Fix:
    """Create an object."""
    meta = body["metadata"]
    target = Target(str(body["apiVersion"]), str(body["kind"]), str(meta.get("namespace") or ""), str(meta["name"]))
    path = object_path(resource, target.api_version, target.namespace, "")
    raw = json.dumps(body, ensure_ascii=False)
    line = f"kubectl create -f - <<'EOF'\n{json.dumps(body, indent=2, ensure_ascii=False)}\nEOF"
    action = Action("POST", path, target, content_type="application/json", body=raw)
    return Fix(title, risk, reason, action, line, f"delete {target}")


def delete(thing: Thing, title: str, reason: str, risk: RiskLevel = RiskLevel.HIGH, then: bool = False) -> Fix:
    """Delete an object; orphans nothing that its controller would not recreate."""
    place = f"-n {thing.namespace} " if thing.namespace else ""
    action = Action("DELETE", path_of(thing), thing.target)
    return Fix(
        title,
        risk,
        reason,
        action,
        f"kubectl {place}delete {thing.kind.lower()} {thing.name}",
        "create it again from the copy in the evidence",
        then=then,
    )


def outside(title: str, reason: str) -> Fix:
    """Say what a person has to do where no change to the cluster is right."""
    return Fix(title, RiskLevel.LOW, reason, outside=title)


def roll_back(view: ClusterView, deployment: Thing, good: Thing) -> Fix:
    """Put the pod template of an older ReplicaSet back, as `kubectl rollout undo` does."""
    template = json.loads(json.dumps(dict(good.map("spec.template"))))
    labels = template.get("metadata", {}).get("labels")
    if isinstance(labels, dict):
        labels.pop("pod-template-hash", None)
    body = json.dumps([{"op": "replace", "path": "/spec/template", "value": template}], ensure_ascii=False)
    number = good.annotations.get("deployment.kubernetes.io/revision", "?")
    action = Action("PATCH", path_of(deployment), deployment.target, content_type=JSON_PATCH, body=body)
    return Fix(
        f"Roll deployment {deployment.name} back to revision {number}",
        RiskLevel.MEDIUM,
        "that revision ran before, so nothing has to be guessed",
        action,
        f"kubectl -n {deployment.namespace} rollout undo deployment/{deployment.name} --to-revision={number}",
        "roll forward again to the revision of now",
    )


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate that a person most likely meant, "" where none is near enough to propose."""
    options = [c for c in dict.fromkeys(candidates) if c and c != name]
    prefixed = [c for c in options if c.startswith(name) or name.startswith(c)]
    if len(prefixed) == 1:
        return prefixed[0]
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.62)
    if close:
        return close[0]
    words = set(name.replace("_", "-").replace(".", "-").lower().split("-"))
    sharing = [c for c in options if words & set(c.replace("_", "-").replace(".", "-").lower().split("-"))]
    return sharing[0] if len(sharing) == 1 else ""
