"""A session whose model uses the Go kubernetes-mcp-server: it reads, a person is asked, and the gate holds changes.

The cluster is a recorded one, the gate and the server are real processes, the model is scripted behind a socket.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from assistant.backend import practice_place
from assistant.config import load
from assistant.domain import event as ev
from assistant.domain.proposal import Answer, ProposalState
from assistant.domain.toolserver import ServerState, Standing
from assistant.practice import incident
from assistant.session.asking import NOBODY
from assistant.session.runner import Session
from assistant.wiring import Work, open_work
from tests.integration.programs import MCP_SERVER
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Says, Server, serving

pytestmark = pytest.mark.skipif(MCP_SERVER is None, reason="kubernetes-mcp-server is not there (make tools)")
SECONDS = 90
QUESTION = "Points are not shown in the app; the loyalty pods are all green."
VALUE = "plain words nobody would guess"
POD = "loyalty-api-"


@dataclass
class Scene:
    work: Work
    model: Server
    folder: Path

    @property
    def session(self) -> Session:
        return self.work.session

    async def until(self, condition: Any) -> Any:
        async with asyncio.timeout(SECONDS):
            while True:
                change = self.session._recorder.next_change
                if found := condition():
                    return found
                await change.wait()

    async def ask(self, *said: list[tuple[str, dict[str, Any]]]) -> None:
        """Ask; the model makes these calls one after the other and then answers as a competent one does."""
        left = list(said)

        def think(request: Mapping[str, Any]) -> Says:
            return calls(*left.pop(0)) if left else calls(*competent.reply(request, looks=False))

        self.model.think = think
        await self.session.ask(QUESTION)

    def requests(self) -> list[str]:
        lines = (json.loads(line) for line in (self.folder / "requests").read_text().splitlines())
        return [f"{each['method']} {each['path']}?{each['query']}" for each in lines]


@asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    file = tmp_path / "mcp.json"
    entry = {"command": MCP_SERVER, "timeoutSeconds": 60}
    file.write_text(json.dumps({"mcpServers": {"kube": entry}}))
    chosen = practice_place(incident("lost-points"))
    async with serving() as model:
        flags = {
            "state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run"), "mcp_config": str(file),
            "model": "openai/scripted", "base_url": model.url,
        }  # fmt: skip
        settings = load(flags, {}, tmp_path / "none")
        work = await open_work(settings, chosen)
        try:
            yield Scene(work, model, tmp_path)
        finally:
            await work.close()


async def approve(made: Scene) -> None:
    servers = made.session.servers
    assert servers is not None
    (before,) = servers.servers()
    assert (before.standing, before.state) == (Standing.NEW, ServerState.OFF)
    await servers.approve_server("kube", before.digest)
    shown = await servers.look("kube")
    assert shown.state is ServerState.READY
    await servers.approve_tools("kube", {tool.name: tool.digest for tool in shown.tools})


def create_secret(made: Scene, namespace: str, name: str) -> None:
    recorded = made.work.backend._recorded
    assert recorded is not None
    path = str(recorded.ready["kubeconfig"])
    core = client.CoreV1Api(config.new_client_from_config(config_file=path))  # type: ignore[no-untyped-call]
    meta = client.V1ObjectMeta(name=name, namespace=namespace)
    data: dict[str, bytes | str] = {"password": base64.b64encode(VALUE.encode()).decode()}
    core.create_namespaced_secret(namespace, client.V1Secret(metadata=meta, data=data))


FIND = [("find_tools", {"words": "list pods in a namespace"})]


async def test_a_server_that_nobody_approved_is_not_started_and_not_told_of(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        await made.ask(FIND)
        await made.session.settled()
        names = [each["function"]["name"] for each in made.model.asked[0]["tools"]]
        assert "find_tools" not in names
        assert made.work.servers is not None
        assert made.work.servers.servers()[0].state is ServerState.OFF
        assert made.session.case.answer is not None


async def test_the_diagnoser_reads_and_a_delete_is_asked_about_held_by_the_gate_and_denied(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        session, asking = made.session, made.session.asking
        namespace = session.case.namespace
        asking.attended = True
        await approve(made)
        reader = made.work.backend.client
        pods = (await reader.list(f"/api/v1/namespaces/{namespace}/pods")).items
        pod = str(pods[0]["metadata"]["name"])
        await made.ask(
            FIND, [("kube__pods_list_in_namespace", {"namespace": namespace})],
            [("find_tools", {"words": "delete a pod"})], [("kube__pods_delete", {"namespace": namespace, "name": pod})],
        )  # fmt: skip
        (held,) = await made.until(lambda: session.case.held_calls)
        assert held.destructive
        assert any(pod in line for line in held.lines)
        read = next(call for call in session.case.calls if call.request == "mcp kube pods_list_in_namespace")
        assert read.ok, "a read needs no yes"
        fact = session.case.fact(read.evidence[0])
        assert fact is not None
        assert pod in session.body(fact.body)
        asking.decide(held.call, held.digest, True)
        # The yes was to the tool. What it then does to the cluster is the gate's to ask about.
        (waiting,) = await made.until(lambda: session.case.waiting)
        assert waiting.proposal.origin.token == "mcp-kube"
        assert waiting.proposal.action.method == "DELETE"
        assert await session.decide(waiting.proposal.id, Answer.DENY, "not this one") is ProposalState.DENIED
        await session.settled()
        deleted = next(call for call in session.case.calls if call.request == "mcp kube pods_delete")
        assert "denied" in session.body(session.case.fact(deleted.evidence[0]).body)  # type: ignore[union-attr]
        assert (await reader.get_json(f"/api/v1/namespaces/{namespace}/pods/{pod}"))["metadata"]["name"] == pod
        assert session.case.answer is not None
        assert session.case.answer.mind == "openai/scripted"
        assert not any(kind == "error_raised" for kind in (each.kind for each in session.events))
        await session.stop("done")
    status = [line for line in (tmp_path / "state" / "logs").iterdir() if line.name == "mcp-kube.log"]
    assert status, "what the server says on its standard error is kept"


async def test_where_nobody_is_there_nothing_but_reads_is_called(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        session = made.session
        await approve(made)
        find = [("find_tools", {"words": "delete a pod"})]
        await made.ask(find, [("kube__pods_delete", {"namespace": session.case.namespace, "name": "x"})])
        await session.settled()
        decided = [each.payload for each in session.events if isinstance(each.payload, ev.CallDecided)]
        assert [(each.allowed, each.reason) for each in decided] == [(False, NOBODY)]
        assert session.case.waiting == () or all(
            item.proposal.origin.kind != "client" for item in session.case.waiting
        ), "the server was never called"


async def test_a_secret_that_it_reads_comes_back_without_its_value(tmp_path: Path) -> None:
    async with scene(tmp_path) as made:
        session = made.session
        namespace = session.case.namespace
        await approve(made)
        name = "db"
        await asyncio.to_thread(create_secret, made, namespace, name)
        about = {"apiVersion": "v1", "kind": "Secret", "namespace": namespace, "name": name}
        await made.ask([("find_tools", {"words": "get a resource"})], [("kube__resources_get", about)])
        await session.settled()
        call = next(call for call in session.case.calls if call.request == "mcp kube resources_get")
        assert call.ok
        text = session.body(session.case.fact(call.evidence[0]).body)  # type: ignore[union-attr]
        assert name in text
        assert "REDACTED" in text or base64.b64encode(b"pilothouse-redacted").decode()[:20] in text
        assert base64.b64encode(VALUE.encode()).decode() not in text
