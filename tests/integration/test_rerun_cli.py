"""`pilothouse rerun` as a person types it: compared, kept, replayed, and every slip explained."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .terminal import private_environment
from .test_gate_cli import pilothouse

RECORDINGS = Path(__file__).parents[2] / "recordings" / "sessions"
RECORDING = RECORDINGS / "bad-setting.jsonl.gz"


def test_a_file_is_compared_and_the_rerun_is_a_session_like_any_other(tmp_path: Path) -> None:
    done = pilothouse(tmp_path, "rerun", str(RECORDING))
    assert (done.returncode, done.stderr) == (0, "")
    assert "cause: the same" in done.stdout
    assert "data.DB_POOL_SIZE" in done.stdout
    assert "[rerun of 20261124-d2e58f79, recorded]" in pilothouse(tmp_path, "sessions", "list").stdout
    shown = pilothouse(tmp_path, "sessions", "show", "last")
    assert "cause: ConfigMap shop-checkout/checkout-settings" in shown.stdout
    replayed = pilothouse(tmp_path, "replay", "last", "--plain")
    assert "source rerun of 20261124-d2e58f79" in " ".join(replayed.stdout.split())
    exported = tmp_path / "again.jsonl.gz"
    assert pilothouse(tmp_path, "sessions", "export", "last", "-o", str(exported)).returncode == 0
    assert pilothouse(tmp_path, "sessions", "verify").returncode == 0
    again = pilothouse(tmp_path, "rerun", str(exported), "--format", "json", "--no-model", "--turn", "1")
    assert json.loads(again.stdout)["cause"] == "same"


# What makes a connection, sends, asks for a name or starts a program. A library that is imported makes a socket, to see
# whether there is IPv6, and sends nothing with it.
SEALED = """
import sys
OUT = (
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "os.system",
)
def refuse(name, arguments):
    if name in OUT:
        sys.stderr.write(f"TOUCHED {name} {arguments}\\n")
        raise PermissionError(name)
sys.addaudithook(refuse)
from assistant.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_whole_command_opens_no_connection_and_starts_no_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEALED, "rerun", str(RECORDING)], env=private_environment(tmp_path),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "cause: the same" in done.stdout


def test_a_stored_session_is_compared_as_json(tmp_path: Path) -> None:
    assert pilothouse(tmp_path, "rerun", str(RECORDING)).returncode == 0
    done = pilothouse(tmp_path, "rerun", "last", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert (document["version"], document["cause"], document["same_verdict"]) == (1, "same", True)
    assert document["recorded"]["session"] != document["rerun"]["session"]
    assert document["rerun"]["model_calls"] == 0


def test_a_cut_file_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    data = gzip.decompress(RECORDING.read_bytes())
    (tmp_path / "cut.jsonl").write_bytes(data[: len(data) // 2])
    done = pilothouse(tmp_path, "rerun", str(tmp_path / "cut.jsonl"))
    assert done.returncode == 0, done.stderr
    assert "what stands before that is used" in done.stderr
    assert "no answer" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("{home}/foreign.jsonl",), 4, "Line 1"),
        (("{home}/absent.jsonl",), 2, "no file"),
        ((str(RECORDING), "--turn", "7"), 2, "no turn 7"),
        ((str(RECORDING), "--turn", "0"), 2, "--turn"),
        ((str(RECORDING), "--model", "x", "--no-model"), 2, "not allowed"),
        ((str(RECORDING), "--base-url", "http://localhost"), 2, "--model"),
        ((), 2, "FILE|SESSION"),
    ],
)
def test_a_slip_is_explained_and_leaves_no_session(
    tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "foreign.jsonl").write_text("neither\n")
    done = pilothouse(tmp_path, "rerun", *(part.replace("{home}", str(tmp_path)) for part in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("sessions.db"))


def test_without_a_store_it_compares_all_the_same_and_says_that_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "state" / "pilothouse" / "sessions.db").mkdir(parents=True)
    done = pilothouse(tmp_path, "rerun", str(RECORDING))
    assert done.returncode == 0, done.stderr
    assert "cause: the same" in done.stdout and "is kept" not in done.stdout
    assert "This session is not recorded" in done.stderr
