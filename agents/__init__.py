"""How Pilothouse thinks: the LangGraph workflow and the minds that it asks. It cannot write to a cluster."""
