"""A gate in front of a scripted API server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from assistant.domain.action import Action
from assistant.domain.proposal import Answer, Decision, Origin, Proposal, ProposalState
from assistant.domain.target import Target
from assistant.errors import GateError
from assistant.gate.control import ControlClient, GateRefusedError
from assistant.gate.process import Running, start
from assistant.gate.settings import Settings
from tests.gate.scripted import DEPLOYMENT, ApiServer

WEB = Target("apps/v1", "Deployment", "shop", "web")
MERGE = "application/merge-patch+json"
SCALE = Action("PATCH", DEPLOYMENT, WEB, (), MERGE, '{"spec":{"replicas":5}}')
CARD = "ab" * 32
OURS = Origin("session", "pilothouse", "s1")


def says(proposal: Proposal, answer: Answer = Answer.APPROVE, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "digest": proposal.digest, "by": "grace", "shown": CARD, "typed_name": proposal.typed_name, **changes,
    }  # fmt: skip
    return Decision(proposal.id, answer=answer, at=datetime.now(UTC), **values)


async def not_decided(control: ControlClient, decision: Decision) -> str:
    """Hand over a decision that does not count; the proposal waits as before. Returns the gate's sentence."""
    with pytest.raises(GateRefusedError) as caught:
        await control.decide(decision)
    assert caught.value.code == "not-decided"
    assert {p.id: s for p, s in await control.proposals()}[decision.proposal] is ProposalState.OPEN
    with pytest.raises(GateError):
        await control.execute(decision.proposal)
    return caught.value.meaning


@dataclass
class Lab:
    server: ApiServer
    gate: Running
    control: ControlClient
    folder: Path

    @property
    def client_token(self) -> str:
        """What a client of the guarded kubeconfig sends."""
        return str(yaml.safe_load(Path(self.gate.ready["kubeconfig"]).read_text())["users"][0]["user"]["token"])

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[aiohttp.ClientSession]:
        tls = ssl.create_default_context(cadata=self.gate.ready["ca_pem"])
        sent = {"Authorization": f"Bearer {self.gate.ready['data_token']}", **headers}
        async with aiohttp.ClientSession(
            self.gate.ready["data_url"], headers=sent, connector=aiohttp.TCPConnector(ssl=tls)
        ) as session:
            yield session


@asynccontextmanager
async def lab(folder: Path, server: ApiServer | None = None, **settings: Any) -> AsyncIterator[Lab]:
    server = server or ApiServer()
    await server.start()
    gate = await start(
        Settings(
            state_dir=str(folder / "state"), runtime_dir=str(folder / "run"),
            kubeconfig=server.kubeconfig(folder / "kubeconfig"), **settings,
        )
    )  # fmt: skip
    ready = gate.ready
    try:
        async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
            yield Lab(server, gate, control, folder)
    finally:
        await gate.stop()
        server.stop()


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab(tmp_path) as made:
        yield made
