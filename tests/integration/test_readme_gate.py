"""The README's worked example of the gate alone, done as it is printed there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.programs import MCP_SERVER, ROOT
from tests.integration.test_gate_cli import BUNDLE, LONG_SECONDS, NAMESPACE, pilothouse, start

README = (ROOT / "README.md").read_text()


def printed() -> dict[str, Any]:
    """Return the server of the README's `mcpServers`."""
    block = re.search(r"```json\n(\{\n  \"mcpServers\".*?)```", README, re.DOTALL)
    assert block is not None
    server: dict[str, Any] = json.loads(block[1])["mcpServers"]["kubernetes"]
    return server


def test_the_version_is_the_one_that_is_tried() -> None:
    (package,) = [word for word in printed()["args"] if word.startswith("kubernetes-mcp-server@")]
    assert f"kubernetes-mcp-server-linux-amd64@{package.partition('@')[2]}" in (ROOT / "Makefile").read_text()


@pytest.mark.skipif(
    MCP_SERVER is None, reason="kubernetes-mcp-server is neither in PILOTHOUSE_KUBERNETES_MCP_SERVER nor in .tools"
)
async def test_an_agent_scales_only_after_a_yes_and_is_named(tmp_path: Path) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    agent = tmp_path / "agent.yaml"
    gate = await asyncio.to_thread(start, tmp_path, "one", BUNDLE, f"agent={agent}")
    # What npx would start, with the arguments that it would pass on.
    assert printed()["args"][:2] == ["-y", "kubernetes-mcp-server@0.0.67"]
    arguments = [word.replace("/path/to/agent.yaml", str(agent)) for word in printed()["args"][2:]]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": "storefront"}

    async def next_held() -> dict[str, Any]:
        async with asyncio.timeout(LONG_SECONDS):
            while not (found := await asyncio.to_thread(gate.listed)):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)
        return found[0]

    try:
        assert gate.ready["clients"]["agent"] == str(agent)
        parameters = StdioServerParameters(command=str(MCP_SERVER), args=arguments)
        async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as session:
            await session.initialize()
            said = await session.call_tool("pods_list_in_namespace", {"namespace": NAMESPACE})
            assert not said.is_error
            assert "storefront-" in said.content[0].text  # type: ignore[union-attr]
            for answer, failed, word in (("deny", True, "ask me first"), ("approve", False, "replicas: 3")):
                call = asyncio.create_task(session.call_tool("resources_scale", {**target, "scale": 3}))
                held = await next_held()
                assert held["title"] == f"scale Deployment {NAMESPACE}/storefront 2 → 3"
                origin = held["origin"]
                assert (origin["kind"], origin["token"]) == ("client", "agent")
                assert origin["client"].startswith("kubernetes-mcp-server/")
                assert "kubernetes-mcp-server" in origin["process"]
                assert gate.changed() == []
                more = (held["digest"][:6],) if answer == "approve" else ("--reason", "ask me first")
                done = await asyncio.to_thread(gate.pilothouse, "approvals", answer, held["id"], *more)
                assert done.returncode == 0, done.stderr
                said = await call
                assert (bool(said.is_error), word in said.content[0].text) == (failed, True)  # type: ignore[union-attr]
        assert [item["method"] for item in gate.changed()] == ["PUT"]
    finally:
        await asyncio.to_thread(gate.stop)
    assert (await asyncio.to_thread(pilothouse, tmp_path, "sessions", "verify")).returncode == 0
