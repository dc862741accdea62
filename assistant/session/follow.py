"""Keeps the session's picture of the gate true: foreign clients' changes, decisions elsewhere, its death and return."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from assistant.domain import event as ev
from assistant.domain.ports import Clock, Gate, GateInfo, Workflow
from assistant.domain.proposal import Answer, Decision, Outcome, ProposalState
from assistant.errors import GateError, PilothouseError, UsageError
from assistant.session.door import RecordedGate
from assistant.session.recorder import SessionRecorder

RECONNECT_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SETTLED: Final = frozenset(
    {
        ProposalState.APPLIED, ProposalState.FAILED, ProposalState.UNKNOWN, ProposalState.EXPIRED,
        ProposalState.REFUSED, ProposalState.VOID, ProposalState.WITHDRAWN, ProposalState.DENIED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Connected:
    """A new gate after the old one died, with the workflow that reads through it (None: the old one still fits)."""

    gate: Gate
    info: GateInfo
    workflow: Workflow | None = None


_GONE: Final = "the gate that held it is gone"
Reconnect = Callable[[], Awaitable[Connected]]


class GateFollower:
    """Watches the gate for as long as the session is open; its task is the only one that reconnects."""

    def __init__(
        self,
        recorder: SessionRecorder,
        gate: RecordedGate,
        clock: Clock,
        reconnect: Reconnect | None,
        on_back: Callable[[Connected], None],
    ) -> None:
        self._recorder = recorder
        self._gate = gate
        self._clock = clock
        self._reconnect = reconnect
        self._on_back = on_back

    async def run(self) -> None:
        """Follow until cancelled, or until the gate is lost and there is no way to start another."""
        while True:
            reason = "the gate ended its event stream"
            try:
                async for payload in self._gate.watch():
                    self._recorder.emit(payload)
            except GateError as error:
                reason = error.meaning
            except OSError as error:
                reason = f"the connection to the gate broke ({error})"
            try:
                # A broken stream is not a dead gate; what was missed meanwhile is asked for.
                await self._gate.info()
                await self.sync()
                await self._clock.sleep(RECONNECT_SECONDS[0])
                continue
            except GateError:
                self.lost(reason)
            if not await self._back():
                return

    async def sync(self) -> None:
        """Take over what the gate holds and the log does not: foreign changes, and outcomes that a crash hid."""
        for note in (await self._gate.info()).notes:
            self._note_once(note)
        for proposal, state in await self._gate.proposals():
            known = self._recorder.case.proposal(proposal.id)
            ours = proposal.origin.session == self._recorder.session
            if known is None and not ours and state is ProposalState.UNKNOWN:
                text = (
                    f"Change {proposal.id} ({proposal.title}) was sent earlier and nobody knows whether it took effect."
                )
                self._note_once(text)
                continue
            if known is None and state in SETTLED:
                continue
            self._recorder.emit(ev.Proposed(proposal))
            known = self._recorder.case.proposal(proposal.id)
            if known and known.state is ProposalState.OPEN and state in (ProposalState.APPROVED, ProposalState.SENDING):
                now = self._clock.now()
                decision = Decision(proposal.id, proposal.digest, Answer.APPROVE, "another terminal", now)
                self._recorder.emit(ev.Decided(decision))
            if known and known.state is not state and state in SETTLED:
                outcome = Outcome(proposal.id, state, self._clock.now(), message="reported by the gate")
                self._recorder.emit(ev.Concluded(outcome))

    def _note_once(self, text: str) -> None:
        if not any(isinstance(e.payload, ev.Noted) and e.payload.text == text for e in self._recorder.events):
            self._recorder.emit(ev.Noted(text, "warning"))

    def lost(self, reason: str) -> None:
        """Note that the gate is gone: what waited is void, what was being sent is unknown and never sent again."""
        self._recorder.emit(ev.ClusterLost(reason))
        # A foreign client's change may have been approved and sent in the gate's last moment: while there will be
        # another gate, its journal is asked before anything is said about it.
        settle_orphans(self._recorder, self._clock, _GONE, foreign=self._reconnect is None)

    async def _back(self) -> bool:
        if self._reconnect is None:
            return False
        attempt = 0
        while True:
            try:
                connected = await self._reconnect()
                break
            except PilothouseError as error:
                if attempt == 0:
                    self._recorder.emit(ev.Noted(f"The gate cannot be started again yet: {error.meaning}", "warning"))
                await self._clock.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
                attempt += 1
        self._gate.connect(connected.gate)
        self._on_back(connected)
        self._recorder.emit(ev.ClusterBack(connected.info.cluster))
        try:
            await self.sync()
        except GateError as error:
            self._recorder.emit(ev.Noted(f"What the gate holds cannot be listed: {error.meaning}", "warning"))
        await settle_after_crash(self._recorder, self._gate, self._clock, _GONE)
        return True


def settle_orphans(
    recorder: SessionRecorder,
    clock: Clock,
    why: str,
    *,
    foreign: bool = True,
    held: frozenset[str] = frozenset(),
    journal: bool = True,
) -> None:
    """Conclude every proposal that no gate holds any more: unsent ones void, the one being sent unknown.

    `foreign` false leaves foreign clients' changes as they are, `held` names those that a gate still holds, and
    `journal` false says that the journal could not be asked whether one was sent.
    """
    for item in recorder.case.unresolved:
        theirs = item.proposal.origin.session != recorder.session
        if item.proposal.id in held or (theirs and not foreign):
            continue
        # A foreign client's request is sent by the gate itself as soon as it is approved, here or elsewhere.
        if item.state is ProposalState.SENDING or (theirs and (item.state is ProposalState.APPROVED or not journal)):
            text = f"{why}; it was being sent and no answer is known, so it will not be sent again"
            outcome = Outcome(item.proposal.id, ProposalState.UNKNOWN, clock.now(), message=text)
        else:
            outcome = Outcome(item.proposal.id, ProposalState.VOID, clock.now(), message=why)
        recorder.emit(ev.Concluded(outcome))


async def settle_after_crash(
    recorder: SessionRecorder, gate: RecordedGate | None, clock: Clock, why: str = "the session was interrupted"
) -> None:
    """Conclude what an earlier process left open, with the outcome that the gate's journal knows where it does."""
    listed: dict[str, ProposalState] = {}
    asked = True
    if gate is not None:
        try:
            async with asyncio.timeout(10):
                listed = {proposal.id: state for proposal, state in await gate.proposals()}
                for item in recorder.case.proposals:
                    # What was called unknown in the gate's last moment may be on record after all.
                    unclear = item in recorder.case.unresolved or item.state is ProposalState.UNKNOWN
                    if item.proposal.id in listed or not unclear:
                        continue
                    outcome = await gate.outcome(item.proposal.id)
                    if outcome is not None:
                        recorder.emit(ev.Concluded(outcome))
        except (GateError, TimeoutError) as error:
            asked = False
            recorder.emit(ev.Noted(f"The gate's journal cannot be asked: {error}", "warning"))
    for item in recorder.case.unresolved:
        state = listed.get(item.proposal.id)
        if state is not None and state in SETTLED:
            text = "it was sent and no answer is known, so it will not be sent again"
            said = text if state is ProposalState.UNKNOWN else "from the gate's journal"
            outcome = Outcome(item.proposal.id, state, clock.now(), message=said)
            recorder.emit(ev.Concluded(outcome))
    held = frozenset(name for name, state in listed.items() if state not in SETTLED)
    settle_orphans(recorder, clock, why, held=held, journal=asked)


async def check_same_cluster(recorder: SessionRecorder, gate: RecordedGate | None) -> None:
    """Refuse to take a session over on another cluster than it is about. Raises UsageError or GateError."""
    opened = recorder.case.opened
    if gate is None or opened is None:
        return
    info = await gate.info()
    # A recorded cluster gets a new identity whenever it is started; there the context's name has to do.
    live = opened.source == "live"
    was, now = (opened.cluster, info.cluster) if live else (opened.context, info.context)
    if was != now:
        text = f"Session {recorder.session} is about {was}, but this is {now}."
        raise UsageError(text, "Open the cluster of the session.")
