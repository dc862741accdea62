"""Held calls, questions and progress in the transcript and in the replay: what waits, what was said, read-only."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.tui.app import PilothouseApp
from assistant.tui.asked import asked_first
from assistant.tui.lines import as_text
from assistant.tui.overlays import TextScreen
from assistant.tui.ports import Recording
from assistant.tui.replay import ReplayScreen
from assistant.tui.steps import Show, grouped, step_text
from assistant.tui.transcript import Transcript
from tests.tui import fixture, foreign
from tests.tui.screens import settled
from tests.tui.scripted import StillClock
from tests.tui.test_hostile_text import HOSTILE
from tests.tui.test_screens import screen_text

DECIDED = ev.CallDecided("m1", True, "", "alice")
ANSWERED = ev.QuestionAnswered("Q7.1", Reply.ACCEPT, ("name", "public"), "alice")


def told(*payloads: ev.Payload, later: float = 0.0) -> str:
    case = fixture.case_of([*fixture.investigation()[:2], *payloads])
    assert case.last_at is not None
    return as_text(Transcript(lambda text, ref: []).lines(case, case.last_at + timedelta(seconds=later)))


def test_what_waits_says_which_key_opens_it_and_stops_saying_so_once_answered() -> None:
    assert "f3 shows it" in told(foreign.held())
    assert "f3 answers it" in told(foreign.question())
    text = told(foreign.held(), DECIDED, foreign.question(), ANSWERED)
    assert "f3" not in text
    assert "post_message of notes allowed once by alice" in text
    assert "question of notes answered by alice: name, public" in text


def test_the_same_transcript_is_drawn_anew_when_an_answer_comes() -> None:
    shown = Transcript(lambda text, ref: [])
    before = fixture.case_of([*fixture.investigation()[:2], foreign.held()])
    after = fixture.case_of([*fixture.investigation()[:2], foreign.held(), DECIDED])
    assert "f3" in as_text(shown.lines(before, fixture.START))
    assert "f3" not in as_text(shown.lines(after, fixture.START))


def test_a_refusal_names_who_and_why_and_nobody_is_said_where_nobody_was() -> None:
    assert "not allowed by bob: too early" in told(foreign.held(), ev.CallDecided("m1", False, "too early", "bob"))
    text = told(foreign.held(), ev.CallDecided("m1", False, "nobody answered"))
    assert "not allowed: nobody answered" in text
    assert "not answered" in told(foreign.question(), ev.QuestionAnswered("Q7.1", Reply.CANCEL))


def test_a_running_call_shows_what_its_server_says_and_when_it_is_given_up() -> None:
    running = [*foreign.called()[4:5], ev.ToolProgressed("n3", "page 2 of 7", 12.0)]
    assert "given up in 8 s" in told(*running, later=4.5)
    assert "| page 2 of 7" in told(*running)
    assert "giving up" in told(*running, later=20)
    ended = told(*running, ev.ToolEnded("n3", True, "ok", 3.0))
    assert "page 2" not in ended
    assert "given up" not in ended


def test_progress_of_any_length_is_two_rows_behind_a_bar() -> None:
    running = [*foreign.called()[4:5], ev.ToolProgressed("n3", HOSTILE * 200, 12.0)]
    rows = told(*running).split("\n")
    assert sum("| " in row for row in rows) == 2
    assert any("rows more" in row for row in rows)


def test_what_waits_longest_comes_first_whichever_kind_it_is() -> None:
    early, late = foreign.held(), foreign.question(until=foreign.UNTIL + timedelta(seconds=5))
    case = fixture.case_of([*fixture.investigation()[:2], late, early])
    assert asked_first(case) == early
    assert asked_first(fixture.case_of(fixture.investigation()[:2])) is None


def test_progress_belongs_to_the_reads_and_answers_are_steps_of_their_own() -> None:
    events = fixture.numbered([
        *fixture.investigation()[:2], *foreign.called(), ev.ToolProgressed("n3", "page 3", 9.0), foreign.held(),
        DECIDED, ev.ToolProgressed("n3", "page 4", 8.0), foreign.question(), ANSWERED,
        ev.ToolEnded("n3", True, "ok", 1.0),
    ])  # fmt: skip
    said = [step_text(step) for step in grouped(events, Show.STEPS)]
    assert said[2:] == [
        "3 reads, 1 FAILED", "held: post_message of notes may change something", "ALLOWED ONCE by alice",
        "MCP server notes asks: Whom shall the note name, and who may read it?", "server's question answered by alice",
    ]  # fmt: skip
    changes = " ".join(step_text(step) for step in grouped(events, Show.CHANGES))
    for words in ("held:", "ALLOWED ONCE", "asks:", "question answered"):
        assert words in changes
    assert any("given up in 9 s" in step_text(step) for step in grouped(events, Show.EVENTS))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_replay_shows_them_and_has_no_way_to_answer(size: tuple[int, int]) -> None:
    events = fixture.numbered([*fixture.investigation()[:4], foreign.held(), DECIDED, foreign.question(), ANSWERED])
    clock = StillClock()
    app = PilothouseApp(recording=Recording("s", events, fixture.BODIES.__getitem__), clock=clock)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        assert isinstance(app.screen, ReplayScreen)
        while not isinstance(app.screen.player.event and app.screen.player.event.payload, ev.CallHeld):
            await pilot.press("full_stop")
        await settled(pilot, clock)
        assert "payments-oncall" in screen_text(app)
        await pilot.press("f3")
        await settled(pilot, clock)
        assert isinstance(app.screen, ReplayScreen), "nothing of a recording waits for anybody"
        await pilot.press("enter", "a", "enter", "d")
        assert isinstance(app.screen, TextScreen)
        assert "payments-oncall" in screen_text(app)
        await pilot.press("escape", "full_stop", "full_stop")
        await settled(pilot, clock)
        text = screen_text(app)
        assert "in its words" in text
        assert "Your name" in text
        await pilot.press("full_stop")
        await settled(pilot, clock)
        assert "stand in no log" in screen_text(app)


def test_hostile_words_of_servers_stay_words() -> None:
    text = told(
        foreign.held(tool=HOSTILE, server=HOSTILE, lines=(HOSTILE,)), ev.CallDecided("m1", False, HOSTILE, HOSTILE),
        foreign.question(server=HOSTILE, message=HOSTILE * 500, url=HOSTILE),
        ev.QuestionAnswered("Q7.1", Reply.ACCEPT, (HOSTILE,), HOSTILE),
    )  # fmt: skip
    assert chr(27) not in text
    assert "\u202e" not in text
    assert len(text) < 4_000
