"""Answers that are slow, huge or packed to be huge: memory stays bounded, and what is cut says so."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yarl

from assistant.cluster.client import Patience
from assistant.cluster.status import TooLargeError
from assistant.domain.view import Knowledge
from assistant.errors import ClusterError
from assistant.policy import limits
from tests.faults.api.bench import Bench, bench
from tests.faults.api.wire import JSON, LOG, PODS, Fault, Seen, Writer, answering, chunk, head

MIB = 1024 * 1024
STREAMED_MIB = 256
"""How much the memory tests stream; by hand they were run with 1024."""

SERVICES = "/api/v1/namespaces/shop/services"
ROW = json.dumps({"metadata": {"name": "p", "namespace": "shop", "annotations": {"text": "x" * 4000}}}).encode()


def endless(mebibytes: int, sent: list[int] | None = None) -> Fault:
    """Stream a list of that size, whatever the client's limit was."""

    async def fault(seen: Seen, writer: Writer) -> None:
        rows = (ROW + b",") * (MIB // (len(ROW) + 1))
        writer.write(head(200, {**JSON, "Transfer-Encoding": "chunked"}))
        writer.write(chunk(b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":['))
        for _ in range(mebibytes):
            writer.write(chunk(rows))
            await writer.drain()
            if sent is not None:
                sent[0] += len(rows)
        writer.write(chunk(ROW + b"]}") + b"0\r\n\r\n")
        await writer.drain()

    return fault


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def growth(work: Callable[[], Awaitable[Any]]) -> int:
    """Return how much memory this process, gate and reader in it, grew at most while `work` ran."""
    before, peak = resident(), 0

    async def look() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident())
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    await work()
    looking.cancel()
    return max(peak, resident()) - before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
class TestMemory:
    async def test_of_the_gate_does_not_grow_with_a_list_that_passes(self, it: Bench) -> None:
        it.wire.faults["list"] = [endless(STREAMED_MIB)]
        received = 0

        async def drink() -> None:
            nonlocal received
            async with it.lab.client() as client, client.get(PODS, timeout=None) as answer:
                async for data in answer.content.iter_any():
                    received += len(data)

        assert await growth(drink) < 64 * MIB
        assert received > STREAMED_MIB * MIB * 0.99

    async def test_of_the_reader_stays_below_its_bound_when_the_server_ignores_the_limit(self, it: Bench) -> None:
        sent = [0]
        it.wire.faults["list"] = [endless(STREAMED_MIB, sent)] * 4

        async def read() -> None:
            ended = await it.read("list")
            assert not ended.ok
            assert "larger than 64 MiB" in ended.result

        assert await growth(read) < 400 * MIB
        limits_asked = [yarl.URL(s.target, encoded=True).query["limit"] for s in it.wire.of("list")]
        assert limits_asked == ["500", "50", "5", "1"]
        assert sent[0] < 4 * (limits.READ_PAGE_BYTES + 32 * MIB), "no more is read than was wanted"
        assert it.reader.view.knowledge("pods", "shop") is Knowledge.FAILED

    @pytest.mark.parametrize("packed", ["gzip", "deflate"])
    async def test_of_the_reader_stays_below_its_bound_for_an_answer_that_unpacks_to_a_gigabyte(
        self, it: Bench, packed: str
    ) -> None:
        blown = _bomb(packed)
        assert len(blown) < 8 * MIB
        it.wire.raw[SERVICES] = (200, {**JSON, "Content-Encoding": packed}, blown)

        async def read() -> None:
            with pytest.raises(ClusterError) as caught:
                await it.client.get_json(SERVICES)
            assert isinstance(caught.value, TooLargeError) or "packed" in caught.value.meaning

        assert await growth(read) < 300 * MIB


def _bomb(packed: str) -> bytes:
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31 if packed == "gzip" else 15)
    zeros = b" " * MIB
    return b"".join([squeezer.compress(zeros) for _ in range(1024)] + [squeezer.flush()])


class TestPackedAnswers:
    @pytest.mark.parametrize("path", [PODS, "/api/v1/namespaces/shop/configmaps", PODS + "?watch=true"])
    async def test_about_values_that_have_to_be_taken_out_are_withheld(self, it: Bench, path: str) -> None:
        secret = "hun" + "ter2-" + "value"
        env = {"name": "DB_PASSWORD", "value": secret}
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "env": [env]}]}}
        data = gzip.compress(json.dumps({"kind": "PodList", "items": [pod]}).encode())
        fault = answering(200, data, Content_Encoding="gzip")
        for operation in ("list", "watch", "other"):
            it.wire.faults[operation] = [fault]
        async with it.lab.client() as client, client.get(path) as answer:
            body = await answer.read()
            assert answer.status == 502
            assert b"withheld" in body
            assert secret.encode() not in body
            assert data not in body

    async def test_that_are_not_what_they_say_are_a_failure(self, it: Bench) -> None:
        it.wire.raw[SERVICES] = (200, {**JSON, "Content-Encoding": "gzip"}, b"this is no gzip")
        with pytest.raises(ClusterError) as caught:
            await it.client.get_json(SERVICES)
        assert "unpacked" in caught.value.meaning


class TestSlowAnswers:
    async def test_of_a_byte_now_and_then_are_given_up_with_what_came(self, tmp_path: Path) -> None:
        async def trickle(seen: Seen, writer: Writer) -> None:
            writer.write(head(200, {**JSON, "Content-Length": "5000"}))
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with bench(tmp_path, patience=Patience(5.0, 0.4)) as it:
            it.wire.faults["list"] = [trickle] * 3
            ended = await it.read("list")
            assert not ended.ok
            assert "0.4 s went by reading it" in ended.result
            assert "bytes came" in ended.result


def many(total: int, each: int = 10, honest: bool = True) -> Fault:
    """Serve a list of `total` pods of at least `each` bytes, page by page as the client asks."""

    async def fault(seen: Seen, writer: Writer) -> None:
        query = yarl.URL(seen.target, encoded=True).query
        start, size = int(query.get("continue", "0")), int(query["limit"])
        stop = min(start + size, total)
        meta = {"continue": str(stop), "remainingItemCount": total - stop} if stop < total else {}
        if not honest:
            meta.pop("remainingItemCount", None)
        pods = [{"metadata": {"name": f"p{n}", "namespace": "shop", "x": "x" * each}} for n in range(start, stop)]
        await answering(200, {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": pods})(seen, writer)

    return fault


class TestLongLists:
    async def test_of_more_pods_than_are_kept_are_cut_and_say_so(self, it: Bench) -> None:
        it.wire.faults["list"] = [many(100_000)] * 130
        ended = await it.read("list")
        assert "showing 60,000 of 100,000" in ended.result
        assert len(it.reader.view.all("pods", "shop")) == 60_000
        assert len(it.wire.of("list")) == 120
        assert any("showing 60,000" in line for line in " ".join(it.screen.plain).split("; "))
        assert not it.reader.view.complete("pods", "shop"), "what was cut off is not known"
        assert any("showing 60,000" in why for _, _, _, why in it.reader.view.gaps())

    async def test_whose_length_the_server_does_not_tell_are_cut_and_say_so(
        self, it: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "READ_KEPT_OBJECTS", 2_000)
        it.wire.faults["list"] = [many(9_000, honest=False)] * 20
        assert "showing 2,000 of more" in (await it.read("list")).result
        assert not it.reader.view.complete("pods", "shop")

    async def test_of_50000_pods_are_whole(self, it: Bench) -> None:
        it.wire.faults["list"] = [many(50_000)] * 110
        ended = await it.read("list")
        assert "showing" not in ended.result
        assert len(it.reader.view.all("pods", "shop")) == 50_000
        assert it.reader.view.complete("pods", "shop")

    async def test_of_other_kinds_are_cut_at_25000(self, it: Bench) -> None:
        it.wire.faults["list"] = [many(100_000)] * 60
        listing = await it.client.list(PODS)
        assert (len(listing.items), listing.cut) == (25_000, "showing 25,000 of 100,000")

    async def test_with_pages_that_are_too_large_are_asked_for_in_smaller_ones(
        self, it: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "READ_PAGE_BYTES", MIB)
        it.wire.faults["list"] = [many(20, 100_000)] * 30
        assert (await it.read("list")).ok
        assert [pod.name for pod in it.reader.view.all("pods", "shop")] == [f"p{n}" for n in range(20)]

    async def test_with_one_object_of_5_mb_are_read(self, it: Bench) -> None:
        it.wire.faults["list"] = [many(1, 5 * MIB)]
        ended = await it.read("list")
        assert ended.ok
        assert ended.size_bytes > 5 * MIB
        assert len(repr(it.screen.events)) < 20_000, "what is shown does not grow with it"


class TestLogs:
    async def test_with_a_line_of_10_mb_are_cut_and_say_so(self, it: Bench) -> None:
        it.wire.raw[LOG] = (200, {"Content-Type": "text/plain"}, b"x" * (10 * MIB))
        ended = await it.read("log")
        assert ended.ok
        assert "cut after 256 KiB, the newest lines are missing" in ended.result
        log = it.reader.view.log("shop", "web-1", "web")
        assert log is not None and len(log.text) == 256 * 1024
        assert len(ended.preview) <= 1000

    async def test_that_fill_the_limit_exactly_count_as_cut(self, it: Bench) -> None:
        it.wire.raw[LOG] = (200, {"Content-Type": "text/plain"}, b"line\n" * 60_000)
        text = await it.client.log("shop", "web-1", "web", limit_bytes=5 * 60_000)
        assert text.cut

    async def test_that_fit_are_whole(self, it: Bench) -> None:
        assert "cut" not in (await it.read("log")).result


class TestPreviews:
    async def test_of_an_object_that_is_too_large_fail_closed(self, it: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        from assistant.errors import GateError
        from tests.gate.scripted import DEPLOYMENT

        monkeypatch.setattr("assistant.gate.facts.MAX_PREVIEW_BYTES", MIB)
        it.wire.objects[DEPLOYMENT]["metadata"]["annotations"] = {"x": "x" * 2 * MIB}
        with pytest.raises(GateError) as caught:
            await it.propose()
        assert "larger than 1 MiB" in caught.value.meaning
        assert it.wire.of("mutate") == []
