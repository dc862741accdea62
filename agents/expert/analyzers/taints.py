"""Nodes that keep pods away: taints, and cordons that somebody left."""

from __future__ import annotations

from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import outside, set_path
from agents.expert.workload import Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing


def funnel(message: str) -> str:
    """Return the scheduler's own count without what it says of preemption."""
    return " ".join(message.split("preemption:")[0].replace("no new claims to deallocate,", "").split()).rstrip(" .,")[
        :220
    ]


def no_node(
    view: ClusterView, workload: Workload, field: str, why: str, sure: float, cited: list[Citation], fixes: list[Fix]
) -> Draft:
    """Return a draft for a pod that no node takes."""
    return Draft(
        "scheduling",
        workload.thing.target,
        field,
        f"{workload.name()} gets no node: {why}.",
        sure,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def cordoned(view: ClusterView, workload: Workload, pod: Thing, cited: list[Citation]) -> Draft | None:
    """Return the cordon that keeps a pod waiting, None where other nodes are open to it."""
    nodes = [n for n in view.all("nodes") if fits(pod, n)]
    closed = [n for n in nodes if n.at("spec.unschedulable") is True]
    if not closed or len(closed) < len([n for n in nodes if not untolerated(pod, n)]):
        return None
    node = closed[0]
    fix = set_path(
        node,
        "spec.unschedulable",
        None,
        f"Uncordon node {node.name}",
        "nothing says that the maintenance still runs; ask first",
    )
    fix = Fix(
        fix.title, fix.risk, fix.reason, fix.action, f"kubectl uncordon {node.name}", f"kubectl cordon {node.name}"
    )
    names = ", ".join(n.name for n in closed)
    return Draft(
        "node",
        node.target,
        "spec.unschedulable",
        f"{workload.name()} gets no node: {names}, the only one that fits, is cordoned.",
        0.95,
        Level.PLATFORM,
        (*cited, view.cite(node, "spec.unschedulable", "metadata.name")),
        workload.keys | {node.key},
        workload.keys,
        (fix,),
    )


def tainted_nodes(view: ClusterView, workload: Workload, pod: Thing, message: str, cited: list[Citation]) -> Draft:
    """Return the taint that keeps a pod waiting: the pod's to tolerate, or the node's where it came later."""
    nodes = [n for n in view.all("nodes") if fits(pod, n)]
    tainted = [(n, untolerated(pod, n)) for n in nodes if untolerated(pod, n)]
    pressed = [(n, k) for n, keys in tainted for k in keys if k.startswith("node.kubernetes.io/")]
    if pressed:
        node, taint = pressed[0]
        return Draft(
            "node",
            node.target,
            "spec.taints",
            f"{workload.name()} gets no node: {node.name} is tainted {taint}.",
            0.85,
            Level.OBJECT,
            (*cited, view.cite(node, "spec.taints")),
            workload.keys | {node.key + "#taint"},
            workload.keys,
            (
                outside(
                    f"Mend node {node.name}: the taint goes away by itself",
                    "the node controller sets it from a condition",
                ),
            ),
        )
    later = next(((n, k) for n, keys in tainted for k in keys if _ran_before(workload, n)), None)
    if later is not None:
        return _tainted_later(view, workload, later[0], later[1], cited)
    field = f"{workload.template}.tolerations"
    fixes = []
    if tainted:
        node, keys = tainted[0]
        cited.append(view.cite(node, "spec.taints", "metadata.name"))
        # The scheduler's words may be older than the node's taints: then the key alone has to do.
        marked = next((t for t in node.rows("spec.taints") if t.get("key") == keys[0]), {})
        toleration = {"key": keys[0], "operator": "Exists"}
        if text(marked.get("value")):
            toleration |= {"operator": "Equal", "value": text(marked.get("value"))}
        if text(marked.get("effect")):
            toleration |= {"effect": text(marked.get("effect"))}
        kept = [dict(t) for t in rows(workload.spec.get("tolerations"))]
        fixes.append(
            set_path(
                workload.thing, field, [*kept, toleration], f"Tolerate {keys[0]}", "the pod is meant for that node"
            )
        )
    return no_node(
        view,
        workload,
        field,
        f"the nodes that fit have taints that it does not tolerate ({funnel(message)})",
        0.9,
        cited,
        fixes,
    )


def _ran_before(workload: Workload, node: Thing) -> bool:
    """Say whether a pod of the same workload runs on a node that keeps it away now: the taint is the newer one."""
    return any(p.text("spec.nodeName") == node.name and untolerated(p, node) for p in workload.pods)


def _tainted_later(view: ClusterView, workload: Workload, node: Thing, key: str, cited: list[Citation]) -> Draft:
    index = next((i for i, t in enumerate(node.rows("spec.taints")) if t.get("key") == key), 0)
    fix = set_path(
        node, f"spec.taints[{index}]", None, f"Take taint {key} off node {node.name}", "ask first who set it"
    )
    return Draft(
        "node",
        node.target,
        "spec.taints",
        f"{workload.name()} gets no node: {node.name} was tainted {key} after its other pods had come there.",
        0.88,
        Level.OBJECT,
        (*cited, view.cite(node, "spec.taints")),
        workload.keys | {node.key + "#taint"},
        workload.keys,
        (fix,),
    )
