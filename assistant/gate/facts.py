"""Reads what a preview needs from around an object. What cannot be read, or only in part, is named, not left out."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final
from urllib.parse import quote, urlencode

from assistant.errors import ClusterError
from assistant.gate.upstream import Upstream
from assistant.policy.limits import MAX_PREVIEW_BYTES, MAX_PREVIEW_OBJECTS, MAX_PREVIEW_REQUESTS, PREVIEW_SECONDS
from assistant.policy.surroundings import Obj, at

SAFE: Final = "/:@!$&'()*+,=-._~"
METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
# (apiVersion, kind) of what previews read, with the path and whether it is in a namespace.
_PLACES: Final = {
    "Deployment": ("apps/v1", "deployments"),
    "StatefulSet": ("apps/v1", "statefulsets"),
    "DaemonSet": ("apps/v1", "daemonsets"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "CronJob": ("batch/v1", "cronjobs"),
    "Job": ("batch/v1", "jobs"),
    "Pod": ("v1", "pods"),
    "ReplicationController": ("v1", "replicationcontrollers"),
    "Service": ("v1", "services"),
    "ConfigMap": ("v1", "configmaps"),
    "Secret": ("v1", "secrets"),
    "ServiceAccount": ("v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "ResourceQuota": ("v1", "resourcequotas"),
    "LimitRange": ("v1", "limitranges"),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets"),
    "Ingress": ("networking.k8s.io/v1", "ingresses"),
    "EndpointSlice": ("discovery.k8s.io/v1", "endpointslices"),
    "Role": ("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings"),
}


async def ask(
    upstream: Upstream, method: str, target: str, body: Any = None, content_type: str = "application/json",
    accept: str = "application/json",
) -> tuple[int, Obj]:  # fmt: skip
    """Send one of the gate's own small requests. Returns status and object. Raises ClusterError."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Accept": accept, "User-Agent": "pilothouse-gate"}
    if data is not None:
        headers["Content-Type"] = content_type
    answer = await upstream.fetch(method, target, headers, data, PREVIEW_SECONDS, MAX_PREVIEW_BYTES)
    try:
        value = json.loads(answer.body) if answer.body else {}
    except ValueError as error:
        raise ClusterError("The API server's answer is not JSON.", "Check what listens there.") from error
    return answer.status, value if isinstance(value, dict) else {}


def root_of(api_version: str) -> str:
    """Return the path below which an API version is served."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class Reader:
    """Reads for one preview: each thing once, a few at a time, all within PREVIEW_SECONDS.

    `unread` names kinds that could not be read, `cut` those of which there are more than were read.
    """

    def __init__(self, upstream: Upstream, namespace: str) -> None:
        """Bind to a namespace; the time begins to run."""
        self._upstream = upstream
        self.namespace = namespace
        self.begin()
        self._slots = asyncio.Semaphore(MAX_PREVIEW_REQUESTS)
        self._asked: dict[tuple[str, str], asyncio.Task[tuple[int, Obj]]] = {}
        self.unread: list[str] = []
        self.cut: list[str] = []

    def begin(self) -> None:
        """Let the time begin to run anew: a slow dry run before must not leave everything around it unread."""
        self._until = asyncio.get_running_loop().time() + PREVIEW_SECONDS

    async def get(self, target: str, accept: str = "application/json") -> tuple[int, Obj]:
        """Return status and object, status 0 where there was no answer; each target is asked for once."""
        key = (target, accept)
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(self._get(target, accept))
        return await self._asked[key]

    async def _get(self, target: str, accept: str) -> tuple[int, Obj]:
        try:
            async with asyncio.timeout_at(self._until), self._slots:
                return await ask(self._upstream, "GET", target, accept=accept)
        except (ClusterError, TimeoutError):
            return 0, {}

    async def one(self, kind: str, target: str) -> Obj | None:
        """Return one object, None where there is none or it cannot be read (then `unread` names the kind)."""
        status, value = await self.get(quote(target, safe=SAFE))
        if status == 200:
            return {**value, "kind": value.get("kind") or kind}
        if status != 404:
            self._missed(kind)
        return None

    async def list(
        self, kind: str, selector: str = "", *, namespace: str | None = None, slim: bool = False
    ) -> tuple[Obj, ...]:
        """Return the objects of a kind in the namespace; a kind that the server does not have has none.

        With `slim` they have their metadata only.
        """
        version, resource = _PLACES[kind]
        place = quote(self.namespace if namespace is None else namespace, safe="")
        return await self.items(kind, f"{root_of(version)}/namespaces/{place}/{resource}", selector, slim=slim)

    async def items(
        self, kind: str, path: str, selector: str = "", *, fields: str = "", slim: bool = False
    ) -> tuple[Obj, ...]:
        """Return the objects of a collection, at most MAX_PREVIEW_OBJECTS; what is left out is counted in `cut`."""
        query = {"limit": str(MAX_PREVIEW_OBJECTS), "labelSelector": selector, "fieldSelector": fields}
        target = f"{path}?{urlencode({k: v for k, v in query.items() if v})}"
        status, value = await self.get(target, METADATA if slim else "application/json")
        found = value.get("items")
        if status == 404 or (status == 200 and found is None):
            return ()
        if status != 200 or not isinstance(found, list):
            self._missed(kind)
            return ()
        if at(value, "metadata", "continue"):
            left = at(value, "metadata", "remainingItemCount")
            total = f"{len(found)} of {len(found) + left}" if isinstance(left, int) else f"the first {len(found)}"
            self.cut.append(f"{total} {kind} objects")
        return tuple({**item, "kind": kind} for item in found if isinstance(item, dict))

    async def all(self, *kinds: str, slim: bool = False) -> dict[str, tuple[Obj, ...]]:
        """Return the lists of several kinds, read side by side."""
        found = await asyncio.gather(*(self.list(kind, slim=slim) for kind in kinds))
        return dict(zip(kinds, found, strict=True))

    async def place(self, api_version: str, kind: str, name: str) -> str:
        """Return the path of an object that a reference names, "" where the server does not know the kind."""
        known = _PLACES.get(kind)
        if known and known[0] == api_version:
            return f"{root_of(api_version)}/namespaces/{self.namespace}/{known[1]}/{name}"
        _, value = await self.get(quote(root_of(api_version), safe=SAFE))
        for resource in at(value, "resources", default=[]):
            if resource.get("kind") == kind and "/" not in str(resource.get("name", "/")):
                space = f"/namespaces/{self.namespace}" if resource.get("namespaced") else ""
                return f"{root_of(api_version)}{space}/{resource['name']}/{name}"
        return ""

    def _missed(self, kind: str) -> None:
        if kind not in self.unread:
            self.unread.append(kind)
