"""Objects of bare-metal, edge and batch projects, as an API server would send them, and what is asked of each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from agents.expert.causes import scan
from assistant.domain.finding import Verdict
from assistant.domain.view import ClusterView

from .cases import Incident, check, told
from .objects import OLD, Raw, node, view

KINDS: dict[str, tuple[str, str]] = {
    "BareMetalHost": ("baremetalhosts.metal3.io", "metal3.io/v1alpha1"),
    "HardwareData": ("hardwaredata.metal3.io", "metal3.io/v1alpha1"),
    "HostFirmwareSettings": ("hostfirmwaresettings.metal3.io", "metal3.io/v1alpha1"),
    "Ironic": ("ironics.ironic.metal3.io", "ironic.metal3.io/v1alpha1"),
    "Metal3Machine": ("metal3machines.infrastructure.cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io/v1beta2"),
    "Metal3Cluster": ("metal3clusters.infrastructure.cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io/v1beta2"),
    "Metal3Remediation": (
        "metal3remediations.infrastructure.cluster.x-k8s.io",
        "infrastructure.cluster.x-k8s.io/v1beta2",
    ),
    "Machine": ("machines.cluster.x-k8s.io", "cluster.x-k8s.io/v1beta2"),
    "MachineSet": ("machinesets.cluster.x-k8s.io", "cluster.x-k8s.io/v1beta2"),
    "MachineDeployment": ("machinedeployments.cluster.x-k8s.io", "cluster.x-k8s.io/v1beta2"),
    "Cluster": ("clusters.cluster.x-k8s.io", "cluster.x-k8s.io/v1beta2"),
    "IPPool": ("ippools.ipam.metal3.io", "ipam.metal3.io/v1alpha1"),
    "IPClaim": ("ipclaims.ipam.metal3.io", "ipam.metal3.io/v1alpha1"),
    "NodePool": ("nodepools.apps.openyurt.io", "apps.openyurt.io/v1beta2"),
    "YurtAppSet": ("yurtappsets.apps.openyurt.io", "apps.openyurt.io/v1beta1"),
    "RavenGateway": ("gateways.raven.openyurt.io", "raven.openyurt.io/v1beta1"),
    "ClusterQueue": ("clusterqueues.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "LocalQueue": ("localqueues.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "Workload": ("workloads.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "ResourceFlavor": ("resourceflavors.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "AdmissionCheck": ("admissionchecks.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "Topology": ("topologies.kueue.x-k8s.io", "kueue.x-k8s.io/v1beta2"),
    "ProvisioningRequest": ("provisioningrequests.autoscaling.x-k8s.io", "autoscaling.x-k8s.io/v1"),
    "JobSet": ("jobsets.jobset.x-k8s.io", "jobset.x-k8s.io/v1alpha2"),
    "TrainJob": ("trainjobs.trainer.kubeflow.org", "trainer.kubeflow.org/v1alpha1"),
    "ClusterTrainingRuntime": ("clustertrainingruntimes.trainer.kubeflow.org", "trainer.kubeflow.org/v1alpha1"),
    "LeaderWorkerSet": ("leaderworkersets.leaderworkerset.x-k8s.io", "leaderworkerset.x-k8s.io/v1"),
    "PodGroup": ("podgroups.scheduling.volcano.sh", "scheduling.volcano.sh/v1beta1"),
    "Queue": ("queues.scheduling.volcano.sh", "scheduling.volcano.sh/v1beta1"),
    "VolcanoJob": ("jobs.batch.volcano.sh", "batch.volcano.sh/v1alpha1"),
    "RayCluster": ("rayclusters.ray.io", "ray.io/v1"),
    "RayJob": ("rayjobs.ray.io", "ray.io/v1"),
    "RayService": ("rayservices.ray.io", "ray.io/v1"),
    "InferenceService": ("inferenceservices.serving.kserve.io", "serving.kserve.io/v1beta1"),
    "LLMInferenceService": ("llminferenceservices.serving.kserve.io", "serving.kserve.io/v1alpha1"),
    "ClusterServingRuntime": ("clusterservingruntimes.serving.kserve.io", "serving.kserve.io/v1alpha1"),
    "PyTorchJob": ("pytorchjobs.kubeflow.org", "kubeflow.org/v1"),
}
REAL = {"VolcanoJob": "Job", "RavenGateway": "Gateway"}
"""Kinds whose name another API has as well, under which we keep them apart."""


def made(kind: str, name: str, namespace: str = "lab", **fields: Any) -> Raw:
    """An object of one of the kinds above; `namespace` "" for those that have none."""
    meta: Raw = {"name": name, "creationTimestamp": OLD, **fields.pop("metadata", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": KINDS[kind][1], "kind": REAL.get(kind, kind), "metadata": meta, "_kind": kind, **fields}


def owned(raw: Raw, kind: str, name: str) -> Raw:
    raw["metadata"]["ownerReferences"] = [{"kind": kind, "name": name, "controller": True}]
    return raw


def condition(kind: str, status: str, reason: str = "", message: str = "", since: str = OLD, **more: Any) -> Raw:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since, **more}


def world(
    *objects: Any, namespace: str = "", absent: Iterable[str] = (), logs: dict[tuple[str, str], str] | None = None
) -> ClusterView:
    """A cluster that serves all these kinds but the `absent` ones, with a healthy node that tells the time."""
    flat = [o for item in objects for o in (item if isinstance(item, list) else [item])]
    custom = [json.loads(json.dumps(o)) for o in flat if "_kind" in o]
    built = view(*(o for o in flat if "_kind" not in o), node("n0"), namespace=namespace, logs=logs)
    gone = set(absent)
    for kind, (resource, version) in KINDS.items():
        if kind in gone:
            continue
        mine = [{k: v for k, v in o.items() if k != "_kind"} for o in custom if o["_kind"] == kind]
        built.add(resource, mine, f"GET /{resource}", api_version=version, kind=REAL.get(kind, kind))
    return built


@dataclass(frozen=True, slots=True)
class Row:
    """One failure: what there is, what has to be found and said, and what has to be offered."""

    objects: Callable[[], list[Any]]
    category: str
    target: str
    field: str
    words: tuple[str, ...] = ()
    fix: str = ""
    question: str = ""
    namespace: str = ""


def verify(row: Row) -> None:
    """The row's object is the only root cause; its words and its first fix are the expected ones."""

    def build() -> ClusterView:
        return world(*row.objects(), namespace=row.namespace)

    check(Incident(build, row.category, row.target, row.field, row.question))
    result = scan(build(), row.question)
    draft = result.roots[0].draft
    said = " ".join(draft.summary.split())
    for word in row.words:
        assert word.lower() in said.lower(), (word, said)
    assert draft.fixes, told(result)
    offered = " | ".join(f"{f.title} {f.kubectl}" for f in draft.fixes)
    assert row.fix.lower() in offered.lower(), (row.fix, offered)
    for fix in draft.fixes:
        assert "finalizer" not in f"{fix.title} {fix.kubectl}".lower()


def well(*objects: Any, question: str = "is everything in order?", **more: Any) -> None:
    """Nothing is wrong with these."""
    result = scan(world(*objects, **more), question)
    assert result.verdict is Verdict.HEALTHY, told(result)


def undecided(*objects: Any, word: str, question: str = "what is wrong?") -> None:
    """No cause is named, and it is said what keeps one from being named."""
    result = scan(world(*objects), question)
    assert result.verdict is Verdict.UNDETERMINED, told(result)
    assert not result.roots
    assert any(word in c.draft.summary for c in result.claims), told(result)


def summaries(*objects: Any, question: str = "", **more: Any) -> str:
    return told(scan(world(*objects, **more), question))
