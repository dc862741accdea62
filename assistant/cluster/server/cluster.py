"""The recorded cluster itself: catalog, objects, time and rights, without any HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from assistant.cluster.bundle import Bundle, PodLog
from assistant.cluster.server.catalog import Catalog, Resource
from assistant.cluster.server.clock import Clock
from assistant.cluster.server.objects import Object, Objects
from assistant.errors import BundleError

# Made by the API server itself; a bundle's list of namespaces may leave them out.
ALWAYS_THERE = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
FALLBACK_VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64"}


class Cluster:
    """One bundle as a cluster that can be read and written; writes live in memory only."""

    def __init__(self, bundle: Bundle, clock: Clock) -> None:
        """Build the catalog and store every recorded object. Raises BundleError if none of its kinds is served."""
        self.bundle = bundle
        self.clock = clock
        self.log_source = bundle
        definitions = [item for item in bundle.objects if item["kind"] == "CustomResourceDefinition"]
        self._lists = list(bundle.resources)
        self.catalog = Catalog(self._lists, definitions)
        self.objects = Objects(self.placed(bundle))
        if not self.objects.stores():
            raise BundleError(
                "The bundle holds no objects that its API serves.", "Capture it again with its discovery."
            )
        self.after_write: list[Callable[[], None]] = []
        self.captured = frozenset(bundle.namespaces)

    def placed(self, bundle: Bundle) -> Iterator[tuple[tuple[str, str], Object]]:
        """Yield the objects of a bundle with the place where they are stored."""
        for item in bundle.objects:
            resource = self.catalog.of_kind(item["apiVersion"], item["kind"])
            if resource is not None:
                yield resource.store, item

    def refresh_catalog(self) -> None:
        """Read the custom resource definitions again, after one was written."""
        definitions = list(self.objects.items(("apiextensions.k8s.io", "customresourcedefinitions")))
        self.catalog = Catalog(self._lists, definitions)

    def version(self) -> Object:
        """Return what `/version` says."""
        return self.bundle.version or FALLBACK_VERSION

    def namespace_exists(self, name: str) -> bool:
        """Say whether a namespace is there; a bundle without a list of namespaces has those that it captured."""
        if self.objects.get(("", "namespaces"), "", name) or name in ALWAYS_THERE:
            return True
        return name in self.captured and not any(self.objects.items(("", "namespaces")))

    def holds(self, namespace: str) -> bool:
        """Say whether the objects of this namespace were captured, so that an empty list means that there are none."""
        return not namespace or not self.captured or namespace in self.captured

    def log(self, namespace: str, pod: str, container: str, previous: bool) -> PodLog | None:
        """Return a captured log of the stage that the cluster is in; pods of the first stage keep theirs."""
        found = self.log_source.log(namespace, pod, container, previous)
        return found or self.bundle.log(namespace, pod, container, previous)

    def wrote(self) -> None:
        """Tell those who wait for it that something was written."""
        for action in self.after_write:
            action()

    def in_version(self, item: Object, resource: Resource) -> Object:
        """Return a stored object in the version that was asked for."""
        return item if item["apiVersion"] == resource.api_version else to_version(item, resource)


_EVENT_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}


def to_version(item: Object, resource: Resource) -> Object:
    """Convert a stored object; only Event and HorizontalPodAutoscaler change their shape between versions."""
    made = {**item, "apiVersion": resource.api_version}
    if resource.name == "events":
        names = _EVENT_NAMES
        if resource.group == "":
            names = {new: old for old, new in _EVENT_NAMES.items()}
        return {names.get(key, key): value for key, value in made.items()}
    if resource.name == "horizontalpodautoscalers":
        return _autoscaler(made, resource.version)
    return made


def _autoscaler(item: Object, version: str) -> Object:
    spec: dict[str, Any] = dict(item.get("spec") or {})
    status: dict[str, Any] = dict(item.get("status") or {})
    if version == "v1":
        for metric in spec.pop("metrics", None) or []:
            resource = metric.get("resource") or {}
            if resource.get("name") == "cpu" and "averageUtilization" in resource.get("target", {}):
                spec["targetCPUUtilizationPercentage"] = resource["target"]["averageUtilization"]
        spec.pop("behavior", None)
        for metric in status.pop("currentMetrics", None) or []:
            current = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
            if current is not None:
                status["currentCPUUtilizationPercentage"] = current
        status.pop("conditions", None)
    elif "targetCPUUtilizationPercentage" in spec:
        target = {"type": "Utilization", "averageUtilization": spec.pop("targetCPUUtilizationPercentage")}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**item, "spec": spec, "status": status}
