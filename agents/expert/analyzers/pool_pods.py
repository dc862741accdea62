"""The pods of an InferencePool: selectors that match none, pods that are not ready, ports on which nobody listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.expert.analyzers.gateway_status import claim
from agents.expert.analyzers.listening import Heard, heard_of
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, nearest, outside, pointer, set_path
from agents.expert.workload import Workload, is_ready, template_of, workloads
from assistant.domain.raw import fold_int
from assistant.domain.view import ClusterView, Thing


def judge(view: ClusterView, pool: Thing, selector: dict[str, str], aside: Mapping[str, Any]) -> list[Draft]:
    """Return what is wrong between a pool and its pods; nothing where pods could not be listed.

    `aside` is the selector of its endpoint picker's Service.
    """
    if not selector or not view.complete("pods", pool.namespace):
        return []
    pods = view.pods_with(pool.namespace, selector)
    pods = [p for p in pods if p.text("status.phase") not in ("Succeeded", "Failed")]
    if not pods:
        return [_nobody(view, pool, selector, aside)]
    ready = [p for p in pods if is_ready(p)]
    found = _ports(view, pool, (ready or pods)[0])
    if found or ready:
        return found
    return [
        claim(
            pool,
            "spec.selector",
            f"InferencePool {pool.name} has no ready endpoint: none of its {len(pods)} pods is ready, and requests are "
            "answered with 503.",
            0.5,
            Level.TRAFFIC,
            (view.cite(pool, "spec.selector"), view.cite(pods[0], "status.conditions")),
            about=(p.key for p in pods),
            missing="why its pods are not ready",
        )
    ]


def _place(pool: Thing) -> str:
    return "spec.selector.matchLabels" if pool.map("spec.selector.matchLabels") else "spec.selector"


def _template_labels(workload: Workload) -> dict[str, str]:
    """Return the labels of a workload's pods."""
    path = template_of(workload.thing).removesuffix("spec") if workload.thing.kind != "Pod" else ""
    return {str(k): str(v) for k, v in workload.thing.map(f"{path}metadata.labels").items()}


def _nobody(view: ClusterView, pool: Thing, selector: dict[str, str], aside: Mapping[str, Any]) -> Draft:
    """Judge a selector that matches no pod: a workload without pods, or labels that nearly fit.

    `aside` is the selector of the endpoint picker, whose pods are none of the pool's.
    """
    near: list[tuple[int, Workload, dict[str, str]]] = []
    for workload in workloads(view):
        if workload.thing.namespace != pool.namespace or workload.thing.kind in ("Job", "CronJob"):
            continue
        labels = _template_labels(workload)
        fits = sum(labels.get(k) == v for k, v in selector.items())
        if fits == len(selector):
            return _empty(view, pool, workload)
        if aside and all(labels.get(k) == v for k, v in aside.items()):
            continue
        alike = sum(_same(labels, k, v) != "" for k, v in selector.items()) - fits
        name, meant = workload.thing.name, {pool.name, *selector.values()}
        likeness = 3 * fits + 2 * alike + 3 * (name in meant) + any(nearest(m, [name]) for m in meant)
        if likeness:
            near.append((likeness, workload, labels))
    near.sort(key=lambda item: -item[0])
    words = ", ".join(f"{k}={v}" for k, v in selector.items())
    best = near[0] if near and (len(near) == 1 or near[0][0] > near[1][0]) else None
    field, why = _place(pool), f"no pod carries {words}"
    cited, fixes = [view.cite(pool, "spec.selector")], list[Fix]()
    if best is not None:
        _, workload, labels = best
        new = _meant(workload, labels, selector)
        odd = [k for k, v in selector.items() if new.get(k) != v]
        has = ", ".join(f"{k}={v}" for k, v in new.items() if selector.get(k) != v) or f"no label {', '.join(odd)}"
        why = f"it selects {words}, while the pods of {workload.name()} carry {has}"
        field = f"{field}[{odd[0]}]" if len(odd) == 1 else field
        cited.append(view.cite(workload.pods[0] if workload.pods else workload.thing, "metadata.labels"))
        if len({view.top(p).key for p in view.pods_with(pool.namespace, new)}) <= 1:
            title = f"Select the labels that the pods of {workload.thing.name} carry"
            reason = "changes the pool only; no pod is replaced"
            steps = [{"op": "replace", "path": pointer(_place(pool)), "value": new}]
            fixes.append(json_patch(pool, steps, title, reason, f"put {words} back"))
    fixes.append(
        outside("Or label the model server's pods as the pool expects", "right if other objects use that label")
    )
    return claim(
        pool,
        field,
        f"InferencePool {pool.name} has no endpoint: {why}. Requests are answered with 503 whatever its "
        "conditions say.",
        0.93 if best is not None else 0.75,
        Level.OBJECT,
        cited,
        fixes,
    )


def _same(labels: dict[str, str], key: str, value: str) -> str:
    """Return the label of a workload that a pair of a selector most likely means, "" for none."""
    if key in labels:
        return key if labels[key] == value or nearest(value, [labels[key]]) else ""
    others = [k for k, v in labels.items() if k != "pod-template-hash" and (v == value or nearest(value, [v]))]
    return others[0] if len(others) == 1 else ""


def _meant(workload: Workload, labels: dict[str, str], selector: dict[str, str]) -> dict[str, str]:
    """Return the selector that is meant: each pair as the workload carries it, else what the workload selects by."""
    keys = [_same(labels, k, v) or (k if k in labels else "") for k, v in selector.items()]
    found = {k: labels[k] for k in keys if k}
    own = workload.thing.map("spec.selector.matchLabels")
    return found or {str(k): str(v) for k, v in own.items()} or labels


def _empty(view: ClusterView, pool: Thing, workload: Workload) -> Draft:
    """Return the draft for a pool whose workload runs no pods; that it is scaled to nothing is told of the workload."""
    thing = workload.thing
    nothing = thing.at("spec.replicas") == 0
    return claim(
        pool,
        "spec.selector",
        f"InferencePool {pool.name} has no endpoint: {workload.name()} "
        + ("is scaled to 0 replicas." if nothing else "has no running pods."),
        0.5,
        Level.TRAFFIC,
        (view.cite(pool, "spec.selector"), view.cite(thing, "spec.replicas")),
        about=(thing.key,),
        missing="why it has no pods",
    )


def _ports(view: ClusterView, pool: Thing, pod: Thing) -> list[Draft]:
    """Judge `targetPorts`: a number that no container declares, and on which nobody is known to listen."""
    heard = heard_of(view, pod)
    table = [
        (f"spec.targetPorts[{i}].number", fold_int(p.get("number")))
        for i, p in enumerate(pool.rows("spec.targetPorts"))
    ]
    if not table and pool.number("spec.targetPortNumber"):
        table = [("spec.targetPortNumber", pool.number("spec.targetPortNumber"))]
    return [
        _port(view, pool, pod, heard, field, number, {n for _, n in table})
        for field, number in table
        if number and heard.denies(number)
    ]


def _port(view: ClusterView, pool: Thing, pod: Thing, heard: Heard, field: str, number: int, used: set[int]) -> Draft:
    real = heard.best(used)
    cited = [
        view.cite(pool, field.removesuffix(".number")),
        view.cite(pod, "spec.containers[0].ports", "metadata.name"),
    ]
    if heard.lines:
        cited.append(view.cite_log(*heard.lines[-1]))
    fixes = [set_path(pool, field, real, f"Send requests to port {real}", "the pods listen there")] if real else []
    if not real:
        fixes = [
            outside(f"Name the port that the model server of pod {pod.name} listens on", "it does not say which one")
        ]
    return claim(
        pool,
        field,
        f"InferencePool {pool.name} sends requests to port {number}, "
        + (f"but its pods listen on {real}." if real else "which its pods do not have.")
        + " Conditions do not tell.",
        0.93 if heard.lines else 0.8,
        Level.OBJECT,
        cited,
        fixes,
    )
