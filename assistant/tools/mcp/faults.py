"""What can go wrong with an MCP server, as errors that say what it means and what to do."""

from __future__ import annotations

from assistant.errors import PilothouseError, UsageError


class McpConfigError(UsageError):
    """The file with the MCP servers cannot be used; the meaning names the place in it."""

    code = "mcp-config"


class McpError(PilothouseError):
    """Something about one MCP server. The others go on."""

    code = "mcp"
    exit_code = 4


class McpServerError(McpError):
    """A server does not start, has ended, or does not speak the protocol."""

    code = "mcp-server"


class McpUnknownOutcomeError(McpServerError):
    """The connection ended, or the time, while a call was under way: nobody knows whether it was carried out."""

    code = "mcp-unknown-outcome"


class McpCallError(McpError):
    """A server refused a call, or there is no such tool, or its arguments are not what it takes."""

    code = "mcp-call"


class McpNotApprovedError(McpError):
    """A person has not approved this server, this tool, or this call as it is now."""

    code = "mcp-not-approved"


class McpAccessError(McpError):
    """The identity that the cluster is asked with may not do what a tool needs. Nothing was sent."""

    code = "mcp-access"


class McpQuestionError(McpError):
    """A server asks what a person cannot, or must not, be asked. The server gets a no."""

    code = "mcp-question"
