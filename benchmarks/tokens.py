"""What a diagnosis costs in tokens: `python -m benchmarks.tokens [DIR]`, by default the practice incidents.

A scripted model stands behind a real socket. It is competent and knows nothing but what it is sent: it reads the
object to blame and its events, then answers with quotes from what it was shown (tests/unit/model/competent.py).
Counted is every prompt that arrives, definitions of tools included, with the encoding that LiteLLM uses for OpenAI's
models. In the second column the model gets no finding of the expert; it goes through the course that people take
without it: lists pods and events, reads the object that has to change and a log, and answers. That course is scripted
too, knows the answer, and so is the least that would do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from agents.expert.mind import ExpertMind
from agents.mind import Conclusion
from agents.model.budget import Allowance, Bound
from agents.model.client import ModelClient
from agents.model.library import load
from agents.model.mind import ModelMind
from assistant.cluster.client import ClusterClient
from assistant.cluster.server import Settings, start
from assistant.domain import event as ev
from assistant.domain.finding import Finding, Verdict
from assistant.domain.ports import Recorder, Turn
from assistant.errors import StoreError
from assistant.evaluation import read_incident
from assistant.policy.redact import redact_text
from assistant.session.clock import SystemClock
from assistant.session.recorder import SessionRecorder
from assistant.store.memory import MemoryStore
from assistant.tools.kube import KubeReader
from tests.unit.expert.test_practice import PRACTICE, unpack
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import serving

FREE = Allowance(Bound(0, 0.0, 12), Bound(), Bound(), 600.0, 40)
MODEL = "openai/gpt-4o"


class Blind(ExpertMind):
    """An expert that reads all and says nothing."""

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        await super().conclude(turn, found, Silent(recorder))
        return Conclusion(Verdict.UNDETERMINED, (), (), "")


class Silent:
    """A recorder that keeps no evidence, so that none of the expert's is shown."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def cite(self, citation: Any, call: str = "") -> Any:
        from datetime import UTC, datetime

        from assistant.domain.evidence import Evidence

        return Evidence("", citation.request, citation.quote, datetime.now(UTC), "", 0, citation.target)


@dataclass(frozen=True)
class Counted:
    prompts: tuple[int, ...]
    completions: int
    seconds: float
    agreed: bool


def unseeded(request: Mapping[str, Any], truth: Mapping[str, Any], namespace: str) -> list[tuple[str, dict[str, Any]]]:
    """The course without a seed; `truth` is the object that has to change."""
    told = str(request["messages"][-1]["content"])
    steps = told.count(f"\nlist {'Pod'}") + told.count("\nget ")
    if "# What you read" not in told:
        return [("list", {"kind": "Pod"}), ("events", {}), ("list", {"kind": "Deployment"})]
    if "\nget " not in told and steps:
        name = str(truth["name"]).replace("*", "")
        return [("get", {"kind": truth["kind"], "name": name}), ("logs", {"pod": name})]
    return [("answer", {"verdict": "undetermined", "text": "Counted.", "causes": []})]


async def one(bundle: Path, question: str, namespace: str, truth: Mapping[str, Any] | None, folder: Path) -> Counted:
    library = await load()
    cluster = await start(Settings(bundle=bundle, runtime_dir=folder))
    completions = 0

    def think(request: dict[str, Any]) -> Any:
        nonlocal completions
        wanted = unseeded(request, truth, namespace) if truth is not None else competent.reply(request)
        completions += int(library.token_counter(model=MODEL, text=json.dumps(wanted)))
        return calls(*wanted)

    try:
        async with (
            ClusterClient(cluster.url, cluster.token, cluster.certificate_pem.decode()) as client,
            serving() as server,
        ):
            server.think = think
            clock = SystemClock()
            recorder = SessionRecorder("s-1", MemoryStore(StoreError("", "")), clock, redact_text)
            recorder.emit(ev.SessionOpened("0", "x", "c", "v1.36.0", namespace, "me", "ask", "recorded", MODEL))
            turn = Turn("s-1", 1, question, namespace)
            recorder.emit(ev.Asked(1, question, namespace))
            reader = KubeReader(client, clock)
            expert = Blind(reader, clock) if truth is not None else ExpertMind(reader, clock)
            asked = ModelClient([replace(server.endpoint(), model=MODEL)], clock)
            mind = ModelMind(expert, reader, asked, MODEL, FREE, clock)
            await mind.plan(turn, recorder)
            began = time.perf_counter()
            done = await mind.conclude(turn, (), recorder)
            seconds = time.perf_counter() - began
            counts = tuple(
                int(library.token_counter(model=MODEL, messages=each["messages"], tools=each["tools"]))
                for each in server.asked
            )
            agreed = any(each.by.startswith("expert and") for each in done.findings) or not done.findings
            return Counted(counts, completions, seconds, agreed)
    finally:
        await cluster.close()


def found(folder: Path) -> list[tuple[str, Path, str, str, Mapping[str, Any] | None]]:
    rows: list[tuple[str, Path, str, str, Mapping[str, Any] | None]] = []
    for path in sorted(each for each in folder.iterdir() if (each / "truth.yaml").is_file()):
        incident = read_incident(path)
        first = incident.culprits[0] if incident.culprits else None
        truth = {"kind": first.kind, "name": first.name} if first else None
        rows.append((path.name, incident.bundle, incident.symptom, incident.namespace, truth))
    return rows


def practice(folder: Path) -> list[tuple[str, Path, str, str, Mapping[str, Any] | None]]:
    rows: list[tuple[str, Path, str, str, Mapping[str, Any] | None]] = []
    for path in sorted(PRACTICE.glob("*/incident.yaml")):
        about = yaml.safe_load(path.read_text())
        root, _ = unpack(path.parent / "bundle.tar.gz", folder / path.parent.name)
        culprit = (about.get("culprit") or [None])[0]
        rows.append((path.parent.name, root, about["symptom"], about["namespace"], culprit))
    return rows


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = found(given.folder) if given.folder else practice(Path(name))
        print(f"{'incident':26} {'with the expert':>34}   without its findings")
        totals: list[int] = []
        others: list[int] = []
        for incident, bundle, question, namespace, truth in rows:
            seeded = await one(bundle, question, namespace, None, Path(name))
            totals.append(sum(seeded.prompts))
            line = f"{incident:26} {sum(seeded.prompts):6} + {seeded.completions:4} in {seeded.prompts}"
            if truth is not None:
                alone = await one(bundle, question, namespace, truth, Path(name))
                others.append(sum(alone.prompts))
                line += f"   {sum(alone.prompts):6} in {alone.prompts}"
            mark = "" if seeded.agreed else "  (no agreement)"
            print(f"{line}   {seeded.seconds:.2f} s{mark}", flush=True)
        print(f"prompt tokens with the expert: median {statistics.median(totals):.0f}, most {max(totals)}")
        if others:
            print(f"prompt tokens without: median {statistics.median(others):.0f}, most {max(others)}")
        over = sum(each > 10_000 for each in totals)
        print(f"above 10,000: {over} of {len(totals)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
