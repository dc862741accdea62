"""Which pods use which claims, and the claims that nobody uses any more."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agents.expert.devices.inventory import TEMPLATES, claims_of
from agents.expert.draft import Fix
from agents.expert.remedies import ROLLING_KINDS, create, delete, outside, set_path
from agents.expert.workload import Workload
from assistant.domain.action import RiskLevel
from assistant.domain.raw import rows, text, texts, tokens
from assistant.domain.view import ClusterView, Thing, when

SETTLED = timedelta(minutes=2)
"""An allocation younger than this may still be on its way to its pod."""


def pods_with_claims(view: ClusterView) -> list[Thing]:
    """Return the pods that name resource claims; found once a view."""
    memo = view.memo("pods-with-claims", logs=False)
    if "all" not in memo:
        memo["all"] = [p for p in view.all("pods") if p.may_hold("resourceClaims") and p.rows("spec.resourceClaims")]
    found: list[Thing] = memo["all"]
    return found


def real_claim(view: ClusterView, pod: Thing, row: Mapping[str, Any]) -> Thing | None:
    """Return the claim behind a pod's claim row: the named one, or the one that was made from the template."""
    name = text(row.get("resourceClaimName"))
    for status in pod.rows("status.resourceClaimStatuses") if not name else ():
        if status.get("name") == row.get("name"):
            name = text(status.get("resourceClaimName"))
    return view.find("ResourceClaim", pod.namespace, name) if name else None


def holder_of(view: ClusterView, pod: Thing, row: Mapping[str, Any]) -> Thing | None:
    """Return what a person wrote: the template or the named claim; else the claim that was made from it."""
    template = text(row.get("resourceClaimTemplateName"))
    written = view.find("ResourceClaimTemplate", pod.namespace, template) if template else None
    return written or real_claim(view, pod, row)


def users(view: ClusterView) -> dict[str, list[Thing]]:
    """Return the pods that use each claim, by the claim's key: those that name it, and its owner."""
    memo = view.memo("claim-users", logs=False)
    if "all" not in memo:
        index: dict[str, list[Thing]] = defaultdict(list)
        for pod in pods_with_claims(view):
            for row in pod.rows("spec.resourceClaims"):
                claim = real_claim(view, pod, row)
                if claim is not None:
                    index[claim.key].append(pod)
        for claim in claims_of(view):
            for owner in claim.rows("metadata.ownerReferences"):
                own = owner.get("kind") == "Pod"
                found_pod = view.find("Pod", claim.namespace, text(owner.get("name"))) if own else None
                if found_pod and _same(found_pod, owner) and found_pod not in index[claim.key]:
                    index[claim.key].append(found_pod)
        memo["all"] = index
    found: dict[str, list[Thing]] = memo["all"]
    return found


def _same(pod: Thing, reference: Mapping[str, Any]) -> bool:
    """Say whether a reference means this pod, and not one of the same name before it."""
    return not pod.uid or not text(reference.get("uid")) or pod.uid == text(reference.get("uid"))


def over(pod: Thing) -> bool:
    """Say whether a pod has ended, so that its devices are given back."""
    return pod.text("status.phase") in ("Succeeded", "Failed")


PROTECTED = "resource.kubernetes.io/delete-protection"
"""The finalizer that the scheduler sets before it allocates a claim."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Why an allocated claim holds its devices for nobody; `sure` says that it is more than a trace of a moment ago."""

    why: str
    sure: bool


def leaked(view: ClusterView, claim: Thing) -> Leak | None:
    """Return why an allocated claim holds its devices for nobody; None where somebody uses it or that is not known.

    The controller frees a claim when its last user is gone, so one that stays allocated was allocated by hand, or its
    reservation names a pod that is no more; the controller takes such a reservation back, so it is the weaker sign.
    """
    if not claim.map("status.allocation") or not view.complete("pods", claim.namespace):
        return None
    since = when(claim.at("status.allocation.allocationTimestamp")) or claim.created
    if view.now - since < SETTLED or any(not over(p) for p in users(view).get(claim.key, ())):
        return None
    reserved = claim.rows("status.reservedFor")
    for row in reserved:
        pod = view.find("Pod", claim.namespace, text(row.get("name")))
        if row.get("resource") != "pods" or (pod is not None and _same(pod, row)):
            return None
    if reserved:
        return Leak(f"it is reserved for pod {text(reserved[0].get('name'))}, which does not exist any more", False)
    kept = PROTECTED in texts(claim.at("metadata.finalizers"))
    return Leak("it is allocated, its reservedFor is empty and no pod refers to it", kept)


def named(workload: Workload, pod: Thing) -> str:
    """Return a workload and one pod of it as people say them, a bare pod once."""
    return f"Pod {pod.name}" if workload.thing.kind == "Pod" else f"{workload.name()}: pod {pod.name}"


def with_value(holder: Thing, path: str, value: Any) -> dict[str, Any]:
    """Return a new object like a claim or template, with one field set, or taken away with None.

    Returns an empty mapping where the path leads nowhere, as in an object of a form that no API server sends.
    """
    labels = dict(holder.labels)
    body: dict[str, Any] = {
        "apiVersion": holder.api_version,
        "kind": holder.kind,
        "metadata": {
            "name": holder.name,
            "namespace": holder.namespace,
            **({"labels": labels} if labels else {}),
        },
        "spec": json.loads(json.dumps(holder.map("spec"))),
    }
    *way, last = tokens(path)
    place: Any = body
    try:
        for step in way:
            place = place[step]
        if value is None:
            del place[last]
        else:
            place[last] = value
    except (KeyError, IndexError, TypeError):
        return {}
    return body


def rewritten(
    view: ClusterView, workload: Workload | None, holder: Thing, path: str, value: Any, title: str, reason: str
) -> list[Fix]:
    """Return the steps that change a claim or template, whose specs cannot be changed in place.

    A workload that rolls gets a new template beside the old one. Elsewhere the object is made anew under its name;
    a claim only while it is not allocated.
    """
    body = with_value(holder, path, value)
    if not body:
        return [outside(f"{title}: make {holder.kind} {holder.name} anew", reason)]
    if holder.kind == "ResourceClaim" and (holder.map("status.allocation") or holder.rows("status.reservedFor")):
        return [
            outside(f"{title}: make a new claim, and let the next pods name it", "a claim in use cannot be changed")
        ]
    if holder.kind == "ResourceClaimTemplate" and workload is not None and workload.thing.kind in ROLLING_KINDS:
        taken = {t.name for t in view.all(TEMPLATES, holder.namespace)}
        name = next(n for n in (f"{holder.name}-{i}" for i in range(2, len(taken) + 3)) if n not in taken)
        body["metadata"]["name"] = name
        rows_ = rows(workload.spec.get("resourceClaims"))
        index = next((i for i, r in enumerate(rows_) if r.get("resourceClaimTemplateName") == holder.name), None)
        if index is not None:
            field = f"{workload.template}.resourceClaims[{index}].resourceClaimTemplateName"
            step = set_path(workload.thing, field, name, f"Let {workload.name()} use {name}", "its pods are made anew")
            made = create(
                TEMPLATES, body, f"{title}, in a new template {name}", f"{reason}; a template cannot be changed"
            )
            return [made, _then(step)]
    again = create(holder.resource, body, title, reason, RiskLevel.MEDIUM)
    first = delete(
        holder, f"Delete {holder.kind} {holder.name}, to make it anew", "its spec cannot be changed in place"
    )
    steps = [first, _then(again)]
    if holder.kind == "ResourceClaimTemplate":
        steps.append(
            outside("Then make the pod anew: its claim was made from the old template", "claims do not follow")
        )
    return steps


def _then(fix: Fix) -> Fix:
    return Fix(fix.title, fix.risk, fix.reason, fix.action, fix.kubectl, fix.undo, fix.outside, then=True)
