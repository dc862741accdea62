"""The gate as the workflow sees it: nothing is executed before `Sending` is durable. Apart, so nobody can forget."""

from __future__ import annotations

from collections.abc import AsyncIterator

from assistant.domain.action import Action
from assistant.domain.event import Concluded, Decided, Proposed, Sending
from assistant.domain.ports import Gate, GateInfo, Recorder
from assistant.domain.proposal import Consent, Decision, Origin, Outcome, Proposal, ProposalState
from assistant.errors import GateError


class RecordedGate:
    """Wraps a `Gate` and is one: every proposal, sending and outcome goes into the session's log as it happens.

    `bind` ties it to a session's recorder; before that it only reads. `connect` puts a new gate behind it after the
    old one died, so that whoever holds this object needs no other.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._recorder: Recorder | None = None

    def bind(self, recorder: Recorder) -> None:
        """Record into this session from now on."""
        self._recorder = recorder

    def connect(self, gate: Gate) -> None:
        """Use another gate from now on; what the old one held is void."""
        self._gate = gate

    @property
    def journal(self) -> str:
        """Return the last entry of the gate's journal that was heard of."""
        return self._gate.journal

    async def info(self) -> GateInfo:
        """Return what is behind the gate."""
        return await self._gate.info()

    async def propose(self, action: Action, origin: Origin, key: str) -> Proposal:
        """Have the gate examine a change, and record it durably before anybody can be asked about it."""
        recorder = self._bound()
        proposal = await self._gate.propose(action, origin, key)
        recorder.emit(Proposed(proposal, self.journal))
        await recorder.flush()
        return proposal

    async def recheck(self, proposal_id: str) -> Proposal:
        """Examine an open proposal again and record the result."""
        proposal = await self._gate.recheck(proposal_id)
        self._bound().emit(Proposed(proposal, self.journal))
        return proposal

    async def decide(self, decision: Decision) -> ProposalState:
        """Hand over a person's decision."""
        return await self._gate.decide(decision)

    async def decision(self, proposal_id: str) -> Decision | None:
        """Return the decision as the gate took it; None while there is none."""
        return await self._gate.decision(proposal_id)

    async def agree(self, consent: Consent) -> Proposal:
        """Hand over a second person's signed agreement, and record who has agreed."""
        proposal = await self._gate.agree(consent)
        self._bound().emit(Proposed(proposal))
        return proposal

    async def stop(self, by: str, why: str) -> int:
        """Void everything that waits and have the gate send nothing more."""
        return await self._gate.stop(by, why)

    async def execute(self, proposal_id: str) -> Outcome:
        """Send an approved proposal once, after `Sending` is durable; a known outcome is returned without asking.

        Raises StoreError when the log cannot be written (nothing was sent) and GateError for anything not approved.
        """
        recorder = self._bound()
        known = recorder.case.proposal(proposal_id)
        if known and known.outcome:
            return known.outcome
        if known is None or known.state not in (ProposalState.APPROVED, ProposalState.SENDING):
            state = known.state.value if known else "not known"
            raise GateError(f"Change {proposal_id} is {state}, so it was not sent.", "Only an approved change is sent.")
        recorder.emit(Sending(proposal_id, known.proposal.digest))
        await recorder.flush()
        outcome = await self._gate.execute(proposal_id)
        recorder.emit(Concluded(outcome, self.journal))
        return outcome

    async def withdraw(self, proposal_id: str) -> None:
        """Take back an open proposal of our own."""
        await self._gate.withdraw(proposal_id)

    async def proposals(self) -> tuple[tuple[Proposal, ProposalState], ...]:
        """Return every proposal that the gate holds."""
        return await self._gate.proposals()

    async def outcome(self, proposal_id: str) -> Outcome | None:
        """Return what the gate, or its journal of ended gates, knows of a proposal's end; None where it knows none."""
        try:
            return await self._gate.outcome(proposal_id)
        except GateError as error:
            if error.code == "no-such-proposal":
                return None
            raise

    def watch(self) -> AsyncIterator[Proposed | Decided | Sending | Concluded]:
        """Follow what happens at the gate."""
        return self._gate.watch()

    def _bound(self) -> Recorder:
        if self._recorder is None:
            raise GateError("No session records what happens at the gate.", "Please report this.")
        return self._recorder
