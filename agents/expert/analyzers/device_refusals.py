"""Pods that the kubelet refused because it could not give them a device: Failed, and never started again.

Source: pkg/kubelet/cm/devicemanager and the NVIDIA device plugin (time-slicing) for the words of the messages.
"""

from __future__ import annotations

import re

from agents.expert.devices.plugins import extended, wants
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import Workload, is_ready, workloads
from assistant.domain.raw import mapping, rows
from assistant.domain.view import ClusterView, Thing

OUT_OF = re.compile(r"^OutOf([\w.-]+/[\w.-]+)$")
SHARED = re.compile(r"maximum request size for shared resources is 1; found (\d+)")
ALLOCATE = re.compile(r"Allocate failed due to (.{1,200}?)(?:, which is unexpected|$)", re.DOTALL)
RESOURCE = re.compile(r"(?:devices unavailable for|unregistered device|device plugin) ([\w.-]+/[\w.-]+)")


def analyze(view: ClusterView) -> list[Draft]:
    """Return the pods that the kubelet refused because of a device, where nothing has taken their place."""
    found = []
    for workload in workloads(view):
        bad = next((p for p in workload.pods if p.text("status.phase") == "Failed" and _by_device(p)), None)
        if bad is None or (workload.wanted and sum(is_ready(p) for p in workload.pods) >= workload.wanted):
            continue
        if workload.thing.kind in ("Job", "CronJob") and any(p is not bad and is_ready(p) for p in workload.pods):
            continue
        found.append(_refusal(view, workload, bad))
    return found


def _by_device(pod: Thing) -> bool:
    reason = pod.text("status.reason")
    return bool(OUT_OF.match(reason)) or (
        reason == "UnexpectedAdmissionError" and bool(ALLOCATE.search(pod.text("status.message")))
    )


def _refusal(view: ClusterView, workload: Workload, pod: Thing) -> Draft:
    reason, said = pod.text("status.reason"), pod.text("status.message")
    node = view.find("Node", "", pod.text("spec.nodeName"))
    out = OUT_OF.match(reason)
    named = RESOURCE.search(said)
    resource = out[1] if out else named[1] if named else next((n for n in extended(view) if wants(pod, n)), "")
    shared = SHARED.search(said)
    cited = [view.cite(pod, "status.reason", "status.message")]
    keys = workload.keys
    fixes: list[Fix] = []
    if shared and resource:
        index = next(
            (
                i
                for i, c in enumerate(rows(workload.spec.get("containers")))
                if resource in mapping(mapping(c.get("resources")).get("limits"))
            ),
            0,
        )
        field = f"{workload.template}.containers[{index}].resources.limits['{resource}']"
        fixes.append(set_path(workload.thing, field, "1", f"Ask for 1 {resource}", "a share is no device of its own"))
        why = f"asks for {shared[1]} {resource}, which are shared by time-slicing here: more than 1 is refused"
        return Draft(
            "scheduling",
            workload.thing.target,
            field,
            f"{workload.name()} {why}.",
            0.95,
            Level.WORKLOAD,
            (*cited, view.cite(workload.thing, field)),
            keys,
            keys,
            tuple(fixes),
        )
    fixed = f"{workload.template}.nodeName"
    if workload.thing.kind != "Pod" and workload.thing.text(fixed):
        fixes.append(set_path(workload.thing, fixed, None, "Let the scheduler choose the node", "it counts devices"))
        return Draft(
            "scheduling",
            workload.thing.target,
            fixed,
            f"{workload.name()} is put on node "
            f"{pod.text('spec.nodeName')} past the scheduler, and the kubelet refuses it ({reason}).",
            0.93,
            Level.WORKLOAD,
            (*cited, view.cite(workload.thing, fixed)),
            keys,
            keys,
            tuple(fixes),
        )
    what = ALLOCATE.search(said)
    words = " ".join((what[1] if what else said).split())[:180]
    about = f"{resource} " if resource else "its device "
    at = f" on node {node.name}" if node is not None else ""
    fixes.append(
        outside(
            "Make the pod anew once the device plugin is registered again"
            + ("" if workload.thing.kind == "Pod" else "; its controller does so by itself"),
            "a pod that the kubelet refused is never started again",
        )
    )
    more = frozenset({f"{node.key}#{resource}"}) if node is not None else frozenset()
    return Draft(
        "scheduling",
        pod.target if workload.thing.kind == "Pod" else workload.thing.target,
        "status.reason",
        f"{workload.name()}: the kubelet refused pod {pod.name}, because {about}could not be given{at} "
        f"({reason}: {words}).",
        0.9,
        Level.POD,
        tuple(cited),
        keys | more,
        keys,
        tuple(fixes),
    )
