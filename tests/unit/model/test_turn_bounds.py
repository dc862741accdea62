"""Whatever bound a turn reaches is told, the last calls are for the answer, and what was spent is read from the log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.model.budget import Allowance, Bound
from assistant.domain import event as ev
from assistant.domain.case import Spent
from assistant.session.recorder import SessionRecorder

from . import competent
from .scene import MODEL, Scene, calls, thinking
from .server import DONE, Says, call, event, usage
from .test_faults import FakeClock

FREE = Allowance(Bound(), Bound(), Bound())
END = {"answer", "propose_change"}


def reads(number: int) -> Says:
    return calls(("list", {"kind": "Pod", "match": f"p{number}"}))


class Reader:
    """Reads something new each time, and answers once nothing else is offered."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, request: dict[str, Any]) -> Says:
        self.number += 1
        return calls(*competent.reply(request, looks=False)) if offered(request) <= END else reads(self.number)


def offered(request: dict[str, Any]) -> set[str]:
    return {each["function"]["name"] for each in request["tools"]}


def bounds(scene: Scene) -> list[str]:
    return [p.bound for p in (each.payload for each in scene.recorder.events) if isinstance(p, ev.BudgetReached)]


@pytest.mark.parametrize(
    ("allowance", "told", "most"),
    [
        (replace(FREE, turn=Bound(calls=5)), "no more calls are allowed", 5),
        (replace(FREE, turn=Bound(tokens=9_000), tool_calls=99), "the tokens are nearly used up", 40),
        (replace(FREE, turn=Bound(calls=50), tool_calls=3), "no more may be read", 5),
    ],
)
async def test_the_last_calls_offer_the_answer_only_and_it_is_given(
    allowance: Allowance, told: str, most: int, tmp_path: Path
) -> None:
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance) as scene:
        scene.server.think = Reader()
        done = await scene.conclude()
        assert done.by == MODEL
        assert done.findings[0].by == f"expert and {MODEL}"
        assert len(scene.server.asked) <= most
        assert [offered(each) <= END for each in scene.server.asked][-1]
        assert f"Now end with `answer`: {told}" in scene.prompt(-1)
        assert not [each for each in scene.server.asked[:-2] if offered(each) <= END]


@pytest.mark.parametrize(
    ("allowance", "spent", "bound", "says"),
    [
        (replace(FREE, turn=Bound(calls=1)), Spent(1), "calls", "This turn has used 1 of 1 calls"),
        (replace(FREE, session=Bound(calls=2)), Spent(), "calls", "This session has used 2 of 2 calls"),
        (replace(FREE, day=Bound(calls=9)), Spent(calls=8), "calls", "Today's sessions have used"),
        (replace(FREE, turn=Bound(tokens=100)), Spent(), "tokens", "This turn has used 0 of 100 tokens"),
        (replace(FREE, session=Bound(tokens=100)), Spent(), "tokens", "This session has used 0 of 100 tokens"),
        (replace(FREE, day=Bound(tokens=100)), Spent(1, 90, 20), "tokens", "Today's sessions have used 110 of 100"),
        (
            replace(FREE, day=Bound(cost_usd=1.0)),
            Spent(1, 9, 9, 1.0),
            "cost",
            "Today's sessions have used 1.00 of 1.00",
        ),
        (replace(FREE, turn=Bound(cost_usd=0.5)), Spent(), "cost", "This turn has used 0.50 of 0.50"),
        (replace(FREE, session=Bound(cost_usd=0.5)), Spent(), "cost", "This session has used 0.50 of 0.50"),
    ],
)
async def test_a_bound_that_is_reached_is_told_and_the_experts_answer_stands(
    allowance: Allowance, spent: Spent, bound: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.model.stream._cost", lambda *given: 0.5)
    number = iter(range(99))
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance, day=lambda: spent) as scene:
        bad = calls(("answer", {"verdict": "fault", "text": "x", "causes": []}))
        scene.server.think = lambda request: bad if offered(request) <= END else reads(next(number))
        done = await scene.conclude()
        assert done.by == "expert"
        assert bounds(scene) == [bound]
        assert [said for said in scene.said() if said.startswith(says)]
        assert len(scene.server.asked) <= 3
        assert scene.case.spent.cost_usd == 0.5 * len(scene.server.asked)


async def test_a_bound_of_money_that_cannot_hold_is_told_once(tmp_path: Path) -> None:
    allowance = replace(FREE, turn=Bound(100_000, 0.5, 6))
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance) as scene:
        scene.server.think = Reader()
        await scene.conclude()
        assert len([said for said in scene.said() if "price of" in said and "is not known" in said]) == 1


async def test_a_model_that_takes_longer_than_the_turn_may_is_ended_and_told(tmp_path: Path) -> None:
    clock = FakeClock()
    allowance = replace(FREE, turn=Bound(calls=9), seconds=20.0)
    async with thinking(tmp_path, "misspelt-host", Says(then="hang"), allowance=allowance, clock=clock) as scene:
        thinks = asyncio.create_task(scene.conclude())
        async with asyncio.timeout(60):
            while not scene.server.asked or not clock.waits_for(20.0):  # noqa: ASYNC110 - time is its own
                await asyncio.sleep(0.001)
        # The wait for the head of the answer may be over just then, and the one for its first words begin.
        while not thinks.done():
            await clock.pass_seconds(21.0)
        done = await thinks
        assert done.by == "expert"
        assert bounds(scene) == ["seconds"]
        assert len(scene.called()) == 1
        await asyncio.wait_for(scene.server.gone.wait(), 10)


async def test_whoever_reads_for_three_quarters_of_the_time_is_asked_to_answer(tmp_path: Path) -> None:
    clock = FakeClock()

    def think(request: dict[str, Any]) -> Says:
        clock.time += timedelta(seconds=19)
        return reader(request)

    reader, allowance = Reader(), replace(FREE, turn=Bound(calls=99), seconds=100.0)
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance, clock=clock) as scene:
        scene.server.think = think
        done = await scene.conclude()
        assert done.by == MODEL
        assert [offered(each) <= END for each in scene.server.asked] == [False, False, False, False, True]
        assert "the time is nearly up" in scene.prompt(-1)


async def test_the_same_call_three_times_is_the_end_of_reading(tmp_path: Path) -> None:
    same = calls(("get", {"kind": "ConfigMap", "name": "label-printer-env"}))
    async with thinking(tmp_path, "misspelt-host", Says()) as scene:
        scene.server.think = lambda request: (
            calls(*competent.reply(request, looks=False)) if offered(request) <= END else same
        )
        done = await scene.conclude()
        assert [len(offered(each)) for each in scene.server.asked][-1] == 2
        assert len(scene.server.asked) == 4
        assert "you called it so already" in scene.prompt(1 + 1)
        read = [c for c in scene.case.calls if c.title.startswith("model: get")]
        assert len(read) == 1, "and it is read once"
        assert done.by == MODEL


async def test_changes_count_as_calls_of_tools(tmp_path: Path) -> None:
    change = {"title": "t", "kind": "ConfigMap", "name": "label-printer-env", "why": "x"}

    def think(request: dict[str, Any]) -> Says:
        parts = [
            call(
                "propose_change", f'{{"patch": {{"data": {{"N{len(scene.server.asked)}": "{n}"}}}}, {given}}}', index=n
            )
            for n in range(20)
        ]
        return Says([*(p for part in parts for p in part), event({}, "tool_calls"), usage(), DONE])

    given = ", ".join(f'"{name}": "{value}"' for name, value in change.items())
    allowance = replace(FREE, turn=Bound(calls=6), tool_calls=10)
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance) as scene:
        scene.server.think = think
        await scene.conclude()
        tried = [line for line in scene.log.read_text().splitlines() if '"PATCH"' in line]
        assert len(tried) <= 10, "a cluster is not asked a hundred times to try something"
        assert scene.changing() == []


async def test_what_was_spent_before_a_crash_counts_after_it(tmp_path: Path) -> None:
    allowance = replace(FREE, turn=Bound(calls=4))
    number = iter(range(99))
    async with thinking(tmp_path, "misspelt-host", Says(), allowance=allowance) as scene:
        scene.server.think = lambda request: reads(next(number))
        await scene.conclude()
        used = scene.case.spent_turn.calls
        assert used == 3, "two to read; the first of the two for answering read on, which ends it"
        again = SessionRecorder("s-1", scene.store, FakeClock(), lambda text: (text, 0), tuple(scene.recorder.events))
        scene.server.think = Reader()
        done = await scene.mind.conclude(scene.turn, tuple(scene.found), again)
        assert again.case.spent_turn.calls == used + 1
        assert done.by == MODEL
        assert f"E{len(scene.case.evidence)}" in scene.prompt(-1), "what was read before is known"
        third = await scene.mind.conclude(scene.turn, tuple(scene.found), again)
        assert third.by == "expert"
        assert len(scene.server.asked) == used + 1
