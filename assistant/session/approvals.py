"""Waiting for people: hands decisions to the gate and says what became of a proposal.

Apart from running turns, because a decision may come from another terminal, and for a change that no turn waits for.
"""

from __future__ import annotations

import asyncio
from typing import Final

from assistant.domain import event as ev
from assistant.domain.case import ProposalCase
from assistant.domain.ports import Clock, Resolution
from assistant.domain.proposal import Answer, Decision, Outcome, Proposal, ProposalState
from assistant.errors import GateError, StoreError, UsageError
from assistant.session.door import RecordedGate
from assistant.session.recorder import SessionRecorder

_UNSENT: Final = frozenset(
    {
        ProposalState.DENIED, ProposalState.EXPIRED, ProposalState.REFUSED, ProposalState.VOID, ProposalState.WITHDRAWN,
    }
)  # fmt: skip


class Approvals:
    """One decision at a time; a proposal that is decided stays decided."""

    def __init__(self, recorder: SessionRecorder, gate: RecordedGate, clock: Clock, by: str) -> None:
        self._recorder = recorder
        self._gate = gate
        self._clock = clock
        self._by = by
        self._lock = asyncio.Lock()

    async def decide(
        self,
        proposal_id: str,
        answer: Answer,
        reason: str = "",
        shown: str = "",
        typed_name: str = "",
        looked_seconds: float = -1.0,
        break_glass: bool = False,
    ) -> ProposalState:
        """Hand a person's answer to the gate and return the state it led to.

        Of a proposal that is already decided, the state is returned and nothing is sent. Raises UsageError for a
        proposal that cannot be approved, StoreError when the log cannot be written, GateError when the gate is gone or
        takes no approval yet (a second person is missing): then the proposal still waits.
        """
        async with self._lock:
            known = self._known(proposal_id)
            if known.state is not ProposalState.OPEN:
                return known.state
            proposal = known.proposal
            if answer is Answer.APPROVE:
                await self._may_approve(proposal, typed_name)
            now = self._clock.now()
            decision = Decision(
                proposal_id, proposal.digest, answer, self._by, now, reason, shown, typed_name, looked_seconds,
                break_glass,
            )  # fmt: skip
            state = await self._gate.decide(decision)
            if state is ProposalState.APPROVED:
                # The gate's own record says more: whose agreement counted, and whether anybody can have read the card.
                decision = await self._gate.decision(proposal_id) or decision
            if state is ProposalState.VOID:
                await self._successor(proposal_id)
            if state in (ProposalState.REFUSED, ProposalState.EXPIRED, ProposalState.VOID, ProposalState.WITHDRAWN):
                text = f"{self._by} answered {answer.value}; the gate says {state.value}"
                self._recorder.emit(ev.Concluded(Outcome(proposal_id, state, now, message=text), self._gate.journal))
            else:
                self._recorder.emit(ev.Decided(decision, self._gate.journal))
            return state

    async def stop(self, why: str) -> int:
        """Have the gate void all that waits and send nothing more while it runs; returns how many that ended."""
        return await self._gate.stop(self._by, why)

    async def recheck(self, proposal_id: str) -> Proposal:
        """Have the gate examine an open proposal again; a changed one supersedes it."""
        async with self._lock:
            known = self._known(proposal_id)
            if known.state is not ProposalState.OPEN:
                raise UsageError(f"Change {proposal_id} is {known.state.value}.", "Only an open one can be re-checked.")
            fresh = await self._gate.recheck(proposal_id)
            if fresh.id != proposal_id:
                text = f"superseded by {fresh.id}, because the cluster changed"
                outcome = Outcome(proposal_id, ProposalState.WITHDRAWN, self._clock.now(), message=text)
                self._recorder.emit(ev.Concluded(outcome))
            return fresh

    async def withdraw(self, why: str, only: frozenset[str] | None = None) -> None:
        """Take back this session's own proposals that are not sent yet (all, or those in `only`)."""
        for item in self._recorder.case.unresolved:
            mine = item.proposal.origin.session == self._recorder.session
            wanted = only is None or item.proposal.id in only
            if not mine or not wanted or item.state is ProposalState.SENDING:
                continue
            try:
                await self._gate.withdraw(item.proposal.id)
            except GateError as error:
                # It may just have been sent: what became of it is for the gate to say, not for us to guess.
                text = f"Change {item.proposal.id} could not be taken back: {error.meaning}"
                self._recorder.emit(ev.Noted(text, "warning"))
                continue
            outcome = Outcome(item.proposal.id, ProposalState.WITHDRAWN, self._clock.now(), message=why)
            self._recorder.emit(ev.Concluded(outcome))

    async def resolution(self, proposal_id: str) -> Resolution:
        """Wait until a proposal of this session, or the one that superseded it, is decided, expired or void."""
        if self._recorder.case.proposal(proposal_id) is None:
            await self._fetch(proposal_id)
        while True:
            async with self._lock:
                # While a re-check runs, the old proposal may already be withdrawn and the new one not yet known.
                changed = self._recorder.next_change
            current = self._latest(proposal_id)
            if current is None:
                return Resolution(proposal_id, ProposalState.VOID)
            if current.state in _UNSENT:
                reason = current.decision.reason if current.decision else ""
                return Resolution(current.proposal.id, current.state, reason)
            if current.state is not ProposalState.OPEN:
                # Approved, or even sent before a crash: `execute` returns a recorded outcome instead of sending.
                return Resolution(current.proposal.id, ProposalState.APPROVED)
            left = (current.proposal.expires - self._clock.now()).total_seconds()
            if left <= 0:
                outcome = Outcome(
                    current.proposal.id, ProposalState.EXPIRED, self._clock.now(), message="nobody decided"
                )
                self._recorder.emit(ev.Concluded(outcome))
                continue
            await self._either(changed, left)

    async def _may_approve(self, proposal: Proposal, typed_name: str) -> None:
        if not proposal.approvable:
            raise UsageError(
                f"Change {proposal.id} cannot be approved: {proposal.not_approvable}.", "Re-check or deny it."
            )
        if proposal.typed_name and typed_name != proposal.typed_name:
            raise UsageError(
                f"Change {proposal.id} is critical and the name typed is not {proposal.typed_name!r}.",
                "Type the object's name exactly.",
            )
        if self._recorder.case.cluster_lost:
            raise GateError("The cluster is gone, so nothing can be approved.", "Wait until it is back.")
        try:
            await self._recorder.flush()
        except StoreError as error:
            raise StoreError(
                f"Nothing can be approved, because the session cannot be recorded: {error.meaning}",
                error.hint,
                detail=error.detail,
            ) from error

    async def _fetch(self, proposal_id: str) -> None:
        for proposal, _ in await self._gate.proposals():
            if proposal.id == proposal_id:
                self._recorder.emit(ev.Proposed(proposal))

    async def _successor(self, proposal_id: str) -> None:
        # Known before the old one is over: a turn that waits then goes on with it, instead of proposing once more.
        for proposal, _ in await self._gate.proposals():
            if proposal.supersedes == proposal_id:
                self._recorder.emit(ev.Proposed(proposal))

    async def _either(self, changed: asyncio.Event, seconds: float) -> None:
        tasks = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _known(self, proposal_id: str) -> ProposalCase:
        known = self._recorder.case.proposal(proposal_id)
        if known is None:
            raise UsageError(f"There is no change {proposal_id}.", "The approvals list shows what waits.")
        return known

    def _latest(self, proposal_id: str) -> ProposalCase | None:
        current = self._recorder.case.proposal(proposal_id)
        follows = {item.proposal.supersedes: item for item in self._recorder.case.proposals if item.proposal.supersedes}
        while current and current.proposal.id in follows:
            current = follows.pop(current.proposal.id)
        return current
