"""Services: selectors, ports, endpoints, load balancers, names of other hosts."""

from __future__ import annotations

import difflib
from datetime import timedelta

from agents.expert.analyzers.image import split
from agents.expert.analyzers.service_ports import wrong_ports
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import merge_patch, nearest, outside, set_path
from agents.expert.workload import Workload, is_ready, workload_of, workloads
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing

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
        else:
            found += _unselected(view, service)
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
    found = wrong_ports(view, service, pods) + _crowd(view, service, pods)
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


def _unselected(view: ClusterView, service: Thing) -> list[Draft]:
    """Judge a Service without a selector: somebody has to make its endpoints by hand."""
    if not view.complete(SLICES, service.namespace) or (service.namespace, service.name) == ("default", "kubernetes"):
        return []
    own = [s for s in view.all(SLICES, service.namespace) if s.labels.get("kubernetes.io/service-name") == service.name]
    if any(s.rows("endpoints") for s in own) or not service.rows("spec.ports"):
        return []
    fitting = [w for w in workloads(view) if w.thing.namespace == service.namespace and w.thing.name == service.name]
    fixes: list[Fix] = []
    if fitting:
        labels = {k: v for k, v in _labels(fitting[0]).items() if k in _own_selector(fitting[0])}
        fixes.append(
            merge_patch(
                service,
                {"spec": {"selector": labels}},
                f"Select the pods of {fitting[0].thing.name}",
                "its name fits; endpoints are then kept by the cluster",
                "remove spec.selector again",
            )
        )
    fixes.append(outside("Or make an EndpointSlice with the addresses that it stands for", "right for a host outside"))
    return [
        Draft(
            "service",
            service.target,
            "spec.selector",
            f"Service {service.name} has no selector, and nobody made endpoints for it.",
            0.85,
            Level.OBJECT,
            (view.cite(service, "spec"),),
            frozenset({service.key}),
            frozenset({service.key}),
            tuple(fixes),
        )
    ]


def _crowd(view: ClusterView, service: Thing, pods: list[Thing]) -> list[Draft]:
    """Judge a selector that is too wide: it takes pods of workloads with other images, which do not serve its port."""
    heads: dict[str, Workload] = {}
    for pod in pods:
        heads.setdefault(workload_of(view, pod).thing.key, workload_of(view, pod))
    if len(heads) < 2 or len(heads) > 8:
        return []
    images = {k: {split(text(c.get("image")))[0] for c in rows(w.spec.get("containers"))} for k, w in heads.items()}
    best = max(heads, key=lambda k: difflib.SequenceMatcher(None, service.name, heads[k].thing.name).ratio())
    strangers = [heads[k] for k in heads if k != best and not images[k] & images[best]]
    if not strangers:
        return []
    mine, wanted = heads[best], service.map("spec.selector")
    own = {k: v for k, v in _labels(mine).items() if k in _own_selector(mine)}
    fix = merge_patch(
        service,
        {"spec": {"selector": {**wanted, **own}}},
        f"Select the pods of {mine.thing.name} alone",
        "adds the labels that only these pods carry",
        f"put {dict(wanted)} back",
    )
    others = " and ".join(w.name() for w in strangers[:3])
    return [
        Draft(
            "service",
            service.target,
            "spec.selector",
            f"Service {service.name} selects too much: beside the pods of {mine.name()} also those of {others}, which "
            "run something else, so a part of the calls goes astray.",
            0.85,
            Level.OBJECT,
            (view.cite(service, "spec.selector"), *(view.cite(w.pods[0], "metadata.labels") for w in strangers[:2])),
            frozenset({service.key}),
            frozenset({service.key}),
            (fix,),
        )
    ]


def _slice(view: ClusterView, service: Thing) -> Thing | None:
    index = view.memo("slices", logs=False)
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
        [view.cite(slice_, "endpoints", "metadata.labels['kubernetes.io/service-name']")] if slice_ is not None else []
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
    path = workload.template.removesuffix(".spec") if workload.thing.kind != "Pod" else ""
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
