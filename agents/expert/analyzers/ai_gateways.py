"""Envoy AI Gateway: routes for models and for tools (MCP), their back ends, credentials and quotas.

Its status is one condition: Accepted, or NotAccepted with status False, which is a rejection as well.
"""

from __future__ import annotations

from dataclasses import replace

from agents.expert.analyzers import provider_hosts
from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_policies import targets
from agents.expert.analyzers.gateway_status import (
    Said,
    claim,
    conditions,
    from_status,
    outdated,
    wrong,
    young,
)
from agents.expert.analyzers.grants import refused
from agents.expert.analyzers.referents import AI, ENVOY, GATEWAY, Reference, likely, named, reference
from agents.expert.analyzers.routes import parents as judge_parents
from agents.expert.analyzers.senders import AI_ROUTES, MCP_ROUTES, backends_of, standing_for, users
from agents.expert.draft import Draft, Level
from agents.expert.remedies import merge_patch, outside
from assistant.domain.raw import fold_int, mapping, text
from assistant.domain.view import ClusterView, Thing

BACKENDS = f"aiservicebackends.{AI}"
CREDENTIALS = f"backendsecuritypolicies.{AI}"
QUOTAS = f"quotapolicies.{AI}"
CONFIGS = f"gatewayconfigs.{AI}"
HOSTS = f"backends.{ENVOY}"
CONFIGURED = "aigateway.envoyproxy.io/gateway-config"
"""The annotation of a Gateway that names a GatewayConfig of its namespace."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the AI routes of the view, their back ends and credentials."""
    found = [d for kind in (AI_ROUTES, MCP_ROUTES) for r in view.all(kind) if not r.deleting for d in _route(view, r)]
    for backend in view.all(BACKENDS):
        found += _reaching(view, backend, _backend(view, backend))
    for backend in view.all(HOSTS):
        found += _reaching(view, backend, _host(view, backend))
    for kind in (CREDENTIALS, QUOTAS):
        for policy in view.all(kind):
            found += _policy(view, policy)
    for config in view.all(CONFIGS):
        found += _told(view, config, conditions(config))
    return found + _configured(view)


def _reaching(view: ClusterView, backend: Thing, drafts: list[Draft]) -> list[Draft]:
    """Let a fault of a back end explain the routes to it, also through an AIServiceBackend."""
    keys = set(users(view, backend.key))
    for other in view.all(BACKENDS, backend.namespace):
        if other.text("spec.backendRef.name") == backend.name and other.key != backend.key:
            keys |= {other.key, *users(view, other.key)}
    return [replace(d, explains=d.explains | keys) for d in drafts]


def _route(view: ClusterView, route: Thing) -> list[Draft]:
    said = conditions(route)
    made = named(view, f"httproutes.{GATEWAY}", route.namespace, route.name)
    found = judge_parents(view, route, conditions(made, "status.parents") if made is not None else [], told=False)
    backs = provider_hosts.secrets(view, route, said)
    for ref in backends_of(route):
        lost = dangling(view, ref, "sends requests to", said) or refused(view, ref, said)
        backs += [lost] if lost is not None else []
    # A route repeats what is said of its back ends, which then explain it.
    backs = backs or _told(view, route, said, Level.CALLER)
    if not backs and not found and not said and not young(view, route):
        backs = [_unseen(view, route)]
    keys = standing_for(route)
    return [replace(d, explains=d.explains | keys) for d in (*found, *backs)]


def _unseen(view: ClusterView, route: Thing) -> Draft:
    return claim(
        route,
        "status.conditions",
        f"No controller has taken {route.kind} {route.name}: its status is empty.",
        0.72,
        Level.CALLER,
        (view.cite(route, "metadata.name", "spec.parentRefs"),),
        (outside("See that the controller of Envoy AI Gateway runs", "it gives every route that it sees a status"),),
    )


def _backend(view: ClusterView, backend: Thing) -> list[Draft]:
    said = conditions(backend)
    raw = backend.map("spec.backendRef")
    found = []
    if raw:
        ref = reference(backend, "spec.backendRef", raw)
        lost = dangling(view, ref, "reaches its provider through", said) or refused(view, ref, said)
        found += [lost] if lost is not None else []
    if found:
        return found
    doubled = _doubled(view, backend, said)
    return doubled or _told(view, backend, said)


def _doubled(view: ClusterView, backend: Thing, said: list[Said]) -> list[Draft]:
    """Judge a back end with several BackendSecurityPolicies: the gateway takes exactly one."""
    index = view.memo("credentials", logs=False)
    if "all" not in index:
        index["all"] = {}
        for policy in view.all(CREDENTIALS):
            for ref in targets(policy):
                index["all"].setdefault(f"{ref.kind}/{ref.namespace}/{ref.name}", {})[policy.key] = policy
    own: list[Thing] = list(index["all"].get(backend.key, {}).values())
    if len(own) < 2:
        return []
    own.sort(key=lambda p: (p.created, p.name))
    first, last = own[0], own[-1]
    told = [s for s in wrong(said) if "multiple" in s.message.lower()][:1]
    return [
        claim(
            last,
            targets(last)[0].path,
            f"{backend.kind} {backend.name} has {len(own)} BackendSecurityPolicies ({', '.join(p.name for p in own)}), "
            "and the gateway takes one only.",
            0.95 if told else 0.85,
            Level.OBJECT,
            (
                view.cite(last, "spec.targetRefs"),
                view.cite(first, "spec.targetRefs"),
                *(view.cite(backend, s.path) for s in told),
            ),
            (
                outside(
                    f"Keep one of {', '.join(p.name for p in own)} for this back end", "only its owner knows which one"
                ),
            ),
            explains=(backend.key, *(p.key for p in own)),
        )
    ]


def _host(view: ClusterView, backend: Thing) -> list[Draft]:
    """Judge the addresses of an Envoy Gateway Backend that lie in this cluster."""
    found = []
    for i, endpoint in enumerate(backend.rows("spec.endpoints")):
        name = mapping(endpoint.get("fqdn"))
        path = f"spec.endpoints[{i}].fqdn"
        draft = provider_hosts.host(
            view, backend, f"{path}.hostname", text(name.get("hostname")), fold_int(name.get("port")), f"{path}.port"
        )
        if draft is not None:
            found.append(draft)
    return found or _told(view, backend, conditions(backend))


def _policy(view: ClusterView, policy: Thing) -> list[Draft]:
    said = conditions(policy, "status.ancestors")
    refs = targets(policy)
    found = [d for r in refs if (d := dangling(view, r, "is meant for", said)) is not None]
    found += provider_hosts.secrets(view, policy, said)
    keys = {k for r in refs for k in _served(view, r)}
    return [replace(d, explains=d.explains | keys) for d in found or _told(view, policy, said)]


def _served(view: ClusterView, ref: Reference) -> frozenset[str]:
    key = f"{ref.kind}/{ref.namespace}/{ref.name}"
    return frozenset({key}) | users(view, key)


def _told(view: ClusterView, thing: Thing, said: list[Said], level: Level = Level.TRAFFIC) -> list[Draft]:
    bad = wrong(said)
    if bad:
        return [from_status(view, bad[0], level, sure=0.78)]
    stale = [s for s in said if s.bad and s.stale]
    return [outdated(view, stale[0])] if stale else []


def _configured(view: ClusterView) -> list[Draft]:
    """Judge the GatewayConfig that a Gateway names in an annotation."""
    found = []
    for gateway in view.all(f"gateways.{GATEWAY}"):
        name = text(gateway.annotations.get(CONFIGURED))
        if not name:
            continue
        field = f"metadata.annotations['{CONFIGURED}']"
        ref = Reference(gateway, field, AI, "GatewayConfig", gateway.namespace, name)
        lost = dangling(view, ref, "takes its AI settings from")
        if lost is not None:
            near = likely(view, ref)
            title, reason = f"Use GatewayConfig {near}", "that GatewayConfig exists"
            change = {"metadata": {"annotations": {CONFIGURED: near}}}
            fixes = [merge_patch(gateway, change, title, reason, f"set {CONFIGURED} back to {name}")] if near else []
            kept = tuple(f for f in lost.fixes if f.outside)
            found.append(replace(lost, field=field, fixes=(*fixes, *kept)))
    return found
