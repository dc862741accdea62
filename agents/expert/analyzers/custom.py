"""Custom resources: the kinds we know, APIs that are down, and any object whose conditions say that it is not well."""

from __future__ import annotations

import re

from agents.expert.analyzers import hosts, queues, routes
from agents.expert.conditions import bad_conditions
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"
BUILT_IN = re.compile(
    r"^(v1|apps/|batch/|autoscaling/|policy/|networking\.k8s\.io|storage\.k8s\.io|rbac|discovery|coordination|admission|events|"
    r"node\.k8s|flowcontrol|certificates|scheduling|resource\.k8s|apiextensions|internal)"
)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what the custom resources of the view say, the known kinds first."""
    found = routes.analyze(view) + queues.analyze(view) + hosts.analyze(view) + _apis(view)
    known = {k for d in found for k in d.about}
    for resource in view.resources:
        for thing in view.all(resource):
            if thing.key not in known and not BUILT_IN.match(thing.api_version) and not thing.deleting:
                found += _generic(view, thing)
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


CATEGORIES = (
    (GATEWAY, "gateway-api"),
    ("inference.networking", "gateway-api"),
    (KUEUE, "kueue"),
    (METAL, "baremetal"),
    ("openyurt", "edge"),
    ("cert-manager", "tls"),
)


def _generic(view: ClusterView, thing: Thing) -> list[Draft]:
    bad = bad_conditions(thing)
    if not bad or thing.resource.startswith(("workloads.kueue", "localqueues.kueue", "clusterqueues.kueue")):
        return []
    path, condition = bad[0]
    category = next((c for words, c in CATEGORIES if words in thing.api_version), "other")
    stale = condition.get("observedGeneration")
    old = isinstance(stale, int) and 0 < stale < thing.number("metadata.generation")
    kind, status, reason = (text(condition.get(name)) for name in ("type", "status", "reason"))
    said = f"{kind} is {status} ({reason}): {text(condition.get('message'))[:140]}"
    key = frozenset({thing.key})
    return [
        Draft(
            category,
            thing.target,
            path,
            f"{thing.kind} {thing.name}: {said}" + (" (said of an older version of the object)" if old else "") + ".",
            0.5 if old else 0.75,
            Level.TRAFFIC,
            (view.cite(thing, path),),
            key,
            key,
            (outside("Act on what its controller says", "the object itself says what is wrong"),),
            note=bool(view.namespace) and not thing.namespace,
        )
    ]
