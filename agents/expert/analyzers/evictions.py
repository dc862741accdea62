"""Pods that the kubelet evicts again and again, and the limit or volume that they outgrow."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import is_ready, workloads
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView
from assistant.policy.quantity import quantity


def analyze(view: ClusterView) -> list[Draft]:
    """Return the workloads whose pods are evicted."""
    found = []
    for workload in workloads(view):
        gone = [p for p in workload.pods if p.text("status.reason") == "Evicted"]
        serving = [p for p in workload.pods if is_ready(p)]
        if not gone or (workload.wanted and len(serving) >= workload.wanted and len(gone) < 3):
            continue
        message = gone[0].text("status.message")
        resource = (
            "ephemeral-storage"
            if re.search(r"ephemeral|emptyDir|disk|storage", message, re.IGNORECASE)
            else "memory"
            if "memory" in message
            else "pids"
        )
        limit = (re.search(r"limit (?:of|is|\")? ?\"?([\d.]+\w*)", message) or ["", ""])[1]
        index = next(
            (
                i
                for i, c in enumerate(rows(workload.spec.get("containers")))
                if text(c.get("name")) and text(c.get("name")) in message
            ),
            0,
        )
        volume = re.search(r'emptyDir volume \\?"([^"\\]+)', message, re.IGNORECASE)
        field = f"{workload.template}.containers[{index}].resources.limits.{resource}"
        if volume:
            place = next((i for i, v in enumerate(rows(workload.spec.get("volumes"))) if v.get("name") == volume[1]), 0)
            field = f"{workload.template}.volumes[{place}].emptyDir.sizeLimit"
        fixes = [outside("Find out what fills it; a limit only moves the end", "the pod will be evicted again")]
        have = text(workload.thing.at(field)) or limit
        if quantity(have) and workload.thing.at(field) is not None:
            fixes.insert(
                0,
                set_path(
                    workload.thing,
                    field,
                    f"{round(quantity(have) * 2 / 2**20)}Mi",
                    f"Double {field.rsplit('.', 1)[-1]}",
                    "gives time; see below",
                ),
            )
        found.append(
            Draft(
                "eviction",
                workload.thing.target,
                field,
                f"The kubelet evicts pods of {workload.name()} again and again: {message[:160]}.",
                0.9,
                Level.WORKLOAD,
                (view.cite(gone[0], "status.reason", "status.message"),),
                workload.keys,
                workload.keys,
                tuple(fixes),
            )
        )
    return found
