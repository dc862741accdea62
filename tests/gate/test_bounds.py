"""How many changes there may be, one at a time, protected namespaces on both sides, and the stop for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import Action, RequestClass
from assistant.domain.event import Concluded
from assistant.domain.proposal import Decision, Origin, ProposalState
from assistant.errors import ClusterError, GateError
from assistant.gate.control import GateRefusedError
from assistant.gate.governor import Governor, Window
from assistant.gate.process import SystemClock, start
from assistant.gate.settings import RuleSettings, Settings
from assistant.policy.api_path import Refused
from assistant.policy.contexts import ContextPolicy
from tests.gate.conftest import MERGE, OURS, SCALE, WEB, Lab, lab, not_decided, says
from tests.gate.scripted import DEPLOYMENT
from tests.gate.test_holding import PATCH, held

State = ProposalState


def bounds(**values: int) -> dict[str, Any]:
    return {"rules": (RuleSettings("lab", values, "a test"),)}


def scale(replicas: int) -> Action:
    return Action("PATCH", DEPLOYMENT, WEB, (), MERGE, f'{{"spec":{{"replicas":{replicas}}}}}')


class TestProposals:
    async def test_of_one_origin_are_bounded_and_the_refusal_says_so(self, tmp_path: Path) -> None:
        async with lab(tmp_path, **bounds(proposals_per_5_min=2)) as here, here.client() as client:
            for number in (1, 2):
                await here.control.propose(scale(number), OURS, str(number))
            with pytest.raises(GateRefusedError, match="this session asked for 2 changes within 5 minutes") as caught:
                await here.control.propose(scale(3), OURS, "3")
            assert caught.value.code == "too-often"
            # Another origin is not made to wait for this one.
            asked = [asyncio.create_task(_patch(client, n, f"tool/{n}")) for n in range(3)]
            done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED, timeout=10)
            # A client's own name gets it no second allowance.
            assert [task.result()[0] for task in done] == [429]
            assert "clients of the kubeconfig" in (message := done.pop().result()[1]["message"])
            assert "asked for 2 changes" in message
            assert len(waiting) == 2
            for task in waiting:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def test_repeating_the_same_one_costs_nothing(self, tmp_path: Path) -> None:
        async with lab(tmp_path, **bounds(proposals_per_5_min=1)) as here:
            first = await here.control.propose(SCALE, OURS, "k")
            assert {(await here.control.propose(SCALE, OURS, "k")).id for _ in range(3)} == {first.id}
            here.server.touch()
            assert (await here.control.recheck(first.id)).supersedes == first.id


class TestWindow:
    def test_lets_the_next_one_in_when_the_oldest_is_out(self) -> None:
        window = Window(2, 10.0)
        for now in (0.0, 4.0):
            assert window.wait(now) == 0
            window.add(now)
        assert (window.wait(5.0), window.room(5.0)) == (5.0, 0)
        assert window.wait(9.75) == 0.25
        assert window.room(10.0) == 1


class TestSent:
    async def test_no_more_than_so_many_and_the_rest_still_wait(self, tmp_path: Path) -> None:
        async with lab(tmp_path, **bounds(sent_per_10_min=2)) as here:
            for number in (1, 2):
                proposal = await here.control.propose(scale(number), OURS, str(number))
                await here.control.decide(says(proposal))
                assert (await here.control.execute(proposal.id)).state is State.APPLIED
            third = await here.control.propose(scale(3), OURS, "3")
            with pytest.raises(GateRefusedError, match="At most 2 changes are sent within 10 minutes"):
                await here.control.decide(says(third))
            assert (third, State.OPEN) in await here.control.proposals()
            assert len(here.server.writes) == 2

    async def test_what_is_approved_and_not_sent_counts(self, tmp_path: Path) -> None:
        async with lab(tmp_path, **bounds(sent_per_10_min=1)) as here:
            first = await here.control.propose(scale(1), OURS, "1")
            second = await here.control.propose(scale(2), OURS, "2")
            await here.control.decide(says(first))
            with pytest.raises(GateRefusedError, match="once those that are approved"):
                await here.control.decide(says(second))

    async def test_the_bound_is_looked_at_again_before_sending(self, tmp_path: Path) -> None:
        async with lab(tmp_path, **bounds(sent_per_10_min=1)) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            await here.control.decide(says(proposal))
            here.gate.broker._governor.sent()
            assert (await here.control.execute(proposal.id)).state is State.REFUSED
            assert here.server.writes == []


class TestOneAtATime:
    async def test_a_second_gate_on_the_cluster_waits_for_the_first(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        path = here.gate.broker._governor._lock
        assert path is not None
        other = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)
        polled = asyncio.Event()

        class Clock(SystemClock):
            async def sleep(self, seconds: float) -> None:
                polled.set()
                await super().sleep(0)

        here.gate.broker._governor._clock = Clock()
        reads = len(here.server.requests)
        sending = asyncio.create_task(here.control.execute(proposal.id))
        turn = asyncio.create_task(polled.wait())
        await asyncio.wait({sending, turn}, return_when=asyncio.FIRST_COMPLETED)
        assert turn.done(), "it did not wait for the other gate"
        assert not sending.done()
        assert len(here.server.requests) == reads, "it looked before it was its turn"
        os.close(other)
        assert (await sending).state is State.APPLIED

    async def test_waiting_ends_with_the_approval(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        kept = here.gate.broker.get(proposal.id)
        path = here.gate.broker._governor._lock
        assert path is not None
        other = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(other, fcntl.LOCK_EX)
        kept.approved_until = 0.0
        outcome = await here.control.execute(proposal.id)
        os.close(other)
        assert (outcome.state, here.server.writes) == (State.EXPIRED, [])

    async def test_without_a_lock_nothing_is_sent(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        here.gate.broker._governor._lock = here.folder / "no" / "such" / "folder"
        assert (await here.control.execute(proposal.id)).state is State.REFUSED
        assert here.server.writes == []

    async def test_clusters_do_not_wait_for_each_other(self, tmp_path: Path) -> None:
        async with lab(tmp_path) as one, lab(tmp_path) as two:
            assert one.gate.broker._governor._lock != two.gate.broker._governor._lock


class TestQuick:
    @pytest.mark.parametrize(
        ("age", "looked", "quick"),
        [(0.5, -1.0, True), (9.0, -1.0, False), (9.0, 0.4, True), (0.5, 9.0, True), (9.0, 2.0, False)],
    )
    async def test_an_approval_nobody_can_have_read_is_marked(
        self, here: Lab, age: float, looked: float, quick: bool
    ) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        governor = here.gate.broker._governor
        said = says(proposal, looked_seconds=looked)
        at = proposal.created + timedelta(seconds=age)
        assert governor.quick(proposal, Decision(**{**_fields(said), "at": at})) is quick

    async def test_the_mark_is_the_gates_own(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal, quick=False, looked_seconds=60.0))
        taken = await here.control.decision(proposal.id)
        assert taken is not None
        assert taken.quick
        assert "sooner than it can be read" in taken.who


class TestProtectedNamespaces:
    async def test_hold_for_our_own_changes_and_for_clients(self, tmp_path: Path) -> None:
        async with lab(tmp_path, protected_namespaces=("sh*",)) as here, here.client() as client:
            ours = await here.control.propose(SCALE, OURS, "k")
            asked = asyncio.create_task(_patch(client, 5, "kubectl"))
            async with asyncio.timeout(10):
                while len(found := await here.control.proposals()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert [(p.request_class, p.typed_name) for p, _ in found] == [(RequestClass.CRITICAL, "web")] * 2
            for proposal, _ in found:
                assert "protected-namespace" in proposal.risk.reasons[0]
                assert await not_decided(here.control, says(proposal, typed_name=""))
            await here.control.withdraw(next(p.id for p, _ in found if p.id != ours.id))
            assert (await asked)[0] == 403


class TestStop:
    async def test_voids_all_tells_who_waits_and_ends_the_way_to_write(self, here: Lab) -> None:
        approved = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(approved))
        async with here.client() as client, here.gate.broker.news.listen() as news:
            asked = asyncio.create_task(_patch(client, 6, "kubectl"))
            waiting = await held(here.control)
            assert await here.control.stop("grace", "something is off") == 2
            status, body = await asked
            assert (status, body["kind"]) == (409, "Status")
            assert "grace stopped all changes: something is off" in body["message"]
            again = await _patch(client, 7, "kubectl")
            assert again[0] == 403
            assert "until the gate is started anew" in again[1]["message"]
            ended = [news.get_nowait() for _ in range(news.qsize())]
        told = {event.outcome.proposal for event in ended if isinstance(event, Concluded)}
        assert told == {approved.id, waiting.id}
        assert {s for _, s in await here.control.proposals()} == {State.VOID}
        assert (await here.control.execute(approved.id)).state is State.VOID
        assert await here.control.decide(says(waiting)) is State.VOID
        with pytest.raises(GateRefusedError, match="started anew"):
            await here.control.propose(SCALE, OURS, "k2")
        assert here.gate.broker._sender is None
        assert here.server.writes == []
        assert "something is off" in (await here.control.info()).stopped
        assert '"stopped":"grace stopped all changes: something is off","ended":2' in passed(here)
        async with here.client() as client, client.get(DEPLOYMENT) as answer:
            assert answer.status == 200

    async def test_catches_what_is_just_being_examined(self, here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        examine = here.gate.broker._examiner.examine

        async def slow(*args: Any, **more: Any) -> Any:
            found = await examine(*args, **more)
            here.gate.broker.stop("grace", "")
            return found

        monkeypatch.setattr(here.gate.broker._examiner, "examine", slow)
        with pytest.raises(GateRefusedError, match="grace stopped all changes"):
            await here.control.propose(SCALE, OURS, "k")
        assert await here.control.proposals() == ()

    @pytest.mark.parametrize("during", ["decide", "execute"])
    async def test_catches_what_is_on_its_way(self, here: Lab, monkeypatch: pytest.MonkeyPatch, during: str) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        if during == "execute":
            await here.control.decide(says(proposal))
        live = here.gate.broker._examiner.live

        async def slow(target: str) -> Any:
            found = await live(target)
            here.gate.broker.stop("grace", "")
            return found

        monkeypatch.setattr(here.gate.broker._examiner, "live", slow)
        if during == "decide":
            assert await here.control.decide(says(proposal)) is State.VOID
        else:
            assert (await here.control.execute(proposal.id)).state is State.VOID
        assert here.server.writes == []
        assert "intent" not in here.gate.journal.kinds(proposal.id)

    async def test_does_not_pretend_to_recall_what_was_sent(self, here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        sender = here.gate.broker._sender
        assert sender is not None
        send = sender.send

        async def slow(*args: Any) -> Any:
            assert here.gate.broker.stop("grace", "") == 0
            return await send(*args)

        monkeypatch.setattr(sender, "send", slow)
        assert (await here.control.execute(proposal.id)).state is State.APPLIED
        assert len(here.server.writes) == 1

    async def test_ends_with_the_gate(self, tmp_path: Path) -> None:
        async with lab(tmp_path) as here:
            await here.control.stop("grace", "")
        async with lab(tmp_path) as anew:
            proposal = await anew.control.propose(SCALE, OURS, "k")
            assert await anew.control.decide(says(proposal)) is State.APPROVED


@pytest.mark.parametrize(
    "broken",
    [
        {"rules": (RuleSettings("lab", {"four_eyes": "two"}, "a file"),)},
        {"rules": (RuleSettings("lab", {"four_eye": "all"}, "a file"),)},
        {"rules": (RuleSettings("elsewhere", {"mode": 3}, "a file"),)},
        {"rules": (RuleSettings("", {}, "a file"),)},
        {"protected_namespaces": ("Shop",)},
        {"approvers": {"ada": "ssh-rsa AAAA"}},
        {"own_key": "junk"},
        {"mode": "maybe"},
    ],
)  # fmt: skip
async def test_a_broken_rule_stops_the_gate_before_it_asks_anybody(tmp_path: Path, broken: dict[str, Any]) -> None:
    with pytest.raises(GateError):
        async with lab(tmp_path, **broken):
            pass
    assert not (tmp_path / "state").exists()


async def test_the_rules_come_before_the_cluster(tmp_path: Path) -> None:
    places = {"state_dir": str(tmp_path / "s"), "runtime_dir": str(tmp_path / "r"), "kubeconfig": str(tmp_path / "no")}
    with pytest.raises(ClusterError):
        await start(Settings(**places))  # type: ignore[arg-type]
    with pytest.raises(GateError):
        await start(Settings(**places, protected_namespaces=("Shop",)))  # type: ignore[arg-type]


async def test_observing_can_be_asked_for_by_a_rule(tmp_path: Path) -> None:
    async with lab(tmp_path, rules=(RuleSettings("l*", {"mode": "observe"}, "a test"),)) as here:
        assert (await here.control.info()).mode == "observe"
        assert here.gate.broker._sender is None
        with pytest.raises(GateRefusedError, match="only observes"):
            await here.control.propose(SCALE, OURS, "k")


async def test_what_is_in_force_is_told_with_its_origin(tmp_path: Path) -> None:
    async with lab(tmp_path, **bounds(sent_per_10_min=7), protected_namespaces=("a*",), sources={}) as here:
        told = {item.name: (item.value, item.source) for item in (await here.control.info()).policy}
    assert told["sent_per_10_min"] == ("7", "a test")
    assert told["four_eyes"] == ("off", "default")
    assert told["production"] == ("no", "the context's name")
    assert told["protected_namespaces"][0] == "kube-node-lease, kube-public, kube-system, a*"
    assert told["approvers"][0] == "nobody"


def test_each_kubeconfig_has_an_allowance_and_a_new_name_has_none() -> None:
    governor = Governor(ContextPolicy(proposals_per_5_min=1), _Never(), people={}, own="", lock=None)
    governor.admit(Origin("client", "kubectl", token="mine"))
    with pytest.raises(Refused, match="clients of the kubeconfig mine asked for 1"):
        governor.admit(Origin("client", "helm", process="other", token="mine"))
    governor.admit(Origin("client", "kubectl", token="theirs"))
    governor.admit(Origin("session", "pilothouse", "s1"))
    with pytest.raises(Refused, match="this session"):
        governor.admit(Origin("session", "pilothouse", "s1", token="fresh"))


def test_a_governor_without_rules_lets_one_person_decide() -> None:
    governor = Governor(ContextPolicy(), _Never(), people={}, own="", lock=None)
    assert governor.policy.needs_second(critical=True) is False


class _Never:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError


def passed(here: Lab) -> str:
    with contextlib.closing(sqlite3.connect(here.folder / "state" / "journal.db")) as file:
        return "\n".join(row[0] for row in file.execute("SELECT data FROM entries WHERE kind = 'passed'"))


def _fields(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in Decision.__dataclass_fields__}


async def _patch(client: Any, replicas: int, agent: str) -> tuple[int, dict[str, Any]]:
    headers = {**PATCH, "User-Agent": agent}
    async with client.patch(DEPLOYMENT, data=scale(replicas).body, headers=headers) as answer:
        return answer.status, await answer.json()
