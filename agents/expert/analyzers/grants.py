"""ReferenceGrants: whether a reference into another namespace is allowed there.

Rules of ReferenceGrant: it stands in the namespace of what is referred to; `from` and `to` are lists of alternatives,
and an empty `to[].name` means every object of the kind. Routes to Gateways need none: listeners say whom they allow.
"""

from __future__ import annotations

from agents.expert.analyzers.gateway_status import Said, claim
from agents.expert.analyzers.referents import GATEWAY, Reference
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import create
from assistant.domain.raw import text
from assistant.domain.view import ClusterView

GRANTS = f"referencegrants.{GATEWAY}"


def granted(view: ClusterView, ref: Reference) -> bool | None:
    """Say whether a reference is allowed; None where the grants of that namespace could not be read."""
    if not ref.abroad:
        return True
    mine = (_group(ref.holder.api_version), ref.holder.kind, ref.holder.namespace)
    for grant in view.all(GRANTS, ref.namespace):
        sources = {
            (text(f.get("group")), text(f.get("kind")), text(f.get("namespace"))) for f in grant.rows("spec.from")
        }
        if mine in sources and any(
            text(t.get("group")) == ref.group
            and text(t.get("kind")) == ref.kind
            and text(t.get("name")) in ("", ref.name)
            for t in grant.rows("spec.to")
        ):
            return True
    return False if view.complete(GRANTS, ref.namespace) else None


def refused(view: ClusterView, ref: Reference, said: list[Said]) -> Draft | None:
    """Return the draft for a reference that the other namespace does not allow.

    Where the grants cannot be seen, the word of the controller counts (RefNotPermitted).
    """
    if not ref.abroad or not ref.name:
        return None
    told = [s for s in said if s.reason == "RefNotPermitted" and s.bad and not s.stale]
    allowed = granted(view, ref)
    if allowed or (allowed is None and not told):
        return None
    holder = ref.holder
    cited = [view.cite(holder, ref.path), *(view.cite(holder, s.path) for s in told[:1])]
    near = next(iter(view.all(GRANTS, ref.namespace)), None)
    if near is not None:
        cited.append(view.cite(near, "spec"))
    return claim(
        holder,
        f"{ref.path}.namespace",
        f"{holder.kind} {holder.name} refers to {ref.kind} {ref.name} in namespace {ref.namespace}, and no "
        "ReferenceGrant there allows it" + (f" ({near.name} allows something else)." if near is not None else "."),
        0.95 if told and allowed is False else 0.85,
        Level.OBJECT,
        cited,
        (grant_fix(view, ref),),
    )


def grant_fix(view: ClusterView, ref: Reference) -> Fix:
    """Return the fix that makes the ReferenceGrant for one reference, for that one object alone."""
    known = next((g.api_version for g in view.all(GRANTS)), f"{GATEWAY}/v1beta1")
    source = {"group": _group(ref.holder.api_version), "kind": ref.holder.kind, "namespace": ref.holder.namespace}
    body = {
        "apiVersion": known,
        "kind": "ReferenceGrant",
        "metadata": {"name": f"{ref.holder.namespace}-to-{ref.name}"[:63].rstrip("-."), "namespace": ref.namespace},
        "spec": {"from": [source], "to": [{"group": ref.group, "kind": ref.kind, "name": ref.name}]},
    }
    return create(
        GRANTS,
        body,
        f"Allow it with a ReferenceGrant in namespace {ref.namespace}",
        "allows this one object, and is for the owner of that namespace to agree to",
    )


def _group(api_version: str) -> str:
    return api_version.partition("/")[0] if "/" in api_version else ""
