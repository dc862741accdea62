"""Read catalogues of servers that many people use, each made by reading the server's source at the version named.

A tool stands here only where its source shows that it sends nothing but reads. What is not here asks; so does a tool
whose server says that it changes something. A server that reaches the cluster does it through the gate as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Final

from assistant.tools.mcp.servers import Server


@dataclass(frozen=True, slots=True)
class Profile:
    """Tools that only read, and how the server is known: by its program, or by its package where a runner starts it.

    `programs` is empty where other servers have a program of that name.
    """

    reads: frozenset[str]
    programs: str = ""
    node: str = ""
    python: str = ""


PROFILES: Final[Mapping[str, Profile]] = {
    # containers/kubernetes-mcp-server 0.0.67 (its tools/list, tests/integration) and v0.0.66 (pkg/toolsets, pkg/helm).
    # Toolsets core, config and helm; nodes_log and nodes_stats_summary go through the node's proxy, which the gate
    # holds as critical: they ask. helm_list reads the releases' Secrets, of which the gate redacts the values.
    "kubernetes-mcp-server": Profile(
        frozenset({
            "configuration_contexts_list", "events_list", "helm_list", "namespaces_list", "nodes_top", "pods_get",
            "pods_list", "pods_list_in_namespace", "pods_log", "pods_top", "projects_list", "resources_get",
            "resources_list",
        }),
        programs=r"kubernetes-mcp-server(?:-(?:linux|darwin)-(?:amd64|arm64))?",
        node=r"kubernetes-mcp-server(?:-(?:linux|darwin)-(?:amd64|arm64))?", python="kubernetes-mcp-server",
    ),
    # pab1it0/prometheus-mcp-server 1.6.2 (src/prometheus_mcp_server/server.py: GET requests alone). Others have a
    # program of this name.
    "prometheus-mcp-server": Profile(
        frozenset({
            "health_check", "execute_query", "execute_range_query", "list_metrics", "get_metric_metadata",
            "get_targets",
        }),
        python="prometheus-mcp-server",
    ),
    # grafana/mcp-grafana v1.1.0 (tools/prometheus.go, loki.go, search.go, datasources.go, dashboard.go). Left out:
    # what starts checks, and queries in languages that can write.
    "mcp-grafana": Profile(
        frozenset({
            "list_prometheus_metric_metadata", "query_prometheus", "list_prometheus_metric_names",
            "list_prometheus_label_names", "list_prometheus_label_values", "query_prometheus_histogram",
            "list_loki_label_names", "list_loki_label_values", "query_loki_logs", "query_loki_stats",
            "query_loki_patterns", "search_dashboards", "search_folders", "list_datasources", "get_datasource",
            "get_dashboard_by_uid", "get_dashboard_panel_queries", "get_dashboard_property", "get_dashboard_summary",
        }),
        programs="mcp-grafana", python="mcp-grafana",
    ),
    # controlplaneio-fluxcd/flux-operator v0.58.1 (cmd/mcp/toolbox, cmd/mcp/k8s).
    "flux-operator-mcp": Profile(
        frozenset({
            "get_flux_instance", "get_kubernetes_api_versions", "get_kubernetes_logs", "get_kubernetes_metrics",
            "get_kubernetes_resources", "get_kubeconfig_contexts", "search_flux_docs",
        }),
        programs="flux-operator-mcp",
    ),
    # argoproj-labs/mcp-for-argocd, commit c21d8cf7 (src/server/server.ts, src/argocd/client.ts).
    "argocd-mcp": Profile(
        frozenset({
            "list_applications", "get_application", "get_application_resource_tree",
            "get_application_managed_resources", "get_application_workload_logs", "get_application_events",
            "get_resource_events", "get_resource_actions",
        }),
        node="argocd-mcp",
    ),
    # ntk148v/alertmanager-mcp-server 1.1.0 (src/alertmanager_mcp_server/server.py).
    "alertmanager-mcp-server": Profile(
        frozenset({
            "get_status", "get_receivers", "get_silences", "get_silence", "get_alerts", "get_alert_groups",
        }),
        python="alertmanager-mcp-server",
    ),
}  # fmt: skip
_NODE: Final = frozenset({"npx", "bunx", "pnpx"})
_PYTHON: Final = frozenset({"uvx"})
_VERSION: Final = r"(?:(?:@|==)[\w.-]+)?"


@lru_cache(maxsize=256)
def known(server: Server) -> str:
    """Return the profile of a server by its command, "" for none."""
    program = PurePath(server.command).name
    # The package is the first argument that is no flag; what follows is the server's own.
    package = next((arg for arg in server.args if not arg.startswith("-")), "")
    for name, profile in PROFILES.items():
        if profile.programs and re.fullmatch(profile.programs, program):
            return name
        source = profile.node if program in _NODE else profile.python if program in _PYTHON else ""
        if source and re.fullmatch(source + _VERSION, package):
            return name
    return ""
