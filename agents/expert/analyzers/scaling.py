"""Autoscalers that cannot decide, disruption budgets that allow nothing, stateful sets that wait for themselves, evictions."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.quantity import quantity
from agents.expert.remedies import merge_patch, nearest, outside, set_path
from agents.expert.workload import YOUNG, containers, is_ready, log_lines, workload_of, workloads
from assistant.domain.raw import mapping, rows, text
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Thing

METRICS_GROUPS = {"resource metrics": "metrics.k8s.io", "custom metrics": "custom.metrics.k8s.io", "external metrics": "external.metrics.k8s.io"}


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with autoscalers, budgets and stateful sets, and pods that were evicted."""
    found: list[Draft] = []
    for scaler in view.all("horizontalpodautoscalers.autoscaling"):
        found += _scaler(view, scaler)
    for budget in view.all("poddisruptionbudgets.policy"):
        found += _budget(view, budget)
    for stateful in view.all("statefulsets.apps"):
        found += _stateful(view, stateful)
    return found + _evicted(view)


def _scaler(view: ClusterView, scaler: Thing) -> list[Draft]:
    key = frozenset({scaler.key})
    table = scaler.rows("status.conditions")
    bad = next((i for i, c in enumerate(table) if c.get("type") in ("ScalingActive", "AbleToScale") and c.get("status") == "False"), None)
    reference = scaler.map("spec.scaleTargetRef")
    scaled = view.find(text(reference.get("kind")), scaler.namespace, text(reference.get("name")))
    limited = scaler.condition("ScalingLimited")
    if bad is None:
        top = scaler.number("spec.maxReplicas")
        if limited.get("reason") == "TooManyReplicas" and top and scaler.number("status.currentReplicas") >= top:
            fix = set_path(scaler, "spec.maxReplicas", top * 2, f"Allow up to {top * 2} replicas", "the load asks for more; check that nodes and quota have room")
            return [Draft("autoscaling", scaler.target, "spec.maxReplicas", f"HorizontalPodAutoscaler {scaler.name} is at its limit: it wants more than maxReplicas {top}.",
                          0.85, Level.OBJECT, (view.cite(scaler, "spec.maxReplicas", "status.conditions"),), key, key, (fix,))]  # fmt: skip
        return []
    said = table[bad]
    message, reason = text(said.get("message")), text(said.get("reason"))
    cited = [view.cite(scaler, f"status.conditions[{bad}]")]
    event = next((e for e in view.events_of(scaler) if e.text("type") == "Warning"), None)
    cited += [view.cite(event, "reason", "message")] if event is not None else []

    def draft(target: Target, field: str, why: str, sure: float, fixes: list[Fix]) -> list[Draft]:
        return [Draft("autoscaling", target, field, f"HorizontalPodAutoscaler {scaler.name} cannot scale: {why}.", sure, Level.OBJECT, tuple(cited), key, key, tuple(fixes))]

    if reason == "FailedGetScale" or scaled is None and view.complete("deployments.apps", scaler.namespace) and reference.get("kind") == "Deployment":
        near = nearest(text(reference.get("name")), [d.name for d in view.all("deployments.apps", scaler.namespace)])
        fixes = [set_path(scaler, "spec.scaleTargetRef.name", near, f"Point it at {near}", "that Deployment exists")] if near else []
        cited.append(view.cite(scaler, "spec.scaleTargetRef"))
        return draft(scaler.target, "spec.scaleTargetRef.name", f"{text(reference.get('kind'))} {text(reference.get('name'))} does not exist", 0.93, fixes)
    if "missing request" in message and scaled is not None:
        resource = (re.search(r"missing request for (\w+)", message) or ["", "cpu"])[1]
        place = f"spec.template.spec.containers[0].resources.requests.{resource}"
        return draft(scaled.target, place, f"the containers of {scaled.kind} {scaled.name} request no {resource}, so use in percent means nothing", 0.93,
                     [merge_or_set(scaled, resource)])  # fmt: skip
    group = next((g for words, g in METRICS_GROUPS.items() if words in message and "could not find" in message or f"{g})" in message), "")
    if group and (group not in view.groups or not view.groups):
        target = Target("apiregistration.k8s.io/v1", "APIService", "", f"v1beta1.{group}")
        what = "metrics-server" if group == "metrics.k8s.io" else "an adapter"
        return draft(target, f"absent ({what} not installed)", f"the cluster does not serve {group} ({what} is not installed)", 0.93,
                     [outside(f"Install {what}; until then scale by hand", "no object of this namespace is wrong")])  # fmt: skip
    if scaled is not None and scaled.at("spec.replicas") == 0:
        return draft(scaled.target, "spec.replicas", f"{scaled.kind} {scaled.name} is at 0 replicas, which turns autoscaling off", 0.9,
                     [set_path(scaled, "spec.replicas", max(1, scaler.number("spec.minReplicas", 1)), "Scale it up", "autoscaling starts from one")])  # fmt: skip
    return draft(scaler.target, "spec.metrics", f"{reason}: {message[:140]}", 0.7, [outside("Mend the source of its metrics", "the autoscaler cannot read them")])


def merge_or_set(scaled: Thing, resource: str) -> Fix:
    """Return the fix that gives the first container a request."""
    base = "spec.template.spec.containers[0].resources"
    own = dict(scaled.map(base))
    own["requests"] = {**mapping(own.get("requests")), resource: "100m" if resource == "cpu" else "128Mi"}
    return set_path(scaled, base, own, f"Request {own['requests'][resource]} {resource}", "a start; set it to what the application really uses")


def _budget(view: ClusterView, budget: Thing) -> list[Draft]:
    allowed, expected = budget.at("status.disruptionsAllowed"), budget.number("status.expectedPods")
    healthy, desired = budget.number("status.currentHealthy"), budget.number("status.desiredHealthy")
    if allowed != 0 or not expected:
        return []
    field = "spec.minAvailable" if budget.at("spec.minAvailable") is not None else "spec.maxUnavailable"
    cited = (view.cite(budget, field, "status.disruptionsAllowed"),)
    key = frozenset({budget.key})
    if healthy < desired:
        return [Draft("disruption", budget.target, field, f"PodDisruptionBudget {budget.name} allows no eviction now: {healthy} of {desired} pods are healthy.", 0.5,
                      Level.TRAFFIC, cited, key | {p.key for p in view.pods_with(budget.namespace, budget.map("spec.selector.matchLabels"))}, key,
                      outside="Mend the pods that it protects", missing="why they are not healthy")]  # fmt: skip
    if expected == 1 and text(budget.at(field)) != "100%" and budget.at("spec.maxUnavailable") != 0:
        lone = "its only pod may never be away"
    else:
        lone = f"{field.split('.')[1]} {budget.at(field)} leaves no pod that may go"
    new = {"spec": {"minAvailable": "50%" if expected > 1 else 0, "maxUnavailable": None}} if field == "spec.minAvailable" else {"spec": {"maxUnavailable": 1}}
    fix = merge_patch(budget, new, "Let one pod go at a time" if expected > 1 else "Let the pod go", "evictions, so drains and node upgrades, can then go on",
                      f"set {field} back to {budget.at(field)}")  # fmt: skip
    return [Draft("disruption", budget.target, field, f"PodDisruptionBudget {budget.name} allows no eviction at all: {lone}, so a drain hangs.", 0.88,
                  Level.OBJECT, cited, key, key, (fix,))]  # fmt: skip


def _stateful(view: ClusterView, stateful: Thing) -> list[Draft]:
    name, wanted = stateful.text("spec.serviceName"), stateful.number("spec.replicas", 1)
    pods = sorted(view.pods_of(stateful), key=lambda p: p.name)
    keys = frozenset({stateful.key, *(p.key for p in pods)})
    if name and view.complete("services", stateful.namespace) and view.find("Service", stateful.namespace, name) is None and any(not is_ready(p) for p in pods):
        near = nearest(name, [s.name for s in view.all("services", stateful.namespace)])
        return [Draft("statefulset", stateful.target, "spec.serviceName", f"StatefulSet {stateful.name} names Service {name}, which does not exist" + (f" ({near} does)" if near else "")
                      + ", so its pods have no names of their own in DNS.", 0.9, Level.OBJECT, (view.cite(stateful, "spec.serviceName"),), keys, keys,
                      (outside(f"Create the headless Service {name}, or make the StatefulSet again with the right name", "spec.serviceName cannot be changed in place"),))]  # fmt: skip
    first = next((p for p in pods if not is_ready(p)), None)
    if first is None or len(pods) >= wanted or stateful.text("spec.podManagementPolicy") == "Parallel" or view.now - first.created < YOUNG:
        return []
    unborn = [f"{stateful.name}-{i}" for i in range(wanted) if f"{stateful.name}-{i}" not in {p.name for p in pods}]
    workload = workload_of(view, first)
    for container in containers(workload, first):
        lines = log_lines(view, container)[-20:]
        named = [(log, line) for log, line in lines if any(re.search(rf"\b{re.escape(u)}\b", line) for u in unborn)]
        if container.running and not container.ready and named:
            cited = (view.cite_log(named[-1][0], named[-1][1]), view.cite(stateful, "spec.podManagementPolicy", "spec.replicas"))
            return [Draft("statefulset", stateful.target, "spec.podManagementPolicy", f"StatefulSet {stateful.name} waits for itself: {first.name} becomes ready only with {unborn[0]}, "
                          "and podManagementPolicy OrderedReady makes that one only when the first is ready.", 0.93, Level.OBJECT, cited, keys, keys, tuple(_parallel(view, stateful)))]  # fmt: skip
    return []


def _parallel(view: ClusterView, stateful: Thing) -> list[Fix]:
    from agents.expert.remedies import create, delete

    service = view.find("Service", stateful.namespace, stateful.text("spec.serviceName"))
    body = {"apiVersion": stateful.api_version, "kind": "StatefulSet", "metadata": {"name": stateful.name, "namespace": stateful.namespace, "labels": dict(stateful.labels)},
            "spec": {**stateful.map("spec"), "podManagementPolicy": "Parallel"}}  # fmt: skip
    made = create("statefulsets.apps", body, "Create it again with podManagementPolicy Parallel", "all peers then start together; the policy cannot be changed in place")
    gone = delete(stateful, f"Delete StatefulSet {stateful.name}", "claims and their data stay; its pod is made again by the new one")
    fixes = [gone, Fix(made.title, made.risk, made.reason, made.action, made.kubectl, made.undo, then=True)]
    if service is not None and service.at("spec.publishNotReadyAddresses") is not True:
        fixes.insert(0, set_path(service, "spec.publishNotReadyAddresses", True, f"Let Service {service.name} name pods that are not ready",
                                 "the peers have to find each other before they are ready"))  # fmt: skip
    return fixes


def _evicted(view: ClusterView) -> list[Draft]:
    found = []
    for workload in workloads(view):
        gone = [p for p in workload.pods if p.text("status.reason") == "Evicted"]
        serving = [p for p in workload.pods if is_ready(p)]
        if not gone or workload.wanted and len(serving) >= workload.wanted and len(gone) < 3:
            continue
        message = gone[0].text("status.message")
        resource = "ephemeral-storage" if re.search(r"ephemeral|emptyDir|disk|storage", message) else "memory" if "memory" in message else "pids"
        limit = (re.search(r"limit (?:of|is|\")? ?\"?([\d.]+\w*)", message) or ["", ""])[1]
        index = next((i for i, c in enumerate(rows(workload.spec.get("containers"))) if text(c.get("name")) and text(c.get("name")) in message), 0)
        volume = re.search(r'emptyDir volume \\?"([^"\\]+)', message)
        field = f"{workload.template}.containers[{index}].resources.limits.{resource}"
        if volume:
            place = next((i for i, v in enumerate(rows(workload.spec.get("volumes"))) if v.get("name") == volume[1]), 0)
            field = f"{workload.template}.volumes[{place}].emptyDir.sizeLimit"
        fixes = [outside("Find out what fills it; a limit only moves the end", "the pod will be evicted again")]
        have = text(workload.thing.at(field)) or limit
        if quantity(have) and workload.thing.at(field) is not None:
            fixes.insert(0, set_path(workload.thing, field, f"{round(quantity(have) * 2 / 2**20)}Mi", f"Double {field.rsplit('.', 1)[-1]}", "gives time; see below"))
        found.append(Draft("eviction", workload.thing.target, field, f"The kubelet evicts pods of {workload.name()} again and again: {message[:160]}.", 0.9, Level.WORKLOAD,
                           (view.cite(gone[0], "status.reason", "status.message"),), workload.keys, workload.keys, tuple(fixes)))  # fmt: skip
    return found
