"""Routes of the Gateway API: parents that do not take them, back ends that do not exist, and what their status says."""

from __future__ import annotations

import re
from dataclasses import replace

from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_controllers import keys_of
from agents.expert.analyzers.gateway_status import (
    Said,
    claim,
    conditions,
    from_status,
    outdated,
    same_parent,
    undecided,
    wrong,
    young,
)
from agents.expert.analyzers.grants import refused
from agents.expert.analyzers.referents import GATEWAY, ROUTES, Answer, Reference, look_up, named, reference
from agents.expert.analyzers.senders import AI_ROUTES, MCP_ROUTES, backends_of
from agents.expert.analyzers.unattached import misattached
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import is_ready
from assistant.domain.raw import fold_int, rows, text
from assistant.domain.view import ClusterView, Thing

H2C = "kubernetes.io/h2c"
"""The appProtocol of HTTP/2 without TLS (KEP-3726)."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the routes of the view."""
    return [draft for kind in ROUTES for route in view.all(kind) for draft in _route(view, route)]


def _route(view: ClusterView, route: Thing) -> list[Draft]:
    if route.deleting:
        return []
    said = conditions(route, "status.parents")
    owner = view.owner(route)
    if owner is not None and owner.resource in (AI_ROUTES, MCP_ROUTES):
        # Generated: its faults are those of its owner, which is judged by itself, and a change here would be undone.
        return _told(view, route, said, lost=False, backs=False)
    found = parents(view, route, said)
    lost = bool(found)
    pools = {
        f"InferencePool/{r.namespace}/{r.name}" for r in backends_of(route) if r.kind == "InferencePool" and r.name
    }
    found = [replace(d, explains=d.explains | pools) for d in found]
    backs = [d for r in backends_of(route) for d in _backend(view, r, said)]
    backs += _weights(view, route)
    sure = [d for d in backs if not d.missing]
    return found + backs + _told(view, route, said, lost=lost, backs=bool(sure))


def parents(view: ClusterView, route: Thing, said: list[Said], *, told: bool = True) -> list[Draft]:
    """Return what is wrong with the parents of a route, or of a kind that a route is made of.

    `told` says whether a controller would write a status for it: then one that says nothing is a fault as well.
    """
    found = []
    for i, raw in enumerate(route.rows("spec.parentRefs")):
        ref = reference(route, f"spec.parentRefs[{i}]", raw, "Gateway", GATEWAY)
        own = [s for s in said if s.part and same_parent(route, raw, s.part)]
        lost = dangling(view, ref, "is attached to", own)
        if lost is not None:
            found.append(lost)
            continue
        answer, parent = look_up(view, ref)
        if parent is not None and ref.kind in ("Gateway", "ListenerSet"):
            draft = misattached(view, ref, raw, parent, own)
            if draft is not None:
                found.append(draft)
                continue
        if told and answer is Answer.FOUND and not own and ref.kind == "Gateway" and not young(view, route):
            found.append(_unclaimed(view, ref, parent))
    return found


def _unclaimed(view: ClusterView, ref: Reference, gateway: Thing | None) -> Draft:
    """Return the draft for a route that no controller speaks of, though its Gateway exists."""
    route = ref.holder
    name = gateway.text("spec.gatewayClassName") if gateway is not None else ""
    family = named(view, f"gatewayclasses.{GATEWAY}", "", name)
    who = family.text("spec.controllerName") if family is not None else ""
    word = f"controller {who}" if who else f"the controller of class {name}"
    cited = [view.cite(route, ref.path)]
    if family is not None:
        cited.append(view.cite(family, "spec.controllerName"))
    return claim(
        route,
        "status.parents",
        f"No controller has taken {route.kind} {route.name}: its status says nothing of {ref.label}.",
        0.72,
        Level.CALLER,
        cited,
        (
            outside(
                f"See that {word} runs, and that it serves {route.kind}s of namespace {route.namespace}",
                "the Gateway exists, and a controller writes status.parents for every route that it takes",
            ),
        ),
        about=keys_of(view, who),
    )


def _backend(view: ClusterView, ref: Reference, said: list[Said]) -> list[Draft]:
    route = ref.holder
    lost = dangling(view, ref, "sends traffic to", said)
    if lost is not None:
        return [lost]
    barred = refused(view, ref, said)
    if barred is not None:
        return [barred]
    _, thing = look_up(view, ref)
    if thing is None or ref.kind != "Service" or ref.group:
        return []
    table = thing.rows("spec.ports")
    ports = [fold_int(p.get("port")) for p in table]
    if ports and ref.port not in ports:
        field = f"{ref.path}.port"
        fitting = [fold_int(p.get("port")) for p in table if ref.port and p.get("targetPort") == ref.port]
        best = (fitting or ports)[0]
        told = [s for s in wrong(said) if s.type == "ResolvedRefs"][:1]
        asked = f"port {ref.port}" if ref.port else "no port"
        return [
            claim(
                route,
                field,
                f"{route.kind} {route.name} sends traffic to {asked} of Service {thing.name}, which serves "
                f"{', '.join(map(str, ports))}.",
                0.95,
                Level.OBJECT,
                (view.cite(route, ref.path, *(s.path for s in told)), view.cite(thing, "spec.ports")),
                (set_path(route, field, best, f"Use port {best}", "the Service serves that port"),),
            )
        ]
    return _protocol(view, ref, thing, said) or _unready(view, ref, thing)


def _protocol(view: ClusterView, ref: Reference, service: Thing, said: list[Said]) -> list[Draft]:
    """Judge appProtocol of the port: one that the controller refuses, or HTTP/1.1 where gRPC needs HTTP/2.

    A port that is only named for gRPC may be understood by some implementations, so that is told to those who complain.
    """
    route = ref.holder
    place, entry = next(
        ((i, p) for i, p in enumerate(service.rows("spec.ports")) if fold_int(p.get("port")) == ref.port), (0, {})
    )
    field, held, name = f"spec.ports[{place}].appProtocol", text(entry.get("appProtocol")), text(entry.get("name"))
    told = [s for s in wrong(said) if s.reason == "UnsupportedProtocol" and s.type == "ResolvedRefs"][:1]
    asks = ""
    if told and held:
        why, new = f"appProtocol {held}, which the gateway does not speak", None
    elif route.kind == "GRPCRoute" and held in ("http", "kubernetes.io/ws"):
        why, new = f"appProtocol {held}, and gRPC needs HTTP/2", H2C
    elif route.kind == "HTTPRoute" and not held and re.match(r"(grpc|h2c)(-|$)", name):
        why, new = f"the name {name} and no appProtocol, so that a gateway speaks HTTP/1.1 with it", H2C
        asks = r"grpc|50[0-9]|protocol|http/?2|h2c"
    else:
        return []
    title = f"Say that the port speaks {new}" if new else "Leave the protocol to the gateway"
    return [
        claim(
            service,
            field,
            f"{route.kind} {route.name} sends traffic to a port of Service {service.name} with {why}.",
            0.93 if told else 0.65 if asks else 0.78,
            Level.OBJECT,
            (view.cite(service, f"spec.ports[{place}]"), view.cite(route, ref.path, *(s.path for s in told))),
            (set_path(service, field, new, title, "a gateway takes the protocol of a back end from there"),),
            about=(route.key,),
            explains=(route.key,),
            asks=asks,
        )
    ]


def _unready(view: ClusterView, ref: Reference, service: Thing) -> list[Draft]:
    """Return the draft for a back end without ready pods: all conditions are True and every request fails."""
    selector = service.map("spec.selector")
    if not selector or not view.complete("pods", service.namespace) or ref.holder.at(f"{ref.path}.weight") == 0:
        return []
    if any(is_ready(p) for p in view.pods_with(service.namespace, selector)):
        return []
    return [
        claim(
            ref.holder,
            ref.path,
            f"{ref.holder.kind} {ref.holder.name} sends traffic to Service {service.name}, which has no ready "
            "endpoint: requests are answered with 503 though every condition is True.",
            0.5,
            Level.CALLER,
            (view.cite(ref.holder, ref.path), view.cite(service, "spec.selector")),
            about=(service.key,),
            missing=f"why Service {service.name} has no ready endpoint",
        )
    ]


def _weights(view: ClusterView, route: Thing) -> list[Draft]:
    """Judge rules whose back ends all have the weight 0: nothing gets their traffic."""
    found = []
    for i, rule in enumerate(route.rows("spec.rules")):
        backs = rows(rule.get("backendRefs"))
        if not backs or any(fold_int(b.get("weight"), 1) for b in backs):
            continue
        field = f"spec.rules[{i}].backendRefs[0].weight"
        fixes: list[Fix] = [
            set_path(route, field, 1, f"Send it to {text(backs[0].get('name'))}", "it is the only back end of the rule")
        ]
        if len(backs) > 1:
            fixes = [outside("Give at least one back end of the rule a weight", "only its owner knows which one")]
        found.append(
            claim(
                route,
                field,
                f"Rule {i} of {route.kind} {route.name} gives every back end the weight 0, so that its requests are "
                "answered with 500.",
                0.85,
                Level.OBJECT,
                (view.cite(route, f"spec.rules[{i}].backendRefs"),),
                fixes,
            )
        )
    return found


def _told(view: ClusterView, route: Thing, said: list[Said], *, lost: bool, backs: bool) -> list[Draft]:
    """Return what the status says and no reference explains."""
    bad = [s for s in wrong(said) if s.part]
    bad = [s for s in bad if not (lost and s.type == "Accepted") and not (backs and s.type == "ResolvedRefs")]
    if bad:
        pools = {f"InferencePool/{r.namespace}/{r.name}" for r in backends_of(route) if r.kind == "InferencePool"}
        if bad[0].reason == "InvalidKind" and pools:
            draft = from_status(view, bad[0], Level.TRAFFIC, place=_blamed(route, bad[0]), explains=pools)
            return [replace(draft, fixes=(_SWITCH, *draft.fixes))]
        return [from_status(view, bad[0], Level.CALLER, place=_blamed(route, bad[0]))]
    stale = [s for s in said if s.bad and s.stale]
    if stale and not lost and not backs:
        return [outdated(view, stale[0])]
    waiting = undecided(said, "Accepted")
    if waiting and not lost and not young(view, route, *waiting):
        return [from_status(view, waiting[0], Level.CALLER, sure=0.6)]
    return []


_SWITCH = outside(
    "Switch the Inference Extension on in the gateway's controller and restart it, or use a gateway that supports it",
    "the pool exists; the controller does not take InferencePool as a back end",
)


def _blamed(route: Thing, said: Said) -> str:
    """Return the path of the back end that a message names, or of the odd kind that it must mean; "" for none."""
    refs = [r for r in backends_of(route) if r.name] if said.type == "ResolvedRefs" else []
    named = [r for r in refs if r.name in said.message]
    odd = [r for r in refs if r.kind != "Service"] if said.reason == "InvalidKind" else []
    if odd:
        return f"{odd[0].path}.kind"
    return f"{named[0].path}.name" if named else ""
