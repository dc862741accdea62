"""Where the programs are that the tests talk to; each may be absent, and then its tests are skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = shutil.which("kubectl")


def _mcp_server() -> str | None:
    # `make tools` installs the package of this platform alone, which names its program after the platform.
    made = sorted((ROOT / ".tools" / "node_modules").glob("kubernetes-mcp-server*/bin/kubernetes-mcp-server*"))
    given = os.environ.get("PILOTHOUSE_KUBERNETES_MCP_SERVER")
    return given or shutil.which("kubernetes-mcp-server") or next((str(path) for path in made), None)


def _ai_gateway() -> str | None:
    made = ROOT / ".tools" / "gateway" / "bin" / "litellm"
    return os.environ.get("PILOTHOUSE_LITELLM_PROXY") or (str(made) if made.exists() else None)


MCP_SERVER = _mcp_server()
AI_GATEWAY = _ai_gateway()
