"""Ports of Services: a targetPort that no container has, on which nobody listens, or of the other protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.expert.draft import Draft, Level
from agents.expert.logs import ports
from agents.expert.remedies import set_path
from agents.expert.workload import containers, is_ready, log_lines, workload_of
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Log, Thing


def wrong_ports(view: ClusterView, service: Thing, pods: list[Thing]) -> list[Draft]:
    """Judge targetPort: a name that no container has, or a number on which the log says nobody listens."""
    found = []
    for i, entry in enumerate(service.rows("spec.ports")):
        odd = _protocol(view, service, i, entry, pods[0])
        if odd is not None:
            found.append(odd)
        if entry.get("protocol", "TCP") != "TCP" or service.text("spec.clusterIP") == "None":
            continue
        wanted = entry.get("targetPort", entry.get("port"))
        pod = pods[0]
        declared = {
            text(p.get("name")): fold_int(p.get("containerPort"))
            for c in pod.rows("spec.containers")
            for p in rows(c.get("ports"))
        }
        own = containers(workload_of(view, pod), pod) if view.logged(pod) else ()
        heard = [h for c in own if not c.init for h in ports(log_lines(view, c))]
        place = f"spec.ports[{i}].targetPort"
        proven = probed(pod)
        if isinstance(wanted, str) and not wanted.isdigit():
            bad = wanted not in declared
        else:
            number = int(wanted) if isinstance(wanted, str) else fold_int(wanted)
            open_ports = {p for p, _, _ in heard} | proven
            bad = number not in open_ports | set(declared.values()) and bool(open_ports or declared)
            bad = bad or (bool(heard) and number not in {p for p, _, _ in heard} | proven)
        if not bad:
            continue
        real = _best(declared, heard, proven)
        cited = [view.cite(service, f"spec.ports[{i}]"), view.cite(pod, "spec.containers[0].ports")]
        if heard:
            cited.append(view.cite_log(heard[-1][1], heard[-1][2]))
        fixes = []
        if real:
            fixes.append(set_path(service, place, real, f"Send traffic to port {real}", "the pods listen there"))
        found.append(
            Draft(
                "service",
                service.target,
                place,
                f"Service {service.name} sends traffic to port {wanted}, "
                + (f"but its pods listen on {real}." if real else "which its pods do not have."),
                0.93 if heard or isinstance(wanted, str) else 0.75,
                Level.OBJECT,
                tuple(cited),
                frozenset({service.key}),
                frozenset({service.key}),
                tuple(fixes),
            )
        )
    return found


def _protocol(view: ClusterView, service: Thing, i: int, entry: Mapping[str, Any], pod: Thing) -> Draft | None:
    """Judge the protocol of a port that the container declares for the other one, and only for that."""
    mine = text(entry.get("protocol")) or "TCP"
    wanted = entry.get("targetPort", entry.get("port"))
    given = [
        text(p.get("protocol")) or "TCP"
        for c in pod.rows("spec.containers")
        for p in rows(c.get("ports"))
        if wanted in (p.get("name"), p.get("containerPort"))
    ]
    if not given or mine in given:
        return None
    field = f"spec.ports[{i}].protocol"
    return Draft(
        "service",
        service.target,
        field,
        f"Service {service.name} forwards {mine} on port {entry.get('port')}, and its pods serve {given[0]} there.",
        0.9,
        Level.OBJECT,
        (view.cite(service, f"spec.ports[{i}]"), view.cite(pod, "spec.containers[0].ports")),
        frozenset({service.key}),
        frozenset({service.key}),
        (set_path(service, field, given[0], f"Forward {given[0]}", "the pods declare the port for it"),),
    )


def probed(pod: Thing) -> set[int]:
    """Return the ports that a passing readiness probe proves to be open."""
    if not is_ready(pod):
        return set()
    found = set()
    for container in pod.rows("spec.containers"):
        named = {text(p.get("name")): fold_int(p.get("containerPort")) for p in rows(container.get("ports"))}
        probe = mapping(container.get("readinessProbe"))
        for kind in ("httpGet", "tcpSocket", "grpc"):
            port = mapping(probe.get(kind)).get("port")
            found.add(named.get(port, 0) if isinstance(port, str) else fold_int(port))
    return found - {0}


def _best(declared: dict[str, int], heard: list[tuple[int, Log, str]], proven: set[int]) -> int | str:
    if heard:
        return heard[-1][0]
    if len(proven) == 1:
        return next(iter(proven))
    named = [n for n in declared if n]
    return named[0] if len(named) == 1 else next(iter(declared.values()), 0) if len(declared) == 1 else 0
