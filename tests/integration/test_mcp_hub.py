"""The Go kubernetes-mcp-server in the hub, on a recorded cluster behind the gate: reads work, changes are held."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config

from assistant.domain.proposal import Answer
from assistant.domain.toolserver import ToolClass
from assistant.gate.process import SystemClock
from assistant.tools.mcp.access import May
from assistant.tools.mcp.catalog import functions
from assistant.tools.mcp.faults import McpAccessError
from assistant.tools.mcp.hub import Hub
from assistant.tools.mcp.pins import Pins
from assistant.tools.mcp.profiles import PROFILES
from assistant.tools.mcp.servers import Server, Servers
from tests.integration.programs import MCP_SERVER, ROOT
from tests.integration.test_gate_clients import SECONDS, Pair, child

pytestmark = pytest.mark.skipif(MCP_SERVER is None, reason="kubernetes-mcp-server is not there (make tools)")
VALUE = "plain words nobody would guess"
SECRET = {"apiVersion": "v1", "kind": "Secret"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("hub")
    bundle = ROOT / "recordings" / "practice" / "bad-setting" / "bundle.tar.gz"
    cluster, served = child("assistant.cluster.server", {"bundle": str(bundle), "runtime_dir": str(folder / "cluster")})
    places = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    gate, ready = child("assistant.gate", {"kubeconfig": served["kubeconfig"], **places})
    namespace = yaml.safe_load(Path(served["kubeconfig"]).read_text())["contexts"][0]["context"]["namespace"]
    yield Pair(folder, served["kubeconfig"], ready["kubeconfig"], namespace, ready)
    for process in (gate, cluster):
        assert process.stdin
        process.stdin.close()
        assert process.wait(SECONDS) == 0


@contextlib.asynccontextmanager
async def hub(pair: Pair, tmp_path: Path, *args: str, may: May | None = None) -> AsyncIterator[Hub]:
    servers = Servers((Server("kube", str(MCP_SERVER), args, timeout_seconds=SECONDS, source="mcp.json"),))
    made = Hub(
        servers, Pins(tmp_path / "mcp-pins.json"), SystemClock(), kubeconfig=lambda name: pair.guarded,
        logs=tmp_path / "logs", environ={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, may=may,
    )  # fmt: skip
    async with asyncio.timeout(SECONDS), made:
        made.approve_server("kube", made.status()[0].digest)
        tools = await made.tools("kube")
        await made.approve_tools("kube", {tool.definition.name: tool.definition.digest for tool in tools})
        yield made


async def test_reads_need_no_yes_and_become_citations(pair: Pair, tmp_path: Path) -> None:
    async with hub(pair, tmp_path) as made:
        request = await made.prepare("kube__pods_list_in_namespace", {"namespace": pair.namespace})
        outcome = await made.call(request)
    assert request.tool.kind is ToolClass.READ
    assert outcome.ok, outcome.text
    assert outcome.citation.request == f'mcp kube pods_list_in_namespace {{"namespace":"{pair.namespace}"}}'
    assert "checkout-api" in outcome.text
    assert outcome.citation.quote


async def test_what_the_profile_calls_a_read_is_there_and_says_so_too(pair: Pair, tmp_path: Path) -> None:
    async with hub(pair, tmp_path) as made:
        tools = {tool.definition.name: tool for tool in await made.tools("kube")}
        found = await made.search("list pods of a namespace", 3)
    reads = {name for name, tool in tools.items() if tool.kind is ToolClass.READ}
    assert reads == PROFILES["kubernetes-mcp-server"].reads & tools.keys()
    assert len(reads) >= 9
    assert tools["pods_delete"].kind is ToolClass.ASK_DESTRUCTIVE
    assert tools["pods_exec"].kind is ToolClass.ASK_DESTRUCTIVE
    assert "kube__pods_list_in_namespace" in [tool.name for tool in found]
    assert len(functions(found)) == 3


async def test_no_tool_of_the_profile_says_that_it_changes_something(pair: Pair, tmp_path: Path) -> None:
    async with hub(pair, tmp_path, "--toolsets=core,config,helm,kubevirt,tekton,kiali,kcp,netobserv") as made:
        tools = {tool.definition.name: tool for tool in await made.tools("kube")}
    reads = PROFILES["kubernetes-mcp-server"].reads
    # Of contexts there is one in the guarded kubeconfig, and projects are OpenShift's: these two may be missing.
    assert reads - tools.keys() <= {"configuration_contexts_list", "projects_list"}
    for name in reads & tools.keys():
        assert tools[name].definition.hints["readOnlyHint"] is True
        assert tools[name].kind is ToolClass.READ
    assert all(tool.kind is not ToolClass.READ for name, tool in tools.items() if name not in reads)


async def test_what_an_identity_may_not_do_is_told_before_a_call(pair: Pair, tmp_path: Path) -> None:
    def may(verb: str, group: str, resource: str, namespace: str) -> bool:
        return verb in ("get", "list") and resource != "nodes"

    async with hub(pair, tmp_path, may=may) as made:
        noted = {tool.name: tool.notes for tool in (await made.look("kube")).tools}
        for name, arguments in (
            ("pods_delete", {"namespace": pair.namespace, "name": "a"}),
            ("resources_delete", {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "a"}),
            ("nodes_log", {"name": "a", "query": "kubelet"}),
        ):
            with pytest.raises(McpAccessError):
                await made.prepare(f"kube__{name}", arguments)
        listed = await made.call(await made.prepare("kube__pods_list_in_namespace", {"namespace": pair.namespace}))
    assert listed.ok
    assert noted["nodes_log"] == ("It may not get nodes.",)
    assert noted["pods_get"] == ()


async def test_its_prompts_can_be_read(pair: Pair, tmp_path: Path) -> None:
    async with hub(pair, tmp_path) as made:
        looked = await made.look("kube")
        said = await made.prompt("kube", "cluster-health-check", {"namespace": pair.namespace})
    assert "cluster-health-check" in [prompt.name for prompt in looked.prompts]
    assert looked.resources == ()
    assert said.ok
    assert said.citation.request.startswith("mcp kube prompt cluster-health-check")


async def test_a_secret_comes_back_without_its_values(pair: Pair, tmp_path: Path) -> None:
    core = client.CoreV1Api(config.new_client_from_config(config_file=pair.direct))  # type: ignore[no-untyped-call]
    meta = client.V1ObjectMeta(name="db", namespace=pair.namespace)
    secret = client.V1Secret(metadata=meta, data={"password": base64.b64encode(VALUE.encode()).decode()})
    await asyncio.to_thread(core.create_namespaced_secret, pair.namespace, secret)
    async with hub(pair, tmp_path) as made:
        asked = {**SECRET, "namespace": pair.namespace}
        listed = await made.call(await made.prepare("kube__resources_list", asked))
        got = await made.call(await made.prepare("kube__resources_get", {**asked, "name": "db"}))
    assert "db" in listed.text
    assert got.ok, got.text
    held = str(yaml.safe_load(got.text)["data"]["password"])
    assert "cGlsb3Rob3VzZS1yZWRhY3RlZDo6" in held or "REDACTED" in held
    assert base64.b64encode(VALUE.encode()).decode() not in got.text + listed.text


async def test_a_delete_needs_a_yes_here_is_held_by_the_gate_and_denied(pair: Pair, tmp_path: Path) -> None:
    async with hub(pair, tmp_path) as made:
        pods = await made.call(await made.prepare("kube__pods_list_in_namespace", {"namespace": pair.namespace}))
        pod = next(line.split()[3] for line in pods.text.splitlines() if " Pod " in " ".join(line.split()))
        request = await made.prepare("kube__pods_delete", {"namespace": pair.namespace, "name": pod})
        deleting = asyncio.create_task(made.call(request, request.digest))
        await pair.decide(Answer.DENY)
        outcome = await deleting
        there = await made.call(await made.prepare("kube__pods_get", {"namespace": pair.namespace, "name": pod}))
    assert not outcome.ok
    assert "denied" in outcome.text
    assert there.ok
    assert pod in there.text
