"""The session over the real LangGraph workflow, with a scripted mind and gate: approve, crash, resume, stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agents.graph import GraphWorkflow
from agents.mind import Conclusion
from assistant.domain import event as ev
from assistant.domain.action import Remedy
from assistant.domain.case import fold
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step
from assistant.domain.ports import Recorder, Turn
from assistant.domain.proposal import Answer, ProposalState
from assistant.session.clock import SystemClock
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from tests.session.scripted import CITED, FINDING, OPENED, REMEDY, ScriptedGate


class ScriptedMind:
    name = "scripted"

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        return (Step("S1", "look at the pods"), Step("S2", "read the events"))

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        call = recorder.new_call()
        recorder.emit(ev.ToolStarted(call, "list_pods", "list pods", CITED.request, "", step.id))
        fact = recorder.cite(CITED, call)
        recorder.emit(ev.ToolEnded(call, True, "1 pod", 0.1))
        return (replace(FINDING, evidence=(fact.id,)),)

    def standing(self, turn: Turn) -> Conclusion | None:
        return None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        return ()

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        return Conclusion(Verdict.FAULT, found[:1], (REMEDY,), "The image does not exist [E1].")

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        return None

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> ev.Verified:
        return ev.Verified(proposal, ev.Healing.FIXED, "3 of 3 pods are ready")


def parts_at(path: Path, store: SessionStore, first: int) -> tuple[Parts, ScriptedGate, GraphWorkflow]:
    gate = ScriptedGate(first)
    gate.time = datetime.now(UTC)
    door = RecordedGate(gate)
    workflow = GraphWorkflow(ScriptedMind(), door, path / "checkpoints.db", SystemClock())
    return Parts(store, workflow, door, SystemClock(), lambda text: (text, 0), "alice"), gate, workflow


async def test_a_change_is_proposed_approved_sent_once_and_verified(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        parts, gate, workflow = parts_at(tmp_path, store, 1)
        session = await Session.open(parts, "s1", OPENED)
        async with asyncio.timeout(20):
            await session.ask("why is web down?")
            await session.settled()
            await session.decide(session.case.waiting[0].proposal.id, Answer.APPROVE)
            await session.finished()
        kinds = [event.kind for event in session.events]
        for kind in ("proposed", "decided", "sending", "concluded", "verified", "turn_ended"):
            assert kinds.count(kind) == 1, kind
        assert kinds.index("sending") < kinds.index("concluded") < kinds.index("verified")
        assert gate.sent == ["A-0001"]
        await session.close()
        await workflow.close()
        assert fold(store.load("s1").events) == session.case and store.verify("s1").intact


async def test_a_turn_goes_on_in_another_process_with_a_new_gate(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        parts, _, workflow = parts_at(tmp_path, store, 1)
        session = await Session.open(parts, "s1", OPENED)
        async with asyncio.timeout(20):
            await session.ask("why is web down?")
            await session.settled()
        old = session.case.waiting[0].proposal.id
        # What a killed process leaves behind: its events and checkpoints, nothing concluded.
        await store.flush()
        session._closed = True
        for task in (session._turn, *session._tasks):
            assert task
            task.cancel()
        await workflow.close()
        store.release("s1")

        parts, gate, workflow = parts_at(tmp_path, store, 40)
        async with asyncio.timeout(20):
            session = await Session.resume(parts, "s1", store.load("s1").events)
            await session.settled()
            known = session.case.proposal(old)
            assert known and known.state is ProposalState.VOID
            fresh = session.case.waiting[0].proposal
            assert fresh.id != old
            await session.decide(fresh.id, Answer.APPROVE)
            await session.finished()
        assert gate.sent == [fresh.id]
        kinds = [event.kind for event in session.events]
        assert kinds.count("asked") == 1 and kinds.count("answered") == 1, "the investigation is not done twice"
        await session.close()
        await workflow.close()
        assert store.verify("s1").intact


async def test_stopping_while_a_change_waits_takes_it_back_at_once(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        parts, gate, workflow = parts_at(tmp_path, store, 1)
        session = await Session.open(parts, "s1", OPENED)
        async with asyncio.timeout(20):
            await session.ask("why is web down?")
            await session.settled()
            started = asyncio.get_running_loop().time()
            await session.stop("esc")
            assert asyncio.get_running_loop().time() - started < 0.3
        assert gate.sent == [] and session.case.waiting == ()
        await session.close()
        await workflow.close()
