"""The protocol line by line, as clients of every age speak it; and lines that no client should send."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from assistant.mcpserver.turns import MOST_WAITING
from tests.mcpserver.serving import LIMIT, META, MODERN, NAMESPACE, QUESTION, SECONDS, Lines, alive, speaking


def call(tool: str, modern: bool = False, **arguments: Any) -> dict[str, Any]:
    meta = {"_meta": dict(META)} if modern else {}
    return {"name": tool, "arguments": arguments, **meta}


def ask(ident: int, tool: str, token: str = "", modern: bool = False, **arguments: Any) -> dict[str, Any]:
    params = call(tool, modern, **arguments)
    if token:
        params["_meta"] = {**params.get("_meta", {}), "progressToken": token}
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}


@pytest.mark.parametrize("version", ["2025-06-18", pytest.param("2025-11-25", marks=pytest.mark.long)])
async def test_the_older_handshake(tmp_path: Path, version: str) -> None:
    async with speaking(tmp_path) as lines:
        hello = await lines.shake_hands(version)
        assert hello["protocolVersion"] == version
        assert hello["serverInfo"]["name"] == "pilothouse"
        assert {"tools", "resources", "prompts"} <= set(hello["capabilities"])
        tools = (await lines.ask(1, "tools/list"))["result"]["tools"]
        assert all({"title", "annotations", "inputSchema", "outputSchema"} <= set(tool) for tool in tools)
        result = (await lines.ask(2, "tools/call", call("scan", namespace=NAMESPACE)))["result"]
        assert result["isError"] is False
        assert result["structuredContent"]["verdict"] == "fault"
        assert "resultType" not in result
        assert (await lines.ask(3, "ping"))["result"] == {}


async def test_the_newest_revision_has_no_handshake(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        found = (await lines.ask(1, "server/discover", {"_meta": META}))["result"]
        assert MODERN in found["supportedVersions"]
        assert "tools" in found["capabilities"]
        listed = (await lines.ask(2, "tools/list", {"_meta": META}))["result"]
        assert listed["resultType"] == "complete"
        assert {"ttlMs", "cacheScope"} <= set(listed)
        result = (await lines.ask(3, "tools/call", call("scan", modern=True, namespace=NAMESPACE)))["result"]
        assert (result["resultType"], result["isError"]) == ("complete", False)
        assert result["structuredContent"]["verdict"] == "fault"


@pytest.mark.long
async def test_a_version_that_nobody_speaks_is_offered_another(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        hello = await lines.shake_hands("1999-01-01")
        assert hello["protocolVersion"] in ("2025-06-18", "2025-11-25")


LONG = b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"diagnose","arguments":{"question":"%b"}}}'
BAD_LINES = [
    (b"garbage", -32700),
    (b"\xff\xfe", -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xff"}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"1" * 10_000 + b"}}", -32700),
    (b"[" * 100_000, -32700),
    (b"[]", -32600),
    (b"{}", -32600),
    (b'"text"', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    (LONG % b"\\ud800", -32600),
    (b"x" * 9_000_000, -32600),
    (LONG % (b"y" * 9_000_000), -32600),
]


async def test_every_bad_line_is_answered_with_an_error_and_the_next_good_one_as_ever(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        await lines.shake_hands("2025-11-25")
        for number, (line, code) in enumerate(BAD_LINES):
            await lines.send(line)
            error = (await lines.answer(None))["error"]
            assert error["code"] == code, line[:60]
            assert error["message"]
            assert (await lines.ask(number, "ping"))["result"] == {}


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("diagnose", {"question": "a" * 3_000_000}),
    ("diagnose", {"question": ""}),
    ("diagnose", {"question": "\x00\x1b[\u202e?"}),
    ("diagnose", {"question": ["why"]}),
    ("diagnose", {"question": "why", "namespace": "../kube-system"}),
    ("diagnose", {"question": "why", "namespace": "UPPER"}),
    ("scan", {"all_namespaces": "perhaps"}),
    ("scan", {"namespace": "no-such-namespace"}),
    ("get_evidence", {"session": "../../etc/passwd", "evidence": "E1"}),
    ("get_evidence", {"session": "last", "evidence": "E1", "offset": -1}),
    ("get_evidence", {"session": "last", "evidence": "E1", "limit": 10**30}),
    ("explain_finding", {"session": "x' OR '1'='1", "finding": "F1"}),
    ("list_sessions", {"limit": 0}),
    ("list_sessions", {"query": "q" * 5000}),
    ("propose_change", {"patch": {"kind": "Deployment", "name": "../../secrets/x", "patch": {"a": 1}, "why": "w"}}),
    ("propose_change", {"patch": {"kind": "a/b", "name": "x", "patch": {"a": 1}, "why": "w"}}),
    ("propose_change", {"patch": {"kind": "Deployment", "name": "x", "patch": {}, "why": "w"}}),
    ("propose_change", {"patch": {"kind": "Deployment", "name": "x", "patch": {"a": 1}, "why": "w", "approve": True}}),
    ("propose_change", {"session": "last", "remedy": "A1", "proposal": "P1"}),
    ("approve", {"proposal": "P1"}),
]


async def test_hostile_arguments_are_answered_with_errors_and_the_server_lives(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        await lines.shake_hands("2025-11-25")
        for number, (tool, arguments) in enumerate(HOSTILE):
            answer = await lines.ask(number, "tools/call", call(tool, **arguments))
            failed = answer["error"]["message"] if "error" in answer else answer["result"]["content"][0]["text"]
            assert "error" in answer or answer["result"]["isError"], (tool, failed)
            assert failed
            assert len(failed) < 4000, "the caller's own text comes back at length"
            assert "Traceback" not in failed
        assert (await lines.ask("last", "ping"))["result"] == {}
        assert lines.process.returncode is None


@pytest.mark.parametrize("modern", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a_call_that_is_cancelled_stops_and_leaves_the_server_to_the_next(tmp_path: Path, modern: bool) -> None:
    async with speaking(tmp_path) as lines:
        if not modern:
            await lines.shake_hands("2025-11-25")
        await lines.send(ask(1, "diagnose", "p", modern, question=QUESTION))
        first = await lines.receive()
        assert first["method"] == "notifications/progress"
        assert first["params"]["progressToken"] == "p"
        cancelled = {"requestId": 1, "reason": "enough", **({"_meta": META} if modern else {})}
        await lines.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        await lines.send(ask(2, "scan", "", modern, namespace=NAMESPACE))
        answered = []
        while 2 not in answered:
            value = await lines.receive()
            if "method" not in value:
                answered.append(value["id"])
        assert answered == [2]
        rows = (await lines.ask(3, "tools/call", call("list_sessions", modern)))["result"]["structuredContent"][
            "sessions"
        ]
        assert [row["verdict"] for row in rows if row["question"] == QUESTION] == [""]
        assert [row["status"] for row in rows if row["question"] == QUESTION] == ["stopped"]


@pytest.mark.long
async def test_more_questions_at_once_than_can_wait_are_turned_away(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        await lines.shake_hands("2025-11-25")
        for number in range(MOST_WAITING + 3):
            await lines.send(ask(number, "diagnose", question=QUESTION))
        refused = [(await lines.receive())["result"] for _ in range(3)]
        assert [result["_meta"]["pilothouse/error"]["code"] for result in refused] == ["usage"] * 3
        for number in range(MOST_WAITING):
            await lines.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
        assert not (await lines.ask("next", "tools/call", call("scan")))["result"]["isError"]


async def working(lines: Lines) -> list[int]:
    """Have a question under way and return the children that it needed."""
    await lines.shake_hands("2025-11-25")
    await lines.send(ask(1, "diagnose", "p", question=QUESTION))
    assert (await lines.receive())["method"] == "notifications/progress"
    children = lines.children()
    assert len(children) >= 2, "the gate and the recorded cluster"
    assert all(alive(pid) for pid in children)
    return children


async def test_the_end_of_input_ends_it_with_its_children(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        children = await working(lines)
        assert lines.process.stdin is not None
        lines.process.stdin.close()
        assert await lines.ended() == 0
        assert not [pid for pid in children if alive(pid)]
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_the_end_of_input_while_the_cluster_is_being_opened_leaves_no_child(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        await lines.shake_hands("2025-11-25")
        await lines.send(ask(1, "diagnose", question=QUESTION))
        async with asyncio.timeout(SECONDS):
            while not (started := lines.children()):
                await lines.ask("again", "ping")
        assert lines.process.stdin is not None
        lines.process.stdin.close()
        assert await lines.ended() == 0
        assert not [pid for pid in started if alive(pid)]
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_a_gate_that_died_is_replaced_at_the_next_question(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        await lines.shake_hands("2025-11-25")
        assert not (await lines.ask(1, "tools/call", call("scan")))["result"]["isError"]
        files = list((tmp_path / "run" / "gates").glob("*.json"))
        (gate,) = [json.loads(file.read_bytes())["pid"] for file in files]
        os.kill(gate, signal.SIGKILL)
        async with asyncio.timeout(SECONDS):
            while alive(gate):
                await lines.ask("again", "ping")
        answers = [await lines.ask(number, "tools/call", call("scan")) for number in (2, 3)]
        assert [answer["result"]["isError"] for answer in answers] == [False, False]
        assert len([pid for pid in lines.children() if alive(pid)]) == 2


async def test_a_broken_pipe_ends_it_with_its_children(tmp_path: Path) -> None:
    async with speaking(tmp_path) as lines:
        children = await working(lines)
        transport = lines.process._transport  # type: ignore[attr-defined]
        transport.get_pipe_transport(1).close()
        assert await lines.ended() == 0
        assert not [pid for pid in children if alive(pid)]
    assert "Traceback" not in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGINT, signal.SIGHUP))]
)
async def test_a_signal_ends_it_with_its_children(tmp_path: Path, number: signal.Signals) -> None:
    async with speaking(tmp_path) as lines:
        children = await working(lines)
        lines.process.send_signal(number)
        assert await lines.ended() == 0
        assert not [pid for pid in children if alive(pid)]
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_nothing_but_the_protocol_is_on_standard_output(tmp_path: Path) -> None:
    async with speaking(tmp_path, "--bundle", str(tmp_path / "absent")) as lines:
        await lines.shake_hands("2025-11-25")
        assert (await lines.ask(1, "tools/call", call("scan")))["result"]["isError"]
        assert lines.process.stdin is not None
        lines.process.stdin.close()
        assert lines.process.stdout is not None
        assert await lines.process.stdout.read(LIMIT) == b""
        assert await lines.ended() == 0
