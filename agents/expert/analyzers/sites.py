"""OpenYurt: which nodes make up a site (a NodePool), and which sites are offline as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.expert.analyzers.autonomy import is_edge
from assistant.domain.raw import text, texts
from assistant.domain.view import ClusterView, Thing, when

POOLS = "nodepools.apps.openyurt.io"
MEMBER = "apps.openyurt.io/nodepool"
_LABELS = (MEMBER, "apps.openyurt.io/desired-nodepool")
"""The label of now, and the one that clusters before 1.5 have."""
TOGETHER = timedelta(minutes=5)
"""Nodes that are lost within this time were lost by one cause: a node counts as lost after 40 s without a heartbeat."""


@dataclass(frozen=True, slots=True)
class Site:
    """A NodePool with those of its nodes that were read; `lost` are not ready, `since` is when the first went."""

    pool: Thing
    nodes: tuple[Thing, ...]
    lost: tuple[Thing, ...]
    since: datetime | None
    together: bool

    @property
    def offline(self) -> bool:
        """Say whether every node is lost, of which there is more than one: one alone may be the node's own fault."""
        if self.nodes:
            return len(self.lost) == len(self.nodes) and len(self.nodes) > 1
        return self.pool.number("status.unreadyNodeNum") > 1 and self.pool.number("status.readyNodeNum") == 0


def pool_name(node: Thing) -> str:
    """Return the NodePool that a node belongs to by its label, "" for none."""
    return next((text(node.labels.get(k)) for k in _LABELS if node.labels.get(k)), "")


def is_lost(node: Thing) -> bool:
    """Say whether a node is not ready, by its condition."""
    ready = node.condition("Ready")
    return bool(ready) and ready.get("status") != "True"


def sites(view: ClusterView) -> list[Site]:
    """Return the NodePools of OpenYurt with their nodes; built once a view."""
    memo = view.memo("sites", logs=False)
    if "all" not in memo:
        by_pool: dict[str, list[Thing]] = {}
        by_name: dict[str, Thing] = {}
        pools = view.all(POOLS)
        for node in view.all("nodes") if pools else ():
            by_pool.setdefault(pool_name(node), []).append(node)
            by_name[node.name] = node
        memo["all"] = [_site(p, by_pool.get(p.name, []), by_name) for p in pools]
    found: list[Site] = memo["all"]
    return found


def _site(pool: Thing, labelled: list[Thing], by_name: dict[str, Thing]) -> Site:
    listed = [by_name[n] for n in texts(pool.at("status.nodes")) if n in by_name]
    nodes = tuple({n.name: n for n in [*labelled, *listed]}.values())
    lost = tuple(n for n in nodes if is_lost(n))
    times = [t for n in lost if (t := when(n.condition("Ready").get("lastTransitionTime"))) is not None]
    together = len(times) == len(lost) > 0 and max(times) - min(times) <= TOGETHER
    return Site(pool, nodes, lost, min(times, default=None), together)


def offline(view: ClusterView) -> frozenset[str]:
    """Return the keys of the nodes of sites that are offline as a whole."""
    return frozenset(n.key for s in sites(view) if s.offline for n in s.nodes)


def neighbours(view: ClusterView, node: Thing) -> list[Thing]:
    """Return the edge nodes of the same pool."""
    name = pool_name(node)
    return [n for s in sites(view) if name and s.pool.name == name for n in s.nodes if n is not node and is_edge(n)]


def everywhere(view: ClusterView) -> list[Site]:
    """Return the sites that are offline where that is all of them, several, and at once; none otherwise.

    Many sites share no link of their own, so what they lost together is on the cloud's side.
    """
    edge = [s for s in sites(view) if s.pool.text("spec.type") != "Cloud" and (s.nodes or s.pool.map("status"))]
    edge = [
        s for s in edge if s.nodes or s.pool.number("status.unreadyNodeNum") or s.pool.number("status.readyNodeNum")
    ]
    times = [s.since for s in edge if s.since is not None]
    if len(edge) < 2 or not all(s.offline or (s.nodes and len(s.lost) == len(s.nodes)) for s in edge):
        return []
    return edge if len(times) == len(edge) and max(times) - min(times) <= TOGETHER else []
