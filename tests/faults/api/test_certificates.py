"""Somebody else may be answering: nothing is sent, what waits is void, and no text tells anybody to ignore it."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import Action
from assistant.domain.proposal import CheckResult, ProposalState
from assistant.errors import ClusterError, GateError
from assistant.gate.process import start
from assistant.gate.settings import Settings
from tests.faults.api.authority import DAY, Authority
from tests.faults.api.bench import bench
from tests.faults.api.wire import Wire
from tests.gate.conftest import MERGE, OURS, WEB, says
from tests.gate.scripted import DEPLOYMENT

State = ProposalState
HOUR = dt.timedelta(hours=1)
SECOND = Action("PATCH", DEPLOYMENT, WEB, (), MERGE, '{"spec":{"replicas":6}}')


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def settings(folder: Path, wire: Wire) -> Settings:
    return Settings(
        state_dir=str(folder / "s"), runtime_dir=str(folder / "r"), kubeconfig=wire.kubeconfig(folder / "k")
    )  # fmt: skip


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "expired": ("has expired", {"since": -2 * DAY, "until": -HOUR}),
    "of the future": ("is not valid yet", {"since": HOUR, "until": DAY}),
    "for another name": ("is for another name", {"name": "192.0.2.1"}),
}


class TestAtTheStart:
    @pytest.mark.parametrize("which", [*BAD, "of an unknown authority"])
    async def test_a_bad_certificate_stops_the_gate_and_is_named(
        self, tmp_path: Path, authority: Authority, which: str
    ) -> None:
        said, how = BAD.get(which, ("is not signed by the authority of this context", {}))
        signer = Authority() if which == "of an unknown authority" else authority
        wire = Wire(tls=signer.server(**how), cluster={"certificate-authority-data": authority.data})
        await wire.start()
        with pytest.raises(ClusterError) as caught:
            await start(settings(tmp_path, wire))
        wire.stop()
        assert said in caught.value.meaning
        assert_no_way_around(f"{caught.value.meaning} {caught.value.hint}")
        assert wire.seen == [], "not a byte of a request was sent"

    async def test_a_certificate_that_is_not_checked_is_said(self, tmp_path: Path, authority: Authority) -> None:
        wire = Wire(tls=authority.server(), cluster={"insecure-skip-tls-verify": True})
        async with bench(tmp_path, wire) as it:
            notes = (await it.lab.control.info()).notes
        assert any("certificate is not checked" in note for note in notes)

    async def test_a_good_certificate_needs_no_note(self, tmp_path: Path, authority: Authority) -> None:
        wire = Wire(tls=authority.server(), cluster={"certificate-authority-data": authority.data})
        async with bench(tmp_path, wire) as it:
            assert (await it.lab.control.info()).notes == ()


def assert_no_way_around(text: str) -> None:
    assert not any(word in text.lower() for word in ("ignore", "skip", "insecure", "anyway", "disable"))


class TestChangedWhileWeWork:
    """The old connections are gone and the server comes back with another certificate."""

    async def change(self, wire: Wire, tls: ssl.SSLContext) -> None:
        before = len(wire.seen)
        await wire.listen(tls)
        assert len(wire.seen) == before

    @pytest.mark.parametrize("which", [*BAD, "of an unknown authority"])
    async def test_everything_that_waits_is_void_and_nothing_is_sent(
        self, tmp_path: Path, authority: Authority, which: str
    ) -> None:
        said, how = BAD.get(which, ("is not signed by the authority of this context", {}))
        signer = Authority() if which == "of an unknown authority" else authority
        wire = Wire(tls=authority.server(), cluster={"certificate-authority-data": authority.data})
        async with bench(tmp_path, wire) as it:
            first = await it.propose()
            second = await it.lab.control.propose(SECOND, OURS, "k2")
            assert await it.lab.control.decide(says(first)) is State.APPROVED
            await it.lab.gate.upstream.close()
            await self.change(wire, signer.server(**how))
            before = len(wire.seen)
            ended = await it.read("list")
            assert not ended.ok
            assert said in ended.result
            assert len(it.screen.waits) == 0, "trying again cannot help"
            assert_no_way_around(ended.result)
            states = {p.id: s for p, s in await it.lab.control.proposals()}
            assert states[first.id] is State.VOID
            assert states[second.id] is State.VOID
            assert (await it.lab.control.execute(first.id)).state is State.VOID
            assert len(wire.seen) == before, "not a byte of a request was sent"

    async def test_a_change_under_way_is_not_sent(self, tmp_path: Path, authority: Authority) -> None:
        wire = Wire(tls=authority.server(), cluster={"certificate-authority-data": authority.data})
        async with bench(tmp_path, wire) as it:
            proposal = await it.propose()
            await it.lab.control.decide(says(proposal))
            # Reads keep their connection to the server as it was; the change needs a new one.
            await self.change(wire, Authority().server())
            outcome = await it.lab.control.execute(proposal.id)
            assert outcome.state is State.FAILED
            assert "Nothing was sent" in outcome.message
            assert wire.of("mutate") == []

    async def test_a_dry_run_says_why_it_could_not_be_made(self, tmp_path: Path, authority: Authority) -> None:
        wire = Wire(tls=authority.server(), cluster={"certificate-authority-data": authority.data})
        async with bench(tmp_path, wire) as it:
            await it.lab.gate.upstream.close()
            await self.change(wire, Authority().server())
            with pytest.raises(GateError) as caught:
                await it.propose()
            assert "not signed by the authority" in caught.value.meaning

    async def test_the_old_certificate_works_again_and_what_was_void_stays_void(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        good = authority.server()
        wire = Wire(tls=good, cluster={"certificate-authority-data": authority.data})
        async with bench(tmp_path, wire) as it:
            proposal = await it.propose()
            await it.lab.gate.upstream.close()
            await self.change(wire, Authority().server())
            await it.read("list")
            await self.change(wire, good)
            it.reader.refresh("shop")
            assert (await it.read("list")).ok
            assert await it.lab.control.decide(says(proposal)) is State.VOID
            again = await it.propose()
            assert again.id != proposal.id
            assert {c.name: c for c in again.checks}["dry run"].result is CheckResult.PASS
