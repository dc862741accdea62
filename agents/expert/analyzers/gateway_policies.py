"""Policies that attach to Gateways, routes and Services: lost targets, authorities, rivals, and their status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents.expert.analyzers.dangling import dangling
from agents.expert.analyzers.gateway_status import (
    Said,
    claim,
    conditions,
    from_status,
    outdated,
    wrong,
    young,
)
from agents.expert.analyzers.provider_hosts import secrets
from agents.expert.analyzers.referents import POLICIES, Answer, Reference, look_up, reference
from agents.expert.analyzers.senders import users
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with the policies of the view."""
    return [d for kind in POLICIES for policy in view.all(kind) if not policy.deleting for d in judge(view, policy)]


def targets(policy: Thing) -> list[Reference]:
    """Return what a policy names as its target: `targetRefs`, or the single `targetRef` of older versions."""
    found = [
        reference(policy, f"spec.targetRefs[{i}]", raw, "") for i, raw in enumerate(policy.rows("spec.targetRefs"))
    ]
    single = policy.map("spec.targetRef")
    return found + ([reference(policy, "spec.targetRef", single, "")] if single else [])


def judge(view: ClusterView, policy: Thing) -> list[Draft]:
    """Return what is wrong with one policy."""
    said = conditions(policy, "status.ancestors")
    explains = {k for r in targets(policy) for k in _reached(view, r)}
    found = []
    for ref in targets(policy):
        lost = dangling(view, ref, "is meant for", said)
        if lost is None:
            lost = _section(view, ref, said)
        if lost is not None:
            found.append(lost)
    found += _authorities(view, policy, said) + secrets(view, policy, said)
    if found:
        return [replace(d, explains=d.explains | explains) for d in found]
    return [replace(d, explains=d.explains | explains) for d in _told(view, policy, said)]


def _reached(view: ClusterView, ref: Reference) -> frozenset[str]:
    key = f"{ref.kind}/{ref.namespace}/{ref.name}"
    return frozenset({f"{key}#policy"}) | (users(view, key) if ref.kind == "Service" else frozenset())


def _section(view: ClusterView, ref: Reference, said: list[Said]) -> Draft | None:
    """Judge `sectionName`: a listener of a Gateway, a rule of a route, or a port of a Service by its name."""
    answer, thing = look_up(view, ref)
    if not ref.section or answer is not Answer.FOUND or thing is None:
        return None
    table = {
        "Gateway": "spec.listeners",
        "ListenerSet": "spec.listeners",
        "HTTPRoute": "spec.rules",
        "GRPCRoute": "spec.rules",
        "Service": "spec.ports",
    }.get(ref.kind, "")
    entries = thing.rows(table) if table else []
    known = [text(e.get("name")) for e in entries]
    numbers = [str(e.get("port")) for e in entries] if ref.kind == "Service" else []
    if not entries or ref.section in (*known, *numbers):
        return None
    policy, field = ref.holder, f"{ref.path}.sectionName"
    new = nearest(ref.section, known) or (known[0] if len(known) == 1 else "")
    told = [s for s in wrong(said) if s.type == "Accepted"][:1]
    fixes: list[Fix] = [set_path(policy, field, new, f"Name section {new}", "that section exists")] if new else []
    fixes.append(
        outside(f"Or leave sectionName out, so that it counts for all of {ref.label}", "right if all are meant")
    )
    return claim(
        policy,
        field,
        f"{policy.kind} {policy.name} is meant for section {ref.section} of {ref.label}, which does not exist"
        + (f" (it has {', '.join(k for k in known if k)})." if any(known) else "."),
        0.93 if told else 0.8,
        Level.OBJECT,
        (view.cite(policy, ref.path, *(s.path for s in told)), view.cite(thing, table)),
        fixes,
    )


def _authorities(view: ClusterView, policy: Thing, said: list[Said]) -> list[Draft]:
    """Judge the authorities (CA) of a BackendTLSPolicy: objects with a PEM bundle under ca.crt."""
    found = []
    for i, raw in enumerate(policy.rows("spec.validation.caCertificateRefs")):
        ref = reference(policy, f"spec.validation.caCertificateRefs[{i}]", raw, "ConfigMap")
        lost = dangling(view, ref, "takes its authority (CA) from", said)
        if lost is None:
            lost = _bundle(view, ref, said)
        if lost is not None:
            found.append(lost)
    return found


def _bundle(view: ClusterView, ref: Reference, said: list[Said]) -> Draft | None:
    _, holder = look_up(view, ref)
    if holder is None or ref.kind not in ("ConfigMap", "Secret"):
        return None
    data: Mapping[str, Any] = holder.map("data")
    if "ca.crt" in data or "ca.crt" in holder.map("binaryData"):
        return None
    told = [s for s in wrong(said) if s.type in ("Accepted", "ResolvedRefs")][:1]
    policy = ref.holder
    keys = ", ".join(sorted(data)) or "nothing"
    return claim(
        holder,
        "data",
        f"{policy.kind} {policy.name} takes its authority (CA) from {ref.label}, which has no key "
        f"ca.crt (it has {keys}).",
        0.95 if told else 0.85,
        Level.OBJECT,
        (view.cite(policy, ref.path, *(s.path for s in told)), view.cite(holder, "metadata.name")),
        (outside(f"Put the PEM bundle under ca.crt into {ref.label}", "gateways read that key only"),),
        about=(policy.key,),
        explains=(policy.key,),
    )


def _told(view: ClusterView, policy: Thing, said: list[Said]) -> list[Draft]:
    bad = [s for s in wrong(said) if s.reason != "Pending"]
    if bad:
        rival = _rival(view, policy, bad[0])
        return [rival if rival is not None else from_status(view, bad[0], Level.TRAFFIC)]
    stale = [s for s in said if s.bad and s.stale]
    if stale:
        return [outdated(view, stale[0])]
    waiting = [s for s in said if s.reason == "Pending" and s.status != "True"]
    if waiting and not young(view, policy, *waiting):
        return [from_status(view, waiting[0], Level.TRAFFIC, sure=0.6)]
    return []


def _rival(view: ClusterView, policy: Thing, said: Said) -> Draft | None:
    """Return the draft for a policy that loses to another one with the same target; the older one wins."""
    if said.reason not in ("Conflicted", "Overridden"):
        return None
    mine = {(r.kind, r.namespace, r.name, r.section) for r in targets(policy)}
    others = [
        p
        for p in view.all(policy.resource, policy.namespace)
        if p.name != policy.name and mine & {(r.kind, r.namespace, r.name, r.section) for r in targets(p)}
    ]
    if not others:
        return None
    winner = min(others, key=lambda p: (p.created, p.name))
    field = targets(policy)[0].path
    return claim(
        policy,
        field,
        f"{policy.kind} {policy.name} has no effect: {winner.name} has the same target and is older ({said.quoted}).",
        0.95,
        Level.OBJECT,
        (view.cite(policy, field, said.path), view.cite(winner, targets(winner)[0].path, "metadata.creationTimestamp")),
        (outside(f"Merge {policy.name} into {winner.name}, or give it another target", "one policy counts a target"),),
    )
