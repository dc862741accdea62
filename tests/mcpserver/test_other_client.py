"""Another implementation of the protocol's client: the TypeScript SDK, where `make tools` has installed it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.mcpserver.serving import ON_BUNDLE, ROOT, SECONDS, environment

NODE = shutil.which("node")
_MADE = ROOT / ".tools" / "node_modules" / "@modelcontextprotocol" / "sdk"
SDK = Path(os.environ.get("PILOTHOUSE_MCP_TYPESCRIPT_SDK") or _MADE)


@pytest.mark.skipif(NODE is None, reason="node is not on PATH")
@pytest.mark.skipif(not SDK.is_dir(), reason="the TypeScript SDK is not there: make tools")
async def test_the_typescript_client_is_served_like_our_own(tmp_path: Path) -> None:
    assert NODE is not None
    script = str(Path(__file__).with_name("typescript.mjs"))
    process = await asyncio.create_subprocess_exec(
        NODE, script, str(SDK), sys.executable, "-m", "assistant", "mcp", *ON_BUNDLE,
        cwd=ROOT, env=environment(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
    assert said.pop("progress") > 0
    assert said.pop("tools") == [
        "diagnose", "explain_finding", "get_evidence", "list_sessions", "propose_change", "scan"
    ]  # fmt: skip
    assert said == {
        "server": "pilothouse", "verdict": "fault", "finding": "F1", "page": 50, "sessions": 1, "change": "open",
        "failed": True, "resource": "text/markdown", "prompt": 1,
    }  # fmt: skip
