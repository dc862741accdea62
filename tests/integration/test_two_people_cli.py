"""Two people, two homes, one change: exported, read, signed, approved; one person alone; and everything stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.terminal import Terminal
from tests.integration.test_gate_cli import IMAGE, LONG_SECONDS, PRACTICE, Gate, pilothouse, start, until

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the PATH")


def settings(home: Path, text: str) -> Path:
    path = home / "config" / "pilothouse" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str, str]:
    """The homes of grace, who asks, and ada, who is asked, with their public keys."""
    homes = [tmp_path_factory.mktemp(name) for name in ("grace", "ada")]
    keys = []
    for home in homes:
        said = pilothouse(home, "approvals", "key")
        assert said.returncode == 0, said.stderr
        keys.append(said.stdout.strip())
        assert pilothouse(home, "approvals", "key").stdout == said.stdout, "a second key"
        private = home / "config" / "pilothouse" / "approval-key"
        assert private.stat().st_mode & 0o777 == 0o600
    return homes[0], homes[1], keys[0], keys[1]


@pytest.fixture
def gate(people: tuple[Path, Path, str, str]) -> Iterator[Gate]:
    grace, _, mine, theirs = people
    settings(
        grace,
        'protected_namespaces = ["nothing-*"]\n[contexts."*"]\nfour_eyes = "all"\nbreak_glass = true\n'
        f'[contexts."elsewhere-*"]\nmode = "observe"\n[approvers]\nada = "{theirs}"\ngrace = "{mine}"\n',
    )
    for log in grace.glob("*.requests"):
        log.unlink()
    running = start(grace)
    try:
        yield running
    finally:
        running.stop()
        for client in running.clients:
            client.communicate(timeout=LONG_SECONDS)


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_colleague_reads_signs_and_the_change_is_sent(gate: Gate, people: tuple[Path, Path, str, str]) -> None:
    ada = people[1]
    client, proposal, digest = gate.hold(*IMAGE)
    card = ok(gate.pilothouse("approvals", "show", proposal))
    assert "two people" in card
    assert "nobody has agreed yet; missing: one of ada, grace" in " ".join(card.split())
    alone = gate.pilothouse("approvals", "approve", proposal, digest[:6])
    assert (alone.returncode, "A second person has to sign first" in alone.stdout) == (4, True)

    request, signed = ada / "request.json", ada / "signed.json"
    ok(gate.pilothouse("approvals", "export", proposal, "-o", str(request)))
    read = ok(pilothouse(ada, "approvals", "sign", str(request)))
    assert "5.21.0 → 5.12.0" in read
    assert f"approvals sign {request} {digest[:6]}" in read
    wrong = pilothouse(ada, "approvals", "sign", str(request), "000000", "-o", str(signed))
    assert (wrong.returncode, signed.exists()) == (2, False)
    ok(pilothouse(ada, "approvals", "sign", str(request), digest[:6], "-o", str(signed)))

    # The one who asks cannot be the second one too, and nobody can change what was signed.
    mine = gate.home / "mine.json"
    ok(gate.pilothouse("approvals", "sign", str(request), digest[:6], "-o", str(mine)))
    self_made = gate.pilothouse("approvals", "approve", proposal, digest[:6], "--second", str(mine))
    assert (self_made.returncode, "your own" in self_made.stderr) == (4, True)
    bent: dict[str, Any] = json.loads(signed.read_text())
    bent["consent"]["at"] = "2020-01-01T00:00:00Z"
    mine.write_text(json.dumps(bent))
    assert gate.pilothouse("approvals", "approve", proposal, digest[:6], "--second", str(mine)).returncode == 4
    assert gate.changed() == []
    assert client.poll() is None

    approved = ok(gate.pilothouse("approvals", "approve", proposal, digest[:6], "--second", str(signed)))
    assert "applied" in approved
    client.communicate(timeout=LONG_SECONDS)
    assert client.returncode == 0
    assert len(gate.changed()) == 1
    gate.stop()
    assert "agreed by ada" in ok(pilothouse(gate.home, "sessions", "show", "last"))


def test_one_person_alone_leaves_a_mark_everywhere(gate: Gate) -> None:
    client, proposal, digest = gate.hold(*IMAGE)
    how = ("approvals", "approve", proposal, digest[:6], "--break-glass")
    for missing in ([], ["--name", "storefront"], ["--reason", "the shop is down at night"], ["--name", "x"]):
        done = gate.pilothouse(*how, *missing)
        assert (done.returncode, "Nothing was decided" in done.stdout) == (4, True), done.stdout + done.stderr
    assert gate.changed() == []
    ok(gate.pilothouse(*how, "--name", "storefront", "--reason", "the shop is down at night"))
    client.communicate(timeout=LONG_SECONDS)
    assert client.returncode == 0
    listed = ok(gate.pilothouse("approvals", "list"))
    assert listed.startswith(f"!! {proposal}  applied  BREAK-GLASS, approved alone by")
    assert "the shop is down at night" in listed
    rows = json.loads(ok(gate.pilothouse("approvals", "list", "--format", "json")))
    assert [row["break_glass"] for row in rows] == [True]
    gate.stop()
    for command in (("show", "last"), ("list",), ("export", "last", "--format", "markdown"), ("export", "last")):
        told = ok(pilothouse(gate.home, "sessions", *command))
        assert "BREAK-GLASS" in told or '"break_glass":true' in told, command


def test_stop_ends_every_gate_at_once_and_says_so_to_who_waits(gate: Gate) -> None:
    second = start(gate.home, "two", PRACTICE / "half-scaled" / "bundle.tar.gz")
    try:
        client, proposal, digest = gate.hold(*IMAGE)
        # One that is not held by any of them must not be needed for the other.
        stopped = gate.pilothouse("approvals", "--gate", gate.ready["gate"], "stop", "--reason", "an odd agent")
        assert (stopped.returncode, "void now: 1" in stopped.stdout) == (0, True)
        assert "an odd agent" in client.communicate(timeout=LONG_SECONDS)[1]
        late = gate.pilothouse("approvals", "approve", proposal, digest[:6])
        assert (late.returncode, "void already" in late.stderr) == (2, True)
        other, waiting, _ = second.hold("scale", "deployment", "--all", "--replicas=1")
        assert ok(gate.pilothouse("approvals", "stop")).count("sends nothing more") == 2
        assert "all changes" in other.communicate(timeout=LONG_SECONDS)[1]
        again = gate.kubectl(*IMAGE)
        assert "until the gate is started anew" in again.communicate(timeout=LONG_SECONDS)[1]
        out, err = gate.kubectl("get", "pods").communicate(timeout=LONG_SECONDS)
        assert "ImagePullBackOff" in out, err
        assert gate.changed() == second.changed() == []
    finally:
        second.stop()
    assert (
        f"{proposal} VOID"
        in until(
            lambda: told if "VOID" in (told := pilothouse(gate.home, "sessions", "show", "last").stdout) else "",
            "the void",
        )
        or f"{waiting} VOID" in pilothouse(gate.home, "sessions", "show", "last").stdout
    )


@pytest.mark.parametrize(
    "broken", ['[contexts.prod]\nfour_eyes = "two"', 'protected_namespaces = "x"', '[approvers]\nada = "key"']
)
def test_a_broken_rule_starts_no_gate(tmp_path: Path, broken: str) -> None:
    settings(tmp_path, broken)
    bundle = PRACTICE / "missing-image" / "bundle.tar.gz"
    for command in (("gate", "--bundle", str(bundle)), ("scan", "--bundle", str(bundle)), ("doctor",)):
        done = pilothouse(tmp_path, *command)
        assert done.returncode == 2, done.stdout + done.stderr
    assert not list(tmp_path.rglob("journal.db"))


def test_a_lost_public_half_starts_no_gate(tmp_path: Path) -> None:
    ok(pilothouse(tmp_path, "approvals", "key"))
    (tmp_path / "config" / "pilothouse" / "approval-key.pub").unlink()
    done = pilothouse(tmp_path, "gate", "--bundle", str(PRACTICE / "missing-image" / "bundle.tar.gz"))
    assert (done.returncode, "public half" in done.stderr) == (2, True)


def test_a_key_with_a_passphrase_is_asked_for_it(people: tuple[Path, Path, str, str], tmp_path: Path) -> None:
    with Terminal("approvals", "key", home=tmp_path) as terminal:
        terminal.wait_for("Passphrase for the new key")
        terminal.press("open sesame\r")
        terminal.wait_for("Once more")
        terminal.press("open sesame\r")
        assert "ssh-ed25519" in terminal.wait_for("ssh-ed25519")
    private = (tmp_path / "config" / "pilothouse" / "approval-key").read_text()
    assert "ENCRYPTED" in private
    request = tmp_path / "request.json"
    from assistant.wire import to_builtins
    from tests.replay.course import CHANGE

    later = {**to_builtins(CHANGE), "expires": "2099-01-01T00:00:00Z"}
    request.write_text(json.dumps({"kind": "pilothouse-change", "version": 1, "proposal": later}))
    done = pilothouse(tmp_path, "approvals", "sign", str(request), CHANGE.digest[:6])
    assert (done.returncode, "passphrase" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"kind": "pilothouse-change", "version": 1, "proposal": {}}', "\x00"]
)
def test_a_file_that_is_no_request_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(text)
    done = pilothouse(tmp_path, "approvals", "sign", str(path))
    assert (done.returncode, done.stderr.startswith("error: ")) == (2, True)


def test_doctor_says_what_holds_here_and_who_said_so(gate: Gate) -> None:
    told = gate.pilothouse("doctor", "--kubeconfig", gate.ready["kubeconfig"]).stdout
    path = gate.home / "config" / "pilothouse" / "config.toml"
    assert f'policy        four_eyes = all, from [contexts."*"], {path}' in told
    assert "policy        mode = ask, from default" in told
    assert f"protected_namespaces = kube-node-lease, kube-public, kube-system, nothing-*, from {path}" in told
    assert f"approvers = ada, grace, from {path}" in told
    assert f'[contexts."elsewhere-*"], {path}: elsewhere-* is not about {gate.ready["context"]}' in told
    assert "nobody's signature counts" not in told
    settings(gate.home, 'four_eyes = "critical"\n')
    told = gate.pilothouse("doctor", "--kubeconfig", gate.ready["kubeconfig"]).stdout
    assert "asks for a second person, and nobody's signature counts" in told
    assert f"four_eyes = critical, from four_eyes, {path}" in told
