"""Pilothouse as an MCP server: other agents ask, read evidence and propose; a person approves elsewhere."""
