"""Nothing that changes the cluster leaves the gate without an approval of exactly these bytes, and never twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import Action, RequestClass
from assistant.domain.event import Concluded, Decided, Proposed, Sending
from assistant.domain.proposal import Answer, CheckResult, LineOrigin, Proposal, ProposalState
from assistant.errors import GateError
from assistant.gate.control import ControlClient
from assistant.store.sqlite import StoreFullError
from tests.gate.conftest import MERGE, OURS, SCALE, WEB, Lab, lab, not_decided, says
from tests.gate.scripted import DEPLOYMENT

State = ProposalState
PATCH = {"Content-Type": MERGE}
NAMESPACE = "/api/v1/namespaces/shop"


async def held(control: ControlClient) -> Proposal:
    async with asyncio.timeout(10):
        while True:
            for proposal, state in await control.proposals():
                if state is State.OPEN:
                    return proposal
            await asyncio.sleep(0)


class TestOurOwnChange:
    async def test_is_examined_and_not_sent(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert proposal.title == "scale Deployment shop/web 4 → 5"
        assert proposal.kubectl == "kubectl -n shop scale deployment/web --replicas=5"
        assert [(x.sign, x.text) for x in proposal.diff if x.origin is LineOrigin.OURS] == [
            ("@", "spec.replicas"), ("-", "replicas: 4"), ("+", "replicas: 5"),
        ]  # fmt: skip
        assert {c.name: c.result for c in proposal.checks}["access"] is CheckResult.PASS
        assert proposal.undo.action is not None
        assert json.loads(proposal.undo.action.body) == [
            {"op": "test", "path": "/spec/replicas", "value": 5},
            {"op": "replace", "path": "/spec/replicas", "value": 4},
        ]
        assert here.server.writes == []

    async def test_is_the_same_proposal_for_the_same_key(self, here: Lab) -> None:
        both = await asyncio.gather(*(here.control.propose(SCALE, OURS, "k") for _ in range(2)))
        assert both[0] == both[1]

    async def test_is_not_executed_without_an_approval(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        with pytest.raises(GateError):
            await here.control.execute(proposal.id)
        assert here.server.writes == []

    async def test_is_sent_once_with_its_preconditions(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert await here.control.decide(says(proposal)) is State.APPROVED
        outcomes = await asyncio.gather(*(here.control.execute(proposal.id) for _ in range(5)))
        assert {o.state for o in outcomes} == {State.APPLIED}
        assert len({o.at for o in outcomes}) == 1
        assert [w.body for w in here.server.writes] == [
            {"spec": {"replicas": 5}, "metadata": {"resourceVersion": "10", "uid": "uid-1"}}
        ]
        assert here.gate.journal.kinds(proposal.id) == ("proposed", "decided", "intent", "sent", "outcome")

    async def test_whose_object_moved_is_a_new_proposal(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        here.server.touch()
        assert await here.control.decide(says(proposal)) is State.VOID
        newer = await held(here.control)
        assert newer.supersedes == proposal.id
        assert newer.digest != proposal.digest
        with pytest.raises(GateError):
            await here.control.execute(newer.id)
        assert here.server.writes == []

    async def test_whose_object_moved_after_the_approval_is_not_sent(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        here.server.touch()
        outcome = await here.control.execute(proposal.id)
        assert outcome.state is State.FAILED
        assert "changed since you looked" in outcome.message
        assert here.server.writes == []

    @pytest.mark.parametrize("change", [{"digest": "0" * 64}, {"digest": ""}])
    async def test_is_not_approved_under_another_digest(self, here: Lab, change: dict[str, Any]) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert "other bytes" in await not_decided(here.control, says(proposal, **change))
        assert here.server.writes == []
        assert await here.control.decide(says(proposal)) is State.APPROVED

    @pytest.mark.parametrize("shown", ["", "yes", "AB" * 32, "ab" * 31])
    async def test_is_not_approved_without_saying_what_was_on_screen(self, here: Lab, shown: str) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert "on screen" in await not_decided(here.control, says(proposal, shown=shown))
        assert await here.control.decide(says(proposal, Answer.DENY, shown=shown)) is State.DENIED
        assert here.server.writes == []

    async def test_withdrawn_cannot_be_approved(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.withdraw(proposal.id)
        assert await here.control.decide(says(proposal)) is State.WITHDRAWN

    async def test_that_the_server_would_refuse_cannot_be_approved(self, here: Lab) -> None:
        here.server.dry_status = 422
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert not proposal.approvable
        assert await not_decided(here.control, says(proposal))

    async def test_without_a_dry_run_is_riskier_and_says_so(self, here: Lab) -> None:
        sure = await here.control.propose(SCALE, OURS, "k")
        here.server.dry_status = 500
        unsure = await here.control.propose(SCALE, OURS, "k2")
        assert {c.name: c.result for c in unsure.checks}["dry run"] is CheckResult.UNKNOWN
        assert unsure.risk.level != sure.risk.level

    async def test_that_is_not_allowed_cannot_be_approved(self, here: Lab) -> None:
        here.server.may = False
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert "may not patch" in proposal.not_approvable

    async def test_that_is_critical_needs_the_typed_name(self, here: Lab) -> None:
        here.server.objects[NAMESPACE] = {
            "kind": "Namespace", "metadata": {"name": "shop", "uid": "u2", "resourceVersion": "3"},
        }  # fmt: skip
        proposal = await here.control.propose(Action("DELETE", NAMESPACE, WEB), OURS, "k")
        assert proposal.request_class is RequestClass.CRITICAL
        assert proposal.typed_name == "shop"
        assert "'shop' to be typed" in await not_decided(here.control, says(proposal, typed_name="Shop"))
        assert await here.control.decide(says(proposal, typed_name="shop")) is State.APPROVED
        await here.control.execute(proposal.id)
        assert [w.body["preconditions"] for w in here.server.writes] == [{"uid": "u2", "resourceVersion": "3"}]

    async def test_of_a_collection_that_matches_nothing_cannot_be_approved(self, here: Lab) -> None:
        proposal = await here.control.propose(Action("DELETE", NAMESPACE + "/pods", WEB), OURS, "k")
        assert await not_decided(here.control, says(proposal))

    @pytest.mark.parametrize("path", [DEPLOYMENT + "/../x", DEPLOYMENT + "%2f", "/unknown", DEPLOYMENT + "/exec"])
    async def test_with_a_strange_path_is_refused(self, here: Lab, path: str) -> None:
        with pytest.raises(GateError):
            await here.control.propose(replace(SCALE, path=path), OURS, "k")
        assert here.server.writes == []


class TestExpiry:
    async def test_of_the_proposal_by_either_clock(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        kept = here.gate.broker.get(proposal.id)
        kept.open_until = 0.0
        assert await here.control.decide(says(proposal)) is State.EXPIRED
        second = await here.control.propose(SCALE, OURS, "k")
        assert second.id != proposal.id
        again = here.gate.broker.get(second.id)
        past = replace(second, expires=datetime.now(UTC) - timedelta(seconds=1))
        again.examined = replace(again.examined, proposal=past)
        assert await here.control.decide(says(second)) is State.EXPIRED

    @pytest.mark.parametrize("clock", ["wall", "monotonic"])
    async def test_of_the_approval_by_either_clock(self, here: Lab, clock: str) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        kept = here.gate.broker.get(proposal.id)
        if clock == "wall":
            kept.approved_until_wall = datetime.now(UTC) - timedelta(seconds=1)
        else:
            kept.approved_until = 0.0
        assert (await here.control.execute(proposal.id)).state is State.EXPIRED
        assert here.server.writes == []

    async def test_cannot_be_moved_without_breaking_the_mac(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        kept = here.gate.broker.get(proposal.id)
        kept.approved_until_wall = datetime.now(UTC) + timedelta(hours=1)
        assert (await here.control.execute(proposal.id)).state is State.REFUSED
        assert here.server.writes == []


async def test_other_bytes_than_the_approved_ones_are_not_sent(here: Lab) -> None:
    proposal = await here.control.propose(SCALE, OURS, "k")
    await here.control.decide(says(proposal))
    kept = here.gate.broker.get(proposal.id)
    kept.examined = replace(kept.examined, prepared=replace(kept.examined.prepared, body='{"spec":{"replicas":6}}'))
    assert (await here.control.execute(proposal.id)).state is State.REFUSED
    assert here.server.writes == []


class TestWhatCameOfSending:
    @pytest.mark.parametrize(
        ("fault", "state"),
        [
            ("reset", State.UNKNOWN), ("close", State.UNKNOWN), ("500", State.UNKNOWN), ("503", State.UNKNOWN),
            ("redirect", State.UNKNOWN), ("429", State.FAILED), ("409", State.FAILED), ("403", State.FAILED),
            ("truncated", State.APPLIED),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
    async def test_is_told_as_it_is_and_never_sent_again(
        self, here: Lab, fault: str, state: ProposalState, method: str
    ) -> None:
        body = "" if method == "DELETE" else json.dumps({**here.server.objects[DEPLOYMENT], "spec": {"replicas": 5}})
        action = Action(method, DEPLOYMENT, WEB, (), "application/json" if method == "PUT" else MERGE, body)
        proposal = await here.control.propose(action, OURS, "k")
        here.server.write_fault = fault
        assert await here.control.decide(says(proposal)) is State.APPROVED
        outcome = await here.control.execute(proposal.id)
        assert outcome.state is state
        assert (await here.control.execute(proposal.id)) == outcome
        assert len(here.server.writes) == 1

    async def test_is_failed_where_nothing_could_be_sent(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, OURS, "k")
        await here.control.decide(says(proposal))
        here.server.stop()
        await here.gate.upstream.close()
        here.gate.upstream._session = None
        outcome = await here.control.execute(proposal.id)
        assert outcome.state is State.FAILED
        assert "othing was sent" in outcome.message


class TestJournal:
    async def test_that_cannot_be_written_stops_proposals(self, here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise StoreFullError("The disk is full.", "Free some space.")

        monkeypatch.setattr(here.gate.journal, "proposed", full)
        async with here.client() as client:
            answer = await client.patch(DEPLOYMENT, data=SCALE.body, headers=PATCH)
            assert answer.status == 503
            assert "journal" in (await answer.json())["message"]
        assert here.server.writes == []

    @pytest.mark.parametrize("step", ["decided", "intent"])
    async def test_that_cannot_be_written_stops_sending(
        self, here: Lab, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def full(*_: object) -> None:
            raise StoreFullError("The disk is full.", "Free some space.")

        proposal = await here.control.propose(SCALE, OURS, "k")
        monkeypatch.setattr(here.gate.journal, step, full)
        if step == "decided":
            with pytest.raises(GateError):
                await here.control.decide(says(proposal))
            with pytest.raises(GateError):
                await here.control.execute(proposal.id)
        else:
            await here.control.decide(says(proposal))
            assert (await here.control.execute(proposal.id)).state is State.REFUSED
        assert here.server.writes == []


class TestForeignClient:
    async def test_waits_and_gets_the_answer(self, here: Lab) -> None:
        async with here.client() as client:
            asked = asyncio.create_task(_patch(client))
            proposal = await held(here.control)
            assert proposal.origin.kind == "client"
            assert not asked.done()
            assert here.server.writes == []
            await here.control.decide(says(proposal))
            status, body = await asked
        assert (status, body["spec"]["replicas"]) == (200, 5)
        assert len(here.server.writes) == 1

    async def test_is_told_who_denied_it_and_why(self, here: Lab) -> None:
        async with here.client() as client:
            asked = asyncio.create_task(_patch(client))
            proposal = await held(here.control)
            await here.control.decide(says(proposal, Answer.DENY, reason="not at night"))
            status, body = await asked
        assert (status, body["kind"]) == (403, "Status")
        assert "grace denied it: not at night" in body["message"]
        assert here.server.writes == []

    async def test_that_goes_away_withdraws(self, here: Lab) -> None:
        async with here.client() as client:
            asked = asyncio.create_task(_patch(client))
            proposal = await held(here.control)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await asyncio.wait_for(here.gate.broker.get(proposal.id).done.wait(), 10)
        assert await here.control.proposals() == ((proposal, State.WITHDRAWN),)
        assert await here.control.decide(says(proposal)) is State.WITHDRAWN
        assert here.server.writes == []

    async def test_follows_its_request_to_a_newer_proposal(self, here: Lab) -> None:
        async with here.client() as client:
            asked = asyncio.create_task(_patch(client))
            first = await held(here.control)
            here.server.touch()
            newer = await here.control.recheck(first.id)
            assert newer.supersedes == first.id
            await here.control.decide(says(newer))
            assert (await asked)[0] == 200
        assert len(here.server.writes) == 1

    async def test_that_waits_too_long_gets_a_reason(self, tmp_path: Path) -> None:
        async with lab(tmp_path, hold_seconds=0.2) as here, here.client() as client:
            status, body = await _patch(client)
            assert status == 403
            assert "Pilothouse did not send" in body["message"]
            assert here.server.writes == []

    async def test_gets_no_write_path_where_the_gate_only_observes(self, tmp_path: Path) -> None:
        async with lab(tmp_path, mode="observe") as here, here.client() as client:
            status, body = await _patch(client)
            assert status == 403
            assert "only observes" in body["message"]
            assert here.gate.broker._sender is None
            assert all(r.method in ("GET", "POST") for r in here.server.requests)

    async def test_may_make_a_dry_run(self, here: Lab) -> None:
        async with here.client() as client:
            async with client.patch(DEPLOYMENT + "?dryRun=All", data=SCALE.body, headers=PATCH) as answer:
                assert answer.status == 200
            async with client.delete(DEPLOYMENT, json={"dryRun": ["All"]}) as answer:
                assert answer.status == 200
        assert here.server.writes == []
        assert DEPLOYMENT in here.server.objects

    async def test_cannot_dress_a_delete_as_a_dry_run(self, here: Lab) -> None:
        async with here.client() as client:
            asked = asyncio.create_task(client.delete(DEPLOYMENT + "?dryRun=All", json={"kind": "DeleteOptions"}))
            proposal = await held(here.control)
            await here.control.decide(says(proposal, Answer.DENY))
            assert (await asked).status == 403
        assert here.server.writes == []
        assert DEPLOYMENT in here.server.objects


async def test_events_tell_the_whole_life(here: Lab) -> None:
    seen: list[type] = []

    async def follow() -> None:
        async for event in here.control.watch():
            seen.append(type(event))
            if isinstance(event, Concluded):
                return

    following = asyncio.create_task(follow())
    while not here.gate.broker.news.listeners:  # noqa: ASYNC110 - the gate has no event for a listener's arrival
        await asyncio.sleep(0)
    proposal = await here.control.propose(SCALE, OURS, "k")
    await here.control.decide(says(proposal))
    await here.control.execute(proposal.id)
    await asyncio.wait_for(following, 10)
    assert seen == [Proposed, Decided, Sending, Concluded]


async def _patch(client: Any) -> tuple[int, dict[str, Any]]:
    async with client.patch(DEPLOYMENT, data=SCALE.body, headers=PATCH) as answer:
        return answer.status, await answer.json()
