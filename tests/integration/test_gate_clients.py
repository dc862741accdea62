"""kubectl, the official Python client and the Go MCP server read through the gate what they read without it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, watch

from assistant.domain.proposal import Answer, ProposalState
from assistant.gate.control import ControlClient
from tests.gate.conftest import says
from tests.integration.programs import KUBECTL, MCP_SERVER, ROOT

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH")
SECONDS = 60
MARK = re.compile(r"\[REDACTED:[^\]]*\]|cGlsb3Rob3VzZS1yZWRhY3RlZDo6[A-Za-z0-9+/=]*")
# What is not the same in two runs of the same command: ages, folders and times of kubectl's own.
UNSTEADY = re.compile(r"\b(?:\d+[dhms]){1,3}\b|/tmp/\S+|[0-9-]+ [0-9:.]+ \+0000|^[WE]\d{4} \S+ +\d+ ", re.MULTILINE)


@dataclass
class Pair:
    """One recorded cluster, and a gate in front of it."""

    folder: Path
    direct: str
    guarded: str
    namespace: str
    ready: dict[str, Any]

    def run(self, kubeconfig: str, *arguments: str, typed: str | None = None) -> tuple[int, str, str]:
        assert KUBECTL is not None
        home = self.folder / Path(kubeconfig).name
        done = subprocess.run(
            [KUBECTL, "--kubeconfig", kubeconfig, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            input=typed, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def start(self, kubeconfig: str, *arguments: str) -> subprocess.Popen[str]:
        assert KUBECTL is not None
        return subprocess.Popen(
            [KUBECTL, "--kubeconfig", kubeconfig, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder / Path(kubeconfig).name)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[ControlClient]:
        ready = self.ready
        async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as made:
            yield made

    async def decide(self, answer: Answer = Answer.APPROVE) -> None:
        """Say yes or no to the next change that waits."""
        async with self.control() as control, asyncio.timeout(SECONDS):
            while True:
                for proposal, state in await control.proposals():
                    if state is ProposalState.OPEN:
                        state, meaning = await control.decide_with_meaning(says(proposal, answer))
                        assert state in (ProposalState.APPROVED, ProposalState.DENIED), meaning
                        return


def child(module: str, settings: dict[str, Any]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(settings) + "\n")
    process.stdin.flush()
    return process, json.loads(process.stdout.readline())


@pytest.fixture(scope="module", params=["missing-image", "bad-setting"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp(request.param)
    bundle = ROOT / "recordings" / "practice" / request.param / "bundle.tar.gz"
    cluster, served = child("assistant.cluster.server", {"bundle": str(bundle), "runtime_dir": str(folder / "cluster")})
    places = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    gate, ready = child("assistant.gate", {"kubeconfig": served["kubeconfig"], **places})
    loaded = yaml.safe_load(Path(served["kubeconfig"]).read_text())
    namespace = loaded["contexts"][0]["context"]["namespace"]
    yield Pair(folder, served["kubeconfig"], ready["kubeconfig"], namespace, ready)
    for process in (gate, cluster):
        assert process.stdin
        process.stdin.close()
        assert process.wait(SECONDS) == 0


def steady(text: str) -> list[str]:
    """The lines of an output, in any order: equal events are sorted by an age that goes on."""
    return sorted(" ".join(UNSTEADY.sub("?", line).split()) for line in text.splitlines())


def same(guarded: str, direct: str) -> bool:
    """Say whether two outputs are the same but for values that were taken out, each of which hides a value."""
    ours, theirs = steady(guarded), steady(direct)
    if len(ours) != len(theirs):
        return False
    rest = [line for line in ours if line not in theirs]
    other = [line for line in theirs if line not in ours]
    return all(MARK.search(line) for line in rest) and len(rest) == len(other)


READS = [
    "get pods", "get pods -o wide", "get pods -o yaml", "get pods -A -o json", "get all", "get all -A",
    "get pods -o custom-columns=N:.metadata.name,I:.spec.containers[*].image", "get pods -l app=none",
    "get pods --field-selector=status.phase=Running", "get pods -A --chunk-size=2", "get nosuch", "get pod nosuch",
    "get nodes -o wide", "get rs,svc,ep", "get secrets", "get configmaps -o yaml", "get secrets -o yaml",
    "get pods -o yaml --show-managed-fields", "get events", "describe pods", "describe deployments",
    "describe nodes", "describe secrets", "explain deployment.spec.strategy", "explain pods --recursive",
    "api-resources", "api-versions", "version -o json", "cluster-info", "auth can-i --list", "auth can-i delete pods",
    "auth whoami", "top pods", "rollout history deployment", "get --raw /version", "get --raw /api/v1/namespaces",
    "get --raw /readyz?verbose",
]  # fmt: skip


def rows(output: str) -> list[str]:
    return output.split()


@needs_kubectl
class TestKubectl:
    @pytest.mark.parametrize("command", READS)
    def test_reads_the_same(self, pair: Pair, command: str) -> None:
        direct = pair.run(pair.direct, *command.split())
        guarded = pair.run(pair.guarded, *command.split())
        url, own = (
            pair.ready["data_url"],
            yaml.safe_load(Path(pair.direct).read_text())["clusters"][0]["cluster"]["server"],
        )
        assert guarded[0] == direct[0]
        for ours, theirs in zip(guarded[1:], direct[1:], strict=True):
            assert same(ours.replace(url, "URL"), theirs.replace(own, "URL")), ours
        assert direct[1] or direct[2]

    @pytest.mark.parametrize("flags", ["", "--previous", "--timestamps --since=10h", "--tail=3 --all-containers"])
    def test_reads_every_log_byte_for_byte(self, pair: Pair, flags: str) -> None:
        pods = rows(pair.run(pair.direct, "get", "pods", "-o", "name")[1])
        assert pods
        for pod in pods:
            arguments = ("logs", pod, *flags.split())
            assert pair.run(pair.guarded, *arguments) == pair.run(pair.direct, *arguments)

    def test_follows_a_log_and_a_watch_as_far(self, pair: Pair) -> None:
        pod = next(
            name for name in rows(pair.run(pair.direct, "get", "pods", "-o", "name")[1])
            if pair.run(pair.direct, "logs", name, "--tail=2")[0] == 0
        ) if "bad-setting" in str(pair.folder) else ""  # fmt: skip
        for arguments in (("get", "pods", "-w"), *([("logs", pod, "-f", "--tail=2")] if pod else [])):
            said = []
            for kubeconfig in (pair.direct, pair.guarded):
                process = pair.start(kubeconfig, *arguments)
                assert process.stdout
                said.append(steady(process.stdout.readline() + process.stdout.readline()))
                process.terminate()
                process.communicate(timeout=SECONDS)
            assert said[0] == said[1]
            assert said[0]

    @pytest.mark.parametrize(
        "command",
        [
            "rollout status {0} --watch=false", "rollout history {0}", "diff -f {1}", "diff --server-side -f {1}",
            "apply --dry-run=server -f {1}", "apply --dry-run=server --server-side --force-conflicts -f {1} -o yaml",
            "scale {0} --replicas=3 --dry-run=server", "set image {0} *=x:1 --dry-run=server",
            "patch {0} -p {{\"spec\":{{\"paused\":true}}}} --dry-run=server -o yaml", "delete {0} --dry-run=server",
            "wait {0} --for=condition=Progressing --timeout=2s", "label {0} a=b --dry-run=server -o yaml",
            "rollout restart {0} --dry-run=server",
        ],
    )  # fmt: skip
    def test_tries_the_same(self, pair: Pair, command: str) -> None:
        deployment = rows(pair.run(pair.direct, "get", "deployments", "-o", "name")[1])[0]
        file = pair.folder / "changed.yaml"
        found = yaml.safe_load(pair.run(pair.direct, "get", deployment, "-o", "yaml")[1])
        for key in ("uid", "resourceVersion", "creationTimestamp", "generation"):
            found["metadata"].pop(key, None)
        file.write_text(yaml.safe_dump({**found, "spec": {**found["spec"], "replicas": 7}, "status": None}))
        arguments = [part.format(deployment, file) for part in command.split()]
        direct, guarded = pair.run(pair.direct, *arguments), pair.run(pair.guarded, *arguments)
        assert guarded[0] == direct[0], guarded
        restarted = re.compile(r"restartedAt.*|time: .*")
        for ours, theirs in zip(guarded[1:], direct[1:], strict=True):
            assert same(restarted.sub("", ours), restarted.sub("", theirs)), ours

    async def test_changes_after_a_yes_and_says_what_it_always_says(self, pair: Pair) -> None:
        deployment = rows(pair.run(pair.direct, "get", "deployments", "-o", "name")[1])[0]
        name = deployment.partition("/")[2]
        manifest = {
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": "made", "namespace": pair.namespace},
        }  # fmt: skip
        commands: list[tuple[list[str], str, str | None]] = [
            (["scale", deployment, "--replicas=1"], f"deployment.apps/{name} scaled\n", None),
            (["annotate", deployment, "a=b"], f"deployment.apps/{name} annotated\n", None),
            (["patch", deployment, "-p", '{"spec":{"paused":true}}'], f"deployment.apps/{name} patched\n", None),
            (["rollout", "resume", deployment], f"deployment.apps/{name} resumed\n", None),
            (["apply", "-f", "-"], "configmap/made created\n", json.dumps(manifest)),
            (["apply", "-f", "-"], "configmap/made configured\n", json.dumps({**manifest, "data": {"a": "c"}})),
            (["delete", "configmap", "made"], f'configmap "made" deleted from {pair.namespace} namespace\n', None),
        ]
        for arguments, said, typed in commands:
            working = asyncio.create_task(asyncio.to_thread(pair.run, pair.guarded, *arguments, typed=typed))
            await pair.decide()
            code, out, err = await working
            assert (code, out.replace(f" from {pair.namespace} namespace", "")) == (
                0, said.replace(f" from {pair.namespace} namespace", ""),
            ), err  # fmt: skip


class TestPythonClient:
    def test_lists_and_reads_the_same(self, pair: Pair) -> None:
        answers = []
        for kubeconfig in (pair.direct, pair.guarded):
            core = client.CoreV1Api(config.new_client_from_config(kubeconfig))  # type: ignore[no-untyped-call]
            pods = core.list_namespaced_pod(pair.namespace, _request_timeout=SECONDS)
            pages = core.list_namespaced_event(pair.namespace, limit=2, _request_timeout=SECONDS)
            with pytest.raises(client.ApiException) as caught:
                core.read_namespaced_pod("none", pair.namespace, _request_timeout=SECONDS)
            answers.append((pods.to_dict(), pages.to_dict()["items"], caught.value.status, caught.value.body))
        assert same(repr(answers[1]), repr(answers[0]))
        assert answers[0][0]["items"]

    def test_watches_and_follows_the_same(self, pair: Pair) -> None:
        said = []
        for kubeconfig in (pair.direct, pair.guarded):
            core = client.CoreV1Api(config.new_client_from_config(kubeconfig))  # type: ignore[no-untyped-call]
            stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
                core.list_namespaced_pod, pair.namespace, timeout_seconds=1, _request_timeout=SECONDS
            )
            said.append([(event["type"], event["object"].metadata.uid) for event in stream])
        assert said[0] == said[1]
        assert said[0]


@pytest.mark.skipif(
    MCP_SERVER is None, reason="kubernetes-mcp-server is neither in PILOTHOUSE_KUBERNETES_MCP_SERVER nor in .tools"
)
async def test_the_go_mcp_server_answers_the_same_and_changes_nothing_without_a_yes(pair: Pair) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    @contextlib.asynccontextmanager
    async def session(kubeconfig: str) -> AsyncIterator[ClientSession]:
        parameters = StdioServerParameters(command=str(MCP_SERVER), args=["--kubeconfig", kubeconfig])
        async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as made:
            await made.initialize()
            yield made

    async def call(asked: ClientSession, tool: str, **arguments: Any) -> tuple[bool, str]:
        answer = await asked.call_tool(tool, arguments)
        return bool(answer.is_error), "".join(getattr(part, "text", "") for part in answer.content)

    pods = rows(pair.run(pair.direct, "get", "pods", "-o", "name")[1]) if KUBECTL else []
    pod = pods[0].partition("/")[2] if pods else ""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("pods_list_in_namespace", {"namespace": pair.namespace}),
        ("pods_get", {"namespace": pair.namespace, "name": pod}),
        ("pods_log", {"namespace": pair.namespace, "name": pod}),
        ("events_list", {"namespace": pair.namespace}),
        ("namespaces_list", {}),
        ("resources_list", {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": pair.namespace}),
        ("resources_list", {"apiVersion": "v1", "kind": "ConfigMap", "namespace": pair.namespace}),
    ]
    async with asyncio.timeout(SECONDS), session(pair.direct) as direct, session(pair.guarded) as guarded:
        for tool, arguments in calls:
            theirs, ours = await call(direct, tool, **arguments), await call(guarded, tool, **arguments)
            assert ours[0] is theirs[0], ours
            assert same(ours[1], theirs[1]), tool
            assert theirs[1]
        began = time.monotonic()
        deleting = asyncio.create_task(call(guarded, "pods_delete", namespace=pair.namespace, name=pod))
        await pair.decide(Answer.DENY)
        failed, text = await deleting
        assert (failed, "grace denied it" in text) == (True, True), text
        assert time.monotonic() - began < SECONDS
        assert (await call(direct, "pods_get", namespace=pair.namespace, name=pod))[0] is False
