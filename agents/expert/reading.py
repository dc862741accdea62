"""What to read for a subject: kinds in the question's namespace, custom kinds, and the logs that can decide."""

from __future__ import annotations

from collections.abc import Mapping

from agents.expert.analyzers.custom import JUDGED
from agents.expert.analyzers.gateway_kinds import ABROAD
from agents.expert.analyzers.senders import namespaces_referred_to
from agents.expert.catalogue import Subject
from agents.expert.workload import containers, in_trouble, is_ready, workloads
from assistant.domain.view import ClusterView

TROUBLED_LOGS, QUIET_LOGS = 60, 24
"""Containers whose logs are read at most: failing ones, and one of each workload that runs (calls, denials)."""

CORE_GROUPS = frozenset(
    {
        "",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "extensions",
        "events.k8s.io",
        "networking.k8s.io",
        "storage.k8s.io",
        "rbac.authorization.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "apiregistration.k8s.io",
        "apiextensions.k8s.io",
        "admissionregistration.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "scheduling.k8s.io",
        "resource.k8s.io",
        "internal.apiserver.k8s.io",
        "storagemigration.k8s.io",
        "metrics.k8s.io",
        "custom.metrics.k8s.io",
        "external.metrics.k8s.io",
    }
)
LARGEST_ABROAD = 6
"""Other namespaces at most that are read because an object refers into them."""
LARGEST_CUSTOM = 60
"""Custom kinds read at most in one turn; clusters with more are asked about by kind."""
JUDGED_GROUPS = (
    "gateway.networking.k8s.io",
    "inference.networking.k8s.io",
    "kueue.x-k8s.io",
    "metal3.io",
    "ironic.metal3.io",
    "apps.openyurt.io",
    "jobset.x-k8s.io",
    "leaderworkerset.x-k8s.io",
    "trainer.kubeflow.org",
    "scheduling.volcano.sh",
    "batch.volcano.sh",
    "ray.io",
    "serving.kserve.io",
    "cluster.x-k8s.io",
    "infrastructure.cluster.x-k8s.io",
    "ipam.metal3.io",
)
"""Groups that analyzers know; they come first, so that a cluster with hundreds of other kinds does not hide them."""


def reads_of(subject: Subject, groups: Mapping[str, str], namespace: str) -> list[tuple[str, str]]:
    """Return the (kind, namespace) pairs that a subject needs; `groups` gives the API group of every kind served."""
    wanted = [(need, namespace) for need in subject.needs]
    wanted += [(r, ns) for r, ns in subject.elsewhere if ns != namespace]
    if subject.custom:
        custom = sorted(
            (k for k, group in groups.items() if group not in CORE_GROUPS),
            key=lambda k: (k not in JUDGED, groups[k] not in JUDGED_GROUPS, k),
        )
        wanted += [(k, namespace) for k in custom[:LARGEST_CUSTOM]]
    return wanted


def abroad_of(view: ClusterView) -> list[tuple[str, str]]:
    """Return what else to read in other namespaces than the question's, because an object of this one refers there.

    Gateways and grants only: whatever else stands there could not be judged without all that belongs to it.
    """
    if not view.namespace:
        return []
    places = [p for p in namespaces_referred_to(view) if p != view.namespace]
    return [(kind, place) for place in places[:LARGEST_ABROAD] for kind in ABROAD]


def logs_of(view: ClusterView) -> list[tuple[str, str, str, bool]]:
    """Return the logs worth reading: of failing containers (and the run before), and of one pod a workload."""
    troubled: list[tuple[str, str, str, bool]] = []
    quiet: list[tuple[str, str, str, bool]] = []
    for workload in workloads(view):
        shown: set[str] = set()
        for pod in workload.pods:
            if pod.quiet:
                continue
            phase = pod.text("status.phase")
            if phase in ("Succeeded", "") or pod.deleting or not pod.text("spec.nodeName"):
                continue
            for container in containers(workload, pod):
                if container.name in shown or not (container.running or container.ended):
                    continue
                failing = in_trouble(view, pod, container) or (not is_ready(pod) and not container.init)
                if failing or phase == "Failed":
                    shown.add(container.name)
                    troubled.append((pod.namespace, pod.name, container.name, False))
                    if container.restarts:
                        troubled.append((pod.namespace, pod.name, container.name, True))
        if len(quiet) < QUIET_LOGS and not shown and workload.pods and workload.thing.kind not in ("Job", "CronJob"):
            pod = workload.pods[0]
            quiet += [
                (pod.namespace, pod.name, c.name, False) for c in containers(workload, pod) if c.running and not c.init
            ]
    if len(troubled) > TROUBLED_LOGS:
        quiet = []
    return troubled[:TROUBLED_LOGS] + quiet[:QUIET_LOGS]
