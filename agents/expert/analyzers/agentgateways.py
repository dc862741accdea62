"""agentgateway: back ends for models and tools, virtual models, and configuration that the proxy refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents.expert.analyzers import provider_hosts
from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_status import Said, claim, conditions, from_status, outdated, wrong, young
from agents.expert.analyzers.referents import AGENT, GATEWAY, reference
from agents.expert.analyzers.routes import parents as judge_parents
from agents.expert.analyzers.senders import users
from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside
from agents.expert.workload import RECENT
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing, event_time

BACKENDS = f"agentgatewaybackends.{AGENT}"
MODELS = f"agentgatewaymodels.{AGENT}"
REFUSED = "AgentGatewayNackError"
"""Reason of the event that the controller writes when the proxy refuses what it was sent."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the agentgateway resources of the view."""
    found = []
    for backend in view.all(BACKENDS):
        reach = users(view, backend.key)
        found += [replace(d, explains=d.explains | reach) for d in _backend(view, backend)]
    for model in view.all(MODELS):
        found += _model(view, model)
    return found + _nacks(view)


def _backend(view: ClusterView, backend: Thing) -> list[Draft]:
    said = conditions(backend)
    found = provider_hosts.secrets(view, backend, said)
    for path, raw in _hosts(backend):
        field, port = f"{path}.host", fold_int(raw.get("port"))
        draft = provider_hosts.host(view, backend, field, text(raw.get("host")), port, f"{path}.port")
        found += [draft] if draft is not None else []
        inner = mapping(raw.get("backendRef"))
        if inner:
            lost = dangling(view, reference(backend, f"{path}.backendRef", inner), "sends requests to", said)
            found += [lost] if lost is not None else []
    return found or _told(view, backend, said)


def _hosts(backend: Thing) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the parts of a back end that hold a host and port, or a reference to a Service."""
    found: list[tuple[str, Mapping[str, Any]]] = [("spec.static", backend.map("spec.static"))]
    found.append(("spec.ai.provider", backend.map("spec.ai.provider")))
    found.append(("spec.ai.provider.custom", backend.map("spec.ai.provider.custom")))
    for i, group in enumerate(backend.rows("spec.ai.groups")):
        for j, provider in enumerate(rows(group.get("providers"))):
            path = f"spec.ai.groups[{i}].providers[{j}]"
            found += [(path, provider), (f"{path}.custom", mapping(provider.get("custom")))]
    for i, target in enumerate(backend.rows("spec.mcp.targets")):
        found.append((f"spec.mcp.targets[{i}].static", mapping(target.get("static"))))
    return [(path, raw) for path, raw in found if raw]


def _model(view: ClusterView, model: Thing) -> list[Draft]:
    said = conditions(model, "status.parents")
    found = judge_parents(view, model, said)
    for word in ("weighted", "failover", "conditional"):
        for i, target in enumerate(model.rows(f"spec.virtualModel.{word}.targets")):
            path = f"spec.virtualModel.{word}.targets[{i}].modelRef"
            raw = mapping(target.get("modelRef"))
            ref = reference(model, path, raw, "AgentgatewayModel", AGENT)
            lost = dangling(view, ref, "sends requests to", said) if raw else None
            found += [lost] if lost is not None else []
    found += provider_hosts.secrets(view, model, said)
    return found or _told(view, model, said)


def _told(view: ClusterView, thing: Thing, said: list[Said]) -> list[Draft]:
    bad = [s for s in wrong(said) if s.reason != "Pending"]
    if bad:
        return [from_status(view, bad[0], Level.TRAFFIC, sure=0.78)]
    stale = [s for s in said if s.bad and s.stale]
    if stale:
        return [outdated(view, stale[0])]
    waiting = [s for s in wrong(said) if s.reason == "Pending"]
    if waiting and not young(view, thing, *waiting):
        return [from_status(view, waiting[0], Level.TRAFFIC, sure=0.6)]
    return []


def _nacks(view: ClusterView) -> list[Draft]:
    """Judge events of a proxy that refuses its configuration, as long as nothing better was said since."""
    found = []
    for gateway in view.all(f"gateways.{GATEWAY}"):
        told = next((e for e in view.events_of(gateway) if e.text("reason") == REFUSED), None)
        if told is None or view.now - event_time(told) > RECENT:
            continue
        message = " ".join((told.text("message") or told.text("note")).split())[:160].rstrip(".")
        found.append(
            claim(
                gateway,
                "spec",
                f"The proxy of Gateway {gateway.name} refuses what its controller sends, and keeps what it "
                f"had: {message}.",
                0.7,
                Level.TRAFFIC,
                (view.cite(told, "reason", "message", "note"),),
                (
                    outside(
                        "Correct the policy, route or back end that the message speaks of", "the proxy says so itself"
                    ),
                ),
            )
        )
    return found
