"""Where two people are asked for, one person, one person twice, and one person with somebody's old signature fail."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.event import Decided
from assistant.domain.proposal import Consent, Decision, Proposal, ProposalState
from assistant.errors import GateError
from assistant.gate.settings import RuleSettings
from tests.gate.conftest import OURS, SCALE, Lab, lab, not_decided, says
from tests.gate.people import Person
from tests.gate.scripted import DEPLOYMENT

State = ProposalState
GRACE, ADA, EVE = Person("grace"), Person("ada"), Person("eve")
WHY = "the site is down and nobody answers"


@asynccontextmanager
async def strict(folder: Path, **values: Any) -> AsyncIterator[Lab]:
    """A gate that asks for two people; grace runs it, ada's signature counts, eve is nobody."""
    rules = (RuleSettings("lab", {"four_eyes": "all", **values}, "a test"),)
    people = {"ada": ADA.public, "grace": GRACE.public}
    async with lab(folder, rules=rules, approvers=people, own_key=GRACE.public) as made:
        yield made


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Lab]:
    async with strict(tmp_path) as made:
        yield made


async def refused(here: Lab, proposal: Proposal, decision: Decision) -> str:
    assert decision.proposal == proposal.id
    meaning = await not_decided(here.control, decision)
    assert here.server.writes == []
    return meaning


class TestSecondPerson:
    async def test_is_named_on_the_proposal(self, here: Lab) -> None:
        second = (await here.control.propose(SCALE, OURS, "k")).second
        assert second is not None
        assert (second.people, second.agreed, second.missing) == (("ada", "grace"), (), True)
        assert "every change in context lab needs two people (four_eyes, a test)" in second.rule

    async def test_is_missing_until_somebody_signed(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert "second person has to sign" in await refused(here, proposal, says(proposal))
        # A second terminal of the same user is the same person.
        assert "second person has to sign" in await refused(here, proposal, says(proposal, by="ada"))

    async def test_signs_and_the_first_one_decides(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        signed = await here.control.agree(ADA.signs(proposal))
        assert signed.second is not None
        assert signed.second.agreed == ("ada",)
        assert signed.digest == proposal.digest
        assert here.server.writes == []
        assert await here.control.decide(says(proposal)) is State.APPROVED
        assert (await here.control.execute(proposal.id)).state is State.APPLIED
        assert len(here.server.writes) == 1
        kept = recorded(here, proposal)
        assert kept["second"]["by"] == "ada"
        assert kept["second"]["digest"] == proposal.digest
        assert kept["break_glass"] is False

    @pytest.mark.parametrize(
        ("who", "change", "why"),
        [
            (EVE, {}, "nobody's"),
            (GRACE, {}, "your own"),
            (ADA, {"digest": "0" * 64}, "another change"),
            (ADA, {"shown": "0" * 64}, "not this change"),
            (ADA, {"key": EVE.public}, "nobody's"),
            (ADA, {"key": GRACE.public}, "your own"),
            (ADA, {"at": datetime(2020, 1, 1, tzinfo=UTC)}, "does not hold"),
            (ADA, {"signature": ""}, "does not hold"),
            (ADA, {"signature": "AAAA"}, "does not hold"),
            (ADA, {"signature": "%%%"}, "does not hold"),
            (ADA, {"key": "ssh-rsa AAAA"}, "no key"),
            (EVE, {"key": ADA.public}, "does not hold"),
        ],
    )
    async def test_whose_signature_does_not_hold_is_none(
        self, here: Lab, who: Person, change: dict[str, Any], why: str
    ) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        with pytest.raises(GateError, match=why):
            await here.control.agree(replace(who.signs(proposal), **change))
        await refused(here, proposal, says(proposal))

    async def test_cannot_be_brought_along_in_the_decision(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        mine = replace(GRACE.signs(proposal), by="ada")
        for claimed in (mine, replace(EVE.signs(proposal), by="ada"), ADA.signs(proposal)):
            await refused(here, proposal, says(proposal, second=claimed))

    async def test_signed_what_is_shown_and_nothing_nicer(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        nicer = replace(proposal, title="scale Deployment shop/web 4 → 4", diff=(), checks=())
        with pytest.raises(GateError, match="not this change"):
            await here.control.agree(ADA.signs(nicer))

    async def test_signature_is_worth_nothing_for_the_next_proposal(self, here: Lab) -> None:
        first = await here.control.propose(SCALE, OURS, "k")
        old = ADA.signs(first)
        await here.control.agree(old)
        here.server.touch()
        second = await here.control.recheck(first.id)
        assert second.second is not None
        assert second.second.agreed == ()
        for consent in (old, replace(old, proposal=second.id), replace(old, proposal=second.id, digest=second.digest)):
            with pytest.raises(GateError):
                await here.control.agree(consent)
        await refused(here, second, says(second))

    async def test_of_the_same_name_is_no_second_person(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.agree(ADA.signs(proposal))
        assert "ada cannot be the second" in await refused(here, proposal, says(proposal, by="ada"))

    async def test_cannot_agree_to_what_is_over(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.withdraw(proposal.id)
        with pytest.raises(GateError, match="withdrawn already"):
            await here.control.agree(ADA.signs(proposal))

    async def test_is_looked_at_again_before_sending(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.agree(ADA.signs(proposal))
        await here.control.decide(says(proposal))
        held = here.gate.broker.get(proposal.id)
        assert held.decision is not None
        assert held.approved_until_wall is not None
        # As if deciding had let it through: the approval is whole and this gate's own.
        held.decision = replace(held.decision, second=EVE.signs(proposal))
        held.mac = here.gate.broker._last_look.mac(held.decision, held.approved_until_wall)
        outcome = await here.control.execute(proposal.id)
        assert outcome.state is State.REFUSED
        # Said by this look; the journal, which knows the code of the real decision, would have refused it too.
        assert "nobody's" in outcome.message
        assert here.server.writes == []

    async def test_without_anybody_in_the_settings_nobody_can_be(self, tmp_path: Path) -> None:
        async with lab(tmp_path, rules=(RuleSettings("*", {"four_eyes": "all"}, "a test"),)) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            with pytest.raises(GateError, match="nobody's"):
                await here.control.agree(ADA.signs(proposal))
            await refused(here, proposal, says(proposal))


class TestCriticalOnly:
    async def test_leaves_ordinary_changes_to_one(self, tmp_path: Path) -> None:
        async with strict(tmp_path, four_eyes="critical") as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            assert proposal.second is None
            with pytest.raises(GateError, match="needs no second person"):
                await here.control.agree(ADA.signs(proposal))
            assert await here.control.decide(says(proposal)) is State.APPROVED

    async def test_asks_for_two_in_a_protected_namespace(self, tmp_path: Path) -> None:
        rules = (RuleSettings("lab", {"four_eyes": "critical"}, "a test"),)
        async with lab(tmp_path, rules=rules, protected_namespaces=("sh*",), approvers={"ada": ADA.public}) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            assert proposal.typed_name == "web"
            await refused(here, proposal, says(proposal))
            await here.control.agree(ADA.signs(proposal))
            assert await not_decided(here.control, says(proposal, typed_name=""))
            assert await here.control.decide(says(proposal)) is State.APPROVED


class TestBreakingTheGlass:
    async def test_is_not_allowed_unless_the_rules_say_so(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        said = says(proposal, break_glass=True, reason=WHY, typed_name="web")
        assert "not allowed in context lab" in await refused(here, proposal, said)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"reason": ""}, "needs a reason"), ({"reason": "  ... --  12345678 "}, "needs a reason"),
            ({"reason": "urgent"}, "needs a reason"), ({"typed_name": ""}, "needs the name 'web'"),
            ({"typed_name": "Web"}, "needs the name 'web'"),
        ],
    )  # fmt: skip
    async def test_needs_a_reason_and_the_name(self, tmp_path: Path, change: dict[str, str], why: str) -> None:
        async with strict(tmp_path, break_glass=True) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            said: dict[str, Any] = {"break_glass": True, "reason": WHY, "typed_name": "web", **change}
            assert why in await refused(here, proposal, says(proposal, **said))

    async def test_sends_it_and_is_told_for_good(self, tmp_path: Path) -> None:
        async with strict(tmp_path, break_glass=True) as here, here.gate.broker.news.listen() as news:
            proposal = await here.control.propose(SCALE, OURS, "k")
            assert proposal.second is not None
            assert proposal.second.break_glass
            await refused(here, proposal, says(proposal))
            said = says(proposal, break_glass=True, reason=WHY, typed_name="web")
            assert await here.control.decide(said) is State.APPROVED
            assert (await here.control.execute(proposal.id)).state is State.APPLIED
            events = [news.get_nowait() for _ in range(news.qsize())]
            (decided,) = [event.decision for event in events if isinstance(event, Decided)]
            assert (decided.break_glass, decided.reason, decided.second) == (True, WHY, None)
            assert decided.word == "BREAK-GLASS, approved alone"
            assert recorded(here, proposal)["break_glass"] is True
            ((listed, how, state),) = await here.control.decided_alone()
            assert (listed.id, how.reason, state) == (proposal.id, WHY, State.APPLIED)

    async def test_where_one_is_enough_there_is_no_glass(self, tmp_path: Path) -> None:
        async with strict(tmp_path, four_eyes="off", break_glass=True) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            said = says(proposal, break_glass=True, reason=WHY, typed_name="web")
            assert "no glass to break" in await refused(here, proposal, said)


async def test_a_held_client_waits_for_both(here: Lab) -> None:
    import asyncio

    async with here.client() as client:
        patch = {"Content-Type": SCALE.content_type}
        asked = asyncio.create_task(client.patch(DEPLOYMENT, data=SCALE.body, headers=patch))
        async with asyncio.timeout(10):
            while not (held := await here.control.proposals()):  # noqa: ASYNC110
                await asyncio.sleep(0)
        (proposal, _) = held[0]
        await refused(here, proposal, says(proposal))
        assert not asked.done()
        await here.control.agree(ADA.signs(proposal))
        await here.control.decide(says(proposal))
        assert (await asked).status == 200
    assert len(here.server.writes) == 1


async def test_an_approval_given_under_other_rules_has_another_digest(tmp_path: Path) -> None:
    digests = set()
    for values in ({}, {}, {"break_glass": True}, {"four_eyes": "off"}):
        async with strict(tmp_path, **values) as here:
            proposal = await here.control.propose(SCALE, OURS, "k")
            examined = here.gate.broker.get(proposal.id).examined
            fixed = replace(examined, nonce="n", proposal=replace(proposal, expires=datetime(2030, 1, 1, tzinfo=UTC)))
            examiner = here.gate.broker._examiner
            examiner._cluster = replace(examiner._cluster, fingerprint="f")
            digests.add(examiner.digest(fixed))
    assert len(digests) == 3


def recorded(here: Lab, proposal: Proposal) -> dict[str, Any]:
    """What the journal file says of the decision."""
    file = sqlite3.connect(here.folder / "state" / "journal.db")
    rows = file.execute("SELECT data FROM entries WHERE kind = 'decided' AND proposal = ?", (proposal.id,)).fetchall()
    file.close()
    assert len(rows) == 1
    value: dict[str, Any] = json.loads(rows[0][0])
    return value


def test_an_agreement_survives_its_json_form() -> None:
    from assistant.wire import decode, encode
    from tests.replay.course import CHANGE

    consent = ADA.signs(CHANGE)
    assert decode(Consent, encode(consent)) == consent
