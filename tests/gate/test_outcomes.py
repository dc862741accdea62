"""A waiting client and its journal are told what became of a change: denied, expired, refused, failed, unknown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.proposal import Answer, ProposalState
from tests.gate.conftest import MERGE, OURS, SCALE, Lab, lab, says
from tests.gate.scripted import DEPLOYMENT
from tests.gate.test_holding import held

State = ProposalState


async def asked(client: Any) -> tuple[int, dict[str, Any]]:
    async with client.patch(DEPLOYMENT, data=SCALE.body, headers={"Content-Type": MERGE}) as answer:
        return answer.status, await answer.json()


def cause(body: dict[str, Any]) -> str:
    return str(body["details"]["causes"][0]["message"]).split()[1]


async def decided(here: Lab, answer: Answer, fault: str = "") -> tuple[int, dict[str, Any], ProposalState]:
    async with here.client() as client:
        waiting = asyncio.create_task(asked(client))
        proposal = await held(here.control)
        here.server.write_fault = fault
        await here.control.decide(says(proposal, answer))
        status, body = await waiting
        return status, body, here.gate.broker.get(proposal.id).state


async def test_denied(here: Lab) -> None:
    status, body, state = await decided(here, Answer.DENY)
    assert (status, cause(body), state) == (403, "denied", State.DENIED)


@pytest.mark.parametrize(
    ("fault", "code", "state", "words"),
    [("reset", 504, State.UNKNOWN, "not known"), ("close", 504, State.UNKNOWN, "not known")],
)
async def test_sent_without_an_answer_is_unknown(
    here: Lab, fault: str, code: int, state: ProposalState, words: str
) -> None:
    status, body, ended = await decided(here, Answer.APPROVE, fault)
    assert (status, cause(body), ended) == (code, "unknown", state)
    assert words in body["message"]


@pytest.mark.parametrize("fault", ["409", "422", "503"])
async def test_an_answer_of_the_server_is_passed_on_as_it_is(here: Lab, fault: str) -> None:
    status, body, ended = await decided(here, Answer.APPROVE, fault)
    assert (status, body["message"]) == (int(fault), f"scripted {fault}")
    assert ended is (State.UNKNOWN if fault == "503" else State.FAILED)


async def test_a_client_that_waited_long_enough_is_told_that_it_expired_and_not_that_somebody_refused(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, hold_seconds=0.2) as here, here.client() as client:
        status, body = await asked(client)
        assert (status, cause(body)) == (403, "expired")
        assert "Nobody decided while the client waited" in body["message"]
        assert [state for _, state in await here.control.proposals()] == [State.EXPIRED]
        assert here.server.writes == []


async def test_a_right_that_was_taken_away_after_the_approval_stops_it(here: Lab) -> None:
    proposal = await here.control.propose(SCALE, OURS, "k")
    assert await here.control.decide(says(proposal)) is State.APPROVED
    here.server.may = False
    outcome = await here.control.execute(proposal.id)
    assert outcome.state is State.FAILED
    assert "no longer allowed" in outcome.message
    assert here.server.writes == []


@pytest.mark.parametrize(("age", "state"), [(0, State.APPLIED), (31, State.FAILED)])
async def test_an_old_dry_run_is_made_again_before_sending(here: Lab, age: int, state: ProposalState) -> None:
    proposal = await here.control.propose(SCALE, OURS, "k")
    assert await here.control.decide(says(proposal)) is State.APPROVED
    kept = here.gate.broker.get(proposal.id)
    looked = proposal.created - timedelta(seconds=age)
    kept.examined = replace(kept.examined, proposal=replace(kept.proposal, created=looked))
    here.server.dry_status = 422
    outcome = await here.control.execute(proposal.id)
    assert outcome.state is state
    assert len(here.server.writes) == (1 if state is State.APPLIED else 0)
