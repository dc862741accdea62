"""Reads a folder in the layout of a support bundle straight into a view, without HTTP, for fast tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from assistant.domain.view import ClusterView, Log

PLURALS = {
    "pvcs": "persistentvolumeclaims",
    "pvs": "persistentvolumes",
    "storage-classes": "storageclasses.storage.k8s.io",
    "resource-quota": "resourcequotas",
    "network-policy": "networkpolicies.networking.k8s.io",
    "ingress": "ingresses.networking.k8s.io",
    "ingress-classes": "ingressclasses.networking.k8s.io",
    "pod-disruption-budgets": "poddisruptionbudgets.policy",
    "validating-webhook-configurations": "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutating-webhook-configurations": "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "horizontalpodautoscalers": "horizontalpodautoscalers.autoscaling",
    "cronjobs": "cronjobs.batch",
    "jobs": "jobs.batch",
    "endpointslices": "endpointslices.discovery.k8s.io",
    "leases": "leases.coordination.k8s.io",
    "priorityclasses": "priorityclasses.scheduling.k8s.io",
}
GROUPS = {
    "apps": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "resource.k8s.io": ("resourceclaims", "resourceclaimtemplates", "deviceclasses", "resourceslices"),
    "rbac.authorization.k8s.io": ("roles", "rolebindings", "clusterroles", "clusterrolebindings"),
}
KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "services": "Service",
    "events": "Event",
    "nodes": "Node",
    "namespaces": "Namespace",
    "serviceaccounts": "ServiceAccount",
    "limitranges": "LimitRange",
    "resourcequotas": "ResourceQuota",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
SKIPPED = {
    "endpoints",
    "auth-cani-list",
    "custom-resource-definitions",
    "resources",
    "groups",
    "volumeattachments",
    "certificatesigningrequests",
    "logs",
}


def resource_of(name: str) -> str:
    if name in PLURALS:
        return PLURALS[name]
    return next((f"{name}.{group}" for group, members in GROUPS.items() if name in members), name)


def load(bundle: Path, namespace: str = "") -> ClusterView:
    view = ClusterView(namespace)
    root = bundle / "cluster-resources"
    for folder in ("secrets",):
        found = [json.loads(f.read_text()) for f in (bundle / folder).rglob("*.json")]
        items = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": s["name"], "namespace": s["namespace"]},
                "data": s.get("data", {}),
            }
            for s in found
        ]
        view.add("secrets", items, "GET /api/v1/secrets", api_version="v1", kind="Secret")
    for file in sorted(root.rglob("*.json")):
        parts = file.relative_to(root).parts
        name = parts[0].removesuffix(".json")
        if name == "custom-resources":
            name = parts[1].removesuffix(".json")
        if name in SKIPPED:
            continue
        value: Any = json.loads(file.read_text())
        items = (value.get("items") if isinstance(value, dict) else value) or []
        kind = (value.get("kind", "") if isinstance(value, dict) else "").removesuffix("List")
        version = value.get("apiVersion", "v1") if isinstance(value, dict) else ""
        place = parts[-1].removesuffix(".json") if len(parts) > 1 and parts[0] != "custom-resources" else ""
        resource = resource_of(name)
        view.add(
            resource,
            items,
            f"GET /{resource}",
            api_version=version,
            kind=kind or KINDS.get(resource, ""),
            namespace=place,
        )
    groups = root / "groups.json"
    if groups.exists():
        view.groups = frozenset(g.get("name", "") for g in json.loads(groups.read_text()))
    for file in (root / "pods" / "logs").rglob("*.log"):
        where, pod, name = file.relative_to(root / "pods" / "logs").parts
        previous = name.endswith("-previous.log")
        container = name.removesuffix(".log").removesuffix("-previous")
        text = file.read_text(errors="replace")
        if text and not text.startswith(("unable to retrieve", "failed to get log")):
            lines = "\n".join(text.splitlines()[-200:])
            view.add_log(Log(where, pod, container, previous, lines, f"GET /api/v1/namespaces/{where}/pods/{pod}/log"))
    return view
