"""A server's questions reach the person within a call of ours, a few a call, and end with it; the time stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from assistant.domain.asking import QuestionAnswered, QuestionPut, Reply
from assistant.domain.event import Asked
from assistant.session.asking import Asking
from assistant.session.recorder import SessionRecorder
from assistant.store.log import SessionStore
from assistant.tools.mcp.connection import CallNews
from assistant.tools.mcp.elicitation import answering
from assistant.tools.mcp.faults import McpUnknownOutcomeError
from assistant.tools.mcp.questions import MOST_ROUNDS
from tests.session.scripted import OPENED, FakeClock, drain
from tests.unit.mcp.conftest import Desk, Desks
from tests.unit.mcp.servers.scripted import MODERN
from tests.unit.mcp.test_eras import Endpoint, served

ERAS = ("2025-06-18", "2025-11-25", MODERN)
FORM = {
    "mode": "form", "message": "How many?",
    "requestedSchema": {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]},
}  # fmt: skip


class Person:
    """Answers when the test says so, and remembers what was asked and what ended without an answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.ended = 0
        self.heard = asyncio.Event()
        self.answer = asyncio.Event()

    async def __call__(self, server: str, question: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append((server, question.message))
        self.heard.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        return types.ElicitResult(action="accept", content={"count": 3})


async def asked(desk: Desk, person: Person, seen: list[CallNews] | None = None) -> asyncio.Task[Any]:
    """Start a call and return when its server's question is before the person."""
    watch = None if seen is None else seen.append
    task = asyncio.create_task(desk.call("web__echo", watch=watch))
    heard = asyncio.create_task(person.heard.wait())
    await asyncio.wait({task, heard}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    assert person.heard.is_set(), task
    return task


@pytest.mark.parametrize("era", ERAS)
async def test_a_persons_answer_goes_back_and_the_call_is_made_once(desks: Desks, era: str) -> None:
    person = Person()
    async with desks(web={"era": era, "asks": [FORM]}, elicit=person) as desk:
        await desk.approve("web")
        task = await asked(desk, person)
        person.answer.set()
        outcome = await task
        assert person.asked == [("web", "How many?")]
        assert '"count": 3' in outcome.text
        assert desk.calls("web") == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_persons_answer_goes_back_over_http(desks: Desks, era: str) -> None:
    person = Person()
    endpoint = Endpoint(era, asks=[FORM])
    async with served(endpoint) as server, desks(server, elicit=person, environ={"T": "t"}) as desk:
        await desk.approve("far")
        task = asyncio.create_task(desk.call("far__echo"))
        async with asyncio.timeout(20):
            await person.heard.wait()
        await desk.clock.pass_seconds(100)
        person.answer.set()
        assert '"count": 3' in (await task).text
        assert person.asked == [("far", "How many?")]
        assert endpoint.script.calls == 1


@pytest.mark.parametrize("era", [ERAS[0], MODERN])
async def test_the_time_stands_still_while_a_person_is_asked_and_runs_on_after_it(desks: Desks, era: str) -> None:
    person, seen = Person(), list[CallNews]()
    async with desks(web={"era": era, "asks": [FORM], "fault": "hang-after"}, elicit=person) as desk:
        await desk.approve("web")
        task = await asked(desk, person, seen)
        assert seen[-1].asking
        for _ in range(5):
            await desk.clock.pass_seconds(40)
        assert not task.done()
        assert seen[-1].seconds_left == pytest.approx(30)
        person.answer.set()
        while any(news.asking for news in seen[-1:]):  # noqa: ASYNC110 - the hub's own callback
            await asyncio.sleep(0)
        await desk.clock.pass_seconds(1)
        assert not task.done()
        for _ in range(3):
            await desk.clock.pass_seconds(15)
        with pytest.raises(McpUnknownOutcomeError, match="within 30 seconds"):
            await task


@pytest.mark.parametrize("era", [ERAS[0], MODERN])
async def test_a_question_ends_with_the_call_that_a_person_stops(desks: Desks, era: str) -> None:
    person = Person()
    async with desks(web={"era": era, "asks": [FORM]}, elicit=person) as desk:
        await desk.approve("web")
        task = await asked(desk, person)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not person.ended:  # noqa: ASYNC110 - the hub's own task
            await asyncio.sleep(0)
        assert person.ended == 1


@pytest.mark.parametrize("era", [ERAS[0], MODERN])
async def test_a_question_ends_with_its_server(desks: Desks, era: str) -> None:
    person = Person()
    async with desks(web={"era": era, "asks": [FORM]}, elicit=person) as desk:
        await desk.approve("web")
        task = await asked(desk, person)
        os.killpg(desk.groups[0], signal.SIGKILL)
        with pytest.raises(McpUnknownOutcomeError):
            await task
        assert person.ended == 1


async def test_a_question_outside_any_call_is_declined_and_nobody_sees_it(desks: Desks) -> None:
    person = Person()
    async with desks(web={"era": ERAS[1], "asks": [FORM], "fault": "asks-outside"}, elicit=person) as desk:
        desk.hub.approve_server("web", desk.hub.status()[0].digest)
        await desk.hub.tools("web")
        # The server reads one line after the other: it has the answer when it has answered what came after it.
        await desk.clock.pass_seconds(61)
        await desk.hub.tools("web")
        said = [entry["answered"] for entry in desk.journal("web") if "answered" in entry]
        assert said[0] == {"action": "decline"}
        assert person.asked == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_may_ask_a_few_times_only(desks: Desks, era: str) -> None:
    person = Person()
    person.answer.set()
    async with desks(web={"era": era, "asks": [FORM] * (MOST_ROUNDS + 3)}, elicit=person) as desk:
        await desk.approve("web")
        said = (await desk.call("web__echo")).text
        assert len(person.asked) == MOST_ROUNDS
        assert said.count('"decline"') == 3


async def test_a_server_that_asks_instead_of_answering_is_given_up(desks: Desks) -> None:
    person = Person()
    person.answer.set()
    async with desks(web={"asks": [FORM], "again": True}, elicit=person) as desk:
        await desk.approve("web")
        with pytest.raises(Exception, match="again and again"):
            await desk.call("web__echo")
        assert len(person.asked) == MOST_ROUNDS


async def test_one_question_of_a_server_at_a_time_is_before_the_person(desks: Desks) -> None:
    person = Person()
    async with desks(web={"era": ERAS[1], "asks": [FORM, FORM]}, elicit=person) as desk:
        await desk.approve("web")
        task = await asked(desk, person)
        await desk.clock.pass_seconds(5)
        assert len(person.asked) == 1
        person.answer.set()
        await task
        assert len(person.asked) == 2


async def test_a_question_that_may_be_of_either_of_two_calls_holds_both_and_ends_with_the_last(desks: Desks) -> None:
    person, seen = Person(), list[CallNews]()
    async with desks(web={"era": ERAS[1], "asks": [FORM], "fault": "hang-after"}, elicit=person) as desk:
        await desk.approve("web")
        other = asyncio.create_task(desk.call("web__echo", watch=seen.append))
        first = await asked(desk, person)
        for _ in range(5):
            await desk.clock.pass_seconds(40)
        assert not first.done()
        assert not other.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert person.ended == 0
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        await drain()
        assert person.ended == 1


async def test_who_cannot_be_asked_says_no(desks: Desks) -> None:
    async def broken(server: str, question: types.ElicitRequestParams) -> types.ElicitResult:
        raise RuntimeError("no screen")

    async with desks(web={"asks": [FORM]}, elicit=broken) as desk:
        await desk.approve("web")
        assert '"decline"' in (await desk.call("web__echo")).text


async def waiting(recorder: SessionRecorder, task: asyncio.Task[Any]) -> QuestionPut:
    while not recorder.case.questions:
        assert not task.done(), task
        await asyncio.sleep(0)
    return recorder.case.questions[0]


@pytest.mark.parametrize("era", ERAS)
async def test_the_sessions_desk_asks_checks_and_answers(desks: Desks, tmp_path: Path, era: str) -> None:
    store = SessionStore.open(tmp_path / "sessions.db")
    store.claim("s1")
    clock = FakeClock()
    recorder = SessionRecorder("s1", store, clock, lambda text: (text, 0))
    recorder.emit(OPENED)
    recorder.emit(Asked(1, "why?", "shop"))
    asking = Asking(clock, "alice")
    asking.bind(recorder)
    asking.attended = True
    async with desks(web={"era": era, "asks": [FORM]}, elicit=answering(asking.put)) as desk:
        await desk.approve("web")
        task = asyncio.create_task(desk.call("web__echo"))
        question = await waiting(recorder, task)
        assert (question.server, question.message, question.fields[0].name) == ("web", "How many?", "count")
        with pytest.raises(Exception, match="no whole number"):
            asking.reply(question.question, Reply.ACCEPT, {"count": "many"})
        asking.reply(question.question, Reply.ACCEPT, {"count": "7"})
        assert '"count": 7' in (await task).text
    store.close()


async def test_a_question_that_ends_with_its_call_is_closed_in_the_log(desks: Desks, tmp_path: Path) -> None:
    store = SessionStore.open(tmp_path / "sessions.db")
    store.claim("s1")
    clock = FakeClock()
    recorder = SessionRecorder("s1", store, clock, lambda text: (text, 0))
    recorder.emit(OPENED)
    recorder.emit(Asked(1, "why?", "shop"))
    asking = Asking(clock, "alice")
    asking.bind(recorder)
    asking.attended = True
    async with desks(web={"asks": [FORM]}, elicit=answering(asking.put)) as desk:
        await desk.approve("web")
        task = asyncio.create_task(desk.call("web__echo"))
        question = await waiting(recorder, task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await drain()
        assert recorder.case.questions == ()
        assert QuestionAnswered(question.question, Reply.CANCEL) in [each.payload for each in recorder.events]
    store.close()
