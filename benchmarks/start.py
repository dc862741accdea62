"""What starting costs, and where the time of a small `ask` goes: `python -m benchmarks.start [repeats]`.

Wall and CPU time (children included) of fresh processes, beside a bare interpreter in the same run; medians. The
imports of the three processes are measured alone, because they are most of it. Nothing passes or fails.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "recordings" / "practice" / "missing-image" / "bundle.tar.gz"
SESSION = "agents.graph, agents.expert.mind, assistant.cluster.client, assistant.store.log, assistant.plain.face"


def run(arguments: list[str], folder: Path) -> tuple[float, float, str]:
    """Return wall seconds, CPU seconds of the process and its children, and its output."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr.decode()
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout.decode()


def main(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ask = ["-m", "assistant", "ask", "what is wrong?", "-A", "--bundle", str(BUNDLE), "--format", "json"]
        rows = [
            ("python -c pass", ["-c", "pass"]),
            ("--version", ["-m", "assistant", "--version"]),
            ("--help", ["-m", "assistant", "--help"]),
            ("imports of the session process", ["-c", f"import {SESSION}"]),
            ("imports of the gate", ["-c", "import assistant.gate.__main__"]),
            ("imports of the recorded cluster", ["-c", "import assistant.cluster.server.__main__"]),
            ("ask on a recorded cluster", ask),
        ]
        run(ask, folder)  # writes bytecode and makes the store
        bare = 0.0
        for title, arguments in rows:
            taken = [run(arguments, folder) for _ in range(repeats)]
            wall = statistics.median(item[0] for item in taken)
            bare = bare or wall
            cpu = statistics.median(item[1] for item in taken)
            line = f"{title:<34} wall {wall * 1e3:7.0f} ms  CPU {cpu * 1e3:7.0f} ms  {wall / bare:6.1f} x bare"
            if arguments is ask:
                usages = [json.loads(item[2])["usage"] for item in taken]
                turn = statistics.median(usage["seconds"] for usage in usages)
                line += f"  of it the turn {turn * 1e3:.0f} ms, {usages[0]['api_requests']} requests"
            print(line, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
