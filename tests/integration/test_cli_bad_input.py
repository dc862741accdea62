"""Bad input to the command line: a sentence on what it means, one on what to do, an exit code, never a traceback."""

from __future__ import annotations

import fcntl
import gzip
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.terminal import Terminal

ROOT = Path(__file__).parents[2]
FAULTY = ROOT / "recordings" / "practice" / "missing-image" / "bundle.tar.gz"
BUNDLE = ROOT / "recordings" / "practice" / "no-pods" / "bundle.tar.gz"


def run(
    home: Path, *arguments: str, before: Sequence[str] = (), limit: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PILOTHOUSE_", "KUBE"))}
    own = {"HOME": str(home), "PILOTHOUSE_STATE_DIR": str(home / "state"), "PILOTHOUSE_RUNTIME_DIR": str(home / "run")}
    return subprocess.run(
        [*before, sys.executable, "-m", "assistant", *arguments],
        cwd=ROOT, env=kept | own, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        preexec_fn=limit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (2, "no words", ("ask", "?!")),
        (2, "base_url (flag)", ("ask", "why", "--base-url", "localhost:8000")),
        (2, "practice incident", ("practice", "no-such", "--plain")),
        (4, "", ("ask", "why", "--bundle", "{home}/absent")),
        (4, "", ("ask", "why", "--bundle", "{home}/text.tar.gz")),
        (4, "", ("ask", "why", "--kubeconfig", "{home}/absent")),
        (4, "", ("ask", "why", "--kubeconfig", "{home}/text.tar.gz")),
        (4, "nowhere", ("ask", "why", "-n", "nowhere", "--bundle", str(BUNDLE))),
        (2, "", ("replay", "{home}/text.tar.gz", "--plain")),
    ],
)
def test_bad_input_is_explained(tmp_path: Path, code: int, said: str, arguments: tuple[str, ...]) -> None:
    (tmp_path / "text.tar.gz").write_text("neither a bundle: nor a kubeconfig [")
    done = run(tmp_path, *(part.replace("{home}", str(tmp_path)) for part in arguments))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr.strip().splitlines()
    assert error[0].startswith("error: ")
    assert said in error[0]
    assert len(error) >= 2, "what to do is missing"


def explained(done: subprocess.CompletedProcess[str], code: int, said: str = "") -> str:
    """Check the form of an error and return what was said."""
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("error: "), done.stderr
    assert "fault in Pilothouse" not in done.stderr
    assert len(lines) >= 2, "what to do is missing"
    assert said in done.stderr
    return done.stderr


class TestKubeconfig:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "absent" in explained(run(tmp_path, "ask", "why", "--kubeconfig", str(tmp_path / "absent")), 4)

    @pytest.mark.parametrize(
        "text", ["a: [", "", "[]", "{}", "apiVersion: v1\nkind: Config\ncurrent-context: x\n", "\x00\x01"]
    )
    def test_a_file_that_is_no_kubeconfig(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config").write_text(text)
        explained(run(tmp_path, "ask", "why", "--kubeconfig", str(tmp_path / "config")), 4)
        explained(run(tmp_path, "gate", "--kubeconfig", str(tmp_path / "config")), 4)

    def test_a_port_that_nobody_listens_on_is_told_at_once(self, tmp_path: Path) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            server = f"https://127.0.0.1:{closed.getsockname()[1]}"
        (tmp_path / "config").write_text(kubeconfig(server))
        started = time.monotonic()
        for arguments in (("ask", "why"), ("scan",), ("gate",)):
            explained(run(tmp_path, *arguments, "--kubeconfig", str(tmp_path / "config")), 4)
        assert time.monotonic() - started < 45

    def test_a_context_that_does_not_exist(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text(kubeconfig("https://127.0.0.1:1"))
        explained(run(tmp_path, "ask", "why", "--kubeconfig", str(tmp_path / "config"), "--context", "moon"), 4, "moon")


def kubeconfig(server: str) -> str:
    return f"""
apiVersion: v1
kind: Config
current-context: x
contexts: [{{name: x, context: {{cluster: x, user: x}}}}]
clusters: [{{name: x, cluster: {{server: "{server}"}}}}]
users: [{{name: x, user: {{}}}}]
"""


class TestBundle:
    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        explained(run(tmp_path, "ask", "why", "--bundle", str(tmp_path / "empty")), 4)

    def test_an_archive_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("nothing about a cluster")
        with tarfile.open(tmp_path / "foreign.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "notes.txt", "notes/notes.txt")
        explained(run(tmp_path, "ask", "why", "--bundle", str(tmp_path / "foreign.tar.gz")), 4)

    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_an_archive_that_was_cut(self, tmp_path: Path, share: float) -> None:
        whole = BUNDLE.read_bytes()
        (tmp_path / "cut.tar.gz").write_bytes(whole[: int(len(whole) * share)])
        explained(run(tmp_path, "ask", "why", "--bundle", str(tmp_path / "cut.tar.gz")), 4)


class TestRecording:
    def recording(self) -> bytes:
        first = next(iter(sorted((ROOT / "recordings" / "sessions").glob("*.jsonl*"))))
        data = first.read_bytes()
        return gzip.decompress(data) if first.suffix == ".gz" else data

    def test_a_cut_one_plays_up_to_the_cut_and_says_so(self, tmp_path: Path) -> None:
        data = self.recording()
        (tmp_path / "cut.jsonl").write_bytes(data[: len(data) // 2])
        done = run(tmp_path, "replay", str(tmp_path / "cut.jsonl"), "--plain")
        assert done.returncode == 0, done.stderr
        assert "what stands before that is played" in done.stderr
        assert "you ask" in done.stdout

    @pytest.mark.parametrize("data", [b"", b"{}\n", b"[1]\n", b"\x00\xff" * 50, b'{"a": 1}\n{"b": 2}\n'])
    def test_a_foreign_one_is_refused(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "foreign.jsonl").write_bytes(data)
        explained(run(tmp_path, "replay", str(tmp_path / "foreign.jsonl"), "--plain"), 2)


def answers_unrecorded(
    home: Path, why: str, before: Sequence[str] = (), limit: Callable[[], None] | None = None
) -> None:
    """Check that a question is answered without a store, that this is said, and that no change can come of it."""
    done = run(home, "ask", "why", "--bundle", str(FAULTY), before=before, limit=limit)
    assert done.returncode == 0, done.stderr
    assert "web-frontend:5.21.0" in done.stdout
    assert "This session is not recorded" in done.stderr
    assert why in done.stderr
    refused = run(home, "ask", "why", "--propose", "--bundle", str(FAULTY), before=before, limit=limit)
    assert refused.returncode == 4, refused.stderr + refused.stdout
    assert "cannot be recorded" in refused.stderr
    assert "--resume" not in refused.stdout


class TestSessionStore:
    def stored(self, home: Path) -> Path:
        done = run(home, "scan", "--bundle", str(BUNDLE))
        assert done.returncode in (0, 1), done.stderr
        return home / "state" / "sessions.db"

    def test_held_by_another_process(self, tmp_path: Path) -> None:
        path = self.stored(tmp_path)
        with path.with_name("sessions.db.lock").open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answers_unrecorded(tmp_path, "Another process")
            assert run(tmp_path, "sessions", "list").returncode == 0, "reading needs no lock"
        assert len(run(tmp_path, "sessions", "list").stdout.splitlines()) == 1

    def test_damaged(self, tmp_path: Path) -> None:
        path = self.stored(tmp_path)
        path.write_bytes(b"no database" * 100)
        for name in ("sessions.db-wal", "sessions.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
        answers_unrecorded(tmp_path, "damaged")
        for action in (("list",), ("show", "last"), ("verify",)):
            explained(run(tmp_path, "sessions", *action), 4, "damaged")
        assert path.read_bytes() == b"no database" * 100, "a damaged file is left for whoever repairs it"

    def test_written_by_a_newer_version(self, tmp_path: Path) -> None:
        path = self.stored(tmp_path)
        with sqlite3.connect(path) as database:
            database.execute(
                "insert into _sqlite_migrations(migration_set, name, applied_at) values ('sessions', '999_x', '2099')"
            )
        database.close()
        answers_unrecorded(tmp_path, "newer version")
        explained(run(tmp_path, "sessions", "list"), 4, "newer version")

    def test_no_space_left(self, tmp_path: Path) -> None:
        def small() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

        answers_unrecorded(tmp_path, "sessions.db", limit=small)

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        before: tuple[str, ...] = ()
        if os.geteuid() == 0:
            # Modes mean nothing to root unless it gives up the right to pass them by.
            setpriv = shutil.which("setpriv")
            if setpriv is None:
                pytest.skip("runs as root, and setpriv is not there to drop CAP_DAC_OVERRIDE")
            less = "-dac_override,-dac_read_search"
            before = (setpriv, "--bounding-set", less, "--inh-caps", less)
            if subprocess.run([*before, "true"], check=False).returncode:
                pytest.skip("runs as root, and capabilities cannot be dropped here")
        (tmp_path / "run").mkdir(mode=0o700)
        (tmp_path / "state").mkdir(mode=0o500)
        try:
            answers_unrecorded(tmp_path, "cannot be opened for writing", before)
            assert list((tmp_path / "state").iterdir()) == []
        finally:
            (tmp_path / "state").chmod(0o700)


class TestTinyTerminal:
    def test_20_by_5_says_one_sentence_and_grows(self, tmp_path: Path) -> None:
        with Terminal("--bundle", str(BUNDLE), home=tmp_path, columns=20, rows=5) as terminal:
            terminal.wait_for(r"(?s)Too small")
            terminal.resize(80, 24)
            # Something that has no room at 20x5, so that the program has really grown before it shrinks again.
            terminal.wait_for("ctrl.q quit")
            terminal.resize(20, 5)
            terminal.wait_for(r"(?s)Too small")
            terminal.press("ctrl+q")
            assert terminal.wait_end() == 0

    def test_the_list_of_incidents_survives_being_squeezed(self, tmp_path: Path) -> None:
        with Terminal("practice", home=tmp_path) as terminal:
            terminal.wait_for("Practice on a recorded cluster")
            for columns, rows in ((20, 5), (80, 24), (2, 1), (80, 24)):
                terminal.resize(columns, rows)
            terminal.wait_for("Practice on a recorded cluster")
            terminal.press("ctrl+q")
            assert terminal.wait_end() == 0
