"""A hub over scripted servers, which are real children; time is a test's to move."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assistant.tools.mcp.access import May
from assistant.tools.mcp.hub import Hub
from assistant.tools.mcp.pins import Pins
from assistant.tools.mcp.questions import Elicit, decline
from assistant.tools.mcp.result import Outcome
from assistant.tools.mcp.servers import Server, Servers
from assistant.tools.mcp.warden import Warden
from tests.session import scripted as session

SCRIPT = Path(__file__).parent / "servers" / "scripted.py"


class FakeClock(session.FakeClock):
    """Time that moves when a test says so, and that can be asked whether anybody waits for it."""

    @property
    def sleeping(self) -> bool:
        return any(not future.done() for _, future in self._sleepers)


class Roll(Warden):
    """A warden that remembers every group it was told of."""

    def __init__(self, groups: list[int]) -> None:
        super().__init__()
        self.groups = groups

    def add(self, group: int) -> None:
        self.groups.append(group)
        super().add(group)


@dataclass
class Desk:
    """What a test works with: the hub, its clock, and what the servers wrote into their journals."""

    hub: Hub
    clock: FakeClock
    folder: Path
    groups: list[int] = field(default_factory=list)
    kubeconfig: str = ""

    def journal(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def calls(self, name: str) -> int:
        return sum("call" in entry for entry in self.journal(name))

    def log(self, name: str) -> Path:
        """Where the standard error of a server is kept."""
        return Path(next(each.log for each in self.hub.status() if each.name == name))

    async def approve(self, name: str) -> None:
        """Approve a server and every tool of it that can be used."""
        status = next(each for each in self.hub.status() if each.name == name)
        self.hub.approve_server(name, status.digest)
        tools = [tool.definition for tool in await self.hub.tools(name)]
        await self.hub.approve_tools(name, {each.name: each.digest for each in tools if not each.refused})

    async def call(self, name: str, text: str = "hello", watch: Any = None) -> Outcome:
        request = await self.hub.prepare(name, {"text": text})
        return await self.hub.call(request, request.digest, watch)


Desks = Callable[..., contextlib.AbstractAsyncContextManager[Desk]]


def scripted(folder: Path, name: str, **orders: Any) -> Server:
    orders = {"journal": str(folder / f"{name}.journal"), **orders}
    return Server(name, sys.executable, (str(SCRIPT), json.dumps(orders)), source="mcp.json")


@pytest.fixture
def desks(tmp_path: Path) -> Desks:
    @contextlib.asynccontextmanager
    async def desk(
        *servers: Server,
        elicit: Elicit = decline,
        environ: dict[str, str] | None = None,
        may: May | None = None,
        **scripts: dict[str, Any],
    ) -> AsyncIterator[Desk]:
        made = [*servers, *(scripted(tmp_path, name.replace("_", "-"), **orders) for name, orders in scripts.items())]
        clock, groups = FakeClock(), list[int]()
        made_for: list[Desk] = []

        def kubeconfig(name: str) -> str:
            return (made_for and made_for[0].kubeconfig) or str(tmp_path / "guarded.yaml")

        hub = Hub(
            Servers(tuple(made)), Pins(tmp_path / "state" / "mcp-pins.json"), clock,
            kubeconfig=kubeconfig, logs=tmp_path / "logs", elicit=elicit, environ=environ,
            warden=Roll(groups), may=may,
        )  # fmt: skip
        async with hub:
            made_for.append(Desk(hub, clock, tmp_path, groups))
            yield made_for[0]

    return desk
