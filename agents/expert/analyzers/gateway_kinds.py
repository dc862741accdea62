"""The kinds that the analyzers of the Gateway API and its neighbours judge, and what they need to be read for it."""

from __future__ import annotations

from typing import Final

from agents.expert.analyzers.agentgateways import BACKENDS as AGENT_BACKENDS
from agents.expert.analyzers.agentgateways import MODELS
from agents.expert.analyzers.ai_gateways import BACKENDS, CONFIGS, CREDENTIALS, HOSTS, QUOTAS
from agents.expert.analyzers.gateways import CLASSES, GATEWAYS, LISTENER_SETS
from agents.expert.analyzers.grants import GRANTS
from agents.expert.analyzers.inference import OBJECTIVES
from agents.expert.analyzers.referents import ENVOY, GATEWAY, POLICIES, POOLS, RESOURCES, ROUTES
from agents.expert.analyzers.senders import AI_ROUTES, MCP_ROUTES

JUDGED: Final = frozenset(
    {
        CLASSES,
        GATEWAYS,
        *LISTENER_SETS,
        *ROUTES,
        *POLICIES,
        *POOLS,
        *OBJECTIVES,
        AI_ROUTES,
        MCP_ROUTES,
        BACKENDS,
        CREDENTIALS,
        QUOTAS,
        CONFIGS,
        HOSTS,
        AGENT_BACKENDS,
        MODELS,
    }
)
"""Kinds whose conditions are read with their own meaning, so that nobody else should."""
NEEDED: Final = tuple(sorted(JUDGED | {GRANTS, f"envoyproxies.{ENVOY}"} | {r for r in RESOURCES.values() if "." in r}))
"""What has to be read to judge them; a kind that the cluster does not serve costs no request."""
ABROAD: Final = (GATEWAYS, f"listenersets.{GATEWAY}", GRANTS)
"""What is read of other namespaces too where an object refers there."""
