"""Pods with a node and a claim that do not start, or are put out again: kubelet, plugin of the driver, taints."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from agents.expert.devices.drivers import plugin_of
from agents.expert.devices.inventory import Taint, inventory, results
from agents.expert.devices.users import named, over, pods_with_claims, real_claim
from agents.expert.devices.xid import meaning
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import delete, outside, set_path
from agents.expert.workload import workload_of
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.raw import text
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Thing, when

UNREGISTERED = re.compile(
    r"DRA driver ([\w./-]+) is not registered|plugin name ([\w./-]+) not found in the list of registered"
)
NOT_ALLOWED = re.compile(r"is not allowed to use [Rr]esource[Cc]laim \"?([\w./-]+)")
HANGS = re.compile(
    r"Node(?:Unp|P)repareResources\b.{0,80}(DeadlineExceeded|Unavailable|context deadline exceeded)", re.DOTALL
)
FAILED = re.compile(r"NodePrepareResources failed for (?:ResourceClaim|claim) ([\w./-]+): (.{1,240})", re.DOTALL)
SKEW = re.compile(r"could not find the requested resource")
STILL_THERE = re.compile(r"old ResourceClaim with same name .{0,200}still exists")
UNPREPARE = re.compile(r"[Uu]nprepare")
PATIENCE = timedelta(minutes=2)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what keeps pods with allocated claims from starting or ending, and taints that put them out."""
    found: dict[tuple[str, str, str], Draft] = {}
    for pod in pods_with_claims(view):
        if over(pod) or pod.quiet:
            continue
        draft = _ending(view, pod) if pod.deleting else _starting(view, pod)
        draft = _evicted(view, pod) or draft
        if draft is None:
            continue
        known = found.get(draft.identity)
        if known is not None:
            draft = _both(known, draft)
        found[draft.identity] = draft
    return list(found.values())


def _both(one: Draft, two: Draft) -> Draft:
    """Return one draft for two pods with the same cause."""
    return replace(one, about=one.about | two.about, explains=one.explains | two.explains)


def _draft(
    view: ClusterView,
    pod: Thing,
    thing: Thing,
    place: str,
    why: str,
    sure: float,
    cited: list[Citation],
    fixes: list[Fix],
    level: Level = Level.OBJECT,
) -> Draft:
    workload = workload_of(view, pod)
    keys = workload.keys | {thing.key}
    return Draft(
        "dra",
        thing.target,
        place,
        f"{named(workload, pod)} {why}.",
        sure,
        level,
        (*cited, *([view.cite(thing, "metadata.name", place)] if thing.at(place) is not None else [])),
        keys,
        keys,
        tuple(fixes),
    )


def _starting(view: ClusterView, pod: Thing) -> Draft | None:
    if not pod.text("spec.nodeName") or pod.ready or pod.text("status.phase") not in ("Pending", ""):
        return None
    event = next((e for e in view.events_of(pod) if "DynamicResources" in e.text("reason")), None)
    if event is None:
        return None
    said, node = event.text("message"), pod.text("spec.nodeName")
    cited = [view.cite(event, "reason", "message")]
    driver = UNREGISTERED.search(said)
    if driver is not None:
        return _plugin(view, pod, driver[1] or driver[2], node, "is not registered with the kubelet", cited)
    hangs = HANGS.search(said)
    claims = [c for row in pod.rows("spec.resourceClaims") if (c := real_claim(view, pod, row)) is not None]
    drivers = [text(r.get("driver")) for c in claims for r in results(c)]
    if hangs is not None and drivers:
        return _plugin(view, pod, drivers[0], node, f"does not answer ({hangs[1]})", cited)
    if NOT_ALLOWED.search(said):
        return _bypassed(view, pod, claims, cited)
    if STILL_THERE.search(said):
        return _draft(
            view,
            pod,
            claims[0] if claims else pod,
            "metadata.uid",
            f"cannot start: on node {node} the device is still prepared for an older claim of the same name",
            0.9,
            cited,
            [
                outside(
                    f"Let the kubelet on {node} finish with the old claim (its pod was deleted by force); else "
                    "restart the driver's plugin there",
                    "it is unprepared by itself once the driver answers",
                )
            ],
        )
    if SKEW.search(said):
        target = view.find("Node", "", node) or pod
        return _draft(
            view,
            pod,
            target,
            "status.nodeInfo.kubeletVersion",
            f"cannot start: the kubelet of {node} asks for a version of resource.k8s.io that is not served",
            0.88,
            cited,
            [
                outside(
                    f"Bring the kubelet of {node} and the API server to versions that go together",
                    "a kubelet may not be newer than the API server",
                )
            ],
            Level.PLATFORM,
        )
    failed = FAILED.search(said)
    words = " ".join((failed[2] if failed else said.partition("prepare dynamic resources: ")[2] or said).split())[:200]
    thing = claims[0] if claims else pod
    return _draft(
        view,
        pod,
        thing,
        "status.allocation.devices.results" if claims else "spec.resourceClaims",
        f"cannot start: the driver {'of ' + drivers[0] + ' ' if drivers else ''}fails to prepare its device on {node}: "
        f"{words}",
        0.88,
        cited,
        [
            outside(
                f"Read the log of the DRA driver's plugin on {node}, and mend what it names",
                "only the driver knows why",
            )
        ],
    )


def _plugin(view: ClusterView, pod: Thing, driver: str, node: str, what: str, cited: list[Citation]) -> Draft:
    """Judge a driver whose plugin is not there for the kubelet: its DaemonSet where it can be seen, else the node."""
    workload = workload_of(view, pod)
    daemons = plugin_of(view, driver)
    why = f"cannot start: DRA driver {driver} {what} on node {node}"
    fix = outside(
        f"Look at the plugin of DRA driver {driver} on node {node}, and restart it",
        "the kubelet reaches a driver through the socket of its plugin",
    )
    level, target, place = Level.PLATFORM, Target("v1", "Node", "", node), f"DRA driver {driver}"
    about = workload.keys
    seen = view.find("Node", "", node)
    if daemons is not None:
        own = [p for p in view.pods_of(daemons) if p.text("spec.nodeName") == node]
        target, place, about = daemons.target, "status.numberReady", about | {daemons.key}
        cited = [*cited, view.cite(daemons, "metadata.name", "status")]
        if own and not own[0].ready:
            # What is wrong with the plugin's pod is found like with any other pod, and explains this.
            level, about = Level.TRAFFIC, about | {own[0].key}
            why += f", and its pod {own[0].name} is not ready"
        elif not own:
            place = "spec.template.spec.nodeSelector"
            why += f", where DaemonSet {daemons.name} has no pod"
            probe = Thing("pods", "v1", "Pod", {"metadata": {}, "spec": dict(daemons.map("spec.template.spec"))}, "")
            if seen is not None and fits(probe, seen) and untolerated(probe, seen):
                taints = untolerated(probe, seen)
                place, why = "spec.template.spec.tolerations", f"{why} because of the taint {taints[0]}"
                rows_ = [dict(t) for t in daemons.rows(place)]
                new = [*rows_, {"key": taints[0], "operator": "Exists"}]
                mend = set_path(
                    daemons,
                    place,
                    new,
                    f"Let DaemonSet {daemons.name} tolerate {taints[0]}",
                    "a driver has to run on every node with its devices",
                )
                return Draft(
                    "dra",
                    target,
                    place,
                    f"{named(workload, pod)} {why}.",
                    0.95,
                    Level.PLATFORM,
                    (*cited, view.cite(seen, "spec.taints")),
                    about,
                    about,
                    (mend, fix),
                )
    elif seen is not None:
        cited = [*cited, view.cite(pod, "spec.nodeName")]
    return Draft(
        "dra",
        target,
        place,
        f"{named(workload, pod)} {why}.",
        0.95,
        level,
        tuple(cited),
        about,
        about,
        (fix,),
    )


def _bypassed(view: ClusterView, pod: Thing, claims: list[Thing], cited: list[Citation]) -> Draft:
    """Judge a pod that came to its node past the scheduler, so that nobody reserved its claim."""
    workload = workload_of(view, pod)
    place = f"{workload.template}.nodeName"
    fixed = workload.thing.text(place) if workload.thing.kind != "Pod" else ""
    fixes: list[Fix] = []
    if fixed:
        fixes.append(
            set_path(
                workload.thing, place, None, "Let the scheduler choose the node", "only the scheduler reserves claims"
            )
        )
    else:
        fixes.append(outside("Make the pod anew without spec.nodeName", "only the scheduler reserves claims"))
    cited = [*cited, *(view.cite(c, "metadata.name", "status.reservedFor") for c in claims[:1])]
    return Draft(
        "dra",
        workload.thing.target,
        place,
        f"{named(workload, pod)} may not use its ResourceClaim, because it was put on its node past the "
        "scheduler, which alone reserves claims.",
        0.93,
        Level.WORKLOAD,
        (*cited, view.cite(pod, "spec.nodeName")),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def _ending(view: ClusterView, pod: Thing) -> Draft | None:
    """Judge a pod that cannot end because its device cannot be given back."""
    asked = when(pod.at("metadata.deletionTimestamp"))
    event = next((e for e in view.events_of(pod) if UNPREPARE.search(e.text("message"))), None)
    if event is None or asked is None or view.now - asked < PATIENCE:
        return None
    driver = UNREGISTERED.search(event.text("message"))
    claims = [c for row in pod.rows("spec.resourceClaims") if (c := real_claim(view, pod, row)) is not None]
    names = [text(r.get("driver")) for c in claims for r in results(c)]
    name = (driver[1] or driver[2]) if driver else (names[0] if names else "")
    cited = [view.cite(event, "message"), view.cite(pod, "metadata.deletionTimestamp")]
    node = pod.text("spec.nodeName")
    return Draft(
        "dra",
        pod.target,
        "metadata.deletionTimestamp",
        f"Pod {pod.name} cannot end: its device cannot be given back on node {node}"
        + (f", where DRA driver {name} does not answer." if name else "."),
        0.9,
        Level.PLATFORM,
        tuple(cited),
        frozenset({pod.key}),
        frozenset({pod.key, workload_of(view, pod).thing.key}),
        (
            outside(
                f"Bring the plugin of DRA driver {name or 'of the claim'} back on node {node}; the pod ends then",
                "deletion by force would leave the device prepared for a pod that is gone",
            ),
        ),
    )


def _evicted(view: ClusterView, pod: Thing) -> Draft | None:
    """Judge a pod that the taint manager puts out, by the taint of one of its devices."""
    condition = pod.condition("DisruptionTarget")
    marked = condition.get("status") == "True" and condition.get("reason") == "DeletionByDeviceTaintManager"
    event = next((e for e in view.events_of(pod) if e.text("reason") == "DeviceTaintManagerEviction"), None)
    if not marked and not (event is not None and pod.deleting):
        return None
    cited = [view.cite(event, "message")] if event is not None else [view.cite(pod, "status.conditions")]
    known = inventory(view)
    taints: list[tuple[str, Taint]] = []
    for row in pod.rows("spec.resourceClaims"):
        claim = real_claim(view, pod, row)
        held = (
            {(text(r.get("driver")), text(r.get("pool")), text(r.get("device"))) for r in results(claim)}
            if claim
            else ()
        )
        for device in known.devices if held else ():
            if device.place in held:
                taints += [(device.name, t) for t in known.taints(device) if t.effect == "NoExecute"]
    workload = workload_of(view, pod)
    if not taints:
        return _draft(
            view,
            pod,
            pod,
            "status.conditions",
            "is put out because of a taint of its device",
            0.85,
            cited,
            [outside("Look which device is tainted and why", "the taint is gone, or cannot be read")],
        )
    device_name, taint = taints[0]
    keys = workload.keys | {taint.source.key}
    by_rule = taint.source.kind == "DeviceTaintRule"
    fix = (
        delete(
            taint.source,
            f"Delete DeviceTaintRule {taint.source.name} when the maintenance is over",
            "an administrator set it on purpose: ask first",
            RiskLevel.HIGH,
        )
        if by_rule
        else outside(
            f"Repair device {device_name}; its driver takes the taint away then", "the taint is the driver's report"
        )
    )
    who = f"DeviceTaintRule {taint.source.name}" if by_rule else "its driver"
    return Draft(
        "dra",
        taint.source.target,
        taint.path,
        f"{named(workload, pod)} is put out, because {who} taints device {device_name} {taint}, "
        f"NoExecute{meaning(taint.key, taint.value)}.",
        0.93,
        Level.PLATFORM,
        (*cited, view.cite(taint.source, taint.path)),
        keys,
        keys,
        (fix,),
    )
