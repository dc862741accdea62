"""A scripted workflow and gate for tests of the session: both do what a test tells them and keep what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from assistant.domain import event as ev
from assistant.domain.action import Action, Remedy, RequestClass, RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.ports import GateInfo, Pause, Recorder, Resolution, Turn
from assistant.domain.proposal import Answer, Consent, Decision, Origin, Outcome, Proposal, ProposalState, Risk, Undo
from assistant.domain.target import Target
from assistant.errors import GateError

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
WEB = Target("apps/v1", "Deployment", "shop", "web")
OPENED = ev.SessionOpened("0.1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", "live", "expert")
CITED = Citation("GET /api/v1/namespaces/shop/pods", '"reason": "ImagePullBackOff"', '{"reason": "ImagePullBackOff"}')


class FakeClock:
    """Time that moves when a test says so; sleepers wake in order."""

    def __init__(self) -> None:
        self.time = START
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + timedelta(seconds=seconds), future))
        await future

    async def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        for due, future in list(self._sleepers):
            if due <= self.time and not future.done():
                future.set_result(None)
        self._sleepers = [item for item in self._sleepers if not item[1].done()]
        await drain()


async def drain(rounds: int = 30) -> None:
    """Let every task that can run do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def patch(image: str = "shop/web:2", body: str = "") -> Action:
    return Action(
        "PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", WEB, (), "application/merge-patch+json",
        body or '{"spec":{"image":"' + image + '"}}',
    )  # fmt: skip


def proposal(
    number: int, action: Action, origin: Origin, *, critical: bool = False, undo: Action | None = None
) -> Proposal:
    return Proposal(
        f"A-{number:04}", action, RequestClass.CRITICAL if critical else RequestClass.WRITE, f"{number:064x}", origin,
        "c-1", "alice", "set image of Deployment web", "kubectl -n shop set image deployment/web web=shop/web:2",
        (), (), (),
        Risk(RiskLevel.CRITICAL if critical else RiskLevel.MEDIUM, ("replaces 3 pods",)),
        Undo("set it back", undo or patch("shop/web:1")), START, START + timedelta(minutes=10),
    )  # fmt: skip


FINDING = Finding("F1", 1, Role.ROOT_CAUSE, "image", WEB, "spec.template", "The image does not exist.", 0.95, ("E1",))
REMEDY = Remedy("A1", "set the image back", ("F1",), RiskLevel.MEDIUM, patch(), "kubectl …", "set it back")


class ScriptedGate:
    """Holds proposals like the gate does, sends nothing, and counts what it was asked to send."""

    journal = ""

    def __init__(self, first: int = 1) -> None:
        self.first = first
        self.held: dict[str, tuple[Proposal, ProposalState]] = {}
        self.keys: dict[str, str] = {}
        self.decisions: list[Decision] = []
        self.sent: list[str] = []
        self.dead = False
        self.notes: tuple[str, ...] = ()
        self.next_decision: ProposalState | None = None
        self.next_outcome = ProposalState.APPLIED
        self.before_execute: Callable[[], Awaitable[None]] | None = None
        self._news: asyncio.Queue[ev.Proposed | ev.Decided | ev.Sending | ev.Concluded | None] = asyncio.Queue()
        self.time = START

    def tell(self, payload: ev.Proposed | ev.Decided | ev.Sending | ev.Concluded) -> None:
        self._news.put_nowait(payload)

    def die(self) -> None:
        self.dead = True
        self._news.put_nowait(None)

    def break_stream(self) -> None:
        self._news.put_nowait(None)

    def _alive(self) -> None:
        if self.dead:
            raise GateError("The gate is gone.", "It is started again.")

    async def info(self) -> GateInfo:
        self._alive()
        url = "https://127.0.0.1:1"
        return GateInfo("g1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", False, url, "k", notes=self.notes)

    async def propose(self, action: Action, origin: Origin, key: str) -> Proposal:
        self._alive()
        if key in self.keys:
            return self.held[self.keys[key]][0]
        made = proposal(len(self.held) + self.first, action, origin)
        made = replace(made, created=self.time, expires=self.time + timedelta(minutes=10))
        self.held[made.id], self.keys[key] = (made, ProposalState.OPEN), made.id
        self.tell(ev.Proposed(made))
        return made

    async def recheck(self, proposal_id: str) -> Proposal:
        self._alive()
        old, _ = self.held[proposal_id]
        made = replace(proposal(len(self.held) + self.first, old.action, old.origin), supersedes=proposal_id)
        self.held[proposal_id] = (old, ProposalState.WITHDRAWN)
        self.held[made.id] = (made, ProposalState.OPEN)
        return made

    async def decide(self, decision: Decision) -> ProposalState:
        self._alive()
        self.decisions.append(decision)
        held, _ = self.held[decision.proposal]
        state = self.next_decision or (
            ProposalState.APPROVED if decision.answer is Answer.APPROVE else ProposalState.DENIED
        )
        self.held[held.id] = (held, state)
        if self.next_decision is None:
            self.tell(ev.Decided(decision))
        return state

    async def decision(self, proposal_id: str) -> Decision | None:
        return None

    async def agree(self, consent: Consent) -> Proposal:
        held, state = self.held[consent.proposal]
        assert held.second is not None
        held = replace(held, second=replace(held.second, agreed=(consent.by,)))
        self.held[held.id] = (held, state)
        return held

    async def stop(self, by: str, why: str) -> int:
        waiting = [p for p, state in self.held.values() if state is ProposalState.OPEN]
        for held in waiting:
            self.held[held.id] = (held, ProposalState.VOID)
            self.tell(ev.Concluded(Outcome(held.id, ProposalState.VOID, self.time, message=f"{by}: {why}")))
        return len(waiting)

    async def execute(self, proposal_id: str) -> Outcome:
        self._alive()
        if self.before_execute:
            await self.before_execute()
        self.sent.append(proposal_id)
        held, _ = self.held[proposal_id]
        self.held[proposal_id] = (held, self.next_outcome)
        outcome = Outcome(proposal_id, self.next_outcome, self.time, 200, "ok", "43")
        self.tell(ev.Sending(proposal_id, held.digest))
        self.tell(ev.Concluded(outcome))
        return outcome

    async def withdraw(self, proposal_id: str) -> None:
        self._alive()
        held, _ = self.held[proposal_id]
        self.held[proposal_id] = (held, ProposalState.WITHDRAWN)

    async def proposals(self) -> tuple[tuple[Proposal, ProposalState], ...]:
        self._alive()
        return tuple(self.held.values())

    async def outcome(self, proposal_id: str) -> Outcome | None:
        self._alive()
        _, state = self.held.get(proposal_id, (None, ProposalState.OPEN))
        return None if state is ProposalState.OPEN else Outcome(proposal_id, state, self.time)

    async def watch(self) -> AsyncIterator[ev.Proposed | ev.Decided | ev.Sending | ev.Concluded]:
        self._alive()
        while (payload := await self._news.get()) is not None:
            yield payload


class ScriptedWorkflow:
    """Investigates in one step, proposes one change and applies it: the shape of the real one without a graph.

    `hold` makes the turn wait (until set), deaf to nothing; `stubborn` ignores its cancellation.
    """

    def __init__(self, gate: object = None) -> None:
        self.gate = gate
        self.hold: asyncio.Event | None = None
        self.stubborn = False
        self.turns: list[Turn] = []
        self.resolutions: list[Resolution] = []
        self.outcomes: list[Outcome] = []
        self.steered: list[str] = []
        self.fails: Exception | None = None
        self.citation = CITED
        self.late: asyncio.Event | None = None

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        self.turns.append(turn)
        if self.fails:
            raise self.fails
        call = recorder.new_call()
        recorder.emit(ev.ToolStarted(call, "list_pods", "list pods  shop", self.citation.request))
        fact = recorder.cite(self.citation, call)
        recorder.emit(ev.ToolEnded(call, True, "1 pod", 0.1, 10, "preview"))
        if self.hold:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
                assert self.late
                await self.late.wait()
                recorder.emit(ev.Noted("written after the stop"))
        self.steered.extend(recorder.steering())
        recorder.emit(ev.FindingsRanked((replace(FINDING, evidence=(fact.id,)),)))
        recorder.emit(ev.RemediesSuggested((REMEDY,)))
        recorder.emit(ev.Answered(f"The image does not exist [{fact.id}].", Verdict.FAULT, "expert"))
        if not turn.propose or self.gate is None:
            return None
        origin = Origin("session", "pilothouse", turn.session, "A1", "set the image back", (fact.id,))
        made = await self.gate.propose(patch(), origin, f"{turn.thread}.A1")  # type: ignore[attr-defined]
        recorder.emit(ev.Proposed(made))
        return Pause(made.id)

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        self.resolutions.append(resolution)
        if resolution.state is ProposalState.APPROVED:
            known = recorder.case.proposal(resolution.proposal)
            assert known
            recorder.emit(ev.Sending(resolution.proposal, known.proposal.digest))
            await recorder.flush()
            outcome = await self.gate.execute(resolution.proposal)  # type: ignore[attr-defined]
            self.outcomes.append(outcome)
            recorder.emit(ev.Concluded(outcome))
            recorder.emit(ev.Verified(resolution.proposal, ev.Healing.FIXED, "3 of 3 pods are ready"))
        recorder.emit(ev.TurnEnded(turn.number))
        return None
