"""What a session sees of the rules: a missing second person, who agreed, one person alone, everything stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.proposal import Answer, ProposalState
from assistant.errors import GateError
from assistant.plain.card import card_lines, how_to_answer
from assistant.plain.lines import event_lines
from assistant.plain.markdown import report
from assistant.session.clock import SystemClock
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from tests.gate.conftest import SCALE, Lab, lab
from tests.gate.scripted import DEPLOYMENT
from tests.gate.test_two_people import ADA, WHY, strict
from tests.session.scripted import OPENED, ScriptedWorkflow

State = ProposalState
SHOWN = "ab" * 32


@asynccontextmanager
async def watching(here: Lab) -> AsyncIterator[Session]:
    with SessionStore.open(here.folder / "sessions.db") as store:
        door = RecordedGate(here.control)
        parts = Parts(store, ScriptedWorkflow(door), door, SystemClock(), lambda text: (text, 0), "grace")
        session = await Session.open(parts, "s1", OPENED)
        try:
            while not here.gate.broker.news.listeners:  # noqa: ASYNC110 - the gate tells nobody who listens
                await asyncio.sleep(0)
            yield session
        finally:
            await session.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any event may be the one
            await asyncio.sleep(0)


@asynccontextmanager
async def held(here: Lab, session: Session) -> AsyncIterator[asyncio.Task[int]]:
    async def patch() -> int:
        async with here.client() as client:
            headers = {"Content-Type": SCALE.content_type}
            async with client.patch(DEPLOYMENT, data=SCALE.body, headers=headers) as answer:
                return answer.status

    asked = asyncio.create_task(patch())
    await until(lambda: session.case.waiting)
    yield asked
    await asked


async def test_a_decision_that_does_not_count_leaves_the_change_waiting(tmp_path: Path) -> None:
    async with lab(tmp_path) as here, watching(here) as session, held(here, session) as asked:
        proposal = session.case.waiting[0].proposal
        with pytest.raises(GateError, match="on screen") as caught:
            await session.decide(proposal.id, Answer.APPROVE, shown="")
        assert caught.value.code == "not-decided"
        assert [item.proposal.id for item in session.case.waiting] == [proposal.id]
        assert await session.decide(proposal.id, Answer.APPROVE, shown=SHOWN) is ProposalState.APPROVED
        assert await asked == 200


async def test_a_missing_second_person_leaves_the_change_waiting(tmp_path: Path) -> None:
    async with strict(tmp_path) as here, watching(here) as session, held(here, session) as asked:
        proposal = session.case.waiting[0].proposal
        with pytest.raises(GateError, match="second person has to sign") as caught:
            await session.decide(proposal.id, Answer.APPROVE, shown=SHOWN)
        assert caught.value.code == "not-decided"
        assert [item.proposal.id for item in session.case.waiting] == [proposal.id]
        assert "approvals sign" in how_to_answer(proposal)

        await here.control.agree(ADA.signs(proposal))
        await until(lambda: session.case.waiting[0].proposal.second.agreed)  # type: ignore[union-attr]
        signed = session.case.waiting[0].proposal
        assert "ada agreed" in " ".join(" ".join(card_lines(signed, signed.created)).split())
        assert how_to_answer(signed).startswith(f"Type: approve {signed.digest[:6]}")
        assert await session.decide(proposal.id, Answer.APPROVE, shown=SHOWN) is State.APPROVED
        assert await asked == 200
        await until(lambda: not session.case.unresolved)
        known = session.case.proposal(proposal.id)
        assert known is not None
        assert known.decision is not None
        assert known.decision.second is not None
        assert known.decision.second.by == "ada"
        assert known.decision.quick
        with SessionStore.open(tmp_path / "sessions.db", read_only=True) as store:
            await until(lambda: [row.proposals for row in store.sessions()] == [1])
        assert "agreed by ada; sooner than it can be read" in report(session.case)


async def test_one_person_alone_is_told_loudly_in_every_form(tmp_path: Path) -> None:
    async with strict(tmp_path, break_glass=True) as here, watching(here) as session, held(here, session) as asked:
        proposal = session.case.waiting[0].proposal
        await session.decide(proposal.id, Answer.APPROVE, WHY, SHOWN, typed_name="web", break_glass=True)
        assert await asked == 200
        await until(lambda: not session.case.unresolved)
        lines = [line for event in session.events for line in event_lines(event, session.case, 300)]
        assert any("BREAK-GLASS, APPROVED ALONE by grace" in line and WHY in line for line in lines)
        assert "**BREAK-GLASS, approved alone by grace" in report(session.case)
    with SessionStore.open(tmp_path / "sessions.db", read_only=True) as store:
        assert [row.title for row in store.sessions()] == ["BREAK-GLASS"]


async def test_a_session_can_stop_all_changes(tmp_path: Path) -> None:
    async with strict(tmp_path) as here, watching(here) as session, held(here, session) as asked:
        assert await session.stop_changes("an odd agent") == 1
        assert await asked == 409
        await until(lambda: not session.case.unresolved)
        assert [item.state for item in session.case.proposals] == [State.VOID]
        outcome = session.case.proposals[0].outcome
        assert outcome is not None
        assert "grace stopped all changes: an odd agent" in outcome.message
