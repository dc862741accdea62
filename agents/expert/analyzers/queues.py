"""Kueue: workloads that are held back, followed up from local queue to cluster queue to flavor."""

from __future__ import annotations

from agents.expert.conditions import bad_conditions
from agents.expert.draft import Draft, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"


def analyze(view: ClusterView) -> list[Draft]:
    """Return what holds queued workloads back."""
    found = []
    used = {q.text("spec.clusterQueue") for q in view.all(f"localqueues.{KUEUE}")}
    waiting = [
        w
        for w in view.all(f"workloads.{KUEUE}")
        if w.condition("Admitted").get("status") != "True" and w.condition("Finished").get("status") != "True"
    ]
    held = frozenset(
        {w.key for w in waiting}
        | {k for w in waiting if (o := view.owner(w)) is not None for k in (o.key,)}
        | {q.key for q in view.all(f"localqueues.{KUEUE}")}
    )
    flavors = [f.name for f in view.all(f"resourceflavors.{KUEUE}")]
    for queue in view.all(f"clusterqueues.{KUEUE}"):
        if queue.name not in used:
            continue
        for i, group in enumerate(queue.rows("spec.resourceGroups")):
            for j, flavor in enumerate(rows(group.get("flavors"))):
                name, field = text(flavor.get("name")), f"spec.resourceGroups[{i}].flavors[{j}].name"
                if name and view.complete(f"resourceflavors.{KUEUE}") and name not in flavors:
                    near = nearest(name, flavors) or (flavors[0] if len(flavors) == 1 else "")
                    fixes = (
                        [
                            set_path(
                                queue,
                                field,
                                near,
                                f"Use flavor {near}",
                                "that flavor exists; check that its nodes are the ones meant",
                            )
                        ]
                        if near
                        else []
                    )
                    fixes.append(outside(f"Or create ResourceFlavor {name}", "right if nodes of that kind exist"))
                    active = [p for p, c in bad_conditions(queue) if c.get("type") == "Active"]
                    found.append(
                        Draft(
                            "kueue",
                            queue.target,
                            field,
                            f"ClusterQueue {queue.name} is inactive: ResourceFlavor {name} does not exist.",
                            0.95,
                            Level.OBJECT,
                            (view.cite(queue, field, *active),),
                            frozenset({queue.key}),
                            held | {queue.key},
                            tuple(fixes),
                        )
                    )
        if queue.text("spec.stopPolicy") not in ("", "None"):
            fix = set_path(
                queue,
                "spec.stopPolicy",
                "None",
                f"Let ClusterQueue {queue.name} admit work again",
                "ask who stopped it",
            )
            found.append(
                Draft(
                    "kueue",
                    queue.target,
                    "spec.stopPolicy",
                    f"ClusterQueue {queue.name} is stopped ({queue.text('spec.stopPolicy')}).",
                    0.93,
                    Level.OBJECT,
                    (view.cite(queue, "spec.stopPolicy"),),
                    frozenset({queue.key}),
                    held | {queue.key},
                    (fix,),
                )
            )
    for local in view.all(f"localqueues.{KUEUE}"):
        name = local.text("spec.clusterQueue")
        if view.complete(f"clusterqueues.{KUEUE}") and view.find("ClusterQueue", "", name) is None:
            found.append(
                Draft(
                    "kueue",
                    local.target,
                    "spec.clusterQueue",
                    f"LocalQueue {local.name} names ClusterQueue {name}, which does not exist.",
                    0.93,
                    Level.OBJECT,
                    (view.cite(local, "spec.clusterQueue"),),
                    frozenset({local.key}),
                    held,
                    (
                        outside(
                            "Make the LocalQueue again with a ClusterQueue that exists",
                            "the field cannot be changed in place",
                        ),
                    ),
                )
            )
    for work in waiting:
        reserved = work.condition("QuotaReserved")
        index = next((i for i, c in enumerate(work.rows("status.conditions")) if c.get("type") == "QuotaReserved"), 0)
        if reserved.get("status") == "False":
            queue_name = work.text("spec.queueName")
            queue2 = view.find("LocalQueue", work.namespace, queue_name)
            cluster = view.find("ClusterQueue", "", queue2.text("spec.clusterQueue")) if queue2 is not None else None
            target, field = (
                (cluster.target, "spec.resourceGroups") if cluster is not None else (work.target, "spec.queueName")
            )
            found.append(
                Draft(
                    "kueue",
                    target,
                    field,
                    f"Workload {work.name} waits in its queue: {text(reserved.get('message'))[:160]}.",
                    0.7,
                    Level.TRAFFIC,
                    (view.cite(work, f"status.conditions[{index}]"),),
                    frozenset({work.key}),
                    frozenset({work.key}),
                    (outside("Wait, ask for less, or raise the queue's quota", "the queue has no room"),),
                )
            )
    return found
