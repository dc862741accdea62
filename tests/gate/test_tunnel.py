"""exec, attach, port-forward and proxy: nothing opens without a yes, and then every byte passes as it is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Answer, CheckResult, Proposal, ProposalState
from assistant.gate.broker import Held
from assistant.store.sqlite import StoreFullError
from tests.gate.conftest import Lab, lab, not_decided, says
from tests.gate.test_holding import held
from tests.gate.upgrading import PODS, Arrived, Upgrading, echo, pod, switch

State = ProposalState
EXEC = f"{PODS}/web-1/exec?command=sh&command=-c&command=echo+%22a%20b%22&stdout=true&stdin=1&tty=false"
WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
}  # fmt: skip
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}


@contextlib.asynccontextmanager
async def door(folder: Path, **changes: Any) -> AsyncIterator[Lab]:
    async with lab(folder, Upgrading(**{"script": echo, **changes})) as made:
        yield made


class Wire:
    """A client on a bare socket."""

    def __init__(self, here: Lab, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.here, self.reader, self.writer = here, reader, writer

    async def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        host = self.here.gate.ready["data_url"].removeprefix("https://")
        sent = {
            "Host": host,
            "Authorization": f"Bearer {self.here.client_token}",
            "User-Agent": "raw/1",
            **(headers or {}),
        }
        if method == "POST":
            sent["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode()
        first, *lines = text.strip().split("\r\n")
        return int(first.split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}

    async def answer(self) -> tuple[int, dict[str, Any]]:
        status, headers = await self.head()
        return status, json.loads(await self.reader.readexactly(int(headers["content-length"])))

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), 20)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 20)


@contextlib.asynccontextmanager
async def wire(here: Lab) -> AsyncIterator[Wire]:
    host, _, port = here.gate.ready["data_url"].removeprefix("https://").partition(":")
    tls = ssl.create_default_context(cadata=here.gate.ready["ca_pem"])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield Wire(here, reader, writer)
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def opened(here: Lab, method: str = "GET", target: str = EXEC, **headers: str) -> AsyncIterator[tuple[Wire, str]]:
    async with wire(here) as client:
        await client.ask(method, target, headers or WEBSOCKET)
        proposal = await held(here.control)
        assert upstream(here).opened == []
        assert await here.control.decide(says(proposal)) is State.APPROVED
        status, _ = await client.head()
        assert status == 101
        yield client, proposal.id


def upstream(here: Lab) -> Upgrading:
    assert isinstance(here.server, Upgrading)
    return here.server


def passed(here: Lab) -> list[dict[str, Any]]:
    rows = here.gate.journal._db.query("SELECT data FROM entries WHERE kind = 'passed' ORDER BY seq")
    return [json.loads(row["data"]) for row in rows]


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            if true():
                return
            await asyncio.sleep(0)


def shown(proposal: Proposal) -> list[str]:
    return [f"{line.sign} {line.text}" for line in proposal.diff]


@pytest.mark.parametrize(
    ("method", "headers"), [("GET", WEBSOCKET), ("POST", WEBSOCKET), ("POST", SPDY), ("GET", SPDY)]
)
async def test_nothing_opens_before_the_yes_and_then_bytes_pass_both_ways(
    tmp_path: Path, method: str, headers: dict[str, str]
) -> None:
    async with door(tmp_path) as here, opened(here, method, **headers) as (client, proposal):
        for size in (1, 70_000, 1_000_000):
            data = hashlib.shake_128(b"any").digest(size)
            client.writer.write(data)
            assert await client.read(size) == data
        assert here.gate.journal.kinds(proposal) == ("proposed", "decided", "intent", "sent", "outcome")
        request = upstream(here).opened[0]
        assert (request.method, request.target) == (method, EXEC)
        assert request.header("authorization") == "Bearer up" + "stream"
        kept = {k: v for k, v in headers.items() if k not in ("Connection", "Upgrade")}
        assert {k: request.header(k.lower()) for k in kept} == kept
        assert len(upstream(here).opened) == 1


async def test_the_card_says_what_will_run(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC + "&container=web", WEBSOCKET)
        proposal = await held(here.control)
        assert proposal.request_class is RequestClass.CRITICAL
        assert proposal.typed_name == "web-1"
        assert proposal.title == "run in container web of Pod shop/web-1: sh -c 'echo \"a b\"'"
        assert proposal.kubectl == "kubectl -n shop exec -i web-1 -c web -- sh -c 'echo \"a b\"'"
        assert shown(proposal) == [
            "@ runs in container web of Pod shop/web-1, one argument a line", "+ sh", "+ -c", '+ echo "a b"',
            "@ streams", "  stdin yes, stdout yes, stderr no, a terminal no", "@ cannot be known",
            "  What is typed in the session cannot be inspected or undone; "
            "what comes back goes to the client unredacted.",
        ]  # fmt: skip
        assert proposal.undo.text.startswith("none")
        assert proposal.action.target.uid == "pod-uid-1"
        assert {c.name: c.result for c in proposal.checks} == {"access": CheckResult.PASS, "fresh": CheckResult.PASS}
        assert any("service account default" in line.text for line in proposal.impact)


@pytest.mark.parametrize(
    ("target", "headers", "says_ports"),
    [
        ("portforward", SPDY, "any port of the pod"),
        ("portforward?ports=80", SPDY, "any port of the pod"),
        ("portforward?ports=80", WEBSOCKET, "port 80"),
        ("portforward?ports=80&ports=443", WEBSOCKET, "ports 80, 443"),
        (
            "portforward?ports=80",
            {**WEBSOCKET, "Sec-WebSocket-Protocol": "SPDY/3.1+portforward.k8s.io"},
            "any port of the pod",
        ),
    ],
)
async def test_the_card_names_ports_only_where_the_request_binds_them(
    tmp_path: Path, target: str, headers: dict[str, str], says_ports: str
) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("POST", f"{PODS}/web-1/{target}", headers)
        proposal = await held(here.control)
        assert proposal.title == f"forward {says_ports} to Pod shop/web-1"
        assert f"+ to {says_ports} (Pod shop/web-1)" in shown(proposal)


async def test_a_container_that_is_not_there_or_not_named_is_said(tmp_path: Path) -> None:
    async with door(tmp_path) as here:
        here.server.objects[f"{PODS}/web-1"] = pod("u", "a", "b")
        for query, words in (("", "names no container and the pod has 2"), ("&container=x", "no container x")):
            async with wire(here) as client:
                await client.ask("GET", EXEC + query, WEBSOCKET)
                proposal = await held(here.control)
                assert any(words in check.text for check in proposal.checks)
                await here.control.decide(says(proposal, Answer.DENY))
                assert (await client.answer())[0] == 403


async def test_a_command_that_cannot_be_shown_whole_cannot_be_approved(tmp_path: Path) -> None:
    value = "hunter2" + "-of-nobody-at-all"
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", f"{PODS}/web-1/exec?command=mysql&command=--password&command={value}", WEBSOCKET)
        proposal = await held(here.control)
        assert value not in repr(proposal)
        assert "looks secret" in proposal.not_approvable
        assert await not_decided(here.control, says(proposal))
        assert upstream(here).opened == []


@pytest.mark.parametrize(
    ("method", "target", "headers", "code"),
    [
        ("GET", EXEC, {}, 400),
        ("PUT", EXEC, WEBSOCKET, 400),
        ("GET", EXEC, {**WEBSOCKET, "Upgrade": "h2c"}, 403),
        ("GET", EXEC, {"Upgrade": "websocket"}, 403),
        ("GET", EXEC + "&dryRun=All", WEBSOCKET, 400),
        ("GET", f"{PODS}/web-1/exec?stdin=true", WEBSOCKET, 400),
        ("GET", f"{PODS}/web-1/exec?command=a&stdin=1&stdin=0", WEBSOCKET, 400),
        ("GET", f"{PODS}/web-1/attach?command=a&command=b", WEBSOCKET, 400),
        ("GET", f"{PODS}/gone/exec?command=a", WEBSOCKET, 404),
        ("GET", f"{PODS}/web-1/exec?command=sh&command=x%3D%5BREDACTED:field:01234567%5D&command=y", WEBSOCKET, 422),
        ("GET", "/apis/x.example.com/v1/namespaces/shop/things/a/exec?command=a", WEBSOCKET, 403),
        ("GET", "/api/v1/namespaces/shop/services/a/exec?command=a", WEBSOCKET, 403),
        ("GET", f"{PODS}/web-1/exec/more?command=a", WEBSOCKET, 403),
        ("GET", PODS, WEBSOCKET, 403),
        ("GET", EXEC, {**WEBSOCKET, "Impersonate-User": "root"}, 403),
        ("GET", EXEC, {**WEBSOCKET, "Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.YQ, v5"}, 403),
    ],
)
async def test_what_the_server_could_read_otherwise_is_refused_at_once(
    tmp_path: Path, method: str, target: str, headers: dict[str, str], code: int
) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask(method, target, headers)
        status, body = await client.answer()
        assert (status, body["kind"]) == (code, "Status")
        assert upstream(here).opened == []
        assert await here.control.proposals() == ()


@pytest.mark.parametrize(("origin", "code"), [("own", 101), ("https://evil.example", 403), ("http://own", 403)])
async def test_only_the_gate_itself_may_be_the_origin_of_a_websocket(tmp_path: Path, origin: str, code: int) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        own = str(here.gate.ready["data_url"])
        named = own if origin == "own" else origin.replace("http://own", own.replace("https", "http"))
        await client.ask("GET", EXEC, {**WEBSOCKET, "Origin": named})
        if code == 101:
            await here.control.decide(says(await held(here.control)))
        assert (await client.head())[0] == code
        async with wire(here) as reading:
            await reading.ask("GET", f"{PODS}/web-1", {"Origin": named})
            assert (await reading.head())[0] == 403


async def test_a_session_with_a_body_is_refused(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("POST", EXEC, SPDY, b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.answer())[0] == 400


async def test_a_denied_session_never_opens_and_the_client_hears_why(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        await here.control.decide(says(await held(here.control), Answer.DENY, reason="not in production"))
        status, body = await client.answer()
        assert (status, "not in production" in body["message"]) == (403, True)
        # kubectl then tries the other protocol: the same question, the same answer, and nobody is asked again.
        async with wire(here) as again:
            await again.ask("POST", EXEC, SPDY)
            status, body = await again.answer()
            assert (status, "not in production" in body["message"]) == (403, True)
        assert len(await here.control.proposals()) == 1
        # By the same protocol, or for something else, it is a new question.
        async with wire(here) as other:
            await other.ask("POST", EXEC.replace("-c", "-x"), SPDY)
            await here.control.decide(says(await held(here.control), Answer.DENY))
            await other.answer()
        assert upstream(here).opened == []


async def test_a_client_that_goes_away_takes_its_request_back(tmp_path: Path) -> None:
    async with door(tmp_path) as here:
        async with wire(here) as client:
            await client.ask("GET", EXEC, WEBSOCKET)
            proposal = await held(here.control)
        await until(lambda: here.gate.broker.get(proposal.id).state is State.WITHDRAWN)
        assert await here.control.decide(says(proposal)) is State.WITHDRAWN
        assert upstream(here).opened == []


async def test_a_client_that_goes_away_while_it_opens_leaves_no_session(tmp_path: Path) -> None:
    reached, answer_now, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await answer_now.wait()
        writer.write(switch(arrived))
        assert await reader.read() == b""
        ended.set()

    async with door(tmp_path, script=late) as here:
        async with wire(here) as client:
            await client.ask("GET", EXEC, WEBSOCKET)
            proposal = await held(here.control)
            await here.control.decide(says(proposal))
            await asyncio.wait_for(reached.wait(), 10)
        await until(lambda: here.gate.broker.get(proposal.id).sending is not None)
        answer_now.set()
        await asyncio.wait_for(ended.wait(), 10)
        outcome = await here.control.outcome(proposal.id)
        assert outcome is not None
        assert outcome.state is State.APPLIED


async def test_another_pod_of_the_same_name_is_not_entered(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        here.server.objects[f"{PODS}/web-1"] = pod("pod-uid-2")
        assert await here.control.decide(says(proposal)) is State.VOID
        newer = await held(here.control)
        assert newer.supersedes == proposal.id
        assert newer.action.target.uid == "pod-uid-2"
        # Between the yes and the opening it is looked at once more.
        kept = here.gate.broker.get(newer.id)
        live = here.gate.broker._examiner.live

        async def replaced(target: str) -> tuple[int, dict[str, Any] | None]:
            if kept.state is State.APPROVED:
                here.server.objects[f"{PODS}/web-1"] = pod("pod-uid-3")
            return await live(target)

        here.gate.broker._examiner.live = replaced  # type: ignore[method-assign]
        await here.control.decide(says(newer))
        status, body = await client.answer()
        assert (status, "changed since you looked" in body["message"]) == (409, True)
        assert upstream(here).opened == []


async def test_a_right_that_was_lost_opens_nothing(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        kept = here.gate.broker.get(proposal.id)
        live = here.gate.broker._examiner.live

        async def loses(target: str) -> tuple[int, dict[str, Any] | None]:
            here.server.may = kept.state is not State.APPROVED
            return await live(target)

        here.gate.broker._examiner.live = loses  # type: ignore[method-assign]
        await here.control.decide(says(proposal))
        assert "no longer allowed" in (await client.answer())[1]["message"]
        assert upstream(here).opened == []


async def test_an_old_card_is_not_tried_first(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        kept = here.gate.broker.get(proposal.id)
        before = replace(kept.proposal, created=proposal.created - timedelta(minutes=5))
        kept.examined = replace(kept.examined, proposal=before)
        await here.control.decide(says(proposal))
        assert (await client.head())[0] == 101
        # For a change the dry run is made again; here a second request would be the thing itself.
        assert [item.method for item in upstream(here).arrived if "/exec" in item.target] == ["GET"]
        with pytest.raises(ValueError, match="no dry run"):
            kept.examined.prepared.dry()


async def test_a_pod_whose_status_moved_is_still_the_same_pod(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        here.server.touch(f"{PODS}/web-1")
        assert await here.control.decide(says(proposal)) is State.APPROVED
        assert (await client.head())[0] == 101


@pytest.mark.parametrize("change", ["raw", "carried", "method"])
async def test_other_bytes_than_the_approved_ones_open_nothing(tmp_path: Path, change: str) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        kept: Held = here.gate.broker.get(proposal.id)
        value: Any = (("Upgrade", "SPDY/3.1"),) if change == "carried" else "POST" if change == "method" else EXEC + "x"
        kept.examined = replace(kept.examined, prepared=replace(kept.examined.prepared, **{change: value}))
        await here.control.decide(says(proposal))
        assert "not the ones that were approved" in (await client.answer())[1]["message"]
        assert upstream(here).opened == []


async def test_the_name_has_to_be_typed(tmp_path: Path) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        assert await not_decided(here.control, says(proposal, typed_name=""))
        assert await not_decided(here.control, says(proposal, typed_name="web-2"))
        assert upstream(here).opened == []


async def test_a_journal_that_cannot_be_written_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)

        def full(*_: object) -> None:
            raise StoreFullError("The disk is full.", "Make room.")

        monkeypatch.setattr(here.gate.journal, "intent", full)
        await here.control.decide(says(proposal))
        status, body = await client.answer()
        assert (status, "journal cannot be written" in body["message"]) == (403, True)
        assert upstream(here).opened == []


async def test_an_observing_gate_opens_nothing(tmp_path: Path) -> None:
    async with lab(tmp_path, Upgrading(script=echo), mode="observe") as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        assert (await client.answer())[0] == 403
        assert upstream(here).opened == []


@pytest.mark.parametrize(
    ("answer", "state", "code"),
    [
        (
            b'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"kind":"Status"',
            State.FAILED,
            403,
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", State.UNKNOWN, 504),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", State.UNKNOWN, 504),
        (b"HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n", State.UNKNOWN, 504),
        (b"", State.UNKNOWN, 504),
    ],
)
async def test_an_answer_that_opens_nothing_is_told_as_it_is_and_not_tried_again(
    tmp_path: Path, answer: bytes, state: State, code: int
) -> None:
    async def says_no(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with door(tmp_path, script=says_no) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        proposal = await held(here.control)
        await here.control.decide(says(proposal))
        status, headers = await client.head()
        assert status == code
        assert "location" not in headers
        outcome = await here.control.outcome(proposal.id)
        assert outcome is not None
        assert outcome.state is state
        assert "Read again" not in outcome.message
        assert len(upstream(here).opened) == 1


class TestEnds:
    async def test_of_the_cluster_ends_the_client_after_its_last_byte(self, tmp_path: Path) -> None:
        data = hashlib.shake_128(b"last words").digest(3_000_000)

        async def speaks_first(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # In one write with the switch: nothing may be lost between the two.
            writer.write(switch(arrived) + data)
            await writer.drain()

        async with door(tmp_path, script=speaks_first) as here, opened(here) as (client, proposal):
            assert await client.rest() == data
            await until(lambda: passed(here))
            entry = passed(here)[0]
            assert (entry["ended"], entry["by"], entry["to_client"]) == (proposal, "cluster", len(data))

    @pytest.mark.parametrize("tls", [True, False])
    async def test_of_the_client_ends_the_cluster_after_its_last_byte(self, tmp_path: Path, tls: bool) -> None:
        got: list[bytes] = []
        data = hashlib.shake_128(b"upload").digest(3_000_000)
        slow = asyncio.Event()

        async def listens(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(switch(arrived))
            await slow.wait()
            got.append(await reader.read())

        async with door(tmp_path, script=listens, tls=tls) as here:
            async with opened(here, "POST", **SPDY) as (client, _):
                client.writer.write(data)
                slow.set()
                await client.writer.drain()
            await until(lambda: got)
            assert got == [data]
            await until(lambda: passed(here))
            assert (passed(here)[0]["by"], passed(here)[0]["to_cluster"]) == ("client", len(data))

    async def test_of_the_gate_ends_both(self, tmp_path: Path) -> None:
        async with door(tmp_path) as here, opened(here) as (client, _):
            await here.gate.tunnels.close()
            assert await client.rest() == b""
            assert [entry["by"] for entry in passed(here)] == ["gate"]

    async def test_of_all_changes_ends_both_for_good(self, tmp_path: Path) -> None:
        async with door(tmp_path) as here, opened(here) as (client, _):
            await here.control.stop("grace", "something is off")
            assert await client.rest() == b""
            async with wire(here) as late:
                await late.ask("GET", EXEC, WEBSOCKET)
                assert "stopped all changes" in (await late.answer())[1]["message"]
            assert len(upstream(here).opened) == 1

    async def test_of_all_changes_ends_one_that_is_being_opened(self, tmp_path: Path) -> None:
        reached, answer_now, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def late(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            await answer_now.wait()
            writer.write(switch(arrived))
            assert await reader.read() == b""
            over.set()

        async with door(tmp_path, script=late) as here, wire(here) as client:
            await client.ask("GET", EXEC, WEBSOCKET)
            await here.control.decide(says(await held(here.control)))
            await asyncio.wait_for(reached.wait(), 10)
            await here.control.stop("grace", "")
            answer_now.set()
            status, body = await client.answer()
            assert (status, "stopped" in body["message"]) == (502, True)
            await asyncio.wait_for(over.wait(), 10)


async def test_the_client_s_first_bytes_may_come_before_the_answer(tmp_path: Path) -> None:
    # Not proper, but what comes early belongs to the session and to nothing else.
    async with door(tmp_path) as here, wire(here) as client:
        await client.ask("GET", EXEC, WEBSOCKET)
        client.writer.write(b"GET /api/v1/pods HTTP/1.1\r\n\r\n")
        await here.control.decide(says(await held(here.control)))
        assert (await client.head())[0] == 101
        assert await client.read(29) == b"GET /api/v1/pods HTTP/1.1\r\n\r\n"
        assert [item.target for item in upstream(here).arrived if "pods" in item.target] == [f"{PODS}/web-1"] * 3 + [
            EXEC
        ]


async def test_an_idle_session_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(tmp_path) as here, opened(here) as (client, _):
        loop = asyncio.get_running_loop()
        clock = loop.time
        # A day later, for every timer of the loop at once: keep-alive, time limits, what waits to expire.
        monkeypatch.setattr(loop, "time", lambda: clock() + 86_400.0)
        for _ in range(100):
            await asyncio.sleep(0)
        client.writer.write(b"still here?")
        assert await client.reader.readexactly(11) == b"still here?"


async def test_nothing_waits_for_more(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def talks(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(switch(arrived))
        for number in range(3):
            writer.write(b"%d" % number)
            # The next one is said only when the client has answered the one before.
            assert await reader.readexactly(2) == b"k%d" % number
        told.set()

    async with door(tmp_path, script=talks) as here, opened(here) as (client, _):
        for number in range(3):
            assert await client.read(1) == b"%d" % number
            client.writer.write(b"k%d" % number)
        await asyncio.wait_for(told.wait(), 10)


async def test_a_side_that_does_not_read_stops_the_other(tmp_path: Path) -> None:
    wrote = 0

    async def floods(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal wrote
        writer.write(switch(arrived))
        while wrote < 200_000_000:
            writer.write(bytes(100_000))
            await writer.drain()
            wrote += 100_000

    async with door(tmp_path, script=floods) as here, opened(here):
        before = -1
        async with asyncio.timeout(20):
            while before != wrote or not wrote:
                before = wrote
                for _ in range(2000):
                    await asyncio.sleep(0)
        assert wrote < 30_000_000


class TestProxy:
    TARGET = "/api/v1/namespaces/shop/services/http:shop:web/proxy/api/v1/query?query=up&match[]=a&match[]=b"

    @staticmethod
    async def answers(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = f"{arrived.method} {arrived.target} {arrived.header('x-mine')} {arrived.body.decode()}".encode()
        writer.write(b"HTTP/1.1 418 Teapot\r\nX-App: 1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    @contextlib.asynccontextmanager
    async def door(self, folder: Path) -> AsyncIterator[Lab]:
        async with door(folder, script=self.answers, takes=lambda path: "/proxy" in path) as here:
            service = {"kind": "Service", "metadata": {"name": "shop", "uid": "s1", "resourceVersion": "1"}}
            here.server.objects["/api/v1/namespaces/shop/services/shop"] = service
            here.server.objects["/api/v1/nodes/n1"] = {"kind": "Node", "metadata": {"name": "n1", "uid": "n1"}}
            yield here

    @pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b'{"a": 1}'), ("DELETE", b"")])
    async def test_is_held_and_its_answer_passes_as_it_is(self, tmp_path: Path, method: str, body: bytes) -> None:
        async with self.door(tmp_path) as here, wire(here) as client:
            await client.ask(method, self.TARGET, {"X-Mine": "yes", "Content-Type": "application/json"}, body)
            proposal = await held(here.control)
            assert proposal.typed_name == "shop"
            asked = f"{method} /api/v1/query?query=up&match[]=a&match[]=b"
            assert proposal.title == f"{asked} through the proxy to Service shop/shop"
            assert [f"+ {asked}", "+ at http:shop:web"] == [x for x in shown(proposal) if x[0] == "+"][:2]
            assert not body or f"+ {body.decode()}" in shown(proposal)
            assert upstream(here).opened == []
            await here.control.decide(says(proposal))
            status, headers = await client.head()
            assert (status, headers["x-app"]) == (418, "1")
            said = await client.read(int(headers["content-length"]))
            assert said.decode() == f"{method} {self.TARGET} yes {body.decode()}"
            assert len(upstream(here).opened) == 1

    async def test_of_a_node_says_what_the_kubelet_can_do(self, tmp_path: Path) -> None:
        async with self.door(tmp_path) as here, wire(here) as client:
            await client.ask("GET", "/api/v1/nodes/n1/proxy/")
            proposal = await held(here.control)
            assert proposal.title == "GET / through the proxy to Node n1"
            assert "every pod of the node" in proposal.impact[0].text

    async def test_with_a_body_that_nobody_can_read_is_refused(self, tmp_path: Path) -> None:
        async with self.door(tmp_path) as here, wire(here) as client:
            await client.ask("POST", self.TARGET, body=b"\xff\xfe")
            assert (await client.answer())[0] == 415


async def test_our_own_session_cannot_ask_for_one(tmp_path: Path) -> None:
    from assistant.domain.action import Action
    from assistant.errors import GateError
    from tests.gate.conftest import OURS, WEB

    async with door(tmp_path) as here:
        for sub in ("exec", "proxy"):
            with pytest.raises(GateError):
                await here.control.propose(Action("POST", f"{PODS}/web-1/{sub}", WEB), OURS, "k")
