"""ReferenceGrants: whether a reference into another namespace is allowed there.

Rules of ReferenceGrant: it stands in the namespace of what is referred to; `from` and `to` are lists of alternatives,
and an empty `to[].name` means every object of the kind. Routes to Gateways need none: listeners say whom they allow.
"""

from __future__ import annotations

from agents.expert.analyzers.gateway_status import Said, claim
from agents.expert.analyzers.referents import GATEWAY, RESOURCES, Reference, named
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import create, json_patch, pointer, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing

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
    almost = _almost(view, ref)
    if almost is not None:
        return _mended(view, ref, *almost, cited, 0.95 if told else 0.85)
    return claim(
        holder,
        f"{ref.path}.namespace",
        f"{holder.kind} {holder.name} refers to {ref.kind} {ref.name} in namespace {ref.namespace}, and no "
        "ReferenceGrant there allows it.",
        0.95 if told and allowed is False else 0.85,
        Level.OBJECT,
        cited,
        (grant_fix(view, ref),),
    )


def _almost(view: ClusterView, ref: Reference) -> tuple[Thing, str, str, str] | None:
    """Return a grant that allows the reference but for one field: grant, field, what it says, what it should."""
    mine = {"group": _group(ref.holder.api_version), "kind": ref.holder.kind, "namespace": ref.holder.namespace}
    to = {"group": ref.group, "kind": ref.kind}
    for grant in view.all(GRANTS, ref.namespace):
        for i, source in enumerate(grant.rows("spec.from")):
            for j, target in enumerate(grant.rows("spec.to")):
                odd = [
                    (f"spec.from[{i}].{k}", text(source.get(k)), v) for k, v in mine.items() if text(source.get(k)) != v
                ]
                odd += [
                    (f"spec.to[{j}].{k}", text(target.get(k)), v) for k, v in to.items() if text(target.get(k)) != v
                ]
                if text(target.get("name")) not in ("", ref.name):
                    odd.append((f"spec.to[{j}].name", text(target.get("name")), ref.name))
                if len(odd) == 1:
                    return grant, *odd[0]
    return None


def _mended(
    view: ClusterView,
    ref: Reference,
    grant: Thing,
    field: str,
    says: str,
    should: str,
    cited: list[Citation],
    sure: float,
) -> Draft:
    """Return the draft for a grant that is wrong in one field. Unless that is a slip, what it allows now is kept."""
    entry = field.rpartition(".")[0]
    if _slip(view, ref, field, says):
        fix = set_path(
            grant, field, should, f"Say {should or 'the core group'} there", "the reference comes from there"
        )
    else:
        place, _, key = field.rpartition(".")
        value = {**grant.map(place), key: should}
        step = {"op": "add", "path": f"{pointer(entry.rpartition('[')[0])}/-", "value": value}
        title = f"Allow {should} too"
        fix = json_patch(grant, [step], title, "what it allows now stays allowed", "remove the last entry again")
    return claim(
        grant,
        field,
        f"ReferenceGrant {grant.name} does not allow {ref.holder.kind} {ref.holder.name} of namespace "
        f"{ref.holder.namespace} to use {ref.kind} {ref.name}: {field.rpartition('.')[2]} is {says or 'empty'}, not "
        f"{should or 'empty'}.",
        sure,
        Level.OBJECT,
        (view.cite(grant, "spec"), *cited),
        (fix,),
        about=(ref.holder.key,),
        explains=(ref.holder.key,),
    )


def _slip(view: ClusterView, ref: Reference, field: str, says: str) -> bool:
    """Say whether a field names what does not exist, so that correcting it takes nothing from anybody."""
    match field.rpartition(".")[2]:
        case "kind":
            return all(kind != says for _, kind in RESOURCES)
        case "group":
            return all(group != says for group, _ in RESOURCES)
        case "namespace":
            return view.complete("namespaces") and view.find("Namespace", "", says) is None
        case _:
            return view.complete(ref.resource, ref.namespace) and named(view, ref.resource, ref.namespace, says) is None


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
