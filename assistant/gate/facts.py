"""Reads what a preview needs from around an object. What cannot be read is named, not left out."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

from assistant.errors import ClusterError
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath
from assistant.policy.impact import Surroundings, at, matches, name_of, selects
from assistant.policy.limits import MAX_PREVIEW_BYTES, PREVIEW_SECONDS

Obj = dict[str, Any]
_WORKLOADS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/{}/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/{}/daemonsets",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Service": "/api/v1/namespaces/{}/services",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
}
_TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})


async def ask(
    upstream: Upstream, method: str, target: str, body: Any = None, content_type: str = "application/json"
) -> tuple[int, Obj]:
    """Send one of the gate's own small requests. Returns status and object. Raises ClusterError."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Accept": "application/json", "User-Agent": "pilothouse-gate"}
    if data is not None:
        headers["Content-Type"] = content_type
    answer = await upstream.fetch(method, target, headers, data, PREVIEW_SECONDS, MAX_PREVIEW_BYTES)
    try:
        value = json.loads(answer.body) if answer.body else {}
    except ValueError as error:
        raise ClusterError("The API server's answer is not JSON.", "Check what listens there.") from error
    return answer.status, value if isinstance(value, dict) else {}


class Reader:
    """Reads lists of one namespace for one preview, each at most once, and keeps what could not be read."""

    def __init__(self, upstream: Upstream, namespace: str) -> None:
        """Bind to a namespace."""
        self._upstream = upstream
        self._namespace = namespace
        self.unread: list[str] = []

    async def list(self, kind: str, selector: str = "") -> tuple[Obj, ...]:
        """Return all objects of a kind in the namespace; a kind that the server does not have has none."""
        target = _WORKLOADS[kind].format(quote(self._namespace, safe=""))
        if selector:
            target += "?" + urlencode({"labelSelector": selector})
        try:
            status, value = await ask(self._upstream, "GET", target)
        except ClusterError:
            self.unread.append(kind)
            return ()
        if status == 404:
            return ()
        if status != 200:
            self.unread.append(kind)
            return ()
        items = value.get("items")
        return tuple({**item, "kind": kind} for item in items or () if isinstance(item, dict))

    async def all(self, *kinds: str) -> dict[str, tuple[Obj, ...]]:
        """Return the lists of several kinds, read side by side."""
        found = await asyncio.gather(*(self.list(kind) for kind in kinds))
        return dict(zip(kinds, found, strict=True))


async def surroundings(
    upstream: Upstream, method: str, api: ApiPath, kind: str, live: Obj | None, after: Obj | None
) -> Surroundings:
    """Read what impact and risk need for this kind of change."""
    base = Surroundings(method, api.sub, kind, live, after)
    if not api.namespace or api.resource == "namespaces":
        return base
    reader = Reader(upstream, api.namespace)
    if kind in ("ConfigMap", "Secret"):
        found = await reader.all("Deployment", "StatefulSet", "DaemonSet", "CronJob")
        workloads = tuple(item for items in found.values() for item in items)
        return Surroundings(method, api.sub, kind, live, after, workloads=workloads, unread=tuple(reader.unread))
    if kind == "Service":
        pods = await reader.list("Pod")
        return Surroundings(method, api.sub, kind, live, after, pods=pods, unread=tuple(reader.unread))
    if kind == "PersistentVolumeClaim":
        volumes = await _volumes(upstream, live, reader)
        return Surroundings(method, api.sub, kind, live, after, volumes=volumes, unread=tuple(reader.unread))
    if kind != "Pod" and kind not in _TEMPLATED:
        return base
    found = await reader.all("Pod", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    selector = at(live, "spec", "selector", default={})
    mine = tuple(p for p in found["Pod"] if kind != "Pod" and matches(selector, at(p, "metadata", "labels")))
    dependents: tuple[Obj, ...] = ()
    claims: tuple[Obj, ...] = ()
    if base.deleting and kind in _TEMPLATED:
        sets = await reader.list("ReplicaSet") if kind == "Deployment" else ()
        uid = at(live, "metadata", "uid")
        owned = tuple(
            s for s in sets if any(o.get("uid") == uid for o in at(s, "metadata", "ownerReferences", default=[]))
        )
        dependents = (*owned, *mine)
        if kind == "StatefulSet":
            claims = await _claims(reader, live)
    return Surroundings(
        method, api.sub, kind, live, after, pods=mine, services=found["Service"],
        scalers=found["HorizontalPodAutoscaler"], budgets=found["PodDisruptionBudget"], dependents=dependents,
        claims=claims, unread=tuple(reader.unread),
    )  # fmt: skip


async def _claims(reader: Reader, live: Obj | None) -> tuple[Obj, ...]:
    heads = [f"{name_of(t)}-{name_of(live or {})}-" for t in at(live, "spec", "volumeClaimTemplates", default=[])]
    every = await reader.list("PersistentVolumeClaim") if heads else ()
    return tuple(claim for claim in every if any(name_of(claim).startswith(head) for head in heads))


async def _volumes(upstream: Upstream, live: Obj | None, reader: Reader) -> tuple[Obj, ...]:
    name = str(at(live, "spec", "volumeName", default=""))
    if not name:
        return ()
    try:
        status, value = await ask(upstream, "GET", f"/api/v1/persistentvolumes/{quote(name, safe='')}")
    except ClusterError:
        status, value = 0, {}
    if status != 200:
        reader.unread.append("PersistentVolume")
        return ()
    return (value,)


__all__ = ["Reader", "ask", "selects", "surroundings"]
