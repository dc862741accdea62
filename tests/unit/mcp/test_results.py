"""What comes back becomes a citation: secrets out, nothing invisible, in bounds, nothing fetched."""

from __future__ import annotations

import base64
import json
from typing import Any

import mcp_types as types
import pytest

from assistant.tools.mcp.result import LARGEST_BODY, Outcome, outcome_of, request_line

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


def came(*content: Any, structured: Any = None, failed: bool = False) -> Outcome:
    result = types.CallToolResult(content=list(content), structured_content=structured, is_error=failed)
    return outcome_of("kube", "pods_get", {"name": "web"}, result)


def said(text: str) -> types.TextContent:
    return types.TextContent(text=text)


def test_the_source_is_the_call() -> None:
    outcome = came(said("web is well"))
    assert outcome.citation.request == 'mcp kube pods_get {"name":"web"}'
    assert outcome.citation.quote == "web is well"
    assert outcome.ok


def test_a_quote_stands_in_its_body() -> None:
    outcome = came(said("one   two\n\n three\nfour\nfive"))
    squeezed = " ".join(outcome.citation.body.split())
    assert all(part in squeezed for part in outcome.citation.quote.split(" … "))


@pytest.mark.parametrize(
    "outcome",
    [
        lambda: came(said(f"export TOKEN={TOKEN}")),
        lambda: came(said(json.dumps({"kind": "Secret", "data": {"pw": base64.b64encode(TOKEN.encode()).decode()}}))),
        lambda: came(structured={"kind": "Secret", "stringData": {"pw": TOKEN}}),
        lambda: came(structured={"env": [{"name": "DB_PASSWORD", "value": TOKEN}]}),
        lambda: came(said(f"password: {TOKEN}"), failed=True),
    ],
)
def test_secrets_are_taken_out_of_text_and_structure(outcome: Any) -> None:
    made = outcome()
    for text in (made.text, made.citation.quote, *made.notes):
        assert TOKEN not in text
        assert base64.b64encode(TOKEN.encode()).decode() not in text
    assert made.redactions >= 1


def test_secrets_are_taken_out_of_the_request_line() -> None:
    assert TOKEN not in request_line("kube", "login", {"token": TOKEN})
    assert TOKEN not in request_line("kube", "say", {"text": f"Authorization: Bearer {TOKEN}"})
    assert "\n" not in request_line("kube", "say", {"text": "a\nb"})
    assert len(request_line("kube", "say", {"text": "a" * 5_000})) < 500


def test_nothing_invisible_is_left() -> None:
    outcome = came(said("fine\x1b]8;;http://a\x07\u202e\u200b"), structured={"a\x1b": "b\u2066"})
    assert not set("\x1b\x07\u202e\u200b\u2066") & set(outcome.text + outcome.citation.quote)


def test_what_is_no_text_is_named_and_not_followed() -> None:
    data = base64.b64encode(b"x" * 300).decode()
    outcome = came(
        types.ImageContent(data=data, mime_type="image/png"),
        types.AudioContent(data=data, mime_type="audio/wav"),
        types.ResourceLink(name="a", uri="https://169.254.169.254/latest"),
        types.EmbeddedResource(resource=types.BlobResourceContents(uri="file:///b", blob=data)),
        types.EmbeddedResource(resource=types.TextResourceContents(uri="file:///t", text="its text")),
    )
    notes = " / ".join(outcome.notes)
    for part in ("an image (image/png, 300 bytes)", "a sound", "169.254.169.254/latest was not followed", "file:///b"):
        assert part in notes
    assert outcome.text == "its text"


def test_a_structure_that_the_text_repeats_is_there_once() -> None:
    value = {"name": "web", "replicas": 3, "note": "two\nlines"}
    for text in (json.dumps(value), "name: web\nreplicas: 3\nnote: |\n  two\n  lines\n"):
        assert came(said(text), structured=value).text.count("web") == 1
    assert came(said("see below"), structured=value).text.count("web") == 1


def test_a_large_result_is_cut_at_a_line_and_says_so() -> None:
    outcome = came(said("a line of some length\n" * 60_000))
    assert len(outcome.text) <= LARGEST_BODY
    assert outcome.text.endswith("length")
    assert "cut after 500 kB" in outcome.notes[-1]


def test_very_deep_and_very_many_are_bounded() -> None:
    assert came(said("[" * 50_000)).ok
    assert "more parts were left out" in " ".join(came(*[said("x")] * 1_000).notes)


def test_nothing_at_all_is_said() -> None:
    assert came().text == "(nothing)"
