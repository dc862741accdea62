"""Nodes and the control plane: not ready, under pressure, leases of scheduler and controllers that nobody holds."""

from __future__ import annotations

from datetime import timedelta

from agents.expert.analyzers.autonomy import give, is_edge, outlook
from agents.expert.analyzers.hosts import dark
from agents.expert.analyzers.sites import everywhere, neighbours, offline
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from assistant.domain.raw import text
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Thing, when

PRESSURE = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
LEASES = "leases.coordination.k8s.io"
STALE = timedelta(seconds=45)
"""Three times the 15 s lease duration of leader election, the default of all control plane components."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return nodes and control plane components that are in trouble and matter to pods of the view."""
    found: list[Draft] = []
    for node in view.all("nodes"):
        found += _node(view, node)
    return found + _scheduler(view) + _controllers(view)


def pods_on(view: ClusterView) -> dict[str, list[Thing]]:
    """Return the pods of each node; built once a view."""
    memo = view.memo("pods-on-nodes", logs=False)
    if "all" not in memo:
        index: dict[str, list[Thing]] = {}
        for pod in view.all("pods"):
            index.setdefault(pod.text("spec.nodeName"), []).append(pod)
        memo["all"] = index
    found: dict[str, list[Thing]] = memo["all"]
    return found


def _node(view: ClusterView, node: Thing) -> list[Draft]:
    ready = node.condition("Ready")
    pods = pods_on(view).get(node.name, [])
    keys = frozenset({node.key, f"{node.key}#taint", *(p.key for p in pods)})
    note = not pods and bool(view.namespace)
    if ready and ready.get("status") != "True":
        said = text(ready.get("message")) or "the kubelet no longer reports"
        events = [
            e
            for e in view.events_of(node)
            if e.text("reason") in ("NodeNotReady", "ContainerGCFailed", "KubeletNotReady")
        ]
        index = next((i for i, c in enumerate(node.rows("status.conditions")) if c.get("type") == "Ready"), 0)
        cited = [view.cite(node, f"status.conditions[{index}]")] + [
            view.cite(e, "reason", "message") for e in events[:1]
        ]
        lost = ready.get("status") == "Unknown"
        what = (
            "check its power, network and kubelet"
            if lost
            else (
                "restart the container runtime on it"
                if "runtime" in said.lower() or "PLEG" in said
                else "look at its kubelet"
            )
        )
        edge = is_edge(node)
        fixes = _on_site(view, node) if edge else _on_machine(node, what)
        words = f"Node {node.name} is not ready: {said[:160].rstrip('.')}"
        return [
            Draft(
                "edge" if edge else "node",
                node.target,
                "status.conditions[Ready]",
                f"{words}; {outlook(node, pods)}." if edge else f"{words}.",
                0.95,
                _level(view, node),
                tuple(cited),
                keys,
                keys,
                fixes,
                note=note,
            )
        ]
    found = []
    for i, condition in enumerate(node.rows("status.conditions")):
        if text(condition.get("type")) in PRESSURE and condition.get("status") == "True":
            kind = text(condition.get("type"))
            found.append(
                Draft(
                    "node",
                    node.target,
                    f"status.conditions[{kind}]",
                    f"Node {node.name} reports {kind}: {text(condition.get('message'))[:140]}.",
                    0.9,
                    Level.PLATFORM,
                    (view.cite(node, f"status.conditions[{i}]"),),
                    keys,
                    keys,
                    (
                        outside(
                            f"Free what is short on node {node.name}, or move pods away",
                            "the kubelet evicts pods until it is over",
                        ),
                    ),
                    note=note and not _refused(view, kind),
                )
            )
    return found


def _level(view: ClusterView, node: Thing) -> Level:
    """Return the level of a lost node: above its site or its machine, where that is what was lost."""
    if node.key in offline(view):
        return Level.OBJECT if everywhere(view) else Level.POLICY
    return Level.POLICY if node.key in dark(view) else Level.PLATFORM


def _on_machine(node: Thing, what: str) -> tuple[Fix, ...]:
    title = f"On node {node.name}: {what}, and find out why it stopped"
    return (outside(title, "the fault is on the machine; no object of the cluster mends it"),)


def _on_site(view: ClusterView, node: Thing) -> tuple[Fix, ...]:
    """Say what to do about a lost edge node: nothing that its pods, which may well be serving, would not survive."""
    wait = outside(
        f"Check power and network of node {node.name} on site; meanwhile delete and drain nothing there",
        "what the cloud does not hear of may be running; it reports again by itself",
    )
    more = give(node, neighbours(view, node))
    return (wait, more) if more is not None else (wait,)


def _refused(view: ClusterView, kind: str) -> bool:
    taint = {"DiskPressure": "disk-pressure", "MemoryPressure": "memory-pressure", "PIDPressure": "pid-pressure"}.get(
        kind, "network-unavailable"
    )
    return any(taint in text(p.condition("PodScheduled").get("message")) for p in view.all("pods"))


def _scheduler(view: ClusterView) -> list[Draft]:
    """Judge pods that no scheduler looked at: Pending, no node, no PodScheduled condition, no such event."""
    waiting = [
        p
        for p in view.all("pods")
        if p.text("status.phase") == "Pending"
        and not p.text("spec.nodeName")
        and not p.condition("PodScheduled")
        and not p.rows("spec.schedulingGates")
        and not p.deleting
        and not any(_from_scheduler(e.text("reason")) for e in view.events_of(p))
    ]
    if not waiting:
        return []
    names = {p.text("spec.schedulerName") or "default-scheduler" for p in waiting}
    keys = frozenset(p.key for p in waiting)
    cited = [view.cite(waiting[0], "status", "metadata.name")]
    own = sorted(names - {"default-scheduler"})
    if own:
        from agents.expert.workload import workload_of

        workload = workload_of(view, waiting[0])
        field = f"{workload.template}.schedulerName"
        cited.append(view.cite(waiting[0], "spec.schedulerName"))
        fix = set_path(
            workload.thing, field, "default-scheduler", "Use the default scheduler", f"nothing answers for {own[0]}"
        )
        return [
            Draft(
                "scheduling",
                workload.thing.target,
                field,
                f"{workload.name()} asks for scheduler {own[0]}, which does not run: nobody looks at its pods.",
                0.9,
                Level.WORKLOAD,
                tuple(cited),
                keys | workload.keys,
                keys | workload.keys,
                (fix,),
            )
        ]
    lease = view.find("Lease", "kube-system", "kube-scheduler")
    down = lease is None or _stale(view, lease)
    if view.now - min(p.created for p in waiting) < timedelta(seconds=15) and not down:
        return []
    if lease is not None:
        cited.insert(0, view.cite(lease, "metadata.name", "spec.holderIdentity", "spec.renewTime"))
    target = (
        lease.target
        if lease is not None
        else Target("coordination.k8s.io/v1", "Lease", "kube-system", "kube-scheduler")
    )
    why = (
        "its lease kube-system/kube-scheduler has no live holder"
        if lease is not None and down
        else "no pod was looked at"
    )
    return [
        Draft(
            "scheduling",
            target,
            "spec.holderIdentity",
            f"kube-scheduler is not running: {why}, so {len(waiting)} pods wait without any event.",
            0.95 if lease is not None and down else 0.6,
            Level.PLATFORM,
            tuple(cited),
            keys,
            keys,
            (
                outside(
                    "Bring kube-scheduler back on the control plane (its static pod or service)",
                    "the pods are then placed by themselves",
                ),
            ),
        )
    ]


def _from_scheduler(reason: str) -> bool:
    """Say whether an event is of a scheduler: FailedScheduling and its like, or of a device that it waits for."""
    return "chedul" in reason or reason == "BindingConditionsPending"


def _stale(view: ClusterView, lease: Thing) -> bool:
    renewed = when(lease.at("spec.renewTime"))
    others = [when(o.at("spec.renewTime")) for o in view.all(LEASES, lease.namespace)]
    newest = max((o for o in others if o is not None), default=view.now)
    return not lease.text("spec.holderIdentity") or renewed is None or newest - renewed > STALE


def _controllers(view: ClusterView) -> list[Draft]:
    """Judge workloads whose controller has not looked at them: no live lease and a spec that nobody observed."""
    lease = view.find("Lease", "kube-system", "kube-controller-manager")
    if lease is None or not _stale(view, lease):
        return []
    blind = [
        w
        for r in ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps")
        for w in view.all(r)
        if w.number("metadata.generation") > w.number("status.observedGeneration")
    ]
    jobs = [j for j in view.all("jobs.batch") if not j.map("status") and j.at("spec.suspend") is not True]
    if not blind and not jobs:
        return []
    about = frozenset(t.key for t in [*blind, *jobs])
    return [
        Draft(
            "other",
            lease.target,
            "spec.holderIdentity",
            "kube-controller-manager is not running: its lease has no live holder and "
            f"{len(about)} objects wait to be acted on.",
            0.93,
            Level.PLATFORM,
            (
                view.cite(lease, "metadata.name", "spec.holderIdentity", "spec.renewTime"),
                view.cite([*blind, *jobs][0], "metadata.name", "metadata.generation", "status.observedGeneration"),
            ),
            about,
            about,
            (
                outside(
                    "Bring kube-controller-manager back on the control plane",
                    "the objects are then acted on by themselves",
                ),
            ),
        )
    ]
