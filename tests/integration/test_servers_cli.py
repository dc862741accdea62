"""`pilothouse servers`, as a person uses it: take over, read, approve, and see a change before it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.programs import ROOT

SCRIPT = ROOT / "tests" / "unit" / "mcp" / "servers" / "scripted.py"
BUNDLE = ROOT / "recordings" / "practice" / "lost-points" / "bundle.tar.gz"


def run(home: Path, *arguments: str, code: int = 0) -> str:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT),
        "PILOTHOUSE_STATE_DIR": str(home / "state"),
        "PILOTHOUSE_RUNTIME_DIR": str(home / "run"), "PILOTHOUSE_MCP_CONFIG": str(home / "mcp.json"),
    }  # fmt: skip
    command = [sys.executable, "-m", "assistant", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def digest(said: str) -> str:
    return said.split()[-1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    orders = {"journal": str(tmp_path / "journal"), "more": ["post", "wipe"]}
    theirs = {
        "Web Tools": {
            "command": sys.executable,
            "args": [str(SCRIPT), json.dumps(orders)],
            "env": {"KUBECONFIG": "/x"},
        },
        "old": {"type": "sse", "url": "https://example.com/sse"},
    }
    (tmp_path / "theirs.json").write_text(json.dumps({"mcpServers": theirs}))
    return tmp_path


def started(home: Path) -> int:
    journal = home / "journal"
    return journal.read_text().count('"start"') if journal.exists() else 0


def test_nothing_runs_before_it_was_read_and_approved(home: Path) -> None:
    said = run(home, "servers", "list")
    assert "No MCP server is set up" in said and "mcpServers" in said
    said = run(home, "servers", "import", "theirs.json")
    assert "env KUBECONFIG was left out" in said and "transport 'sse' is not spoken" in said
    said = run(home, "servers", "show", "web-tools")
    assert str(SCRIPT) in said and "new; once you have read it" in said
    assert "not the digest of what stands there" in run(home, "servers", "approve", "web-tools", "0" * 12, code=2)
    assert "new" in run(home, "servers", "list")
    assert started(home) == 0


def test_tools_are_approved_as_they_are_and_a_change_is_shown(home: Path) -> None:
    run(home, "servers", "import", "theirs.json", "--only", "web-tools")
    run(home, "servers", "approve", "web-tools", digest(run(home, "servers", "show", "web-tools")))
    over = ("servers", "--bundle", str(BUNDLE))
    said = run(home, *over, "show", "web-tools")
    assert "ready, speaks 2026-07-28" in said
    assert said.count(" new ") == 3 and "asks first" in said
    one = run(home, *over, "show", "web-tools/post")
    assert "says: Says what it is given." in one
    run(home, *over, "approve", "web-tools/post", digest(one))
    every = run(home, *over, "show", "web-tools/*")
    assert "2 tools; once you have read them" in every
    run(home, *over, "approve", "web-tools/*", digest(every))
    assert run(home, *over, "show", "web-tools").count(" approved ") == 3
    rows = json.loads(run(home, "servers", "list", "--format", "json"))["servers"]
    assert [(row["name"], row["standing"]) for row in rows] == [("web-tools", "approved")]
    # Another argument is another server, whatever its name.
    config = json.loads((home / "mcp.json").read_text())
    config["mcpServers"]["web-tools"]["args"].append("--quiet")
    (home / "mcp.json").write_text(json.dumps(config))
    before = started(home)
    said = run(home, *over, "show", "web-tools")
    assert "changed since it was approved" in said and "+argument 3: --quiet" in said
    assert started(home) == before
    assert "Nothing of web-tools is approved" in run(home, "servers", "forget", "web-tools")


def test_a_file_that_cannot_be_read_is_named_with_the_place(home: Path) -> None:
    (home / "mcp.json").write_text('{"mcpServers": {"x": {"command": 3}}}')
    said = run(home, "servers", "list", code=2)
    assert "mcp.json: mcpServers.x.command must be a text" in said
    assert "There is no MCP server" not in run(home, "servers", "show", "x", code=2)


def test_doctor_says_of_each_server_what_is_missing(home: Path) -> None:
    def checked() -> list[str]:
        # Without a cluster, so its exit code is the cluster's.
        return [line for line in run(home, "doctor", code=4).splitlines() if "mcp server" in line]

    assert "none is set up" in checked()[0]
    config = {"mcpServers": {
        "gone": {"command": "/no/such/program"},
        "web": {"command": sys.executable, "args": [str(SCRIPT), json.dumps({"journal": str(home / "journal")})]},
        "broken": {"command": sys.executable, "args": [str(SCRIPT), '{"fault": "crash-at-start"}']},
    }}  # fmt: skip
    (home / "mcp.json").write_text(json.dumps(config))
    gone, web, broken = checked()
    assert gone.startswith("warn") and "its program is not there" in gone
    assert "nobody has approved it" in web and "nobody has approved it" in broken
    assert started(home) == 0
    for name in ("web", "broken"):
        run(home, "servers", "approve", name, digest(run(home, "servers", "show", name)))
    gone, web, broken = checked()
    assert web.startswith("ok") and "0 of 1 tools approved" in web
    assert broken.startswith("warn") and "no licence found" in broken
