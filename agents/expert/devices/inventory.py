"""Devices that drivers publish, in their pools, with who holds them and what taints them.

Source: resource.k8s.io v1, v1beta2 and v1beta1 (there the fields of a device stand under `basic`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.expert.placement import selected
from assistant.domain.raw import fold_int, mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

CLASSES = "deviceclasses.resource.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
CLAIMS = "resourceclaims.resource.k8s.io"
TEMPLATES = "resourceclaimtemplates.resource.k8s.io"
RULES = "devicetaintrules.resource.k8s.io"
ADMIN_LABELS = ("resource.kubernetes.io/admin-access", "resource.k8s.io/admin-access")
"""The label of a namespace that may hold claims with admin access: since 1.34, and before."""

Place = tuple[str, str, str]
"""Driver, pool and name of a device."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a device: its fields, and the object and path where it stands."""

    key: str
    value: str
    effect: str
    source: Thing
    path: str

    def __str__(self) -> str:
        """Return it as kubectl writes taints."""
        return f"{self.key}={self.value}" if self.value else self.key


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a current slice; `path` is where it stands in the slice, `body` its fields in the form of v1."""

    driver: str
    pool: str
    name: str
    source: Thing
    path: str
    body: Mapping[str, Any] = field(compare=False, hash=False)

    @property
    def place(self) -> Place:
        """Return what the device is known by in allocations."""
        return (self.driver, self.pool, self.name)

    def on(self, node: Thing) -> bool:
        """Say whether a node can use the device."""
        where = self.body if self.source.at("spec.perDeviceNodeSelection") is True else self.source.map("spec")
        if where.get("allNodes") is True:
            return True
        if text(where.get("nodeName")):
            return where.get("nodeName") == node.name
        return bool(mapping(where.get("nodeSelector"))) and selected(where.get("nodeSelector"), node)


@dataclass(slots=True)
class Pool:
    """The slices of one pool with the highest generation, and those that it has left behind."""

    driver: str
    name: str
    generation: int
    wanted: int
    slices: list[Thing] = field(default_factory=list)
    old: list[Thing] = field(default_factory=list)
    twice: str = ""

    @property
    def complete(self) -> bool:
        """Say whether all slices that the driver announces are there."""
        return len(self.slices) >= self.wanted

    @property
    def usable(self) -> bool:
        """Say whether the scheduler takes devices of the pool."""
        return self.complete and not self.twice


@dataclass(slots=True)
class Inventory:
    """All devices of a view.

    `holders` are the claims that a device is allocated to, without admin access; `values` keeps devices as selectors
    see them once one was evaluated; `consumed` is what claims have taken of the capacity of shared devices,
    `sifted` what each selector left of them.
    """

    pools: dict[tuple[str, str], Pool]
    devices: list[Device]
    holders: dict[Place, list[Thing]]
    rules: list[Thing]
    values: dict[Device, Any] = field(default_factory=dict)
    consumed: dict[Place, dict[str, float]] = field(default_factory=dict)
    sifted: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    def taints(self, device: Device) -> list[Taint]:
        """Return the taints of a device: of its driver, and of the administrator's rules."""
        found = [
            Taint(
                text(t.get("key")), text(t.get("value")), text(t.get("effect")), device.source, f"{device.path}.taints"
            )
            for t in rows(device.body.get("taints"))
        ]
        for rule in self.rules:
            taint = rule.map("spec.taint")
            if _meant(rule, device):
                own = (text(taint.get("key")), text(taint.get("value")), text(taint.get("effect")))
                found.append(Taint(*own, rule, "spec.taint"))
        return found


def _meant(rule: Thing, device: Device) -> bool:
    """Say whether a rule selects a device. One without a selector selects nothing; odd selectors are left out."""
    selector = rule.at("spec.deviceSelector")
    if not isinstance(selector, dict) or set(selector) - {"driver", "pool", "device"}:
        return False
    mine = {"driver": device.driver, "pool": device.pool, "device": device.name}
    return all(not text(selector.get(key)) or selector.get(key) == value for key, value in mine.items())


def inventory(view: ClusterView) -> Inventory:
    """Return the devices of a view; built once."""
    memo = view.memo("devices", logs=False)
    if "all" not in memo:
        memo["all"] = _build(view)
    found: Inventory = memo["all"]
    return found


def claims_of(view: ClusterView) -> list[Thing]:
    """Return the claims of a view, each once: they may have been listed in one namespace and in all of them."""
    return list({c.key: c for c in view.all(CLAIMS)}.values())


def results(claim: Thing) -> list[Mapping[str, Any]]:
    """Return what a claim is allocated: rows with request, driver, pool and device."""
    return claim.rows("status.allocation.devices.results")


def _build(view: ClusterView) -> Inventory:
    by_pool: dict[tuple[str, str], list[Thing]] = defaultdict(list)
    for piece in view.all(SLICES):
        by_pool[(piece.text("spec.driver"), piece.text("spec.pool.name"))].append(piece)
    pools = {key: _pool(*key, pieces) for key, pieces in by_pool.items()}
    devices = []
    for pool in pools.values():
        names: set[str] = set()
        for piece in pool.slices:
            for i, row in enumerate(piece.rows("spec.devices")):
                basic = isinstance(row.get("basic"), dict)
                name = text(row.get("name"))
                pool.twice = pool.twice or (name if name in names else "")
                names.add(name)
                body = mapping(row["basic"]) if basic else row
                path = f"spec.devices[{i}]" + (".basic" if basic else "")
                devices.append(Device(pool.driver, pool.name, name, piece, path, body))
    holders: dict[Place, list[Thing]] = defaultdict(list)
    consumed: dict[Place, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for claim in claims_of(view):
        for row in results(claim):
            place = (text(row.get("driver")), text(row.get("pool")), text(row.get("device")))
            if row.get("shareID"):
                for name, amount in mapping(row.get("consumedCapacity")).items():
                    consumed[place][name] += quantity(amount)
            elif row.get("adminAccess") is not True:
                holders[place].append(claim)
    return Inventory(pools, devices, holders, view.all(RULES), consumed=consumed)


def _pool(driver: str, name: str, pieces: list[Thing]) -> Pool:
    newest = max(p.number("spec.pool.generation") for p in pieces)
    current = [p for p in pieces if p.number("spec.pool.generation") == newest]
    old = [p for p in pieces if p.number("spec.pool.generation") != newest]
    wanted = max((fold_int(p.at("spec.pool.resourceSliceCount"), 1) for p in current), default=1)
    return Pool(driver, name, newest, wanted, current, old)


def tolerated(tolerations: list[Mapping[str, Any]], taint: Taint) -> bool:
    """Say whether a request's tolerations let it have a device with this taint; an effect of None keeps nobody away."""
    if taint.effect not in ("NoSchedule", "NoExecute"):
        return True
    for mine in tolerations:
        if text(mine.get("effect")) not in ("", taint.effect):
            continue
        exists = mine.get("operator") == "Exists"
        if not text(mine.get("key")):
            if exists:
                return True
        elif mine.get("key") == taint.key and (exists or text(mine.get("value")) == taint.value):
            return True
    return False


def named_nodes(selector: object) -> list[str]:
    """Return the node names that a node selector lists, as an allocation on one node has them."""
    return [
        name
        for term in rows(mapping(selector).get("nodeSelectorTerms"))
        for rule in rows(term.get("matchFields")) + rows(term.get("matchExpressions"))
        if rule.get("key") in ("metadata.name", "kubernetes.io/hostname") and rule.get("operator") == "In"
        for name in texts(rule.get("values"))
    ]
