"""What the screens are tested with: a session that plays prepared events, a clock that stands still, a library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.domain.case import Case
from assistant.domain.hypothesis import Mark
from assistant.domain.proposal import Answer, Decision, ProposalState
from assistant.errors import StoreError, UsageError
from assistant.session.ports import ToolServers
from assistant.tui.ports import Listener
from tests.tui import fixture


class StillClock:
    """Time that moves when a test says so; `sleep` waits for nothing."""

    def __init__(self, now: datetime = fixture.START) -> None:
        self.time, self.seconds = now, 100.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.time += timedelta(seconds=seconds)


@dataclass
class ScriptedAsking:
    """Answers as the desk of a session does, and keeps what was said. `refuses` is what `reply` does not take."""

    session: ScriptedSession
    attended: bool = False
    decided: list[tuple[str, str, bool, str]] = field(default_factory=list)
    replied: list[tuple[str, Reply, dict[str, str | tuple[str, ...]]]] = field(default_factory=list)
    refuses: UsageError | None = None

    def decide(self, call: str, digest: str, allowed: bool, reason: str = "") -> None:
        held = next((each for each in self.session.case.held_calls if each.call == call), None)
        if held is None:
            raise UsageError("This call does not wait any more.", "Look at what runs now.")
        if held.digest != digest:
            raise UsageError("What waits is not what was shown.", "Look at it again.")
        self.decided.append((call, digest, allowed, reason))
        self.session.emit(ev.CallDecided(call, allowed, reason, "alice"))

    def reply(self, question: str, reply: Reply, values: Mapping[str, str | tuple[str, ...]] | None = None) -> None:
        if all(each.question != question for each in self.session.case.questions):
            raise UsageError("This question does not wait any more.", "Look at what runs now.")
        if reply is Reply.ACCEPT and self.refuses is not None:
            raise self.refuses
        given = dict(values or {})
        self.replied.append((question, reply, given))
        self.session.emit(ev.QuestionAnswered(question, reply, tuple(given), "alice"))


@dataclass
class ScriptedSession:
    """Answers like a session: asking plays `answers`, approving plays `after`."""

    clock: StillClock
    answers: list[ev.Payload] = field(default_factory=lambda: fixture.investigation()[2:])
    after: list[ev.Payload] = field(default_factory=lambda: fixture.outcome()[1:])
    pace_seconds: float = 0.0
    case: Case = field(default_factory=Case)
    events: list[ev.Event] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    steered: list[str] = field(default_factory=list)
    marked: list[tuple[str, Mark]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    rechecked: list[str] = field(default_factory=list)
    reviewed: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    closed: bool = False
    verdict: ProposalState = ProposalState.APPROVED
    servers: ToolServers | None = None
    bodies: dict[str, str] = field(default_factory=lambda: dict(fixture.BODIES))
    _listeners: list[Listener] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asking = ScriptedAsking(self)
        self.emit(fixture.investigation()[0])

    def emit(self, *payloads: ev.Payload) -> None:
        for payload in payloads:
            event = ev.Event("s-0188", self.case.seq + 1, self.clock.now(), payload)
            self.case = self.case.apply(event)
            self.events.append(event)
            for listener in self._listeners:
                listener(event, self.case)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def ask(self, text: str, namespace: str | None = None) -> None:
        self.asked.append(text)
        self.emit(ev.Asked(self.case.turn + 1, text, namespace or "payments"))
        await self._play(self.answers)

    async def stop_changes(self, why: str) -> int:
        self.stops.append(why)
        return len(self.case.waiting)

    async def _play(self, payloads: Sequence[ev.Payload]) -> None:
        for payload in payloads:
            if self.pace_seconds:
                await asyncio.sleep(self.pace_seconds)
            self.emit(payload)

    def steer(self, text: str) -> None:
        self.steered.append(text)
        self.emit(ev.Steered(text))

    def mark(self, hypothesis_id: str, mark: Mark) -> None:
        self.marked.append((hypothesis_id, mark))
        if self.case.hypothesis(hypothesis_id) is None:
            raise UsageError("There is no such hypothesis.", "Choose one of the board.")
        self.emit(ev.HypothesisMarked(hypothesis_id, mark))

    async def stop(self, reason: str) -> None:
        self.stopped.append(reason)
        self.emit(ev.Stopped(reason))

    async def decide(
        self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
        *, looked_seconds: float = -1.0,
    ) -> ProposalState:  # fmt: skip
        known = self.case.proposal(proposal_id)
        assert known is not None
        decision = Decision(
            proposal_id, known.proposal.digest, answer, "alice", self.clock.now(), reason, shown, typed_name,
            looked_seconds,
        )  # fmt: skip
        self.decisions.append(decision)
        if answer is Answer.DENY:
            self.emit(ev.Decided(decision))
            return ProposalState.DENIED
        if self.verdict is ProposalState.APPROVED:
            self.emit(ev.Decided(decision))
            await self._play(self.after)
        return self.verdict

    async def recheck(self, proposal_id: str) -> None:
        self.rechecked.append(proposal_id)
        known = self.case.proposal(proposal_id)
        assert known is not None
        self.emit(ev.Proposed(replace(known.proposal, resource_version="88121799")))

    async def review(self, remedy_id: str) -> None:
        self.reviewed.append(remedy_id)

    async def undo(self, proposal_id: str) -> None:
        self.undone.append(proposal_id)

    async def detach(self) -> None:
        """Let go."""
        await self.close()

    async def close(self) -> None:
        self.closed = True

    def body(self, sha256: str) -> str:
        if sha256 not in self.bodies:
            raise StoreError("The text of this evidence is not in the store.", "Ask again to read it anew.")
        return self.bodies[sha256]


@dataclass(frozen=True)
class Row:
    id: str
    opened_at: datetime
    context: str = "prod-eu-1"
    namespace: str = "payments"
    title: str = fixture.QUESTION
    verdict: str = "fault"
    status: str = "closed"
    result: str = "fixed"
    events: int = 39
    applied: int = 1
    mind: str = "expert"


@dataclass(frozen=True)
class Listed:
    row: Row
    interrupted: bool = False


class MemoryLibrary:
    def __init__(self, count: int = 6) -> None:
        titles = [
            fixture.QUESTION,
            "why are the nightly backups missing?",
            "shop front page returns 503",
            "is node-b1 sick?",
        ]
        self.rows = [
            Listed(
                Row(f"s-{188 - n:04d}", fixture.START - timedelta(hours=5 * n), title=titles[n % len(titles)]), n == 2
            )
            for n in range(count)
        ]

    def list(self, limit: int = 200, query: str = "") -> list[Listed]:
        return [each for each in self.rows if query.lower() in each.row.title.lower()][:limit]

    def load(self, session: str) -> Sequence[ev.Event]:
        if session == "s-0186":
            raise StoreError("The session is damaged at event 3.", "pilothouse sessions verify says more.")
        return fixture.whole()

    def body(self, sha256: str) -> str:
        return fixture.BODIES[sha256]
