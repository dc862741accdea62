"""Where the objects of batch, serving and edge projects keep the template of a pod, so that it is mended there.

Without this a pod of theirs counts as a bare one, and what is changed on it is gone with it. Paths and labels are those
of the projects' own APIs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from assistant.domain.raw import mapping, text
from assistant.domain.view import Thing


def template_in(head: Thing, pod: Thing) -> str:
    """Return the path of the pod spec that a pod was made from, "" where the kind is not known or has none for it."""
    find = _BY_KIND.get(head.resource)
    path = find(head, pod) if find is not None else ""
    return path if path and head.map(path) else ""


def _named(rows: list[Mapping[str, Any]], key: str, value: object) -> int | None:
    return next((i for i, row in enumerate(rows) if value and row.get(key) == value), None)


def _jobset(head: Thing, pod: Thing) -> str:
    name = pod.labels.get("jobset.sigs.k8s.io/replicatedjob-name")
    place = _named(head.rows("spec.replicatedJobs"), "name", name)
    return "" if place is None else f"spec.replicatedJobs[{place}].template.spec.template.spec"


def _group(head: Thing, pod: Thing) -> str:
    base = "spec.leaderWorkerTemplate"
    leads = pod.labels.get("leaderworkerset.sigs.k8s.io/worker-index") == "0" and head.map(
        f"{base}.leaderTemplate.spec"
    )
    return f"{base}.{'leaderTemplate' if leads else 'workerTemplate'}.spec"


def _volcano(head: Thing, pod: Thing) -> str:
    name = pod.annotations.get("volcano.sh/task-spec") or pod.labels.get("volcano.sh/task-spec")
    place = _named(head.rows("spec.tasks"), "name", name)
    return "" if place is None else f"spec.tasks[{place}].template.spec"


def _ray(base: str) -> Callable[[Thing, Thing], str]:
    def find(head: Thing, pod: Thing) -> str:
        if pod.labels.get("ray.io/node-type") == "head":
            return f"{base}.headGroupSpec.template.spec"
        place = _named(head.rows(f"{base}.workerGroupSpecs"), "groupName", pod.labels.get("ray.io/group"))
        return "" if place is None else f"{base}.workerGroupSpecs[{place}].template.spec"

    return find


def _predictor(head: Thing, pod: Thing) -> str:
    # A model's container is made from its runtime; only one that brings its own containers is a pod spec.
    return "spec.predictor" if head.rows("spec.predictor.containers") else ""


def _replicas(field: str) -> Callable[[Thing, Thing], str]:
    def find(head: Thing, pod: Thing) -> str:
        role = text(pod.labels.get("training.kubeflow.org/replica-type")).lower()
        name = next((k for k in mapping(head.at(f"spec.{field}")) if k.lower() == role), "")
        return f"spec.{field}.{name}.template.spec" if name else ""

    return find


def _appset(head: Thing, pod: Thing) -> str:
    base = "spec.workload.workloadTemplate"
    kinds = (f"{base}.{kind}.spec.template.spec" for kind in ("deploymentTemplate", "statefulSetTemplate"))
    return next((path for path in kinds if head.map(path)), "")


_BY_KIND: Mapping[str, Callable[[Thing, Thing], str]] = {
    "jobsets.jobset.x-k8s.io": _jobset,
    "leaderworkersets.leaderworkerset.x-k8s.io": _group,
    "jobs.batch.volcano.sh": _volcano,
    "rayclusters.ray.io": _ray("spec"),
    "rayjobs.ray.io": _ray("spec.rayClusterSpec"),
    "rayservices.ray.io": _ray("spec.rayClusterConfig"),
    "inferenceservices.serving.kserve.io": _predictor,
    "pytorchjobs.kubeflow.org": _replicas("pytorchReplicaSpecs"),
    "tfjobs.kubeflow.org": _replicas("tfReplicaSpecs"),
    "mpijobs.kubeflow.org": _replicas("mpiReplicaSpecs"),
    "yurtappsets.apps.openyurt.io": _appset,
}
