"""The gate from the command line: kubectl asks, a person decides in another terminal, the API server sees only that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.integration.terminal import Terminal, private_environment

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on the PATH")
T = TypeVar("T")
PRACTICE = Path(__file__).resolve().parents[2] / "recordings" / "practice"
BUNDLE = PRACTICE / "missing-image" / "bundle.tar.gz"
NAMESPACE = "storefront-web"
IMAGE = ("set", "image", "deployment/storefront", "web=docker.io/acme/web-frontend:5.12.0")
LONG_SECONDS = 30.0


def until(found: Callable[[], T], what: str, seconds: float = LONG_SECONDS) -> T:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


@dataclass
class Gate:
    """A running `pilothouse gate` over a recorded cluster, and the clients in front of it."""

    home: Path
    process: subprocess.Popen[str]
    ready: dict[str, Any]
    requests: Path
    clients: list[subprocess.Popen[str]] = field(default_factory=list)

    def pilothouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return pilothouse(self.home, *arguments)

    def kubectl(self, *arguments: str) -> subprocess.Popen[str]:
        """Start kubectl with the guarded kubeconfig; it waits for as long as its change is held."""
        assert KUBECTL is not None
        client = subprocess.Popen(
            [KUBECTL, "--kubeconfig", self.ready["kubeconfig"], *arguments],
            env=private_environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in its background ignores interrupts, and so would every child.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.clients.append(client)
        return client

    def listed(self, state: str = "open") -> list[dict[str, object]]:
        said = self.pilothouse("approvals", "list", "--format", "json")
        assert said.returncode == 0, said.stderr
        return [row["proposal"] for row in json.loads(said.stdout) if row["state"] == state]

    def hold(self, *arguments: str) -> tuple[subprocess.Popen[str], str, str]:
        """Run kubectl until its change is held; return it with the id and the digest of the proposal."""
        before = {item["id"] for item in self.listed()}
        client = self.kubectl(*arguments)
        new = until(lambda: [item for item in self.listed() if item["id"] not in before], "a held change")
        return client, str(new[0]["id"]), str(new[0]["digest"])

    def changed(self) -> list[dict[str, Any]]:
        """Return the requests that the API server would have carried out."""
        asked = [json.loads(line) for line in self.requests.read_text().splitlines()]
        reviews = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")
        return [
            item
            for item in asked
            if item["method"] != "GET" and "dryRun=All" not in item["query"] and not item["path"].startswith(reviews)
        ]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LONG_SECONDS)

    def children(self) -> list[int]:
        return children_of(self.process.pid)


def pilothouse(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        env=private_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def start(home: Path, name: str = "one", bundle: Path = BUNDLE, *clients: str) -> Gate:
    out, log = home / f"{name}.kubeconfig", home / f"{name}.requests"
    places: tuple[str, ...] = ("--bundle", str(bundle), "--kubeconfig-out", str(out), "--request-log", str(log))
    places += tuple(word for client in clients for word in ("--client", client))
    process = subprocess.Popen(
        [sys.executable, "-m", "assistant", "gate", *places],
        env=private_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return Gate(home, process, json.loads(line), log)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    running = start(tmp_path)
    try:
        yield running
    finally:
        running.stop()
        for client in running.clients:
            client.communicate(timeout=LONG_SECONDS)


def test_reads_pass_and_the_ready_line_says_what_a_script_needs(gate: Gate) -> None:
    out, err = gate.kubectl("get", "pods").communicate(timeout=LONG_SECONDS)
    assert "ImagePullBackOff" in out, err
    assert gate.ready["ready"] is True
    assert gate.ready["namespace"] == NAMESPACE
    assert oct(Path(gate.ready["kubeconfig"]).stat().st_mode & 0o777) == "0o600"
    assert gate.pilothouse("approvals", "list").stdout == "Nothing waits.\n"


def test_a_denied_delete_is_never_sent_and_kubectl_tells_the_reason(gate: Gate) -> None:
    pods = gate.kubectl("get", "pods", "-o", "name").communicate(timeout=LONG_SECONDS)[0].split()
    client, proposal, _ = gate.hold("delete", pods[0])
    listed = gate.pilothouse("approvals", "list").stdout
    assert f"delete Pod {NAMESPACE}/{pods[0].removeprefix('pod/')}" in listed
    assert "asked by kubectl/" in listed
    shown = gate.pilothouse("approvals", "show", proposal).stdout
    assert "state: open" in shown
    assert client.poll() is None, "kubectl did not wait"
    denied = gate.pilothouse("approvals", "deny", proposal, "--reason", "not at this hour")
    assert denied.returncode == 0, denied.stderr
    err = client.communicate(timeout=LONG_SECONDS)[1]
    assert client.returncode == 1
    assert "not at this hour" in err
    assert gate.changed() == []
    assert any(json.loads(line)["method"] == "DELETE" for line in gate.requests.read_text().splitlines()), "no dry run"

    again = gate.pilothouse("approvals", "deny", proposal)
    assert (again.returncode, "denied already" in again.stderr) == (2, True)
    assert gate.stop() == 0
    told = pilothouse(gate.home, "sessions", "show", "last").stdout
    assert "not at this hour" in told
    assert "DENIED by" in told
    assert "gate for other tools" in pilothouse(gate.home, "sessions", "list").stdout
    assert pilothouse(gate.home, "sessions", "verify").returncode == 0


def test_an_approved_change_is_sent_once_and_kubectl_succeeds(gate: Gate) -> None:
    client, proposal, digest = gate.hold(*IMAGE)
    text = gate.pilothouse("approvals", "list").stdout
    assert "set image of container web in Deployment storefront-web/storefront: 5.21.0 → 5.12.0" in text
    for wrong in ("000000", digest[:5], ""):
        refused = gate.pilothouse("approvals", "approve", proposal, wrong)
        assert (refused.returncode, "digest" in refused.stderr) == (2, True)
    assert gate.changed() == []
    approved = gate.pilothouse("approvals", "approve", proposal, digest[:6])
    assert approved.returncode == 0, approved.stderr
    assert "applied" in approved.stdout
    out, err = client.communicate(timeout=LONG_SECONDS)
    assert client.returncode == 0, err
    assert "image updated" in out
    assert [(item["method"], item["status"]) for item in gate.changed()] == [("PATCH", 200)]
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    now = gate.kubectl("get", "deployment", "storefront", "-o", image).communicate(timeout=LONG_SECONDS)[0]
    assert now == "docker.io/acme/web-frontend:5.12.0"
    assert gate.pilothouse("approvals", "approve", proposal, digest[:6]).returncode == 2
    assert len(gate.changed()) == 1
    gate.stop()
    told = pilothouse(gate.home, "sessions", "show", "last").stdout
    assert "APPROVED by" in told
    assert "APPLIED" in told


def test_a_critical_change_needs_the_name_typed(gate: Gate) -> None:
    client, proposal, digest = gate.hold("delete", "namespace", NAMESPACE, "--wait=false")
    for name in ("", "storefront", NAMESPACE.upper()):
        refused = gate.pilothouse("approvals", "approve", proposal, digest[:6], "--name", name)
        assert (refused.returncode, "name" in refused.stderr) == (2, True)
    assert gate.changed() == []
    approved = gate.pilothouse("approvals", "approve", proposal, digest[:6], "--name", NAMESPACE)
    assert approved.returncode == 0, approved.stderr + approved.stdout
    client.communicate(timeout=LONG_SECONDS)
    assert [item["method"] for item in gate.changed()] == ["DELETE"]


def test_an_unknown_id_and_an_unknown_gate_are_said(gate: Gate) -> None:
    unknown = gate.pilothouse("approvals", "show", "P00000000")
    assert (unknown.returncode, "approvals list" in unknown.stderr) == (2, True)
    other = gate.pilothouse("approvals", "--gate", "ffff", "list")
    assert other.returncode == 4
    assert gate.ready["gate"] in other.stderr


def test_an_interrupted_client_takes_its_change_back(gate: Gate) -> None:
    client, proposal, digest = gate.hold(*IMAGE)
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=LONG_SECONDS)
    until(lambda: not gate.listed(), "withdrawn")
    assert [item["id"] for item in gate.listed("withdrawn")] == [proposal]
    late = gate.pilothouse("approvals", "approve", proposal, digest[:6])
    assert (late.returncode, "withdrawn" in late.stderr) == (2, True)
    assert gate.changed() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_and_tells_who_waits(gate: Gate, number: int) -> None:
    client, proposal, _ = gate.hold(*IMAGE)
    children = gate.children()
    assert len(children) == 2
    assert gate.stop(number) == 0
    err = client.communicate(timeout=LONG_SECONDS)[1]
    assert "The gate was stopped" in err
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert gate.changed() == []
    assert not list((gate.home / "run").rglob("*.json"))
    assert not Path(gate.ready["kubeconfig"]).exists()
    told = pilothouse(gate.home, "sessions", "show", "last").stdout
    assert f"{proposal} WITHDRAWN" in told


def test_kill_9_of_the_command_leaves_no_orphan(gate: Gate) -> None:
    children = gate.children()
    gate.stop(signal.SIGKILL)
    until(lambda: not [pid for pid in children if alive(pid)], "the children's end")
    said = gate.pilothouse("approvals", "list")
    assert (said.returncode, said.stdout) == (0, "No gate is running here.\n")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_kill_9_of_the_gate_process_voids_what_waits_and_its_files_go(gate: Gate) -> None:
    client, proposal, _ = gate.hold(*IMAGE)
    folder = gate.home / "run" / "pilothouse" / "gates"
    dead = folder / f"{gate.ready['gate']}.json"
    os.kill(json.loads(dead.read_text())["pid"], signal.SIGKILL)
    err = client.communicate(timeout=LONG_SECONDS)[1]
    assert client.returncode == 1, err
    until(lambda: [path for path in folder.glob("*.json") if path != dead], "another gate in its place")
    assert not dead.exists()
    assert gate.pilothouse("approvals", "list").stdout == "Nothing waits.\n"
    out, err = gate.kubectl("get", "pods").communicate(timeout=LONG_SECONDS)
    assert "ImagePullBackOff" in out, err
    assert gate.changed() == []
    gate.stop()
    assert f"{proposal} VOID" in pilothouse(gate.home, "sessions", "show", "last").stdout


def test_stale_and_foreign_files_are_no_gates(gate: Gate) -> None:
    folder = gate.home / "run" / "pilothouse" / "gates"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    living = json.loads((folder / f"{gate.ready['gate']}.json").read_text())
    (folder / "aaaa.json").write_text(json.dumps({**living, "pid": gone.pid}))
    (folder / "bbbb.json").write_text("{")
    # A process of this number lives again, but it is no gate.
    (folder / "cccc.json").write_text(json.dumps({**living, "pid": os.getpid(), "control_url": "https://127.0.0.1:9"}))
    said = gate.pilothouse("approvals", "list")
    assert (said.returncode, said.stdout) == (0, "Nothing waits.\n")
    assert "cccc" in said.stderr
    second = start(gate.home, "two")
    try:
        assert not (folder / "aaaa.json").exists()
        assert (folder / f"{gate.ready['gate']}.json").exists()
    finally:
        second.stop()


def test_several_gates_are_told_apart(gate: Gate) -> None:
    second = start(gate.home, "two", PRACTICE / "half-scaled" / "bundle.tar.gz")
    try:
        client, proposal, _ = gate.hold(*IMAGE)
        other, wrong, _ = second.hold("scale", "deployment", "--all", "--replicas=1")
        assert len(gate.pilothouse("approvals", "list").stdout.splitlines()) >= 2
        mine = gate.pilothouse("approvals", "--gate", gate.ready["gate"][:6], "list").stdout
        assert proposal in mine
        assert wrong not in mine
        assert gate.pilothouse("approvals", "--gate", gate.ready["gate"], "deny", wrong).returncode == 2
        assert gate.pilothouse("approvals", "deny", proposal).returncode == 0
        client.communicate(timeout=LONG_SECONDS)
        assert other.poll() is None
        other.kill()
        other.communicate(timeout=LONG_SECONDS)
    finally:
        second.stop()


def test_a_person_decides_in_the_terminal_of_the_gate(tmp_path: Path) -> None:
    assert KUBECTL is not None
    out = tmp_path / "guarded.kubeconfig"
    arguments = ("gate", "--bundle", str(BUNDLE), "--kubeconfig-out", str(out))
    with Terminal(*arguments, home=tmp_path, columns=150, rows=60) as terminal:
        terminal.wait_for("Held changes appear here")
        assert f"export KUBECONFIG={out}" in terminal.text().replace("\n", "")
        command = [KUBECTL, "--kubeconfig", str(out), *IMAGE]
        environment = private_environment(tmp_path)
        client = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        screen = terminal.wait_for(r"Type: approve P[0-9a-f]{8} [0-9a-f]{6}")
        assert "5.21.0 → 5.12.0" in screen
        proposal = screen.partition("change: ")[2].partition(":")[0]
        terminal.press("approve P00000000 000000\r")
        terminal.wait_for("There is no change")
        terminal.press(f"approve {proposal} 000000\r")
        terminal.wait_for("not the one of this change")
        terminal.press(f"deny {proposal} wait for the morning\r")
        terminal.wait_for("DENIED by")
        assert "wait for the morning" in client.communicate(timeout=LONG_SECONDS)[1]

        client = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        screen = terminal.wait_for(r"(?s)wait for the morning.*Type: approve P[0-9a-f]{8} [0-9a-f]{6}")
        proposal = screen.rpartition("change: ")[2].partition(":")[0]
        digest = screen.rpartition(f"Type: approve {proposal} ")[2][:6]
        terminal.press(f"approve {proposal} {digest}\r")
        terminal.wait_for("APPLIED")
        client.communicate(timeout=LONG_SECONDS)
        assert client.returncode == 0
        terminal.press("quit\r")
        assert terminal.wait_end() == 0
    assert pilothouse(tmp_path, "sessions", "verify").returncode == 0


def test_a_card_that_was_cut_is_read_before_it_is_approved(tmp_path: Path) -> None:
    assert KUBECTL is not None
    editor = tmp_path / "editor.kubeconfig"
    arguments = ("gate", "--bundle", str(BUNDLE), "--client", f"editor={editor}")
    with Terminal(*arguments, home=tmp_path, columns=80, rows=24) as terminal:
        screen = terminal.wait_for("Held changes appear here")
        assert "# editor" in screen
        assert "{" not in screen, "a person got the line for scripts"
        command = [KUBECTL, "--kubeconfig", str(editor), "delete", "deployment", "storefront", "--wait=false"]
        client = subprocess.Popen(command, env=private_environment(tmp_path), stderr=subprocess.PIPE, text=True)
        screen = terminal.wait_for(r"more lines: show P")
        # The whole card is on this small screen at once, from its first line to its last.
        assert screen.index("change: P") < screen.index("kubeconfig editor") < screen.index("risk: ")
        assert f"pid {client.pid}" in " ".join(screen.split())
        proposal = screen.partition("change: ")[2].partition(":")[0]
        terminal.press(f"approve {proposal} 000000\r")
        terminal.wait_for("not the one of this change")
        said = pilothouse(tmp_path, "approvals", "list", "--format", "json").stdout
        digest = json.loads(said)[0]["proposal"]["digest"][:6]
        assert digest not in pilothouse(tmp_path, "approvals", "list").stdout
        assert "with kubeconfig editor" in pilothouse(tmp_path, "approvals", "list").stdout
        terminal.press(f"approve {proposal} {digest}\r")
        terminal.wait_for(f"(?s)was cut to fit the screen.*show\\s+{proposal}")
        terminal.press(f"show {proposal}\r")
        terminal.wait_for(rf"Type: approve {proposal} {digest}")
        terminal.press(f"approve {proposal} {digest}\r")
        terminal.wait_for("APPLIED")
        client.communicate(timeout=LONG_SECONDS)
        assert client.returncode == 0
        terminal.press("quit\r")
        assert terminal.wait_end() == 0
    assert not editor.exists()


def test_verify_names_what_was_changed_in_session_and_journal(gate: Gate) -> None:
    client, proposal, digest = gate.hold(*IMAGE)
    assert (
        f"pilothouse approvals approve {proposal} {digest[:6]}" in gate.pilothouse("approvals", "show", proposal).stdout
    )
    assert gate.pilothouse("approvals", "approve", proposal, digest[:6]).returncode == 0
    client.communicate(timeout=LONG_SECONDS)
    gate.stop()
    heads = gate.home / "heads.json"
    whole = pilothouse(gate.home, "sessions", "verify", "--export-heads", str(heads))
    assert whole.returncode == 0, whole.stdout
    assert "1 of 1 approved cards drawn again alike" in whole.stdout
    assert "journal  holds: 5 entries, " in whole.stdout
    assert "heads in session logs agree" in whole.stdout
    assert pilothouse(gate.home, "sessions", "verify", "--against", str(heads)).returncode == 0

    (store,) = gate.home.rglob("sessions.db")
    journal = store.with_name("journal.db")
    for path, sql, said in (
        (journal, "UPDATE entries SET data = replace(data, 'root', 'toor') WHERE kind = 'decided'",
         "journal  BROKEN at entry 2, changed"),
        (journal, "DELETE FROM entries WHERE kind = 'outcome'; UPDATE head SET entries = 4, hash ="
         " (SELECT hash FROM entries WHERE seq = 4)", "journal  BROKEN at entry 5, cut off"),
        (store, "UPDATE events SET data = replace(data, 'approve', 'approvE') WHERE kind = 'decided'",
         "BROKEN at event"),
        (store, "UPDATE sessions SET result = 'fixed'", "result in the list of sessions"),
    ):  # fmt: skip
        before = path.read_bytes()
        with closing(sqlite3.connect(path)) as raw, raw:
            found = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for (name,) in found:
                raw.execute(f"DROP TRIGGER {name}")
            for part in sql.split(";"):
                raw.execute(part)
        broken = pilothouse(gate.home, "sessions", "verify")
        assert (broken.returncode, said in broken.stdout) == (1, True), broken.stdout
        path.write_bytes(before)
    assert pilothouse(gate.home, "sessions", "verify").returncode == 0
    # Everything gone at once shows against the heads that were kept.
    store.unlink()
    journal.unlink()
    gone = pilothouse(gate.home, "sessions", "verify", "--against", str(heads))
    assert gone.returncode == 1, gone.stdout
    assert "journal  BROKEN at entry 1, cut off" in gone.stdout


@pytest.mark.parametrize("client", ["editor", "=x", "editor=", "session={f}", "Big={f}"])
def test_a_client_that_cannot_be_one_is_said(tmp_path: Path, client: str) -> None:
    said = pilothouse(tmp_path, "gate", "--bundle", str(BUNDLE), "--client", client.format(f=tmp_path / "x.yaml"))
    assert said.returncode in (2, 4)
    assert "NAME=FILE" in said.stderr or "cannot be the name of a client" in said.stderr
