"""The GPU operator: driver, toolkit, validator, plugin, each waiting for the one before; and MIG and driver upgrades.

Source: NVIDIA GPU operator v25 and v26: names of its DaemonSets, states and condition reasons of ClusterPolicy, labels.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from agents.expert.analyzers import containers
from agents.expert.devices.plugins import waiting
from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside
from agents.expert.workload import Workload, in_trouble, troubled, workload_of
from agents.expert.workload import containers as containers_of
from assistant.domain.raw import fold_int, text
from assistant.domain.view import ClusterView, Thing

POLICIES, DRIVERS = "clusterpolicies.nvidia.com", "nvidiadrivers.nvidia.com"
CHAIN = (
    ("driver", re.compile(r"^nvidia-(?:vgpu-|gpu-)?driver(?:-daemonset)?\b")),
    ("container toolkit", re.compile(r"^nvidia-container-toolkit")),
    ("validator", re.compile(r"^nvidia-operator-validator")),
    ("device plugin", re.compile(r"^nvidia-device-plugin-daemonset")),
    ("feature discovery", re.compile(r"^gpu-feature-discovery")),
    ("DCGM exporter", re.compile(r"^nvidia-dcgm-exporter")),
    ("MIG manager", re.compile(r"^nvidia-mig-manager")),
)
"""The links in the order in which one waits for the other; the last four wait for the validator alike."""
LATER = 3
INSTALLING = timedelta(minutes=10)
"""A driver that is compiled on the node takes minutes; before that it is on its way."""
WORDS = {
    "NFDLabelsMissing": "no node carries the labels of node feature discovery, by which GPU nodes are found",
    "NoGPUNodes": "no node has a GPU by its labels",
    "ConflictingNodeSelector": "two NVIDIADriver objects select the same nodes",
    "PrerequisiteNotMet": "something that the operator needs is not there",
    "DriverNotReady": "the driver is not ready",
    "OperandNotReady": "one of its parts is not ready",
    "ReconcileFailed": "the operator cannot carry out its policy",
    "NodeStatusExporterNotReady": "the node status exporter is not ready",
}
LABELS = (
    ("nvidia.com/mig.config.state", "failed", "the MIG manager could not partition its GPUs", "nvidia.com/mig.config"),
    ("nvidia.com/gpu-driver-upgrade-state", "upgrade-failed", "the upgrade of its GPU driver failed", ""),
)


def analyze(view: ClusterView) -> list[Draft]:
    """Return the first link of the operator's chain that is not ready, and nodes whose GPUs could not be set up."""
    return _chain(view) + _labels(view)


def _links(view: ClusterView) -> list[tuple[int, str, Thing]]:
    found = []
    for daemons in view.all("daemonsets.apps"):
        for i, (word, pattern) in enumerate(CHAIN):
            if pattern.search(daemons.name):
                found.append((i, word, daemons))
                break
    return sorted(found, key=lambda row: (row[0], row[2].name))


def _lagging(daemons: Thing) -> bool:
    """Say whether a DaemonSet lacks ready pods, by a status that is of its newest spec."""
    if fold_int(daemons.at("status.observedGeneration"), 1 << 60) < daemons.number("metadata.generation"):
        return False
    return daemons.number("status.numberReady") < daemons.number("status.desiredNumberScheduled")


def _chain(view: ClusterView) -> list[Draft]:
    links = _links(view)
    policies = [*view.all(POLICIES), *view.all(DRIVERS)]
    broken = [(i, word, d) for i, word, d in links if _lagging(d)]
    if broken:
        return _first(view, links, broken[0], policies)
    unwell = next(((p, said) for p in policies if (said := _unwell(p)) is not None), None)
    return [_policy(view, unwell[0], *unwell[1])] if unwell is not None else []


def _first(
    view: ClusterView, links: list[tuple[int, str, Thing]], first: tuple[int, str, Thing], policies: list[Thing]
) -> list[Draft]:
    """Return the draft for the link that the others wait for; what is wrong with its pods is found as with any."""
    order, word, daemons = first
    bad = [p for p in view.pods_of(daemons) if not p.ready]
    after = [d for i, _, d in links if i > order and (order < LATER or i == order)]
    explains = {daemons.key, *(p.key for p in bad)}
    for later in after:
        explains |= {later.key, *(p.key for p in view.pods_of(later))}
    pods = waiting(view, "nvidia.com/")
    explains |= {p.key for p in pods} | {workload_of(view, p).thing.key for p in pods}
    explains |= {p.key for p in policies}
    own = _of_its_pods(view, daemons)
    if own is not None:
        return [replace(own, level=Level.PLATFORM, confidence=own.confidence + 0.001, explains=own.explains | explains)]
    ready, wanted = daemons.number("status.numberReady"), daemons.number("status.desiredNumberScheduled")
    young = bool(bad) and all(view.now - p.created < INSTALLING and not _failing(view, p) for p in bad)
    follow = ", ".join(w for i, w, d in links if d in after and _lagging(d))
    where = ", ".join(dict.fromkeys(p.text("spec.nodeName") for p in bad if p.text("spec.nodeName")))
    return [
        Draft(
            "scheduling",
            daemons.target,
            "status.numberReady",
            f"The GPU operator's {word}, DaemonSet {daemons.name}, has {ready} of {wanted} pods ready"
            + (f" (not on {where})" if where else "")
            + (f"; {follow} wait for it" if follow else "")
            + (", which may still be installing" if young else "")
            + ".",
            0.88,
            Level.PLATFORM,
            (
                view.cite(daemons, "metadata.name", "status.desiredNumberScheduled", "status.numberReady"),
                *(view.cite(p, "metadata.name", "status.phase", "status.initContainerStatuses") for p in bad[:1]),
                *(view.cite(p, "status.state") for p in policies[:1] if p.text("status.state")),
            ),
            frozenset({daemons.key, *(p.key for p in bad)}),
            frozenset(explains),
            (
                outside(
                    f"Read the log of {bad[0].name if bad else daemons.name}"
                    + (f" on node {where}" if where else "")
                    + f", and mend the {word} there first",
                    "every later part waits for this one in its init containers",
                ),
            ),
            note=young,
        )
    ]


def _of_its_pods(view: ClusterView, daemons: Thing) -> Draft | None:
    """Return what is known of the failing containers of a DaemonSet, where that is more than a symptom."""
    for workload, container in troubled(view):
        if workload.thing.key == daemons.key:
            draft = containers.judge(view, workload, container)
            if draft is not None and draft.confidence >= 0.6 and not draft.missing:
                return draft
    return None


def _failing(view: ClusterView, pod: Thing) -> bool:
    boxes = containers_of(Workload(pod, "spec", (pod,)), pod)
    return any(c.restarts or c.exit_code or (in_trouble(view, pod, c) and c.reason) for c in boxes)


def _unwell(policy: Thing) -> tuple[str, str, str] | None:
    """Return path, reason and message of what is wrong; None for what is ready or off, and for an old status."""
    if policy.text("status.state") in ("ready", "ignored", "disabled"):
        return None
    for i, condition in enumerate(policy.rows("status.conditions")):
        kind, state = text(condition.get("type")), condition.get("status")
        seen = fold_int(condition.get("observedGeneration"), policy.number("metadata.generation"))
        bad = (kind == "Error" and state == "True") or (kind == "Ready" and state == "False")
        if bad and seen >= policy.number("metadata.generation"):
            return f"status.conditions[{i}]", text(condition.get("reason")), text(condition.get("message"))
    return ("status.state", "", "") if policy.text("status.state") == "notReady" else None


def _policy(view: ClusterView, policy: Thing, path: str, reason: str, message: str) -> Draft:
    pods = waiting(view, "nvidia.com/")
    keys = frozenset({policy.key, *(p.key for p in pods), *(workload_of(view, p).thing.key for p in pods)})
    words = WORDS.get(reason, "")
    told = f"{words} ({reason})" if words else f"it gives the reason {reason}" if reason else "it does not say why"
    todo = {
        "NFDLabelsMissing": "Let node feature discovery run (the operator's chart has it); it labels GPU nodes",
        "NoGPUNodes": "Add a node with a GPU, or see why node feature discovery does not label it",
        "ConflictingNodeSelector": "Let the node selectors of the NVIDIADriver objects exclude each other",
    }.get(
        reason,
        "Look at the DaemonSets in the operator's namespace: driver, toolkit, validator, plugin; the first that "
        "is not ready is the cause",
    )
    return Draft(
        "scheduling",
        policy.target,
        path,
        f"{policy.kind} {policy.name} of the GPU operator is not ready: {told}"
        + (f": {message[:160]}" if message else "")
        + ".",
        0.85 if reason else 0.7,
        Level.PLATFORM,
        (view.cite(policy, path, "status.state"),),
        keys,
        keys,
        (outside(todo, "no GPU is offered before the chain is ready"),),
    )


def _labels(view: ClusterView) -> list[Draft]:
    found = []
    for node in view.all("nodes"):
        for label, value, why, config in LABELS:
            if node.labels.get(label) != value:
                continue
            asked = text(node.labels.get(config)) if config else ""
            place = f"metadata.labels['{label}']"
            keys = frozenset({f"{node.key}#{label}"})
            pods = waiting(view, "nvidia.com/")
            found.append(
                Draft(
                    "node",
                    node.target,
                    place,
                    f"Node {node.name}: {why}" + (f" as {asked}" if asked else "") + f" ({label}={value}).",
                    0.9,
                    Level.PLATFORM,
                    (view.cite(node, place, *([f"metadata.labels['{config}']"] if asked else []), "metadata.name"),),
                    keys,
                    keys | {p.key for p in pods},
                    (
                        outside(
                            f"Read the log of the operator's pod on node {node.name}: the GPUs must be idle, and the "
                            "configuration must exist",
                            "the label is the operator's report; to change it mends nothing",
                        ),
                    ),
                    note=bool(view.namespace) and not pods,
                )
            )
    return found
