"""kill -9 at every node, then another process: the turn ends as if nothing had happened, and nothing is sent twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.session.resuming import NODES

ROOT = Path(__file__).parents[2]


def run(folder: Path, kill_at: str) -> int:
    command = [sys.executable, "-m", "tests.session.resuming", str(folder), kill_at]
    return subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, check=False).returncode


@pytest.mark.parametrize("node", NODES)
def test_a_killed_turn_goes_on_in_another_process_and_sends_once(tmp_path: Path, node: str) -> None:
    assert run(tmp_path, node) == -signal.SIGKILL
    assert not (tmp_path / "end").exists()
    assert run(tmp_path, node) == 0
    reached = Counter((tmp_path / "effects").read_text().split())
    assert reached["SENT"] == 1
    assert len(list(tmp_path.glob("gate-*"))) == 1
    (only,) = json.loads((tmp_path / "end").read_text())
    assert only["state"] == "applied"
    assert only["verified"]["healing"] == "fixed"
    kinds = Counter(json.loads(line)["kind"] for line in (tmp_path / "events").open())
    assert (kinds["answered"], kinds["findings_ranked"], kinds["plan_made"]) == (1, 1, 1)
