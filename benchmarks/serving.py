"""An API server that serves a synthetic cluster from memory, page by page, over TLS: the child of `benchmarks.scan`.

It reads one JSON line of settings (`pods`), says in one line where it is and what was planted, and ends with its
standard input. Pages are encoded before it says so, so that what is measured is reading and not making them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import msgspec
from aiohttp import web

from assistant.loopback import identity
from benchmarks import synthetic

PAGE = 500
# fmt: off
CORE = {
    "pods": "Pod", "services": "Service", "nodes": "Node", "namespaces": "Namespace", "events": "Event",
    "configmaps": "ConfigMap", "secrets": "Secret", "serviceaccounts": "ServiceAccount", "limitranges": "LimitRange",
    "resourcequotas": "ResourceQuota", "persistentvolumes": "PersistentVolume",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
NAMED = {
    "apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet",
                "daemonsets": "DaemonSet"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "ingressclasses": "IngressClass",
                             "networkpolicies": "NetworkPolicy"},
    "storage.k8s.io/v1": {"storageclasses": "StorageClass"},
    "coordination.k8s.io/v1": {"leases": "Lease"},
    "scheduling.k8s.io/v1": {"priorityclasses": "PriorityClass"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding", "clusterroles": "ClusterRole",
                                     "clusterrolebindings": "ClusterRoleBinding"},
    "admissionregistration.k8s.io/v1": {"validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
                                        "mutatingwebhookconfigurations": "MutatingWebhookConfiguration"},
    "apiregistration.k8s.io/v1": {"apiservices": "APIService"},
}
WITHOUT_NAMESPACE = frozenset([
    "nodes", "namespaces", "persistentvolumes", "ingressclasses", "storageclasses", "priorityclasses", "clusterroles",
    "clusterrolebindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "apiservices",
])
# fmt: on


def discovery(groups: dict[str, dict[str, str]]) -> bytes:
    items = []
    for group_version, kinds in groups.items():
        group, _, version = group_version.rpartition("/")
        resources = [
            {"resource": plural, "responseKind": {"kind": kind}, "verbs": ["get", "list", "watch"],
             "scope": "Cluster" if plural in WITHOUT_NAMESPACE else "Namespaced"}
            for plural, kind in kinds.items()
        ]  # fmt: skip
        items.append({"metadata": {"name": group}, "versions": [{"version": version, "resources": resources}]})
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
    return json.dumps({**head, "items": items}).encode()


def pages(kind: str, api_version: str, items: list[dict[str, Any]]) -> list[bytes]:
    """Return a list in pages; the continue token is the number of the next one."""
    made = []
    for number, start in enumerate(range(0, max(1, len(items)), PAGE), 1):
        meta: dict[str, Any] = {"resourceVersion": "900000"}
        left = len(items) - start - PAGE
        if left > 0:
            meta |= {"continue": str(number), "remainingItemCount": left}
        head = msgspec.json.encode({"kind": f"{kind}List", "apiVersion": api_version, "metadata": meta})
        body = b",".join(msgspec.json.encode(item) for item in items[start : start + PAGE])
        made.append(b'%b,"items":[%b]}\n' % (head[:-1], body))
    return made


def answers(cluster: synthetic.Cluster) -> dict[str, list[bytes]]:
    named = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "kube-system", "uid": "u"}}
    ready = {
        "/version": [b'{"gitVersion":"v1.36.2"}'],
        "/api/v1/namespaces/kube-system": [json.dumps(named).encode()],
        "/api": [discovery({"v1": CORE})],
        "/apis": [discovery(NAMED)],
        "/api/v1/namespaces/default/events": pages("Event", "v1", []),
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases": pages("Lease", "coordination.k8s.io/v1", []),
    }
    for group_version, kinds in {"v1": CORE, **NAMED}.items():
        group = group_version.rpartition("/")[0]
        for plural, kind in kinds.items():
            root = f"/apis/{group_version}" if group else "/api/v1"
            items = cluster.lists.pop(f"{plural}.{group}" if group else plural, [])
            ready[f"{root}/{plural}"] = pages(kind, group_version, items)
    for (namespace, pod, container, previous), text in cluster.logs.items():
        ready[f"/api/v1/namespaces/{namespace}/pods/{pod}/log {container} {previous}"] = [text.encode()]
    return ready


async def serve() -> None:
    """Answer from memory until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    cluster = synthetic.build(int(settings["pods"]), faults=bool(settings.get("faults", True)))
    planted = [[fault.kind, fault.namespace, fault.name] for fault in cluster.planted]
    ready = answers(cluster)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        if request.method == "POST":
            return web.json_response({"status": {"userInfo": {"username": "bench"}}}, status=201)
        path = request.path
        if path.endswith("/log"):
            path = f"{path} {request.query['container']} {request.query.get('previous') == 'true'}"
            text = ready.get(path, [b"serving on :8080\n"])[0]
            return web.Response(body=text, content_type="text/plain")
        found = ready.get(path)
        if found is None:
            return web.json_response({"kind": "Status", "code": 404, "message": path}, status=404)
        return web.Response(body=found[int(request.query.get("continue", "0"))], content_type="application/json")

    own = identity("bench")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(handle, access_log=None), "127.0.0.1", 0, ssl=own.context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    said = {"ready": True, "url": url, "ca": own.certificate_pem.decode(), "planted": planted}
    print(json.dumps(said), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(serve())
