"""A server that is overloaded or fails inside: reads wait where a person sees it, changes are sent once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from assistant.domain.event import ToolWaiting
from assistant.domain.proposal import CheckResult, ProposalState
from assistant.domain.view import Knowledge
from assistant.policy.limits import READ_TRIES, READ_WAIT_SECONDS
from tests.faults.api.bench import Bench
from tests.faults.api.wire import DEPLOYMENT, PODS, failing, http_date
from tests.gate.conftest import says

State = ProposalState
READS = ("list", "log")
FAILING = (500, 502, 503, 504)


def date_in(seconds: float) -> str:
    return http_date(datetime.now(UTC) + timedelta(seconds=seconds))


class TestReads:
    @pytest.mark.parametrize("operation", READS)
    @pytest.mark.parametrize(
        ("retry_after", "least", "most"),
        [("0", 0.1, 1.0), ("3", 3.0, 3.0), ("garbage", 0.1, 1.0), ("-5", 0.1, 1.0), ("", 0.1, 1.0)],
    )
    async def test_wait_as_long_as_the_server_asks(
        self, it: Bench, operation: str, retry_after: str, least: float, most: float
    ) -> None:
        it.wire.faults[operation] = [failing(429, "too many", Retry_After=retry_after)]
        ended = await it.read(operation)
        assert ended.ok
        assert len(it.wire.of(operation)) == 2
        (wait,) = it.screen.waits
        assert least <= wait.seconds <= most
        assert sum(it.clock.slept) == wait.seconds

    async def test_wait_until_the_date_that_the_server_names_by_its_own_clock(self, it: Bench) -> None:
        # Its clock is an hour ahead of ours; it asks for 20 seconds.
        it.wire.faults["list"] = [failing(429, Retry_After=date_in(3620), Date=date_in(3600))]
        assert (await it.read("list")).ok
        assert it.screen.waits[0].seconds == pytest.approx(20, abs=1)

    async def test_show_the_wait_with_a_countdown_in_both_faces(self, it: Bench) -> None:
        it.wire.faults["list"] = [failing(429, Retry_After="30")]
        await it.read("list")
        assert any("waiting: list pods" in line for line in it.screen.plain)
        said = " ".join(" ".join(it.screen.plain).split())
        assert "the API server asked to wait 30 s (HTTP 429); again in 30.0 s" in said
        frame = next(frame for frame in it.screen.frames if "waiting" in frame)
        assert "30 s left" in frame
        assert "the API server asked to wait 30 s (HTTP 429)" in frame

    @pytest.mark.parametrize("operation", READS)
    @pytest.mark.parametrize(("retry_after", "spoken"), [("3600", "60 min"), ("61", "61 s")])
    async def test_that_would_wait_longer_than_a_minute_say_so_instead(
        self, it: Bench, operation: str, retry_after: str, spoken: str
    ) -> None:
        it.wire.faults[operation] = [failing(429, Retry_After=retry_after)]
        ended = await it.read(operation)
        assert not ended.ok
        assert it.clock.slept == []
        assert f"asked to wait {spoken} (HTTP 429)" in ended.result
        assert "waits at most 60 s" in ended.result

    async def test_wait_at_most_a_minute_in_all(self, it: Bench) -> None:
        it.wire.faults["list"] = [failing(429, Retry_After="25")] * 9
        ended = await it.read("list")
        assert not ended.ok
        assert it.clock.slept == [25.0, 25.0]
        assert sum(it.clock.slept) <= READ_WAIT_SECONDS
        assert "after 50 s of waiting" in ended.result
        assert it.reader.view.knowledge("pods", "shop") is Knowledge.FAILED

    @pytest.mark.parametrize("operation", READS)
    @pytest.mark.parametrize("status", FAILING)
    async def test_are_tried_three_times_with_growing_waits(self, it: Bench, operation: str, status: int) -> None:
        it.wire.faults[operation] = [failing(status, "etcd is away")] * 9
        ended = await it.read(operation)
        assert not ended.ok
        assert len(it.wire.of(operation)) == READ_TRIES == 3
        assert [wait.why for wait in it.screen.waits] == [f"HTTP {status}"] * 2
        first, second = (wait.seconds for wait in it.screen.waits)
        assert 0 < first < second
        assert "Tried 3 times." in ended.result
        assert "etcd is away" in ended.result

    @pytest.mark.parametrize("status", FAILING)
    async def test_that_succeed_later_are_whole(self, it: Bench, status: int) -> None:
        it.wire.faults["list"] = [failing(status)] * 2
        assert (await it.read("list")).ok
        assert it.reader.view.knowledge("pods", "shop") is Knowledge.LISTED

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 422])
    async def test_that_are_refused_are_not_tried_again(self, it: Bench, status: int) -> None:
        it.wire.faults["list"] = [failing(status)] * 2
        assert not (await it.read("list")).ok
        assert len(it.wire.of("list")) == 1
        assert it.screen.waits == []

    async def test_do_not_fall_in_step_with_others(self, it: Bench) -> None:
        waits = []
        for dice in (0.0, 0.5, 1.0):
            it.client._dice = partial(float, dice)
            it.reader.refresh("shop")
            it.wire.faults["list"] = [failing(503)]
            await it.read("list")
            waits.append(it.screen.waits[-1].seconds)
        assert len(set(waits)) == 3


class TestForeignWatches:
    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_get_the_answer_as_it_came_and_wait_themselves(self, it: Bench, status: int) -> None:
        it.wire.faults["watch"] = [failing(status, "busy", Retry_After="7")]
        async with it.lab.client() as client, client.get(PODS, params={"watch": "true"}) as answer:
            assert answer.status == status
            assert answer.headers["Retry-After"] == "7"
            assert (await answer.json())["message"] == "busy"
        assert len(it.wire.of("watch")) == 1


class TestDryRuns:
    @pytest.mark.parametrize("status", [429, *FAILING])
    async def test_that_fail_are_unknown_and_raise_the_risk(self, it: Bench, status: int) -> None:
        sure = await it.propose()
        await it.lab.control.withdraw(sure.id)
        before = len(it.wire.of("dry run"))
        it.wire.faults["dry run"] = [failing(status, "busy")] * 3
        unsure = await it.propose()
        check = {c.name: c for c in unsure.checks}["dry run"]
        assert check.result is CheckResult.UNKNOWN
        assert "busy" in check.text
        assert unsure.risk.level != sure.risk.level
        assert len(it.wire.of("dry run")) == before + 1


class TestChanges:
    @pytest.mark.parametrize("retry_after", ["0", "3", "3600", "garbage", "a date"])
    async def test_that_a_busy_server_refuses_are_not_sent_again(self, it: Bench, retry_after: str) -> None:
        given = date_in(30) if retry_after == "a date" else retry_after
        outcome = await it.change(*[failing(429, "too many", Retry_After=given)] * 5)
        assert outcome.state is State.FAILED
        assert "asked to wait" in outcome.message
        assert "not sent again" in outcome.message
        assert len(it.wire.of("mutate")) == 1
        if retry_after == "3600":
            assert "60 min" in outcome.message

    async def test_that_a_busy_server_refused_need_a_new_approval(self, it: Bench) -> None:
        outcome = await it.change(failing(429, Retry_After="1"))
        assert (await it.lab.control.execute(outcome.proposal)) == outcome
        again = await it.propose()
        assert again.id != outcome.proposal
        assert len(it.wire.of("mutate")) == 1

    @pytest.mark.parametrize("status", FAILING)
    async def test_that_end_in_a_server_fault_are_unknown_and_looked_at(self, it: Bench, status: int) -> None:
        outcome = await it.change(*[failing(status, "etcd is away")] * 5)
        assert outcome.state is State.UNKNOWN
        assert f"HTTP {status}" in outcome.message
        assert "the object is as it was, resourceVersion 10" in outcome.message
        assert len(it.wire.of("mutate")) == 1
        last = it.wire.seen[-1]
        assert (last.method, last.target) == ("GET", DEPLOYMENT)

    async def test_that_took_effect_before_the_fault_are_seen_to_have_moved_the_object(self, it: Bench) -> None:
        proposal = await it.propose()
        await it.lab.control.decide(says(proposal))

        async def applied_then_failed(seen: object, writer: object) -> None:
            it.wire.touch()
            await failing(504)(seen, writer)  # type: ignore[arg-type]

        it.wire.faults["mutate"] = [applied_then_failed]
        outcome = await it.lab.control.execute(proposal.id)
        assert outcome.state is State.UNKNOWN
        assert "the object has changed, resourceVersion 10 -> 99" in outcome.message


def test_a_wait_is_an_event_of_the_log() -> None:
    from assistant.domain.event import NAMES

    assert NAMES[ToolWaiting] == "tool_waiting"
