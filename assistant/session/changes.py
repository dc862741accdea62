"""Changes that no turn waits for: a suggestion that a person wants to apply, and the way back of an applied one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from assistant.domain import event as ev
from assistant.domain.action import Action, Remedy
from assistant.domain.finding import Finding
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.domain.proposal import Origin, Proposal, ProposalState
from assistant.errors import GateError, PilothouseError, UsageError
from assistant.session.approvals import Approvals
from assistant.session.door import RecordedGate
from assistant.session.recorder import SessionRecorder

UNDO_OFFER: Final = timedelta(hours=1)
CLIENT: Final = "pilothouse"

Verify = Callable[[Turn, Finding, str, Recorder], Awaitable[ev.Verified]]
Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Changes:
    """Submits them, waits for the decision, has the gate send what was approved, and reads again afterwards."""

    def __init__(
        self,
        recorder: SessionRecorder,
        gate: RecordedGate,
        approvals: Approvals,
        clock: Clock,
        verify: Verify | None,
        spawn: Spawn,
    ) -> None:
        self._recorder = recorder
        self._gate = gate
        self._approvals = approvals
        self._clock = clock
        self._verify = verify
        self._spawn = spawn
        self._under_way: set[str] = set()

    @property
    def under_way(self) -> frozenset[str]:
        """Return the ids of the proposals that are submitted here and not yet carried out or dropped."""
        return frozenset(self._under_way)

    async def propose(self, action: Action, why: str) -> Proposal:
        """Submit a change that no remedy of this session names; the same one that waits is returned."""
        case, session = self._recorder.case, self._recorder.session
        for item in case.waiting:
            if item.proposal.origin.session == session and item.proposal.action.digest() == action.digest():
                return item.proposal
        origin = Origin("session", CLIENT, session, why=why)
        return await self._submit(action, origin, f"{session}.patch.{len(case.proposals)}", None)

    async def review(self, remedy_id: str, asked_by: str = "") -> Proposal:
        """Submit a suggested remedy; one that already waits is returned. Raises UsageError or GateError.

        `asked_by` names who wants it where that is not the person at this session: the card says so.
        """
        remedy = self._remedy(remedy_id)
        case, session = self._recorder.case, self._recorder.session
        for item in case.waiting:
            if item.proposal.origin.remedy == remedy_id and item.proposal.origin.session == session:
                return item.proposal
        if remedy.action is None:
            raise UsageError(f"{remedy_id} is not a change to the cluster.", remedy.outside or "Ask again to renew it.")
        cited = [fact for finding in case.findings if finding.id in remedy.fixes for fact in finding.evidence]
        why = f"{remedy.title} (asked for by {asked_by})" if asked_by else remedy.title
        origin = Origin("session", CLIENT, session, remedy.id, why, tuple(cited))
        key = f"{session}.{case.turn}.{remedy.id}.review.{len(case.proposals)}"
        return await self._submit(remedy.action, origin, key, remedy)

    async def undo(self, proposal_id: str) -> Proposal:
        """Submit the way back of an applied change. Raises UsageError when none is offered any more."""
        known = self._recorder.case.proposal(proposal_id)
        offer = known.undo if known else None
        if offer is None:
            raise UsageError(f"No way back is offered for {proposal_id}.", "Look at its undo line.")
        if self._clock.now() > offer.until:
            raise UsageError(f"The way back of {proposal_id} is no longer offered.", "Ask for the change you want.")
        action = self._recorder.undos.get(proposal_id, offer.action)
        if action.method != "DELETE" and not action.body:
            raise UsageError(
                f"The way back of {proposal_id} held a value that looks secret, so it was not kept.", "Undo it by hand."
            )
        session = self._recorder.session
        origin = Origin("session", CLIENT, session, why=f"undo of {proposal_id}")
        key = f"{session}.undo.{proposal_id}.{len(self._recorder.case.proposals)}"
        return await self._submit(action, origin, key, None)

    async def _submit(self, action: Action, origin: Origin, key: str, remedy: Remedy | None) -> Proposal:
        if self._recorder.case.cluster_lost:
            raise GateError("The cluster is gone, so nothing can be proposed.", "Wait until it is back.")
        # What cannot be recorded must not wait either: a person could approve it, and nothing would ever send it.
        await self._recorder.flush()
        proposal = await self._gate.propose(action, origin, key)
        if proposal.id not in self._under_way:
            self._under_way.add(proposal.id)
            self._spawn(self._carry(proposal, remedy), f"change {proposal.id}")
        return proposal

    async def _carry(self, proposal: Proposal, remedy: Remedy | None) -> None:
        try:
            resolution = await self._approvals.resolution(proposal.id)
            if resolution.state is not ProposalState.APPROVED:
                return
            outcome = await self._gate.execute(resolution.proposal)
            if outcome.state is ProposalState.APPLIED and remedy:
                await self._after(resolution.proposal, remedy)
        except PilothouseError as error:
            self._recorder.emit(ev.ErrorRaised(error.code, error.meaning, error.hint, error.detail))
        finally:
            self._under_way.discard(proposal.id)

    async def _after(self, proposal_id: str, remedy: Remedy) -> None:
        known = self._recorder.case.proposal(proposal_id)
        undo = known.proposal.undo if known else None
        if undo and undo.action:
            until = self._clock.now() + UNDO_OFFER
            self._recorder.emit(ev.UndoOffered(proposal_id, undo.action, undo.text, until))
        case = self._recorder.case
        finding = next((item for item in case.findings if item.id in remedy.fixes), None)
        if finding is None or self._verify is None:
            return
        turn = Turn(case.session, case.turn, case.question, case.namespace, propose=False)
        self._recorder.emit(await self._verify(turn, finding, proposal_id, self._recorder))

    def _remedy(self, remedy_id: str) -> Remedy:
        # The log's copy of a remedy has lost its body where that held a secret; the one of this process has not.
        stored = next((item for item in self._recorder.case.remedies if item.id == remedy_id), None)
        if stored is None:
            raise UsageError(f"There is no suggestion {remedy_id}.", "The findings list names them.")
        remedy = self._recorder.remedies.get(remedy_id, stored)
        if remedy.action and remedy.action.method != "DELETE" and not remedy.action.body:
            raise UsageError(
                f"{remedy_id} held a value that looks secret, so it was not kept.", "Ask the question again."
            )
        return remedy
