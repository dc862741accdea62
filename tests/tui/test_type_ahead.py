"""Keys that come in one packet, as over ssh: each acts where the one before it has led, and on nothing else."""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual import events
from textual.app import App
from textual.pilot import Pilot

from assistant.domain import event as ev
from assistant.tui.app import PilothouseApp
from assistant.tui.approvals import ApprovalsScreen
from assistant.tui.overlays import Field, FieldScreen, PaletteScreen
from assistant.tui.servers import ServersScreen
from assistant.tui.typeahead import TypeAhead
from tests.tui import fixture
from tests.tui.screens import built, settled
from tests.tui.scripted import ScriptedSession, StillClock

NAMES = {" ": "space", ":": "colon", "/": "slash", "?": "question_mark"}


def at_once(app: PilothouseApp, keys: str) -> None:
    """Post keys as the driver does with what it reads at once."""
    for key in keys:
        app.post_message(events.Key(NAMES.get(key, key), key))


async def opened(app: PilothouseApp, session: ScriptedSession, pilot: Pilot[int], clock: StillClock) -> None:
    session.emit(*fixture.investigation())
    await settled(pilot, clock)
    await pilot.press("escape")
    await settled(pilot, clock)


async def calm(pilot: Pilot[int], clock: StillClock) -> None:
    for _ in range(4):
        await settled(pilot, clock)


async def test_the_second_key_of_a_go_command_is_its_second_key() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, session, pilot, clock)
        at_once(app, "gm")
        await calm(pilot, clock)
        assert isinstance(app.screen, ServersScreen)
        assert not any(isinstance(each.payload, ev.HypothesisMarked) for each in session.events)
        at_once(app, "ga")
        await calm(pilot, clock)
        assert isinstance(app.screen, ApprovalsScreen)


async def test_a_question_typed_at_once_is_the_question() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, session, pilot, clock)
        at_once(app, "iwhy does pg crash?")
        await calm(pilot, clock)
        prompt = app.query_one("#prompt")
        assert getattr(prompt, "text", "") == "why does pg crash?"


@pytest.mark.parametrize(("keys", "screen"), [("/fo", FieldScreen), (":go", PaletteScreen)])
async def test_what_follows_a_key_that_opens_a_field_stands_in_the_field(keys: str, screen: type[FieldScreen]) -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, session, pilot, clock)
        at_once(app, keys)
        await calm(pilot, clock)
        assert isinstance(app.screen, screen)
        assert app.screen.query_one(Field).value == keys[1:]


async def test_keys_that_were_typed_before_an_approval_was_in_sight_decide_nothing() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await opened(app, session, pilot, clock)
        app.post_message(events.Key("f2", None))
        for key in ("a", "enter", "a", "enter", "d"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await calm(pilot, clock)
        assert isinstance(app.screen, ApprovalsScreen)
        assert not any(isinstance(each.payload, ev.Decided) for each in session.events)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet=string.ascii_letters + "gi/:? ", max_size=12))
async def test_any_keys_at_once_leave_an_app_that_answers(keys: str) -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, session, pilot, clock)
        at_once(app, keys)
        await calm(pilot, clock)
        for _ in range(3):
            await pilot.press("escape")
            await calm(pilot, clock)
        await pilot.press("ctrl+l")
        assert not any(isinstance(each.payload, ev.Decided) for each in session.events)


class Screenless:
    """What `TypeAhead` needs of an app: a queue of messages, and nothing that has the focus."""

    focused = None

    def __init__(self) -> None:
        self.queue: list[object] = []
        self.screen = self
        self._parent = None

    def post_message(self, message: object) -> bool:
        self.queue.append(message)
        return True

    def call_later(self, callback: Callable[..., None], *arguments: object) -> bool:
        return self.post_message(partial(callback, *arguments))

    def take(self, ahead: TypeAhead) -> list[str]:
        """Take the next message, as the app does; return the key that acted, if one did."""
        message = self.queue.pop(0)
        if isinstance(message, events.Key):
            if ahead.admit(message):
                ahead.sent()
                return [message.key]
        elif callable(message):
            message()
        return []


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_keys_act_in_the_order_in_which_they_were_typed_whenever_they_arrive(gaps: list[int]) -> None:
    app = Screenless()
    ahead = TypeAhead(cast("App[int]", app), StillClock())
    typed, acted = string.ascii_letters[: len(gaps)], ""
    for key, gap in zip(typed, gaps, strict=True):
        for _ in range(gap):
            acted += "".join(app.take(ahead) if app.queue else ())
        app.post_message(events.Key(key, key))
    while app.queue:
        acted += "".join(app.take(ahead))
    assert acted == typed
