"""The state of a session: the fold of its events, and the only thing that a face may draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from assistant.domain import event as ev
from assistant.domain.action import Remedy
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role
from assistant.domain.hypothesis import Hypothesis
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import Answer, Decision, Outcome, Proposal, ProposalState
from assistant.domain.spent import Spent as Spent

# A foreign recording may hold any number; a date must come out of it.
_LONGEST_WAIT_SECONDS = 86_400.0
UNDECIDED_OUTCOMES = frozenset({ProposalState.OPEN, ProposalState.APPROVED, ProposalState.SENDING})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One line of the transcript: a tool call, running or ended."""

    call: str
    tool: str
    title: str
    request: str
    kubectl: str
    step: str
    started: datetime
    done: bool = False
    ok: bool = True
    result: str = ""
    seconds: float = 0.0
    size_bytes: int = 0
    preview: str = ""
    evidence: tuple[str, ...] = ()
    waiting: str = ""
    """Why it had to wait, the last time that it did; `waits_until` is when it goes on."""
    waits_until: datetime | None = None
    progress: str = ""
    """What it said last of how far it is; `given_up_at` is when nobody waits for it any longer."""
    given_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProposalCase:
    """A proposal with what has happened to it so far."""

    proposal: Proposal
    state: ProposalState = ProposalState.OPEN
    decision: Decision | None = None
    outcome: Outcome | None = None
    verified: ev.Verified | None = None
    undo: ev.UndoOffered | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One block of the transcript, in order. `ref` is the id of the tool call or proposal that it shows."""

    seq: int
    at: datetime
    payload: ev.Payload
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything known about a session after `seq` events. Equal event lists fold to equal cases."""

    session: str = ""
    seq: int = 0
    opened_at: datetime | None = None
    last_at: datetime | None = None
    opened: ev.SessionOpened | None = None
    turn: int = 0
    question: str = ""
    namespace: str = ""
    running: bool = False
    plan: tuple[Step, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Finding, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    board: tuple[Hypothesis, ...] = ()
    opinion: ev.OpinionGiven | None = None
    answer: ev.Answered | None = None
    proposals: tuple[ProposalCase, ...] = ()
    held_calls: tuple[ev.CallHeld, ...] = ()
    """Calls of tools that wait for a person; `questions` are those of MCP servers that do."""
    questions: tuple[ev.QuestionPut, ...] = ()
    transcript: tuple[Entry, ...] = ()
    used: ev.Used = field(default_factory=lambda: ev.Used(0.0, 0))
    spent: Spent = field(default_factory=Spent)
    """Of the whole session; `spent_turn` is of the turn."""
    spent_turn: Spent = field(default_factory=Spent)
    errors: tuple[ev.ErrorRaised, ...] = ()
    cluster_lost: str = ""
    stopped: str = ""
    closed: str = ""

    def proposal(self, proposal_id: str) -> ProposalCase | None:
        """Return the proposal with this id, if the case knows it."""
        return next((p for p in self.proposals if p.proposal.id == proposal_id), None)

    def call(self, call_id: str) -> ToolCall | None:
        """Return the tool call with this id, if the case knows it."""
        return next((c for c in reversed(self.calls) if c.call == call_id), None)

    def fact(self, evidence_id: str) -> Evidence | None:
        """Return the evidence with this id, if the case knows it."""
        return next((e for e in self.evidence if e.id == evidence_id), None)

    @property
    def waiting(self) -> tuple[ProposalCase, ...]:
        """Return the proposals that wait for a person, oldest first."""
        return tuple(p for p in self.proposals if p.state is ProposalState.OPEN)

    @property
    def unresolved(self) -> tuple[ProposalCase, ...]:
        """Return the proposals without an outcome, oldest first."""
        return tuple(p for p in self.proposals if p.state in UNDECIDED_OUTCOMES)

    @property
    def root_causes(self) -> tuple[Finding, ...]:
        """Return the findings that are root causes, best first."""
        return tuple(f for f in self.findings if f.role is Role.ROOT_CAUSE)

    @property
    def result(self) -> str:
        """Return what came of it in a few words, for the list of sessions."""
        verified = [item.verified for item in self.proposals if item.verified]
        if verified:
            return verified[-1].healing.value
        return self.answer.verdict.value if self.answer else self.stopped or "nothing asked"

    @property
    def mind(self) -> str:
        """Return which mind the turn is answered by."""
        return self.answer.mind if self.answer else self.opened.mind if self.opened else ""

    def hypothesis(self, hypothesis_id: str) -> Hypothesis | None:
        """Return the hypothesis with this id, if the board holds it."""
        return next((h for h in self.board if h.id == hypothesis_id), None)

    def apply(self, event: ev.Event) -> Case:
        """Return the case after one more event. Raises ValueError when `event.seq` is not the next one."""
        if event.seq != self.seq + 1:
            raise ValueError(f"event {event.seq} does not follow event {self.seq}")
        case = replace(self, session=event.session, seq=event.seq, last_at=event.at)
        if case.opened_at is None:
            case = replace(case, opened_at=event.at)
        return _fold(case, event)


def fold(events: Iterable[ev.Event]) -> Case:
    """Fold a whole event list."""
    case = Case()
    for event in events:
        case = case.apply(event)
    return case


def _entry(case: Case, event: ev.Event, ref: str = "") -> Case:
    return replace(case, transcript=(*case.transcript, Entry(event.seq, event.at, event.payload, ref)))


def _step(case: Case, step_id: str, status: StepStatus, note: str = "") -> Case:
    plan = tuple(replace(s, status=status, note=note or s.note) if s.id == step_id else s for s in case.plan)
    return replace(case, plan=plan)


def _put(case: Case, changed: ProposalCase) -> Case:
    items = tuple(changed if p.proposal.id == changed.proposal.id else p for p in case.proposals)
    return replace(case, proposals=items)


def _fold(case: Case, event: ev.Event) -> Case:
    payload = event.payload
    match payload:
        case ev.SessionOpened():
            return replace(case, opened=payload, namespace=payload.namespace)
        case ev.Asked():
            fresh = replace(
                case, turn=payload.turn, question=payload.text, namespace=payload.namespace, running=True, stopped="",
                plan=(), findings=(), remedies=(), board=(), opinion=None, answer=None, spent_turn=Spent(),
            )  # fmt: skip
            return _entry(fresh, event)
        case ev.PlanMade():
            known = {s.id: s for s in case.plan}
            return _entry(replace(case, plan=tuple(known.get(s.id, s) for s in payload.steps)), event)
        case ev.StepStarted():
            return _step(case, payload.step, StepStatus.RUNNING)
        case ev.StepEnded():
            return _step(case, payload.step, payload.status, payload.note)
        case ev.ToolStarted() | ev.ToolWaiting() | ev.ToolProgressed() | ev.ToolEnded() | ev.EvidenceAdded():
            return _fold_tool(case, event, payload)
        case ev.CallHeld():
            return _entry(replace(case, held_calls=(*case.held_calls, payload)), event, payload.call)
        case ev.CallDecided():
            held = tuple(each for each in case.held_calls if each.call != payload.call)
            return _entry(replace(case, held_calls=held), event, payload.call)
        case ev.QuestionPut():
            return _entry(replace(case, questions=(*case.questions, payload)), event, payload.question)
        case ev.QuestionAnswered():
            left = tuple(each for each in case.questions if each.question != payload.question)
            return _entry(replace(case, questions=left), event, payload.question)
        case ev.FindingsRanked():
            ranked = replace(case, findings=payload.findings)
            # A claim that nothing carries stays to be seen in the transcript when a later turn has other findings.
            return _entry(ranked, event) if any(f.unsupported for f in payload.findings) else ranked
        case ev.RemediesSuggested():
            return replace(case, remedies=payload.remedies)
        case ev.BoardMade():
            marks = {h.id: h.mark for h in case.board}
            return replace(case, board=tuple(replace(h, mark=marks.get(h.id, h.mark)) for h in payload.hypotheses))
        case ev.HypothesisMarked():
            board = tuple(replace(h, mark=payload.mark) if h.id == payload.hypothesis else h for h in case.board)
            return _entry(replace(case, board=board), event)
        case ev.OpinionGiven():
            return _entry(replace(case, opinion=payload), event)
        case ev.ModelCalled():
            told = replace(case, spent=case.spent.plus(payload), spent_turn=case.spent_turn.plus(payload))
            return _entry(told, event)
        case ev.Answered():
            return _entry(replace(case, answer=payload), event)
        case ev.Proposed() | ev.Decided() | ev.Sending() | ev.Concluded() | ev.Verified() | ev.UndoOffered():
            return _fold_proposal(case, event, payload)
        case ev.Used():
            return replace(case, used=payload)
        case ev.ErrorRaised():
            return _entry(replace(case, errors=(*case.errors, payload)), event)
        case ev.ClusterLost():
            return _entry(replace(case, cluster_lost=payload.reason), event)
        case ev.ClusterBack():
            return _entry(replace(case, cluster_lost=""), event)
        case ev.Stopped():
            over = replace(case, running=False, stopped=payload.reason, held_calls=(), questions=())
            return _entry(over, event)
        case ev.TurnEnded():
            return replace(case, running=False, held_calls=(), questions=())
        case ev.SessionClosed():
            shut = replace(case, running=False, closed=payload.result, held_calls=(), questions=())
            return _entry(shut, event)
        case ev.Resumed():
            # Whoever waited for an answer is gone with the process that asked.
            again = replace(case, running=payload.continues, closed="", held_calls=(), questions=())
            return _entry(again, event)
        case ev.Noted() | ev.Steered() | ev.BudgetReached():
            return _entry(case, event)
        case _:
            assert_never(payload)


def _put_call(case: Case, old: ToolCall, new: ToolCall) -> Case:
    # The call that changes is nearly always among the last ones: a session of thousands must not copy one by one.
    for place in range(len(case.calls) - 1, -1, -1):
        if case.calls[place] is old:
            return replace(case, calls=(*case.calls[:place], new, *case.calls[place + 1 :]))
    return case


def _after(event: ev.Event, seconds: float) -> datetime:
    return event.at + timedelta(seconds=min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS))


def _fold_tool(
    case: Case,
    event: ev.Event,
    payload: ev.ToolStarted | ev.ToolWaiting | ev.ToolProgressed | ev.ToolEnded | ev.EvidenceAdded,
) -> Case:
    match payload:
        case ev.ToolStarted():
            call = ToolCall(
                payload.call, payload.tool, payload.title, payload.request, payload.kubectl, payload.step, event.at
            )
            kept = tuple(c for c in case.calls if c.call != payload.call)
            known = len(kept) != len(case.calls)
            started = replace(case, calls=(*kept, call))
            return started if known else _entry(started, event, payload.call)
        case ev.ToolWaiting():
            running = case.call(payload.call)
            if running is None or running.done:
                return case
            return _put_call(
                case, running, replace(running, waiting=payload.why, waits_until=_after(event, payload.seconds))
            )
        case ev.ToolProgressed():
            running = case.call(payload.call)
            if running is None or running.done:
                return case
            told, until = payload.text or running.progress, _after(event, payload.seconds_left)
            return _put_call(case, running, replace(running, progress=told, given_up_at=until))
        case ev.ToolEnded():
            running = case.call(payload.call)
            if running is None:
                return case
            ended = replace(
                running, done=True, ok=payload.ok, result=payload.result, seconds=payload.seconds,
                size_bytes=payload.size_bytes, preview=payload.preview,
            )  # fmt: skip
            return _put_call(case, running, ended)
        case ev.EvidenceAdded():
            if case.fact(payload.evidence.id):
                return case
            case = replace(case, evidence=(*case.evidence, payload.evidence))
            running = case.call(payload.call)
            if running is None:
                return case
            return _put_call(case, running, replace(running, evidence=(*running.evidence, payload.evidence.id)))
        case _:
            assert_never(payload)


def _fold_proposal(
    case: Case,
    event: ev.Event,
    payload: ev.Proposed | ev.Decided | ev.Sending | ev.Concluded | ev.Verified | ev.UndoOffered,
) -> Case:
    if isinstance(payload, ev.Proposed):
        proposal = payload.proposal
        known = case.proposal(proposal.id)
        if known:
            return _put(case, replace(known, proposal=proposal))
        return _entry(replace(case, proposals=(*case.proposals, ProposalCase(proposal))), event, proposal.id)
    proposal_id = _proposal_of(payload)
    known = case.proposal(proposal_id)
    if known is None:
        return _entry(case, event, proposal_id)
    match payload:
        case ev.Decided():
            approved = payload.decision.answer is Answer.APPROVE
            state = ProposalState.APPROVED if approved else ProposalState.DENIED
            known = replace(known, decision=payload.decision, decided_at=event.at, state=state)
        case ev.Sending():
            known = replace(known, state=ProposalState.SENDING)
        case ev.Concluded():
            known = replace(known, outcome=payload.outcome, state=payload.outcome.state)
        case ev.Verified():
            known = replace(known, verified=payload)
        case ev.UndoOffered():
            known = replace(known, undo=payload)
        case _:
            assert_never(payload)
    return _entry(_put(case, known), event, proposal_id)


def _proposal_of(payload: ev.Decided | ev.Sending | ev.Concluded | ev.Verified | ev.UndoOffered) -> str:
    match payload:
        case ev.Decided():
            return payload.decision.proposal
        case ev.Concluded():
            return payload.outcome.proposal
        case ev.Sending() | ev.Verified() | ev.UndoOffered():
            return payload.proposal
        case _:
            assert_never(payload)
