"""What is allocated: claims that hold devices for nobody, devices that are gone or reported bad, rules that evict."""

from __future__ import annotations

from agents.expert.conditions import BAD_WHEN_TRUE, GOOD_WHEN_TRUE
from agents.expert.devices.inventory import RULES, SLICES, claims_of, inventory, results
from agents.expert.devices.users import SETTLED, Leak, leaked, over, users
from agents.expert.draft import Draft, Level
from agents.expert.remedies import delete, outside
from agents.expert.workload import workload_of
from assistant.domain.action import RiskLevel
from assistant.domain.raw import fold_int, rows, text
from assistant.domain.view import ClusterView, Thing, when


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with allocations, whether a pod waits for the devices or not."""
    return _claims(view) + _rules(view)


def leak(view: ClusterView, claim: Thing, found: Leak) -> Draft:
    """Return the draft for a claim that holds devices for nobody."""
    held = ", ".join(f"{text(r.get('pool'))}/{text(r.get('device'))}" for r in results(claim)[:3])
    fix = delete(
        claim,
        f"Delete ResourceClaim {claim.name}",
        "nobody uses it, and its devices are free then; ask whoever made it",
        RiskLevel.HIGH,
    )
    key = frozenset({claim.key})
    return Draft(
        "dra",
        claim.target,
        "status.reservedFor",
        f"ResourceClaim {claim.name} holds {held} for nobody: {found.why}.",
        0.8,
        Level.PLATFORM,
        (view.cite(claim, "status.allocation.devices.results", "status.reservedFor"),),
        key,
        key,
        (fix,),
        note=not found.sure,
    )


def _claims(view: ClusterView) -> list[Draft]:
    found = []
    known = inventory(view)
    listed = view.complete(SLICES)
    drivers = {p.driver for p in known.pools.values()}
    places = {d.place for d in known.devices}
    for claim in claims_of(view):
        if claim.deleting:
            found += _ending(view, claim)
        if not claim.map("status.allocation") or claim.deleting:
            continue
        lost = leaked(view, claim)
        if lost is not None:
            found.append(leak(view, claim, lost))
            continue
        pods = [p for p in users(view).get(claim.key, ()) if not over(p)]
        keys = frozenset({claim.key, *(p.key for p in pods)})
        for i, row in enumerate(results(claim) if listed else ()):
            driver, pool = text(row.get("driver")), known.pools.get((text(row.get("driver")), text(row.get("pool"))))
            place = (driver, text(row.get("pool")), text(row.get("device")))
            if place in places or (pool is not None and not pool.usable):
                continue
            gone = driver not in drivers
            what = (
                f"driver {driver} publishes no device any more"
                if gone
                else (f"device {place[2]} of pool {place[1]} is not published any more")
            )
            found.append(
                Draft(
                    "dra",
                    claim.target,
                    f"status.allocation.devices.results[{i}].{'driver' if gone else 'device'}",
                    f"ResourceClaim {claim.name} is allocated, and {what}.",
                    0.85,
                    Level.PLATFORM,
                    (view.cite(claim, f"status.allocation.devices.results[{i}]"),),
                    keys,
                    keys,
                    (
                        outside(
                            f"Bring the plugin of driver {driver} back on the node of pool {place[1]}, or find out "
                            "where the device went",
                            "pods with the claim can neither be started nor ended cleanly",
                        ),
                    ),
                )
            )
            break
        found += _reported(view, claim, pods, keys)
    return found


def _ending(view: ClusterView, claim: Thing) -> list[Draft]:
    """Return what keeps a deleted claim: the pods that it is reserved for."""
    asked = when(claim.at("metadata.deletionTimestamp"))
    names = [text(r.get("name")) for r in claim.rows("status.reservedFor")]
    if not names or asked is None or view.now - asked < SETTLED:
        return []
    key = frozenset({claim.key})
    return [
        Draft(
            "dra",
            claim.target,
            "metadata.deletionTimestamp",
            f"ResourceClaim {claim.name} is being deleted and stays while {', '.join(names[:3])} use it.",
            0.9,
            Level.OBJECT,
            (view.cite(claim, "metadata.deletionTimestamp", "metadata.finalizers", "status.reservedFor"),),
            key,
            key,
            (
                outside(
                    f"End the pods that use it: {', '.join(names[:3])}",
                    "its finalizer protects a device in use; it goes by itself with the last of them",
                ),
            ),
        )
    ]


def _reported(view: ClusterView, claim: Thing, pods: list[Thing], keys: frozenset[str]) -> list[Draft]:
    """Return what a driver reports of an allocated device in the claim, and users without a reservation."""
    for i, device in enumerate(claim.rows("status.devices")):
        for j, condition in enumerate(rows(device.get("conditions"))):
            kind, state = text(condition.get("type")), condition.get("status")
            seen = fold_int(condition.get("observedGeneration"), claim.number("metadata.generation"))
            bad = (state == "False" and kind in GOOD_WHEN_TRUE) or (state == "True" and kind in BAD_WHEN_TRUE)
            if bad and seen >= claim.number("metadata.generation"):
                place = f"status.devices[{i}].conditions[{j}]"
                words = f"{kind} is {state} ({text(condition.get('reason'))}): {text(condition.get('message'))[:140]}"
                return [
                    Draft(
                        "dra",
                        claim.target,
                        place,
                        f"Driver {text(device.get('driver'))} reports of device {text(device.get('device'))} of "
                        f"ResourceClaim {claim.name}: {words}.",
                        0.85,
                        Level.PLATFORM,
                        (view.cite(claim, place),),
                        keys,
                        keys,
                        (outside("Act on what the driver says of the device", "it knows the hardware"),),
                    )
                ]
    bound = [p for p in pods if p.text("status.phase") == "Running"]
    if bound and view.complete("pods", claim.namespace) and not claim.rows("status.reservedFor"):
        workload = workload_of(view, bound[0])
        return [
            Draft(
                "dra",
                claim.target,
                "status.reservedFor",
                f"ResourceClaim {claim.name} is allocated with an empty reservedFor while pod {bound[0].name} runs "
                "with it: its device may be given away.",
                0.8,
                Level.OBJECT,
                (view.cite(claim, "metadata.name", "status"), view.cite(bound[0], "spec.nodeName")),
                frozenset({claim.key}),
                keys | workload.keys,
                (
                    outside(
                        "Make the pod anew through the scheduler, which reserves the claim", "only it reserves claims"
                    ),
                ),
            )
        ]
    return []


def _rules(view: ClusterView) -> list[Draft]:
    """Return the taint rules of an administrator that evict pods now."""
    found = []
    for rule in view.all(RULES):
        for i, condition in enumerate(rule.rows("status.conditions")):
            seen = fold_int(condition.get("observedGeneration"), rule.number("metadata.generation"))
            active = condition.get("type") == "EvictionInProgress" and condition.get("status") == "True"
            if not active or seen < rule.number("metadata.generation"):
                continue
            selector = rule.map("spec.deviceSelector")
            known = inventory(view)
            held = [
                c
                for place, claims in known.holders.items()
                for c in claims
                if all(
                    not text(selector.get(k)) or selector.get(k) == v
                    for k, v in zip(("driver", "pool", "device"), place, strict=True)
                )
            ]
            pods = {p.key for c in held for p in users(view).get(c.key, ())}
            keys = frozenset({rule.key, *pods})
            taint = rule.map("spec.taint")
            found.append(
                Draft(
                    "dra",
                    rule.target,
                    "spec.taint",
                    f"DeviceTaintRule {rule.name} evicts pods ({text(taint.get('key'))}, {text(taint.get('effect'))}): "
                    f"{text(condition.get('message'))[:140]}",
                    0.9,
                    Level.PLATFORM,
                    (view.cite(rule, f"status.conditions[{i}]"), view.cite(rule, "spec.taint", "spec.deviceSelector")),
                    keys,
                    keys,
                    (
                        delete(
                            rule,
                            f"Delete DeviceTaintRule {rule.name} when the maintenance is over",
                            "an administrator set it on purpose: ask first",
                            RiskLevel.HIGH,
                        ),
                    ),
                )
            )
    return found
