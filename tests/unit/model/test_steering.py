"""What a person says, strikes or stops while a model thinks; and another change after one was denied."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agents.graph import GraphWorkflow
from assistant.domain import event as ev
from assistant.domain.hypothesis import Mark
from assistant.domain.proposal import Answer, ProposalState
from assistant.session.clock import SystemClock
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from tests.session.scripted import OPENED, ScriptedGate

from . import competent
from .scene import MODEL, calls, thinking
from .server import Says, text

CONFIG = {"kind": "ConfigMap", "name": "label-printer-env"}
END = calls(("answer", {"verdict": "undetermined", "text": "There is no better one.", "causes": []}))


def change(patch: dict[str, Any], title: str = "another host") -> Says:
    return calls(("propose_change", {**CONFIG, "title": title, "why": "as was asked", "patch": patch}))


async def test_a_direction_given_while_the_model_thinks_is_in_the_next_prompt(tmp_path: Path) -> None:
    async with thinking(tmp_path, "misspelt-host", Says()) as scene:

        def think(request: dict[str, Any]) -> Says:
            if len(scene.server.asked) == 1:
                scene.recorder.steer("Look at the Service first.")
            return calls(*competent.reply(request))

        scene.server.think = think
        await scene.conclude()
        assert "Look at the Service first." not in scene.prompt(0)
        assert "# What the person said since\n- Look at the Service first." in scene.prompt(1)


async def test_a_struck_hypothesis_is_shown_as_struck_and_stays_so(tmp_path: Path) -> None:
    suppose = calls(("suppose", {"hypotheses": [{"cause": "The network is down.", "for": ["E1", "E99"]}]}))
    async with thinking(tmp_path, "misspelt-host", Says()) as scene:

        def think(request: dict[str, Any]) -> Says:
            number = len(scene.server.asked)
            if number == 2:
                scene.recorder.emit(ev.HypothesisMarked("H2", Mark.STRUCK))
            return suppose if number < 4 else calls(*competent.reply(request, looks=False))

        scene.server.think = think
        await scene.conclude()
        assert f"H2 ({MODEL}): The network is down. for E1" in scene.prompt(1)
        assert "H2 [struck by the person]" in scene.prompt(2)
        assert "H2 [struck by the person]" in scene.prompt(3), "putting it up again does not undo that"


def session_parts(scene: Any, tmp_path: Path, store: SessionStore, gate: ScriptedGate) -> Parts:
    door = RecordedGate(gate)
    workflow = GraphWorkflow(scene.mind, door, tmp_path / "checkpoints.db", SystemClock())
    return Parts(store, workflow, door, SystemClock(), lambda said: (said, 0), "alice")


async def test_a_stop_while_the_model_hangs_ends_the_turn_and_the_connection(tmp_path: Path) -> None:
    hangs = Says(text("The ", finish=None), then="hang")
    with SessionStore.open(tmp_path / "s.db") as store:
        async with thinking(tmp_path, "misspelt-host", hangs) as scene, asyncio.timeout(60):
            session = await Session.open(session_parts(scene, tmp_path, store, ScriptedGate()), "s1", OPENED)
            await session.ask(scene.turn.question, "shipping")
            while not scene.server.asked:  # noqa: ASYNC110 - the server notes what it was asked
                await asyncio.sleep(0.005)
            turn = session._turn
            await session.stop("enough")
            # It waits CANCEL_SECONDS at most; a turn that is over by then was ended and not left behind.
            assert turn is not None and turn.done()
            assert not session.running
            assert session.case.stopped == "enough"
            assert session.case.opinion, "what the expert said is kept"
            await asyncio.wait_for(scene.server.gone.wait(), 5)
            await session.close()


async def denied(tmp_path: Path, *answers: Says) -> tuple[Session, Any, ScriptedGate, list[ev.Payload]]:
    """Deny the first proposal with words, and return what came of it."""
    gate = ScriptedGate()
    gate.time = SystemClock().now()
    with SessionStore.open(tmp_path / "s.db") as store:
        async with thinking(tmp_path, "misspelt-host", Says()) as scene, asyncio.timeout(60):
            waiting = list(answers)

            def think(request: dict[str, Any]) -> Says:
                if "was denied" in str(request["messages"][-1]["content"]):
                    return waiting.pop(0) if len(waiting) > 1 else waiting[0]
                return calls(*competent.reply(request, looks=False))

            scene.server.think = think
            session = await Session.open(session_parts(scene, tmp_path, store, gate), "s1", OPENED)
            await session.ask(scene.turn.question, "shipping")
            await session.settled()
            first = session.case.waiting[0].proposal
            state = await session.decide(first.id, Answer.DENY, "use the short name instead")
            assert state is ProposalState.DENIED
            await session.settled()
            events = [each.payload for each in session.events]
            assert scene.changing() == []
            await session.close()
            return session, scene, gate, events


async def test_a_denial_with_words_is_answered_by_a_change_that_was_tried(tmp_path: Path) -> None:
    short = {"data": {"QUEUE_HOST": "shipping-queue"}}
    refused = change({"data": "nonsense"}, "a wrong one")
    _, scene, gate, events = await denied(tmp_path, refused, change(short))
    asked = [each for each in scene.server.asked if "was denied" in each["messages"][-1]["content"]]
    assert len(asked) == 2
    assert "The person says: use the short name instead" in asked[0]["messages"][-1]["content"]
    assert asked[0]["messages"][0]["content"] != scene.server.asked[0]["messages"][0]["content"], (
        "the executor's prompt"
    )
    assert "propose_change a wrong one: The server refuses it" in asked[1]["messages"][-1]["content"]
    second = list(gate.held.values())[1][0]
    assert second.origin.remedy == "A4"
    assert '"shipping-queue"' in second.action.body
    assert [each.purpose for each in events if isinstance(each, ev.ModelCalled)][-2:] == ["change", "change"]


async def test_why_there_is_no_other_change_is_told(tmp_path: Path) -> None:
    _, _, _, events = await denied(tmp_path, END)
    notes = [each.text for each in events if isinstance(each, ev.Noted)]
    assert any("There is no better one." in each for each in notes), notes
