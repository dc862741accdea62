"""Gateways and their classes: no class, no controller, parameters, addresses, and what their status says."""

from __future__ import annotations

from dataclasses import replace

from agents.expert.analyzers import gateway_listeners
from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_controllers import down, keys_of
from agents.expert.analyzers.gateway_status import (
    Said,
    claim,
    conditions,
    from_status,
    outdated,
    undecided,
    wrong,
    young,
)
from agents.expert.analyzers.grants import refused
from agents.expert.analyzers.referents import GATEWAY, GATEWAY_TRIAL, named, reference
from agents.expert.analyzers.senders import attached, hanging
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import fold_int
from assistant.domain.view import ClusterView, Thing

CLASSES = f"gatewayclasses.{GATEWAY}"
GATEWAYS = f"gateways.{GATEWAY}"
LISTENER_SETS = (f"listenersets.{GATEWAY}", f"xlistenersets.{GATEWAY_TRIAL}")
OWNERS = ("gateway.networking.k8s.io/gateway-name", "gateway.envoyproxy.io/owning-gateway-name")
"""Labels that implementations give the Service of a Gateway's data plane (GEP-1762, Envoy Gateway)."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with classes, Gateways and ListenerSets."""
    found = _classes(view)
    for gateway in view.all(GATEWAYS):
        if not gateway.deleting:
            drafts = _gateway(view, gateway)
            hung = hanging(view, gateway) | _hung(view, gateway)
            # A Gateway of another namespace is read because a route of this one hangs on it; otherwise it is beside.
            beside = bool(view.namespace) and gateway.namespace != view.namespace and not attached(view, gateway)
            found += [replace(d, explains=d.explains | hung, note=d.note or beside) for d in drafts]
    for kind in LISTENER_SETS:
        for part in view.all(kind):
            if not part.deleting:
                found += _listener_set(view, part)
    return found


def _hung(view: ClusterView, gateway: Thing) -> frozenset[str]:
    """Return the keys of the ListenerSets of a Gateway, and of what hangs on them."""
    index = view.memo("gateway parts", logs=False)
    if "all" not in index:
        index["all"] = {}
        for kind in LISTENER_SETS:
            for part in view.all(kind):
                ref = reference(part, "spec.parentRef", part.map("spec.parentRef"), "Gateway", GATEWAY)
                keys = {part.key, *hanging(view, part)}
                index["all"].setdefault(f"Gateway/{ref.namespace}/{ref.name}", set()).update(keys)
    return frozenset(index["all"].get(gateway.key, ()))


def _classes(view: ClusterView) -> list[Draft]:
    """Judge the classes that Gateways of the view use; a class that nobody uses breaks nothing."""
    found = []
    for family in view.all(CLASSES):
        users = [g for g in view.all(GATEWAYS) if g.text("spec.gatewayClassName") == family.name]
        keys = frozenset(k for g in users for k in (g.key, *hanging(view, g), *_hung(view, g)))
        drafts = _class(view, family)
        found += [replace(d, explains=d.explains | keys, note=d.note or not users) for d in drafts]
    return found


def _class(view: ClusterView, family: Thing) -> list[Draft]:
    said = conditions(family)
    raw = family.map("spec.parametersRef")
    if raw:
        ref = reference(family, "spec.parametersRef", raw, "", "")
        lost = dangling(view, ref, "takes its parameters from", said)
        if lost is not None:
            return [lost]
    bad = [s for s in wrong(said) if not (s.type == "Accepted" and s.reason in ("Pending", "Waiting"))]
    if bad:
        return [from_status(view, bad[0], Level.PLATFORM, sure=0.9 if bad[0].message else 0.8)]
    version = next((s for s in said if s.type == "SupportedVersion" and s.status == "False"), None)
    if version is not None:
        return [replace(from_status(view, version, Level.PLATFORM), note=True)]
    accepted = [s for s in said if s.type == "Accepted"]
    if any(s.status == "True" for s in accepted) or young(view, family, *accepted):
        return []
    who = family.text("spec.controllerName")
    cited = view.cite(family, "spec.controllerName", *(s.path for s in accepted[:1]))
    return [
        claim(
            family,
            accepted[0].path if accepted else "status.conditions",
            f"No controller serves GatewayClass {family.name}: nobody answers for {who}"
            + (f" ({accepted[0].quoted})." if accepted else "."),
            0.85,
            Level.TRAFFIC if down(view, who) else Level.PLATFORM,
            (cited,),
            (
                outside(
                    f"Install or start the gateway controller {who}",
                    "a controller says of its classes whether it accepts them, and nothing has",
                ),
                *_other_class(view, family),
            ),
            about=keys_of(view, who),
        )
    ]


def _other_class(view: ClusterView, family: Thing) -> list[Fix]:
    """Return the fix that gives the only Gateway of a dead class the only class that is accepted."""
    alive = [c for c in view.all(CLASSES) if c.condition("Accepted").get("status") == "True"]
    users = [g for g in view.all(GATEWAYS) if g.text("spec.gatewayClassName") == family.name]
    if len(alive) != 1 or len(users) != 1:
        return []
    title = f"Or give Gateway {users[0].name} class {alive[0].name}"
    return [set_path(users[0], "spec.gatewayClassName", alive[0].name, title, "a controller has accepted that class")]


def _gateway(view: ClusterView, gateway: Thing) -> list[Draft]:
    name = gateway.text("spec.gatewayClassName")
    classes = [c.name for c in view.all(CLASSES)]
    said = conditions(gateway)
    if name and view.complete(CLASSES) and name not in classes:
        near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
        field = "spec.gatewayClassName"
        fixes = [set_path(gateway, field, near, f"Use class {near}", "that class exists")] if near else []
        fixes.append(
            outside(f"Or install the controller that brings GatewayClass {name}", "right if the name is meant")
        )
        return [
            claim(
                gateway,
                field,
                f"Gateway {gateway.name} asks for class {name}, which does not exist"
                + (f" ({near} does)." if near else "."),
                0.93,
                Level.OBJECT,
                (view.cite(gateway, field, *(s.path for s in said if s.bad or s.status == "Unknown")),),
                fixes,
            )
        ]
    found = gateway_listeners.judge(view, gateway)
    params = gateway.map("spec.infrastructure.parametersRef")
    if params:
        ref = reference(gateway, "spec.infrastructure.parametersRef", params, "", "")
        lost = dangling(view, ref, "takes its parameters from", said)
        found += [lost] if lost is not None else []
    found += _trust(view, gateway, said)
    return found or _told(view, gateway, said, name)


def _trust(view: ClusterView, gateway: Thing, said: list[Said]) -> list[Draft]:
    """Judge the client certificate for back ends, and the authorities (CA) that clients are trusted by."""
    refs = [
        reference(gateway, path, gateway.map(path), "Secret")
        for path in ("spec.tls.backend.clientCertificateRef", "spec.backendTLS.clientCertificateRef")
        if gateway.map(path)
    ]
    places = ["spec.tls.frontend.default.validation"]
    places += [
        f"spec.tls.frontend.perPort[{i}].tls.validation" for i in range(len(gateway.rows("spec.tls.frontend.perPort")))
    ]
    places += [f"spec.listeners[{i}].tls.frontendValidation" for i in range(len(gateway.rows("spec.listeners")))]
    for place in places:
        path = f"{place}.caCertificateRefs"
        refs += [reference(gateway, f"{path}[{i}]", raw, "ConfigMap") for i, raw in enumerate(gateway.rows(path))]
    every = [*said, *conditions(gateway, "status.listeners")]
    return [
        draft
        for ref in refs
        if (draft := dangling(view, ref, "takes a certificate from", every) or refused(view, ref, every)) is not None
    ]


def _told(view: ClusterView, gateway: Thing, said: list[Said], name: str) -> list[Draft]:
    """Return what the status of a Gateway says, where neither its class nor its listeners explain it."""
    bad = [s for s in wrong(said) if s.reason != "Pending" and not _partly(gateway, s)]
    bad.sort(key=lambda s: ("Accepted", "ResolvedRefs", "Programmed").index(s.type) if s.type in _ORDER else 9)
    if bad:
        return [_blamed(view, gateway, bad[0])]
    stale = [s for s in said if s.bad and s.stale]
    if stale:
        return [outdated(view, stale[0])]
    waiting = undecided(said, "Accepted") + undecided(said, "Programmed")
    if young(view, gateway, *waiting):
        return []
    if waiting or not said:
        return [_unattended(view, gateway, waiting, name)]
    if any(s.stale for s in said):
        return []
    if not gateway.rows("status.addresses") and _exposed(view, gateway):
        return [_addressless(view, gateway)]
    return _idle(view, gateway)


_ORDER = ("Accepted", "ResolvedRefs", "Programmed")


def _partly(gateway: Thing, said: Said) -> bool:
    """Say whether a Gateway is accepted with a part of its listeners (ListenersNotValid may be said with True)."""
    return said.reason == "ListenersNotValid" and said.status == "True"


def _blamed(view: ClusterView, gateway: Thing, said: Said) -> Draft:
    draft = from_status(view, said, Level.TRAFFIC, sure=0.8)
    plane = _plane(view, gateway)
    if plane is None:
        return draft
    about = {plane.key, f"{plane.key}#external"}
    return replace(draft, about=draft.about | about, citations=(*draft.citations, view.cite(plane, "status")))


def _plane(view: ClusterView, gateway: Thing) -> Thing | None:
    """Return the Service of a Gateway's data plane where it stands in the Gateway's namespace."""
    return next(
        (s for s in view.all("services", gateway.namespace) if any(s.labels.get(o) == gateway.name for o in OWNERS)),
        None,
    )


def _exposed(view: ClusterView, gateway: Thing) -> bool:
    """Say whether a Gateway has a data plane that others should be able to reach: not one of ClusterIP by choice."""
    plane = _plane(view, gateway)
    return plane is None or plane.text("spec.type") == "LoadBalancer"


def _addressless(view: ClusterView, gateway: Thing) -> Draft:
    plane = _plane(view, gateway)
    external = (f"{plane.key}#external",) if plane is not None else ()
    return claim(
        gateway,
        "status.addresses",
        f"Gateway {gateway.name} is programmed and has no address, so that nobody outside can reach it.",
        0.6,
        Level.TRAFFIC,
        (view.cite(gateway, "status.conditions", "metadata.name"),),
        (outside("Install or mend what hands out addresses", "its status lists no address"),),
        about=external,
        asks=r"gateway|address|reach|external|traffic",
    )


def _idle(view: ClusterView, gateway: Thing) -> list[Draft]:
    """Judge a Gateway to which no route is attached: that may be meant, and every request to it gets a 404."""
    table = gateway.rows("status.listeners")
    if not table or attached(view, gateway) or any(fold_int(x.get("attachedRoutes"), 1) for x in table):
        return []
    return [
        claim(
            gateway,
            "status.listeners[0].attachedRoutes",
            f"No route is attached to Gateway {gateway.name}, so that it answers every request with 404.",
            0.75,
            Level.CALLER,
            (view.cite(gateway, "status.listeners[0].attachedRoutes", "metadata.name"),),
            (outside(f"Attach a route to Gateway {gateway.name}", "its listeners serve what routes tell them"),),
            asks=r"gateway|route|404",
        )
    ]


def _unattended(view: ClusterView, gateway: Thing, waiting: list[Said], name: str) -> Draft:
    family = named(view, CLASSES, "", name)
    who = family.text("spec.controllerName") if family is not None else ""
    cited = [view.cite(gateway, "spec.gatewayClassName", *(s.path for s in waiting[:1]))]
    if family is not None:
        cited.append(view.cite(family, "spec.controllerName"))
    return claim(
        gateway,
        waiting[0].path if waiting else "status.conditions",
        f"No controller has programmed Gateway {gateway.name}"
        + (f": {waiting[0].quoted}." if waiting else ": its status is empty."),
        0.72,
        Level.TRAFFIC,
        cited,
        (
            outside(
                f"Start or look at the gateway controller {who or f'of class {name}'}",
                "it writes the status of every Gateway of its classes, and has not done so",
            ),
        ),
        about=keys_of(view, who),
    )


def _listener_set(view: ClusterView, part: Thing) -> list[Draft]:
    said = conditions(part)
    ref = reference(part, "spec.parentRef", part.map("spec.parentRef"), "Gateway", GATEWAY)
    lost = dangling(view, ref, "adds listeners to", said, explains=attached(view, part))
    if lost is not None:
        return [lost]
    gateway = named(view, GATEWAYS, ref.namespace, ref.name)
    bad = [s for s in wrong(said) if s.reason != "Pending"]
    if gateway is not None and not any(s.type == "Accepted" and s.status == "True" for s in said):
        origin = gateway.text("spec.allowedListeners.namespaces.from") or "None"
        if origin == "None" or (origin == "Same" and part.namespace != gateway.namespace):
            return [_unwanted(view, part, gateway, origin, bad)]
    found = gateway_listeners.judge(view, part)
    if found or not bad:
        return found
    return [from_status(view, bad[0], Level.TRAFFIC, explains=attached(view, part))]


def _unwanted(view: ClusterView, part: Thing, gateway: Thing, origin: str, bad: list[Said]) -> Draft:
    """Return the draft for listeners that a Gateway does not take: without `allowedListeners` it takes none."""
    field = "spec.allowedListeners"
    value = {"namespaces": {"from": "Same"}}
    if part.namespace != gateway.namespace:
        names = sorted({gateway.namespace, part.namespace} if origin == "Same" else {part.namespace})
        rule = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}
        value = {"namespaces": {"from": "Selector", "selector": {"matchExpressions": [rule]}}}  # type: ignore[dict-item]
    fix = set_path(
        gateway,
        field,
        value,
        f"Let Gateway {gateway.name} take listeners of {part.namespace}",
        "it takes none otherwise",
    )
    return claim(
        gateway,
        field,
        f"Gateway {gateway.name} does not take the listeners of {part.kind} {part.name}: allowedListeners is {origin}.",
        0.95 if bad else 0.82,
        Level.OBJECT,
        (view.cite(gateway, "metadata.name", field), view.cite(part, "spec.parentRef", *(s.path for s in bad[:1]))),
        (fix,),
        about=(part.key,),
        explains=(part.key, *attached(view, part)),
    )
