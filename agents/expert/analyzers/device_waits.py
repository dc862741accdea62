"""What scheduler, controller and kubelet say of a pod with claims, where their words name the cause.

Source: messages of Kubernetes 1.34 to 1.36 (plugin dynamicresources, the resourceclaim controller, the kubelet's DRA
manager). They are matched by the shortest part that has stayed the same.
"""

from __future__ import annotations

import re
from datetime import timedelta

from agents.expert.devices.inventory import ADMIN_LABELS, inventory, named_nodes
from agents.expert.devices.users import holder_of, real_claim
from agents.expert.draft import Draft, Fix, Level
from agents.expert.placement import fits, untolerated
from agents.expert.remedies import delete, merge_patch, outside
from agents.expert.workload import YOUNG, Workload
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.raw import text
from assistant.domain.view import ClusterView, Thing, when

Cited = list[Citation]
FEATURE = re.compile(r"(?:the )?(\w*DRA\w+) feature (?:gate )?is (?:disabled|not enabled)")
LIMIT = re.compile(r"number of requested devices (\d+) exceeds the claim limit of (\d+)")
NOT_OWNER = re.compile(r"was not created for [Pp]od")
BINDING = re.compile(r"device binding (?:timeout|failed)[^\n]{0,300}")
BINDING_TIME = timedelta(minutes=10)
"""How long the scheduler waits for the binding conditions of a device (bindingTimeout of DynamicResources)."""
QUOTA = re.compile(r"exceeded quota: ([\w.-]+)")


def judge(view: ClusterView, workload: Workload, pod: Thing, message: str, cited: Cited) -> Draft | None:
    """Return what the words of scheduler and controller decide of a pod without a node, None where they do not."""
    claims = [(row, real_claim(view, pod, row)) for row in pod.rows("spec.resourceClaims")]
    pending = next((e for e in view.events_of(pod) if e.text("reason") == "BindingConditionsPending"), None)
    if pending is not None and not BINDING.search(message):
        return _attaching(view, workload, next((c for _, c in claims if c is not None), pod), pending)
    for _, claim in claims:
        if claim is not None:
            draft = _claim(view, workload, pod, claim, message, cited)
            if draft is not None:
                return draft
    holder = next((h for row, _ in claims if (h := holder_of(view, pod, row)) is not None), None)
    refused = _creation(view, workload, pod, holder)
    if refused is not None:
        return refused
    if holder is not None:
        spoken = _spoken(view, workload, holder, message, cited)
        if spoken is not None:
            return spoken
    if "not created yet" in message and view.now - pod.created > YOUNG:
        return _made(
            view,
            workload,
            workload.thing,
            f"{workload.template}.resourceClaims",
            "its ResourceClaim was not created from the template yet, and no event says why",
            0.45,
            cited,
            [
                outside(
                    "Look at the resourceclaim controller of kube-controller-manager", "it makes claims of templates"
                )
            ],
            missing="the log of kube-controller-manager",
        )
    return None


def _made(
    view: ClusterView,
    workload: Workload,
    thing: Thing,
    place: str,
    why: str,
    sure: float,
    cited: Cited,
    fixes: list[Fix],
    *,
    level: Level = Level.OBJECT,
    missing: str = "",
) -> Draft:
    keys = workload.keys | {thing.key}
    own = [] if thing.key == workload.thing.key and not thing.at(place) else [view.cite(thing, "metadata.name", place)]
    return Draft(
        "dra",
        thing.target,
        place,
        f"{workload.name()} gets no device: {why}.",
        sure,
        level,
        (*cited, *own),
        keys,
        keys,
        tuple(fixes),
        missing=missing,
    )


def _claim(view: ClusterView, workload: Workload, pod: Thing, claim: Thing, message: str, cited: Cited) -> Draft | None:
    reserved = [text(r.get("name")) for r in claim.rows("status.reservedFor")]
    if claim.deleting:
        held = f" and is still reserved for {', '.join(reserved[:3])}" if reserved else ""
        fixes = [
            outside(
                f"End the pods that still use it ({', '.join(reserved[:3])})"
                if reserved
                else "Let its driver unprepare it on the node",
                "the claim goes when its last user is gone",
            ),
            outside("Then create the claim again", "the pod starts by itself then; its finalizer protects the device"),
        ]
        return _made(
            view,
            workload,
            claim,
            "metadata.deletionTimestamp",
            f"ResourceClaim {claim.name} is being deleted{held}",
            0.95,
            cited,
            fixes,
        )
    if NOT_OWNER.search(message):
        free = not claim.map("status.allocation") and not reserved
        fixes = (
            [
                delete(
                    claim,
                    f"Delete ResourceClaim {claim.name}",
                    "the controller then makes the pod's own claim; nobody uses this one",
                    RiskLevel.HIGH,
                )
            ]
            if free
            else []
        )
        fixes.append(outside("Or make the pod anew under another name", "names of generated claims come from the pod"))
        return _made(
            view,
            workload,
            claim,
            "metadata.ownerReferences",
            f"ResourceClaim {claim.name} has the name of its claim and was not made for it",
            0.93,
            cited,
            fixes,
        )
    if "resourceclaim in use" in message.lower() and len(reserved) > 0 and pod.name not in reserved:
        return _made(
            view,
            workload,
            claim,
            "status.reservedFor",
            f"ResourceClaim {claim.name} is reserved for {len(reserved)} pods, and takes no more",
            0.95,
            cited,
            [outside("Give each pod a claim of its own, by a ResourceClaimTemplate", "a claim has at most 256 users")],
        )
    if "not available on the node" in message and claim.map("status.allocation"):
        return _elsewhere(view, workload, pod, claim, cited)
    binding = BINDING.search(message)
    if binding is not None:
        return _made(
            view,
            workload,
            claim,
            "status.devices",
            f"its device does not get ready: {binding[0][:160]}",
            0.9,
            cited,
            [
                outside(
                    "Look at the controller that attaches the device (the driver's, or the fabric's)",
                    "the scheduler waits 10 minutes for it, then tries another",
                )
            ],
        )
    return None


def _attaching(view: ClusterView, workload: Workload, claim: Thing, event: Thing) -> Draft:
    """Judge a device that is still being attached: the scheduler waits for it, and gives up after its time."""
    since = when(claim.at("status.allocation.allocationTimestamp")) or event.created
    late = view.now - since > BINDING_TIME
    minutes = int((view.now - since).total_seconds() // 60)
    return _made(
        view,
        workload,
        claim,
        "status.devices",
        f"its device is allocated and not attached yet, for {minutes} min ({event.text('message')[:120]})",
        0.85 if late else 0.4,
        [view.cite(event, "reason", "message")],
        [
            outside(
                "Look at the controller that attaches the device (the driver's, or the fabric's)"
                if late
                else "Wait: the scheduler gives the device 10 minutes to get ready",
                "its binding conditions are not true yet",
            )
        ],
        missing="" if late else "whether the device gets ready within 10 minutes",
    )


def _elsewhere(view: ClusterView, workload: Workload, pod: Thing, claim: Thing, cited: Cited) -> Draft:
    """Judge a pod whose claim is allocated where the pod cannot go."""
    names = named_nodes(claim.at("status.allocation.nodeSelector"))
    users = ", ".join(text(r.get("name")) for r in claim.rows("status.reservedFor")[:3])
    where = ", ".join(names[:3]) or "other nodes"
    node = view.find("Node", "", names[0]) if names else None
    if node is None:
        why = ""
    elif node.at("spec.unschedulable") is True:
        why = ", which is cordoned"
    elif not fits(pod, node):
        why = ", which its node selector or affinity does not take"
    elif untolerated(pod, node):
        why = f", whose taint {untolerated(pod, node)[0]} it does not tolerate"
    else:
        why = ", which has no room for it"
    used = f" (used by {users})" if users else ""
    return _made(
        view,
        workload,
        claim,
        "status.allocation.nodeSelector",
        f"ResourceClaim {claim.name} is allocated to a device of {where}{why}{used}",
        0.93,
        cited,
        [
            outside(f"Let the pod go to {where}, or give it a claim of its own", "devices stay where they are"),
            outside(
                "Or end the claim's other users: it is then allocated anew",
                "an allocation lasts until its last user ends",
            ),
        ],
    )


def _creation(view: ClusterView, workload: Workload, pod: Thing, holder: Thing | None) -> Draft | None:
    """Judge a claim that the controller could not make from its template."""
    event = next((e for e in view.events_of(pod) if e.text("reason") == "FailedResourceClaimCreation"), None)
    label = view.find("Namespace", "", pod.namespace)
    admin = _wants_admin(holder)
    cited = [view.cite(event, "message")] if event is not None else []
    said = event.text("message") if event is not None else ""
    lacking = label is not None and not any(label.labels.get(k) == "true" for k in ADMIN_LABELS)
    if (admin and lacking) or "admin access to devices requires" in said:
        key = ADMIN_LABELS[1] if ADMIN_LABELS[1] in said else ADMIN_LABELS[0]
        fixes: list[Fix] = [
            outside("Ask for devices without adminAccess", "right unless the workload monitors devices")
        ]
        if label is not None:
            fixes.append(
                merge_patch(
                    label,
                    {"metadata": {"labels": {key: "true"}}},
                    f"Label namespace {pod.namespace} for admin access",
                    "lets everybody who may create claims there reach devices in use; for monitoring only",
                    f"remove label {key}",
                )
            )
        target = label or holder or workload.thing
        place = f"metadata.labels['{key}']" if label is not None else "spec"
        return _made(
            view,
            workload,
            target,
            place,
            f'it asks for adminAccess, and namespace {pod.namespace} lacks the label {key}: "true"',
            0.93,
            [*cited, *([view.cite(holder, admin)] if holder is not None and admin else [])],
            fixes,
        )
    made = any(real_claim(view, pod, row) is not None for row in pod.rows("spec.resourceClaims"))
    if event is None or made:
        return None
    quota = QUOTA.search(said)
    found = view.find("ResourceQuota", pod.namespace, quota[1]) if quota else None
    if found is not None:
        return _made(
            view,
            workload,
            found,
            "spec.hard",
            f"its claim is refused by quota {found.name}",
            0.95,
            cited,
            [outside("Free claims of the namespace, or raise the quota with its owner", said[:120])],
        )
    target = holder or workload.thing
    return _made(
        view,
        workload,
        target,
        "spec",
        f"its claim cannot be made: {said[:200]}",
        0.9,
        cited,
        [outside("Mend what the message names", "the controller tries again")],
    )


def _wants_admin(holder: Thing | None) -> str:
    if holder is None:
        return ""
    from agents.expert.devices.requests import wanted

    options = (o for group in wanted(holder).requests for o in group)
    return next((f"{o.path}.adminAccess" for o in options if o.admin), "")


def _spoken(view: ClusterView, workload: Workload, holder: Thing, message: str, cited: Cited) -> Draft | None:
    """Judge what the scheduler says of a claim's spec or of the pools, where the objects do not show it."""
    base = "spec.spec.devices" if holder.kind == "ResourceClaimTemplate" else "spec.devices"
    feature = FEATURE.search(message)
    if feature is not None:
        return _made(
            view,
            workload,
            holder,
            f"{base}.requests",
            f"it needs {feature[1]}, a feature that is switched off",
            0.93,
            cited,
            [
                outside(
                    f"Switch the feature gate {feature[1]} on in kube-apiserver, scheduler and kubelets, or ask "
                    "without it",
                    "feature gates are arguments of the components",
                )
            ],
        )
    limit = LIMIT.search(message)
    if limit is not None:
        return _made(
            view,
            workload,
            holder,
            f"{base}.requests",
            f"it asks for {limit[1]} devices, and a claim may have {limit[2]}",
            0.95,
            cited,
            [outside("Divide the request among several claims", "the limit is fixed in the API")],
        )
    if re.search(r"timed out trying to allocate devices", message):
        return _made(
            view,
            workload,
            holder,
            f"{base}.requests",
            "the scheduler gives up its search for a combination after 10 s",
            0.85,
            cited,
            [
                outside(
                    "Make the claim simpler: fewer devices, alternatives or constraints",
                    "the search grows with every one of them",
                )
            ],
        )
    if re.search(r"currently being updated|currently invalid|invalid resource pools", message):
        from agents.expert.analyzers import device_pools

        named = re.search(r"resource pools? ([\w./-]+)", message)
        for pool in inventory(view).pools.values():
            if not pool.usable and (named is None or pool.name in named[1] or "encountered" in message):
                return device_pools.unusable(
                    view, pool, 0.95, f"{workload.name()} gets no device: ", workload.keys | {holder.key}, tuple(cited)
                )
    compile_error = re.search(r"class ([\w.-]+): selector #(\d+): CEL (compile|runtime) error", message)
    kind = view.find("DeviceClass", "", compile_error[1]) if compile_error else None
    if kind is not None and compile_error is not None and compile_error[3] == "compile":
        place = f"spec.selectors[{compile_error[2]}].cel.expression"
        return _made(
            view,
            workload,
            kind,
            place,
            f"the selector of DeviceClass {kind.name} is no valid CEL",
            0.95,
            cited,
            [outside("Correct the expression", message[:160])],
        )
    return None
