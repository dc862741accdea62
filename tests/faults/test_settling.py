"""A foreign client's change that was approved and sent in the last moment before a crash is told as what it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from assistant.domain import event as ev
from assistant.domain.ports import Resolution
from assistant.domain.proposal import Answer, Decision, Origin, Outcome, Proposal, ProposalState
from assistant.errors import GateError, StoreError
from assistant.policy.redact import redact_text
from assistant.session.approvals import Approvals
from assistant.session.door import RecordedGate
from assistant.session.follow import settle_after_crash
from assistant.session.recorder import SessionRecorder
from assistant.store.memory import MemoryStore
from tests.session.scripted import REMEDY, FakeClock, proposal

State = ProposalState


class Kept(MemoryStore):
    """A store whose flush succeeds, as a healthy file's does."""

    async def flush(self) -> None:
        pass


class JournalOnly:
    """A new gate: it holds nothing itself, and its journal knows one end or cannot be asked."""

    def __init__(
        self, end: State | None, error: GateError | None = None, listed: tuple[tuple[Proposal, State], ...] = ()
    ) -> None:
        self._end, self._error, self._listed = end, error, listed

    async def proposals(self) -> tuple[tuple[Proposal, State], ...]:
        return self._listed

    async def outcome(self, proposal_id: str) -> Outcome | None:
        if self._error:
            raise self._error
        return Outcome(proposal_id, self._end, datetime.now(UTC)) if self._end else None


@pytest.mark.parametrize(
    ("end", "error", "shown"),
    [
        (State.APPLIED, None, State.APPLIED),
        (State.UNKNOWN, None, State.UNKNOWN),
        (None, None, State.VOID),
        (None, GateError("The journal cannot be read.", ""), State.UNKNOWN),
    ],
)
async def test_an_open_foreign_change_ends_as_the_journal_has_it(
    end: State | None, error: GateError | None, shown: State
) -> None:
    clock = FakeClock()
    recorder = SessionRecorder("s1", MemoryStore(StoreError("no file", "")), clock, redact_text)
    assert REMEDY.action
    foreign = proposal(1, REMEDY.action, Origin("client", "kubectl"))
    recorder.emit(ev.Proposed(foreign))
    await settle_after_crash(recorder, RecordedGate(JournalOnly(end, error)), clock)  # type: ignore[arg-type]
    item = recorder.case.proposal(foreign.id)
    assert item
    assert item.state is shown


async def test_an_open_foreign_change_that_the_gate_lists_as_unknown_is_unknown() -> None:
    clock = FakeClock()
    recorder = SessionRecorder("s1", MemoryStore(StoreError("no file", "")), clock, redact_text)
    assert REMEDY.action
    foreign = proposal(1, REMEDY.action, Origin("client", "kubectl"))
    recorder.emit(ev.Proposed(foreign))
    gate = JournalOnly(None, listed=((foreign, State.UNKNOWN),))
    await settle_after_crash(recorder, RecordedGate(gate), clock)  # type: ignore[arg-type]
    item = recorder.case.proposal(foreign.id)
    assert item
    assert item.state is State.UNKNOWN


class SupersedingGate:
    """Answers a decision with "void" and holds the proposal that takes its place; no event stream tells of it."""

    journal = ""

    def __init__(self, successor: Proposal) -> None:
        self._successor = successor

    async def decide(self, decision: Decision) -> State:
        return State.VOID

    async def proposals(self) -> tuple[tuple[Proposal, State], ...]:
        return ((self._successor, State.OPEN),)


async def test_what_takes_a_void_changes_place_is_known_before_the_old_one_is_over() -> None:
    clock = FakeClock()
    assert REMEDY.action
    old = proposal(1, REMEDY.action, Origin("session", "pilothouse", "s1"))
    new = replace(proposal(2, REMEDY.action, old.origin), supersedes=old.id)
    recorder = SessionRecorder("s1", Kept(StoreError("no file", "")), clock, redact_text)
    recorder.emit(ev.Proposed(old))
    gate = RecordedGate(SupersedingGate(new))  # type: ignore[arg-type]
    approvals = Approvals(recorder, gate, clock, "grace")
    waiting = asyncio.create_task(approvals.resolution(old.id))
    await approvals.decide(old.id, Answer.APPROVE, reason="", shown="", typed_name=old.typed_name)
    # The turn does not hear "void" and propose the change a second time: it waits for the successor.
    await asyncio.sleep(0)
    assert not waiting.done()
    assert [item.proposal.id for item in recorder.case.waiting] == [new.id]
    recorder.emit(ev.Decided(Decision(new.id, new.digest, Answer.APPROVE, "grace", clock.now())))
    async with asyncio.timeout(5):
        assert await waiting == Resolution(new.id, State.APPROVED)
