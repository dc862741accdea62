"""The recorded cluster as a child process, and the clients that people use on it."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_server.conftest import PRACTICE, RECORDED
from tests.integration.programs import KUBECTL, MCP_SERVER

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on PATH")


class Child:
    """A started server and what it said."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assistant.cluster.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(settings) + "\n")
        self.process.stdin.flush()
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline())

    def end(self) -> int:
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(10)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(**settings: Any) -> Child:
        started.append(Child({"runtime_dir": str(tmp_path / "run"), **settings}))
        return started[-1]

    yield start
    for item in started:
        if item.process.poll() is None:
            item.end()


@pytest.fixture
def kubectl(child: Callable[..., Child], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    folder = PRACTICE / "missing-image"
    healing = {
        "after": str(folder / "after.tar.gz"),
        "heals_when": str(folder / "heals_when.yaml"),
        "heal_seconds": [0.2, 0.6],
    }
    said = child(bundle=str(folder / "bundle.tar.gz"), request_log=str(tmp_path / "requests"), **healing).said

    def run(*words: str, text: str = "", ok: bool = True) -> subprocess.CompletedProcess[str]:
        command = [KUBECTL or "", "--kubeconfig", said["kubeconfig"], "--cache-dir", str(tmp_path / "cache"), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done

    return run


def test_child_says_that_it_is_ready_and_ends_with_its_parent(child: Callable[..., Child], tmp_path: Path) -> None:
    started = child(bundle=str(RECORDED))
    kubeconfig = Path(started.said["kubeconfig"])
    assert started.said["ready"] is True and started.said["cluster"] == "recorded"
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
    assert json.loads(kubeconfig.read_text())["current-context"] == "recorded"
    assert started.end() == 0
    assert not kubeconfig.exists()


def test_child_outlives_an_interrupt_and_leaves_nothing_behind_when_terminated(child: Callable[..., Child]) -> None:
    started = child(bundle=str(RECORDED))
    started.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.process.wait(0.3)
    started.process.terminate()
    assert started.process.wait(10) == 0
    assert not Path(started.said["kubeconfig"]).exists()


@pytest.mark.parametrize(
    "settings", [{"bundle": "/nowhere/at/all"}, {"bundle": __file__}, {}, {"bundle": "x", "surprise": 1}]
)
def test_child_that_cannot_start_says_why_and_what_to_do(child: Callable[..., Child], settings: dict[str, Any]) -> None:
    started = child(**settings)
    assert started.said["ready"] is False and started.said["meaning"]
    assert started.process.wait(10) in (2, 4)


def test_start_imports_neither_the_client_nor_the_store() -> None:
    code = (
        "import sys, assistant.cluster.server.__main__;"
        "print([m for m in ('kubernetes', 'sqlite_utils', 'textual', 'langgraph', 'litellm') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@needs_kubectl
def test_kubectl_reads(kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert "ImagePullBackOff" in kubectl("get", "pods").stdout
    assert "deployment.apps/storefront" in kubectl("get", "all").stdout
    assert "5.21.0" in kubectl("describe", "pods").stdout
    assert "Failed to pull image" in kubectl("get", "events").stdout
    assert "trying and failing to pull image" in kubectl("logs", "deploy/storefront", ok=False).stderr
    assert "rollingUpdate" in kubectl("explain", "deployment.spec.strategy").stdout
    assert "clusterqueues" in kubectl("api-resources").stdout
    assert kubectl("auth", "can-i", "delete", "pods").stdout.strip() == "yes"
    denied = ("auth", "can-i", "list", "pods", "--as", "system:serviceaccount:storefront-web:default")
    assert kubectl(*denied, ok=False).stdout.strip() == "no"


@needs_kubectl
def test_kubectl_writes(kubectl: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    manifest = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: probe}
spec:
  replicas: 2
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec: {containers: [{name: c, image: "example.com/x:1", env: [{name: A, value: "1"}, {name: B, value: "2"}]}]}
"""
    kubectl("apply", "-f", "-", text=manifest)
    assert "unchanged" in kubectl("apply", "-f", "-", text=manifest).stdout
    kubectl("diff", "-f", "-", text=manifest)
    kubectl("apply", "-f", "-", text=manifest.replace('{name: A, value: "1"}, ', "").replace("x:1", "x:2"))
    env = "jsonpath={.spec.template.spec.containers[0].env[*].name}/{.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deploy", "probe", "-o", env).stdout == "B/example.com/x:2"
    conflict = kubectl("apply", "--server-side", "-f", "-", text=manifest, ok=False)
    assert 'conflict with "kubectl-client-side-apply"' in conflict.stderr
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=manifest)
    kubectl("scale", "deploy/probe", "--replicas=5")
    kubectl("set", "env", "deploy/probe", "C=3")
    kubectl("set", "image", "deploy/probe", "c=example.com/x:3")
    kubectl("rollout", "restart", "deploy/probe")
    kubectl("label", "deploy/probe", "x=y")
    kubectl("patch", "deploy", "probe", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":1}]')
    shown = "jsonpath={.spec.replicas} {.metadata.labels.x} {.spec.template.spec.containers[0].image}"
    assert kubectl("get", "deploy", "probe", "-o", shown).stdout == "1 y example.com/x:3"
    before = kubectl("get", "deploy", "probe", "-o", "yaml").stdout
    kubectl("delete", "deploy", "probe", "--dry-run=server")
    assert kubectl("get", "deploy", "probe", "-o", "yaml").stdout == before
    kubectl("delete", "deploy", "probe")
    kubectl("delete", "pod", "--all")
    assert "No resources found" in kubectl("get", "pods").stderr


@needs_kubectl
def test_kubectl_sees_the_rollout_of_a_right_fix(
    kubectl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    kubectl("set", "image", "deployment/storefront", "web=docker.io/acme/web-frontend:5.12.1")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/storefront", "--timeout=20s").stdout
    assert "2/2" in kubectl("get", "deploy").stdout
    assert "serving" in kubectl("logs", "deploy/storefront").stdout
    requests = [json.loads(line) for line in (tmp_path / "requests").read_text().splitlines()]
    writes = [item for item in requests if item["method"] not in ("GET", "HEAD")]
    assert [(item["method"], item["status"]) for item in writes] == [("PATCH", 200)]
    assert all(item["user_agent"].startswith("kubectl") for item in requests)


def test_official_python_client_lists_watches_patches_and_reads_logs(child: Callable[..., Child]) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    said = child(bundle=str(RECORDED)).said
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(said["kubeconfig"], client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as client:
        core, apps = kubernetes.client.CoreV1Api(client), kubernetes.client.AppsV1Api(client)
        pods = core.list_namespaced_pod("shop-checkout", _request_timeout=10)
        assert len(pods.items) == 2
        patch = {"spec": {"replicas": 3}}
        made = apps.patch_namespaced_deployment("checkout-api", "shop-checkout", patch, _request_timeout=10)
        assert made.spec.replicas == 3
        watch = kubernetes.watch.Watch()
        options = {"timeout_seconds": 1, "resource_version": pods.metadata.resource_version, "_request_timeout": 10}
        events = list(watch.stream(apps.list_namespaced_deployment, "shop-checkout", **options))
        assert [(event["type"], event["object"].spec.replicas) for event in events] == [("MODIFIED", 3)]
        name = pods.items[0].metadata.name
        log = core.read_namespaced_pod_log(name, "shop-checkout", container="api", tail_lines=1, _request_timeout=10)
        assert "ValueError" in log
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.read_namespaced_pod("none", "shop-checkout", _request_timeout=10)
        assert caught.value.status == 404


@pytest.mark.skipif(
    MCP_SERVER is None, reason="kubernetes-mcp-server is neither in PILOTHOUSE_KUBERNETES_MCP_SERVER nor in .tools"
)
async def test_kubernetes_mcp_server_lists_pods_and_reads_a_log(child: Callable[..., Child]) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    said = child(bundle=str(RECORDED)).said
    parameters = StdioServerParameters(command=str(MCP_SERVER), args=["--kubeconfig", said["kubeconfig"]])
    async with (
        asyncio.timeout(60),
        stdio_client(parameters) as (reader, writer),
        ClientSession(reader, writer) as session,
    ):
        await session.initialize()
        listed = await session.call_tool("pods_list_in_namespace", {"namespace": "shop-checkout"})
        text = "".join(getattr(part, "text", "") for part in listed.content)
        assert "checkout-api-" in text
        started = time.monotonic()
        events = await session.call_tool("events_list", {"namespace": "shop-checkout"})
        assert "BackOff" in "".join(getattr(part, "text", "") for part in events.content)
        assert time.monotonic() - started < 30
