"""The client side of MCP: servers of other people's, each in its own process, pinned, bounded, and never believed."""
