"""What a model finds when it looks for a tool in its own words."""

from __future__ import annotations

import pytest

from assistant.domain.toolserver import Standing, ToolClass
from assistant.tools.mcp.catalog import Tool, matching
from assistant.tools.mcp.definition import define
from assistant.tools.mcp.pins import Verdict

KNOWN = {
    "pods_list": "Lists the pods of a namespace or of all.", "pods_get": "Shows one pod of the cluster.",
    "pods_delete": "Deletes a pod by its name.", "pods_log": "Shows the log of a container of a pod.",
    "pods_top": "Shows how much cpu and memory the pods use, by the metrics server.",
    "nodes_top": "Shows how much cpu and memory the nodes use.", "events_list": "Lists the events of the cluster.",
    "helm_list": "Lists the releases of a namespace.", "alerts": "Lists the alerts that fire in Prometheus now.",
    "query_range": "Evaluates a PromQL expression over a range of time.",
}  # fmt: skip


def tool(name: str, about: str, standing: Standing = Standing.APPROVED) -> Tool:
    return Tool(define("web", name, about, {"type": "object"}, {}), ToolClass.READ, Verdict(standing))


TOOLS = [tool(name, about) for name, about in KNOWN.items()]


def found(words: str, most: int = 5) -> list[str]:
    return [each.definition.name for each in matching(TOOLS, words, most)]


@pytest.mark.parametrize(
    ("words", "best"),
    [
        ("cpu usage of a pod", "pods_top"), ("delete pods", "pods_delete"), ("the log of a pod", "pods_log"),
        ("which alerts fire", "alerts"), ("promql query", "query_range"), ("helm release", "helm_list"),
        ("node memory", "nodes_top"), ("list events", "events_list"),
    ],
)  # fmt: skip
def test_the_tool_that_is_meant_comes_first(words: str, best: str) -> None:
    assert found(words)[0] == best


def test_words_that_say_nothing_find_nothing() -> None:
    assert found("of the") == sorted(KNOWN)[:5], "as without words: the first by name"
    assert found("zebra") == []


def test_what_is_not_approved_is_never_found() -> None:
    tools = [*TOOLS, tool("pods_cpu", "Shows the cpu of pods.", Standing.NEW), tool("cpu", "cpu", Standing.CHANGED)]
    assert "pods_cpu" not in [each.definition.name for each in matching(tools, "cpu of pods")]
    assert "cpu" not in [each.definition.name for each in matching(tools, "cpu of pods")]


def test_prose_of_a_schema_is_as_safe_as_the_description_and_names_stay_as_they_are() -> None:
    hidden = "adds\u202e two\u200b numbers\U000e0041"
    schema = {
        "type": "object", "description": hidden, "$defs": {"title": {"type": "string", "title": hidden}},
        "properties": {"description": {"type": "string", "description": hidden, "enum": ["a\u200bb"]}},
    }  # fmt: skip
    made = Tool(define("web", "add", "", schema, {}), ToolClass.READ, Verdict(Standing.APPROVED))
    told = made.function["function"]["parameters"]
    inner = told["properties"]["description"]
    for text in (told["description"], told["$defs"]["title"]["title"], inner["description"]):
        assert text.startswith("adds")
        assert not set(text) & set("\u202e\u200b\U000e0041")
    assert inner["enum"] == ["a\u200bb"], "what has to be sent back as it is"
    assert made.definition.parameters == schema
