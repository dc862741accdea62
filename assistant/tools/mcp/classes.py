"""Which tools only read. The user's catalogue or a shipped profile says so, never the server; its hints only raise."""

from __future__ import annotations

from assistant.domain.toolserver import ToolClass
from assistant.tools.mcp.definition import Definition
from assistant.tools.mcp.faults import McpConfigError
from assistant.tools.mcp.profiles import PROFILES, known
from assistant.tools.mcp.servers import Server


def profile_of(server: Server) -> str:
    """Return the name of the shipped profile that holds for a server, "" for none. Raises McpConfigError.

    A server that is not known by its command names it itself: `"profile": "kubernetes-mcp-server"`; "none" is none.
    """
    if server.profile == "none":
        return ""
    if server.profile:
        if server.profile not in PROFILES:
            shipped = ", ".join(sorted(PROFILES))
            raise McpConfigError(
                f"{server.place}.profile {server.profile!r} is not shipped.", f"Shipped are: {shipped}."
            )
        return server.profile
    return known(server)


def class_of(server: Server, tool: Definition) -> ToolClass:
    """Return what a call of this tool needs. Unknown tools ask; a hint of change goes before any list."""
    hints = tool.hints
    if hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True:
        return ToolClass.ASK_DESTRUCTIVE
    profile = PROFILES.get(profile_of(server))
    reads = tool.name in server.reads or (profile is not None and tool.name in profile.reads)
    contradicts = hints.get("readOnlyHint") is False or hints.get("destructiveHint") is True
    return ToolClass.READ if reads and not contradicts else ToolClass.ASK
