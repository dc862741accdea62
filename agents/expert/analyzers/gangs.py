"""Gangs of the scheduler itself (PodGroup of scheduling.k8s.io): pods that wait until all of them can be placed.

Source: plugin gangscheduling of Kubernetes 1.35 to 1.37; PodGroup, and before it Workload, hold the number of pods.
"""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside
from agents.expert.workload import Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

WAITS = re.compile(r"waiting for minCount pods from a gang|to appear in scheduling queue")
COUNTS = ("spec.schedulingPolicy.gang.minCount", "spec.minCount")


def judge(view: ClusterView, workload: Workload, pod: Thing, message: str, cited: list[Citation]) -> Draft | None:
    """Return why a gang is not complete, None for a pod that does not wait for one."""
    if not WAITS.search(message):
        return None
    name = pod.text("spec.schedulingGroup.podGroupName") or pod.text("spec.workloadRef.name")
    found = (view.find(kind, pod.namespace, name) for kind in ("PodGroup", "Workload"))
    group = next((g for g in found if g is not None and g.api_version.startswith("scheduling.k8s.io/")), None)
    place = next((p for p in COUNTS if group is not None and group.number(p)), "")
    have = len(workload.pods)
    if group is not None and place and group.number(place) > have:
        keys = workload.keys | {group.key}
        return Draft(
            "scheduling",
            group.target,
            place,
            f"{workload.name()} waits: its gang {group.name} needs {group.number(place)} pods, and {have} exist.",
            0.9,
            Level.OBJECT,
            (view.cite(group, place), *cited),
            keys,
            keys,
            (
                outside(
                    f"Let the workload have {group.number(place)} pods, or make a group with a lower minCount",
                    "a gang starts whole or not at all",
                ),
            ),
        )
    said = next(
        (
            text(c.get("message"))
            for c in (group.rows("status.conditions") if group else ())
            if c.get("status") == "False"
        ),
        "",
    )
    return Draft(
        "scheduling",
        workload.thing.target,
        f"{workload.template}.schedulingGroup",
        f"{workload.name()} waits for its gang: {(said or message)[:160]}.",
        0.45,
        Level.WORKLOAD,
        (*cited, *([view.cite(group, "metadata.name", "status.conditions")] if group is not None else [])),
        workload.keys,
        workload.keys,
        (outside("Look at the pods of the gang that find no place", "it starts whole or not at all"),),
        missing="the pods of the gang that find no place",
    )
