"""A deletecollection is a list of single deletes: each bound, each on record, none twice, and counted exactly."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Answer, CheckResult, Proposal, ProposalState
from assistant.errors import GateError
from assistant.gate import parts
from assistant.gate.control import ControlClient
from assistant.gate.sender import Sender, Sent
from assistant.policy.limits import MAX_PARTS
from assistant.store.sqlite import StoreFullError
from tests.gate.conftest import OURS, not_decided, says
from tests.gate.recorded import SHOP, Shop, check, pod, running, shop, thing, told

State = ProposalState
MAPS = f"{SHOP}/configmaps"
MATCHING = (("labelSelector", "app=web"),)


def maps(*names: str) -> list[dict[str, Any]]:
    found = [thing("v1", "ConfigMap", name, data={"a": "b"}) for name in names]
    for item in found:
        item["metadata"]["labels"] = {"app": "web"}
    return found


async def approved(here: Shop, proposal: Proposal) -> None:
    assert await here.control.decide(says(proposal)) is State.APPROVED


def kept(here: Shop) -> list[str]:
    return sorted(item["metadata"]["name"] for item in here.server.cluster.objects.items(("", "configmaps"), "shop"))


class TestTheList:
    async def test_names_every_object_with_its_uid_and_asks_for_count_and_kind(self, tmp_path: Path) -> None:
        other = thing("v1", "ConfigMap", "other", data={})
        async with shop(tmp_path, *maps("a", "b"), other) as here:
            proposal = await here.propose("DELETE", MAPS, query=MATCHING)
            assert proposal.request_class is RequestClass.CRITICAL
            assert [(p.target.name, p.target.uid) for p in proposal.parts] == [("a", "uid-a"), ("b", "uid-b")]
            assert len({part.digest for part in proposal.parts}) == 2
            assert proposal.typed_name == "2-configmaps"
            assert proposal.title == "delete 2 configmaps in shop that match app=web: a, b"
            assert proposal.kubectl == "kubectl -n shop delete configmaps a b"
            assert [line.text for line in proposal.diff][1:] == ["a  uid uid-a", "b  uid uid-b"]
            assert check(proposal, "dry run").text == "The server would accept each of the 2 deletes."
            assert check(proposal, "surroundings").result is CheckResult.UNKNOWN
            assert await not_decided(here.control, says(proposal, typed_name="configmaps"))
            assert here.writes == [("DELETE", f"{MAPS}/{name}") for name in "ab"], "the dry runs, one for each"
            assert kept(here) == ["a", "b", "other"]

    async def test_says_what_comes_back(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *running(), pod("alone")) as here:
            proposal = await here.propose("DELETE", f"{SHOP}/pods")
            assert "2 of them have a controller that makes them again: ReplicaSet web-1." in told(proposal)
            assert "1 object without a controller do not come back: alone." in told(proposal)
            assert check(proposal, "owner").result is CheckResult.WARN

    @pytest.mark.parametrize(
        ("number", "query", "why", "instead"),
        [
            (0, (), "Nothing matches it now", "Ask again"),
            (2, (("limit", "1"),), "only the server could tell", "without limit"),
            (MAX_PARTS + 1, (), f"It deletes {MAX_PARTS + 1} objects", "Narrow the selector"),
        ],
    )
    async def test_that_is_not_finite_or_too_long_cannot_be_approved(
        self, tmp_path: Path, number: int, query: tuple[tuple[str, str], ...], why: str, instead: str
    ) -> None:
        async with shop(tmp_path, *maps(*(f"m{n}" for n in range(number)))) as here:
            proposal = await here.propose("DELETE", MAPS, query=query)
            assert why in proposal.not_approvable
            assert instead in proposal.approvable_if
            assert proposal.parts == ()
            assert await not_decided(here.control, says(proposal))
            assert len(kept(here)) == number

    async def test_one_that_may_not_be_deleted_closes_all(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a")) as here:
            rules = [
                {"verbs": ["get", "list", "deletecollection"], "apiGroups": [""], "resources": ["configmaps"]},
                {"verbs": ["create"], "apiGroups": ["*"], "resources": ["selfsubjectaccessreviews"]},
            ]
            here.server.cluster.bundle.rights["shop"] = {"resourceRules": rules}  # type: ignore[index]
            proposal = await here.propose("DELETE", MAPS)
            assert "may not delete configmaps" in proposal.not_approvable


class TestSending:
    async def test_deletes_each_by_its_own_request_and_nothing_that_came_later(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a", "b", "c")) as here, here.client() as client:
            asked = asyncio.create_task(_delete(client, f"{MAPS}?labelSelector=app%3Dweb"))
            proposal = await here.waiting()
            before = len(here.writes)
            await approved(here, proposal)
            status, body = await asked
            assert (status, body["status"], body["message"]) == (200, "Success", "3 of 3 deleted.")
            assert here.writes[before:] == [("DELETE", f"{MAPS}/{name}") for name in "abc"]
            assert kept(here) == []
            for number in (1, 2, 3):
                assert here.gate.journal.kinds(f"{proposal.id}/{number}") == ("intent", "outcome")
            assert here.gate.journal.kinds(proposal.id) == ("proposed", "decided", "intent", "outcome")
            again = await here.control.execute(proposal.id)
            assert again.state is State.APPLIED
            assert len(here.writes) == before + 3

    async def test_a_list_that_moved_is_a_new_proposal(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            here.server.cluster.objects.put(("", "configmaps"), maps("c")[0])
            assert await here.control.decide(says(proposal)) is State.VOID
            newer = await here.waiting()
            assert [part.target.name for part in newer.parts] == ["a", "b", "c"]
            here.server.cluster.objects.remove(("", "configmaps"), "shop", "a")
            await approved(here, await here.control.recheck(newer.id))
            assert kept(here) == ["b", "c"]

    async def test_a_list_that_moved_after_the_approval_is_not_sent(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            here.server.cluster.objects.remove(("", "configmaps"), "shop", "a")
            outcome = await here.control.execute(proposal.id)
            assert (outcome.state, "nothing was sent" in outcome.message) == (State.FAILED, True)
            assert kept(here) == ["b"]

    async def test_objects_that_move_in_between_are_counted_and_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with shop(tmp_path, *maps("a", "b", "c", "d")) as here:
            objects = here.server.cluster.objects
            real = Sender.send

            async def send(self: Sender, examined: Any, mark: Any) -> Sent:
                if examined.prepared.path.endswith("/a"):
                    objects.remove(("", "configmaps"), "shop", "b")
                    changed = objects.get(("", "configmaps"), "shop", "c")
                    objects.put(("", "configmaps"), {**(changed or {}), "data": {"new": "value"}})
                return await real(self, examined, mark)

            monkeypatch.setattr(Sender, "send", send)
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            outcome = await here.control.execute(proposal.id)
            assert outcome.message == "2 of 4 deleted, 1 gone already (b), 1 changed since you looked (c)."
            assert outcome.state is State.FAILED
            assert kept(here) == ["c"]

    @pytest.mark.parametrize(
        ("ends", "state", "message"),
        [
            ([Sent(State.APPLIED, 200), Sent(State.FAILED, 404)], State.APPLIED, "1 of 2 deleted, 1 gone already (b)."),
            (
                [Sent(State.APPLIED, 200), Sent(State.UNKNOWN), None], State.UNKNOWN,
                "1 of 3 deleted, 1 unknown (b), 1 not sent (c); stopped because what came of one is not known.",
            ),
            (
                [Sent(State.FAILED, 403, "No."), None], State.FAILED,
                "0 of 2 deleted, 1 refused (a), 1 not sent (b); stopped because one was refused. No.",
            ),
            (
                [Sent(State.FAILED, 429, "Wait."), None], State.FAILED,
                "0 of 2 deleted, 1 refused (a), 1 not sent (b); stopped because one was refused. Wait.",
            ),
        ],
    )  # fmt: skip
    async def test_what_came_of_it_is_said_exactly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[Sent | None], state: State, message: str
    ) -> None:
        left = iter(ends)

        async def send(self: Sender, examined: Any, mark: Any) -> Sent:
            # Where nothing more should be sent, it would show as one deleted too many.
            return next(left) or Sent(State.APPLIED, 200)

        monkeypatch.setattr(Sender, "send", send)
        async with shop(tmp_path, *maps(*"abcd"[: len(ends)])) as here, here.client() as client:
            asked = asyncio.create_task(_delete(client, MAPS))
            proposal = await here.waiting()
            await approved(here, proposal)
            status, body = await asked
            assert message in body["message"]
            assert status == {State.APPLIED: 200, State.UNKNOWN: 504}.get(state, ends[0].status if ends[0] else 0)
            assert here.gate.broker.get(proposal.id).state is state

    async def test_stops_where_the_approval_runs_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Sender.send

        async def send(self: Sender, examined: Any, mark: Any) -> Sent:
            here.gate.broker.get(proposal.id).approved_until = 0.0
            return await real(self, examined, mark)

        monkeypatch.setattr(Sender, "send", send)
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            outcome = await here.control.execute(proposal.id)
            assert outcome.message == "1 of 2 deleted, 1 not sent (b); stopped because the approval ran out."
            assert kept(here) == ["b"]

    async def test_stops_where_a_person_stops_everything(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Sender.send

        async def send(self: Sender, examined: Any, mark: Any) -> Sent:
            here.gate.broker.stop("grace", "")
            return await real(self, examined, mark)

        monkeypatch.setattr(Sender, "send", send)
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            outcome = await here.control.execute(proposal.id)
            told = "1 of 2 deleted, 1 not sent (b); stopped because grace stopped all changes."
            assert outcome.message == told
            assert kept(here) == ["b"]

    @pytest.mark.parametrize("step", ["part_intent", "part_ended"])
    async def test_stops_where_the_journal_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def full(*_: object) -> None:
            raise StoreFullError("The disk is full.", "Free some space.")

        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            monkeypatch.setattr(here.gate.journal, step, full)
            outcome = await here.control.execute(proposal.id)
            assert "the journal cannot be written" in outcome.message
            assert kept(here) == (["a", "b"] if step == "part_intent" else ["b"])

    async def test_other_bytes_than_the_approved_ones_are_not_sent(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            await approved(here, proposal)
            held = here.gate.broker.get(proposal.id)
            other = replace(held.examined.parts[1], path=f"{SHOP}/services/web")
            held.examined = replace(held.examined, parts=(held.examined.parts[0], other))
            assert (await here.control.execute(proposal.id)).state is State.REFUSED
            assert kept(here) == ["a", "b"]

    async def test_each_part_is_held_against_its_own_digest(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a", "b")) as here:
            proposal = await here.propose("DELETE", MAPS)
            examined = here.gate.broker.get(proposal.id).examined
            other = replace(examined.parts[1], path=f"{SHOP}/services/web")
            examined = replace(examined, parts=(examined.parts[0], other))
            broker = here.gate.broker
            assert broker._sender is not None
            sent = await parts.send_parts(broker._sender, broker._examiner, here.gate.journal, examined, lambda: "")
            assert "1 of 2 deleted, 1 not sent (b); stopped because the bytes to send are not" in sent.message
            assert kept(here) == ["b"]

    async def test_denied_deletes_nothing(self, tmp_path: Path) -> None:
        async with shop(tmp_path, *maps("a")) as here:
            proposal = await here.propose("DELETE", MAPS)
            assert await here.control.decide(says(proposal, Answer.DENY)) is State.DENIED
            assert kept(here) == ["a"]


@pytest.mark.parametrize("fault", parts.POINTS)
async def test_a_gate_killed_in_between_sends_nothing_twice_and_says_how_far_it_was(tmp_path: Path, fault: str) -> None:
    async with shop(tmp_path, *maps("a", "b", "c")) as here:
        process, ready = await _gate(tmp_path, here, fault)
        async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
            action = (await here.propose("DELETE", MAPS)).action
            proposal = await control.propose(action, OURS, "k")
            assert await control.decide(says(proposal)) is State.APPROVED
            with pytest.raises(GateError):
                await control.execute(proposal.id)
        assert await asyncio.wait_for(process.wait(), 20) == -9
        sent = 1 if fault in ("after-part-sent", "after-part") else 0
        assert kept(here) == ["a", "b", "c"][sent:]
        process, ready = await _gate(tmp_path, here, "")
        async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
            found = [(p.id, state) for p, state in await control.proposals() if p.id == proposal.id]
            assert found == [(proposal.id, State.UNKNOWN)]
            outcome = await control.outcome(proposal.id)
            assert outcome is not None
            confirmed = 1 if fault == "after-part" else 0
            open_one = 0 if fault in ("before-part", "after-part") else 1
            if fault != "before-part":
                assert f"{confirmed} of its deletes are confirmed, {open_one} may have happened" in outcome.message
            with pytest.raises(GateError):
                await control.execute(proposal.id)
        assert kept(here) == ["a", "b", "c"][sent:]
        assert process.stdin
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def _gate(folder: Path, here: Shop, fault: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant.gate", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PILOTHOUSE_FAULT": fault},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    settings = {
        "kubeconfig": str(here.server.kubeconfig), "context": None, "namespace": None, "mode": "ask",
        "state_dir": str(folder / "child-state"), "runtime_dir": str(folder / "child-run"), "kubeconfig_out": None,
        "production": None, "hold_seconds": 600,
    }  # fmt: skip
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    await process.stdin.drain()
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert ready["ready"], ready
    return process, ready


async def _delete(client: Any, path: str) -> tuple[int, dict[str, Any]]:
    async with client.delete(path) as answer:
        return answer.status, await answer.json()
