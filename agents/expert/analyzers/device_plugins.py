"""Extended resources of device plugins: nodes that lost them, and pods that get none."""

from __future__ import annotations

from agents.expert.devices.allocation import funnel
from agents.expert.devices.inventory import CLASSES, inventory
from agents.expert.devices.plugins import extended, hardware, plugins, used, waiting, wants
from agents.expert.devices.requests import Request
from agents.expert.devices.users import SETTLED
from agents.expert.devices.xid import MEANINGS, number_in
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import json_patch, nearest, outside, pointer, set_path
from agents.expert.workload import Workload, is_ready
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

IMPLIED = "deviceclass.resource.kubernetes.io"
"""The domain of the resource name that every DeviceClass has without saying so."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return the nodes that cannot give what they have."""
    found = []
    for resource in extended(view):
        for node in view.all("nodes"):
            have = int(quantity(node.map("status.capacity").get(resource)))
            free = int(quantity(node.map("status.allocatable").get(resource)))
            ready = node.condition("Ready")
            if have <= free or (ready and ready.get("status") != "True") or view.now - node.created < SETTLED:
                continue
            found.append(_lost(view, node, resource, have, free))
    return found


def _lost(view: ClusterView, node: Thing, resource: str, have: int, free: int) -> Draft:
    queue = waiting(view, resource)
    level = Level.PLATFORM
    keys = frozenset({f"{node.key}#{resource}", *(p.key for p in queue)})
    place = f"status.allocatable['{resource}']"
    said = next((e for e in view.events_of(node) if number_in(e.text("message"))), None)
    xid = number_in(said.text("message")) if said is not None else 0
    hint = f"; Xid {xid} says {MEANINGS[xid]}" if xid in MEANINGS else ""
    own = [p for d in plugins(view, resource) for p in view.pods_of(d) if p.text("spec.nodeName") == node.name]
    if free:
        what = f"{have - free} of its {have} {resource} are unhealthy"
        fix = outside(
            f"Find the bad devices of node {node.name} in the log of its device plugin, and repair them",
            "the plugin reports a device unhealthy that fails, and the kubelet then gives it to nobody",
        )
    elif plugins(view, resource) and (not own or not own[0].ready):
        what = f"it has {have} {resource} and offers none: its device plugin is gone" + (
            f" (pod {own[0].name} is not ready)" if own else " (no pod of it is on the node)"
        )
        fix = outside(
            f"Bring the device plugin back on node {node.name}",
            "the kubelet keeps the capacity and offers nothing while no plugin is registered",
        )
        if own:
            # What keeps the plugin's pod is found like with any pod, and this follows from it.
            keys, level = keys | {p.key for p in own}, Level.TRAFFIC
    else:
        what = f"it has {have} {resource} and offers none: its device plugin is gone, or every device is unhealthy"
        fix = outside(
            f"Look at the device plugin on node {node.name}: is it registered, which devices does it report?",
            "the kubelet keeps the capacity and offers nothing then",
        )
    return Draft(
        "scheduling",
        node.target,
        place,
        f"Node {node.name}: {what}{hint}.",
        0.9 if not free else 0.82,
        level,
        (
            view.cite(node, f"status.capacity['{resource}']", place, "metadata.name"),
            *([view.cite(said, "message")] if said is not None else []),
        ),
        keys,
        keys,
        (fix,),
        note=bool(view.namespace) and not queue,
    )


def limit_of(workload: Workload, pod: Thing, resource: str) -> str:
    """Return the path of the limit by which a pod asks for a resource, in its workload."""
    boxes = pod.rows("spec.containers")
    index = next((i for i, c in enumerate(boxes) if resource in mapping(mapping(c.get("resources")).get("limits"))), 0)
    return f"{workload.template}.containers[{index}].resources.limits['{resource}']"


def claimless(view: ClusterView, workload: Workload, pod: Thing, words: str, cited: list[Citation]) -> Draft | None:
    """Judge a pod without claims of its own that the scheduler tried to make one for, by its extended resource."""
    names = {n for c in pod.rows("spec.containers") for n in mapping(mapping(c.get("resources")).get("limits"))}
    for resource in sorted(n for n in names if "/" in n):
        draft = by_class(view, workload, pod, resource, limit_of(workload, pod, resource), words, cited)
        if draft is not None:
            return draft
    return None


def short(view: ClusterView, workload: Workload, pod: Thing, resource: str, words: str, cited: list[Citation]) -> Draft:
    """Return why no node gives a pod an extended resource; `words` is the scheduler's own count."""
    wanting = wants(pod, resource)
    place = limit_of(workload, pod, resource)
    offers = {n.name: int(quantity(n.map("status.allocatable").get(resource))) for n in view.all("nodes")}
    having = [n for n in view.all("nodes") if offers[n.name] > 0]
    fitting = [n for n in having if fits(pod, n) and not untolerated(pod, n)]
    if not having:
        return _absent(view, workload, pod, resource, place, words, cited)
    if not fitting:
        return _apart(view, workload, pod, having[0], resource, place, words, cited)
    most = max(offers[n.name] for n in fitting)
    sample = max(fitting, key=lambda n: offers[n.name])
    cited = [*cited, view.cite(sample, f"status.allocatable['{resource}']", "metadata.name")]
    if wanting > most:
        fix = set_path(workload.thing, place, str(most), f"Ask for {most} {resource}", "the most that one node has")
        return _draft(
            view,
            workload,
            place,
            f"it asks for {wanting} {resource}, and no node has more than {most} ({words})",
            0.95,
            cited,
            [fix, outside("Or add a larger node", "right if it needs them all")],
        )
    users = [(p, c) for n in fitting for p, c in used(view, resource).get(n.name, ())]
    held = sum(c for _, c in users)
    total = sum(offers[n.name] for n in fitting)
    names = ", ".join(f"{p.namespace}/{p.name} {c}" for p, c in sorted(users, key=lambda u: -u[1])[:3])
    told = f": {held} of {total} are held" + (f" ({names})" if names else "") if users else ""
    return _draft(
        view,
        workload,
        place,
        f"every {resource} that a fitting node offers is taken or too few{told} ({words})",
        0.9,
        [*cited, *(view.cite(p, "metadata.name", "spec.nodeName") for p, _ in users[:1])],
        [outside(f"Wait for a free {resource}, end one of its holders, or add such a node", "devices are given whole")],
    )


def _draft(
    view: ClusterView, workload: Workload, place: str, why: str, sure: float, cited: list[Citation], fixes: list[Fix]
) -> Draft:
    keys = workload.keys
    return Draft(
        "scheduling",
        workload.thing.target,
        place,
        f"{workload.name()} gets no node: {why}.",
        sure,
        Level.WORKLOAD,
        (*cited, *([view.cite(workload.thing, place)] if workload.thing.at(place) is not None else [])),
        keys,
        keys,
        tuple(fixes),
    )


def _absent(
    view: ClusterView, workload: Workload, pod: Thing, resource: str, place: str, words: str, cited: list[Citation]
) -> Draft:
    """Judge a resource that no node offers: misspelt, its plugin does not run, or there is no such hardware."""
    names = [n for n in extended(view) if n.split("/")[0] == resource.split("/")[0] or n.split("/")[-1] in resource]
    giving = [n for n in names if any(quantity(x.map("status.allocatable").get(n)) > 0 for x in view.all("nodes"))]
    marked = next((n for n in view.all("nodes") if hardware(n, resource)), None)
    for daemons in plugins(view, resource):
        draft = _plugin(view, workload, pod, daemons, resource, words, cited)
        if draft is not None:
            return draft
    if giving:
        better = nearest(resource, giving) or giving[0]
        at = next(n for n in view.all("nodes") if quantity(n.map("status.allocatable").get(better)) > 0)
        why = f"no node offers {resource}; {at.name} offers {better}"
        if better.endswith(".shared"):
            why += ", its devices shared by time-slicing"
        elif "/mig-" in better or "/mig-" in resource:
            why += ", by the way its GPUs are partitioned (MIG)"
        return _draft(
            view,
            workload,
            place,
            f"{why} ({words})",
            0.93,
            [*cited, view.cite(at, f"status.allocatable['{better}']", "metadata.name")],
            [
                *_renamed(workload, place, resource, better),
                outside(f"Or let a node offer {resource}", "right if the workload needs exactly that"),
            ],
        )
    if marked is not None:
        label = hardware(marked, resource)
        return _draft(
            view,
            workload,
            place,
            f"no node offers {resource}, although {marked.name} has the hardware by its "
            f"label {label}: its device plugin does not run or is not registered ({words})",
            0.92,
            [*cited, view.cite(marked, f"metadata.labels['{label}']", "metadata.name")],
            [
                outside(
                    f"Install or mend the device plugin of {resource} on node {marked.name}",
                    "resources are offered by plugins, labels offer nothing",
                )
            ],
        )
    served = by_class(view, workload, pod, resource, place, words, cited)
    if served is not None:
        return served
    return _draft(
        view,
        workload,
        place,
        f"no node offers {resource} ({words})",
        0.9,
        cited,
        [
            outside(
                f"Install or mend the device plugin that offers {resource}, or add such a node",
                "devices are offered by nodes",
            )
        ],
    )


def class_of(view: ClusterView, resource: str) -> Thing | None:
    """Return the DeviceClass that serves an extended resource, by its own name for it or by the implied one."""
    for kind in view.all(CLASSES):
        if resource in (kind.text("spec.extendedResourceName"), f"{IMPLIED}/{kind.name}"):
            return kind
    return None


def by_class(
    view: ClusterView, workload: Workload, pod: Thing, resource: str, place: str, words: str, cited: list[Citation]
) -> Draft | None:
    """Judge an extended resource that a DeviceClass serves by dynamic allocation; None where no class does."""
    kind = class_of(view, resource)
    if kind is None:
        return None
    known = inventory(view)
    asked = Request(resource, place, kind.name, (), False, max(1, wants(pod, resource)), False, ())
    open_nodes = [n for n in view.all("nodes") if fits(pod, n) and not untolerated(pod, n)]
    tried = funnel(view, known, workload.thing, asked, open_nodes)
    cites = [*cited, view.cite(kind, "metadata.name", "spec.extendedResourceName", "spec.selectors")]
    if tried.stage:
        why = f"DeviceClass {kind.name} serves {resource}, and no device of it is left ({tried.told(known)})"
        fix = outside("Free such a device, or see that its driver publishes more", "the class has none to give")
        return _draft(view, workload, place, f"{why} ({words})", 0.9, cites, [fix])
    why = f"DeviceClass {kind.name} serves {resource} and has devices ({tried.told(known)}), and no plugin offers it"
    fix = outside(
        "See that the feature DRAExtendedResource is on in API server, scheduler and kubelets",
        "without it the scheduler asks device plugins only",
    )
    return _draft(view, workload, place, f"{why} ({words})", 0.75, cites, [fix])


def _renamed(workload: Workload, place: str, old: str, new: str) -> list[Fix]:
    """Return the change of one resource's name in limits and requests, nothing where the template has it elsewhere."""
    base = place.removesuffix(f".limits['{old}']")
    steps = []
    for group in ("limits", "requests"):
        have = mapping(workload.thing.at(f"{base}.{group}"))
        if old in have:
            steps.append({"op": "remove", "path": pointer(f"{base}.{group}['{old}']")})
            steps.append({"op": "add", "path": pointer(f"{base}.{group}['{new}']"), "value": have[old]})
    if not steps:
        return []
    return [json_patch(workload.thing, steps, f"Ask for {new}", "nodes offer that one", f"ask for {old} again")]


def _plugin(
    view: ClusterView, workload: Workload, pod: Thing, daemons: Thing, resource: str, words: str, cited: list[Citation]
) -> Draft | None:
    """Judge a device plugin's DaemonSet that runs nowhere, or is not ready."""
    wanted, ready = daemons.number("status.desiredNumberScheduled"), daemons.number("status.numberReady")
    keys = workload.keys | {daemons.key}
    cites = (*cited, view.cite(daemons, "metadata.name", "status.desiredNumberScheduled", "status.numberReady"))
    if wanted and ready >= wanted:
        return None
    if not wanted:
        selector = daemons.map("spec.template.spec.nodeSelector")
        place = "spec.template.spec.nodeSelector"
        why = f"its device plugin, DaemonSet {daemons.namespace}/{daemons.name}, runs on no node"
        if selector:
            why += ": none carries " + ", ".join(f"{k}={v}" for k, v in selector.items())
        return Draft(
            "scheduling",
            daemons.target,
            place,
            f"{workload.name()} gets no {resource}: {why} ({words}).",
            0.93,
            Level.PLATFORM,
            (*cites, *([view.cite(daemons, place)] if selector else [])),
            keys,
            keys,
            (
                outside(
                    "Label the nodes with such devices so that the plugin's selector takes them (node feature "
                    "discovery does it), or correct the selector",
                    "only nodes with the hardware should carry the label",
                ),
            ),
        )
    own = [p for p in view.pods_of(daemons) if not is_ready(p)]
    # What keeps the plugin's own pods is found like with any workload; this claim then follows from it.
    return Draft(
        "scheduling",
        daemons.target,
        "status.numberReady",
        f"{workload.name()} gets no {resource}: {wanted - ready} of {wanted} pods of its device plugin, DaemonSet "
        f"{daemons.namespace}/{daemons.name}, are not ready ({words}).",
        0.9,
        Level.TRAFFIC,
        cites,
        keys | {p.key for p in own},
        keys,
        (outside("Mend the pods of the device plugin", "it offers the devices"),),
    )


def _apart(
    view: ClusterView,
    workload: Workload,
    pod: Thing,
    node: Thing,
    resource: str,
    place: str,
    words: str,
    cited: list[Citation],
) -> Draft:
    """Judge a pod that may not go where the devices are."""
    taints = untolerated(pod, node)
    if fits(pod, node) and taints:
        field = f"{workload.template}.tolerations"
        marked = [t for t in node.rows("spec.taints") if t.get("key") in taints]
        new = [{"key": text(t.get("key")), "operator": "Exists", "effect": text(t.get("effect"))} for t in marked]
        own = [dict(t) for t in rows(workload.spec.get("tolerations"))]
        return _draft(
            view,
            workload,
            field,
            f"the nodes with {resource} have the taint {', '.join(taints)}, which it does not tolerate ({words})",
            0.95,
            [*cited, view.cite(node, "spec.taints", "metadata.name")],
            [
                set_path(
                    workload.thing,
                    field,
                    [*own, *new],
                    f"Tolerate {', '.join(taints)}",
                    "nodes with devices are tainted to keep other pods away",
                )
            ],
        )
    field = f"{workload.template}.{'nodeSelector' if pod.map('spec.nodeSelector') else 'affinity.nodeAffinity'}"
    return _draft(
        view,
        workload,
        field,
        f"{node.name} offers {resource}, and its node selector or affinity does not take that node ({words})",
        0.93,
        [*cited, view.cite(node, "metadata.name", "metadata.labels")],
        [outside(f"Let the pod go to nodes with {resource}, such as {node.name}", "devices stay where they are")],
    )
