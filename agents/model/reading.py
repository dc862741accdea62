"""What the model's tools need of whoever reads: the live cluster, or a recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from assistant.domain.ports import Recorder
from assistant.domain.view import ClusterView


class Kind(Protocol):
    """A kind that the cluster serves; `resource` is "plural.group", the bare plural in the core group."""

    @property
    def resource(self) -> str: ...  # noqa: D102 - see the class

    @property
    def plural(self) -> str: ...  # noqa: D102

    @property
    def group(self) -> str: ...  # noqa: D102

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def namespaced(self) -> bool: ...  # noqa: D102

    @property
    def api_version(self) -> str: ...  # noqa: D102

    def path(self, namespace: str = "") -> str:
        """Return the list path."""
        ...


class Reader(Protocol):
    """Reads into a view, each thing once; what cannot be read becomes knowledge of the view."""

    @property
    def view(self) -> ClusterView:
        """Return what was read so far."""
        ...

    async def kinds(self, recorder: Recorder, step: str = "") -> Mapping[str, Kind]:
        """Return the kinds by resource. Raises ClusterError when nothing answers."""
        ...

    async def read(self, resources: Iterable[tuple[str, str]], recorder: Recorder, step: str = "") -> None:
        """Read (resource, namespace) pairs."""
        ...

    async def logs(
        self, wanted: Iterable[tuple[str, str, str, bool]], recorder: Recorder, step: str = "", tail_lines: int = 200
    ) -> None:
        """Read container logs: namespace, pod, container, previous."""
        ...

    def recorded(self, request: str) -> str | None:
        """Return the text that a recording holds of a request beside objects and logs; a live reader has none."""
        ...

    async def try_patch(self, path: str, patch: str, content_type: str) -> None:
        """Have the server try a patch (dryRun=All). Raises ClusterError with its reason where it refuses."""
        ...


SHORT: Mapping[str, str] = {
    "po": "pods", "svc": "services", "deploy": "deployments", "rs": "replicasets", "sts": "statefulsets",
    "ds": "daemonsets", "cm": "configmaps", "ns": "namespaces", "no": "nodes", "ep": "endpoints",
    "pvc": "persistentvolumeclaims", "pv": "persistentvolumes", "sa": "serviceaccounts", "ing": "ingresses",
    "netpol": "networkpolicies", "hpa": "horizontalpodautoscalers", "pdb": "poddisruptionbudgets",
    "sc": "storageclasses",    "cj": "cronjobs", "crd": "customresourcedefinitions", "quota": "resourcequotas",
}  # fmt: skip


def kind_named(kinds: Mapping[str, Kind], name: str) -> Kind | None:
    """Return the kind that is meant by `Deployment`, `deployments`, `deploy` or `Service.serving.knative.dev`."""
    word = SHORT.get(name.lower(), name.lower())
    if word in kinds:
        return kinds[word]
    bare, _, group = word.partition(".")
    fits = [
        each for each in kinds.values()
        if bare in (each.kind.lower(), each.plural, each.resource) and (not group or each.group.startswith(group))
    ]  # fmt: skip
    # The groups that Kubernetes itself serves have no dot, or end in k8s.io: they are what people mean by a bare name.
    fits.sort(key=lambda each: (each.group != "", "." in each.group, not each.group.endswith("k8s.io"), each.group))
    return fits[0] if fits else None
