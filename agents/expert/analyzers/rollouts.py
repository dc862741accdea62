"""Rollouts that do not go on although nothing has gone wrong: paused, held back, told to wait, scaled to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import Workload, workloads
from assistant.domain.raw import fold_int
from assistant.domain.view import ClusterView

LONG_READY = 300
"""Seconds of minReadySeconds from which a rollout is noticed to wait."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return the rollouts that wait for a person, and the workloads that are scaled to nothing."""
    return [draft for workload in workloads(view) for draft in _held(view, workload)]


def _held(view: ClusterView, workload: Workload) -> Iterator[Draft]:
    thing = workload.thing
    wanted = thing.number("spec.replicas", 1)
    if thing.at("spec.paused") is True and thing.number("status.updatedReplicas") < wanted:
        fix = set_path(
            thing, "spec.paused", None, f"Resume the rollout of {thing.name}", "the new template waits for nothing else"
        )
        why = "is paused, so its new template does not reach the pods"
        yield _draft(view, workload, "spec.paused", why, 0.9, [fix], "status.updatedReplicas")
    if thing.kind == "StatefulSet" and _pending_revision(workload):
        yield from _by_hand(view, workload, wanted)
    outdated = thing.number("status.updatedNumberScheduled") < thing.number("status.desiredNumberScheduled")
    if thing.kind == "DaemonSet" and thing.text("spec.updateStrategy.type") == "OnDelete" and outdated:
        yield _on_delete(view, workload, "status.updatedNumberScheduled")
    patience = thing.number("spec.minReadySeconds")
    if patience >= LONG_READY and thing.number("status.availableReplicas") < thing.number("status.readyReplicas"):
        fix = set_path(
            thing, "spec.minReadySeconds", 10, "Wait 10 s for each pod", "a pod that is ready that long is well"
        )
        why = f"waits {patience} s for every pod after it is ready (minReadySeconds)"
        yield _draft(view, workload, "spec.minReadySeconds", why, 0.9, [fix], "status.availableReplicas")
    if thing.kind in ("Deployment", "StatefulSet") and thing.at("spec.replicas") == 0 and not _served(view, workload):
        yield _empty(view, workload)


def _pending_revision(workload: Workload) -> bool:
    current, new = workload.thing.text("status.currentRevision"), workload.thing.text("status.updateRevision")
    return bool(current and new) and current != new


def _by_hand(view: ClusterView, workload: Workload, wanted: int) -> Iterator[Draft]:
    thing = workload.thing
    if thing.text("spec.updateStrategy.type") == "OnDelete":
        yield _on_delete(view, workload, "status.updateRevision")
    partition = thing.number("spec.updateStrategy.rollingUpdate.partition")
    if partition > 0 and thing.number("status.updatedReplicas") <= max(0, wanted - partition):
        field = "spec.updateStrategy.rollingUpdate.partition"
        fix = set_path(
            thing, field, 0, "Let all pods have the new revision", "ask whether the trial of the first pods is over"
        )
        why = f"is held back by partition {partition}: pods with a lower ordinal keep the old revision"
        yield _draft(view, workload, field, why, 0.85, [fix], "status.updateRevision")


def _on_delete(view: ClusterView, workload: Workload, shown: str) -> Draft:
    field = "spec.updateStrategy.type"
    thing = workload.thing
    fixes = [
        outside(
            f"Delete the pods of {thing.name} one after the other", "with OnDelete each pod gets the new revision then"
        ),
        set_path(
            thing, field, "RollingUpdate", "Let the controller replace the pods", "right unless somebody wants the say"
        ),
    ]
    why = "waits until its pods are deleted by hand (updateStrategy OnDelete)"
    return _draft(view, workload, field, why, 0.85, fixes, shown)


def _draft(
    view: ClusterView, workload: Workload, field: str, why: str, sure: float, fixes: list[Fix], shown: str
) -> Draft:
    thing = workload.thing
    return Draft(
        "rollout",
        thing.target,
        field,
        f"The rollout of {workload.name()} {why}.",
        sure,
        Level.WORKLOAD,
        (view.cite(thing, field, shown),),
        frozenset({thing.key}),
        frozenset({thing.key}),
        tuple(fixes),
    )


def _served(view: ClusterView, workload: Workload) -> bool:
    """Say whether a Service selects the pods of a workload: then the Service's own lack of endpoints tells it."""
    labels = workload.thing.map(f"{workload.template.removesuffix('.spec')}.metadata.labels")
    selectors = (s.map("spec.selector") for s in view.all("services", workload.thing.namespace))
    return any(wanted and all(labels.get(k) == v for k, v in wanted.items()) for wanted in selectors)


def _empty(view: ClusterView, workload: Workload) -> Draft:
    thing = workload.thing
    before = fold_int(thing.annotations.get("deployment.kubernetes.io/desired-replicas"))
    fix = set_path(
        thing,
        "spec.replicas",
        max(before, 1),
        f"Scale {thing.name} up again",
        "nothing of it runs; ask who scaled it down",
    )
    return Draft(
        "rollout",
        thing.target,
        "spec.replicas",
        f"{workload.name()} is scaled to 0 replicas, so nothing of it runs.",
        0.85,
        Level.WORKLOAD,
        (view.cite(thing, "spec.replicas"),),
        frozenset({thing.key}),
        frozenset({thing.key}),
        (fix,),
        asks=r"replica|scal|no pods?\b|nothing runs|not run",
    )
