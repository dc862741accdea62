"""A recorded cluster on a real port, a clock that is moved by hand, and a client."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assistant.cluster.server import RecordedCluster, Settings, start

DATA = Path(__file__).parent / "data"
RECORDED = DATA / "recorded.tar.gz"
PRACTICE = Path(__file__).parents[2] / "recordings" / "practice"
Start = Callable[..., Awaitable[RecordedCluster]]


class HandClock:
    """Time that stands until a test moves it; what was asked for later runs then."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment
        self.waiting: list[tuple[datetime, Callable[[], None]]] = []

    def now(self) -> datetime:
        return self.moment

    def reach(self, moment: datetime) -> None:
        self.moment = max(self.moment, moment)

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        entry = (self.moment + timedelta(seconds=seconds), action)
        self.waiting.append(entry)
        return lambda: self.waiting.remove(entry) if entry in self.waiting else None

    def pass_seconds(self, seconds: float) -> None:
        end = self.moment + timedelta(seconds=seconds)
        while due := sorted((entry for entry in self.waiting if entry[0] <= end), key=lambda entry: entry[0]):
            self.waiting.remove(due[0])
            self.moment = max(self.moment, due[0][0])
            due[0][1]()
        self.moment = max(self.moment, end)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    warnings: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Speaks to one recorded cluster with its token."""

    def __init__(self, server: RecordedCluster, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def __call__(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = "",
        media: str = "application/json",
    ) -> Answer:
        head = dict(headers or {})
        if token is not None:
            head["Authorization"] = f"Bearer {token or self.server.token}"
        data = None if body is None else body if isinstance(body, str | bytes) else json.dumps(body)
        if data is not None:
            head.setdefault("Content-Type", media)
        timeout = aiohttp.ClientTimeout(total=20)
        url = self.server.url + target
        async with self.session.request(
            method, url, data=data, headers=head, timeout=timeout, allow_redirects=False
        ) as answer:
            text = (await answer.read()).decode()
            return Answer(answer.status, answer.headers, text, answer.headers.getall("Warning", []))


@pytest.fixture
def clock() -> HandClock:
    return HandClock(datetime(2026, 11, 23, 8, 2, 8, tzinfo=UTC))


@pytest.fixture
async def serve(clock: HandClock) -> AsyncIterator[Start]:
    running: list[RecordedCluster] = []

    async def run(**settings: Any) -> RecordedCluster:
        server = await start(Settings(**settings), clock)
        running.append(server)
        return server

    yield run
    for server in running:
        await server.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[RecordedCluster], Client]]:
    sessions: list[aiohttp.ClientSession] = []

    def make(server: RecordedCluster) -> Client:
        context = ssl.create_default_context(cadata=server.certificate_pem.decode())
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers={"User-Agent": "curl/8.0"})
        sessions.append(session)
        return Client(server, session)

    yield make
    for session in sessions:
        await session.close()


@pytest.fixture
async def api(serve: Start, connect: Callable[[RecordedCluster], Client]) -> Client:
    return connect(await serve(bundle=RECORDED))
