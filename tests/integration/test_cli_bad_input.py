"""Bad input to the command line: a sentence on what it means, one on what to do, an exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recordings" / "practice" / "no-pods" / "bundle.tar.gz"


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PILOTHOUSE_", "KUBE"))}
    own = {"HOME": str(home), "PILOTHOUSE_STATE_DIR": str(home / "state"), "PILOTHOUSE_RUNTIME_DIR": str(home / "run")}
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        cwd=ROOT, env=kept | own, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (2, "no words", ("ask", "?!")),
        (2, "not in this version", ("ask", "why", "--model", "x")),
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
