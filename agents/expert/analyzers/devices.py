"""Dynamic resource allocation: pods that get no device, by following their requests as the scheduler does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.expert.analyzers import device_blocks, device_steps, device_waits
from agents.expert.devices.allocation import Funnel, Outcome, attempt, funnel
from agents.expert.devices.inventory import CLAIMS, CLASSES, SLICES, claims_of, inventory
from agents.expert.devices.requests import Wanted, wanted
from agents.expert.devices.users import holder_of, pods_with_claims, real_claim, rewritten, users
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Workload, workload_of
from assistant.domain.evidence import Citation
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing

PROGRESS = {
    "no-class": 0,
    "no-devices": 1,
    "class": 2,
    "selector": 3,
    "unread": 3,
    "error": 3,
    "count": 4,
    "blocked": 5,
}
"""How far a request got; of several alternatives the one that got furthest is the one to mend."""


@dataclass(slots=True)
class Waiting:
    """A pod that waits for devices, with what the scheduler says of it."""

    workload: Workload
    pod: Thing
    message: str
    cited: list[Citation]
    holders: list[tuple[Mapping[str, Any], Thing]] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Say whether the scheduler says that the claims cannot be allocated."""
        return "allocate all claims" in self.message or "cannot allocate" in self.message


def analyze(view: ClusterView) -> list[Draft]:
    """Return why pods with resource claims get no device, and claims that nobody could ever satisfy."""
    found: list[Draft] = []
    seen: set[str] = set()
    for pod in pods_with_claims(view):
        if pod.text("spec.nodeName") or pod.deleting or pod.text("status.phase") not in ("Pending", ""):
            continue
        workload = workload_of(view, pod)
        if workload.thing.key in seen or pod.rows("spec.schedulingGates"):
            continue
        seen.add(workload.thing.key)
        found += _judge(view, workload, pod)
    return found + _alone(view)


def _judge(view: ClusterView, workload: Workload, pod: Thing) -> list[Draft]:
    waiting = Waiting(workload, pod, *said(view, pod))
    missing = [d for row in pod.rows("spec.resourceClaims") if (d := _missing(view, waiting, row)) is not None]
    if missing:
        return missing
    told = device_waits.judge(view, workload, pod, waiting.message, waiting.cited)
    if told is not None:
        return [told]
    claims, nodes = [], _open_nodes(view, pod)
    for row in pod.rows("spec.resourceClaims"):
        holder, real = holder_of(view, pod, row), real_claim(view, pod, row)
        if real is not None and real.map("status.allocation"):
            continue
        if holder is not None:
            waiting.holders.append((row, holder))
            claims.append(wanted(holder))
    outcome = attempt(view, inventory(view), claims, nodes)
    draft = _verdict(view, waiting, outcome)
    return [draft] if draft is not None else []


def said(view: ClusterView, pod: Thing) -> tuple[str, list[Citation]]:
    """Return what the scheduler says of a pod, and its citation: the condition, else the newest such event."""
    event = next((e for e in view.events_of(pod) if e.text("reason") == "FailedScheduling"), None)
    for i, condition in enumerate(pod.rows("status.conditions")):
        if condition.get("type") == "PodScheduled" and text(condition.get("message")):
            cited = [view.cite(event, "message")] if event is not None else [view.cite(pod, f"status.conditions[{i}]")]
            return text(condition.get("message")), cited
    return (event.text("message"), [view.cite(event, "message")]) if event is not None else ("", [])


def _open_nodes(view: ClusterView, pod: Thing) -> list[Thing] | None:
    """Return the nodes that a pod may go to, None where nodes were not read."""
    if not view.complete("nodes") or not view.all("nodes"):
        return None
    return [
        n
        for n in view.all("nodes")
        if n.at("spec.unschedulable") is not True and fits(pod, n) and not untolerated(pod, n)
    ]


def _missing(view: ClusterView, waiting: Waiting, row: Mapping[str, Any]) -> Draft | None:
    """Judge a claim row whose template or claim does not exist."""
    pod, workload = waiting.pod, waiting.workload
    template, name = text(row.get("resourceClaimTemplateName")), text(row.get("resourceClaimName"))
    kind = "ResourceClaimTemplate" if template else "ResourceClaim"
    resource = f"{kind.lower()}s.resource.k8s.io"
    if view.find(kind, pod.namespace, template or name) is not None or not view.complete(resource, pod.namespace):
        return None
    table = rows(workload.spec.get("resourceClaims"))
    index = next((i for i, c in enumerate(table) if c.get("name") == row.get("name")), 0)
    place = f"{workload.template}.resourceClaims[{index}].resourceClaim{'Template' if template else ''}Name"
    near = nearest(template or name, [t.name for t in view.all(resource, pod.namespace)])
    fixes: list[Fix] = [set_path(workload.thing, place, near, f"Use {kind} {near}", "that one exists")] if near else []
    fixes.append(
        outside(f"{'Or create' if near else 'Create'} {kind} {template or name}", "the pod starts by itself then")
    )
    event = next((e for e in view.events_of(pod) if e.text("reason") == "FailedResourceClaimCreation"), None)
    cited = [view.cite(event, "message")] if event is not None else waiting.cited
    return Draft(
        "dra",
        workload.thing.target,
        place,
        f"{workload.name()} names {kind} {template or name}, which does not exist.",
        0.95,
        Level.WORKLOAD,
        (*cited, view.cite(workload.thing, place)),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def _verdict(view: ClusterView, waiting: Waiting, outcome: Outcome) -> Draft | None:
    workload = waiting.workload
    failing = outcome.failing
    if failing is not None:
        claim, options = failing
        best = max(options, key=lambda f: (PROGRESS.get(f.stage, 0), options.index(f)))
        if not waiting.message and best.stage not in ("no-class", "no-devices", "class", "selector"):
            return None  # nobody has tried yet, and what is taken now may be free when somebody does
        return stopped(view, waiting, claim, options, best)
    if not waiting.refused:
        return None
    if outcome.whole in ("constraint", "together"):
        return _together(view, waiting, outcome)
    seen = view.complete(CLAIMS)
    why = (
        "the search for a combination was given up"
        if outcome.whole == "unread"
        else (
            "by the objects that could be read, free devices match"
            if seen
            else "free devices seem to match, but the claims of other namespaces could not be read"
        )
    )
    holder = waiting.holders[0][1] if waiting.holders else waiting.pod
    return Draft(
        "dra",
        holder.target,
        "spec",
        f"{workload.name()} gets no device: the scheduler finds none, and {why}.",
        0.4,
        Level.POD,
        (*waiting.cited, view.cite(holder, "spec")),
        workload.keys,
        workload.keys,
        (outside("Read the claims of all namespaces, and the log of the scheduler", "it tries again by itself"),),
        missing="the claims of all namespaces" if not seen else "the scheduler's next attempt",
    )


def _together(view: ClusterView, waiting: Waiting, outcome: Outcome) -> Draft:
    """Judge requests that have devices each, and no node that has them for all."""
    workload = waiting.workload
    told = "; ".join(f[0].told(inventory(view)) for _, f in outcome.funnels)
    fixes: list[Fix] = []
    if outcome.constraint is not None:
        claim, limit = outcome.constraint
        holder, place = claim.source, limit.path
        rule = "differ in" if limit.distinct else "agree in"
        why = f"no devices of one node {rule} {limit.attribute}, as its constraint demands ({told})"
        fixes = rewritten(
            view, workload, holder, place, None, "Drop the constraint", "right if the devices need not be alike"
        )
        fixes.append(outside("Or add a node whose devices satisfy it", "right if the constraint is meant"))
    else:
        holder = outcome.funnels[0][0].source
        place = outcome.funnels[-1][1][0].request.path if outcome.funnels[-1][0].source is holder else "spec"
        why = f"no single node has the devices of all its requests at once ({told})"
        fixes.append(
            outside("Ask for fewer devices in one pod, or free a whole node", "all devices of a pod are on one node")
        )
    return _draft(view, waiting, holder, place, why, 0.9, fixes)


def _draft(
    view: ClusterView, waiting: Waiting, holder: Thing, place: str, why: str, sure: float, fixes: list[Fix]
) -> Draft:
    keys = waiting.workload.keys | {holder.key}
    claims = {c.key for row in waiting.pod.rows("spec.resourceClaims") if (c := real_claim(view, waiting.pod, row))}
    return Draft(
        "dra",
        holder.target,
        place,
        f"{waiting.workload.name()} gets no device: {why}.",
        sure,
        Level.OBJECT,
        (view.cite(holder, place), *waiting.cited),
        keys,
        keys | claims,
        tuple(fixes),
    )


def stopped(view: ClusterView, waiting: Waiting, claim: Wanted, options: list[Funnel], best: Funnel) -> Draft:
    """Return the draft for a request that gets no device, at the step that leaves none."""
    known = inventory(view)
    told = "; ".join(f"{f.request.name}: {f.told(known)}" if len(options) > 1 else f.told(known) for f in options)
    place, why, sure, fixes = device_steps.judge(view, waiting.workload, claim, best)
    if best.stage in ("no-devices", "class"):
        silent = device_steps.silent(view, waiting.workload, claim.source, best, waiting.cited)
        if silent is not None:
            return silent
    if place is None:
        return device_blocks.draft(view, waiting.workload, waiting.pod, waiting.cited, claim.source, best, told)
    if best.stage == "no-class":
        told = ""
    why = f"{why}" + (f" ({told})" if told else "")
    source = best.blocker.source if best.blocker is not None else claim.source
    draft = _draft(view, waiting, source, place, why, sure, fixes)
    if best.stage == "unread":
        return Draft(
            "dra",
            draft.target,
            place,
            draft.summary,
            0.45,
            Level.OBJECT,
            draft.citations,
            draft.about,
            draft.explains,
            draft.fixes,
            missing=f"the selector {best.blocker.expression[:120] if best.blocker else ''}",
        )
    return draft


def _alone(view: ClusterView) -> list[Draft]:
    """Judge claims that no pod uses yet and that no device of the cluster could ever satisfy."""
    found = []
    known = inventory(view)
    for claim in claims_of(view):
        if claim.map("status.allocation") or claim.deleting or users(view).get(claim.key):
            continue
        if any(o.get("kind") == "Pod" for o in claim.rows("metadata.ownerReferences")):
            continue
        ask = wanted(claim)
        for group in ask.requests:
            options = [funnel(view, known, claim, option, []) for option in group]
            bad = [f for f in options if f.stage in ("no-class", "selector", "class")]
            if not group or len(bad) < len(options) or not view.complete(CLASSES) or not view.complete(SLICES):
                continue
            best = max(bad, key=lambda f: (PROGRESS[f.stage], bad.index(f)))
            place, why, sure, fixes = device_steps.judge(view, None, ask, best)
            source = best.blocker.source if best.blocker is not None else claim
            told = "" if best.stage == "no-class" else f" ({'; '.join(f.told(known) for f in options)})"
            found.append(
                Draft(
                    "dra",
                    source.target,
                    place or "spec",
                    f"ResourceClaim {claim.name} can never be allocated: {why}{told}.",
                    min(sure, 0.85),
                    Level.OBJECT,
                    (view.cite(source, place or "spec"),),
                    frozenset({claim.key, source.key}),
                    frozenset({claim.key}),
                    tuple(fixes),
                )
            )
            break
    return found
