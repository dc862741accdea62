"""What was seen of Gateways, routes and pools, in numbers, for an answer that says what it rests on."""

from __future__ import annotations

from agents.expert.analyzers.gateway_status import conditions
from agents.expert.analyzers.gateways import GATEWAYS
from agents.expert.analyzers.referents import POOLS, ROUTES, selector_of
from agents.expert.workload import is_ready
from assistant.domain.view import ClusterView


def checked(view: ClusterView) -> list[str]:
    """Return a line for each of the kinds of which there are objects."""
    found = []
    gateways = view.all(GATEWAYS)
    if gateways:
        good = sum(g.condition("Programmed").get("status") == "True" for g in gateways)
        found.append(f"{good} of {len(gateways)} Gateways are programmed")
    routes = [r for kind in ROUTES for r in view.all(kind)]
    if routes:
        good = sum(
            any(s.type == "Accepted" and s.status == "True" for s in conditions(r, "status.parents")) for r in routes
        )
        found.append(f"{good} of {len(routes)} routes are accepted")
    pools = [p for kind in POOLS for p in view.all(kind)]
    if pools:
        good = sum(any(is_ready(x) for x in view.pods_with(p.namespace, selector_of(p))) for p in pools)
        found.append(f"{good} of {len(pools)} InferencePools have a ready endpoint")
    return found
