"""The tools over stdio, on a recorded cluster, with the SDK's own client, which holds each answer to its schema."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import TextContent, TextResourceContents

from tests.mcpserver.serving import BUNDLE, QUESTION, connected, error_code, said, text

READING = {"diagnose", "scan", "explain_finding", "get_evidence", "list_sessions"}


async def test_every_tool_says_what_it_does_takes_and_returns(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == READING | {"propose_change"}
        for name, tool in tools.items():
            assert tool.title, name
            assert tool.description, name
            assert tool.output_schema is not None, name
            assert tool.output_schema["type"] == "object", name
            assert tool.annotations is not None, name
            assert tool.annotations.read_only_hint is (name in READING), name
            for field, schema in tool.input_schema["properties"].items():
                assert "description" in schema, f"{name}.{field}"
                bounded = {"boolean": (), "integer": ("minimum", "maximum")}
                if schema.get("type") == "string":
                    assert "maxLength" in schema or "pattern" in schema, f"{name}.{field}"
                for bound in bounded.get(schema.get("type", ""), ()):
                    assert bound in schema, f"{name}.{field}"
        assert tools["propose_change"].annotations is not None
        assert tools["propose_change"].annotations.destructive_hint
        assert not (tmp_path / "run").exists() or not list((tmp_path / "run").rglob("*.json")), "no gate was needed"


@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.long)])
async def test_a_question_is_answered_with_evidence_that_can_be_read(tmp_path: Path, mode: str) -> None:
    told: list[tuple[float, str]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async with connected(tmp_path, mode=mode) as client:
        answer = await client.call_tool("diagnose", {"question": QUESTION}, progress_callback=progress)
        report = said(answer)
        assert (report["version"], report["verdict"]) == (1, "fault")
        cause = report["findings"][0]
        assert (cause["role"], cause["category"], cause["target"]["name"]) == ("root_cause", "image", "storefront")
        assert report["session"] in text(answer)
        assert cause["summary"] in text(answer)
        assert [number for number, _ in told] == sorted({number for number, _ in told})
        assert any("pods" in message for _, message in told)

        session = {"session": report["session"]}
        explained = said(await client.call_tool("explain_finding", {**session, "finding": cause["id"]}))
        assert [fact["id"] for fact in explained["evidence"]] == cause["evidence"]
        assert [each["id"] for each in explained["follows"]] == cause["explains"]
        fixes = [each["id"] for each in report["proposals"] if cause["id"] in each["fixes"]]
        assert [each["id"] for each in explained["remedies"]] == fixes
        assert "A1" in fixes

        asked = {**session, "evidence": cause["evidence"][0], "limit": 500}
        first = said(await client.call_tool("get_evidence", asked))
        assert len(first["text"]) == 500
        second = said(
            await client.call_tool("get_evidence", {**asked, "offset": first["next_offset"], "limit": 20_000})
        )
        assert second["next_offset"] is None
        assert first["total_characters"] == 500 + len(second["text"])
        assert "5.21.0" in first["text"] + second["text"]

        rows = said(await client.call_tool("list_sessions", {}))["sessions"]
        assert [(row["id"], row["question"], row["open_here"]) for row in rows] == [(report["session"], QUESTION, True)]


async def test_a_scan_asks_no_model_and_finds_the_same(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        report = said(await client.call_tool("scan", {"all_namespaces": True}))
    assert (report["mind"], report["verdict"], report["namespace"]) == ("expert", "fault", "")
    assert any(each["target"]["name"] == "storefront" for each in report["findings"])


@pytest.mark.long
async def test_questions_at_once_are_all_answered(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        answers = await asyncio.gather(*(client.call_tool("diagnose", {"question": QUESTION}) for _ in range(3)))
    reports = [said(answer) for answer in answers]
    assert len({report["session"] for report in reports}) == 3
    assert {report["findings"][0]["summary"] for report in reports} == {reports[0]["findings"][0]["summary"]}


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("diagnose", {"question": "?!"}, "usage"),
        ("diagnose", {"question": "why", "namespace": "nowhere"}, "cluster"),
        ("explain_finding", {"session": "20200101-00000000", "finding": "F1"}, "usage"),
        ("get_evidence", {"session": "last", "evidence": "E1"}, "store-missing"),
        ("propose_change", {}, "usage"),
        ("propose_change", {"session": "last", "remedy": "A1"}, "usage"),
        ("propose_change", {"proposal": "P00000000"}, "usage"),
    ],
)
async def test_what_cannot_be_done_says_why_and_what_to_do(
    tmp_path: Path, tool: str, arguments: dict[str, Any], code: str
) -> None:
    async with connected(tmp_path) as client:
        answer = await client.call_tool(tool, arguments)
        found = error_code(answer)
        assert found == code or (code == "usage" and found == "store-missing"), text(answer)
        error = dict(answer.meta or {})["pilothouse/error"]
        assert error["meaning"] in text(answer)
        assert error["hint"], "what to do is missing"


@pytest.mark.long
async def test_a_cluster_that_cannot_be_opened_is_an_answer_and_not_the_end(tmp_path: Path) -> None:
    async with connected(tmp_path, "--bundle", str(tmp_path / "absent")) as client:
        for _ in range(2):
            assert error_code(await client.call_tool("scan", {})) in ("bundle", "cluster")
        assert said(await client.call_tool("list_sessions", {})) == {"sessions": []}


@pytest.mark.long
async def test_sessions_and_incidents_are_resources(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        session = said(await client.call_tool("scan", {}))["session"]

        async def read(uri: str) -> str:
            content = (await client.read_resource(uri)).contents[0]
            assert isinstance(content, TextResourceContents)
            assert content.mime_type == "text/markdown"
            return content.text

        assert session in await read("pilothouse://sessions")
        assert "5.21.0" in await read(f"pilothouse://sessions/{session}")
        assert "missing-image" in await read("pilothouse://incidents")
        assert "storefront-web" in await read("pilothouse://incidents/missing-image")
        for absent in ("sessions/20200101-00000000", "incidents/none", "sessions/..%2f..", "else"):
            with pytest.raises(MCPError) as caught:
                await read(f"pilothouse://{absent}")
            assert caught.value.error.code in (-32602, -32002)


async def test_prompts_are_the_common_questions(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        names = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert names == {"what_is_wrong", "why_restarts", "what_changed"}
        asked = await client.get_prompt("why_restarts", {"workload": "web\u202e", "namespace": "shop"})
        content = asked.messages[0].content
        assert isinstance(content, TextContent)
        assert "web\\u{202e}" in content.text
        assert "only if I ask you to" in content.text
        with pytest.raises(MCPError):
            await client.get_prompt("why_restarts", {"workload": "w" * 300})


def test_the_bundle_is_there() -> None:
    assert BUNDLE.exists()
