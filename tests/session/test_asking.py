"""What a person is asked in the middle of a turn: calls of tools that may change something, and servers' questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assistant.domain import event as ev
from assistant.domain.asking import Field, FieldKind, Reply
from assistant.domain.case import fold
from assistant.errors import StoreError, UsageError
from assistant.session.asking import NO_ANSWER, NOBODY, WAIT_SECONDS, Answer, Asking, Values
from assistant.session.recorder import SessionRecorder
from assistant.store.log import SessionStore
from tests.session.scripted import OPENED, FakeClock, drain

LINES = ("server: notes", "tool: post", "it says of itself: nothing", '{"text": "hello"}')
DIGEST = "d" * 64


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.store = SessionStore.open(path / "sessions.db")
        self.store.claim("s1")
        self.recorder = SessionRecorder("s1", self.store, self.clock, lambda text: (text, 0))
        self.recorder.emit(OPENED)
        self.recorder.emit(ev.Asked(1, "why?", "shop"))
        self.asking = Asking(self.clock, "alice")
        self.asking.bind(self.recorder)
        self.asking.attended = True

    def permit(self, call: str = "T1") -> asyncio.Task[ev.CallDecided]:
        return asyncio.create_task(self.asking.permit(call, "notes", "notes__post", LINES, DIGEST))

    def put(self, check: object = None) -> asyncio.Task[Answer]:
        fields = (Field("who", "Who", FieldKind.TEXT),)
        return asyncio.create_task(self.asking.put("notes", "Who are you?", fields, check=check))  # type: ignore[arg-type]


@asynccontextmanager
async def desk(path: Path) -> AsyncIterator[Desk]:
    made = Desk(path)
    try:
        yield made
    finally:
        made.store.close()


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_call_waits_until_a_person_allows_it_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.permit()
        await drain()
        (held,) = here.recorder.case.held_calls
        assert held.lines == LINES
        assert not waiting.done()
        here.asking.decide("T1", DIGEST, True)
        assert (await waiting).allowed
        assert here.recorder.case.held_calls == ()
        assert fold(here.recorder.events) == here.recorder.case
        with pytest.raises(UsageError):
            here.asking.decide("T1", DIGEST, True)


async def test_a_yes_to_something_else_than_was_shown_counts_for_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.permit()
        await drain()
        with pytest.raises(UsageError):
            here.asking.decide("T1", "e" * 64, True)
        with pytest.raises(UsageError):
            here.asking.decide("T2", DIGEST, True)
        assert not waiting.done()
        here.asking.decide("T1", DIGEST, False, "not now")
        decided = await waiting
        assert (decided.allowed, decided.reason, decided.by) == (False, "not now", "alice")


async def test_nobody_there_is_a_no_at_once_and_nobody_answering_is_one_later(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.asking.attended = False
        assert await here.permit() == ev.CallDecided("T1", False, NOBODY)
        assert (await here.put()).reply is Reply.CANCEL
        here.asking.attended = True
        waiting = here.permit("T2")
        await drain()
        await here.clock.pass_seconds(WAIT_SECONDS)
        assert await waiting == ev.CallDecided("T2", False, NO_ANSWER)
        assert here.recorder.case.held_calls == ()


async def test_whoever_did_not_answer_is_not_waited_for_again_in_that_turn(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.permit()
        await drain()
        await here.clock.pass_seconds(WAIT_SECONDS)
        assert not (await waiting).allowed
        assert await here.permit("T2") == ev.CallDecided("T2", False, NO_ANSWER)
        assert (await here.put()).reply is Reply.CANCEL
        here.recorder.emit(ev.TurnEnded(1))
        here.recorder.emit(ev.Asked(2, "and now?", "shop"))
        again = here.permit("T3")
        await drain()
        assert not again.done()
        here.asking.decide("T3", DIGEST, True)
        assert (await again).allowed


async def test_a_yes_that_cannot_be_recorded_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path) as here:

        async def full() -> None:
            raise StoreError("The disk is full.", "Make room.")

        monkeypatch.setattr(here.store, "flush", full)
        waiting = here.permit()
        await drain()
        here.asking.decide("T1", DIGEST, True)
        decided = await waiting
        assert not decided.allowed
        assert "disk is full" in decided.reason


async def test_a_question_is_answered_with_values_that_no_log_holds(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.put()
        await drain()
        (question,) = here.recorder.case.questions
        here.asking.reply(question.question, Reply.ACCEPT, {"who": "Ophelia"})
        assert await waiting == Answer(Reply.ACCEPT, {"who": "Ophelia"})
        assert here.recorder.case.questions == ()
        answered = here.recorder.events[-1].payload
        assert answered == ev.QuestionAnswered(question.question, Reply.ACCEPT, ("who",), "alice")
        await here.store.flush()
    assert b"Ophelia" not in written(tmp_path)


async def test_values_that_a_question_does_not_take_leave_it_waiting(tmp_path: Path) -> None:
    def check(values: Values) -> None:
        if values["who"] == "":
            raise UsageError("Who must not be empty.", "Type a name.")

    async with desk(tmp_path) as here:
        waiting = here.put(check)
        await drain()
        (question,) = here.recorder.case.questions
        with pytest.raises(UsageError, match="must not be empty"):
            here.asking.reply(question.question, Reply.ACCEPT, {"who": ""})
        assert not waiting.done()
        here.asking.reply(question.question, Reply.DECLINE, {"who": "ignored"})
        assert await waiting == Answer(Reply.DECLINE, {})


async def test_a_question_goes_with_the_call_in_which_it_was_put(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.put()
        await drain()
        waiting.cancel()
        await drain()
        assert here.recorder.case.questions == ()
        assert here.asking.clock.monotonic() == 0
        after_the_end = here.put()
        await drain()
        here.recorder.emit(ev.Stopped("esc"))
        count = len(here.recorder.events)
        after_the_end.cancel()
        await drain()
        assert [each.kind for each in here.recorder.events[count:]] == []


async def test_the_clock_of_work_stands_still_while_a_person_thinks(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        clock = here.asking.clock
        bound = asyncio.create_task(clock.sleep(100))
        await drain()
        await here.clock.pass_seconds(60)
        waiting = here.permit()
        other = here.permit("T2")
        await drain()
        await here.clock.pass_seconds(120)
        assert clock.monotonic() == 60
        here.asking.decide("T1", DIGEST, True)
        await waiting
        await here.clock.pass_seconds(80)
        assert clock.monotonic() == 60, "the other one is still asked about"
        here.asking.decide("T2", DIGEST, False)
        await other
        assert not bound.done()
        await here.clock.pass_seconds(39)
        assert clock.monotonic() == 99
        assert not bound.done()
        await here.clock.pass_seconds(1)
        assert bound.done()
        assert clock.now() == here.clock.now()


async def test_stopping_the_turn_takes_what_waits_away(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.permit()
        await drain()
        waiting.cancel()
        await drain()
        here.recorder.emit(ev.Stopped("esc"))
        assert here.recorder.case.held_calls == ()
        with pytest.raises(UsageError):
            here.asking.decide("T1", DIGEST, True)
        assert fold(here.recorder.events) == here.recorder.case


async def test_a_session_that_is_closed_leaves_no_question_and_hears_of_none(tmp_path: Path) -> None:
    """A server that is read on its screen may ask without a turn, and is ended after the session."""
    async with desk(tmp_path) as here:
        here.recorder.emit(ev.TurnEnded(1))
        waiting = here.put()
        await drain()
        here.recorder.emit(ev.SessionClosed("nothing asked"))
        assert here.recorder.case.questions == ()
        count = len(here.recorder.events)
        waiting.cancel()
        await drain()
        assert len(here.recorder.events) == count


async def test_the_log_does_not_say_allowed_of_a_yes_that_could_not_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path) as here:

        async def full() -> None:
            raise StoreError("The disk is full.", "Make room.")

        monkeypatch.setattr(here.store, "flush", full)
        waiting = here.permit()
        await drain()
        here.asking.decide("T1", DIGEST, True)
        decided = await waiting
        assert here.recorder.events[-1].payload == decided
        assert not decided.allowed


async def test_a_call_that_is_cancelled_while_it_waits_is_not_left_waiting(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        waiting = here.permit()
        await drain()
        waiting.cancel()
        await drain()
        assert waiting.cancelled()
        assert here.recorder.case.held_calls == ()
        assert fold(here.recorder.events) == here.recorder.case
