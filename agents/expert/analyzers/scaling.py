"""Autoscalers that cannot decide, disruption budgets that allow nothing."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import delete, merge_patch, nearest, outside, set_path
from assistant.domain.raw import mapping, text
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Thing

METRICS_GROUPS = {
    "resource metrics": "metrics.k8s.io",
    "custom metrics": "custom.metrics.k8s.io",
    "external metrics": "external.metrics.k8s.io",
}


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with autoscalers and budgets."""
    found: list[Draft] = []
    for scaler in view.all("horizontalpodautoscalers.autoscaling"):
        found += _scaler(view, scaler)
    for budget in view.all("poddisruptionbudgets.policy"):
        found += _budget(view, budget)
    return found + _twice(view)


def _twice(view: ClusterView) -> list[Draft]:
    """Return the budgets that share pods: the API server then refuses every eviction of these."""
    seen: dict[str, Thing] = {}
    found: dict[str, Draft] = {}
    for budget in view.all("poddisruptionbudgets.policy"):
        for pod in view.pods_with(budget.namespace, budget.map("spec.selector.matchLabels")):
            other = seen.setdefault(pod.key, budget)
            if other is budget or budget.key in found:
                continue
            found[budget.key] = Draft(
                "disruption",
                budget.target,
                "spec.selector",
                f"PodDisruptionBudgets {other.name} and {budget.name} select the same pods, so that none "
                f"of them can be "
                "evicted: an eviction may fall under one budget only.",
                0.9,
                Level.OBJECT,
                (view.cite(budget, "spec.selector"), view.cite(other, "spec.selector")),
                frozenset({budget.key}),
                frozenset({budget.key}),
                (delete(budget, f"Delete budget {budget.name}", f"{other.name} protects the same pods already"),),
                asks=r"drain|evict|maintenance|upgrad|disrupt|budget|cordon",
            )
    return list(found.values())


def _scaler(view: ClusterView, scaler: Thing) -> list[Draft]:
    key = frozenset({scaler.key})
    table = scaler.rows("status.conditions")
    bad = next(
        (
            i
            for i, c in enumerate(table)
            if c.get("type") in ("ScalingActive", "AbleToScale") and c.get("status") == "False"
        ),
        None,
    )
    reference = scaler.map("spec.scaleTargetRef")
    scaled = view.find(text(reference.get("kind")), scaler.namespace, text(reference.get("name")))
    limited = scaler.condition("ScalingLimited")
    if bad is None:
        top = scaler.number("spec.maxReplicas")
        if limited.get("reason") == "TooManyReplicas" and top and scaler.number("status.currentReplicas") >= top:
            fix = set_path(
                scaler,
                "spec.maxReplicas",
                top * 2,
                f"Allow up to {top * 2} replicas",
                "the load asks for more; check that nodes and quota have room",
            )
            return [
                Draft(
                    "autoscaling",
                    scaler.target,
                    "spec.maxReplicas",
                    f"HorizontalPodAutoscaler {scaler.name} is at its limit: it wants more than maxReplicas {top}.",
                    0.85,
                    Level.OBJECT,
                    (view.cite(scaler, "spec.maxReplicas", "status.conditions"),),
                    key,
                    key,
                    (fix,),
                )
            ]
        if top and scaler.number("spec.minReplicas", 1) >= top:
            return [
                Draft(
                    "autoscaling",
                    scaler.target,
                    "spec.maxReplicas",
                    f"HorizontalPodAutoscaler {scaler.name} may not move: minReplicas and maxReplicas are both {top}.",
                    0.88,
                    Level.OBJECT,
                    (view.cite(scaler, "spec.minReplicas", "spec.maxReplicas"),),
                    key,
                    key,
                    (
                        set_path(
                            scaler,
                            "spec.maxReplicas",
                            top * 2,
                            f"Allow up to {top * 2} replicas",
                            "it can then follow the load; check that nodes and quota have room",
                        ),
                    ),
                    asks=r"scal|load|slow|replica|hpa",
                )
            ]
        return []
    said = table[bad]
    message, reason = text(said.get("message")), text(said.get("reason"))
    cited = [view.cite(scaler, f"status.conditions[{bad}]")]
    event = next((e for e in view.events_of(scaler) if e.text("type") == "Warning"), None)
    cited += [view.cite(event, "reason", "message")] if event is not None else []

    def draft(target: Target, field: str, why: str, sure: float, fixes: list[Fix]) -> list[Draft]:
        return [
            Draft(
                "autoscaling",
                target,
                field,
                f"HorizontalPodAutoscaler {scaler.name} cannot scale: {why}.",
                sure,
                Level.OBJECT,
                tuple(cited),
                key,
                key,
                tuple(fixes),
            )
        ]

    if reason == "FailedGetScale" or (
        scaled is None and view.complete("deployments.apps", scaler.namespace) and reference.get("kind") == "Deployment"
    ):
        near = nearest(text(reference.get("name")), [d.name for d in view.all("deployments.apps", scaler.namespace)])
        fixes = (
            [set_path(scaler, "spec.scaleTargetRef.name", near, f"Point it at {near}", "that Deployment exists")]
            if near
            else []
        )
        cited.append(view.cite(scaler, "spec.scaleTargetRef"))
        return draft(
            scaler.target,
            "spec.scaleTargetRef.name",
            f"{text(reference.get('kind'))} {text(reference.get('name'))} does not exist",
            0.93,
            fixes,
        )
    if "missing request" in message and scaled is not None:
        resource = (re.search(r"missing request for (\w+)", message) or ["", "cpu"])[1]
        place = f"spec.template.spec.containers[0].resources.requests.{resource}"
        return draft(
            scaled.target,
            place,
            f"the containers of {scaled.kind} {scaled.name} request no {resource}, so use in percent means nothing",
            0.93,
            [merge_or_set(scaled, resource)],
        )
    group = next(
        (
            g
            for words, g in METRICS_GROUPS.items()
            if (words in message and "could not find" in message) or f"{g})" in message
        ),
        "",
    )
    if group and (group not in view.groups or not view.groups):
        target = Target("apiregistration.k8s.io/v1", "APIService", "", f"v1beta1.{group}")
        what = "metrics-server" if group == "metrics.k8s.io" else "an adapter"
        return draft(
            target,
            f"absent ({what} not installed)",
            f"the cluster does not serve {group} ({what} is not installed)",
            0.93,
            [outside(f"Install {what}; until then scale by hand", "no object of this namespace is wrong")],
        )
    if scaled is not None and scaled.at("spec.replicas") == 0:
        return draft(
            scaled.target,
            "spec.replicas",
            f"{scaled.kind} {scaled.name} is at 0 replicas, which turns autoscaling off",
            0.9,
            [
                set_path(
                    scaled,
                    "spec.replicas",
                    max(1, scaler.number("spec.minReplicas", 1)),
                    "Scale it up",
                    "autoscaling starts from one",
                )
            ],
        )
    return draft(
        scaler.target,
        "spec.metrics",
        f"{reason}: {message[:140]}",
        0.7,
        [outside("Mend the source of its metrics", "the autoscaler cannot read them")],
    )


def merge_or_set(scaled: Thing, resource: str) -> Fix:
    """Return the fix that gives the first container a request."""
    base = "spec.template.spec.containers[0].resources"
    own = dict(scaled.map(base))
    own["requests"] = {**mapping(own.get("requests")), resource: "100m" if resource == "cpu" else "128Mi"}
    return set_path(
        scaled,
        base,
        own,
        f"Request {own['requests'][resource]} {resource}",
        "a start; set it to what the application really uses",
    )


def _budget(view: ClusterView, budget: Thing) -> list[Draft]:
    allowed, expected = budget.at("status.disruptionsAllowed"), budget.number("status.expectedPods")
    healthy, desired = budget.number("status.currentHealthy"), budget.number("status.desiredHealthy")
    if allowed != 0 or not expected:
        return []
    field = "spec.minAvailable" if budget.at("spec.minAvailable") is not None else "spec.maxUnavailable"
    cited = (view.cite(budget, field, "status.disruptionsAllowed"),)
    key = frozenset({budget.key})
    if healthy < desired:
        return [
            Draft(
                "disruption",
                budget.target,
                field,
                f"PodDisruptionBudget {budget.name} allows no eviction now: {healthy} of {desired} pods are healthy.",
                0.5,
                Level.TRAFFIC,
                cited,
                key | {p.key for p in view.pods_with(budget.namespace, budget.map("spec.selector.matchLabels"))},
                key,
                outside="Mend the pods that it protects",
                missing="why they are not healthy",
            )
        ]
    if expected == 1 and text(budget.at(field)) != "100%" and budget.at("spec.maxUnavailable") != 0:
        lone = "its only pod may never be away"
    else:
        lone = f"{field.split('.')[1]} {budget.at(field)} leaves no pod that may go"
    new = (
        {"spec": {"minAvailable": "50%" if expected > 1 else 0, "maxUnavailable": None}}
        if field == "spec.minAvailable"
        else {"spec": {"maxUnavailable": 1}}
    )
    fix = merge_patch(
        budget,
        new,
        "Let one pod go at a time" if expected > 1 else "Let the pod go",
        "evictions, so drains and node upgrades, can then go on",
        f"set {field} back to {budget.at(field)}",
    )
    return [
        Draft(
            "disruption",
            budget.target,
            field,
            f"PodDisruptionBudget {budget.name} allows no eviction at all: {lone}, so a drain hangs.",
            0.88,
            Level.OBJECT,
            cited,
            key,
            key,
            (fix,),
        )
    ]
