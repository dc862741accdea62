"""Stateful sets that wait for themselves, or for a Service that is not there."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import create, delete, nearest, outside, set_path
from agents.expert.workload import YOUNG, containers, is_ready, log_lines, workload_of
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing


def analyze(view: ClusterView) -> list[Draft]:
    """Return the stateful sets that cannot come up."""
    return [draft for stateful in view.all("statefulsets.apps") for draft in _stateful(view, stateful)]


def _stateful(view: ClusterView, stateful: Thing) -> list[Draft]:
    name, wanted = stateful.text("spec.serviceName"), stateful.number("spec.replicas", 1)
    pods = sorted(view.pods_of(stateful), key=lambda p: p.name)
    keys = frozenset({stateful.key, *(p.key for p in pods)})
    if (
        name
        and view.complete("services", stateful.namespace)
        and view.find("Service", stateful.namespace, name) is None
        and any(not is_ready(p) for p in pods)
    ):
        near = nearest(name, [s.name for s in view.all("services", stateful.namespace)])
        return [
            Draft(
                "statefulset",
                stateful.target,
                "spec.serviceName",
                f"StatefulSet {stateful.name} names Service {name}, which does not exist"
                + (f" ({near} does)" if near else "")
                + ", so its pods have no names of their own in DNS.",
                0.9,
                Level.OBJECT,
                (view.cite(stateful, "spec.serviceName"),),
                keys,
                keys,
                (
                    _headless(stateful, name),
                    outside(
                        "Or make the StatefulSet again with the right name",
                        "spec.serviceName cannot be changed in place",
                    ),
                ),
            )
        ]
    first = next((p for p in pods if not is_ready(p)), None)
    if (
        first is None
        or len(pods) >= wanted
        or stateful.text("spec.podManagementPolicy") == "Parallel"
        or view.now - first.created < YOUNG
    ):
        return []
    unborn = [f"{stateful.name}-{i}" for i in range(wanted) if f"{stateful.name}-{i}" not in {p.name for p in pods}]
    workload = workload_of(view, first)
    for container in containers(workload, first):
        lines = log_lines(view, container)[-20:]
        named = [(log, line) for log, line in lines if any(re.search(rf"\b{re.escape(u)}\b", line) for u in unborn)]
        if container.running and not container.ready and named:
            cited = (
                view.cite_log(named[-1][0], named[-1][1]),
                view.cite(stateful, "spec.podManagementPolicy", "spec.replicas"),
            )
            return [
                Draft(
                    "statefulset",
                    stateful.target,
                    "spec.podManagementPolicy",
                    f"StatefulSet {stateful.name} waits for itself: {first.name} becomes ready only with {unborn[0]}, "
                    "and podManagementPolicy OrderedReady makes that one only when the first is ready.",
                    0.93,
                    Level.OBJECT,
                    cited,
                    keys,
                    keys,
                    tuple(_parallel(view, stateful)),
                )
            ]
    return []


def _headless(stateful: Thing, name: str) -> Fix:
    """Return the fix that makes the Service a StatefulSet asks for: no address, its pods' labels, their ports."""
    ports = [
        {"name": text(p.get("name")) or f"port-{p.get('containerPort')}", "port": p.get("containerPort")}
        for c in stateful.rows("spec.template.spec.containers")
        for p in rows(c.get("ports"))
    ]
    labels = dict(stateful.map("spec.selector.matchLabels") or stateful.map("spec.template.metadata.labels"))
    spec = {"clusterIP": "None", "selector": labels, **({"ports": ports} if ports else {})}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": stateful.namespace},
        "spec": spec,
    }
    return create(
        "services", body, f"Create the headless Service {name}", "gives the pods their names; nothing is replaced"
    )


def _parallel(view: ClusterView, stateful: Thing) -> list[Fix]:
    service = view.find("Service", stateful.namespace, stateful.text("spec.serviceName"))
    body = {
        "apiVersion": stateful.api_version,
        "kind": "StatefulSet",
        "metadata": {"name": stateful.name, "namespace": stateful.namespace, "labels": dict(stateful.labels)},
        "spec": {**stateful.map("spec"), "podManagementPolicy": "Parallel"},
    }
    made = create(
        "statefulsets.apps",
        body,
        "Create it again with podManagementPolicy Parallel",
        "all peers then start together; the policy cannot be changed in place",
    )
    gone = delete(
        stateful,
        f"Delete StatefulSet {stateful.name}",
        "claims and their data stay; its pod is made again by the new one",
    )
    fixes = [gone, Fix(made.title, made.risk, made.reason, made.action, made.kubectl, made.undo, then=True)]
    if service is not None and service.at("spec.publishNotReadyAddresses") is not True:
        fixes.insert(
            0,
            set_path(
                service,
                "spec.publishNotReadyAddresses",
                True,
                f"Let Service {service.name} name pods that are not ready",
                "the peers have to find each other before they are ready",
            ),
        )
    return fixes
