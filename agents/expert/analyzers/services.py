"""Services: selectors, ports, endpoints, load balancers, names of other hosts."""

from __future__ import annotations

from datetime import timedelta

from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import ports
from agents.expert.remedies import merge_patch, nearest, outside, set_path
from agents.expert.workload import Workload, containers, is_ready, log_lines, template_of, workload_of, workloads
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Log, Thing

SLICES = "endpointslices.discovery.k8s.io"
PATIENCE = timedelta(minutes=2)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the Services of the view."""
    found: list[Draft] = []
    for service in view.all("services"):
        selector = service.map("spec.selector")
        if service.text("spec.type") == "ExternalName":
            found += _external(view, service)
        elif selector:
            found += _selected(view, service, selector)
        if service.text("spec.type") == "LoadBalancer":
            found += _balancer(view, service)
    return found


def _selected(view: ClusterView, service: Thing, selector: object) -> list[Draft]:
    wanted = mapping(selector)
    pods = [
        p for p in view.pods_with(service.namespace, wanted) if p.text("status.phase") not in ("Succeeded", "Failed")
    ]
    if not pods:
        return _nobody(view, service, {str(k): str(v) for k, v in wanted.items()})
    found = _ports(view, service, pods)
    ready = [p for p in pods if is_ready(p)]
    if not ready and service.at("spec.publishNotReadyAddresses") is not True:
        slice_ = _slice(view, service)
        cited = [view.cite(slice_, "endpoints")] if slice_ is not None else [view.cite(pods[0], "status.conditions")]
        found.append(
            Draft(
                "service",
                service.target,
                "spec.selector",
                f"Service {service.name} has no ready endpoint: none of its {len(pods)} pods is ready.",
                0.5,
                Level.TRAFFIC,
                tuple(cited),
                frozenset({service.key, *(p.key for p in pods)}),
                frozenset({service.key}),
                outside="Mend the pods behind it",
                missing="why its pods are not ready",
            )
        )
    return found


def _slice(view: ClusterView, service: Thing) -> Thing | None:
    index = view.memo("slices")
    if "all" not in index:
        index["all"] = {(s.namespace, text(s.labels.get("kubernetes.io/service-name"))): s for s in view.all(SLICES)}
    found: Thing | None = index["all"].get((service.namespace, service.name))
    return found


def _nobody(view: ClusterView, service: Thing, wanted: dict[str, str]) -> list[Draft]:
    """Judge a selector that matches no pod: a workload scaled to nothing, or labels that nearly fit."""
    near: list[tuple[int, Workload, dict[str, str]]] = []
    for workload in workloads(view):
        if workload.thing.namespace != service.namespace or workload.thing.kind in ("Job", "CronJob"):
            continue
        labels = {str(k): str(v) for k, v in _labels(workload).items()}
        fits = sum(labels.get(k) == v for k, v in wanted.items())
        if fits == len(wanted):
            return _empty(view, service, workload)
        likeness = (
            fits * 2 + (nearest(service.name, [workload.thing.name]) != "") + 2 * (service.name == workload.thing.name)
        )
        if likeness:
            near.append((likeness, workload, labels))
    slice_ = _slice(view, service)
    cited = [view.cite(service, "spec.selector")] + (
        [view.cite(slice_, "endpoints", "metadata.name")] if slice_ is not None else []
    )
    fixes: list[Fix] = []
    field, why, best = "spec.selector", "no pod carries these labels", None
    near.sort(key=lambda item: -item[0])
    if near and (len(near) == 1 or near[0][0] > near[1][0]):
        best, labels = near[0][1], near[0][2]
        wrong = [k for k, v in wanted.items() if labels.get(k) != v]
        change = {k: labels.get(k) for k in wrong}
        if len(wrong) == 1:
            field = f"spec.selector[{wrong[0]}]"
            has = f'{wrong[0]}="{labels[wrong[0]]}"' if wrong[0] in labels else f"no label {wrong[0]}"
            why = f'it selects {wrong[0]}="{wanted[wrong[0]]}", while the pods of {best.name()} carry {has}'
        if best.pods:
            cited.append(view.cite(best.pods[0], "metadata.labels"))
        if any(labels.get(k) for k in wanted):
            fixes.append(
                merge_patch(
                    service,
                    {"spec": {"selector": change}},
                    f"Select the labels that the pods of {best.thing.name} carry",
                    "changes the Service only; no pod is replaced",
                    f"put {wanted} back",
                )
            )
        else:
            fresh = {k: v for k, v in labels.items() if k in _own_selector(best)}
            fixes.append(
                merge_patch(
                    service,
                    {"spec": {"selector": {**dict.fromkeys(wanted), **fresh}}},
                    f"Select the pods of {best.thing.name}",
                    "its name fits",
                    f"put {wanted} back",
                )
            )
    fixes.append(outside("Or label the pods as the Service expects", "right if several things select by that label"))
    sure = 0.93 if best is not None and best.pods else 0.7
    return [
        Draft(
            "service",
            service.target,
            field,
            f"Service {service.name} has no endpoints: {why}.",
            sure,
            Level.OBJECT,
            tuple(cited),
            frozenset({service.key}),
            frozenset({service.key}),
            tuple(fixes),
        )
    ]


def _own_selector(workload: Workload) -> list[str]:
    return list(workload.thing.map("spec.selector.matchLabels"))


def _labels(workload: Workload) -> dict[str, object]:
    path = template_of(workload.thing).removesuffix(".spec") if workload.thing.kind != "Pod" else ""
    return dict(workload.thing.map(f"{path}.metadata.labels" if path else "metadata.labels"))


def _empty(view: ClusterView, service: Thing, workload: Workload) -> list[Draft]:
    thing = workload.thing
    if thing.at("spec.replicas") != 0:
        return [
            Draft(
                "service",
                service.target,
                "spec.selector",
                f"Service {service.name} has no endpoints: {workload.name()} has no running pods.",
                0.5,
                Level.TRAFFIC,
                (view.cite(service, "spec.selector"),),
                frozenset({service.key, thing.key}),
                frozenset({service.key}),
                outside=f"Mend {workload.name()}",
                missing="why it has no pods",
            )
        ]
    before = fold_int(thing.annotations.get("deployment.kubernetes.io/desired-replicas"))
    fix = set_path(
        thing, "spec.replicas", max(before, 1), f"Scale {thing.name} up again", "nothing serves while it is at 0"
    )
    return [
        Draft(
            "service",
            thing.target,
            "spec.replicas",
            f"{workload.name()} is scaled to 0 replicas, so Service {service.name} has no endpoints.",
            0.8,
            Level.WORKLOAD,
            (view.cite(thing, "spec.replicas"), view.cite(service, "spec.selector")),
            frozenset({thing.key}),
            frozenset({service.key, thing.key}),
            (fix,),
        )
    ]


def _ports(view: ClusterView, service: Thing, pods: list[Thing]) -> list[Draft]:
    """Judge targetPort: a name that no container has, or a number on which the log says nobody listens."""
    found = []
    for i, entry in enumerate(service.rows("spec.ports")):
        if entry.get("protocol", "TCP") != "TCP" or service.text("spec.clusterIP") == "None":
            continue
        wanted = entry.get("targetPort", entry.get("port"))
        pod = pods[0]
        declared = {
            text(p.get("name")): fold_int(p.get("containerPort"))
            for c in pod.rows("spec.containers")
            for p in rows(c.get("ports"))
        }
        workload = workload_of(view, pod)
        heard = [h for c in containers(workload, pod) if not c.init for h in ports(log_lines(view, c))]
        place = f"spec.ports[{i}].targetPort"
        probed = _probed(pod)
        if isinstance(wanted, str) and not wanted.isdigit():
            bad = wanted not in declared
        else:
            number = int(wanted) if isinstance(wanted, str) else fold_int(wanted)
            open_ports = {p for p, _, _ in heard} | probed
            bad = number not in open_ports | set(declared.values()) and bool(open_ports or declared)
            bad = bad or (bool(heard) and number not in {p for p, _, _ in heard} | probed)
        if not bad:
            continue
        real = _best(declared, heard, probed)
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


def _probed(pod: Thing) -> set[int]:
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


def _best(declared: dict[str, int], heard: list[tuple[int, Log, str]], probed: set[int]) -> int | str:
    if heard:
        return heard[-1][0]
    if len(probed) == 1:
        return next(iter(probed))
    named = [n for n in declared if n]
    return named[0] if len(named) == 1 else next(iter(declared.values()), 0) if len(declared) == 1 else 0


def _balancer(view: ClusterView, service: Thing) -> list[Draft]:
    if service.rows("status.loadBalancer.ingress") or view.now - service.created < PATIENCE:
        return []
    said = next((e for e in view.events_of(service) if e.text("type") == "Warning"), None)
    cited = [view.cite(service, "spec.type", "status.loadBalancer")] + (
        [view.cite(said, "message")] if said is not None else []
    )
    fix = merge_patch(
        service,
        {"spec": {"type": "NodePort"}},
        "Expose it as NodePort instead",
        "needs nothing in the cluster; clients must use a node's address",
        "set spec.type back to LoadBalancer",
    )
    note = outside(
        "Install a load-balancer implementation (a cloud controller, or one like MetalLB)",
        "right if the cluster is meant to hand out external addresses",
    )
    why = (
        f"the load balancer cannot be made: {said.text('message')[:140]}"
        if said is not None
        else "nothing in the cluster provides load balancers"
    )
    return [
        Draft(
            "service",
            service.target,
            "spec.type (status.loadBalancer)",
            f"Service {service.name} of type LoadBalancer has no external address: {why}.",
            0.9,
            Level.OBJECT,
            tuple(cited),
            frozenset({service.key + "#external"}),
            frozenset({service.key + "#external"}),
            (note, fix),
        )
    ]


def _external(view: ClusterView, service: Thing) -> list[Draft]:
    host = service.text("spec.externalName").rstrip(".")
    parts = host.removesuffix(".cluster.local").split(".")
    if (
        len(parts) != 3
        or parts[2] != "svc"
        or (view.namespace and parts[1] != view.namespace)
        or not view.complete("services", parts[1])
    ):
        return []
    if view.find("Service", parts[1], parts[0]) is not None:
        return []
    near = nearest(parts[0], [s.name for s in view.all("services", parts[1]) if s.name != service.name])
    fixes = (
        [
            set_path(
                service,
                "spec.externalName",
                host.replace(parts[0], near, 1),
                f"Point it at Service {near}",
                "that Service exists",
            )
        ]
        if near
        else []
    )
    return [
        Draft(
            "dns",
            service.target,
            "spec.externalName",
            f"Service {service.name} stands for {host}, and no Service has that name.",
            0.85,
            Level.OBJECT,
            (view.cite(service, "spec.externalName"),),
            frozenset({service.key}),
            frozenset({service.key}),
            tuple(fixes),
        )
    ]
