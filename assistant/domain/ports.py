"""The few places where two sides meet: each protocol has one consumer and at least two implementations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assistant.domain.action import Action
from assistant.domain.case import Case
from assistant.domain.event import Concluded, Decided, Payload, Proposed, Sending
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.proposal import Consent, Decision, Origin, Outcome, Proposal, ProposalState


class Clock(Protocol):
    """Time as an input, so that expiry and replay can be tested without waiting."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Recorder(Protocol):
    """What a workflow may do to a session: append events and record facts. The session implements it."""

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        ...

    def emit(self, payload: Payload) -> None:
        """Append an event."""
        ...

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        """Record a fact and return it with its id; the same citation twice gives the same evidence."""
        ...

    def keep(self, text: str) -> str:
        """Keep a text beside the log, secrets taken out, and return the SHA-256 it is found under."""
        ...

    def new_call(self) -> str:
        """Return a fresh tool-call id, unique in the session."""
        ...

    def steering(self) -> tuple[str, ...]:
        """Return and clear the directions given since the last step border."""
        ...

    async def flush(self) -> None:
        """Return when every event so far is durable. Raises StoreError when it is not: then nothing may be sent."""
        ...


@dataclass(frozen=True, slots=True)
class InForce:
    """One rule that holds in the gate's context, and which flag, variable, section of a file or default set it."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class GateInfo:
    """What the gate says about itself and the cluster behind it. `mode` is "ask" or "observe".

    `policy` is what holds in this context. `stopped` says who stopped all changes and why, "" while nobody has.
    `notes` are sentences that whoever works here has to know: a clock that is wrong, a certificate that is not checked.
    """

    gate: str
    context: str
    cluster: str
    server_version: str
    namespace: str
    identity: str
    mode: str
    production: bool
    data_url: str
    kubeconfig: str
    policy: tuple[InForce, ...] = ()
    stopped: str = ""
    notes: tuple[str, ...] = ()


class Gate(Protocol):
    """The control side of the gate: the only way towards a change."""

    @property
    def journal(self) -> str:
        """Return `NUMBER:HASH` of the last entry of the gate's journal that was heard of, "" before any was."""
        ...

    async def info(self) -> GateInfo:
        """Return what is behind the gate. Raises GateError when it is gone."""
        ...

    async def propose(self, action: Action, origin: Origin, key: str) -> Proposal:
        """Have the gate examine a change. The same `key` returns the same open proposal."""
        ...

    async def recheck(self, proposal_id: str) -> Proposal:
        """Examine an open proposal again; a changed result is a new proposal that supersedes it."""
        ...

    async def decide(self, decision: Decision) -> ProposalState:
        """Hand over a person's decision. Returns the state it led to (EXPIRED and WITHDRAWN are values).

        Raises GateError with code `not-decided` where the proposal still waits: the decision is about other bytes,
        what was shown or the typed name is missing, so is a second person, or the gate has sent what it may for now.
        """
        ...

    async def decision(self, proposal_id: str) -> Decision | None:
        """Return the decision as the gate took it, with the second person's agreement; None while there is none."""
        ...

    async def agree(self, consent: Consent) -> Proposal:
        """Hand over a second person's signed agreement. Raises GateError for one that does not count."""
        ...

    async def stop(self, by: str, why: str) -> int:
        """Void everything that waits or is approved, and send nothing more for as long as this gate runs.

        Returns how many changes that ended. What has been sent already cannot be recalled.
        """
        ...

    async def execute(self, proposal_id: str) -> Outcome:
        """Send an approved proposal of our own, once. Called again, it returns the recorded outcome."""
        ...

    async def withdraw(self, proposal_id: str) -> None:
        """Take back an open proposal of our own."""
        ...

    async def proposals(self) -> tuple[tuple[Proposal, ProposalState], ...]:
        """Return every proposal that the gate holds."""
        ...

    async def outcome(self, proposal_id: str) -> Outcome | None:
        """Return what came of a proposal, also one of a gate that has ended; None while nothing has.

        Raises GateError, with code `no-such-proposal` for one of which no end is on record.
        """
        ...

    def watch(self) -> AsyncIterator[Proposed | Decided | Sending | Concluded]:
        """Follow what happens at the gate, including requests of foreign clients."""
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One question being worked on. `propose` false means: suggest remedies, submit nothing to the gate."""

    session: str
    number: int
    question: str
    namespace: str
    propose: bool = True

    @property
    def thread(self) -> str:
        """Return the workflow's checkpoint thread for this turn."""
        return f"{self.session}.{self.number}"


@dataclass(frozen=True, slots=True)
class Pause:
    """The workflow waits for a person to decide on this proposal."""

    proposal: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the workflow is told after a pause. `state` is APPROVED, DENIED, EXPIRED, REFUSED, VOID or WITHDRAWN."""

    proposal: str
    state: ProposalState
    feedback: str = ""


class Workflow(Protocol):
    """How a turn is thought through: planner, diagnoser, executor. Implemented on LangGraph in `agents`."""

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        """Start a turn; or, where its checkpoint exists, carry on from it (after a crash).

        Returns a Pause when a proposal waits, None when the turn is over. Cancelling the task stops it.
        """
        ...

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        """Carry on after a pause."""
        ...
