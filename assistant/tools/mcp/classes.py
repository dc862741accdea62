"""Which tools only read. The user's catalogue or a shipped profile says so, never the server; its hints only raise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from assistant.domain.toolserver import ToolClass
from assistant.tools.mcp.definition import Definition
from assistant.tools.mcp.faults import McpConfigError
from assistant.tools.mcp.servers import Server

PROFILES: Final[Mapping[str, frozenset[str]]] = {
    # Everything of toolsets core and config that sends GET requests alone; what it may see is the gate's to decide.
    # nodes_log and nodes_stats_summary go through the node's proxy, which the gate holds as critical: they ask.
    "kubernetes-mcp-server": frozenset(
        {
            "configuration_contexts_list", "events_list", "namespaces_list", "nodes_top", "pods_get", "pods_list",
            "pods_list_in_namespace", "pods_log", "pods_top", "projects_list", "resources_get", "resources_list",
        }
    ),
}  # fmt: skip
_PACKAGE: Final = re.compile(r"kubernetes-mcp-server(?:-(?:linux|darwin)-(?:amd64|arm64))?(?:@[\w.-]+)?")
_RUNNERS: Final = frozenset({"npx", "bunx", "pnpx", "uvx"})


def profile_of(server: Server) -> str:
    """Return the name of the shipped profile that holds for a server, "" for none. Raises McpConfigError.

    A server that is not known by its command names it itself: `"profile": "kubernetes-mcp-server"`; "none" is none.
    """
    if server.profile == "none":
        return ""
    if server.profile:
        if server.profile not in PROFILES:
            known = ", ".join(sorted(PROFILES))
            raise McpConfigError(f"{server.place}.profile {server.profile!r} is not shipped.", f"Shipped are: {known}.")
        return server.profile
    program = PurePath(server.command).name
    if _PACKAGE.fullmatch(program):
        return "kubernetes-mcp-server"
    if program in _RUNNERS:
        # The package is the first argument that is no flag; what follows is the server's own.
        package = next((arg for arg in server.args if not arg.startswith("-")), "")
        return "kubernetes-mcp-server" if _PACKAGE.fullmatch(package) else ""
    return ""


def class_of(server: Server, tool: Definition) -> ToolClass:
    """Return what a call of this tool needs. Unknown tools ask; a hint of change goes before any list."""
    hints = tool.hints
    if hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True:
        return ToolClass.ASK_DESTRUCTIVE
    reads = tool.name in server.reads or tool.name in PROFILES.get(profile_of(server), ())
    contradicts = hints.get("readOnlyHint") is False or hints.get("destructiveHint") is True
    return ToolClass.READ if reads and not contradicts else ToolClass.ASK
