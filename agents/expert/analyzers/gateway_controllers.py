"""The Deployments that controllers of the Gateway API run in, by the names that their installations give them.

Only to link: a controller that is down explains Gateways and routes of which nobody speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from assistant.domain.view import ClusterView

DEPLOYMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway.envoyproxy.io/": ("envoy-gateway",),
    "aigateway.envoyproxy.io/": ("ai-gateway-controller",),
    "istio.io/": ("istiod",),
    "agentgateway.dev/": ("agentgateway",),
    "kgateway.dev/": ("kgateway",),
    "io.cilium/": ("cilium-operator",),
    "projectcontour.io/": ("contour", "contour-gateway-provisioner"),
    "gateway.nginx.org/": ("ngf-nginx-gateway-fabric", "nginx-gateway"),
    "traefik.io/": ("traefik",),
    "konghq.com/": ("kong-controller", "kong-gateway-operator-controller-manager"),
}
"""Beginnings of spec.controllerName, and the names of the Deployments behind them."""


def keys_of(view: ClusterView, controller: str) -> frozenset[str]:
    """Return the keys of the Deployments of a controller in the view; none for a controller that is not known."""
    names = next((n for start, n in DEPLOYMENTS.items() if controller.startswith(start)), ())
    if not names:
        return frozenset()
    return frozenset(d.key for d in view.all("deployments.apps") if d.name in names)


def down(view: ClusterView, controller: str) -> bool:
    """Say whether a controller is known to run in this view and has no ready pod: then that is the cause."""
    found = [view.by_key(k) for k in keys_of(view, controller)]
    return bool(found) and all(d is not None and not d.number("status.readyReplicas") for d in found)
