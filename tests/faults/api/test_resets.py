"""Connections that break: reads go on without lost or doubled rows, changes are sent once, watches end loud."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
import yarl

from assistant.domain.action import Action
from assistant.domain.proposal import CheckResult, ProposalState
from tests.faults.api.bench import Bench
from tests.faults.api.wire import (
    DEPLOYMENT,
    PODS,
    Fault,
    Seen,
    Writer,
    answering,
    broken_off,
    failing,
    hang_up,
    reset,
    watching,
)
from tests.gate.conftest import OURS, WEB, says

State = ProposalState
PAGES = 4
PER_PAGE = 3


def page(number: int) -> dict[str, Any]:
    names = [f"p{number * PER_PAGE + i}" for i in range(PER_PAGE)]
    meta = {"resourceVersion": "7", **({"continue": str(number + 1)} if number + 1 < PAGES else {})}
    items = [{"metadata": {"name": name, "namespace": "shop"}} for name in names]
    return {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items}


async def paged(seen: Seen, writer: Writer) -> None:
    number = int(yarl.URL(seen.target, encoded=True).query.get("continue", "0"))
    await answering(200, page(number))(seen, writer)


async def hang_up_before_an_answer(seen: Seen, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 O")
    await writer.drain()
    reset(writer)


async def closed(seen: Seen, writer: Writer) -> None:
    writer.close()


BREAKS: dict[str, Fault] = {
    "after the request was read": hang_up,
    "closed without an answer": closed,
    "in the status line": hang_up_before_an_answer,
    "in the body": broken_off(b'{"kind":"PodList","items":[{"metadata":{"name":"p0"'),
}


class TestReads:
    @pytest.mark.parametrize("where", BREAKS)
    @pytest.mark.parametrize("broken", range(PAGES))
    async def test_go_on_at_the_page_that_broke(self, it: Bench, where: str, broken: int) -> None:
        it.wire.faults["list"] = [paged] * broken + [BREAKS[where]] + [paged] * PAGES
        ended = await it.read("list")
        names = [pod.name for pod in it.reader.view.all("pods", "shop")]
        assert names == [f"p{i}" for i in range(PAGES * PER_PAGE)]
        assert ended.ok
        assert len(it.screen.waits) <= 1, "aiohttp may notice a pooled connection that died by itself"

    async def test_go_on_when_the_connection_is_reset_before_the_request_was_read(self, it: Bench) -> None:
        await it.lab.gate.upstream.close()
        it.wire.faults["list"] = [paged] * PAGES
        it.wire.refuse = 1
        assert (await it.read("list")).ok
        assert len(it.reader.view.all("pods", "shop")) == PAGES * PER_PAGE
        assert it.wire.refused == 1

    @pytest.mark.parametrize("where", BREAKS)
    async def test_that_break_each_time_fail_and_are_no_empty_list(self, it: Bench, where: str) -> None:
        it.wire.faults["list"] = [BREAKS[where]] * 20
        ended = await it.read("list")
        assert not ended.ok
        assert "Tried 3 times." in ended.result
        assert not it.reader.view.complete("pods", "shop")
        assert len(it.screen.waits) == 2

    @pytest.mark.parametrize("where", BREAKS)
    async def test_of_logs_are_whole_or_read_again(self, it: Bench, where: str) -> None:
        it.wire.faults["log"] = [BREAKS[where]]
        assert (await it.read("log")).ok
        log = it.reader.view.log("shop", "web-1", "web")
        assert log is not None and log.lines == ["one", "two"]


class TestExpiredLists:
    async def test_are_read_again_from_the_start_and_say_so(self, it: Bench) -> None:
        it.wire.faults["list"] = [paged, paged, failing(410, "expired"), *[paged] * PAGES]
        assert (await it.read("list")).ok
        names = [pod.name for pod in it.reader.view.all("pods", "shop")]
        assert names == [f"p{i}" for i in range(PAGES * PER_PAGE)]
        assert any("read again from the start" in line for line in " ".join(it.screen.plain).split(", "))

    async def test_that_expire_again_are_a_failure(self, it: Bench) -> None:
        it.wire.faults["list"] = [failing(410, "expired")] * 2
        ended = await it.read("list")
        assert not ended.ok
        assert not it.reader.view.complete("pods", "shop")


class TestChanges:
    @pytest.mark.parametrize("where", ["after the request was read", "closed without an answer", "in the status line"])
    async def test_are_unknown_and_arrive_once(self, it: Bench, where: str) -> None:
        outcome = await it.change(*[BREAKS[where]] * 5)
        assert outcome.state is State.UNKNOWN
        assert len(it.wire.of("mutate")) == 1
        assert "the object is as it was" in outcome.message
        assert (await it.lab.control.execute(outcome.proposal)) == outcome
        assert len(it.wire.of("mutate")) == 1

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    @pytest.mark.parametrize("where", ["after the request was read", "closed without an answer"])
    async def test_that_http_calls_idempotent_are_sent_once_all_the_same(
        self, it: Bench, where: str, method: str
    ) -> None:
        whole = json.dumps({**it.wire.objects[DEPLOYMENT], "spec": {"replicas": 5}})
        action = Action(method, DEPLOYMENT, WEB, (), "application/json", whole if method == "PUT" else "")
        proposal = await it.lab.control.propose(action, OURS, "k")
        await it.lab.control.decide(says(proposal))
        it.wire.faults["mutate"] = [BREAKS[where]] * 5
        assert (await it.lab.control.execute(proposal.id)).state is State.UNKNOWN
        assert len(it.wire.of("mutate")) == 1

    async def test_are_unknown_when_the_connection_is_reset_before_the_request_was_read(self, it: Bench) -> None:
        proposal = await it.propose()
        await it.lab.control.decide(says(proposal))
        it.wire.refuse = 1
        outcome = await it.lab.control.execute(proposal.id)
        assert it.wire.refused == 1
        assert it.wire.of("mutate") == []
        assert outcome.state is State.UNKNOWN
        assert "the object is as it was" in outcome.message

    async def test_whose_answer_breaks_off_were_applied(self, it: Bench) -> None:
        outcome = await it.change(broken_off(b"{"))
        assert outcome.state is State.APPLIED
        assert "not whole" in outcome.message
        assert len(it.wire.of("mutate")) == 1

    async def test_of_foreign_clients_get_no_success_when_the_end_is_unknown(self, it: Bench) -> None:
        from tests.gate.conftest import MERGE
        from tests.gate.scripted import DEPLOYMENT
        from tests.gate.test_holding import held

        async with it.lab.client() as client:
            patch = client.patch(DEPLOYMENT, data='{"spec":{"replicas":5}}', headers={"Content-Type": MERGE})
            asked = asyncio.create_task(patch)
            proposal = await held(it.lab.control)
            it.wire.faults["mutate"] = [hang_up] * 3
            await it.lab.control.decide(says(proposal))
            answer = await asked
            assert answer.status == 504
            assert "not known" in (await answer.json())["message"]
            assert "Retry-After" not in answer.headers
        assert len(it.wire.of("mutate")) == 1


class TestDryRuns:
    @pytest.mark.parametrize("where", BREAKS)
    async def test_that_break_are_unknown(self, it: Bench, where: str) -> None:
        it.wire.faults["dry run"] = [BREAKS[where]] * 3
        proposal = await it.propose()
        assert {c.name: c for c in proposal.checks}["dry run"].result is CheckResult.UNKNOWN
        assert it.wire.of("mutate") == []


def added(name: str, version: str) -> dict[str, Any]:
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version},
    }
    return {"type": "ADDED", "object": pod}


GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": "too old"},
}


async def lines_of(it: Bench, query: str = "watch=true") -> list[Any]:
    async with it.lab.client() as client, client.get(f"{PODS}?{query}") as answer:
        assert answer.status == 200
        return [json.loads(line) async for line in answer.content]


class TestForeignWatches:
    @pytest.mark.parametrize("end", ["reset", "closed"])
    @pytest.mark.parametrize("path", [PODS, "/api/v1/namespaces/shop/configmaps", "/api/v1/namespaces/shop/services"])
    async def test_that_the_server_breaks_are_broken_for_the_client_too(self, it: Bench, end: str, path: str) -> None:
        it.wire.faults["watch"] = [watching(added("a", "8"), end=end)]
        it.wire.faults["other"] = [watching(added("a", "8"), end=end)] if path != PODS else []
        got = []
        with pytest.raises(aiohttp.ClientError):
            async with it.lab.client() as client, client.get(f"{path}?watch=true") as answer:
                async for line in answer.content:
                    got.append(json.loads(line))
        assert [event["object"]["metadata"]["name"] for event in got] == ["a"], "what came before is not lost"

    async def test_that_the_server_ends_are_ended(self, it: Bench) -> None:
        it.wire.faults["watch"] = [watching(added("a", "8"), added("b", "9"), end="clean")]
        assert [e["object"]["metadata"]["name"] for e in await lines_of(it)] == ["a", "b"]

    async def test_hear_that_their_version_is_gone_as_it_was_said(self, it: Bench) -> None:
        it.wire.faults["watch"] = [watching(added("a", "8"), GONE, end="clean"), failing(410, "too old")]
        events = await lines_of(it)
        assert events[-1] == GONE
        async with it.lab.client() as client, client.get(f"{PODS}?watch=true&resourceVersion=1") as answer:
            assert answer.status == 410
