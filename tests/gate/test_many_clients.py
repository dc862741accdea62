"""Many clients at once: each hears once what became of its own change, and the cluster saw only what was approved."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.gate.settings import RuleSettings
from assistant.store.journal_audit import verify_journal
from tests.gate.conftest import MERGE, says
from tests.gate.recorded import SHOP, Shop, shop, thing
from tests.gate.test_origin import token_in

State = ProposalState
CLIENTS = 30
MANY = (RuleSettings("*", {"proposals_per_5_min": 1000, "sent_per_10_min": 1000}, "a test"),)
NAMES = ("editor", "ci", "robot")


async def ask(here: Shop, number: int) -> tuple[int, dict[str, Any]]:
    """One client with a connection, a kubeconfig and an object of its own."""
    token = token_in(await here.control.kubeconfig_for(NAMES[number % len(NAMES)]))
    tls = ssl.create_default_context(cadata=here.gate.ready["ca_pem"])
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MERGE, "User-Agent": f"client-{number}"}
    async with aiohttp.ClientSession(
        here.gate.ready["data_url"], headers=headers, connector=aiohttp.TCPConnector(ssl=tls)
    ) as session:
        body = json.dumps({"data": {"n": str(number)}})
        async with session.patch(f"{SHOP}/configmaps/c{number}", data=body) as answer:
            return answer.status, await answer.json()


def sent(here: Shop) -> list[str]:
    """Return the objects that were really changed, by the recorded cluster's own log."""
    lines = [json.loads(line) for line in here.log.read_text().splitlines()]
    return [x["path"].rpartition("/")[2] for x in lines if x["method"] == "PATCH" and "dryRun" not in x["query"]]


async def all_open(here: Shop, count: int) -> list[Proposal]:
    async with asyncio.timeout(60):
        while True:
            found = [proposal for proposal, state in await here.control.proposals() if state is State.OPEN]
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("seed", [1, 2])
async def test_thirty_clients_are_each_answered_once_in_whatever_order_people_decide(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - an order, not a secret
    maps = [thing("v1", "ConfigMap", f"c{number}", data={"n": "old"}) for number in range(CLIENTS)]
    async with shop(tmp_path, *maps, rules=MANY) as here:
        tasks = {f"client-{number}": asyncio.create_task(ask(here, number)) for number in range(CLIENTS)}
        waiting = await all_open(here, CLIENTS)
        assert [p.created for p in waiting] == sorted(p.created for p in waiting), "the queue is in order of arrival"
        for proposal in waiting:
            number = int(proposal.origin.client.removeprefix("client-"))
            assert proposal.origin.token == NAMES[number % len(NAMES)]
            assert proposal.action.target.name == f"c{number}"
        assert sent(here) == []

        order = draw.sample(waiting, CLIENTS)
        approved, denied, gone = order[:12], order[12:21], order[21:]
        steps = [(proposal, Answer.APPROVE) for proposal in approved] + [(p, Answer.DENY) for p in denied]
        draw.shuffle(steps)
        for proposal in gone[:5]:
            tasks[proposal.origin.client].cancel()

        async def decide(proposal: Proposal, answer: Answer) -> list[tuple[State, str]]:
            # Two people answer at the same moment, and one of them the other way round.
            other = Answer.DENY if answer is Answer.APPROVE else Answer.APPROVE
            said = says(proposal, answer, reason=f"about {proposal.id}")
            first = await here.control.decide_with_meaning(said)
            return [first, await here.control.decide_with_meaning(says(proposal, other))]

        answers = await asyncio.gather(*(decide(*step) for step in steps))
        for (_, answer), (first, second) in zip(steps, answers, strict=True):
            assert first[0] is (State.APPROVED if answer is Answer.APPROVE else State.DENIED)
            assert "changes nothing" in second[1]
        for proposal in gone[5:]:
            tasks[proposal.origin.client].cancel()

        for proposal in approved:
            status, body = await tasks[proposal.origin.client]
            assert (status, body["data"]["n"]) == (200, proposal.origin.client.removeprefix("client-"))
        for proposal in denied:
            status, body = await tasks[proposal.origin.client]
            assert (status, f"about {proposal.id}" in body["message"]) == (403, True)
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for proposal in gone:
            held = here.gate.broker.get(proposal.id)
            await asyncio.wait_for(held.done.wait(), 20)
            assert held.state is State.WITHDRAWN

        # Each approved object was changed once, and nothing else was.
        assert sorted(sent(here)) == sorted(proposal.action.target.name for proposal in approved)
        whole, refused = ("proposed", "decided", "intent", "sent", "outcome"), ("proposed", "decided", "outcome")
        for group, kinds in ((approved, whole), (denied, refused), (gone, ("proposed", "outcome"))):
            assert {here.gate.journal.kinds(proposal.id) for proposal in group} == {kinds}
    found = verify_journal(tmp_path / "state", ())
    assert found is not None
    assert found.found.intact, found.found.why


async def test_a_burst_beyond_the_bound_is_refused_and_the_others_wait_on(tmp_path: Path) -> None:
    maps = [thing("v1", "ConfigMap", f"c{number}", data={"n": "old"}) for number in range(8)]
    # The allowance is a kubeconfig's: of the three, two ask three times and one asks twice.
    few = (RuleSettings("*", {"proposals_per_5_min": 2}, "a test"),)
    async with shop(tmp_path, *maps, rules=few) as here, asyncio.timeout(60):
        tasks = [asyncio.create_task(ask(here, number)) for number in range(8)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert [task.result()[0] for task in done] == [429, 429]
        waiting = await all_open(here, 6)
        for proposal in waiting:
            await here.control.decide(says(proposal, Answer.DENY))
        assert {status for status, _ in await asyncio.gather(*pending)} == {403}
        assert sent(here) == []
