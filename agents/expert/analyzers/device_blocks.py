"""Devices that match a request and cannot be had: invisible, held for nobody, tainted, out of reach, or taken."""

from __future__ import annotations

from agents.expert.analyzers import device_claims, device_pools
from agents.expert.devices.allocation import Funnel
from agents.expert.devices.inventory import inventory
from agents.expert.devices.users import Leak, leaked
from agents.expert.devices.xid import meaning
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import delete, outside, set_path
from agents.expert.workload import Workload
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView, Thing

Cited = list[Citation]


def draft(
    view: ClusterView, workload: Workload, pod: Thing, cited: Cited, holder: Thing, found: Funnel, told: str
) -> Draft:
    """Return the draft for a request whose matching devices are all blocked; the cheapest way to one comes first."""
    known = inventory(view)
    text = f"{workload.name()} gets no device ({told})"
    keys = workload.keys | {holder.key}
    held = {c.key: c for d in found.taken for c in known.holders.get(d.place, ())}
    leaks = [(c, lost) for c in held.values() if (lost := leaked(view, c)) is not None]
    idle = next((row for row in leaks if not row[0].rows("status.reservedFor")), None)
    ruled = next(((d, t) for d, t in found.tainted if t.source.kind == "DeviceTaintRule"), None)
    sure = 0.95 if "allocate" in " ".join(c.quote for c in cited) else 0.88
    if idle is not None:
        return _idle(view, idle, text, keys, cited)
    if found.hidden:
        device = found.hidden[0]
        pool = known.pools[(device.driver, device.pool)]
        return device_pools.unusable(view, pool, 0.95, f"{text}: ", keys, tuple(cited))
    if ruled is not None:
        _, taint = ruled
        fix = delete(
            taint.source,
            f"Delete DeviceTaintRule {taint.source.name} when the maintenance is over",
            "its taint goes with it; ask first who set it",
            RiskLevel.HIGH,
        )
        return Draft(
            "dra",
            taint.source.target,
            "spec.taint",
            f"{text}: DeviceTaintRule {taint.source.name} taints {taint}.",
            0.93,
            Level.PLATFORM,
            (view.cite(taint.source, "spec.taint", "spec.deviceSelector"), *cited),
            keys | {taint.source.key},
            keys,
            (fix,),
        )
    if found.away:
        return _away(view, workload, pod, cited, keys, found, text)
    if leaks:
        return _idle(view, leaks[0], text, keys, cited)
    if found.tainted and not found.taken:
        device, taint = found.tainted[0]
        return Draft(
            "dra",
            device.source.target,
            taint.path,
            f"{text}: {device.pool}/{device.name} is tainted {taint}{meaning(taint.key, taint.value)}.",
            0.93,
            Level.PLATFORM,
            (view.cite(device.source, taint.path), *cited),
            keys | {device.source.key},
            keys,
            (
                outside(
                    f"Repair or reset device {device.name} of {device.pool}, or replace the node: the driver then "
                    "takes its own taint away",
                    "the taint is the driver's report of the device, not a setting",
                ),
                outside(
                    "Or let the workload run elsewhere, or tolerate the taint in its request", "the device is suspect"
                ),
            ),
        )
    holders = ", ".join(f"{c.namespace}/{c.name}" for c in list(held.values())[:4])
    fixes: list[Fix] = [
        outside(
            f"Wait for a device, or end one of its holders ({holders})" if holders else "Wait until a device is free",
            "every device that matches is in use",
        ),
        outside("Or add a node with such devices", "right if all of the work has to run at once"),
    ]
    place = found.request.path.removesuffix(".exactly")
    cites = [view.cite(c, "metadata.name", "status.allocation.devices.results") for c in list(held.values())[:1]]
    also = f", and {len(found.tainted)} tainted" if found.tainted else ""
    return Draft(
        "dra",
        holder.target,
        place,
        f"{text}: no free device matches its request for {found.request.class_name}, "
        f"{len(found.taken)} are allocated{also}.",
        sure,
        Level.OBJECT,
        (view.cite(holder, place), *cited, *cites),
        keys,
        keys,
        tuple(fixes),
    )


def _idle(view: ClusterView, idle: tuple[Thing, Leak], text: str, keys: frozenset[str], cited: Cited) -> Draft:
    base = device_claims.leak(view, *idle)
    return Draft(
        "dra",
        base.target,
        base.field,
        f"{text}: ResourceClaim {idle[0].namespace}/{idle[0].name} holds a device for nobody: {idle[1].why}.",
        0.93,
        Level.PLATFORM,
        (*base.citations, *cited),
        base.about | keys,
        base.explains | keys,
        base.fixes,
    )


def _away(
    view: ClusterView, workload: Workload, pod: Thing, cited: Cited, keys: frozenset[str], found: Funnel, text: str
) -> Draft:
    """Judge devices that are free where the pod may not go."""
    device = found.away[0]
    name = str(device.body.get("nodeName") or "") or device.source.text("spec.nodeName")
    node = view.find("Node", "", name) if name else None
    if node is None:
        return device_pools.homeless(view, device.source, 0.93, f"{text}: ", keys, tuple(cited))
    ready = node.condition("Ready")
    if ready and ready.get("status") != "True":
        index = node.rows("status.conditions").index(ready)
        return Draft(
            "node",
            node.target,
            "status.conditions[Ready]",
            f"{text}: the free device is on node {name}, which is not ready.",
            0.96,
            Level.PLATFORM,
            (view.cite(node, f"status.conditions[{index}]"), *cited),
            keys | {node.key},
            keys | {node.key},
            (outside(f"Bring node {name} back", "its devices are free"),),
        )
    if node.at("spec.unschedulable") is True:
        fix = set_path(node, "spec.unschedulable", None, f"Uncordon node {name}", "ask first whether the work is over")
        fix = Fix(fix.title, fix.risk, fix.reason, fix.action, f"kubectl uncordon {name}", f"kubectl cordon {name}")
        return Draft(
            "node",
            node.target,
            "spec.unschedulable",
            f"{text}: the free device is on node {name}, which is cordoned.",
            0.93,
            Level.PLATFORM,
            (view.cite(node, "spec.unschedulable", "metadata.name"), *cited),
            keys | {node.key},
            keys,
            (fix,),
        )
    taints = untolerated(pod, node)
    if not fits(pod, node):
        place = "nodeSelector" if pod.map("spec.nodeSelector") else "affinity.nodeAffinity"
        why, fix = (
            f"its {place} does not take",
            outside(
                f"Let the pod go to {name}, or add such a device where it may go", "node and device must be one place"
            ),
        )
        fixes = [fix]
        cites = (view.cite(pod, f"spec.{place}"),)
    else:
        place, why = "tolerations", f"it does not tolerate the taint {', '.join(taints)} of"
        own = [dict(t) for t in workload.thing.rows(f"{workload.template}.tolerations")]
        marked = [t for t in node.rows("spec.taints") if t.get("key") in taints]
        new = [{"key": t.get("key"), "operator": "Exists", "effect": t.get("effect")} for t in marked]
        fixes = (
            [
                set_path(
                    workload.thing,
                    f"{workload.template}.tolerations",
                    [*own, *new],
                    f"Tolerate {', '.join(taints)}",
                    "right if the pod is meant for that node",
                )
            ]
            if marked
            else []
        )
        cites = (view.cite(node, "spec.taints"),)
    field = f"{workload.template}.{place}"
    return Draft(
        "dra",
        workload.thing.target,
        field,
        f"{workload.name()} gets no device: the free one is on node {name}, and {why} that node ({told_of(text)}).",
        0.93,
        Level.WORKLOAD,
        (*cited, *cites),
        keys,
        keys,
        tuple(fixes),
    )


def told_of(text: str) -> str:
    """Return the funnel inside a summary's first part."""
    return text.partition("(")[2].removesuffix(")")
