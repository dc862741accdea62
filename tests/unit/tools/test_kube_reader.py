"""The reading tools over real HTTP: pages, refusals, redaction, sharing, logs and discovery without aggregation."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from assistant.cluster.client import ClusterClient
from assistant.domain.canonical import sha256
from assistant.domain.case import Case
from assistant.domain.event import Payload, ToolEnded, ToolStarted
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.view import Knowledge
from assistant.errors import ClusterError, NotFoundError
from assistant.tools.kube import KubeReader


class Notes:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[Payload] = []
        self.case = Case()

    def emit(self, payload: Payload) -> None:
        self.events.append(payload)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        digest = hashlib.sha256(citation.body.encode()).hexdigest()
        return Evidence(
            "E1", citation.request, citation.quote, datetime(2026, 1, 1, tzinfo=UTC), digest, len(citation.body)
        )

    def keep(self, text: str) -> str:
        return sha256(text)

    def new_call(self) -> str:
        return f"C{len(self.events)}"

    def steering(self) -> tuple[str, ...]:
        return ()

    async def flush(self) -> None:
        return None


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


def name(plural: str, kind: str) -> dict[str, Any]:
    return {"name": plural, "kind": kind, "namespaced": True, "verbs": ["list", "get"]}


class FakeApi:
    """An API server of three kinds; counts requests, refuses one kind, serves pods in pages."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.expire_once = False

    def status(self, code: int, message: str) -> web.Response:
        return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen[request.path] += 1
        self.tokens.add(request.headers.get("Authorization", ""))
        match request.path:
            case "/api":
                return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
            case "/apis":
                broken = {"name": "broken.test", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}
                return web.json_response({"kind": "APIGroupList", "groups": [broken]})
            case "/api/v1":
                kinds = [
                    name("pods", "Pod"),
                    name("secrets", "Secret"),
                    name("configmaps", "ConfigMap"),
                    name("pods/log", "Pod"),
                ]
                return web.json_response({"kind": "APIResourceList", "resources": kinds})
            case "/api/v1/namespaces/shop/pods":
                return self.pods(request)
            case "/api/v1/namespaces/shop/secrets":
                secret = {
                    "metadata": {"name": "s", "annotations": {"last": "hunter2"}},
                    "data": {"key": "aHVudGVyMg=="},
                }
                return web.json_response({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [secret]})
            case "/api/v1/namespaces/shop/configmaps":
                return self.status(403, "configmaps is forbidden")
            case "/api/v1/namespaces/shop/pods/p0/log":
                return web.Response(text="one\ntwo\n")
            case _:
                return self.status(503 if "broken" in request.path else 404, "no")

    def pods(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue", "0"))
        if start and self.expire_once:
            self.expire_once = False
            return self.status(410, "expired")
        items: list[Any] = [
            {"metadata": {"name": f"p{i}", "namespace": "shop"}} for i in range(start, min(start + 2, 5))
        ]
        more = {"continue": str(start + 2)} if start + 2 < 5 else {}
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": more, "items": items})


@pytest_asyncio.fixture
async def api() -> AsyncIterator[tuple[FakeApi, ClusterClient]]:
    fake = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    async with TestServer(app) as server, ClusterClient(str(server.make_url("/")), "tok" + "en") as client:
        yield fake, client


async def test_pages_of_a_list_are_joined(api: tuple[FakeApi, ClusterClient]) -> None:
    fake, client = api
    listing = await client.list("/api/v1/namespaces/shop/pods")
    assert [i["metadata"]["name"] for i in listing.items] == ["p0", "p1", "p2", "p3", "p4"]
    assert listing.request == "GET /api/v1/namespaces/shop/pods"
    assert fake.tokens == {"Bearer token"}


async def test_a_list_that_expires_on_the_way_is_read_again_from_the_start(api: tuple[FakeApi, ClusterClient]) -> None:
    fake, client = api
    fake.expire_once = True
    listing = await client.list("/api/v1/namespaces/shop/pods")
    assert len(listing.items) == 5


async def test_a_status_becomes_an_error_that_says_what_it_means(api: tuple[FakeApi, ClusterClient]) -> None:
    _, client = api
    with pytest.raises(NotFoundError) as caught:
        await client.get_json("/api/v1/nothing")
    assert caught.value.meaning and caught.value.hint and caught.value.detail == "no"


async def test_a_server_that_is_gone_is_a_typed_error() -> None:
    async with ClusterClient("http://127.0.0.1:9", "t") as client:
        with pytest.raises(ClusterError):
            await client.get_json("/api")


async def test_a_kind_that_is_refused_becomes_knowledge_and_the_rest_is_read(
    api: tuple[FakeApi, ClusterClient],
) -> None:
    _, client = api
    reader, notes = KubeReader(client, Still()), Notes()
    reader.begin("t1", "shop")
    await reader.read([("pods", "shop"), ("configmaps", "shop"), ("widgets.test", "shop")], notes)
    assert len(reader.view.all("pods", "shop")) == 5
    assert reader.view.knowledge("pods", "shop") is Knowledge.LISTED
    assert reader.view.knowledge("configmaps", "shop") is Knowledge.FORBIDDEN
    assert reader.view.knowledge("widgets.test", "shop") is Knowledge.ABSENT
    ended = [e for e in notes.events if isinstance(e, ToolEnded)]
    assert len(ended) == len([e for e in notes.events if isinstance(e, ToolStarted)])
    assert any(not e.ok and "forbidden" in e.result for e in ended)
    assert any(e.result == "5 pods, 5 not ready" for e in ended)


async def test_steps_that_run_together_share_each_read(api: tuple[FakeApi, ClusterClient]) -> None:
    fake, client = api
    reader, notes = KubeReader(client, Still()), Notes()
    reader.begin("t1", "shop")
    await asyncio.gather(*(reader.read([("secrets", "shop")], notes) for _ in range(5)))
    assert fake.seen["/api/v1/namespaces/shop/secrets"] == 1
    reader.begin("t1", "shop")
    await reader.read([("secrets", "shop")], notes)
    assert fake.seen["/api/v1/namespaces/shop/secrets"] == 1
    reader.refresh("shop")
    await reader.read([("secrets", "shop")], notes)
    assert fake.seen["/api/v1/namespaces/shop/secrets"] == 2


async def test_a_view_that_was_read_anew_is_freed_at_once(api: tuple[FakeApi, ClusterClient]) -> None:
    _, client = api
    reader, notes = KubeReader(client, Still()), Notes()
    reader.begin("t1", "shop")
    await reader.read([("pods", "shop")], notes)
    assert reader.view.all("pods")[0].raw["metadata"]["name"] == "p0"
    old = weakref.ref(reader.view._recent)
    gc.disable()
    try:
        reader.refresh("shop")
        assert old() is None, "the decoded pods and the record of them hold each other"
    finally:
        gc.enable()


async def test_no_value_of_a_secret_reaches_the_view_or_a_quote(api: tuple[FakeApi, ClusterClient]) -> None:
    _, client = api
    reader, notes = KubeReader(client, Still()), Notes()
    reader.begin("t1", "shop")
    await reader.read([("secrets", "shop")], notes)
    secret = reader.view.all("secrets")[0]
    assert list(secret.map("data")) == ["key"]
    shown = reader.view.cite(secret, "data", "metadata").body + repr(notes.events)
    assert "aHVudGVyMg" not in shown and "hunter2" not in shown


async def test_logs_are_read_once_and_a_missing_one_is_none(api: tuple[FakeApi, ClusterClient]) -> None:
    fake, client = api
    reader, notes = KubeReader(client, Still()), Notes()
    reader.begin("t1", "shop")
    wanted = [("shop", "p0", "app", False), ("shop", "gone", "app", False)]
    await reader.logs(wanted, notes)
    await reader.logs(wanted, notes)
    log = reader.view.log("shop", "p0", "app")
    assert log is not None and log.lines == ["one", "two"]
    assert reader.view.log("shop", "gone", "app") is None
    assert fake.seen["/api/v1/namespaces/shop/pods/p0/log"] == 1
