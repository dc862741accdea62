"""References of the Gateway API and its neighbours that lead to nothing: a wrong name, namespace, kind or group."""

from __future__ import annotations

from collections.abc import Iterable

from agents.expert.analyzers.gateway_status import Said, claim
from agents.expert.analyzers.referents import (
    Answer,
    Reference,
    elsewhere,
    likely,
    look_up,
    other_kind,
)
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch, outside, pointer, set_path
from assistant.domain.view import ClusterView


def dangling(
    view: ClusterView, ref: Reference, does: str, said: Iterable[Said] = (), explains: Iterable[str] = ()
) -> Draft | None:
    """Return the draft for a reference whose object does not exist; None where it does, or where that is not known.

    `does` completes "HTTPRoute x …" up to the object: "sends traffic to".
    """
    answer, _ = look_up(view, ref)
    if answer is Answer.FOUND or not ref.name or (answer is Answer.UNKNOWN and ref.resource):
        return None
    holder = ref.holder
    told = [s for s in said if s.bad and not s.stale and s.reason in _FITTING]
    turned = other_kind(view, ref)
    if not ref.resource and turned is None:
        return None
    near, where = likely(view, ref), _moved(view, ref)
    place, fixes, hint = f"{ref.path}.name", list[Fix](), ""
    if turned is not None:
        group, kind = turned
        same = kind == ref.kind
        place = f"{ref.path}.group" if same else f"{ref.path}.kind"
        hint = f"; {kind} {ref.name} of group {group or 'core'} does"
        fixes.append(_turned(ref, group, kind))
    elif answer is Answer.UNSERVED:
        hint = "; the cluster does not serve that kind"
        fixes.append(outside(f"Install what serves {ref.resource}", "the kind is not installed in this cluster"))
    elif where and (not near or ref.kind in _SHARED):
        place, hint = f"{ref.path}.namespace", f"; it is in namespace {where}"
        reason = f"{ref.kind} {ref.name} is there"
        fixes.append(set_path(holder, place, where, f"Look for it in namespace {where}", reason))
    elif near:
        hint = f" ({near} does)"
        fixes.append(set_path(holder, place, near, f"Use {ref.kind} {near}", f"that {ref.kind} exists"))
    if answer is not Answer.UNSERVED and ref.resource:
        fixes.append(outside(f"Or create {ref.label}", "right if the name is meant"))
    return claim(
        holder,
        place,
        f"{holder.kind} {holder.name} {does} {ref.label}, which does not exist{hint}.",
        0.95 if told else 0.9,
        Level.OBJECT,
        (view.cite(holder, ref.path, *(s.path for s in told[:1])),),
        fixes,
        # A pool that no route uses follows from the route that misses it.
        explains={
            *explains,
            *([f"InferencePool/{ref.namespace}/{near}"] if near and ref.kind == "InferencePool" else []),
        },
    )


_SHARED = frozenset({"Gateway", "ListenerSet"})
"""Kinds that are made in one namespace for the routes of others."""
_FITTING = frozenset(
    {
        "BackendNotFound",
        "InvalidKind",
        "TargetNotFound",
        "InvalidExtensionRef",
        "InvalidCertificateRef",
        "InvalidCACertificateRef",
        "InvalidClientCertificateRef",
        "InvalidParameters",
        "NoMatchingParent",
        "ReconciliationFailed",
        "Invalid",
        "Pending",
        "ResolvedRefs",
    }
)
"""Reasons that a controller gives for a reference that leads to nothing."""


def _moved(view: ClusterView, ref: Reference) -> str:
    """Return the namespace that holds an object of just this name, where the reference may lead there."""
    return "" if ref.kind in ("GatewayClass", "Secret") else elsewhere(view, ref)


def _turned(ref: Reference, group: str, kind: str) -> Fix:
    held = ref.holder.map(ref.path)
    steps = [
        {"op": "add", "path": f"{pointer(ref.path)}/{name}", "value": value}
        for name, value in (("group", group), ("kind", kind))
        if held.get(name) != value
    ]
    if kind != "Service" and "port" in held and kind == "InferencePool":
        steps.append({"op": "remove", "path": f"{pointer(ref.path)}/port"})
    return json_patch(
        ref.holder,
        steps,
        f"Name {kind} of group {group or 'core'}",
        f"{kind} {ref.name} exists",
        f"put group {held.get('group') or '(none)'} and kind {held.get('kind') or '(none)'} back",
    )
