"""Custom resources: the kinds we know, APIs that are down, and any object whose conditions say that it is not well."""

from __future__ import annotations

import re

from agents.expert.analyzers import (
    appsets,
    hosts,
    jobsets,
    machines,
    queues,
    ray,
    serving,
    statuses,
    volcano,
)
from agents.expert.analyzers.gateway_kinds import JUDGED as GATEWAY_KINDS
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside
from assistant.domain.view import ClusterView

BUILT_IN = re.compile(
    r"^(v1|apps/|batch/|autoscaling/|policy/|networking\.k8s\.io|storage\.k8s\.io|rbac|discovery|coordination|admission|events|"
    r"node\.k8s|flowcontrol|certificates|scheduling\.k8s|resource\.k8s|apiextensions|internal)"
)


JUDGED = GATEWAY_KINDS | frozenset(
    kind for owner in (appsets, hosts, jobsets, machines, queues, ray, serving, volcano) for kind in owner.KINDS
)
"""Kinds that an analyzer of their own judges, and that their conditions alone would be told wrong of."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what the custom resources of the view say, the known kinds first."""
    found = _apis(view)
    known = {k for d in found for k in d.about}
    for resource in view.resources:
        if resource in JUDGED:
            continue
        for thing in view.all(resource):
            if thing.key not in known and not BUILT_IN.match(thing.api_version) and not thing.deleting:
                found += statuses.judge(view, thing)
    return found


def _apis(view: ClusterView) -> list[Draft]:
    found = []
    for service in view.all("apiservices.apiregistration.k8s.io"):
        bad = next(
            (
                i
                for i, c in enumerate(service.rows("status.conditions"))
                if c.get("type") == "Available" and c.get("status") == "False"
            ),
            None,
        )
        if bad is not None:
            said = service.text(f"status.conditions[{bad}].message")
            fixes: list[Fix] = [
                outside("Mend the Service and pods behind this API", "the API server only passes requests on")
            ]
            found.append(
                Draft(
                    "other",
                    service.target,
                    "status.conditions[Available]",
                    f"API {service.name} is not available: {said[:140]}.",
                    0.9,
                    Level.PLATFORM,
                    (view.cite(service, f"status.conditions[{bad}]"),),
                    frozenset({service.key}),
                    frozenset({service.key}),
                    tuple(fixes),
                    note=bool(view.namespace),
                )
            )
    return found
