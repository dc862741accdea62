"""The allocation that the scheduler tries for a pod, step by step, so that the step that leaves nothing can be named.

Source: the structured allocator of Kubernetes (dynamic-resource-allocation/structured). Not simulated: counters
that two devices of the same allocation would share, and rounding by a request policy of consumable capacity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from agents.expert.devices.inventory import Device, Inventory, Taint, tolerated
from agents.expert.devices.requests import Constraint, Request, Selector, Wanted, class_selectors, sift
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

STEPS = 50_000
"""Combinations tried for a pod at most; beyond, the search is given up and said to be."""


@dataclass(slots=True)
class Funnel:
    """What each step leaves of the devices for one request; `stage` names the step that ends it, "" where none does.

    `most` is how many devices one node has left, `possible` how many it would have if all of them were free.

    Stages: no-class, no-devices, class, selector, error, unread, blocked (hidden, taken, tainted or away), count.
    """

    request: Request
    total: int
    stage: str = ""
    of_class: list[Device] = field(default_factory=list)
    matched: list[Device] = field(default_factory=list)
    steps: list[tuple[Selector, int]] = field(default_factory=list)
    blocker: Selector | None = None
    said: str = ""
    hidden: list[Device] = field(default_factory=list)
    taken: list[Device] = field(default_factory=list)
    tainted: list[tuple[Device, Taint]] = field(default_factory=list)
    away: list[Device] = field(default_factory=list)
    left: list[Device] = field(default_factory=list)
    on: dict[str, list[Device]] = field(default_factory=dict)
    most: int = 0
    possible: int = 0

    def told(self, known: Inventory) -> str:
        """Return the funnel in words, the counts that the scheduler's message leaves out."""
        name = self.request.class_name
        if self.stage == "no-class":
            return f"class {name} does not exist"
        parts = [f"class {name} matches {len(self.of_class)} of {_counted(self.total)}"]
        for selector, left in self.steps:
            parts.append(f"selector leaves {left}")
            if selector is self.blocker:
                break
        if self.stage in ("error", "unread"):
            return " -> ".join([*parts, f"a selector {'fails' if self.stage == 'error' else 'was not evaluated'}"])
        if self.hidden:
            pools = ", ".join(dict.fromkeys(d.pool for d in self.hidden))
            parts.append(f"{len(self.hidden)} in {pools}, a pool that is not usable")
        if self.taken:
            names = dict.fromkeys(f"{c.namespace}/{c.name}" for d in self.taken for c in known.holders[d.place])
            parts.append(f"{len(self.taken)} allocated" + (f" (to {_listed(list(names))})" if names else ""))
            own = list(self.request.tolerations)
            bad = [str(t) for d in self.taken for t in known.taints(d) if not tolerated(own, t)]
            if bad:
                parts[-1] += f", {len(bad)} of them tainted {_listed(list(dict.fromkeys(bad)))}"
        if self.tainted:
            parts.append(f"{len(self.tainted)} tainted {_listed(list(dict.fromkeys(str(t) for _, t in self.tainted)))}")
        if self.away:
            parts.append(f"{len(self.away)} where the pod cannot go")
        parts.append(f"{len(self.left)} left")
        if self.left and self.most < (self.request.count if not self.request.all else 1):
            parts[-1] += f", at most {max((len(d) for d in self.on.values()), default=0)} on one node"
        return " -> ".join(parts)


def _counted(number: int) -> str:
    return "1 device" if number == 1 else f"{number} devices"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass(slots=True)
class Outcome:
    """The trial of all claims of a pod: the funnels by claim and request, and why no node takes them together.

    `whole` is "" where some node takes them, "alone" where a request fails by itself, "constraint", "together", or
    "unread" where the search was given up.
    """

    funnels: list[tuple[Wanted, list[Funnel]]]
    whole: str = ""
    constraint: tuple[Wanted, Constraint] | None = None

    @property
    def failing(self) -> tuple[Wanted, list[Funnel]] | None:
        """Return the first request of which no alternative has a device."""
        return next(((w, f) for w, f in self.funnels if all(x.stage for x in f)), None)


def attempt(view: ClusterView, known: Inventory, claims: list[Wanted], nodes: list[Thing] | None) -> Outcome:
    """Try the claims of a pod on the nodes that are open to it; with None on every place that devices are at."""
    places = nodes if nodes is not None else _places(known)
    funnels = [
        (claim, [funnel(view, known, claim.source, option, places) for option in group])
        for claim in claims
        for group in claim.requests
    ]
    outcome = Outcome(funnels)
    if outcome.failing is not None:
        outcome.whole = "alone"
        return outcome
    if not funnels or _fits_somewhere(funnels, places, with_constraints=True):
        return outcome
    loose = _fits_somewhere(funnels, places, with_constraints=False)
    if loose is None:
        outcome.whole = "unread"
    elif loose:
        outcome.whole = "constraint"
        outcome.constraint = next(((c, limit) for c in claims for limit in c.constraints), None)
    else:
        outcome.whole = "together"
    return outcome


def _places(known: Inventory) -> list[Thing]:
    names = {p.text("spec.nodeName") for pool in known.pools.values() for p in pool.slices}
    names |= {text(d.body.get("nodeName")) for d in known.devices}
    return [Thing("nodes", "v1", "Node", {"metadata": {"name": n}}, "") for n in sorted(names or {""})]


def funnel(view: ClusterView, known: Inventory, source: Thing, request: Request, nodes: list[Thing]) -> Funnel:
    """Follow one request through class, selectors, pools, allocations, taints and nodes."""
    memo = view.memo("device-funnels", logs=False)
    names = ",".join(n.name for n in nodes)
    at = f"{source.key} {request.path} {names}"
    if at not in memo:
        memo[at] = _followed(view, known, request, nodes)
    found: Funnel = memo[at]
    return found


def _followed(view: ClusterView, known: Inventory, request: Request, nodes: list[Thing]) -> Funnel:
    found = Funnel(request, len(known.devices))
    if not _select(view, known, request, found):
        return found
    used = _used_counters(known)
    for device in found.matched:
        if not known.pools[(device.driver, device.pool)].usable:
            found.hidden.append(device)
        elif not request.admin and (
            known.holders.get(device.place) or _exhausted(device, known, used) or _full(device, known, request)
        ):
            found.taken.append(device)
        else:
            taint = next((t for t in known.taints(device) if not tolerated(list(request.tolerations), t)), None)
            if taint is not None:
                found.tainted.append((device, taint))
            else:
                found.left.append(device)
    found.on = _by_node(found.left, nodes)
    reached = {d.place for devices in found.on.values() for d in devices}
    found.away = [d for d in found.left if d.place not in reached]
    found.left = [d for d in found.left if d.place in reached]
    every = _by_node(found.matched, nodes)
    if request.all:
        found.on = {n: d for n, d in found.on.items() if len(d) == len(every[n])}
    found.most = max((len(d) for d in found.on.values()), default=0)
    if found.most < request.count:
        by_name = _by_node(found.matched, None)
        shared = len(by_name.pop("", []))
        found.possible = shared + max((len(d) for d in by_name.values()), default=0)
        found.stage = "count" if not request.all and 0 < found.possible < request.count else "blocked"
    return found


def _select(view: ClusterView, known: Inventory, request: Request, found: Funnel) -> bool:
    selectors = class_selectors(view, request.class_name)
    if selectors is None:
        found.stage = "no-class"
        return False
    left = known.devices
    for selector in (*selectors, *request.selectors):
        # What comes in is the same each time: the class first, then the selectors of the same request in their order.
        at = (selector.source.key, selector.path, request.class_name)
        if at not in known.sifted:
            known.sifted[at] = sift(known, selector, left)
        sifted = known.sifted[at]
        own = selector.source.kind != "DeviceClass"
        if sifted.unread or sifted.error:
            found.stage = "unread" if sifted.unread else "error"
            found.blocker, found.said = selector, sifted.unread or sifted.error
            found.of_class = found.of_class if own else []
            return False
        before, left = left, sifted.kept
        if not own or not found.steps:
            found.of_class = before if own else left
        if own:
            found.steps.append((selector, len(left)))
        if not left:
            found.blocker = selector if known.devices else None
            found.stage = "selector" if own and before else "class" if known.devices else "no-devices"
            return False
    if not request.selectors:
        found.of_class = left
    if not left:
        found.stage = "no-devices"
        return False
    found.matched = left
    return True


def _by_node(devices: list[Device], nodes: list[Thing] | None) -> dict[str, list[Device]]:
    """Return the devices that each node can use; without nodes, by where each device says it is."""
    found: dict[str, list[Device]] = defaultdict(list)
    by_name = {n.name: n for n in nodes or ()}
    for device in devices:
        each = device.source.at("spec.perDeviceNodeSelection") is True
        own = text(device.body.get("nodeName")) if each else device.source.text("spec.nodeName")
        if nodes is None:
            found[own].append(device)
        elif own:
            if own in by_name:
                found[own].append(device)
        else:
            for node in nodes:
                if device.on(node):
                    found[node.name].append(device)
    return found


def _used_counters(known: Inventory) -> dict[tuple[str, str, str, str], float]:
    """Return what allocated devices have taken of the shared counters: by driver, pool, set and counter."""
    used: dict[tuple[str, str, str, str], float] = defaultdict(float)
    for device in known.devices:
        if device.body.get("consumesCounters") and known.holders.get(device.place):
            for at, amount in _counters(device):
                used[at] += amount
    return used


def _counters(device: Device) -> Iterator[tuple[tuple[str, str, str, str], float]]:
    for row in rows(device.body.get("consumesCounters")):
        for name, entry in mapping(row.get("counters")).items():
            at = (device.driver, device.pool, text(row.get("counterSet")), name)
            yield at, quantity(mapping(entry).get("value"))


def _exhausted(device: Device, known: Inventory, used: dict[tuple[str, str, str, str], float]) -> bool:
    """Say whether other devices of the same hardware have used up what this one would consume."""
    if not device.body.get("consumesCounters") or not used:
        return False
    have = {
        (text(group.get("name")), name): quantity(mapping(entry).get("value"))
        for piece in known.pools[(device.driver, device.pool)].slices
        for group in piece.rows("spec.sharedCounters")
        for name, entry in mapping(group.get("counters")).items()
    }
    return any(used.get(at, 0.0) + amount > have.get(at[2:], 0.0) for at, amount in _counters(device))


def _full(device: Device, known: Inventory, request: Request) -> bool:
    """Say whether a device that is shared has too little capacity left for a request."""
    used = known.consumed.get(device.place)
    if not used or device.body.get("allowMultipleAllocations") is not True:
        return False
    for name, entry in mapping(device.body.get("capacity")).items():
        have = quantity(mapping(entry).get("value", entry))
        usual = mapping(mapping(entry).get("requestPolicy")).get("default", have)
        if quantity(request.capacity.get(name, usual)) + used.get(name, 0.0) > have:
            return True
    return False


def _fits_somewhere(
    funnels: list[tuple[Wanted, list[Funnel]]], nodes: list[Thing], *, with_constraints: bool
) -> bool | None:
    """Say whether one node has devices for all requests at once; None where the search was given up."""
    left = [STEPS]
    for node in nodes:
        if all(any(node.name in f.on for f in group) for _, group in funnels):
            if _fill(funnels, 0, node.name, {}, left, with_constraints):
                return True
            if left[0] <= 0:
                return None
    return False


Chosen = dict[tuple[str, str, str], tuple[Wanted, Request, Device]]


def _fill(
    funnels: list[tuple[Wanted, list[Funnel]]], at: int, node: str, chosen: Chosen, left: list[int], strict: bool
) -> bool:
    if at == len(funnels):
        return True
    claim, options = funnels[at]
    for option in options:
        devices = option.on.get(node, [])
        count = len(devices) if option.request.all else option.request.count
        if not option.stage and _pick(funnels, at, node, chosen, left, strict, (claim, option, devices, count)):
            return True
    return False


def _pick(
    funnels: list[tuple[Wanted, list[Funnel]]],
    at: int,
    node: str,
    chosen: Chosen,
    left: list[int],
    strict: bool,
    task: tuple[Wanted, Funnel, list[Device], int],
) -> bool:
    claim, option, devices, count = task
    if count == 0:
        return _fill(funnels, at + 1, node, chosen, left, strict)
    for i, device in enumerate(devices):
        left[0] -= 1
        if left[0] <= 0 or len(devices) - i < count:
            return False
        if device.place in chosen and not option.request.admin:
            continue
        if strict and not all(_allowed(c, claim, option.request, device, chosen) for c in claim.constraints):
            continue
        more: Chosen = {**chosen, device.place: (claim, option.request, device)}
        if _pick(funnels, at, node, more, left, strict, (claim, option, devices[i + 1 :], count - 1)):
            return True
    return False


def _allowed(limit: Constraint, claim: Wanted, request: Request, device: Device, chosen: Chosen) -> bool:
    def bound(name: str) -> bool:
        return not limit.requests or name in limit.requests or name.split("/")[0] in limit.requests

    if not bound(request.name):
        return True
    own = attribute(device, limit.attribute)
    if own is None:
        return False
    others = [attribute(d, limit.attribute) for c, r, d in chosen.values() if c is claim and bound(r.name)]
    return own not in others if limit.distinct else all(own == other for other in others)


def attribute(device: Device, name: str) -> tuple[str, str] | None:
    """Return type and value of a device's attribute by its full name, None where it has none."""
    attributes = mapping(device.body.get("attributes"))
    entry = mapping(attributes.get(name) or attributes.get(name.removeprefix(f"{device.driver}/")))
    return next(((kind, str(value)) for kind, value in sorted(entry.items())), None)
