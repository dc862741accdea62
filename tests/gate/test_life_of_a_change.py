"""Any order of asking, deciding, sending, waiting, crashing and stopping: a change leaves once, approved and in time.

A state machine over the real broker, journal file, examiner and sender, in front of an API server whose own log is the
judge. Only the clock is not real. `LIVES=1000 pytest tests/gate/test_life_of_a_change.py` runs more of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from assistant.domain.proposal import Answer, Decision, Origin, Proposal, ProposalState
from assistant.errors import PilothouseError
from assistant.gate import faults
from assistant.gate.broker import Broker
from assistant.gate.context import load
from assistant.gate.governor import Governor
from assistant.gate.identity import identify
from assistant.gate.prepare import Prepared
from assistant.gate.preview import Examiner
from assistant.gate.sender import Sender
from assistant.policy.api_path import Refused
from assistant.policy.classify import classify, with_body
from assistant.policy.contexts import policy_for, read_rule
from assistant.policy.limits import APPROVED_CRITICAL_SECONDS, APPROVED_SECONDS, SENT_WINDOW_SECONDS
from assistant.policy.redact import Redactor
from assistant.store.journal import FILE, Journal, open_journal
from tests.gate.conftest import CARD, MERGE
from tests.gate.people import Person
from tests.gate.scripted import ApiServer, deployment

State = ProposalState
T = TypeVar("T")
OPEN_SECONDS = 600.0
ADA, EVE, GRACE = Person("ada"), Person("eve"), Person("grace")
WHY = "nobody else is awake"
PATHS = tuple(
    f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    for namespace in ("shop", "vault")
    for name in ("web", "api")
)


class Killed(BaseException):
    """The process ended here."""


class FakeClock:
    """Both clocks, moved by hand and apart."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 3, 1, tzinfo=UTC)
        self.mono = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    async def sleep(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.mono + seconds, waiter))
        await waiter

    def move(self, wall: float, mono: float) -> None:
        self.wall += timedelta(seconds=wall)
        self.mono += mono
        due = [waiter for at, waiter in self._sleepers if at <= self.mono]
        self._sleepers = [item for item in self._sleepers if item[0] > self.mono]
        for waiter in due:
            if not waiter.done():
                waiter.set_result(None)


@dataclass
class Known:
    """What the model knows of a proposal; `life` is the gate that holds it, `until` what its approval is good for."""

    proposal: Proposal
    number: int
    life: int
    own: bool
    open_mono: float
    agreed: bool = False
    until: tuple[float, datetime] | None = None


class Lives(RuleBasedStateMachine):
    proposals = Bundle("proposals")

    @initialize(
        four_eyes=st.sampled_from(["off", "critical", "all"]), glass=st.booleans(), sent=st.sampled_from([2, 100])
    )
    def begin(self, four_eyes: str, glass: bool, sent: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        # A task that dies with the "process" has nobody who asks for its end.
        self.loop.set_exception_handler(lambda loop, context: None)
        self.clock = FakeClock()
        objects = {}
        for path in PATHS:
            value = deployment()
            value["metadata"].update(namespace=path.split("/")[5], name=path.split("/")[7], uid=f"uid{path}")
            objects[path] = value
        self.server = ApiServer(objects)
        values = {"four_eyes": four_eyes, "break_glass": glass, "sent_per_10_min": sent, "proposals_per_5_min": 1000}
        self.policy = policy_for("lab", [read_rule("lab", values, "a test")], ["va*"])
        self.known: dict[str, Known] = {}
        self.numbers: dict[int, str] = {}
        self.sent_at: list[float] = []
        self.judged = 0
        self.life = 0
        self.stopped = False
        self.point = ""
        self.saved_point = faults.point
        faults.point = self._point
        self.journal: Journal | None = None
        self.run(self.server.start())
        self.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def _point(self, name: str) -> None:
        if name == self.point:
            self.point = ""
            self.died = True
            raise Killed(name)

    def open(self) -> None:
        """Start a gate: everything anew but the state folder."""
        folder = Path(self.folder.name)
        self.upstream = load(self.server.kubeconfig(folder / "kubeconfig"), None, ())
        cluster = self.run(identify(self.upstream))
        self.life += 1
        self.died = False
        self.stopped = False
        self.sent_at = []
        self.journal = open_journal(folder / "state", f"gate{self.life}", cluster.fingerprint)
        assert isinstance(self.journal, Journal)
        redactor = Redactor(b"k" * 32)
        people = {"ada": ADA.public, "grace": GRACE.public}
        lock = folder / "state" / "sending.lock"
        governor = Governor(self.policy, self.clock, people=people, own=GRACE.public, lock=lock)
        examiner = Examiner(
            self.upstream, cluster, redactor, self.clock, production=False, open_seconds=OPEN_SECONDS,
            policy=self.policy.as_list(),
        )  # fmt: skip
        sender = Sender(self.upstream, redactor)
        self.broker = Broker(examiner, sender, self.journal, self.clock, governor, open_seconds=OPEN_SECONDS)

    def die(self) -> None:
        """End the gate as kill -9 does: nothing is concluded, the kernel takes the locks."""
        self.judge()
        for task in list(self.broker._tasks):
            task.cancel()
        self.run(self._rest())
        self.run(self.upstream.close())
        # What left before the end is judged by the life in which it left.
        self.judge()
        assert self.journal is not None
        self.journal.close()
        self.open()

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        for item in list(self.broker._held.values()):
            # A client's change is sent in the background; a "process" that died there never ends it.
            while item.state is State.SENDING or (item.state is State.APPROVED and not item.own):
                if self.died:
                    return
                await asyncio.sleep(0)

    def attempt(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do it and let everything come to rest; None where it was refused or the process died in it."""
        found: T | None = None
        with contextlib.suppress(Killed, PilothouseError, Refused):
            found = self.run(work)
        self.run(self._settle())
        if self.died:
            self.die()
            return None
        return found

    async def _rest(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    # What may happen

    @rule(target=proposals, path=st.sampled_from(PATHS), own=st.booleans(), key=st.sampled_from(["", "k1", "k2"]))
    def propose(self, path: str, own: bool, key: str) -> Any:
        number = 1000 + len(self.numbers)
        asked = Prepared("PATCH", path, (), MERGE, f'{{"spec":{{"replicas":{number}}}}}')
        verdict = classify("PATCH", path, protected=self.policy.protected)
        verdict = with_body(verdict, {"spec": {"replicas": number}})
        origin = Origin("session", "pilothouse", "s1") if own else Origin("client", "kubectl")
        held = self.attempt(self.broker.propose(verdict, asked, origin, key if own else "", own=own))
        if held is None:
            if self.stopped:
                # Only a gate that was started anew takes changes again.
                self.die()
            return multiple()
        proposal = held.proposal
        if proposal.id in self.known:
            assert key, "two requests became one proposal"
            return multiple()
        self.learn(proposal, number, own)
        return proposal.id

    def learn(self, proposal: Proposal, number: int, own: bool) -> None:
        assert not self.stopped, "a stopped gate took a change"
        self.known[proposal.id] = Known(proposal, number, self.life, own, self.clock.mono + OPEN_SECONDS)
        self.numbers[number] = proposal.id

    @rule(
        which=proposals, lie=st.sampled_from(["", "digest", "name", "own name", "second", "card"]), glass=st.booleans()
    )  # fmt: skip
    def approve(self, which: str, lie: str, glass: bool) -> None:
        item = self.known[which]
        proposal = item.proposal
        said = Decision(
            which, proposal.digest, Answer.APPROVE, "ada" if lie == "own name" else "grace", self.clock.now(),
            WHY if glass else "", CARD, proposal.action.target.name if glass else proposal.typed_name, 5.0, glass,
        )  # fmt: skip
        if lie == "digest":
            said = replace(said, digest="0" * 64)
        elif lie == "name":
            said = replace(said, typed_name="other" if said.typed_name else said.typed_name)
        elif lie == "card":
            said = replace(said, shown="")
        elif lie == "second":
            said = replace(said, second=replace(GRACE.signs(proposal), by="ada"))
        life = self.life
        full = len([at for at in self.sent_at if at > self.clock.mono - SENT_WINDOW_SECONDS])
        # Known before it happens, because a client's change is sent in the same breath.
        was = item.until
        seconds = APPROVED_CRITICAL_SECONDS if proposal.critical else APPROVED_SECONDS
        may = self.may(item, said, lie)
        if may:
            item.until = (self.clock.mono + seconds, self.clock.wall + timedelta(seconds=seconds))
        led = self.attempt(self.broker.decide(said))
        if led is None:
            # Refused, or died before or after it was on record: the model keeps what may have been approved.
            return
        state, meaning = led
        if state is State.APPROVED and was is None:
            assert may, f"approved: {meaning} ({lie}, glass {glass})"
            assert full < self.policy.sent_per_10_min, "approved beyond the bound"
        elif life == self.life:
            item.until = was
        if state is State.VOID:
            self.follow(which)

    def may(self, item: Known, said: Decision, lie: str) -> bool:
        if item.life != self.life or self.stopped or lie in ("digest", "card") or item.until is not None:
            return False
        if self.clock.mono >= item.open_mono or self.clock.wall >= item.proposal.expires:
            return False
        if item.proposal.typed_name != ("" if not item.proposal.critical else said.typed_name):
            return False
        two = self.policy.needs_second(critical=item.proposal.critical)
        if said.break_glass:
            return two and self.policy.break_glass and said.typed_name == item.proposal.action.target.name
        return not two or (item.agreed and said.by != "ada")

    def follow(self, which: str) -> None:
        """A renewed proposal takes the place of one whose object moved; it is not approved by that."""
        held = self.broker._held.get(which)
        if held is None or held.successor is None or held.successor.proposal.id in self.known:
            return
        old = self.known[which]
        proposal = held.successor.proposal
        self.known[proposal.id] = Known(proposal, old.number, self.life, old.own, self.clock.mono + OPEN_SECONDS)
        self.numbers[old.number] = proposal.id

    @rule(
        target=proposals,
        path=st.sampled_from(PATHS),
        own=st.booleans(),
        glass=st.booleans(),
        when=st.integers(0, 3),
        what=st.sampled_from(
            ["", "", "", "wall", "mono", "back", "touch", "die", "stop", "fault", "point", "clock", "file"]
        ),
        point=st.sampled_from(faults.POINTS),
        times=st.integers(1, 3),
    )
    def the_whole_way(self, path: str, own: bool, glass: bool, when: int, what: str, point: str, times: int) -> Any:
        """Ask, sign, approve and send, with one thing going wrong somewhere on the way."""

        def go_wrong(now: int, which: str) -> None:
            if now != when:
                return
            match what:
                case "wall":
                    self.time_passes(121.0, 0.0)
                case "mono":
                    self.time_passes(0.0, 121.0)
                case "back":
                    self.time_passes(-3600.0, 61.0)
                case "clock":
                    self.time_passes(59.0, 59.0)
                case "file" if which:
                    self.an_approval_is_typed_into_the_file(which, "new")
                case _:
                    self.the_world(what, path, "reset", point)

        go_wrong(0, "")
        which = self.propose(path, own, "")
        if not isinstance(which, str):
            return multiple()
        go_wrong(1, which)
        if self.policy.needs_second(critical=self.known[which].proposal.critical) and not glass:
            self.sign(which, ADA, "")
        go_wrong(2, which)
        two = self.policy.needs_second(critical=self.known[which].proposal.critical)
        self.approve(which, "", glass and two)
        go_wrong(3, which)
        self.execute(which, times)
        return which

    @rule(which=proposals, how=st.sampled_from(["recheck", "deny", "withdraw"]))
    def somebody_thinks_again(self, which: str, how: str) -> None:
        said = Decision(which, self.known[which].proposal.digest, Answer.DENY, "grace", self.clock.now())

        async def withdraw() -> None:
            self.broker.withdraw(which)

        match how:
            case "recheck":
                self.attempt(self.broker.recheck(which))
                self.follow(which)
            case "deny":
                self.attempt(self.broker.decide(said))
            case _:
                self.attempt(withdraw())

    @rule(which=proposals)
    def approve_what_took_its_place(self, which: str) -> None:
        held = self.broker._held.get(which)
        if held is not None and held.successor is not None and held.successor.proposal.id in self.known:
            self.approve(held.successor.proposal.id, "", False)
            self.execute(held.successor.proposal.id, 1)

    @rule(which=proposals, who=st.sampled_from([ADA, EVE, GRACE]), lie=st.sampled_from(["", "shown", "key", "other"]))
    def sign(self, which: str, who: Person, lie: str) -> None:
        item = self.known[which]
        consent = who.signs(item.proposal)
        if lie == "shown":
            consent = who.signs(replace(item.proposal, title="harmless"))
        elif lie == "key":
            consent = replace(consent, key=(EVE if who is ADA else ADA).public)
        elif lie == "other":
            first = next(iter(self.known.values())).proposal
            consent = replace(who.signs(first), proposal=which)
            lie = "" if first.id == which else lie
        held = self.attempt(self.broker.agree(consent))
        if held is not None:
            assert who is ADA, f"{who.name} counted as a second person"
            assert not lie, f"an agreement with another {lie} counted"
            item.agreed = True

    @rule(which=proposals, times=st.integers(1, 3))
    def execute(self, which: str, times: int) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.broker.execute(which) for _ in range(times)), return_exceptions=True)

        found = self.attempt(together()) or []
        outcomes = {item for item in found if not isinstance(item, BaseException)}
        assert len(outcomes) <= 1, "one change has two ends"

    @rule(which=proposals)
    def all_at_once(self, which: str) -> None:
        proposal = self.known[which].proposal
        item = self.known[which]
        said = Decision(
            which, proposal.digest, Answer.APPROVE, "grace", self.clock.now(), shown=CARD,
            typed_name=proposal.typed_name,
        )  # fmt: skip
        if self.may(item, said, ""):
            seconds = APPROVED_CRITICAL_SECONDS if proposal.critical else APPROVED_SECONDS
            item.until = (self.clock.mono + seconds, self.clock.wall + timedelta(seconds=seconds))

        async def together() -> list[Any]:
            works: list[Coroutine[Any, Any, Any]] = [
                self.broker.decide(said), self.broker.execute(which),
                self.broker.decide(replace(said, answer=Answer.DENY)), self.broker.decide(said),
                self.broker.execute(which), self.broker.recheck(which),
            ]  # fmt: skip
            return await asyncio.gather(*works, return_exceptions=True)

        self.attempt(together())
        self.follow(which)

    @rule(
        wall=st.sampled_from([0.0, 30.0, 61.0, 121.0, 601.0, -3600.0, 86400.0]),
        mono=st.sampled_from([0.0, 30.0, 61.0, 121.0, 601.0]),
    )
    def time_passes(self, wall: float, mono: float) -> None:
        self.judge()
        self.clock.move(wall, mono)
        self.run(self._settle())

    @rule(
        what=st.sampled_from(["touch", "fault", "", "point", "die", "stop"]),
        path=st.sampled_from(PATHS),
        fault=st.sampled_from(["", "", "reset", "500", "429", "truncated"]),
        point=st.sampled_from(faults.POINTS),
    )
    def the_world(self, what: str, path: str, fault: str, point: str) -> None:
        """Somebody else changes the object, the server misbehaves, the gate is about to die, dies, is stopped."""
        match what:
            case "touch":
                meta = self.server.objects[path]["metadata"]
                meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
            case "fault" | "":
                self.server.write_fault = fault if what else ""
            case "point":
                self.point = point
            case "die":
                self.die()
            case _:
                self.stop_everything()

    def stop_everything(self) -> None:
        async def stop() -> None:
            self.broker.stop("grace", "enough")

        self.judge()
        life = self.life
        self.attempt(stop())
        # A gate that dies while it stops is started anew, and that one is not stopped.
        self.stopped = self.life == life

    @rule(which=proposals, how=st.sampled_from(["new", "wrong", "again"]))
    def an_approval_is_typed_into_the_file(self, which: str, how: str) -> None:
        """I070 of the injection set: a row in the database is no approval, and a used one is not made new there."""
        digest = "0" * 64 if how == "wrong" else self.known[which].proposal.digest
        with contextlib.closing(self.file()) as file, contextlib.suppress(sqlite3.IntegrityError):
            if how == "again":
                file.execute("UPDATE approvals SET consumed = NULL, expires = '2099' WHERE proposal = ?", (which,))
            else:
                row = (which, digest, "", "2099-01-01T00:00:00+00:00")
                file.execute("INSERT INTO approvals (proposal, digest, mac, expires) VALUES (?, ?, ?, ?)", row)
            file.commit()
        self.execute(which, 1)

    def file(self) -> sqlite3.Connection:
        return sqlite3.connect(Path(self.folder.name, "state", FILE))

    # What has to hold

    @invariant()
    def nothing_left_that_may_not(self) -> None:
        if hasattr(self, "server"):
            self.judge()

    def judge(self) -> None:
        """Look at what the API server saw since the last time; the clock has not moved meanwhile."""
        writes = self.server.writes
        numbers = [int(request.body["spec"]["replicas"]) for request in writes]
        for number in numbers[self.judged :]:
            candidates = [item for item in self.known.values() if item.number == number and item.until is not None]
            assert candidates, f"{number} was sent and nobody approved it"
            item = candidates[-1]
            assert item.until is not None
            assert self.clock.mono < item.until[0], f"{number} was sent after its approval ran out"
            assert self.clock.wall < item.until[1], f"{number} was sent after its approval ran out by the wall clock"
            assert item.life == self.life, f"{number} was approved at another gate"
            assert not self.stopped, f"{number} was sent by a stopped gate"
            self.sent_at.append(self.clock.mono)
        self.judged = len(numbers)
        twice = [number for number, count in Counter(numbers).items() if count > 1]
        assert not twice, f"sent twice: {twice}"
        recent = [at for at in self.sent_at if at > self.clock.mono - SENT_WINDOW_SECONDS]
        assert len(recent) <= self.policy.sent_per_10_min, "more was sent than may be"

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self.point = ""
        try:
            self.die()
            self._compare_with_the_journal()
        finally:
            faults.point = self.saved_point
            for task in list(self.broker._tasks):
                task.cancel()
            self.run(self._rest())
            self.run(self.upstream.close())
            assert self.journal is not None
            self.journal.close()
            self.server.stop()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            self.folder.cleanup()

    def _compare_with_the_journal(self) -> None:
        """Every write has its intent, every intent an end, and none of either twice."""
        with contextlib.closing(self.file()) as file:
            entries = file.execute("SELECT proposal, kind FROM entries ORDER BY seq").fetchall()
        kinds = Counter(entries)
        intents = {proposal for proposal, kind in entries if kind == "intent"}
        assert all(kinds[(proposal, "intent")] == 1 for proposal in intents)
        for proposal in intents:
            assert kinds[(proposal, "outcome")] + kinds[(proposal, "unknown")] == 1, f"{proposal} has no end"
            assert kinds[(proposal, "decided")] == 1, f"{proposal} was sent without a decision"
        sent = {self.numbers[int(request.body["spec"]["replicas"])] for request in self.server.writes}
        assert sent <= intents


Lives.TestCase.settings = settings(
    max_examples=int(os.environ.get("LIVES", "25")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    # Shrinking a sequence of real requests takes minutes: only where more of them was asked for.
    phases=[phase for phase in Phase if "LIVES" in os.environ or phase not in (Phase.shrink, Phase.explain)],
)
TestLives = Lives.TestCase


TROUBLES = ("", "wall", "mono", "back", "clock", "touch", "die", "stop", "fault", "file", "point")


@pytest.mark.parametrize("what", TROUBLES)
def test_every_trouble_at_every_step_of_the_whole_way(what: str) -> None:
    """The same machine without chance: a life for every trouble and place, ours and a client's, one and two people."""
    sent = 0
    for number, (when, own) in enumerate(itertools.product(range(4), (True, False))):
        for point in faults.POINTS if what == "point" else ("",):
            machine = Lives()
            machine.begin(("off", "all", "critical")[number % 3], True, 100)
            try:
                machine.the_whole_way(PATHS[number % len(PATHS)], own, number % 5 == 0, when, what, point, 2)
                machine.judge()
                sent += machine.judged
            finally:
                machine.teardown()
    # Not an empty walk: what goes wrong stops some of them and not all.
    assert sent > 0
