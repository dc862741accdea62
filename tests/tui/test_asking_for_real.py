"""The terminal over a real session: what its desk asks is answered on the screens, and an early key answers nothing."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.domain.ports import Pause, Recorder, Resolution, Turn
from assistant.errors import UsageError
from assistant.session.asking import Answer, Asking, Values
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from assistant.tui.app import PilothouseApp
from assistant.tui.arming import SETTLE_SECONDS, Guard
from assistant.tui.ports import SessionLike
from tests.session.scripted import OPENED, FakeClock
from tests.tui import foreign
from tests.tui.test_screens import screen_text


class AskingWorkflow:
    """A turn that wants one call of a tool allowed, and then has a question of its server answered."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.decided: list[ev.CallDecided] = []
        self.answers: list[Answer] = []

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        call = recorder.new_call()
        recorder.emit(ev.ToolStarted(call, "mcp", "notes  post_message", "mcp notes post_message {}"))
        self.decided.append(await self.asking.permit(call, "notes", "post_message", foreign.LINES, "d" * 64))
        self.answers.append(await self.asking.put("notes", "Whom?", foreign.FIELDS[:1], check=self._check))
        recorder.emit(ev.ToolEnded(call, self.decided[0].allowed, "posted", 0.1))
        return None

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        raise NotImplementedError

    def _check(self, values: Values) -> None:
        if len(values["name"]) > 5:
            raise UsageError("“Your name” is longer than 5 characters.", "Shorten it.")


@asynccontextmanager
async def terminal(folder: Path) -> AsyncIterator[tuple[PilothouseApp, Pilot[int], AskingWorkflow, FakeClock]]:
    clock = FakeClock()
    store = SessionStore.open(folder / "sessions.db")
    asking = Asking(clock, "alice")
    workflow = AskingWorkflow(asking)
    parts = Parts(store, workflow, None, clock, lambda text: (text, 0), "alice", asking=asking)

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        return await Session.open(parts, "s1", OPENED)

    app = PilothouseApp(connect, question="post it", clock=clock)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            yield app, pilot, workflow, clock
            if app.session is not None:
                await app.session.close()
    finally:
        store.close()


async def until(pilot: Pilot[int], holds: Callable[[], object]) -> None:
    for _ in range(500):
        if holds():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never happened")


def painted(app: PilothouseApp) -> bool:
    """Say whether the card has been painted, so that its quiet time runs."""
    guard: Guard | None = getattr(app.screen, "guard", None)
    return guard is not None and guard._quiet_until < math.inf


async def test_a_call_is_allowed_and_a_question_answered_through_the_real_desk(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (app, pilot, workflow, clock):
        await until(pilot, lambda: "f3 shows it" in screen_text(app))
        await pilot.press("f3", "a", "enter")
        await until(pilot, lambda: "ALLOW THIS CALL" in screen_text(app) and painted(app))
        await pilot.pause()
        assert app.current_mode == "call"
        assert workflow.decided == [], "the screen had not settled"
        await clock.pass_seconds(SETTLE_SECONDS)
        await pilot.press("a", "enter")
        await until(pilot, lambda: app.case.questions)
        assert [(each.allowed, each.by) for each in workflow.decided] == [(True, "alice")]
        await pilot.press("f3")
        await until(pilot, lambda: "ASKS YOU" in screen_text(app) and painted(app))
        await pilot.pause()
        await clock.pass_seconds(SETTLE_SECONDS)
        assert app.current_mode == "question"
        await pilot.press("enter", *"Ophelia", "enter", "ctrl+s", "enter")
        await until(pilot, lambda: "longer than 5" in screen_text(app))
        assert workflow.answers == []
        await pilot.press("enter", *["backspace"] * 4, "enter", "ctrl+s", "enter")
        await until(pilot, lambda: workflow.answers)
        assert workflow.answers == [Answer(Reply.ACCEPT, {"name": "Oph"})]
        await until(pilot, lambda: not app.case.running)
        assert not app.case.held_calls
        assert not app.case.questions


async def test_a_turn_that_is_stopped_takes_its_question_off_the_screen(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (app, pilot, workflow, clock):
        await until(pilot, lambda: "f3 shows it" in screen_text(app))
        await pilot.press("f3")
        await until(pilot, lambda: "ALLOW THIS CALL" in screen_text(app) and painted(app))
        await clock.pass_seconds(SETTLE_SECONDS)
        assert app.session is not None
        await app.session.stop("stopped by you")
        await until(pilot, lambda: "the turn was stopped" in screen_text(app))
        await pilot.press("a", "enter", "d")
        assert workflow.decided == []
