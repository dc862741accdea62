"""A server that does not answer: the phase and the seconds are named, and whoever waits can go at once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.cluster.client import Patience
from assistant.domain.proposal import CheckResult, ProposalState
from assistant.errors import ClusterError
from assistant.gate.context import load
from assistant.gate.failures import UpstreamError
from assistant.gate.upstream import Upstream
from tests.faults.api.bench import Bench, bench
from tests.faults.api.wire import Seen, Wire, Writer, failing, head
from tests.gate.conftest import says

State = ProposalState
SHORT = 0.3


async def silent(seen: Seen, writer: Writer) -> None:
    """Read the request and never answer."""
    await asyncio.Event().wait()


async def stuck(seen: Seen, writer: Writer) -> None:
    """Begin an answer and never go on."""
    writer.write(head(200, {"Content-Type": "application/json", "Content-Length": "5000"}) + b'{"kind":"PodList",')
    await writer.drain()
    await asyncio.Event().wait()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECT_SECONDS", "FIRST_BYTE_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(f"assistant.gate.upstream.{name}", SHORT)


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port whose queue of connections is full: a connection is neither made nor refused."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def upstream(folder: Path, url: str) -> Upstream:
    wire = Wire()
    wire.url = url
    return load(wire.kubeconfig(folder / "kubeconfig"), None, ())


async def failure(way: Upstream) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await way.fetch("GET", "/version", {}, None, 5.0, 1000)
    await way.close()
    return caught.value


class TestThePhaseIsNamed:
    async def test_while_the_connection_is_made(self, tmp_path: Path, short: None) -> None:
        with deaf() as port:
            error = await failure(upstream(tmp_path, f"http://127.0.0.1:{port}"))
        assert re.search(r"no connection was made in 0\.\d s", error.meaning)
        assert error.status == 504

    async def test_during_the_tls_handshake(self, tmp_path: Path, short: None) -> None:
        async def mute(reader: asyncio.StreamReader, writer: Writer) -> None:
            await asyncio.Event().wait()

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        error = await failure(upstream(tmp_path, f"https://127.0.0.1:{port}"))
        server.close()
        assert re.search(r"the TLS handshake did not end in 0\.\d s", error.meaning)

    async def test_while_the_answer_is_waited_for(self, tmp_path: Path, short: None) -> None:
        async with bench(tmp_path) as it:
            it.wire.faults["list"] = [silent]
            ended = await it.read("list")
        assert not ended.ok
        assert re.search(r"the answer did not come or did not end in 0\.\d s", ended.result)

    async def test_when_the_name_is_not_resolved(self, tmp_path: Path) -> None:
        error = await failure(upstream(tmp_path, "http://nowhere.invalid:6443"))
        assert "name cannot be resolved" in error.meaning

    async def test_when_nobody_listens(self, tmp_path: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        error = await failure(upstream(tmp_path, f"http://127.0.0.1:{port}"))
        assert "nothing listens there" in error.meaning


class TestReads:
    @pytest.mark.parametrize("operation", ["list", "log"])
    @pytest.mark.parametrize(("fault", "phase"), [(silent, "waiting for its first byte"), (stuck, "reading it")])
    async def test_are_given_up_by_our_own_reader_with_what_it_waited_for(
        self, tmp_path: Path, operation: str, fault: object, phase: str
    ) -> None:
        async with bench(tmp_path, patience=Patience(SHORT, SHORT)) as it:
            it.wire.faults[operation] = [fault] * 3  # type: ignore[list-item]
            with pytest.raises(ClusterError) as caught:
                await (it.client.list("/api/v1/namespaces/shop/pods") if operation == "list" else
                       it.client.log("shop", "web-1", "web"))  # fmt: skip
            assert f"0.3 s went by {phase}" in caught.value.meaning
            assert len(it.wire.of(operation)) == 1, "a time-out is not waited for three times"

    @pytest.mark.parametrize("fault", [silent, stuck])
    @pytest.mark.parametrize("operation", ["list", "log"])
    async def test_can_be_cancelled_within_a_second(self, it: Bench, operation: str, fault: object) -> None:
        arrived = asyncio.Event()

        async def told(seen: Seen, writer: Writer) -> None:
            arrived.set()
            await fault(seen, writer)  # type: ignore[operator]

        it.wire.faults[operation] = [told]
        reading = asyncio.create_task(it.read(operation))
        await asyncio.wait_for(arrived.wait(), 10)
        began = time.monotonic()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert time.monotonic() - began < 1.0

    async def test_can_be_cancelled_while_they_wait_for_a_busy_server(self, it: Bench) -> None:
        waiting = asyncio.Event()

        async def for_ever(seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        it.client._sleep = for_ever
        it.wire.faults["list"] = [failing(429, Retry_After="60")]
        reading = asyncio.create_task(it.read("list"))
        await asyncio.wait_for(waiting.wait(), 10)
        began = time.monotonic()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert time.monotonic() - began < 1.0


class TestChanges:
    async def test_that_get_no_answer_are_unknown_and_sent_once(self, tmp_path: Path, short: None) -> None:
        async with bench(tmp_path) as it:
            outcome = await it.change(silent, silent)
            assert outcome.state is State.UNKNOWN
            assert re.search(r"did not come or did not end in 0\.\d s", outcome.message)
            assert "the object is as it was" in outcome.message
            assert len(it.wire.of("mutate")) == 1

    async def test_whose_answer_stops_half_way_were_applied(self, tmp_path: Path, short: None) -> None:
        async with bench(tmp_path) as it:
            outcome = await it.change(stuck)
            assert outcome.state is State.APPLIED
            assert "not whole" in outcome.message
            assert len(it.wire.of("mutate")) == 1

    async def test_whose_connection_is_never_made_were_not_sent(
        self, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with bench(tmp_path) as it:
            proposal = await it.propose()
            await it.lab.control.decide(says(proposal))
            with deaf() as port:
                real = Upstream.write

                def elsewhere(way: Upstream, *request: Any) -> Any:
                    way.server = f"http://127.0.0.1:{port}"
                    return real(way, *request)

                monkeypatch.setattr(Upstream, "write", elsewhere)
                outcome = await it.lab.control.execute(proposal.id)
            assert outcome.state is State.FAILED
            assert "Nothing was sent" in outcome.message
            assert "no connection was made" in outcome.message
            assert it.wire.of("mutate") == []


class TestDryRuns:
    async def test_without_an_answer_are_unknown(self, tmp_path: Path, short: None) -> None:
        async with bench(tmp_path) as it:
            it.wire.faults["dry run"] = [silent]
            proposal = await it.propose()
            check = {c.name: c for c in proposal.checks}["dry run"]
            assert check.result is CheckResult.UNKNOWN
            assert "did not answer in time" in check.text


class TestDeadNetwork:
    """What no packet says: only probes of the system find out (15 s + 3 x 10 s = 45 s)."""

    async def test_is_probed_for_on_every_connection_to_the_server(self, it: Bench) -> None:
        arrived = asyncio.Event()

        async def noted(seen: Seen, writer: Writer) -> None:
            arrived.set()
            await silent(seen, writer)

        it.wire.faults["watch"] = [noted]
        async with it.lab.client() as client:
            asking = asyncio.create_task(client.get("/api/v1/namespaces/shop/pods?watch=true"))
            await asyncio.wait_for(arrived.wait(), 10)
            session = it.lab.gate.upstream.session()
            assert session.connector is not None
            held = [p.transport.get_extra_info("socket") for p in session.connector._acquired if p.transport]
            asking.cancel()
            options = [
                [s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
                + [s.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in PROBES if hasattr(socket, n)]
                for s in held
            ]
            assert options and all(found == [1, 15, 10, 3] for found in options)


PROBES = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
