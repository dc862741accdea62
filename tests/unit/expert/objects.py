"""Small objects of an imaginary cluster, as an API server would send them, for tests of analyzers."""

from __future__ import annotations

import json
from typing import Any

from assistant.domain.view import ClusterView, Log

NOW = "2026-03-01T12:00:00Z"
OLD = "2026-03-01T11:00:00Z"
SOON = "2026-03-01T11:58:00Z"
Raw = dict[str, Any]
RESOURCES = {
    "Pod": ("pods", "v1"),
    "ConfigMap": ("configmaps", "v1"),
    "Secret": ("secrets", "v1"),
    "Service": ("services", "v1"),
    "Event": ("events", "v1"),
    "Node": ("nodes", "v1"),
    "Namespace": ("namespaces", "v1"),
    "ServiceAccount": ("serviceaccounts", "v1"),
    "ResourceQuota": ("resourcequotas", "v1"),
    "LimitRange": ("limitranges", "v1"),
    "PersistentVolumeClaim": ("persistentvolumeclaims", "v1"),
    "PersistentVolume": ("persistentvolumes", "v1"),
    "Deployment": ("deployments.apps", "apps/v1"),
    "ReplicaSet": ("replicasets.apps", "apps/v1"),
    "StatefulSet": ("statefulsets.apps", "apps/v1"),
    "DaemonSet": ("daemonsets.apps", "apps/v1"),
    "Job": ("jobs.batch", "batch/v1"),
    "CronJob": ("cronjobs.batch", "batch/v1"),
    "StorageClass": ("storageclasses.storage.k8s.io", "storage.k8s.io/v1"),
    "NetworkPolicy": ("networkpolicies.networking.k8s.io", "networking.k8s.io/v1"),
    "Ingress": ("ingresses.networking.k8s.io", "networking.k8s.io/v1"),
    "IngressClass": ("ingressclasses.networking.k8s.io", "networking.k8s.io/v1"),
    "EndpointSlice": ("endpointslices.discovery.k8s.io", "discovery.k8s.io/v1"),
    "HorizontalPodAutoscaler": ("horizontalpodautoscalers.autoscaling", "autoscaling/v2"),
    "PodDisruptionBudget": ("poddisruptionbudgets.policy", "policy/v1"),
    "Lease": ("leases.coordination.k8s.io", "coordination.k8s.io/v1"),
    "Role": ("roles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"),
    "RoleBinding": ("rolebindings.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"),
    "ClusterRole": ("clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"),
    "ClusterRoleBinding": ("clusterrolebindings.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1"),
    "PriorityClass": ("priorityclasses.scheduling.k8s.io", "scheduling.k8s.io/v1"),
    "HTTPRoute": ("httproutes.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1"),
    "Gateway": ("gateways.gateway.networking.k8s.io", "gateway.networking.k8s.io/v1"),
    "DeviceClass": ("deviceclasses.resource.k8s.io", "resource.k8s.io/v1"),
    "ResourceSlice": ("resourceslices.resource.k8s.io", "resource.k8s.io/v1"),
    "ResourceClaim": ("resourceclaims.resource.k8s.io", "resource.k8s.io/v1"),
    "ResourceClaimTemplate": ("resourceclaimtemplates.resource.k8s.io", "resource.k8s.io/v1"),
    "DeviceTaintRule": ("devicetaintrules.resource.k8s.io", "resource.k8s.io/v1"),
    "ClusterPolicy": ("clusterpolicies.nvidia.com", "nvidia.com/v1"),
    "Widget": ("widgets.example.org", "example.org/v1"),
}


def thing(kind: str, name: str, namespace: str = "shop", **fields: Any) -> Raw:
    meta: Raw = {"name": name, "creationTimestamp": OLD, **fields.pop("metadata", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": RESOURCES[kind][1], "kind": kind, "metadata": meta, **fields}


def container(name: str = "app", image: str = "registry.test/web:1.0", **fields: Any) -> Raw:
    return {"name": name, "image": image, **fields}


def deployment(
    name: str, *containers: Raw, replicas: int = 1, ready: int = 0, revision: str = "1", **spec: Any
) -> list[Raw]:
    labels = {"app": name}
    pod_spec = {"containers": list(containers) or [container()], **spec}
    template = {"metadata": {"labels": labels}, "spec": pod_spec}
    note = {"annotations": {"deployment.kubernetes.io/revision": revision}}
    head = thing(
        "Deployment",
        name,
        spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        status={"readyReplicas": ready, "replicas": replicas},
        metadata=note,
    )
    owner = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": True}]
    owned = thing(
        "ReplicaSet",
        f"{name}-{revision}",
        spec={"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        status={"readyReplicas": ready, "replicas": replicas},
        metadata={**note, "ownerReferences": owner},
    )
    return [head, owned]


def pod(
    owner: str,
    number: int = 1,
    *,
    containers: list[Raw] | None = None,
    statuses: list[Raw] | None = None,
    ready: bool = False,
    phase: str = "Running",
    node: str = "n1",
    conditions: list[Raw] | None = None,
    owner_kind: str = "ReplicaSet",
    revision: str = "1",
    init: list[Raw] | None = None,
    status: Raw | None = None,
    **spec: Any,
) -> Raw:
    name = f"{owner}-{revision}-{number}" if owner_kind == "ReplicaSet" else f"{owner}-{number}"
    head = f"{owner}-{revision}" if owner_kind == "ReplicaSet" else owner
    own = [{"apiVersion": "apps/v1", "kind": owner_kind, "name": head, "controller": True}]
    running = {
        "name": "app",
        "ready": ready,
        "restartCount": 0,
        "state": {"running": {"startedAt": OLD}},
        "image": "registry.test/web:1.0",
    }
    rest: Raw = {"nodeName": node} if node else {}
    return thing(
        "Pod",
        name,
        metadata={"labels": {"app": owner, "pod-template-hash": revision}, "ownerReferences": own},
        spec={"containers": containers or [container()], **({"initContainers": init} if init else {}), **rest, **spec},
        status={
            "phase": phase,
            "conditions": conditions
            if conditions is not None
            else [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": SOON}],
            "containerStatuses": statuses if statuses is not None else [running],
            **(status or {}),
        },
    )


def waiting(reason: str, message: str = "", name: str = "app") -> Raw:
    return {
        "name": name,
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}},
    }


def crashed(code: int = 1, reason: str = "Error", restarts: int = 6, name: str = "app", ready: bool = False) -> Raw:
    ended = {"exitCode": code, "reason": reason, "finishedAt": SOON}
    return {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "lastState": {"terminated": ended},
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    }


def event(kind: str, name: str, reason: str, message: str, level: str = "Warning", namespace: str = "shop") -> Raw:
    return thing(
        "Event",
        f"{name}.{abs(hash(message)) % 10**8:x}",
        namespace,
        type=level,
        reason=reason,
        message=message,
        count=5,
        lastTimestamp=NOW,
        involvedObject={"kind": kind, "name": name, "namespace": namespace},
    )


def node(
    name: str = "n1",
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    labels: Raw | None = None,
    taints: list[Raw] | None = None,
    ready: str = "True",
    message: str = "",
    **spec: Any,
) -> Raw:
    return thing(
        "Node",
        name,
        "",
        metadata={"labels": labels or {}},
        spec={"taints": taints or [], **spec},
        status={
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": ready, "message": message, "lastHeartbeatTime": NOW}],
        },
    )


def service(name: str, selector: Raw | None = None, port: int = 80, target: int | str = 8080, **spec: Any) -> Raw:
    return thing(
        "Service",
        name,
        spec={
            "selector": selector or {"app": name},
            "clusterIP": "10.0.0.1",
            "type": "ClusterIP",
            "ports": [{"name": "http", "port": port, "targetPort": target}],
            **spec,
        },
    )


def view(
    *objects: Raw | list[Raw], namespace: str = "shop", logs: dict[tuple[str, str], str] | None = None
) -> ClusterView:
    built = ClusterView(namespace)
    found: dict[str, list[Raw]] = {resource: [] for resource, _ in RESOURCES.values()}
    for item in objects:
        for raw in item if isinstance(item, list) else [item]:
            found[RESOURCES[raw["kind"]][0]].append(json.loads(json.dumps(raw)))
    for kind, (resource, version) in RESOURCES.items():
        built.add(resource, found[resource], f"GET /{resource}", api_version=version, kind=kind)
    for (name, box), text in (logs or {}).items():
        built.add_log(
            Log(
                namespace, name, box, False, text, f"GET /api/v1/namespaces/{namespace}/pods/{name}/log?container={box}"
            )
        )
    return built
