"""The workflow and the minds. LangGraph lives here and nowhere else."""

from __future__ import annotations

import os

# LangGraph and LangSmith read these when they are first imported, hence before any module of ours that imports them:
# checkpoints may only rebuild plain types, and nothing about a cluster is ever traced to somebody's service.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"
