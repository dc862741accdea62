"""Who sends traffic where: the back ends of routes, the routes on a Gateway, and the users of a back end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from agents.expert.analyzers.referents import AI, GATEWAY, ROUTES, Reference, reference
from assistant.domain.raw import mapping, rows
from assistant.domain.view import ClusterView, Thing

AI_ROUTES = f"aigatewayroutes.{AI}"
MCP_ROUTES = f"mcproutes.{AI}"
SENDERS = (*ROUTES, AI_ROUTES, MCP_ROUTES)


def backends_of(route: Thing) -> list[Reference]:
    """Return what a route sends or mirrors traffic to, and the extensions that its rules name."""
    if route.resource == MCP_ROUTES:
        return [reference(route, f"spec.backendRefs[{i}]", b) for i, b in enumerate(route.rows("spec.backendRefs"))]
    kind, group = ("AIServiceBackend", AI) if route.resource == AI_ROUTES else ("Service", "")
    found = []
    for i, rule in enumerate(route.rows("spec.rules")):
        for j, back in enumerate(rows(rule.get("backendRefs"))):
            found.append(reference(route, f"spec.rules[{i}].backendRefs[{j}]", back, kind, group))
            found += _filters(route, f"spec.rules[{i}].backendRefs[{j}]", back)
        found += _filters(route, f"spec.rules[{i}]", rule)
    return found


def _filters(route: Thing, path: str, holder: Mapping[str, Any]) -> list[Reference]:
    found = []
    for k, entry in enumerate(rows(holder.get("filters"))):
        mirror, extension = mapping(mapping(entry.get("requestMirror")).get("backendRef")), entry.get("extensionRef")
        if mirror:
            found.append(reference(route, f"{path}.filters[{k}].requestMirror.backendRef", mirror))
        if isinstance(extension, dict):
            found.append(reference(route, f"{path}.filters[{k}].extensionRef", extension, ""))
    return found


def users(view: ClusterView, key: str) -> frozenset[str]:
    """Return the keys of the routes that send traffic to an object, by the object's key.

    An AIGatewayRoute stands for the HTTPRoute of its name as well, which its controller makes.
    """
    index = view.memo("route users", logs=False)
    if "all" not in index:
        index["all"] = {}
        for route in (r for kind in SENDERS for r in view.all(kind)):
            for ref in backends_of(route):
                index["all"].setdefault(f"{ref.kind}/{ref.namespace}/{ref.name}", set()).update(standing_for(route))
    return frozenset(index["all"].get(key, ()))


def attached(view: ClusterView, gateway: Thing) -> frozenset[str]:
    """Return the keys of the routes that name a Gateway or ListenerSet as a parent."""
    index = view.memo("attached", logs=False)
    if "all" not in index:
        index["all"] = {}
        for route in (r for kind in SENDERS for r in view.all(kind)):
            for i, raw in enumerate(route.rows("spec.parentRefs")):
                ref = reference(route, f"spec.parentRefs[{i}]", raw, "Gateway", GATEWAY)
                index["all"].setdefault(f"{ref.kind}/{ref.namespace}/{ref.name}", set()).update(standing_for(route))
    return frozenset(index["all"].get(gateway.key, ()))


def hanging(view: ClusterView, gateway: Thing) -> frozenset[str]:
    """Return the keys of the routes on a Gateway or ListenerSet, and of the pools that they send traffic to."""
    index = view.memo("hanging", logs=False)
    if "all" not in index:
        index["all"] = {}
        for route in (r for kind in SENDERS for r in view.all(kind)):
            pools = {f"{r.kind}/{r.namespace}/{r.name}" for r in backends_of(route) if r.kind == "InferencePool"}
            for key in standing_for(route):
                index["all"].setdefault(key, set()).update(pools)
    keys = attached(view, gateway)
    return keys.union(*(index["all"].get(k, ()) for k in keys))


def namespaces_referred_to(view: ClusterView) -> list[str]:
    """Return the namespaces of parents, back ends and certificates, the most referred to first."""
    counted: Counter[str] = Counter()
    for route in (r for kind in SENDERS for r in view.all(kind)):
        counted.update(r.namespace for r in backends_of(route))
        for i, raw in enumerate(route.rows("spec.parentRefs")):
            counted[reference(route, f"spec.parentRefs[{i}]", raw, "Gateway", GATEWAY).namespace] += 1
    for gateway in view.all(f"gateways.{GATEWAY}"):
        for listener in gateway.rows("spec.listeners"):
            for raw in rows(mapping(listener.get("tls")).get("certificateRefs")):
                counted[reference(gateway, "spec.listeners", raw, "Secret").namespace] += 1
    return [place for place, _ in counted.most_common()]


def standing_for(route: Thing) -> frozenset[str]:
    """Return the keys of a route and of the HTTPRoute that is generated from it."""
    made = f"HTTPRoute/{route.namespace}/{route.name}"
    return frozenset({route.key, made} if route.resource == AI_ROUTES else {route.key})
