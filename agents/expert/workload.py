"""Workloads as people think of them: the object at the head of the owner chain, its pod template and its pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.expert.templates import template_in
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing, when

CONTROLLERS = (
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "replicasets.apps",
)
RECENT = timedelta(minutes=12)
"""A restart is news for this long: twice the kubelet's longest back-off of 5 minutes and a margin."""
YOUNG = timedelta(seconds=45)
"""A pod younger than this may simply be starting."""
LINGERING = timedelta(minutes=2)
"""An init container that runs longer is looked at: most do their work in seconds, those that wait never end."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A controller (or a bare pod) with its pods; `template` is the path of the pod spec in it."""

    thing: Thing
    template: str
    pods: tuple[Thing, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of the workload and its pods."""
        return frozenset({self.thing.key, *(p.key for p in self.pods)})

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the pod spec of the template."""
        return self.thing.map(self.template)

    @property
    def wanted(self) -> int:
        """Return how many pods there should be; 0 for a workload that is not told."""
        match self.thing.kind:
            case "Deployment" | "StatefulSet" | "ReplicaSet":
                return self.thing.number("spec.replicas", 1)
            case "DaemonSet":
                return self.thing.number("status.desiredNumberScheduled")
            case _:
                return 0

    def name(self) -> str:
        """Return kind and name as people say them."""
        return f"{self.thing.kind} {self.thing.name}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod: spec, status and its path in the workload's template ("" where the names differ)."""

    pod: Thing
    name: str
    init: bool
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    path: str
    status_path: str

    @property
    def sidecar(self) -> bool:
        """Say whether it is an init container that keeps running beside the others (restartPolicy Always)."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def waiting(self) -> Mapping[str, Any]:
        """Return the waiting state."""
        return mapping(mapping(self.status.get("state")).get("waiting"))

    @property
    def reason(self) -> str:
        """Return why it waits."""
        return text(self.waiting.get("reason"))

    @property
    def ended(self) -> Mapping[str, Any]:
        """Return the newest termination: of this run if it is over, of the last one otherwise."""
        now = mapping(mapping(self.status.get("state")).get("terminated"))
        return now or mapping(mapping(self.status.get("lastState")).get("terminated"))

    @property
    def ended_path(self) -> str:
        """Return the path of `ended` in the pod."""
        now = mapping(mapping(self.status.get("state")).get("terminated"))
        return f"{self.status_path}.{'state' if now else 'lastState'}.terminated"

    @property
    def exit_code(self) -> int:
        """Return the exit code of `ended`, 0 where there is none."""
        return fold_int(self.ended.get("exitCode"))

    @property
    def restarts(self) -> int:
        """Return how often it was started again."""
        return fold_int(self.status.get("restartCount"))

    @property
    def ready(self) -> bool:
        """Say whether the kubelet calls it ready."""
        return self.status.get("ready") is True

    @property
    def running(self) -> bool:
        """Say whether it runs now."""
        return "running" in mapping(self.status.get("state"))


def template_of(thing: Thing) -> str:
    """Return the path of the pod spec in an object, "" where it has none."""
    if thing.kind == "Pod":
        return "spec"
    for path in ("spec.template.spec", "spec.jobTemplate.spec.template.spec"):
        if thing.map(path):
            return path
    return ""


def workloads(view: ClusterView) -> list[Workload]:
    """Return every workload of the view, bare pods included; built once a view."""
    memo = view.memo("workloads", logs=False)
    if "all" not in memo:
        heads: dict[tuple[str, str], tuple[Thing, list[Thing]]] = {}
        for resource in CONTROLLERS:
            for thing in view.all(resource):
                if not thing.rows("metadata.ownerReferences"):
                    heads[(thing.key, template_of(thing))] = (thing, [])
        runs: dict[str, str] = {}
        for pod in view.all("pods"):
            head = view.top(pod)
            if head.key not in runs:
                runs[head.key] = template_of(head)
            path = runs[head.key]
            if not path:
                head, path = _made_from(view, head, pod)
            heads.setdefault((head.key, path), (head, []))[1].append(pod)
        memo["all"] = [
            Workload(head, path, tuple(sorted(pods, key=lambda p: p.created, reverse=True)))
            for (_, path), (head, pods) in heads.items()
        ]
    found: list[Workload] = memo["all"]
    return found


def _made_from(view: ClusterView, top: Thing, pod: Thing) -> tuple[Thing, str]:
    """Return the object of the owner chain that holds a pod's template, the highest first, and where it does.

    For pods whose chain ends in a kind without the usual template. A template further down is made by what is above it,
    and is still better than the pod: a change of that is gone with the pod.
    """
    chain: list[Thing] = []
    current = view.owner(pod)
    while current is not None and current not in chain:
        chain.append(current)
        current = view.owner(current)
    for thing in reversed(chain):
        path = template_in(thing, pod) or template_of(thing)
        if path:
            return thing, path
    return pod, "spec"


def workload_of(view: ClusterView, pod: Thing) -> Workload:
    """Return the workload that a pod belongs to."""
    memo = view.memo("workload-of", logs=False)
    if "all" not in memo:
        memo["all"] = {p.key: w for w in workloads(view) for p in w.pods}
    index: dict[str, Workload] = memo["all"]
    return index.get(pod.key) or Workload(pod, "spec", (pod,))


def containers(workload: Workload, pod: Thing) -> Iterator[Container]:
    """Yield the containers of a pod, init containers first."""
    for group, states, init in (
        ("initContainers", "initContainerStatuses", True),
        ("containers", "containerStatuses", False),
    ):
        order = [text(c.get("name")) for c in rows(workload.spec.get(group))]
        status_rows = pod.rows(f"status.{states}")
        for spec in pod.rows(f"spec.{group}"):
            name = text(spec.get("name"))
            place = next((i for i, s in enumerate(status_rows) if s.get("name") == name), -1)
            status = status_rows[place] if place >= 0 else {}
            path = f"{workload.template}.{group}[{order.index(name)}]" if name in order else ""
            yield Container(pod, name, init, spec, status, path, f"status.{states}[{place}]")


def is_ready(pod: Thing) -> bool:
    """Say whether a pod is Ready or has done its work."""
    return pod.ready


def fresh(view: ClusterView, moment: object) -> bool:
    """Say whether a time lies within `RECENT` of the snapshot."""
    at = when(moment)
    return at is not None and view.now - at <= RECENT


def in_trouble(view: ClusterView, pod: Thing, container: Container) -> bool:
    """Say whether a container is failing now: not running as it should, or restarted again and again lately."""
    if pod.text("status.phase") == "Succeeded":
        return False
    if container.init and not container.sidecar:
        return (
            bool(container.reason and container.reason != "PodInitializing")
            or (container.exit_code != 0 and (not container.ready))
            or lingers(view, container)
        )
    if container.ready and not (container.restarts >= 3 and fresh(view, container.ended.get("finishedAt"))):
        return False
    return not container.ready or container.restarts >= 3


def lingers(view: ClusterView, container: Container) -> bool:
    """Say whether an init container runs so long that the pod cannot be said to be starting any more."""
    if not container.init or container.sidecar or not container.running:
        return False
    began = when(mapping(mapping(container.status.get("state")).get("running")).get("startedAt"))
    return began is not None and view.now - began > LINGERING


def troubled(view: ClusterView) -> list[tuple[Workload, Container]]:
    """Return one failing container for each workload and container name: of the newest pod that shows it best."""
    memo = view.memo("troubled", logs=False)
    if "all" not in memo:
        found: dict[tuple[str, str, str], tuple[Workload, Container]] = {}
        for workload in workloads(view):
            for pod in workload.pods:
                if pod.quiet or pod.deleting or _settled(view, pod):
                    continue
                for container in containers(workload, pod):
                    if in_trouble(view, pod, container):
                        key = (workload.thing.key, workload.template, container.name)
                        if key not in found or _tells(container) > _tells(found[key][1]):
                            found[key] = (workload, container)
        memo["all"] = list(found.values())
    result: list[tuple[Workload, Container]] = memo["all"]
    return result


def _settled(view: ClusterView, pod: Thing) -> bool:
    """Say whether a pod needs no look: ready without many restarts, or left over: of a failed job, of an eviction."""
    owner = view.owner(pod)
    if owner is not None and owner.kind == "Job" and owner.condition("Failed").get("status") == "True":
        return True
    if pod.text("status.phase") == "Failed" and pod.text("status.reason") and owner is not None and owner.kind != "Job":
        return True  # evicted or refused by its kubelet: its controller has made another one
    return is_ready(pod) and not any(fold_int(s.get("restartCount")) >= 3 for s in pod.rows("status.containerStatuses"))


def _tells(container: Container) -> int:
    return 2 * bool(container.reason and container.reason not in ("ContainerCreating", "PodInitializing")) + bool(
        container.ended
    )


def log_lines(view: ClusterView, container: Container) -> list[tuple[Any, str]]:
    """Return (log, line) of a container's last runs, oldest first: the previous run, then this one."""
    found = []
    for previous in (True, False):
        log = view.log(container.pod.namespace, container.pod.name, container.name, previous)
        if log is not None:
            found += [(log, line) for line in log.lines]
    return found


def sets_of(view: ClusterView, deployment: Thing) -> list[Thing]:
    """Return the ReplicaSets of a Deployment."""
    return owned_by(view, deployment, "replicasets.apps")


def owned_by(view: ClusterView, owner: Thing, resource: str) -> list[Thing]:
    """Return the objects of a kind that an object owns; indexed once a view."""
    memo = view.memo("owned", logs=False)
    if resource not in memo:
        index: dict[str, list[Thing]] = {}
        for owned in view.all(resource):
            above = view.owner(owned)
            if above is not None:
                index.setdefault(above.key, []).append(owned)
        memo[resource] = index
    found: dict[str, list[Thing]] = memo[resource]
    return found.get(owner.key, [])


def previous_good(view: ClusterView, deployment: Thing) -> Thing | None:
    """Return the newest older ReplicaSet of a Deployment that serves now, or that ran before this revision.

    Revisions are the annotation `deployment.kubernetes.io/revision`, set by the Deployment controller.
    """
    sets = sets_of(view, deployment)
    current = revision(deployment)
    older = [r for r in sets if 0 < revision(r) < current] if current else []
    serving = [r for r in older if r.number("status.readyReplicas") > 0]
    return max(serving or older, key=revision, default=None)


def revision(thing: Thing) -> int:
    """Return the rollout revision that an object carries, 0 where it has none."""
    value = text(thing.annotations.get("deployment.kubernetes.io/revision"))
    return int(value) if value.isdigit() else 0
