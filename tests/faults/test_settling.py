"""A foreign client's change that was approved and sent in the last moment before a crash is told as what it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assistant.domain import event as ev
from assistant.domain.proposal import Origin, Outcome, Proposal, ProposalState
from assistant.errors import GateError, StoreError
from assistant.policy.redact import redact_text
from assistant.session.door import RecordedGate
from assistant.session.follow import settle_after_crash
from assistant.session.recorder import SessionRecorder
from assistant.store.memory import MemoryStore
from tests.session.scripted import REMEDY, FakeClock, proposal

State = ProposalState


class JournalOnly:
    """A new gate: it holds nothing itself, and its journal knows one end or cannot be asked."""

    def __init__(self, end: State | None, error: GateError | None = None) -> None:
        self._end, self._error = end, error

    async def proposals(self) -> tuple[tuple[Proposal, State], ...]:
        return ()

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
