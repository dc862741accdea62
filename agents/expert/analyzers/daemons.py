"""DaemonSets that leave nodes out, which is right for most and a fault for one that is meant for every node."""

from __future__ import annotations

from agents.expert.draft import Draft, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import outside, set_path
from agents.expert.workload import workloads
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing


def analyze(view: ClusterView) -> list[Draft]:
    """Return the DaemonSets that have no pod on a node because of its taint, for those who ask why."""
    found = []
    for workload in workloads(view):
        if workload.thing.kind != "DaemonSet" or not workload.pods:
            continue
        taken = {p.text("spec.nodeName") for p in workload.pods}
        left = [n for n in view.all("nodes") if n.name not in taken and _kept_away(workload.pods[0], n)]
        if not left:
            continue
        thing, field = workload.thing, f"{workload.template}.tolerations"
        taints = [t for t in left[0].rows("spec.taints") if t.get("key") in untolerated(workload.pods[0], left[0])]
        own = [dict(t) for t in rows(workload.spec.get("tolerations"))]
        new = [{"key": text(t.get("key")), "operator": "Exists", "effect": text(t.get("effect"))} for t in taints]
        names = ", ".join(n.name for n in left)
        found.append(
            Draft(
                "scheduling",
                thing.target,
                field,
                f"DaemonSet {thing.name} has no pod on {names}: it does not tolerate the taint "
                f"{text(taints[0].get('key')) if taints else ''} there.",
                0.85,
                Level.WORKLOAD,
                (view.cite(left[0], "metadata.name", "spec.taints"), view.cite(thing, "status.desiredNumberScheduled")),
                frozenset({thing.key + "#nodes"}),
                frozenset({thing.key + "#nodes"}),
                (
                    set_path(thing, field, [*own, *new], "Tolerate that taint", "right if it is meant for every node"),
                    outside("Or leave it: the taint may be there to keep it away", "ask who tainted the node"),
                ),
                asks=r"\bnodes?\b|machine|" + "|".join(n.name for n in left),
            )
        )
    return found


def _kept_away(pod: Thing, node: Thing) -> bool:
    """Say whether only the taint of a node keeps the pods away; a pod of a DaemonSet is pinned to its own node."""
    spec = {k: v for k, v in pod.map("spec").items() if k != "affinity"}
    return fits(Thing("pods", "v1", "Pod", {"metadata": {}, "spec": spec}, ""), node) and bool(untolerated(pod, node))
