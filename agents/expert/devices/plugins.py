"""Extended resources that device plugins offer: what nodes have of them, and who uses it."""

from __future__ import annotations

from collections import defaultdict

from agents.expert.devices.users import over
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

HARDWARE = {
    "nvidia.com/gpu.present": "nvidia.com",
    "nvidia.com/gpu.product": "nvidia.com",
    "feature.node.kubernetes.io/pci-10de.present": "nvidia.com",
    "feature.node.kubernetes.io/pci-0302_10de.present": "nvidia.com",
    "feature.node.kubernetes.io/pci-0300_10de.present": "nvidia.com",
    "feature.node.kubernetes.io/amd-gpu": "amd.com",
    "feature.node.kubernetes.io/pci-1002.present": "amd.com",
    "intel.feature.node.kubernetes.io/gpu": "gpu.intel.com",
    "cloud.google.com/gke-tpu-accelerator": "google.com",
    "cloud.google.com/gke-accelerator": "nvidia.com",
}
"""Labels of node feature discovery and of clouds that say what hardware a node has, and the domain of its resources."""


def extended(view: ClusterView) -> list[str]:
    """Return the names of the extended resources that nodes know, with or without any to give."""
    memo = view.memo("extended", logs=False)
    if "all" not in memo:
        names: dict[str, None] = {}
        for node in view.all("nodes"):
            for name in (*node.map("status.capacity"), *node.map("status.allocatable")):
                if "/" in name and "kubernetes.io/" not in name:
                    names[name] = None
        memo["all"] = list(names)
    found: list[str] = memo["all"]
    return found


def wants(pod: Thing, resource: str) -> int:
    """Return how many pieces of an extended resource a pod asks for: the sum of its containers, or its largest init."""

    def of(container: object) -> float:
        resources = mapping(mapping(container).get("resources"))
        return quantity(
            mapping(resources.get("limits")).get(resource, mapping(resources.get("requests")).get(resource))
        )

    work = sum(of(c) for c in pod.rows("spec.containers"))
    return int(max([work, *(of(c) for c in pod.rows("spec.initContainers"))]))


def pods_with_plugins(view: ClusterView) -> list[Thing]:
    """Return the pods that ask for an extended resource that nodes know; found once a view."""
    memo = view.memo("pods-with-plugins", logs=False)
    if "all" not in memo:
        names = extended(view)
        memo["all"] = [
            p
            for p in (view.all("pods") if names else ())
            if any(p.may_hold(n) for n in names) and any(wants(p, n) for n in names)
        ]
    found: list[Thing] = memo["all"]
    return found


def used(view: ClusterView, resource: str) -> dict[str, list[tuple[Thing, int]]]:
    """Return, by node, the pods that hold pieces of a resource, and how many."""
    memo = view.memo("plugin-use", logs=False)
    if resource not in memo:
        index: dict[str, list[tuple[Thing, int]]] = defaultdict(list)
        for pod in pods_with_plugins(view):
            count = wants(pod, resource)
            if count and pod.text("spec.nodeName") and not over(pod):
                index[pod.text("spec.nodeName")].append((pod, count))
        memo[resource] = index
    found: dict[str, list[tuple[Thing, int]]] = memo[resource]
    return found


def waiting(view: ClusterView, resource: str) -> list[Thing]:
    """Return the pods without a node that ask for a resource, or for any of a vendor's ("nvidia.com/")."""
    memo = view.memo("unplaced", logs=False)
    if "all" not in memo:
        memo["all"] = [
            p
            for p in view.all("pods")
            if not p.text("spec.nodeName") and not p.deleting and p.text("status.phase") in ("Pending", "")
        ]
    unplaced: list[Thing] = memo["all"]
    if not resource.endswith("/"):
        return [p for p in unplaced if p.may_hold(resource) and wants(p, resource)]
    return [
        p
        for p in unplaced
        if any(
            name.startswith(resource)
            for c in p.rows("spec.containers")
            for name in mapping(mapping(c.get("resources")).get("limits"))
        )
    ]


def plugins(view: ClusterView, resource: str) -> list[Thing]:
    """Return the DaemonSets that look like the device plugin of a resource: by its vendor and the word plugin."""
    vendor = resource.split("/")[0].removesuffix(".com").split(".")[-1]
    found = []
    for daemons in view.all("daemonsets.apps"):
        containers = rows(daemons.at("spec.template.spec.containers"))
        words = " ".join([daemons.name, *(text(c.get("image")) for c in containers)]).lower()
        if "plugin" in words and vendor in words and "kubelet-plugin" not in words:
            found.append(daemons)
    return found


def hardware(node: Thing, resource: str) -> str:
    """Return the label by which a node says that it has the hardware behind a resource, "" where it does not."""
    domain = resource.split("/")[0]
    return next((k for k, d in HARDWARE.items() if d == domain and text(node.labels.get(k)) not in ("", "false")), "")
