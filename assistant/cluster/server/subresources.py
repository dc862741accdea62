"""`scale`: the replica count of a workload as an object of its own."""

from __future__ import annotations

import copy
from typing import Any

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object
from assistant.cluster.server.patch import json_patch, merge_patch
from assistant.cluster.server.status import bad_request, conflict, invalid
from assistant.cluster.server.writing import JSON_PATCH, Write, current, update


def _paths(cluster: Cluster, resource: Resource) -> tuple[list[str], list[str], list[str]]:
    """Return where a kind keeps its wanted count, its real count and its selector text."""
    store = ("apiextensions.k8s.io", "customresourcedefinitions")
    definition = cluster.objects.get(store, "", f"{resource.name}.{resource.group}") if resource.custom else None
    for version in ((definition or {}).get("spec") or {}).get("versions") or []:
        scale = (version.get("subresources") or {}).get("scale")
        if version.get("name") == resource.version and scale:
            names = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
            wanted, real, selector = (str(scale.get(name, "")).strip(".").split(".") for name in names)
            return wanted, real, selector
    return ["spec", "replicas"], ["status", "replicas"], []


def _read(item: Any, path: list[str]) -> Any:
    for part in path:
        item = item.get(part) if isinstance(item, dict) else None
    return item


def scale_of(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Object:
    """Return the Scale of a workload. Raises ApiError 404."""
    live = current(cluster, resource, namespace, name)
    wanted, real, selector = _paths(cluster, resource)
    status: Object = {"replicas": _read(live, real) or 0}
    labels = _read(live, ["spec", "selector", "matchLabels"])
    text = _read(live, selector) if selector != [""] and selector else None
    if text or labels:
        status["selector"] = text or ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    meta = {key: live["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if key in live["metadata"]}  # fmt: skip
    spec = {"replicas": _read(live, wanted) or 0}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}


def scale_to(cluster: Cluster, write: Write, content_type: str | None, body: Any) -> Object:
    """Change the replica count by a whole Scale (`content_type` None) or a patch of one. Raises ApiError."""
    resource = write.resource
    before = scale_of(cluster, resource, write.namespace, write.name)
    if content_type is None:
        made = body
    else:
        made = json_patch(before, body) if content_type == JSON_PATCH else merge_patch(before, body)
    if not isinstance(made, dict) or not all(isinstance(made.get(key) or {}, dict) for key in ("spec", "metadata")):
        raise bad_request("the object provided is unrecognized (must be of type Scale)")
    meta = made.get("metadata") or {}
    if meta.get("name") not in (None, write.name):
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({write.name})")
    version = meta.get("resourceVersion")
    if version and version != before["metadata"].get("resourceVersion"):
        raise conflict(resource, write.name)
    count = (made.get("spec") or {}).get("replicas", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        message = f"Invalid value: {count}: must be greater than or equal to 0"
        raise invalid(
            resource, write.name, [{"reason": "FieldValueInvalid", "message": message, "field": "spec.replicas"}]
        )
    live = current(cluster, resource, write.namespace, write.name)
    item = copy.deepcopy(cluster.in_version(live, resource))
    node = item
    wanted, _, _ = _paths(cluster, resource)
    for part in wanted[:-1]:
        node = node.setdefault(part, {})
    node[wanted[-1]] = count
    changed = update(cluster, write, live, item)
    answer = scale_of(cluster, resource, write.namespace, write.name)
    kept = changed["metadata"].get("resourceVersion", "")
    return {**answer, "metadata": {**answer["metadata"], "resourceVersion": kept}, "spec": {"replicas": count}}
