"""Real clients open sessions through the gate: kubectl by WebSocket and by SPDY, the official Python client."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.stream import portforward, stream

from assistant.domain.proposal import Answer, Proposal, ProposalState
from tests.gate.conftest import Lab, lab, says
from tests.gate.speaking import exec_by_spdy, exec_by_websocket, exec_for_kubectl, forward_by_channels, forward_by_spdy
from tests.gate.test_holding import held
from tests.gate.upgrading import Script, Upgrading

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH")
SECONDS = 60
PODS = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"]}
DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [PODS]},
}
WEBSOCKETS = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "true", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "true"}
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


def cluster(script: Script) -> Upgrading:
    made = Upgrading(script=script)
    made.objects.update(DISCOVERY)
    return made


async def kubectl(here: Lab, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    assert KUBECTL is not None
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        KUBECTL, "--kubeconfig", here.gate.ready["kubeconfig"], *arguments,
        stdin=pipe, stdout=pipe, stderr=pipe,
        env={"PATH": os.environ["PATH"], "HOME": str(here.folder), **environment},
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process, typed: bytes = b"") -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(typed), SECONDS)
    return process.returncode, out.decode(), err.decode()


async def asked(here: Lab) -> Proposal:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await held(here.control)
            except TimeoutError:
                continue


def targets(here: Lab) -> list[tuple[str, str]]:
    assert isinstance(here.server, Upgrading)
    return [(item.method, item.header("upgrade")) for item in here.server.opened]


@needs_kubectl
@pytest.mark.parametrize(
    ("environment", "script", "wire"),
    [(WEBSOCKETS, exec_for_kubectl, ("GET", "websocket")), (SPDY, exec_by_spdy, ("POST", "SPDY/3.1"))],
)
class TestKubectlExec:
    async def test_prints_what_the_command_says(
        self, tmp_path: Path, environment: dict[str, str], script: Script, wire: tuple[str, str]
    ) -> None:
        async with lab(tmp_path, cluster(script)) as here:
            process = await kubectl(here, "exec", "web-1", "--", "sh", "-c", "echo 'a b' | wc", **environment)
            proposal = await asked(here)
            assert proposal.title == "run in container web of Pod shop/web-1: sh -c 'echo '\"'\"'a b'\"'\"' | wc'"
            assert [line.text for line in proposal.diff if line.sign == "+"] == ["sh", "-c", "echo 'a b' | wc"]
            assert targets(here) == []
            assert await here.control.decide(says(proposal)) is ProposalState.APPROVED
            assert await ended(process) == (0, "sh|-c|echo 'a b' | wc\n", "done\n")
            assert targets(here) == [wire]

    async def test_ends_its_input_and_still_hears_the_answer(
        self, tmp_path: Path, environment: dict[str, str], script: Script, wire: tuple[str, str]
    ) -> None:
        async with lab(tmp_path, cluster(script)) as here:
            process = await kubectl(here, "exec", "-i", "web-1", "--", "tr", **environment)
            await here.control.decide(says(await asked(here)))
            typed = b"".join(b"line %d\n" % number for number in range(20_000))
            code, out, err = await ended(process, typed)
            assert (code, err) == (0, "done\n")
            assert out == "tr\n" + typed.decode().upper()
            assert targets(here) == [wire]

    async def test_is_told_of_a_no_once(
        self, tmp_path: Path, environment: dict[str, str], script: Script, wire: tuple[str, str]
    ) -> None:
        async with lab(tmp_path, cluster(script)) as here:
            process = await kubectl(here, "exec", "web-1", "--", "reboot", **environment)
            await here.control.decide(says(await asked(here), Answer.DENY, reason="not on a Friday"))
            code, _, err = await ended(process)
            assert (code, "not on a Friday" in err) == (1, True)
            assert len(await here.control.proposals()) == 1
            assert targets(here) == []


@needs_kubectl
@pytest.mark.parametrize(("environment", "wire"), [(WEBSOCKETS, ("GET", "websocket")), (SPDY, ("POST", "SPDY/3.1"))])
async def test_kubectl_forwards_a_port(tmp_path: Path, environment: dict[str, str], wire: tuple[str, str]) -> None:
    async with lab(tmp_path, cluster(forward_by_spdy)) as here:
        process = await kubectl(here, "port-forward", "pod/web-1", ":80", **environment)
        assert process.stdout is not None
        try:
            proposal = await asked(here)
            assert proposal.title == "forward any port of the pod to Pod shop/web-1"
            await here.control.decide(says(proposal))
            line = (await asyncio.wait_for(process.stdout.readline(), SECONDS)).decode()
            port = int(line.partition("127.0.0.1:")[2].split()[0])
            for words in (b"first", b"second"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(words)
                assert await asyncio.wait_for(reader.readexactly(len(words)), SECONDS) == words.upper()
                writer.close()
            assert targets(here) == [wire]
        finally:
            process.terminate()
            await process.communicate()


async def approved(here: Lab, work: Callable[[], Any]) -> Any:
    """Run a client's blocking call in a thread and say yes to what it asks for."""
    task: Awaitable[Any] = asyncio.create_task(asyncio.to_thread(work))
    await here.control.decide(says(await asked(here)))
    return await asyncio.wait_for(task, SECONDS)


def python_client(here: Lab) -> client.CoreV1Api:
    loaded = config.new_client_from_config(here.gate.ready["kubeconfig"])  # type: ignore[no-untyped-call]
    return client.CoreV1Api(loaded)


async def test_the_python_client_runs_a_command(tmp_path: Path) -> None:
    async with lab(tmp_path, cluster(exec_by_websocket)) as here:
        call = python_client(here).connect_get_namespaced_pod_exec
        text = await approved(
            here, lambda: stream(call, "web-1", "shop", command=["ls", "-l"], stderr=True, stdout=True, stdin=False)
        )
        assert text == "ls|-l\ndone\n"
        assert targets(here) == [("GET", "websocket")]


async def test_the_python_client_talks_to_a_command(tmp_path: Path) -> None:
    async with lab(tmp_path, cluster(exec_by_websocket)) as here:
        call = python_client(here).connect_get_namespaced_pod_exec

        def talk() -> str:
            session = stream(
                call, "web-1", "shop", command=["tr"], stderr=True, stdout=True, stdin=True, _preload_content=False
            )
            said = session.readline_stdout(timeout=SECONDS)
            session.write_stdin("one\n")
            session.write_stdin("end\n")
            return str(said) + str(session.readline_stdout(timeout=SECONDS))

        assert await approved(here, talk) == "trONE"


async def test_the_python_client_forwards_a_port(tmp_path: Path) -> None:
    async with lab(tmp_path, cluster(forward_by_channels)) as here:
        call = python_client(here).connect_get_namespaced_pod_portforward

        def talk() -> bytes:
            tunnel = portforward(call, "web-1", "shop", ports="8080")
            wire = tunnel.socket(8080)
            wire.settimeout(SECONDS)
            wire.sendall(b"hello")
            said: bytes = wire.recv(5)
            tunnel.close()
            return said

        assert await approved(here, talk) == b"HELLO"
        assert [proposal.title for proposal, _ in await here.control.proposals()] == [
            "forward port 8080 to Pod shop/web-1"
        ]
