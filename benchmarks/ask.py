"""What a question takes besides the model's own time: `python -m benchmarks.ask [--repeats N]`.

`pilothouse ask` on practice incidents as a process of its own, alone and with a scripted model behind a socket that
answers at once (tests/unit/model/competent.py), in turns. The wall time is told without the time in which the model
had the question, in both readings: on top of the expert alone, which is what a model costs in start-up, prompts and
checks, and in all. CPU is that of the process and its children; whatever else runs on the machine is in the wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from assistant.backend import bundle_place
from assistant.config import load
from assistant.wiring import open_work
from tests.unit.expert.test_practice import PRACTICE, unpack
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Says, serving

INCIDENTS = ("misspelt-host", "never-ready", "two-faults")


class Model:
    """The scripted model, and for how long it had the question."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def think(self, request: dict[str, Any]) -> Says:
        began = time.perf_counter()
        says = calls(*competent.reply(request))
        self.seconds += time.perf_counter() - began
        return says


async def ask(arguments: list[str], home: Path) -> tuple[float, float, dict[str, object]]:
    environment = {
        **os.environ, "PILOTHOUSE_STATE_DIR": str(home / "state"), "PILOTHOUSE_RUNTIME_DIR": str(home / "run"),
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant", "ask", *arguments, "--format", "json", env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate()
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, json.loads(out)


async def ask_again(question: str, root: Path, home: Path, model: Mapping[str, str]) -> float:
    """Return the seconds from a question to its answer in a session that is open, as it is in the terminal."""
    flags = {"state_dir": str(home / "state"), "runtime_dir": str(home / "run"), **model}
    work = await open_work(load(flags, {}, home / "none"), bundle_place(root), propose=False)
    try:
        # The first one waits for what is still being loaded; at a keyboard that is over when a question is typed.
        for _ in range(2):
            began = time.perf_counter()
            await work.session.ask(question)
            await work.session.finished()
            seconds = time.perf_counter() - began
        answer = work.session.case.answer
        assert answer is not None
        assert (answer.mind != "expert") == bool(model), answer.mind
        return seconds
    finally:
        await work.close()


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rows: dict[str, list[tuple[float, float]]] = {"the expert alone": [], "with a model": []}
    again: dict[str, list[float]] = {kind: [] for kind in rows}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        async with serving() as server:
            asked = Model()
            server.think = asked.think
            for incident in INCIDENTS:
                about = yaml.safe_load((PRACTICE / incident / "incident.yaml").read_text())
                root, _ = unpack(PRACTICE / incident / "bundle.tar.gz", home / incident)
                common = [about["symptom"], "-n", about["namespace"], "--bundle", str(root)]
                model = ["--model", "openai/scripted", "--base-url", server.url]
                for number in range(given.repeats + 1):
                    for kind, more in (("the expert alone", ["--no-model"]), ("with a model", model)):
                        asked.seconds = 0.0
                        wall, cpu, document = await ask([*common, *more], home)
                        assert document["verdict"] == "fault", document["verdict"]
                        assert (document["mind"] != "expert") == (kind == "with a model"), document["mind"]
                        if number:  # the first one warms the file cache
                            rows[kind].append((wall - asked.seconds, cpu))
                    for kind, more_ in (
                        ("the expert alone", {}),
                        ("with a model", {"model": "openai/scripted", "base_url": server.url}),
                    ):
                        asked.seconds = 0.0
                        seconds = await ask_again(about["symptom"], root, home, more_)
                        again[kind].append(seconds - asked.seconds / 2)
    for kind, measured in rows.items():
        walls, cpus = zip(*measured, strict=True)
        print(
            f"{kind:18} wall {statistics.median(walls):5.2f} s (least {min(walls):.2f}, most {max(walls):.2f})"
            f"   CPU {statistics.median(cpus):5.2f} s"
        )
    alone, both = (statistics.median(wall for wall, _ in rows[kind]) for kind in rows)
    print(f"besides its own time a model adds {both - alone:.2f} s on top of the expert: {both:.2f} s in all")
    alone, both = (statistics.median(seconds) for seconds in again.values())
    print(f"in a session that is open: {both - alone:.2f} s on top of the expert, {both:.2f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
