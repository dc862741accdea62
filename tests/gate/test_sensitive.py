"""Sensitive reads: asked once per object and client, the answer to that client only, never to our own session."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Answer, CheckResult, ProposalState
from assistant.store.sqlite import StoreFullError
from tests.gate.conftest import Lab, lab, says
from tests.gate.test_holding import held
from tests.gate.test_tunnel import passed

State = ProposalState
METRICS = b"# TYPE up gauge\nup 1\n"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKEN = "eyJhbGciOi" + "J.of-nobody"


@pytest.fixture(autouse=True)
def served(here: Lab) -> None:
    here.server.raw["/metrics"] = (200, {"Content-Type": "text/plain"}, METRICS)
    user = b'{"kind":"TokenReview","status":{"authenticated":true}}'
    here.server.raw[REVIEW] = (201, {"Content-Type": "application/json"}, user)


def foreign(here: Lab, agent: str = "prometheus/3") -> Any:
    return here.client(**{"Authorization": f"Bearer {here.client_token}", "User-Agent": agent})


async def get(client: aiohttp.ClientSession, path: str = "/metrics") -> tuple[int, bytes]:
    async with client.get(path) as answer:
        return answer.status, await answer.read()


async def review(client: aiohttp.ClientSession, token: str) -> tuple[int, bytes]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    async with client.post(REVIEW, json=body) as answer:
        return answer.status, await answer.read()


def asked(here: Lab, path: str = "/metrics") -> int:
    return len([request for request in here.server.requests if request.path == path])


async def test_one_is_asked_once_and_then_passes_for_that_client(here: Lab) -> None:
    async with foreign(here) as client, foreign(here, "curl/8") as other:
        first = asyncio.create_task(get(client))
        proposal = await held(here.control)
        assert asked(here) == 0
        assert proposal.request_class is RequestClass.SENSITIVE
        assert (proposal.title, proposal.typed_name) == ("read path /metrics", "")
        assert "nothing changes" in proposal.impact[0].text
        assert [c.result for c in proposal.checks] == [CheckResult.PASS]
        assert await here.control.decide(says(proposal)) is State.APPROVED
        assert await first == (200, METRICS)
        assert here.gate.journal.kinds(proposal.id) == ("proposed", "decided", "intent", "sent", "outcome")

        assert await get(client) == (200, METRICS)
        assert passed(here)[-1] == {
            "method": "GET", "path": "/metrics", "client": "prometheus/3", "token": "default",
            "granted": proposal.id,
        }  # fmt: skip
        # Another client, another object: another question.
        for question in (get(other), get(client, "/metrics/slis")):
            task = asyncio.create_task(question)
            await here.control.decide(says(await held(here.control), Answer.DENY))
            assert (await task)[0] == 403
        assert asked(here) == 2


async def test_a_no_is_no_yes_for_the_next_time(here: Lab) -> None:
    async with foreign(here) as client:
        for _ in range(2):
            task = asyncio.create_task(get(client))
            await here.control.decide(says(await held(here.control), Answer.DENY, reason="not yours"))
            status, body = await task
            assert (status, b"not yours" in body) == (403, True)
    assert asked(here) == 0


async def test_a_token_under_review_is_shown_and_kept_nowhere(here: Lab) -> None:
    async with foreign(here) as client:
        task = asyncio.create_task(review(client, TOKEN))
        proposal = await held(here.control)
        assert TOKEN not in repr(proposal)
        assert any("TokenReview" in line.text for line in proposal.diff)
        assert any("[REDACTED:token:" in line.text for line in proposal.diff)
        await here.control.decide(says(proposal))
        assert (await task)[0] == 201
        assert here.server.requests[-1].body["spec"]["token"] == TOKEN
        # The answer for another token is another question.
        second = asyncio.create_task(review(client, TOKEN + "2"))
        await here.control.decide(says(await held(here.control), Answer.DENY))
        assert (await second)[0] == 403
        assert (await review(client, TOKEN))[0] == 201
    for file in (here.folder / "state").iterdir():
        assert TOKEN.encode() not in file.read_bytes()


async def test_a_yes_to_a_text_is_none_to_bytes_that_only_look_like_it(here: Lab) -> None:
    text = json.dumps({"kind": "TokenReview", "spec": {"token": TOKEN + "\ufffd"}}, ensure_ascii=False)
    headers = {"Content-Type": "application/json"}
    async with foreign(here) as client:
        task = asyncio.create_task(_post(client, text.encode(), headers))
        await here.control.decide(says(await held(here.control)))
        assert await task == 201
        for not_text in (b"\xff", b"\xfe", b"\xed\xa0\x80"):
            assert await _post(client, text.encode().replace("\ufffd".encode(), not_text), headers) in (400, 415)
    assert asked(here, REVIEW) == 1


async def _post(client: aiohttp.ClientSession, body: bytes, headers: dict[str, str]) -> int:
    async with client.post(REVIEW, data=body, headers=headers) as answer:
        return answer.status


async def test_our_own_session_never_gets_one(here: Lab) -> None:
    async with foreign(here) as client:
        task = asyncio.create_task(get(client))
        await here.control.decide(says(await held(here.control)))
        await task
    async with here.client(**{"User-Agent": "prometheus/3"}) as own:
        status, body = await get(own)
        assert (status, b"could reach a model" in body) == (403, True)
        assert (await review(own, TOKEN))[0] == 403
    assert asked(here) == 1
    assert len(await here.control.proposals()) == 1


async def test_a_journal_that_cannot_be_written_stops_a_granted_one(here: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with foreign(here) as client:
        task = asyncio.create_task(get(client))
        await here.control.decide(says(await held(here.control)))
        await task

        def full(*_: object) -> None:
            raise StoreFullError("The disk is full.", "Make room.")

        monkeypatch.setattr(here.gate.journal, "passed", full)
        assert (await get(client))[0] == 503
    assert asked(here) == 1


async def test_a_stop_takes_a_yes_back(here: Lab) -> None:
    async with foreign(here) as client:
        task = asyncio.create_task(get(client))
        await here.control.decide(says(await held(here.control)))
        await task
        await here.control.stop("grace", "")
        status, body = await get(client)
        assert (status, b"stopped all changes" in body) == (403, True)
    assert asked(here) == 1


async def test_a_failed_one_is_asked_again(here: Lab) -> None:
    here.server.raw["/metrics"] = (500, {}, b"")
    async with foreign(here) as client:
        for _ in range(2):
            task = asyncio.create_task(get(client))
            proposal = await held(here.control)
            await here.control.decide(says(proposal))
            assert (await task)[0] == 500
            outcome = await here.control.outcome(proposal.id)
            assert outcome is not None
            assert (outcome.state, "nothing changed" in outcome.message) == (State.FAILED, True)


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [(b"{", "application/json", 400), (b"[]", "application/json", 400), (b"k8s\0", "application/protobuf", 415)],
)
async def test_one_that_cannot_be_shown_is_refused(here: Lab, body: bytes, kind: str, code: int) -> None:
    async with foreign(here) as client, client.post(REVIEW, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == code
    assert asked(here, REVIEW) == 0


async def test_an_observing_gate_gives_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with lab(tmp_path_factory.mktemp("second"), mode="observe") as watching, foreign(watching) as client:
        status, body = await get(client)
        assert (status, json.loads(body)["kind"]) == (403, "Status")
