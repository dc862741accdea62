"""No accident approves: the guard alone (every sequence of keys), then the screen with a scripted session."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from assistant.domain import event as ev
from assistant.domain.action import Action, RequestClass, RiskLevel
from assistant.domain.proposal import Answer, DiffLine, Proposal, ProposalState, Risk, SecondPerson
from assistant.domain.target import Target
from assistant.tui.app import PilothouseApp
from assistant.tui.approvals import ApprovalsScreen
from assistant.tui.arming import ARMED_SECONDS, SETTLE_SECONDS, Guard, Locks, Move
from assistant.tui.card import LONGEST_BODY, shown_digest, why_lines, why_not_approvable
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import KEYS
from assistant.tui.lines import as_text
from assistant.tui.ports import Recording
from tests.tui import fixture
from tests.tui.screens import built, settled
from tests.tui.scripted import ScriptedSession, StillClock

STEPS = st.lists(st.one_of(st.sampled_from(["a", "enter", "d", "y", "space", "tab"]), st.floats(0, 20)))


@given(STEPS)
def test_only_a_directly_followed_by_enter_in_time_ever_runs(steps: list[str | float]) -> None:
    now = [0.0]
    guard = Guard(lambda: now[0])
    guard.settle()
    armed_at: float | None = None
    for step in steps:
        if isinstance(step, float):
            now[0] += step
            continue
        move = guard.press(step, Locks())
        in_time = armed_at is not None and now[0] - armed_at < ARMED_SECONDS
        assert (move is Move.RUN) == (step == "enter" and in_time and now[0] >= SETTLE_SECONDS)
        armed_at = now[0] if move is Move.ARMED else None


@given(STEPS)
def test_a_covered_card_drops_everything(steps: list[str | float]) -> None:
    guard = Guard(lambda: 1e9)
    assert {guard.press(s, Locks()) for s in steps if isinstance(s, str)} <= {Move.DROPPED}


@given(st.sampled_from([Locks("expired"), Locks(unread=True), Locks(name_missing=True)]), STEPS)
def test_a_locked_card_never_runs(locks: Locks, steps: list[str | float]) -> None:
    guard = Guard(lambda: 10.0)
    guard.cover()
    guard._quiet_until = 0.0
    assert Move.RUN not in {guard.press(s, locks) for s in steps if isinstance(s, str)}


@pytest.mark.parametrize("locks", [Locks("expired"), Locks(unread=True), Locks(name_missing=True)])
def test_each_lock_alone_stops_arming_and_running(locks: Locks) -> None:
    guard = Guard(lambda: 10.0)
    guard._quiet_until = 0.0
    assert guard.press("a", locks) is Move.LOCKED
    assert guard.press("enter", locks) is Move.DROPPED
    assert guard.press("a", Locks()) is Move.ARMED
    assert guard.press("enter", locks) is Move.LOCKED
    assert locks.reason


@asynccontextmanager
async def waiting(
    made: Proposal | None = None, size: tuple[int, int] = (120, 36), *, settle: bool = True
) -> AsyncIterator[tuple[PilothouseApp, Pilot[int], ScriptedSession, StillClock]]:
    """An app whose approval screen shows an open proposal."""
    clock = StillClock()
    app, session = built(clock)
    session.answers = fixture.investigation(made)[2:]
    session.after = fixture.outcome(made)[1:]
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await pilot.press("f2")
        await pilot.pause()
        if settle:
            await settled(pilot, clock)
        assert isinstance(app.screen, ApprovalsScreen)
        yield app, pilot, session, clock


async def test_a_then_enter_approves_once_with_the_digest_of_what_was_shown() -> None:
    async with waiting() as (app, pilot, session, clock):
        await pilot.press("a", "enter", "enter", "a", "enter")
        await settled(pilot, clock)
        assert [d.answer for d in session.decisions] == [Answer.APPROVE]
        assert session.decisions[0].shown == shown_digest(fixture.proposal())
        assert isinstance(app.screen, ApprovalsScreen)
        text = app.export_screenshot()
        for word in ("fixed", "undo"):
            assert word in text


async def test_no_single_key_approves() -> None:
    keys = (
        {k for key in KEYS for k in key.keys} | set(string.printable[:95]) | {"enter", "space", "tab", "f5", "delete"}
    )
    keys -= {"ctrl+q", "d", " "}
    async with waiting() as (app, pilot, session, clock):
        for key in sorted(keys):
            if not isinstance(app.screen, ApprovalsScreen):
                await pilot.press("escape")
                if not isinstance(app.screen, ApprovalsScreen):
                    await pilot.press("f2")
                await settled(pilot, clock)
            app.screen.disarm()  # type: ignore[attr-defined]
            await pilot.press(key)
        assert [d for d in session.decisions if d.answer is Answer.APPROVE] == []


async def test_enter_alone_on_a_fresh_card_does_nothing() -> None:
    async with waiting() as (_, pilot, session, clock):
        await pilot.press("enter", "enter", "space", "y")
        await settled(pilot, clock)
        assert session.decisions == []


@pytest.mark.parametrize("between", ["j", "space", "x", "up", "escape", "tab", "question_mark"])
async def test_any_other_key_disarms(between: str) -> None:
    async with waiting() as (_, pilot, session, _clock):
        await pilot.press("a", between, "enter")
        assert session.decisions == []


async def test_arming_ends_after_ten_seconds() -> None:
    async with waiting() as (_, pilot, session, clock):
        await pilot.press("a")
        clock.advance(10.0)
        await pilot.press("enter")
        assert session.decisions == []


async def test_keys_typed_before_and_just_after_it_opened_never_answer_it() -> None:
    async with waiting(settle=False) as (_, pilot, session, clock):
        await pilot.press("a", "enter", "d")
        clock.advance(SETTLE_SECONDS / 2)
        await pilot.press("a", "enter", "d")
        assert session.decisions == []
        clock.advance(SETTLE_SECONDS)
        await pilot.press("enter")
        assert session.decisions == []


async def test_a_click_and_a_paste_disarm_and_never_approve() -> None:
    async with waiting() as (app, pilot, session, clock):
        await pilot.press("a")
        await pilot.click("#actions", offset=(3, 0))
        await pilot.press("enter")
        await settled(pilot, clock)
        await pilot.press("a")
        app.post_message(events.Paste("a\n"))
        await pilot.pause()
        await pilot.press("enter")
        assert session.decisions == []


async def test_a_changed_proposal_is_not_answered_by_keys_meant_for_the_old_one() -> None:
    async with waiting() as (_, pilot, session, clock):
        await pilot.press("a")
        session.emit(ev.Proposed(fixture.proposal(resource_version="99")))
        clock.advance(0.1)
        await pilot.pause(0.2)
        await pilot.press("enter", "a", "enter")
        assert session.decisions == []


def critical() -> Proposal:
    target = Target("v1", "PersistentVolumeClaim", "payments", "pg-data-0", "5c1e")
    action = Action("DELETE", "/api/v1/namespaces/payments/persistentvolumeclaims/pg-data-0", target)
    return fixture.proposal(
        action=action, request_class=RequestClass.CRITICAL, risk=Risk(RiskLevel.CRITICAL, ("destroys the disk",))
    )


async def test_a_critical_change_needs_its_name_typed_and_ignores_paste() -> None:
    async with waiting(critical()) as (app, pilot, session, clock):
        app.post_message(events.Paste("pg-data-0"))
        await pilot.pause()
        await pilot.press("enter", "a", "enter")
        assert session.decisions == []
        for _ in range(20):
            await pilot.press("backspace")
        await pilot.press(*"pg-data-0")
        await pilot.pause()
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert session.decisions == [], "what was typed on in one go is not a decision"
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert [d.typed_name for d in session.decisions] == ["pg-data-0"]


@pytest.mark.parametrize("typed", ["", "pg-data", "PG-DATA-0", "pg-data-1"])
async def test_a_critical_change_is_locked_with_another_name_also_once_the_field_is_left(typed: str) -> None:
    async with waiting(critical()) as (app, pilot, session, clock):
        await pilot.press(*typed)
        await settled(pilot, clock)
        app.screen.query_one("#diff").focus()
        await settled(pilot, clock)
        await pilot.press("G", "a", "enter")
        await settled(pilot, clock)
        assert session.decisions == []
        assert isinstance(app.screen, ApprovalsScreen)
        assert not app.screen.guard.armed_seconds


async def test_a_name_that_begins_with_the_object_s_name_cannot_arm_by_its_next_letters() -> None:
    async with waiting(critical()) as (app, pilot, session, clock):
        await pilot.press(*"pg-data-0", *"aaa", "enter")
        await settled(pilot, clock)
        assert session.decisions == []
        assert isinstance(app.screen, ApprovalsScreen)
        assert not app.screen.guard.armed_seconds


async def test_a_change_for_two_people_is_locked_here_until_the_other_has_signed() -> None:
    rule = SecondPerson("four_eyes = all, for prod-*", ("ada",))
    async with waiting(fixture.proposal(second=rule)) as (app, pilot, session, clock):
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert session.decisions == []
        text = app.export_screenshot().replace("&#160;", " ")
        assert "approvals export" in text
        assert "two people" in text
        assert "nobody has agreed yet" in as_text(why_lines(fixture.proposal(second=rule)))
    async with waiting(fixture.proposal(second=replace(rule, agreed=("ada",)))) as (_, pilot, session, clock):
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert len(session.decisions) == 1
        assert session.decisions[0].looked_seconds > 0


async def test_all_changes_are_stopped_by_a_key_that_asks_first() -> None:
    async with waiting() as (app, pilot, session, clock):
        await pilot.press("X", "escape")
        await settled(pilot, clock)
        assert session.stops == []
        await pilot.press("X", *"wrong cluster", "enter")
        await settled(pilot, clock)
        assert session.stops == ["wrong cluster"]
        assert session.decisions == []
        assert "1 void" in app.export_screenshot().replace("&#160;", " ")


async def test_a_high_risk_change_needs_its_diff_read_to_the_end() -> None:
    many = tuple(DiffLine("+", f"line {n}") for n in range(400))
    made = fixture.proposal(diff=many, risk=Risk(RiskLevel.HIGH, ("production",)))
    async with waiting(made, (80, 24)) as (app, pilot, session, clock):
        await pilot.press("a", "enter")
        assert session.decisions == []
        assert "end" in app.export_screenshot()
        await pilot.press("G")
        await settled(pilot, clock)
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert len(session.decisions) == 1


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (60, 16)])
async def test_the_action_bar_stays_with_a_diff_of_ten_thousand_lines(size: tuple[int, int]) -> None:
    made = fixture.proposal(diff=tuple(DiffLine("+", "x" * 200) for _ in range(10_000)))
    async with waiting(made, size) as (app, _, _session, _clock):
        bar = app.screen.query_one("#actions").region
        assert bar.height == 1
        assert bar.bottom <= size[1]


async def test_what_cannot_be_shown_whole_cannot_be_approved() -> None:
    body = '{"x":"' + "y" * LONGEST_BODY + '"}'
    made = fixture.proposal(action=replace(fixture.proposal().action, body=body))
    assert why_not_approvable(made)
    for each in (made, fixture.proposal(not_approvable="access is denied")):
        async with waiting(each) as (_, pilot, session, clock):
            await pilot.press("a", "enter")
            await settled(pilot, clock)
            assert session.decisions == []


async def test_an_expired_change_cannot_be_approved() -> None:
    async with waiting() as (_, pilot, session, clock):
        clock.advance(3600)
        await pilot.press("a", "enter")
        assert session.decisions == []


async def test_denying_with_feedback_hands_it_over_verbatim() -> None:
    async with waiting() as (_, pilot, session, clock):
        await pilot.press("f")
        await pilot.press(*"not now, a", "enter")
        await settled(pilot, clock)
        assert [(d.answer, d.reason) for d in session.decisions] == [(Answer.DENY, "not now, a")]


async def test_a_refusal_of_the_gate_is_said_and_not_taken_for_success() -> None:
    async with waiting() as (app, pilot, session, clock):
        session.verdict = ProposalState.REFUSED
        await pilot.press("a", "enter")
        await settled(pilot, clock)
        assert "refused" in app.export_screenshot()


async def test_the_prompt_keeps_focus_and_text_when_a_proposal_arrives() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await pilot.press(*"what abou")
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        screen = app.screen
        assert isinstance(screen, InvestigateScreen)
        assert screen.prompt.text == "what abou"
        await pilot.press("t")
        assert screen.prompt.text == "what about"
        await pilot.press("escape")
        assert screen.prompt.text == "what about"


async def test_it_opens_by_itself_only_when_nobody_types_and_no_overlay_is_open() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await pilot.press("escape", "question_mark")
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        assert not isinstance(app.screen, ApprovalsScreen)
        await pilot.press("escape")
        session.emit(ev.Proposed(fixture.proposal(id="A2")))
        await settled(pilot, clock)
        assert isinstance(app.screen, ApprovalsScreen)


def test_there_is_no_always_allow() -> None:
    words = " ".join(f"{key.name} {key.text}" for key in KEYS).lower()
    assert "always" not in words
    assert {answer.value for answer in Answer} == {"approve", "deny"}


async def test_a_replayed_card_has_no_way_to_decide() -> None:
    app = PilothouseApp(recording=Recording("s-0188", fixture.whole(), fixture.BODIES.__getitem__), clock=StillClock())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("9", "enter")
        await pilot.press("a", "enter", "d")
        assert app.session is None
        assert app.read_only
