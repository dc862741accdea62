"""Containers that do not run as they should: for each, the first subject that knows why, or an honest symptom."""

from __future__ import annotations

from agents.expert.analyzers import accelerators, command, crash, image, memory, probes, references, waits
from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside
from agents.expert.workload import YOUNG, Container, Workload, troubled
from assistant.domain.view import ClusterView

JUDGES = (
    image.cause,
    references.cause,
    accelerators.cause,
    command.cause,
    memory.cause,
    probes.cause,
    waits.cause,
    crash.cause,
    probes.not_ready,
)
"""In the order of directness: what the kubelet says, what the kernel did, what the log says, what a probe sees."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return one cause for each failing container of each workload."""
    found: list[Draft] = []
    for workload, container in troubled(view):
        draft = judge(view, workload, container)
        if draft is None:
            draft = _symptom(view, workload, container)
        if draft is not None and draft.identity not in {d.identity for d in found}:
            found.append(draft)
    known = {k for d in found for k in d.about}
    return found + [d for d in memory.survivors(view) if not d.about & known]


def judge(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return what the first subject that knows says of a failing container, None where none knows."""
    drafts = (cause(view, workload, container) for cause in JUDGES)
    return next((d for d in drafts if d is not None), None)


def _symptom(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the plain fact that a container is not ready; a pod that only starts up is a note."""
    pod = container.pod
    if not pod.text("spec.nodeName") or (
        container.reason == "PodInitializing" and not (container.init and not container.sidecar)
    ):
        return None
    starting = view.now - pod.created < YOUNG
    sandbox = next((e for e in view.events_of(pod) if e.text("reason") == "FailedCreatePodSandBox"), None)
    home = view.find("Node", "", pod.text("spec.nodeName"))
    if sandbox is not None and home is not None and not starting:
        return Draft(
            "network",
            home.target,
            "spec.podCIDR (pod network)",
            f"Node {home.name} cannot set up the network of {workload.name()}: {sandbox.text('message')[:160]}.",
            0.8,
            Level.PLATFORM,
            (view.cite(sandbox, "reason", "message"),),
            workload.keys,
            workload.keys,
            (outside(f"Mend the network plug-in on node {home.name}", "the kubelet cannot start a pod without it"),),
        )
    what = container.reason or (f"exit code {container.exit_code}" if container.ended else "not ready")
    return Draft(
        "other",
        workload.thing.target,
        container.path,
        f"{workload.name()}: container {container.name} is not ready ({what}).",
        0.35,
        Level.CALLER,
        (view.cite(pod, f"{container.status_path}.state"),),
        workload.keys,
        workload.keys,
        (outside(f"Read the log of {container.name} and ask its owner", "no object of the cluster says why"),),
        missing=f"the log of container {container.name}",
        note=starting,
    )
