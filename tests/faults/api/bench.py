"""The real gate and the real reader in front of a wire that misbehaves, with time that passes by itself."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assistant.cluster.client import ClusterClient, Patience
from assistant.domain.canonical import sha256
from assistant.domain.case import Case
from assistant.domain.event import Event, Payload, ToolEnded, ToolWaiting
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.proposal import Outcome, Proposal
from assistant.plain.lines import event_lines
from assistant.tools.kube import KubeReader
from assistant.tui.lines import Line
from assistant.tui.transcript import Transcript
from tests.faults.api.wire import Wire
from tests.gate.conftest import OURS, SCALE, Lab, lab, says


class Hurried:
    """A clock whose sleeps are over at once and count in full."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 24, 3, 0, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds


class Screen:
    """A recorder that folds a case and draws it after each event in both faces, as a person would see it."""

    def __init__(self, clock: Hurried) -> None:
        self.clock = clock
        self.case = Case()
        self.events: list[Payload] = []
        self.plain: list[str] = []
        self.frames: list[str] = []
        self._transcript = Transcript(_no_markdown)

    def emit(self, payload: Payload) -> None:
        event = Event("s1", self.case.seq + 1, self.clock.now(), payload)
        self.case = self.case.apply(event)
        self.events.append(payload)
        self.plain += event_lines(event, self.case)
        drawn = self._transcript.lines(self.case, self.clock.now())
        self.frames.append("\n".join("".join(text for text, _ in (*row.parts, *row.right)) for row in drawn))

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        digest = hashlib.sha256(citation.body.encode()).hexdigest()
        return Evidence("E1", citation.request, citation.quote, self.clock.now(), digest, len(citation.body))

    def keep(self, text: str) -> str:
        return sha256(text)

    def new_call(self) -> str:
        return f"T{len(self.events) + 1}"

    def steering(self) -> tuple[str, ...]:
        return ()

    async def flush(self) -> None:
        return None

    @property
    def waits(self) -> list[ToolWaiting]:
        return [event for event in self.events if isinstance(event, ToolWaiting)]

    @property
    def last(self) -> ToolEnded:
        return next(event for event in reversed(self.events) if isinstance(event, ToolEnded))


def _no_markdown(text: str, ref: str) -> list[Line]:
    return []


@dataclass
class Bench:
    wire: Wire
    lab: Lab
    client: ClusterClient
    clock: Hurried
    screen: Screen
    reader: KubeReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = KubeReader(self.client, self.clock)
        self.reader.begin("t1", "shop")

    async def read(self, operation: str) -> ToolEnded:
        """Let the session's reader list the pods or read a log, and return how it ended."""
        if operation == "list":
            await self.reader.read([("pods", "shop")], self.screen)
        else:
            await self.reader.logs([("shop", "web-1", "web", False)], self.screen)
        return self.screen.last

    async def propose(self) -> Proposal:
        return await self.lab.control.propose(SCALE, OURS, "k")

    async def change(self, *faults: Any) -> Outcome:
        """Have a change approved and sent, with these faults on its way."""
        proposal = await self.propose()
        await self.lab.control.decide(says(proposal))
        self.wire.faults["mutate"] = list(faults)
        return await self.lab.control.execute(proposal.id)


@asynccontextmanager
async def bench(
    folder: Path, wire: Wire | None = None, patience: Patience | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    wire = wire or Wire()
    clock = Hurried()
    async with lab(folder, wire, **settings) as made:
        ready = made.gate.ready
        async with ClusterClient(
            ready["data_url"], ready["data_token"], ready["ca_pem"], sleep=clock.sleep, dice=lambda: 1.0,
            patience=patience,
        ) as client:  # fmt: skip
            made_bench = Bench(wire, made, client, clock, Screen(clock))
            await made_bench.reader.kinds(made_bench.screen)
            yield made_bench
