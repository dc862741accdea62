"""A model mind over a recorded cluster, with a scripted model behind a real socket and a real recorder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from agents.expert.mind import ExpertMind
from agents.mind import Conclusion
from agents.model.budget import Allowance, Bound
from agents.model.client import ModelClient
from agents.model.mind import ModelMind
from agents.model.toolsets import Servers
from agents.model.types import Bounds
from assistant.cluster.client import ClusterClient
from assistant.cluster.server import RecordedCluster, Settings, start
from assistant.domain import event as ev
from assistant.domain.case import Case, Spent
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.errors import StoreError
from assistant.policy.redact import redact_text
from assistant.session.clock import SystemClock
from assistant.session.recorder import SessionRecorder
from assistant.store.memory import MemoryStore
from assistant.tools.kube import KubeReader
from tests.unit.expert.test_practice import PRACTICE, unpack
from tests.unit.model import competent
from tests.unit.model.server import DONE, Says, Server, call, event, serving, usage

MODEL = "openai/m"
WIDE = Allowance(Bound(100_000, 0.0, 8), Bound(1_000_000), Bound(10_000_000), 180.0, 16)


def calls(*wanted: tuple[str, Mapping[str, Any]], said: str = "", tokens: tuple[int, int] = (120, 7)) -> Says:
    """An answer that calls these tools, said to have taken so many tokens."""
    parts: list[bytes] = [event({"role": "assistant", "content": said})]
    for n, (name, given) in enumerate(wanted):
        parts += call(name, json.dumps(given), index=n, id=f"c{n}")
    return Says([*parts, event({}, "tool_calls"), usage(*tokens), DONE])


@dataclass
class Scene:
    """One turn with a model."""

    mind: ModelMind
    expert: ExpertMind
    recorder: SessionRecorder
    store: MemoryStore
    server: Server
    reader: KubeReader
    turn: Turn
    cluster: RecordedCluster
    log: Path
    found: list[Any] = field(default_factory=list)

    @property
    def case(self) -> Case:
        return self.recorder.case

    async def conclude(self, recorder: Recorder | None = None) -> Conclusion:
        recorder = recorder or self.recorder
        steps = await self.mind.plan(self.turn, recorder)
        for step in steps:
            self.found += await self.mind.investigate(self.turn, step, recorder)
        return await self.mind.conclude(self.turn, tuple(self.found), recorder)

    def changing(self) -> list[str]:
        """Return the requests to the cluster that were no reads and no tries: there must never be one."""
        asked = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [
            f"{each['method']} {each['path']}?{each['query']}" for each in asked
            if each["method"] != "GET" and not (each["method"] == "PATCH" and each["query"] == "dryRun=All")
        ]  # fmt: skip

    def prompt(self, number: int) -> str:
        """What the model was sent in its call (from 0)."""
        return str(self.server.asked[number]["messages"][-1]["content"])

    def said(self) -> list[str]:
        """All notes, errors and bounds of the log."""
        kinds = (ev.Noted, ev.ErrorRaised, ev.BudgetReached)
        return [
            p.meaning if isinstance(p, ev.ErrorRaised) else p.text
            for p in (each.payload for each in self.recorder.events) if isinstance(p, kinds)
        ]  # fmt: skip

    def called(self) -> list[ev.ModelCalled]:
        return [each.payload for each in self.recorder.events if isinstance(each.payload, ev.ModelCalled)]


@asynccontextmanager
async def thinking(
    tmp: Path, incident: str, *answers: Says, allowance: Allowance = WIDE, bounds: Bounds | None = None,
    clock: Clock | None = None, question: str = "", headers: Mapping[str, str] | None = None,
    planted: Callable[[RecordedCluster], None] | None = None, day: Callable[[], Spent] = Spent,
    servers: Servers | None = None,
) -> AsyncIterator[Scene]:  # fmt: skip
    """A practice incident, and a model that gives these answers (none: a competent one)."""
    about = yaml.safe_load((PRACTICE / incident / "incident.yaml").read_text())
    root, _ = unpack(PRACTICE / incident / "bundle.tar.gz", tmp / "bundle")
    log = tmp / "requests"
    cluster = await start(Settings(bundle=root, runtime_dir=tmp, request_log=log))
    try:
        if planted is not None:
            planted(cluster)
        async with (
            ClusterClient(cluster.url, cluster.token, cluster.certificate_pem.decode()) as client,
            serving(*(answers or (Says(),))) as server,
        ):
            if not answers:
                server.think = lambda request: calls(*competent.reply(request))
            time = clock or SystemClock()
            store = MemoryStore(StoreError("There is no file.", ""))
            recorder = SessionRecorder("s-1", store, time, redact_text)
            recorder.emit(ev.SessionOpened("0", "test", "c", "v1.36.0", about["namespace"], "me", "ask", "live", "m"))
            turn = Turn("s-1", 1, question or about["symptom"], about["namespace"])
            recorder.emit(ev.Asked(1, turn.question, turn.namespace))
            reader = KubeReader(client, time)
            expert = ExpertMind(reader, time)
            wanted = replace(bounds or Bounds())
            asked = ModelClient([server.endpoint(headers=dict(headers or {}))], time, wanted)
            mind = ModelMind(expert, reader, asked, MODEL, allowance, time, day, servers)
            yield Scene(mind, expert, recorder, store, server, reader, turn, cluster, log)
    finally:
        await cluster.close()


Think = Callable[[Mapping[str, Any]], Says]


def words(lines: Iterable[str]) -> str:
    return "\n".join(lines)
