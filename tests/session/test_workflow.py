"""The workflow over a scripted mind and gate: parallel steps, bounds, denials, chains, cancelling, foreign files."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.checkpoint import open_checkpoints
from agents.executor import choose
from agents.graph import GraphWorkflow
from agents.mind import Conclusion
from agents.state import Limits
from assistant.domain import event as ev
from assistant.domain.action import Remedy, RiskLevel
from assistant.domain.canonical import sha256
from assistant.domain.case import Case
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step, StepStatus
from assistant.domain.ports import Pause, Recorder, Resolution, Turn
from assistant.domain.proposal import ProposalState
from assistant.errors import ClusterError, GateError, StoreError
from tests.session.scripted import FINDING, REMEDY, START, FakeClock, ScriptedGate, drain, patch

TURN = Turn("s1", 1, "why is web down?", "shop")
SECOND = replace(REMEDY, id="A2", title="set another image", action=patch("shop/web:3"))


class ListRecorder:
    """Keeps events in a list; counts flushes."""

    def __init__(self, turn: Turn = TURN) -> None:
        self.events: list[ev.Payload] = []
        self.case = Case()
        self.flushed_at: list[int] = []
        self.directions: list[str] = []
        self.emit(ev.Asked(turn.number, turn.question, turn.namespace))

    def emit(self, payload: ev.Payload) -> None:
        self.events.append(payload)
        self.case = self.case.apply(ev.Event("s1", self.case.seq + 1, START, payload))

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        return Evidence("E1", citation.request, citation.quote, START, "0" * 64, 1)

    def keep(self, text: str) -> str:
        return sha256(text)

    def new_call(self) -> str:
        return "T1"

    def steering(self) -> tuple[str, ...]:
        given, self.directions = tuple(self.directions), []
        return given

    async def flush(self) -> None:
        self.flushed_at.append(len(self.events))

    def kinds(self) -> list[type[ev.Payload]]:
        return [type(payload) for payload in self.events]

    def all(self, kind: type[ev.Payload]) -> list[ev.Payload]:
        return [payload for payload in self.events if isinstance(payload, kind)]


class Mind:
    """Does what a test tells it."""

    name = "scripted"

    def __init__(self) -> None:
        self.steps: tuple[Step, ...] = (Step("S1", "pods"), Step("S2", "events"))
        self.looks_for: Callable[[Recorder], Awaitable[None]] | None = None
        self.remedies: tuple[Remedy, ...] = (REMEDY,)
        self.findings: tuple[Finding, ...] = (FINDING,)
        self.more: list[tuple[Step, ...]] = []
        self.questions: list[str] = []
        self.looked: list[str] = []
        self.verified: list[str] = []
        self.healings: list[ev.Healing] = []
        self.links: dict[str, Remedy] = {}
        self.running = self.most = 0
        self.both = asyncio.Event()
        self.block: asyncio.Event | None = None
        self.fails: dict[str, Exception] = {}

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        self.questions.append(turn.question)
        return self.steps

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        self.looked.append(step.id)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 2:
            self.both.set()
        try:
            if self.block:
                await self.block.wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        if step.id in self.fails:
            raise self.fails[step.id]
        return (replace(FINDING, id=f"{step.id}.1"),)

    def standing(self, turn: Turn) -> Conclusion | None:
        return None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        return ()

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        self.questions.append(turn.question)
        self.found = found
        more = self.more.pop(0) if self.more else ()
        return Conclusion(Verdict.FAULT, self.findings, self.remedies, "The image does not exist [E1].", (), more)

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        return self.links.pop(remedy.id, None)

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> ev.Verified:
        self.verified.append(proposal)
        if self.looks_for:
            await self.looks_for(recorder)
        healing = self.healings.pop(0) if self.healings else ev.Healing.FIXED
        return ev.Verified(proposal, healing, "3 of 3 pods are ready")


class Bench:
    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.mind, self.gate, self.clock = Mind(), ScriptedGate(), FakeClock()
        self.recorder = ListRecorder()
        self.path = path / "checkpoints.db"
        self.workflow = GraphWorkflow(self.mind, self.gate, self.path, self.clock, limits)

    async def run(self, turn: Turn = TURN) -> Pause | None:
        async with asyncio.timeout(20):
            return await self.workflow.run(turn, self.recorder)

    async def resume(self, pause: Pause | None, state: ProposalState, feedback: str = "") -> Pause | None:
        assert pause is not None
        async with asyncio.timeout(20):
            return await self.workflow.resume(TURN, self.recorder, Resolution(pause.proposal, state, feedback))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(limits: Limits | None = None) -> Bench:
        made.append(Bench(tmp_path, limits))
        return made[-1]

    yield make
    for item in made:
        await item.workflow.close()


async def test_steps_run_in_parallel_and_everything_is_reported_once(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert await it.run(replace(TURN, propose=False)) is None
    assert it.mind.most == 2
    assert [f.id for f in it.mind.found] == ["S1.1", "S2.1"]
    for kind in (ev.PlanMade, ev.FindingsRanked, ev.RemediesSuggested, ev.Answered, ev.Used):
        assert len(it.recorder.all(kind)) == 1
    assert [s.status for s in it.recorder.case.plan] == [StepStatus.DONE] * 2
    assert not it.gate.held


async def test_an_approved_change_is_flushed_before_it_is_sent_and_verified_after(bench: Callable[..., Bench]) -> None:
    it = bench()
    pause = await it.run()

    async def look() -> None:
        assert ev.Sending in it.recorder.kinds()[: it.recorder.flushed_at[-1]]

    it.gate.before_execute = look
    assert await it.resume(pause, ProposalState.APPROVED) is None
    assert len(it.gate.sent) == 1
    assert it.mind.verified == it.gate.sent
    after = it.recorder.kinds()
    assert after.index(ev.Concluded) < after.index(ev.UndoOffered) < after.index(ev.Verified)


async def test_a_gate_that_dies_while_a_change_is_checked_is_noticed_within_two_seconds(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    pause = await it.run()
    looking = asyncio.Event()

    async def for_a_minute(recorder: Recorder) -> None:
        looking.set()
        await it.clock.sleep(60.0)

    it.mind.looks_for = for_a_minute
    turn = asyncio.create_task(it.resume(pause, ProposalState.APPROVED))
    await asyncio.wait_for(looking.wait(), 10)
    await it.clock.pass_seconds(10.0)
    it.recorder.emit(ev.ClusterLost("The gate does not answer."))
    it.recorder.emit(ev.ClusterBack("c-1"))
    began = it.clock.monotonic()
    while not turn.done() and it.clock.monotonic() - began < 60:
        await it.clock.pass_seconds(0.25)
        await asyncio.wait({turn}, timeout=0.02)
    assert it.clock.monotonic() - began <= 2.0
    assert await turn is None
    (said,) = it.recorder.all(ev.Verified)
    assert isinstance(said, ev.Verified)
    assert said.healing is ev.Healing.CANNOT_TELL
    assert "gate died" in said.text


async def test_nothing_is_sent_when_the_log_cannot_be_written(bench: Callable[..., Bench]) -> None:
    it = bench()
    pause = await it.run()

    async def full() -> None:
        raise StoreError("The disk is full.", "Free some space.")

    it.recorder.flush = full  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await it.resume(pause, ProposalState.APPROVED)
    assert not it.gate.sent


@pytest.mark.parametrize("state", [s for s in ProposalState if s not in (ProposalState.APPROVED, ProposalState.VOID)])
async def test_whatever_is_not_an_approval_sends_nothing(bench: Callable[..., Bench], state: ProposalState) -> None:
    it = bench()
    assert await it.resume(await it.run(), state) is None
    assert not it.gate.sent


async def test_a_denial_with_feedback_brings_the_alternative_and_one_without_ends(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, SECOND)
    again = await it.resume(await it.run(), ProposalState.DENIED, "not that image")
    assert again is not None
    assert it.gate.held[again.proposal][0].origin.remedy == "A2"
    assert await it.resume(again, ProposalState.DENIED) is None
    assert len(it.gate.held) == 2


async def test_a_denial_with_feedback_and_no_alternative_says_so(bench: Callable[..., Bench]) -> None:
    it = bench()
    assert await it.resume(await it.run(), ProposalState.DENIED, "not now") is None
    notes = [n.text for n in it.recorder.all(ev.Noted) if isinstance(n, ev.Noted)]
    assert any("not now" in text and "no other suggestion" in text for text in notes)


async def test_a_chain_is_proposed_link_by_link_and_verified_at_its_end(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, replace(SECOND, after="A1"))
    second = await it.resume(await it.run(), ProposalState.APPROVED)
    assert second is not None
    assert not it.mind.verified
    assert await it.resume(second, ProposalState.APPROVED) is None
    assert it.mind.verified == [second.proposal]


def two_faults(it: Bench) -> None:
    it.mind.findings = (FINDING, replace(FINDING, id="F2"))
    it.mind.remedies = (REMEDY, replace(SECOND, fixes=("F2",)))


def healings_of(it: Bench, proposal: str) -> list[ev.Healing]:
    found = [item for item in it.recorder.all(ev.Verified) if isinstance(item, ev.Verified)]
    return [item.healing for item in found if item.proposal == proposal]


async def test_the_first_of_two_changes_is_not_called_a_failure_before_the_second_is_in(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    two_faults(it)
    it.mind.healings = [ev.Healing.NOT_FIXED]
    first = await it.run()
    second = await it.resume(first, ProposalState.APPROVED)
    assert first is not None
    assert second is not None
    assert healings_of(it, first.proposal) == [ev.Healing.CANNOT_TELL]
    assert await it.resume(second, ProposalState.APPROVED) is None
    assert healings_of(it, first.proposal) == [ev.Healing.CANNOT_TELL, ev.Healing.FIXED]
    assert healings_of(it, second.proposal) == [ev.Healing.FIXED]


@pytest.mark.parametrize("answer", [ProposalState.DENIED, ProposalState.EXPIRED])
async def test_a_change_that_was_unclear_is_judged_when_the_turn_ends_without_the_other(
    bench: Callable[..., Bench], answer: ProposalState
) -> None:
    it = bench()
    two_faults(it)
    it.mind.healings = [ev.Healing.NOT_FIXED, ev.Healing.NOT_FIXED]
    first = await it.run()
    assert first is not None
    second = await it.resume(first, ProposalState.APPROVED)
    assert await it.resume(second, answer) is None
    assert healings_of(it, first.proposal) == [ev.Healing.CANNOT_TELL, ev.Healing.NOT_FIXED]


def remedy_of(it: Bench, pause: Pause | None) -> str:
    assert pause is not None
    return it.gate.held[pause.proposal][0].origin.remedy


def notes_of(it: Bench) -> list[str]:
    return [item.text for item in it.recorder.all(ev.Noted) if isinstance(item, ev.Noted)]


async def test_after_a_change_that_did_not_help_the_alternative_is_proposed(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.remedies = (SECOND, REMEDY)
    it.mind.healings = [ev.Healing.NOT_FIXED]
    first = await it.run()
    assert remedy_of(it, first) == "A2"
    second = await it.resume(first, ProposalState.APPROVED)
    assert remedy_of(it, second) == "A1"
    assert any("A2 did not mend" in text and "still in" in text for text in notes_of(it))
    assert await it.resume(second, ProposalState.APPROVED) is None
    assert it.gate.sent == [first.proposal if first else "", second.proposal if second else ""]


@pytest.mark.parametrize("healing", [ev.Healing.FIXED, ev.Healing.CANNOT_TELL])
async def test_the_alternative_waits_while_a_change_may_still_help(
    bench: Callable[..., Bench], healing: ev.Healing
) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, SECOND)
    it.mind.healings = [healing]
    assert await it.resume(await it.run(), ProposalState.APPROVED) is None
    assert len(it.gate.held) == 1


async def test_an_alternative_that_is_the_same_request_is_not_proposed_again(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, replace(SECOND, action=REMEDY.action))
    it.mind.healings = [ev.Healing.NOT_FIXED]
    assert await it.resume(await it.run(), ProposalState.APPROVED) is None
    assert len(it.gate.held) == 1


async def test_a_change_that_the_pods_have_not_seen_is_followed_by_the_restart(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, SECOND)
    it.mind.healings = [ev.Healing.CANNOT_TELL, ev.Healing.FIXED, ev.Healing.FIXED]
    it.mind.links = {"A1": replace(SECOND, id="A3", title="restart it", after="A1", action=patch("again"))}
    first = await it.run()
    restart = await it.resume(first, ProposalState.APPROVED)
    assert remedy_of(it, restart) == "A3"
    assert [remedy.id for remedy in it.recorder.case.remedies] == ["A1", "A3", "A2"]
    assert await it.resume(restart, ProposalState.APPROVED) is None
    assert first is not None and restart is not None
    assert healings_of(it, first.proposal) == [ev.Healing.CANNOT_TELL, ev.Healing.FIXED]
    assert healings_of(it, restart.proposal) == [ev.Healing.FIXED]
    assert len(it.gate.held) == 2


async def test_the_alternative_comes_when_the_restart_has_shown_that_the_change_did_not_help(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    it.mind.remedies = (REMEDY, SECOND)
    it.mind.healings = [ev.Healing.CANNOT_TELL, ev.Healing.NOT_FIXED]
    it.mind.links = {"A1": replace(SECOND, id="A3", after="A1", action=patch("again"))}
    restart = await it.resume(await it.run(), ProposalState.APPROVED)
    assert remedy_of(it, await it.resume(restart, ProposalState.APPROVED)) == "A2"


async def test_one_of_two_changes_that_turns_out_not_to_have_helped_brings_its_alternative(
    bench: Callable[..., Bench],
) -> None:
    it = bench()
    two_faults(it)
    it.mind.remedies = (*it.mind.remedies, replace(SECOND, id="A3", action=patch("shop/web:4"), fixes=("F1",)))
    it.mind.healings = [ev.Healing.NOT_FIXED, ev.Healing.FIXED, ev.Healing.NOT_FIXED]
    first = await it.run()
    second = await it.resume(first, ProposalState.APPROVED)
    assert [remedy_of(it, first), remedy_of(it, second)] == ["A1", "A2"]
    assert remedy_of(it, await it.resume(second, ProposalState.APPROVED)) == "A3"


async def test_a_void_proposal_is_renewed_but_not_for_ever(bench: Callable[..., Bench]) -> None:
    it = bench()
    pause = await it.run()
    for _ in range(2):
        it.gate.keys.clear()
        renewed = await it.resume(pause, ProposalState.VOID)
        assert renewed is not None
        assert renewed != pause
        pause = renewed
    assert await it.resume(pause, ProposalState.VOID) is None
    assert not it.gate.sent


async def test_a_gate_that_refuses_a_proposal_does_not_end_the_answer(bench: Callable[..., Bench]) -> None:
    it = bench()

    async def refuse(*_: object) -> None:
        raise GateError("This gate only observes.", "Start it in mode ask.")

    it.gate.propose = refuse  # type: ignore[assignment,method-assign]
    assert await it.run() is None
    assert it.recorder.case.answer is not None
    assert any("only observes" in n.text for n in it.recorder.all(ev.Noted) if isinstance(n, ev.Noted))


async def test_one_failing_step_does_not_end_the_others(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.fails["S1"] = ClusterError("No answer.", "Wait.")
    await it.run(replace(TURN, propose=False))
    assert [s.status for s in it.recorder.case.plan] == [StepStatus.FAILED, StepStatus.DONE]
    assert it.recorder.case.answer is not None


async def test_more_steps_loop_within_a_bound_and_never_repeat(bench: Callable[..., Bench]) -> None:
    it = bench(Limits(rounds=3))
    it.mind.more = [(Step("S3", "logs"), Step("S1", "pods")), (Step("S4", "nodes"),), (Step("S5", "never"),)]
    await it.run(replace(TURN, propose=False))
    assert sorted(it.mind.looked) == ["S1", "S2", "S3", "S4"]
    assert [b.bound for b in it.recorder.all(ev.BudgetReached) if isinstance(b, ev.BudgetReached)] == ["steps"]
    assert it.recorder.case.answer is not None


async def test_too_many_steps_are_cut_and_said(bench: Callable[..., Bench]) -> None:
    it = bench(Limits(steps=3))
    it.mind.steps = tuple(Step(f"S{i}", "x") for i in range(9))
    await it.run(replace(TURN, propose=False))
    assert len(it.mind.looked) == 3
    assert len(it.recorder.all(ev.BudgetReached)) == 1


async def test_running_out_of_time_still_reports(bench: Callable[..., Bench]) -> None:
    it = bench(Limits(seconds=10))
    it.mind.block = asyncio.Event()
    task = asyncio.create_task(it.run(replace(TURN, propose=False)))
    await it.mind.both.wait()
    await it.clock.pass_seconds(11)
    # Whatever asks for more time after the deadline asks the clock for none.
    while not task.done():
        await it.clock.pass_seconds(0)
        await asyncio.sleep(0.005)
    await task
    assert [s.status for s in it.recorder.case.plan] == [StepStatus.SKIPPED] * 2
    assert len(it.recorder.all(ev.BudgetReached)) == 1
    assert it.recorder.case.answer is not None
    assert it.recorder.case.answer.verdict is not Verdict.HEALTHY


async def test_directions_reach_the_mind_at_the_next_border(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.block = asyncio.Event()
    task = asyncio.create_task(it.run(replace(TURN, propose=False)))
    await it.mind.both.wait()
    it.recorder.directions.append("look at the probes")
    it.mind.block.set()
    await task
    assert it.mind.questions[0] == TURN.question
    assert "look at the probes" in it.mind.questions[-1]


async def test_cancelling_ends_the_steps_at_once(bench: Callable[..., Bench]) -> None:
    it = bench()
    it.mind.block = asyncio.Event()
    task = asyncio.create_task(it.run())
    await it.mind.both.wait()
    task.cancel()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert loop.time() - began < 0.3
    await drain()
    assert it.mind.running == 0


async def test_a_finished_turn_leaves_no_checkpoint(bench: Callable[..., Bench]) -> None:
    it = bench()
    await it.run(replace(TURN, propose=False))
    await it.workflow.close()
    with sqlite3.connect(it.path) as database:
        assert database.execute("select count(*) from checkpoints").fetchone() == (0,)
    assert stat.S_IMODE(it.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["database", "text", "link"])
async def test_a_checkpoint_file_that_is_not_ours_is_never_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "checkpoints.db"
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("create table checkpoints (thread_id text)")
    if kind == "database":
        other.rename(path)
    elif kind == "text":
        path.write_text("not a database")
    else:
        path.symlink_to(other)
    before = path.read_bytes()
    with pytest.raises(StoreError):
        await open_checkpoints(path)
    assert path.read_bytes() == before
    assert not path.with_name("checkpoints.db-wal").exists()


def remedy(name: str, fixes: str = "F1", after: str = "", outside: bool = False) -> Remedy:
    return Remedy(name, name, (fixes,), RiskLevel.LOW, None if outside else patch(), after=after)


def test_the_next_remedy_is_for_a_finding_not_dealt_with() -> None:
    remedies = (remedy("A0", outside=True), remedy("A1"), remedy("A2"), remedy("A3", after="A1"), remedy("A4", "F2"))
    chosen = []
    tried: list[str] = []
    while (found := choose(remedies, tried, list(tried))) is not None:
        tried.append(found.id)
        chosen.append(found.id)
    assert chosen == ["A1", "A3", "A4"]
    assert [r.id for r in (choose(remedies, ["A1"], []),) if r] == ["A2"]
