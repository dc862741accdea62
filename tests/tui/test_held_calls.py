"""A held call of an MCP tool: shown whole, allowed by no accident, and never taken for a change that was examined."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual import events
from textual.pilot import Pilot
from textual.screen import ModalScreen

from assistant.domain import event as ev
from assistant.tui.app import PilothouseApp
from assistant.tui.approvals import ApprovalsScreen
from assistant.tui.arming import SETTLE_SECONDS
from assistant.tui.heldcall import HeldCallScreen
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import KEYS
from tests.tui import fixture, foreign
from tests.tui.screens import built, settled
from tests.tui.scripted import ScriptedSession, StillClock
from tests.tui.test_screens import screen_text

SIZES = [(80, 24), (120, 36)]
Opened = tuple[PilothouseApp, Pilot[int], ScriptedSession, StillClock]


@asynccontextmanager
async def holding(*held: ev.CallHeld, size: tuple[int, int] = (120, 36), settle: bool = True) -> AsyncIterator[Opened]:
    """An app whose screen shows a call that waits."""
    clock = StillClock()
    app, session = built(clock)
    session.emit(*fixture.investigation()[1:4], *(held or (foreign.held(),)))
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await pilot.press("f3")
        await pilot.pause()
        if settle:
            await settled(pilot, clock)
        assert isinstance(app.screen, HeldCallScreen)
        yield app, pilot, session, clock


@pytest.mark.parametrize("size", SIZES)
async def test_it_shows_server_tool_all_arguments_and_that_nobody_examined_it(size: tuple[int, int]) -> None:
    async with holding(size=size) as (app, _, _session, _clock):
        text = screen_text(app)
        for words in ("post_message", "notes", "payments-oncall", "denied in", "no undo", "allow once", "PROD"):
            assert words in text, words
        assert "APPROVE A CHANGE" not in text
        assert "SAYS IT DESTROYS" not in text


async def test_a_then_enter_allows_it_once_with_the_digest_that_was_shown() -> None:
    async with holding() as (app, pilot, session, clock):
        await pilot.press("a", "enter", "enter", "a", "enter")
        await settled(pilot, clock)
        assert session.asking.decided == [("m1", foreign.held().digest, True, "")]
        assert isinstance(app.screen, InvestigateScreen)
        assert "allowed once" in screen_text(app)


async def test_no_single_key_allows_it() -> None:
    keys = {k for key in KEYS for k in key.keys} | set(string.printable[:95]) | {"enter", "space", "f5", "delete"}
    keys -= {"ctrl+q", "d", " "}
    async with holding() as (app, pilot, session, clock):
        for key in sorted(keys):
            while isinstance(app.screen, ModalScreen):
                app.pop_screen()
            app.switch("call")
            await settled(pilot, clock)
            assert isinstance(app.screen, HeldCallScreen), key
            app.screen.disarm()
            await pilot.press(key)
        assert [each for each in session.asking.decided if each[2]] == []


@pytest.mark.parametrize("between", ["j", "space", "x", "up", "escape", "tab", "question_mark"])
async def test_any_other_key_disarms(between: str) -> None:
    async with holding() as (_, pilot, session, _clock):
        await pilot.press("a", between, "enter")
        assert session.asking.decided == []


async def test_keys_typed_before_and_just_after_it_opened_never_answer_it() -> None:
    async with holding(settle=False) as (_, pilot, session, clock):
        await pilot.press("a", "enter", "d", "f")
        clock.advance(SETTLE_SECONDS / 2)
        await pilot.press("a", "enter", "d")
        assert session.asking.decided == []
        clock.advance(SETTLE_SECONDS)
        await pilot.press("enter")
        assert session.asking.decided == []


async def test_a_click_and_a_paste_disarm_and_never_allow() -> None:
    async with holding() as (app, pilot, session, clock):
        await pilot.press("a")
        await pilot.click("#actions", offset=(3, 0))
        await pilot.press("enter")
        await settled(pilot, clock)
        await pilot.press("a")
        app.post_message(events.Paste("a\n"))
        await pilot.pause()
        await pilot.press("enter")
        assert session.asking.decided == []


@pytest.mark.parametrize("size", SIZES)
async def test_all_of_a_long_call_has_to_be_in_sight_and_a_jump_to_the_end_is_not_enough(size: tuple[int, int]) -> None:
    lines = ("server: notes", "tool: post", *(f'  "line {n}": "x"' for n in range(90)))
    async with holding(foreign.held(lines=lines), size=size) as (app, pilot, session, clock):
        await pilot.press("a", "enter")
        assert "Read all of it first" in screen_text(app)
        await pilot.press("G")
        await settled(pilot, clock)
        await pilot.press("a", "enter")
        assert session.asking.decided == []
        await pilot.press("home")
        for _ in range(20):
            await pilot.press("ctrl+d")
        await settled(pilot, clock)
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert len(session.asking.decided) == 1


async def test_denying_needs_no_reading_and_hands_a_reason_over_verbatim() -> None:
    lines = tuple(f"line {n}" for n in range(200))
    async with holding(foreign.held(lines=lines)) as (_, pilot, session, clock):
        await pilot.press("f", *"ask in a week, a", "enter")
        await settled(pilot, clock)
        assert [(each[2], each[3]) for each in session.asking.decided] == [(False, "ask in a week, a")]


async def test_several_wait_in_order_and_keys_for_the_first_never_reach_the_second() -> None:
    second = foreign.held("m2", tool="purge", destructive=True)
    async with holding(foreign.held(), second) as (app, pilot, session, clock):
        assert "1/2" in screen_text(app)
        await pilot.press("a", "enter", "a", "enter", "d")
        await settled(pilot, clock)
        assert [each[0] for each in session.asking.decided] == ["m1"]
        assert isinstance(app.screen, HeldCallScreen)
        text = screen_text(app)
        assert "purge" in text
        assert "SAYS IT DESTROYS" in text
        await pilot.press("d")
        await settled(pilot, clock)
        assert [(each[0], each[2]) for each in session.asking.decided] == [("m1", True), ("m2", False)]
        assert isinstance(app.screen, InvestigateScreen)


async def test_brackets_go_round_the_calls_that_wait_and_disarm() -> None:
    async with holding(foreign.held(), foreign.held("m2", tool="purge")) as (app, pilot, session, clock):
        await pilot.press("a", "right_square_bracket", "enter", "a", "enter")
        assert session.asking.decided == []
        await settled(pilot, clock)
        assert "purge" in screen_text(app)
        await pilot.press("left_square_bracket")
        await settled(pilot, clock)
        assert "post_message" in screen_text(app)


async def test_a_call_that_changed_is_not_allowed_by_keys_meant_for_the_old_one() -> None:
    async with holding() as (app, pilot, session, clock):
        await pilot.press("a")
        session.emit(ev.CallDecided("m1", False, "", ""), foreign.held(digest="f" * 64, lines=("tool: drop_all",)))
        clock.advance(0.1)
        await pilot.pause(0.2)
        assert "drop_all" in screen_text(app)
        assert "changed since you looked" in screen_text(app)
        await pilot.press("enter", "a", "enter")
        assert session.asking.decided == []


async def test_one_that_ends_while_it_is_shown_says_so_and_answers_nothing_any_more() -> None:
    async with holding() as (app, pilot, session, clock):
        session.emit(ev.CallDecided("m1", False, "nobody answered", ""))
        await settled(pilot, clock)
        text = screen_text(app)
        assert "does not wait any more" in text
        assert "nobody answered" in text
        await pilot.press("a", "enter", "d")
        assert session.asking.decided == []
        await pilot.press("escape")
        await settled(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)


async def test_after_its_time_it_cannot_be_allowed_although_the_case_does_not_know_yet() -> None:
    async with holding() as (app, pilot, session, clock):
        clock.advance(3600)
        await pilot.press("a", "enter")
        assert session.asking.decided == []
        assert "in time" in screen_text(app)


async def test_what_the_desk_refuses_is_said_below_the_answers() -> None:
    async with holding() as (app, pilot, session, clock):
        held = session.case.held_calls
        session.emit(ev.Stopped("stopped by you"))
        app.screen._shown = held[0]  # type: ignore[attr-defined]
        await settled(pilot, clock)
        assert "the turn was stopped" in screen_text(app)
        await pilot.press("a", "enter", "d")
        assert session.asking.decided == []


async def test_it_opens_by_itself_only_when_nobody_types_and_no_overlay_is_open() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        session.emit(*fixture.investigation()[1:4])
        await pilot.press(*"what abou")
        session.emit(foreign.held())
        await settled(pilot, clock)
        screen = app.screen
        assert isinstance(screen, InvestigateScreen)
        assert screen.prompt.text == "what abou"
        assert "(f3)" in screen_text(app)
        await pilot.press("t", "tab")
        assert screen.prompt.text == "what about"
        session.emit(foreign.held("m2"))
        await settled(pilot, clock)
        assert isinstance(app.screen, HeldCallScreen)


async def test_it_waits_behind_an_open_approval_and_is_counted_apart() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await pilot.press("f2")
        await settled(pilot, clock)
        session.emit(foreign.held())
        await settled(pilot, clock)
        assert isinstance(app.screen, ApprovalsScreen)
        text = screen_text(app)
        assert "1 approval (f2)" in text
        assert "(f3)" in text


@pytest.mark.parametrize(
    "size", [(80, 24), *(pytest.param(each, marks=pytest.mark.long) for each in ((120, 36), (60, 16)))]
)
async def test_the_action_bar_stays_with_a_call_of_ten_thousand_lines(size: tuple[int, int]) -> None:
    made = foreign.held(lines=tuple("x" * 200 for _ in range(10_000)), tool="t" * 300, server="s" * 300)
    async with holding(made, size=size) as (app, _, _session, _clock):
        bar = app.screen.query_one("#actions").region
        assert bar.height == 1
        assert bar.bottom <= size[1]
        assert "locked" in screen_text(app)


async def test_the_terminal_is_asked_only_while_it_is_there() -> None:
    clock = StillClock()
    app, session = built(clock)
    attended = [session.asking.attended]
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        attended.append(session.asking.attended)
        await app.leave()
        attended.append(session.asking.attended)
    assert attended == [False, True, False]
    assert session.closed
