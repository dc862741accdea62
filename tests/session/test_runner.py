"""What a session does with questions, decisions, foreign changes, stops and crashes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.domain import event as ev
from assistant.domain.case import fold
from assistant.domain.evidence import Citation
from assistant.domain.hypothesis import Mark
from assistant.domain.ports import Recorder, Turn
from assistant.domain.proposal import Answer, Decision, Origin, Outcome, ProposalState
from assistant.errors import GateError, StoreError, UsageError
from assistant.session.budget import Bounds
from assistant.session.door import RecordedGate
from assistant.session.follow import Connected
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from assistant.store.memory import MemoryStore
from assistant.store.sqlite import StoreLockedError
from tests.replay.thought import BOARD
from tests.session.scripted import (
    OPENED,
    REMEDY,
    START,
    FakeClock,
    ScriptedGate,
    ScriptedWorkflow,
    drain,
    patch,
    proposal,
)  # fmt: skip

SECRET = "AKIA" + "ABCDEFGHIJKLMNOP"


def redact(text: str) -> tuple[str, int]:
    return re.subn("AKIA[A-Z]{16}", "[redacted]", text)


class Desk:
    """A session with everything scripted around a real store."""

    def __init__(self, path: Path) -> None:
        self.store = SessionStore.open(path / "sessions.db")
        self.clock = FakeClock()
        self.gate = ScriptedGate()
        self.door = RecordedGate(self.gate)
        self.workflow = ScriptedWorkflow(self.door)
        self.parts = Parts(self.store, self.workflow, self.door, self.clock, redact, "alice")
        self.session: Session

    async def open(self, **changes: object) -> Session:
        self.parts = replace(self.parts, **changes)  # type: ignore[arg-type]
        self.session = await Session.open(self.parts, "s1", OPENED)
        return self.session

    async def ask(self) -> str:
        await self.session.ask("why is web down?")
        await self.session.settled()
        return self.session.case.waiting[0].proposal.id

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for events until something holds (the writer's thread takes its own time)."""
        async with asyncio.timeout(5):
            while not condition():
                await self.session._recorder.next_change.wait()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.session.events]


@asynccontextmanager
async def desk_at(path: Path) -> AsyncIterator[Desk]:
    desk = Desk(path)
    try:
        yield desk
    finally:
        if hasattr(desk, "session"):
            await desk.session.close()
        desk.store.close()


class TestApproval:
    async def test_an_approved_change_is_sent_once_after_sending_is_durable(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()

            async def look() -> None:
                with SessionStore.open(tmp_path / "sessions.db", read_only=True) as other:
                    assert "sending" in [event.kind for event in other.load("s1").events]

            desk.gate.before_execute = look
            assert await session.decide(change, Answer.APPROVE, shown="ab" * 32) is ProposalState.APPROVED
            await session.finished()
            await drain()
            assert desk.gate.sent == [change]
            case = session.case.proposal(change)
            assert case and case.state is ProposalState.APPLIED and case.verified
            assert case.decision and case.decision.by == "alice" and case.decision.shown == "ab" * 32
            kinds = desk.kinds()
            for kind in ("proposed", "decided", "sending", "concluded", "turn_ended"):
                assert kinds.count(kind) == 1, f"{kind} stands {kinds.count(kind)} times"

    async def test_a_denied_change_is_not_sent_and_the_reason_reaches_the_workflow(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            await session.decide(change, Answer.DENY, "not during trading hours")
            await session.finished()
            assert desk.gate.sent == []
            assert desk.workflow.resolutions[0].feedback == "not during trading hours"
            assert desk.workflow.resolutions[0].state is ProposalState.DENIED

    async def test_two_answers_at_once_reach_the_gate_as_one(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            first, second = await asyncio.gather(
                session.decide(change, Answer.DENY, "no"), session.decide(change, Answer.APPROVE)
            )
            await session.finished()
            assert (first, second) == (ProposalState.DENIED, ProposalState.DENIED)
            assert len(desk.gate.decisions) == 1
            assert desk.gate.sent == []

    async def test_an_undecided_proposal_expires_by_the_clock(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            await desk.clock.pass_seconds(599)
            assert session.case.waiting
            await desk.clock.pass_seconds(1)
            await session.finished()
            assert desk.workflow.resolutions[0].state is ProposalState.EXPIRED
            assert await session.decide(change, Answer.APPROVE) is ProposalState.EXPIRED
            assert desk.gate.sent == [] and desk.gate.decisions == []

    async def test_the_gates_refusal_wins_over_the_persons_yes(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            desk.gate.next_decision = ProposalState.REFUSED
            assert await session.decide(change, Answer.APPROVE) is ProposalState.REFUSED
            await session.finished()
            assert desk.gate.sent == []
            assert desk.workflow.resolutions[0].state is ProposalState.REFUSED

    async def test_a_decision_in_another_terminal_goes_on_with_the_turn(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            held = session.case.waiting[0].proposal
            desk.gate.tell(ev.Decided(Decision(change, held.digest, Answer.APPROVE, "bob", START)))
            await session.finished()
            known = session.case.proposal(change)
            assert desk.gate.sent == [change]
            assert known and known.decision and known.decision.by == "bob"

    async def test_a_critical_change_needs_its_name_typed(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            foreign = proposal(9, patch(), Origin("client", "kubectl"), critical=True)
            desk.gate.held[foreign.id] = (foreign, ProposalState.OPEN)
            desk.gate.tell(ev.Proposed(foreign))
            await drain()
            with pytest.raises(UsageError, match="critical"):
                await session.decide(foreign.id, Answer.APPROVE, typed_name="we")
            assert desk.gate.decisions == []
            assert await session.decide(foreign.id, Answer.APPROVE, typed_name="web") is ProposalState.APPROVED

    async def test_a_proposal_that_cannot_be_shown_whole_cannot_be_approved(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            foreign = replace(proposal(9, patch(), Origin("client", "kubectl")), not_approvable="access is denied")
            desk.gate.tell(ev.Proposed(foreign))
            await drain()
            with pytest.raises(UsageError, match="access is denied"):
                await session.decide(foreign.id, Answer.APPROVE)

    async def test_a_recheck_that_found_something_new_supersedes_and_the_turn_follows(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            fresh = await session.recheck(change)
            assert fresh.id != change
            await drain()
            assert session.running, "the turn must wait for the new proposal, not end with the old one"
            await session.decide(fresh.id, Answer.APPROVE)
            await session.finished()
            assert desk.gate.sent == [fresh.id]

    async def test_a_suggestion_is_submitted_applied_verified_and_undone_on_request(self, tmp_path: Path) -> None:
        async def verify(turn: Turn, finding: object, change: str, recorder: Recorder) -> ev.Verified:
            return ev.Verified(change, ev.Healing.FIXED, "ready")

        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False, verify=verify)
            await session.ask("why is web down?")
            await session.finished()
            assert session.case.waiting == ()
            made = await session.review("A1")
            assert (await session.review("A1")).id == made.id, "asked twice, submitted once"
            await session.decide(made.id, Answer.APPROVE)
            await desk.until(lambda: "verified" in desk.kinds())
            known = session.case.proposal(made.id)
            assert known and known.state is ProposalState.APPLIED and known.verified and known.undo
            back = await session.undo(made.id)
            assert back.action == patch("shop/web:1")
            assert desk.gate.sent == [made.id], "the way back is a change like any other"
            await session.decide(back.id, Answer.APPROVE)
            await desk.until(lambda: desk.kinds().count("concluded") == 2)
            assert desk.gate.sent == [made.id, back.id]
            with pytest.raises(UsageError):
                await session.undo("A-0099")


class TestForeignChanges:
    async def test_a_foreign_request_is_shown_once_and_never_executed_by_us(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            foreign = proposal(7, patch(), Origin("client", "kubectl/v1.32"))
            desk.gate.held[foreign.id] = (foreign, ProposalState.OPEN)
            desk.gate.tell(ev.Proposed(foreign))
            desk.gate.tell(ev.Proposed(foreign))
            await drain()
            assert desk.kinds().count("proposed") == 1
            assert await session.decide(foreign.id, Answer.APPROVE) is ProposalState.APPROVED
            desk.gate.tell(ev.Concluded(Outcome(foreign.id, ProposalState.APPLIED, START, 200)))
            await drain()
            assert desk.gate.sent == [], "the gate sends a held request itself"
            known = session.case.proposal(foreign.id)
            assert known and known.state is ProposalState.APPLIED


class TestGateDeath:
    async def test_open_proposals_are_void_and_nothing_is_sent(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            desk.gate.die()
            await session.finished()
            await drain()
            known = session.case.proposal(change)
            assert known and known.state is ProposalState.VOID
            assert session.case.cluster_lost
            assert desk.workflow.resolutions[0].state is ProposalState.VOID
            with pytest.raises(GateError):
                await session.review("A1")

    async def test_a_broken_event_stream_is_not_a_dead_gate(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            desk.gate.break_stream()
            await desk.clock.pass_seconds(1)
            assert not session.case.cluster_lost
            await session.decide(change, Answer.APPROVE)
            await session.finished()
            assert desk.gate.sent == [change]

    async def test_an_approval_given_while_the_stream_was_broken_is_found(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            held, _ = desk.gate.held[change]
            desk.gate.held[change] = (held, ProposalState.APPROVED)
            desk.gate.break_stream()
            await session.finished()
            assert desk.gate.sent == [change]

    async def test_a_new_gate_is_used_after_the_old_one_died(self, tmp_path: Path) -> None:
        second = ScriptedGate(first=20)
        attempts: list[int] = []

        async def reconnect() -> Connected:
            attempts.append(1)
            if len(attempts) < 3:
                raise GateError("not yet", "wait")
            return Connected(second, await second.info())

        async with desk_at(tmp_path) as desk:
            session = await desk.open(reconnect=reconnect)
            await desk.ask()
            desk.gate.die()
            await session.finished()
            for _ in range(4):
                await desk.clock.pass_seconds(30)
            assert not session.case.cluster_lost and len(attempts) == 3
            change = await desk.ask()
            await session.decide(change, Answer.APPROVE)
            await session.finished()
            assert second.sent == [change] and desk.gate.sent == []


class TestTurns:
    async def test_a_question_without_words_is_refused(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            for text in ("", "   ", "???", "\n\t"):
                with pytest.raises(UsageError):
                    await session.ask(text)
            assert session.case.turn == 0

    async def test_settled_means_over_or_waiting_for_a_person(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            await session.settled()
            await session.decide(change, Answer.APPROVE)
            await session.settled()
            assert not session.case.running and desk.gate.sent == [change]

    async def test_a_second_question_waits_for_the_first_and_says_so(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False)
            desk.workflow.hold = asyncio.Event()
            await session.ask("first question")
            await session.ask("second question")
            await drain()
            assert session.case.question == "first question"
            assert any("second question" in e.payload.text for e in session.events if isinstance(e.payload, ev.Noted))
            desk.workflow.hold.set()
            await session.finished()
            assert [turn.question for turn in desk.workflow.turns] == ["first question", "second question"]
            assert session.case.turn == 2

    async def test_a_direction_reaches_the_workflow_and_stands_once_in_the_log(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False)
            with pytest.raises(UsageError):
                session.steer("look at the nodes")
            desk.workflow.hold = asyncio.Event()
            await session.ask("why?")
            await drain()
            session.steer("look at the nodes")
            desk.workflow.hold.set()
            await session.finished()
            assert desk.workflow.steered == ["look at the nodes"]
            assert desk.kinds().count("steered") == 1

    async def test_a_hypothesis_is_struck_pinned_and_taken_back_while_the_turn_runs(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False)
            with pytest.raises(UsageError, match="'H1'") as caught:
                session.mark("H1", Mark.STRUCK)
            assert "empty" in caught.value.hint
            desk.workflow.hold = asyncio.Event()
            await session.ask("why?")
            await drain()
            session._recorder.emit(ev.BoardMade(BOARD))
            for mark in (Mark.STRUCK, Mark.STRUCK, Mark.OPEN, Mark.OPEN, Mark.PINNED):
                session.mark("H2", mark)
            with pytest.raises(UsageError) as caught:
                session.mark("H9", Mark.STRUCK)
            assert "H1, H2" in caught.value.hint
            session._recorder.emit(ev.BoardMade(BOARD[1:]))
            assert [(each.id, each.mark) for each in session.case.board] == [("H2", Mark.PINNED)]
            assert session.running
            desk.workflow.hold.set()
            await session.finished()
            marks = [event.payload for event in session.events if isinstance(event.payload, ev.HypothesisMarked)]
            assert [each.mark for each in marks] == [Mark.STRUCK, Mark.OPEN, Mark.PINNED], "the same twice is nothing"
            await session.close()
            with pytest.raises(UsageError, match="closed"):
                session.mark("H2", Mark.OPEN)
            assert fold(desk.store.load("s1").events) == session.case

    async def test_stop_ends_a_turn_that_ignores_it_and_its_late_events_are_lost(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            desk.workflow.hold, desk.workflow.late, desk.workflow.stubborn = asyncio.Event(), asyncio.Event(), True
            await session.ask("why?")
            await drain()
            started = asyncio.get_running_loop().time()
            await session.stop("esc")
            assert asyncio.get_running_loop().time() - started < 0.3
            assert session.case.stopped == "esc" and not session.case.running
            count = len(session.events)
            desk.workflow.late.set()
            await drain()
            assert len(session.events) == count
            desk.workflow.hold = None
            await desk.ask()

    async def test_stop_takes_the_open_proposal_back(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            await session.stop("esc")
            assert desk.gate.held[change][1] is ProposalState.WITHDRAWN
            assert await session.decide(change, Answer.APPROVE) is ProposalState.WITHDRAWN
            assert desk.gate.sent == []

    async def test_a_turn_that_fails_says_what_it_means(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            desk.workflow.fails = GateError("The gate is gone.", "Start it again.")
            await session.ask("why?")
            await session.finished()
            assert session.case.errors[-1].hint == "Start it again."
            desk.workflow.fails = ZeroDivisionError("boom")
            await session.ask("why?")
            await session.finished()
            assert session.case.errors[-1].code == "internal" and "boom" in session.case.errors[-1].detail
            assert not session.case.running

    async def test_a_turn_that_never_ends_is_ended_by_its_bound(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(bounds=Bounds(work_seconds=60))
            desk.workflow.hold = asyncio.Event()
            await session.ask("why?")
            await drain()
            await desk.clock.pass_seconds(61)
            await session.finished()
            assert "budget_reached" in desk.kinds() and not session.case.running

    async def test_waiting_for_a_person_does_not_count_as_work(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(bounds=Bounds(work_seconds=60))
            change = await desk.ask()
            await desk.clock.pass_seconds(300)
            await session.decide(change, Answer.APPROVE)
            await session.finished()
            assert desk.gate.sent == [change]

    async def test_a_failing_listener_stops_nothing(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False)

            def broken(event: ev.Event, case: object) -> None:
                raise RuntimeError("cannot draw")

            session.subscribe(broken)
            await session.ask("why?")
            await session.finished()
            assert session.case.answer


class TestStorage:
    async def test_live_case_equals_the_fold_of_what_is_stored(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            await session.decide(await desk.ask(), Answer.APPROVE)
            await session.finished()
            await session.close()
            loaded = desk.store.load("s1")
            assert loaded.cut == "" and fold(loaded.events) == session.case
            assert desk.store.verify("s1").intact
            row = desk.store.row("s1")
            assert (row.verdict, row.status, row.applied, row.result) == ("fault", "closed", 1, "fixed")

    async def test_a_secret_is_never_stored_and_the_quote_stays_verbatim(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            body = f"line one\npassword is {SECRET} and more\nthe last line"
            desk.workflow.citation = Citation("GET /log", f"line one password is {SECRET} and more", body)
            session = await desk.open(propose=False)
            await session.ask(f"what is {SECRET}?")
            await session.finished()
            fact = session.case.evidence[0]
            kept = session.body(fact.body)
            assert fact.redactions == 1
            assert " ".join(fact.quote.split()) in " ".join(kept.split())
            assert SECRET not in desk.workflow.turns[0].question
            await session.close()
            text = "".join(map(str, session.events)) + kept
            assert SECRET not in text
            files = [file for file in tmp_path.rglob("*") if file.is_file()]  # noqa: ASYNC240
            assert files and not [file for file in files if SECRET.encode() in file.read_bytes()]

    async def test_an_action_with_a_secret_is_runnable_now_and_not_from_the_log(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open(propose=False)
            await session.ask("why?")
            await session.finished()
            action = patch(body='{"value":"' + SECRET + '"}')
            session._recorder.emit(ev.RemediesSuggested((replace(REMEDY, action=action),)))
            stored = session.case.remedies[0].action
            assert stored and stored.body == ""
            made = await session.review("A1")
            assert desk.gate.held[made.id][0].action == action
            await session.close()
            events = desk.store.load("s1").events
            desk.gate = ScriptedGate()
            desk.door = RecordedGate(desk.gate)
            again = await Session.resume(replace(desk.parts, gate=desk.door), "s1", events)
            with pytest.raises(UsageError, match="secret"):
                await again.review("A1")
            await again.close()

    async def test_without_a_store_it_investigates_warns_and_changes_nothing(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            reason = StoreError("The disk is full.", "Free some space.")
            parts = replace(desk.parts, store=MemoryStore(reason), propose=False)
            session = await Session.open(parts, "s2", OPENED)
            await session.ask("why?")
            await session.finished()
            assert session.case.answer
            assert any(
                "not being recorded" in e.payload.text for e in session.events if isinstance(e.payload, ev.Noted)
            )
            foreign = proposal(7, patch(), Origin("client", "kubectl"))
            desk.gate.held[foreign.id] = (foreign, ProposalState.OPEN)
            desk.gate.tell(ev.Proposed(foreign))
            await drain()
            with pytest.raises(StoreError, match="cannot be recorded"):
                await session.decide(foreign.id, Answer.APPROVE)
            assert desk.gate.decisions == []
            assert await session.decide(foreign.id, Answer.DENY) is ProposalState.DENIED, "a no is always possible"
            await session.close()

    async def test_nothing_is_executed_when_sending_cannot_be_written(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()

            async def full() -> None:
                if session.case.proposals[0].state is not ProposalState.OPEN:
                    raise StoreError("The disk is full.", "Free some space.")

            session._recorder.flush = full  # type: ignore[method-assign]
            await session.decide(change, Answer.APPROVE)
            await session.finished()
            assert desk.gate.sent == []
            assert session.case.errors[-1].meaning == "The disk is full."
            with pytest.raises(StoreError):
                await session.close()

    async def test_a_session_is_open_in_one_process_only(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            await desk.open()
            with SessionStore.open(tmp_path / "sessions.db") as other, pytest.raises(StoreLockedError, match="is open"):
                other.claim("s1")


class TestResume:
    async def crash(self, desk: Desk) -> tuple[ev.Event, ...]:
        """Leave the session as a killed process does: everything flushed, nothing concluded, nothing closed."""
        await desk.store.flush()
        session = desk.session
        session._closed = True
        for task in (session._turn, *session._tasks):
            if task:
                task.cancel()
        await drain()
        desk.store.release("s1")
        return desk.store.load("s1").events

    async def again(self, desk: Desk, events: tuple[ev.Event, ...], **changes: object) -> Session:
        desk.door = RecordedGate(desk.gate)
        desk.workflow = ScriptedWorkflow(desk.door)
        parts = replace(desk.parts, gate=desk.door, workflow=desk.workflow)
        desk.session = await Session.resume(parts, "s1", events, **changes)  # type: ignore[arg-type]
        return desk.session

    async def test_a_waiting_proposal_is_void_and_the_turn_goes_on(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            await desk.open()
            change = await desk.ask()
            events = await self.crash(desk)
            assert desk.store.interrupted(desk.store.row("s1"))
            desk.gate = ScriptedGate()
            desk.gate.held["other"] = (proposal(50, patch(), Origin("session", "x", "s0")), ProposalState.OPEN)
            session = await self.again(desk, events)
            known = session.case.proposal(change)
            assert known and known.state is ProposalState.VOID
            assert session.case.running
            await session.settled()
            assert [turn.number for turn in desk.workflow.turns] == [1]
            assert desk.store.verify("s1").intact

    async def test_a_change_that_was_being_sent_is_unknown_and_never_sent_again(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()

            async def die() -> None:
                await asyncio.Event().wait()

            desk.gate.before_execute = die
            await session.decide(change, Answer.APPROVE)
            await drain()
            await desk.until(lambda: "sending" in desk.kinds())
            events = await self.crash(desk)
            desk.gate = ScriptedGate()
            session = await self.again(desk, events, go_on=False)
            known = session.case.proposal(change)
            assert known and known.state is ProposalState.UNKNOWN and known.outcome
            outcome = await desk.door.execute(change)
            assert outcome.state is ProposalState.UNKNOWN and desk.gate.sent == []

    async def test_the_journal_of_the_gate_says_what_became_of_it(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            session = await desk.open()
            change = await desk.ask()
            desk.gate.before_execute = asyncio.Event().wait  # type: ignore[assignment]
            await session.decide(change, Answer.APPROVE)
            await desk.until(lambda: "sending" in desk.kinds())
            events = await self.crash(desk)
            held, _ = desk.gate.held[change]
            desk.gate = ScriptedGate()
            desk.gate.held[change] = (held, ProposalState.APPLIED)
            session = await self.again(desk, events, go_on=False)
            known = session.case.proposal(change)
            assert known and known.state is ProposalState.APPLIED and desk.gate.sent == []

    async def test_without_going_on_the_turn_is_marked_interrupted(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            await desk.open()
            await desk.ask()
            events = await self.crash(desk)
            session = await self.again(desk, events, go_on=False)
            assert session.case.stopped == "interrupted" and not session.case.running
            assert desk.workflow.turns == []

    async def test_a_session_is_not_resumed_on_another_cluster(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            await desk.open(propose=False)
            await desk.session.close()
            events = desk.store.load("s1").events
            first = replace(events[0], payload=replace(OPENED, cluster="c-2"))
            with pytest.raises(UsageError, match="about c-2"):
                await self.again(desk, (first, *events[1:]))
            await self.again(desk, events)

    async def test_numbers_go_on_where_they_were(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            await desk.open(propose=False)
            await desk.session.ask("why?")
            await desk.session.finished()
            await desk.session.close()
            session = await self.again(desk, desk.store.load("s1").events)
            recorder = session._recorder
            assert recorder.new_call() == "T2"
            same = recorder.cite(desk.workflow.citation)
            assert same.id == "E1"
            other = recorder.cite(replace(desk.workflow.citation, quote='"reason"'))
            assert other.id == "E2"

    async def test_an_unknown_change_of_another_session_is_told_once(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            lost = proposal(3, patch(), Origin("session", "pilothouse", "s0"))
            desk.gate.held[lost.id] = (lost, ProposalState.UNKNOWN)
            session = await desk.open()
            desk.gate.break_stream()
            await drain()
            notes = [e.payload.text for e in session.events if isinstance(e.payload, ev.Noted)]
            assert len([text for text in notes if lost.id in text]) == 1
            assert desk.gate.sent == []
