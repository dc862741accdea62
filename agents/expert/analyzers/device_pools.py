"""Pools of devices: incomplete or invalid ones, slices of nodes that are gone, nodes that a driver leaves out."""

from __future__ import annotations

from agents.expert.devices.drivers import plugin_of
from agents.expert.devices.inventory import CLASSES, Pool, inventory
from agents.expert.devices.users import SETTLED
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import delete, outside
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

ACCELERATORS = {
    "nvidia.com/gpu.present": "nvidia",
    "feature.node.kubernetes.io/pci-10de.present": "nvidia",
    "feature.node.kubernetes.io/pci-0302_10de.present": "nvidia",
    "feature.node.kubernetes.io/pci-0300_10de.present": "nvidia",
    "feature.node.kubernetes.io/amd-gpu": "amd",
    "intel.feature.node.kubernetes.io/gpu": "intel",
}
"""Labels that say what hardware a node has, and a word of the names of the drivers that publish it."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with pools of devices, whether a pod waits for them or not."""
    found: list[Draft] = []
    for pool in inventory(view).pools.values():
        young = any(view.now - s.created < SETTLED for s in pool.slices)
        if not pool.usable and not young:
            found.append(unusable(view, pool, 0.8, "", frozenset(), ()))
        elif pool.old and not young:
            found.append(_left_behind(view, pool))
        gone = [s for s in pool.slices if _homeless(view, s)]
        if gone and not young:
            found.append(homeless(view, gone[0], 0.8, "", frozenset(), ()))
    return found + _uncovered(view) + _twice(view)


def unusable(
    view: ClusterView, pool: Pool, sure: float, head: str, keys: frozenset[str], cited: tuple[Citation, ...]
) -> Draft:
    """Return the draft for a pool that the scheduler takes nothing from: incomplete, or with a name twice."""
    piece = pool.slices[0]
    hidden = sum(len(s.rows("spec.devices")) for s in pool.slices)
    if not pool.complete:
        place = "spec.pool.resourceSliceCount"
        why = (
            f"pool {pool.name} of driver {pool.driver} announces {pool.wanted} slices for generation "
            f"{pool.generation} and has {len(pool.slices)}, so none of its devices can be had ({hidden} published)"
        )
        if pool.old:
            why += f" ({len(pool.old)} still of generation {max(s.number('spec.pool.generation') for s in pool.old)})"
    else:
        place = "spec.devices"
        why = f"pool {pool.name} of driver {pool.driver} has two devices named {pool.twice}, so it is not valid"
    names = frozenset({s.key for s in pool.slices})
    plugin = plugin_of(view, pool.driver)
    node = piece.text("spec.nodeName")
    bad = [p for p in view.pods_of(plugin) if p.text("spec.nodeName") == node and not p.ready] if plugin else []
    if bad:
        why += f"; the driver's pod {bad[0].name} there is not ready"
        names |= {bad[0].key}
    return Draft(
        "dra",
        piece.target,
        place,
        f"{head}{why}.",
        sure,
        # What keeps the plugin's pod is found like with any pod, and this follows from it.
        Level.TRAFFIC if bad else Level.PLATFORM,
        (view.cite(piece, "spec.pool", "spec.nodeName"), *cited),
        names | keys,
        names | keys,
        (
            outside(
                f"Look at the plugin of driver {pool.driver} for {pool.name}; restart it if the rest does not come",
                "slices are written by the driver; changed by hand they are overwritten",
            ),
        ),
    )


def _left_behind(view: ClusterView, pool: Pool) -> Draft:
    piece = pool.old[0]
    return Draft(
        "dra",
        piece.target,
        "spec.pool.generation",
        f"ResourceSlice {piece.name} is of generation {piece.number('spec.pool.generation')} of pool {pool.name}, "
        f"which is at {pool.generation}: its devices count no more.",
        0.8,
        Level.PLATFORM,
        (view.cite(piece, "spec.pool"),),
        frozenset({piece.key}),
        frozenset({piece.key}),
        (outside("See that the driver deletes its old slice", "the scheduler passes it over"),),
        note=True,
    )


def _homeless(view: ClusterView, piece: Thing) -> bool:
    name = piece.text("spec.nodeName")
    return bool(name) and view.complete("nodes") and bool(view.all("nodes")) and not view.find("Node", "", name)


def homeless(
    view: ClusterView, piece: Thing, sure: float, head: str, keys: frozenset[str], cited: tuple[Citation, ...]
) -> Draft:
    """Return the draft for a slice of a node that is gone: its devices look free and are not there."""
    name = piece.text("spec.nodeName")
    fixes: list[Fix] = []
    if name:
        fixes.append(
            delete(
                piece,
                f"Delete ResourceSlice {piece.name}",
                "its node is gone; a driver on a node that comes back writes it anew",
                RiskLevel.MEDIUM,
            )
        )
    else:
        fixes.append(outside("Add a node that its node selector takes", "its devices are for no node of the cluster"))
    why = (
        f"ResourceSlice {piece.name} publishes devices of node {name}, which does not exist"
        if name
        else (f"ResourceSlice {piece.name} publishes devices for no node of the cluster")
    )
    key = frozenset({piece.key})
    return Draft(
        "dra",
        piece.target,
        "spec.nodeName" if name else "spec",
        f"{head}{why}.",
        sure,
        Level.PLATFORM,
        (view.cite(piece, "spec.nodeName" if name else "spec.nodeSelector", "spec.driver"), *cited),
        key | keys,
        key | keys,
        tuple(fixes),
    )


def _uncovered(view: ClusterView) -> list[Draft]:
    """Return nodes that have the hardware by their labels while the driver publishes it on others only."""
    pools = inventory(view).pools.values()
    found = []
    for word in ("nvidia", "amd", "intel"):
        covered = {s.text("spec.nodeName") for p in pools if word in p.driver for s in p.slices}
        drivers = sorted({p.driver for p in pools if word in p.driver})
        if not covered - {""}:
            continue
        for node in view.all("nodes"):
            label = next((k for k, w in ACCELERATORS.items() if w == word and node.labels.get(k) == "true"), "")
            plain = any(word in k and quantity(v) > 0 for k, v in node.map("status.allocatable").items())
            ready = node.condition("Ready").get("status") == "True"
            if not label or node.name in covered or plain or not ready or view.now - node.created < SETTLED:
                continue
            key = frozenset({f"{node.key}#devices"})
            found.append(
                Draft(
                    "dra",
                    node.target,
                    f"metadata.labels['{label}']",
                    f"Node {node.name} has the label {label} and no ResourceSlice of {', '.join(drivers)}, as other "
                    "nodes have: its devices cannot be asked for.",
                    0.78,
                    Level.PLATFORM,
                    (view.cite(node, "metadata.name", f"metadata.labels['{label}']"),),
                    key,
                    key,
                    (
                        outside(
                            f"Look at the pod of driver {drivers[0]} on node {node.name}: is there one, is it ready?",
                            "the driver's DaemonSet may leave the node out by a selector or a taint",
                        ),
                    ),
                    note=bool(view.namespace),
                )
            )
    return found


def _twice(view: ClusterView) -> list[Draft]:
    """Return the classes whose extended resource a device plugin offers as well: the same hardware counted twice."""
    found = []
    homes = {d.source.text("spec.nodeName") for d in inventory(view).devices}
    for kind in view.all(CLASSES):
        name = kind.text("spec.extendedResourceName")
        both = [
            n
            for n in view.all("nodes")
            if name and quantity(n.map("status.allocatable").get(name)) > 0 and n.name in homes
        ]
        if both:
            key = frozenset({kind.key})
            found.append(
                Draft(
                    "dra",
                    kind.target,
                    "spec.extendedResourceName",
                    f"DeviceClass {kind.name} serves {name}, which a device plugin offers on node {both[0].name} too: "
                    "the same devices may be given away twice.",
                    0.75,
                    Level.PLATFORM,
                    (view.cite(kind, "spec.extendedResourceName"), view.cite(both[0], f"status.allocatable['{name}']")),
                    key,
                    key,
                    (
                        outside(
                            "Run the device plugin or the DRA driver on a node, not both",
                            "neither knows of the other's allocations",
                        ),
                    ),
                    note=True,
                )
            )
    return found
