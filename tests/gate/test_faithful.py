"""Reads pass as if the gate were not there: every byte, at once, in both directions' own time."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.proposal import ProposalState
from tests.gate.conftest import MERGE, Lab
from tests.gate.scripted import DEPLOYMENT
from tests.gate.test_holding import held
from tests.gate.test_tunnel import Wire, door, until, upstream, wire
from tests.gate.upgrading import PODS, Arrived

LOG = f"{PODS}/web-1/log?follow=true"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int, **fields: Any) -> bytes:
    metadata = {"name": f"a{number}", "uid": "u", "resourceVersion": str(number)}
    thing = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, **fields}
    return json.dumps({"type": "ADDED", "object": thing}, separators=(",", ":")).encode() + b"\n"


async def read_chunk(client: Wire) -> bytes:
    size = int(await client.reader.readuntil(b"\r\n"), 16)
    data = await client.read(size)
    assert await client.read(2) == b"\r\n"
    return data


async def read_chunks(client: Wire) -> bytes:
    whole = b""
    while data := await read_chunk(client):
        whole += data
    return whole


@contextlib.asynccontextmanager
async def fixed(folder: Path, answer: bytes) -> AsyncIterator[Lab]:
    """A cluster that gives these bytes to whatever is about pods, and then ends the connection."""

    async def says(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with door(folder, script=says, takes=lambda path: "/pods" in path) as here:
        yield here


class TestStreams:
    @pytest.mark.parametrize(
        ("target", "kind", "parts"),
        [
            (LOG, b"text/plain", [b"one\n", b"half a l", b"ine\n", b"\xff\x00\n"]),
            (f"{PODS}?watch=true", b"application/json", [event(n) for n in range(3)]),
            ("/api/v1/namespaces/shop/configmaps?watch=1", b"application/json", [event(n) for n in range(3)]),
            ("/apis/apps/v1/deployments?watch=1", b"application/json", [event(n) for n in range(3)]),
            ("/api/v1/namespaces/shop/events?watch=1", b"application/json", [event(1)[:20], event(1)[20:], event(2)]),
        ],
    )
    async def test_bring_each_part_before_the_next_is_sent(
        self, tmp_path: Path, target: str, kind: bytes, parts: list[bytes]
    ) -> None:
        arrived_there = [asyncio.Event() for _ in parts]

        async def waits(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED % kind)
            for part, seen in zip(parts, arrived_there, strict=True):
                writer.write(chunk(part))
                await asyncio.wait_for(seen.wait(), 20)
            writer.write(b"0\r\n\r\n")

        wanted = target.partition("?")[0]
        async with door(tmp_path, script=waits, takes=lambda path: path == wanted) as here, wire(here) as client:
            await client.ask("GET", target)
            assert (await client.head())[0] == 200
            for part, seen in zip(parts, arrived_there, strict=True):
                assert await read_chunk(client) == part
                seen.set()
            assert await read_chunk(client) == b""

    async def test_end_in_the_cluster_when_the_client_goes(self, tmp_path: Path) -> None:
        over = asyncio.Event()

        async def waits(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED % b"text/plain" + chunk(b"one\n"))
            assert await reader.read() == b""
            over.set()

        async with door(tmp_path, script=waits, takes=lambda path: path.endswith("/log")) as here, wire(here) as client:
            await client.ask("GET", LOG)
            await client.head()
            assert await read_chunk(client) == b"one\n"
            client.writer.close()
            await asyncio.wait_for(over.wait(), 20)

    async def test_of_a_log_of_a_hundred_thousand_lines_come_whole(self, tmp_path: Path) -> None:
        lines = b"".join(b"2026-11-25T00:00:00Z line %06d %032x\n" % (n, n * n) for n in range(100_000))

        async def says(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED % b"text/plain")
            for start in range(0, len(lines), 10_007):
                writer.write(chunk(lines[start : start + 10_007]))
                await writer.drain()
            writer.write(b"0\r\n\r\n")

        async with door(tmp_path, script=says, takes=lambda path: path.endswith("/log")) as here, wire(here) as client:
            await client.ask("GET", LOG)
            await client.head()
            whole = await read_chunks(client)
        assert hashlib.sha256(whole).digest() == hashlib.sha256(lines).digest()

    async def test_that_break_off_break_off_at_the_client_too(self, tmp_path: Path) -> None:
        async with (
            fixed(tmp_path, CHUNKED % b"text/plain" + chunk(b"one\n") + b"5\r\ntw") as here,
            wire(here) as client,
        ):
            await client.ask("GET", LOG)
            await client.head()
            said = b""
            with contextlib.suppress(ConnectionError):
                while part := await client.reader.read(65536):
                    said += part
            assert said.startswith((b"4\r\none\n\r\n", b"6\r\none\ntw"))
            assert not said.endswith(b"0\r\n\r\n")


class TestAnswers:
    async def test_without_a_length_end_with_the_connection_and_come_whole(self, tmp_path: Path) -> None:
        body = hashlib.shake_128(b"log").digest(1_000_000)
        async with (
            fixed(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body) as here,
            wire(here) as client,
        ):
            await client.ask("GET", LOG)
            _, headers = await client.head()
            assert headers["transfer-encoding"] == "chunked"
            assert await read_chunks(client) == body

    async def test_keep_status_headers_and_bytes(self, tmp_path: Path) -> None:
        body = b'{"kind":"Status",  "odd":\t1.50}\n'
        given = [
            b"HTTP/1.1 429 Too Many Requests", b"Content-Type: application/json", b"Retry-After: 7", b"Audit-Id: a-1",
            b"Warning: 299 - old", b"Warning: 299 - older", b"X-Kubernetes-Pf-Flowschema-Uid: f",
            b"Cache-Control: no-cache, private", b"Date: Mon, 01 Jan 2024 00:00:00 GMT", b"Server: s",
            b"Connection: close, X-Mine", b"X-Mine: hop", b"Set-Cookie: a=b", b"Content-Length: %d" % len(body), b"",
            body,
        ]  # fmt: skip
        async with fixed(tmp_path, b"\r\n".join(given)) as here, wire(here) as client:
            await client.ask("GET", LOG)
            head = (await client.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            assert head[0] == given[0]
            # What is left out belongs to one connection or would be kept by a browser.
            left_out = (b"Connection", b"X-Mine", b"Set-Cookie")
            assert sorted(head[1:-2]) == sorted(x for x in given[1:-2] if not x.startswith(left_out))
            assert await client.read(len(body)) == body

    @pytest.mark.parametrize("target", [LOG, "/api/v1/namespaces/shop/events", "/api/v1/nodes"])
    async def test_stay_compressed_where_nothing_is_taken_out(self, tmp_path: Path, target: str) -> None:
        body = gzip.compress(b'{"kind":"List"}' * 1000, mtime=0)

        async def says(arrived: Arrived, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert arrived.header("accept-encoding") == "gzip, br"
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)

        wanted = target.partition("?")[0]
        async with door(tmp_path, script=says, takes=lambda path: path == wanted) as here, wire(here) as client:
            await client.ask("GET", target, {"Accept-Encoding": "gzip, br"})
            _, headers = await client.head()
            assert headers["content-encoding"] == "gzip"
            assert await client.read(len(body)) == body

    async def test_to_head_have_a_length_and_no_body(self, tmp_path: Path) -> None:
        async with fixed(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n") as here, wire(here) as client:
            await client.ask("HEAD", f"{PODS}/web-1/log")
            assert (await client.head())[1]["content-length"] == "1234"
            await client.ask("GET", "/version")
            assert (await client.answer())[1] == {"gitVersion": "v1.36.2"}

    async def test_keep_the_client_s_own_request(self, tmp_path: Path) -> None:
        headers = {
            "Accept": "application/json;as=Table;g=meta.k8s.io;v=v1,application/json", "User-Agent": "kubectl/1",
            "Kubectl-Command": "kubectl get", "Traceparent": "00-1", "Connection": "keep-alive, X-Hop", "X-Hop": "1",
            "Cookie": "a=b", "TE": "trailers",
        }  # fmt: skip
        target = "/api/v1/events?fieldSelector=a%3Db%2Cc%21%3Dd&limit=500&continue=a%2Bb%2Fc%3D"
        async with door(tmp_path) as here, wire(here) as client:
            await client.ask("GET", target, headers)
            await client.answer()
            got = upstream(here).arrived[-1]
            assert got.target == target
            kept = ("Accept", "User-Agent", "Kubectl-Command", "Traceparent")
            assert {name: got.header(name.lower()) for name in kept} == {name: headers[name] for name in kept}
            assert not [name for name in ("x-hop", "cookie", "te") if got.header(name)]


class TestConnections:
    async def test_are_used_again_on_both_sides(self, tmp_path: Path) -> None:
        async with door(tmp_path) as here, wire(here) as client:
            await client.ask("GET", "/version")
            await client.answer()
            before = upstream(here).connections
            for _ in range(20):
                await client.ask("GET", "/version")
                assert (await client.answer())[0] == 200
            assert upstream(here).connections == before

    async def test_may_carry_the_next_request_before_the_answer(self, tmp_path: Path) -> None:
        async with door(tmp_path) as here, wire(here) as client:
            for path in ("/version", "/apis", "/version"):
                await client.ask("GET", path)
            kinds = [(await client.answer())[1].get("kind", "") for _ in range(3)]
            assert kinds == ["", "Status", ""]

    async def test_that_the_cluster_closes_do_not_fail_the_next_request(self, tmp_path: Path) -> None:
        async with fixed(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as here, wire(here) as client:
            for _ in range(5):
                await client.ask("GET", LOG)
                assert (await client.head())[0] == 200
                assert await client.read(2) == b"ok"

    async def test_that_a_client_closes_half_way_are_a_client_that_went_away(self, tmp_path: Path) -> None:
        # As in Go's HTTP server, which the API server is: a client that cannot speak any more is gone.
        async with door(tmp_path) as here, wire(here) as client:
            await client.ask("GET", "/version")
            await client.answer()
            body = b'{"spec":{"replicas":5}}'
            head = f"PATCH {DEPLOYMENT} HTTP/1.1\r\nHost: {here.gate.ready['data_url'][8:]}\r\n"
            head += f"Authorization: Bearer {here.client_token}\r\nContent-Type: {MERGE}\r\n"
            client.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            proposal = await held(here.control)
            plain = client.writer.get_extra_info("socket")
            plain.shutdown(1)
            await until(lambda: here.gate.broker.get(proposal.id).state is ProposalState.WITHDRAWN)
            assert here.server.writes == []

    async def test_with_a_chunked_body_are_read_as_one(self, tmp_path: Path) -> None:
        async with door(tmp_path) as here, wire(here) as client:
            review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            head = f"POST {review} HTTP/1.1\r\nHost: {here.gate.ready['data_url'][8:]}\r\n"
            head += f"Authorization: Bearer {here.client_token}\r\nContent-Type: application/json\r\n"
            client.writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for part in (b'{"kind":', b'"SelfSubjectAccessReview"}'):
                client.writer.write(chunk(part))
                await client.writer.drain()
            client.writer.write(b"0\r\n\r\n")
            assert (await client.answer())[0] == 201
            assert upstream(here).arrived[-1].body == b'{"kind":"SelfSubjectAccessReview"}'
