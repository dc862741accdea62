"""Pods that no node takes: requests against what nodes offer, selectors, affinity, taints, cordons, ports, claims."""

from __future__ import annotations

import re

from agents.expert.analyzers import device_plugins, gangs
from agents.expert.analyzers.queues import in_queue
from agents.expert.analyzers.taints import cordoned, funnel, no_node, tainted_nodes
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Workload, workload_of
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes, shown_cpu

GANG = re.compile(r"pod ?group is not ready|gang unschedulable", re.IGNORECASE)
SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
ELSEWHERE = re.compile(
    r"PersistentVolume's|volume zone|persistentvolumeclaim|PersistentVolumeClaim|volume node affinity|"
    r"persistent volume|device class|[Rr]esource ?[Cc]laim|allocate all claims|allocate devices|resource pool|"
    r"device binding|CEL (?:compile|runtime) error|DRA\w+ feature|claim limit"
)
"""What the scheduler says of volumes and devices, which have analyzers of their own."""
FIELDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeral-storage"}


def analyze(view: ClusterView) -> list[Draft]:
    """Return why pods are not scheduled, one draft for each workload."""
    found: dict[str, Draft] = {}
    for pod in view.all("pods"):
        if pod.deleting or pod.text("status.phase") not in ("Pending", ""):
            continue
        workload = workload_of(view, pod)
        fixed = pod.text("spec.nodeName")
        if fixed and workload.thing.key not in found and view.complete("nodes") and view.all("nodes"):
            found |= _fixed(view, workload, pod, fixed)
        if fixed:
            continue
        if workload.thing.key in found:
            continue
        gates = pod.rows("spec.schedulingGates")
        event = next((e for e in view.events_of(pod) if e.text("reason") == "FailedScheduling"), None)
        condition = pod.condition("PodScheduled")
        message = text(condition.get("message")) or (event.text("message") if event is not None else "")
        if gates and in_queue(view, pod):
            continue  # Kueue's own words say why the gate is closed
        if gates:
            found[workload.thing.key] = _gated(view, workload, pod)
        elif GANG.search(message) and view.all("podgroups.scheduling.volcano.sh"):
            continue  # one of many that start together or not at all: the group's own condition counts them
        elif message:
            draft = _judge(view, workload, pod, message, event)
            if draft is not None:
                found[workload.thing.key] = draft
    return list(found.values())


def _fixed(view: ClusterView, workload: Workload, pod: Thing, name: str) -> dict[str, Draft]:
    """Judge a pod whose template names a node that does not exist: nobody starts it, and nobody says so."""
    field = f"{workload.template}.nodeName"
    if view.find("Node", "", name) is not None or workload.thing.at(field) != name:
        return {}
    near = nearest(name, [n.name for n in view.all("nodes")])
    fix = set_path(workload.thing, field, None, "Let the scheduler choose the node", "a fixed node name bypasses it")
    cited = [view.cite(workload.thing, field), view.cite(pod, "spec.nodeName", "status.phase")]
    why = f"its template names node {name}, which does not exist" + (f" ({near} does)" if near else "")
    return {workload.thing.key: no_node(view, workload, field, why, 0.95, cited, [fix])}


def _judge(view: ClusterView, workload: Workload, pod: Thing, message: str, event: Thing | None) -> Draft | None:
    index = next((i for i, c in enumerate(pod.rows("status.conditions")) if c.get("type") == "PodScheduled"), -1)
    cited = [view.cite(event, "message")] if event is not None else [view.cite(pod, f"status.conditions[{index}]")]
    if "allocate all claims" in message and not pod.rows("spec.resourceClaims"):
        served = device_plugins.claimless(view, workload, pod, funnel(message), cited)
        if served is not None:
            return served
    if ELSEWHERE.search(message) and not ("allocate all claims" in message and SHORT.search(message)):
        return None
    gang = gangs.judge(view, workload, pod, message, cited)
    if gang is not None:
        return gang
    closed = cordoned(view, workload, pod, cited) if "unschedulable" in message else None
    if closed is not None:
        return closed
    short = list(SHORT.findall(message))
    if short:
        draft = _short(view, workload, pod, short[0], message, cited)
        if draft is not None:
            return draft
    if re.search(r"node affinity/selector|node selector", message):
        draft = _selector(view, workload, pod, cited, message)
        if draft is not None:
            return draft
    for pattern, field, why, fix in _RULES:
        if re.search(pattern, message):
            place = f"{workload.template}.{field}"
            return no_node(
                view,
                workload,
                place,
                why.format(funnel(message)),
                0.9,
                cited,
                _relax(view, workload, pod, field, fix, message),
            )
    usual = [n for n in view.all("nodes") if fits(pod, n) and not untolerated(pod, n)]
    if "taint" in message and not (short and usual):
        return tainted_nodes(view, workload, pod, message, cited)
    if short:
        return no_node(
            view,
            workload,
            f"{workload.template}.containers[0].resources.requests.{short[0]}",
            f"no node has enough free {short[0]} ({funnel(message)})",
            0.8,
            cited,
            [outside("Add a node, or free room on the ones there are", "the requests fit an empty node")],
        )
    return no_node(
        view, workload, workload.template, f"the scheduler finds no node ({funnel(message)})", 0.6, cited, []
    )


_RULES = (
    (
        r"anti-affinity",
        "affinity.podAntiAffinity",
        "its anti-affinity leaves no node ({0})",
        "Prefer instead of require to be apart",
    ),
    (
        r"pod affinity",
        "affinity.podAffinity",
        "its pod affinity matches no node ({0})",
        "Prefer instead of require to be together",
    ),
    (
        r"topology spread",
        "topologySpreadConstraints",
        "its topology spread leaves no node ({0})",
        "Schedule anyway where the spread cannot hold",
    ),
    (r"Too many pods", "containers", "every node runs as many pods as it may ({0})", ""),
    (r"free ports|host ?port", "containers[0].ports", "its host port is taken on every node that fits ({0})", ""),
)


def _short(
    view: ClusterView, workload: Workload, pod: Thing, resource: str, message: str, cited: list[Citation]
) -> Draft | None:
    nodes = [n for n in view.all("nodes") if fits(pod, n) and not untolerated(pod, n)]
    best = max((quantity(n.map("status.allocatable").get(resource)) for n in nodes), default=0.0)
    wants = [
        (i, quantity(mapping(mapping(c.get("resources")).get("requests")).get(resource)))
        for i, c in enumerate(pod.rows("spec.containers"))
    ]
    total = sum(w for _, w in wants)
    index = max(wants, key=lambda w: w[1], default=(0, 0.0))[0]
    field = f"{workload.template}.containers[{index}].resources.requests.{resource}"
    if "/" in resource:
        return device_plugins.short(view, workload, pod, resource, funnel(message), cited)
    if not nodes or (total <= best and best):
        return None
    cited.append(view.cite(pod, f"spec.containers[{index}].resources.requests"))
    biggest = max(nodes, key=lambda n: quantity(n.map("status.allocatable").get(resource)))
    cited.append(view.cite(biggest, f"status.allocatable.{resource}", "metadata.name"))
    show = shown_cpu if resource == "cpu" else shown_bytes
    new = show(_share(best, resource))
    fix = set_path(
        workload.thing,
        field,
        new,
        f"Request {new} {resource}",
        f"fits the largest node ({show(best)}); check what it really uses",
    )
    return no_node(
        view,
        workload,
        field,
        f"it requests {show(total)} {resource}, and the largest fitting node has {show(best)} ({funnel(message)})",
        0.95,
        cited,
        [fix, outside(f"Or add a node with at least {show(total)} {resource}", "right if it really needs that much")],
    )


def _share(best: float, resource: str) -> float:
    return round(best / 4, 1) or best / 4 if resource == "cpu" else best // 4


def _selector(view: ClusterView, workload: Workload, pod: Thing, cited: list[Citation], message: str) -> Draft | None:
    nodes = view.all("nodes")
    if not nodes:
        return None
    for key, value in pod.map("spec.nodeSelector").items():
        if any(n.labels.get(key) == value for n in nodes):
            continue
        field = (
            f"{workload.template}.nodeSelector['{key}']"
            if "." in key or "/" in key
            else f"{workload.template}.nodeSelector.{key}"
        )
        cited.append(view.cite(pod, "spec.nodeSelector"))
        have = [text(n.labels.get(key)) for n in nodes if key in n.labels]
        near = nearest(text(value), have)
        fixes = (
            [set_path(workload.thing, field, near, f"Select {key}={near}", "nodes carry that value")] if near else []
        )
        if not have or not near:
            fixes.append(
                set_path(
                    workload.thing, field, None, f"Drop the node selector {key}", "right if the pod needs no such node"
                )
            )
        fixes.append(
            outside(f"Or label a suitable node {key}={value}", "right if such a node exists and only lost its label")
        )
        return no_node(
            view,
            workload,
            field,
            f"no node carries the label {key}={value} that its nodeSelector asks for",
            0.95,
            cited,
            fixes,
        )
    if pod.map("spec.nodeSelector") and not any(fits(pod, n) for n in nodes):
        field = f"{workload.template}.nodeSelector"
        return no_node(
            view,
            workload,
            field,
            "no node carries all labels of its nodeSelector at once",
            0.85,
            [*cited, view.cite(pod, "spec.nodeSelector")],
            [],
        )
    if pod.map("spec.affinity.nodeAffinity") and not any(fits(pod, n) for n in nodes):
        field = f"{workload.template}.affinity.nodeAffinity"
        fix = set_path(
            workload.thing, field, None, "Drop the required node affinity", "right if the pod runs on any node"
        )
        return no_node(
            view,
            workload,
            field,
            "no node satisfies its required node affinity",
            0.93,
            [*cited, view.cite(pod, "spec.affinity.nodeAffinity")],
            [fix],
        )
    return None


def _relax(view: ClusterView, workload: Workload, pod: Thing, field: str, title: str, message: str) -> list[Fix]:
    place = f"{workload.template}.{field}"
    own = workload.thing.at(place)
    if field.startswith("affinity") and mapping(own).get("requiredDuringSchedulingIgnoredDuringExecution"):
        terms = [
            {"weight": 100, "podAffinityTerm": dict(t)}
            for t in rows(mapping(own)["requiredDuringSchedulingIgnoredDuringExecution"])
        ]
        softened = {"preferredDuringSchedulingIgnoredDuringExecution": terms}
        return [
            set_path(workload.thing, place, softened, title, "keeps the wish, and runs where it cannot be met"),
            outside("Or add a node, or ask for fewer replicas", "right if the rule must hold"),
        ]
    if field == "topologySpreadConstraints" and own:
        softened_rows = [{**dict(t), "whenUnsatisfiable": "ScheduleAnyway"} for t in rows(own)]
        return [
            set_path(workload.thing, place, softened_rows, title, "keeps the wish, and runs where it cannot be met")
        ]
    if "Too many pods" in message:
        return [outside("Add a node, raise maxPods of the kubelets, or run fewer pods", "the kubelets take no more")]
    return [outside("Remove hostPort, or run one replica a node as a DaemonSet", "a port of a node serves one pod")]


def _gated(view: ClusterView, workload: Workload, pod: Thing) -> Draft:
    names = ", ".join(text(g.get("name")) for g in pod.rows("spec.schedulingGates"))
    return Draft(
        "scheduling",
        workload.thing.target,
        f"{workload.template}.schedulingGates",
        f"{workload.name()} waits: scheduling gate {names} is closed.",
        0.85,
        Level.WORKLOAD,
        (view.cite(pod, "spec.schedulingGates"),),
        workload.keys,
        workload.keys,
        (outside(f"Ask the controller that owns gate {names}", "whoever set a gate opens it"),),
    )
