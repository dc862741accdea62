"""Dynamic resource allocation: pods that get no device because a class, template or driver is missing."""

from __future__ import annotations

from agents.expert.draft import Draft, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import workload_of
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView

GATEWAY, KUEUE, METAL = "gateway.networking.k8s.io", "kueue.x-k8s.io", "metal3.io"


def analyze(view: ClusterView) -> list[Draft]:
    """Return why pods with resource claims get no device."""
    found: dict[str, Draft] = {}
    classes = [c.name for c in view.all("deviceclasses.resource.k8s.io")]
    slices = view.all("resourceslices.resource.k8s.io")
    for pod in view.all("pods"):
        claims = pod.rows("spec.resourceClaims") if pod.may_hold("resourceClaims") else []
        if not claims or pod.text("spec.nodeName") or pod.deleting:
            continue
        workload = workload_of(view, pod)
        event = next(
            (e for e in view.events_of(pod) if "Sched" in e.text("reason") or "ResourceClaim" in e.text("reason")), None
        )
        base = [view.cite(event, "message")] if event is not None else []
        for claim in claims:
            template, named = text(claim.get("resourceClaimTemplateName")), text(claim.get("resourceClaimName"))
            kind, resource = (
                ("ResourceClaimTemplate", "resourceclaimtemplates") if template else ("ResourceClaim", "resourceclaims")
            )
            holder = view.find(kind, pod.namespace, template or named)
            index = next(
                (
                    i
                    for i, c in enumerate(rows(workload.spec.get("resourceClaims")))
                    if c.get("name") == claim.get("name")
                ),
                0,
            )
            if holder is None:
                if view.complete(f"{resource}.resource.k8s.io", pod.namespace):
                    field = (
                        f"{workload.template}.resourceClaims[{index}].resourceClaim{'Template' if template else ''}Name"
                    )
                    near = nearest(
                        template or named, [t.name for t in view.all(f"{resource}.resource.k8s.io", pod.namespace)]
                    )
                    fixes = (
                        [set_path(workload.thing, field, near, f"Use {kind} {near}", "that one exists")] if near else []
                    )
                    found[field] = Draft(
                        "dra",
                        workload.thing.target,
                        field,
                        f"{workload.name()} names {kind} {template or named}, which does not exist.",
                        0.95,
                        Level.WORKLOAD,
                        (*base, view.cite(workload.thing, field)),
                        workload.keys,
                        workload.keys,
                        tuple(fixes),
                    )
                continue
            spec = "spec.spec" if template else "spec"
            for i, request in enumerate(holder.rows(f"{spec}.devices.requests")):
                inner = "exactly." if request.get("exactly") else ""
                field = f"{spec}.devices.requests[{i}].{inner}deviceClassName"
                name = holder.text(field)
                if name and name not in classes and view.complete("deviceclasses.resource.k8s.io"):
                    near = nearest(name, classes) or (classes[0] if len(classes) == 1 else "")
                    fixes = [
                        outside(f"Install the driver that provides DeviceClass {name}", "right if such devices exist")
                    ]
                    if near:
                        fixes.insert(
                            0,
                            set_path(
                                holder,
                                field,
                                near,
                                f"Ask for DeviceClass {near}",
                                "that class exists; check that its devices do",
                            ),
                        )
                    why = f"DeviceClass {name} does not exist"
                elif name and not slices:
                    field, fixes = (
                        f"{spec}.devices.requests[{i}]",
                        [
                            outside(
                                "Look at the DRA driver: no node publishes a ResourceSlice",
                                "devices are published by drivers",
                            )
                        ],
                    )
                    why = "no driver publishes any device (there is no ResourceSlice)"
                else:
                    field, fixes = (
                        f"{spec}.devices.requests[{i}]",
                        [
                            outside(
                                "Free such a device, or ask for another one",
                                "the devices that match are taken, tainted or absent",
                            )
                        ],
                    )
                    why = f"no free device matches its request for {name}"
                found.setdefault(
                    holder.key,
                    Draft(
                        "dra",
                        holder.target,
                        field,
                        f"{workload.name()} gets no device: {why}.",
                        0.95 if "exist" in why else 0.8,
                        Level.OBJECT,
                        (view.cite(holder, field), *base),
                        workload.keys | {holder.key},
                        workload.keys | {c.key for c in view.all("resourceclaims.resource.k8s.io", pod.namespace)},
                        tuple(fixes),
                    ),
                )
    return list(found.values())
