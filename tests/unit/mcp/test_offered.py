"""Resources and prompts: listed in bounds, read by exactly what is listed, cleaned like a tool's result."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from assistant.domain.toolserver import ServerPrompt, ServerResource, ServerState, Standing
from assistant.policy.sanitize import SafeText
from assistant.tools.mcp.connection import CallNews
from assistant.tools.mcp.faults import McpCallError, McpError, McpNotApprovedError, McpUnknownOutcomeError
from assistant.tools.mcp.offered import MOST_PROMPTS, MOST_RESOURCES, readable
from tests.unit.mcp.conftest import Desk, Desks
from tests.unit.mcp.servers.scripted import MODERN
from tests.unit.mcp.test_eras import ERAS, Endpoint, served
from tests.unit.mcp.test_questions import FORM, Person

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
OFFERS: dict[str, Any] = {
    "resources": [{"uri": "notes://a", "name": "a", "description": "The first.", "mimeType": "text/plain"}],
    "resourceTemplates": [{"uriTemplate": "notes://by/{name}", "name": "by name"}],
    "prompts": [
        {
            "name": "explain", "description": "Explains.",
            "arguments": [{"name": "style"}, {"name": "topic", "required": True}],
        }
    ],
}  # fmt: skip


async def approved(desk: Desk, name: str = "web") -> None:
    desk.hub.approve_server(name, next(each.digest for each in desk.hub.status() if each.name == name))


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_offered_can_be_listed_and_read(desks: Desks, era: str) -> None:
    async with desks(web={"era": era, "offers": OFFERS}) as desk:
        await approved(desk)
        assert await desk.hub.resources("web") == (
            ServerResource("notes://a", "a", "The first.", "text/plain"),
            ServerResource("notes://by/{name}", "by name"),
        )
        assert await desk.hub.prompts("web") == (ServerPrompt("explain", "Explains.", ("topic", "style"), 1),)
        for uri in ("notes://a", "notes://by/shop"):
            outcome = await desk.hub.read("web", uri)
            assert (outcome.text, outcome.citation.request) == (f"text of {uri}", f"mcp web resource {uri}")
        said = await desk.hub.prompt("web", "explain", {"topic": "probes", "style": ""})
        assert said.text == 'explain {"topic": "probes"}'
        assert said.citation.request == 'mcp web prompt explain {"topic":"probes"}'


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_offered_over_http(desks: Desks, era: str) -> None:
    endpoint = Endpoint(era, offers=OFFERS)
    async with served(endpoint) as server, desks(server, environ={"T": "t"}) as desk:
        await approved(desk, "far")
        looked = await desk.hub.look("far")
        assert [each.uri for each in looked.resources] == ["notes://a", "notes://by/{name}"]
        assert (await desk.hub.read("far", "notes://a")).text == "text of notes://a"
        assert (await desk.hub.prompt("far", "explain", {"topic": "x"})).ok


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_says_nothing_of_them_has_none_and_is_not_asked(desks: Desks, era: str) -> None:
    async with desks(web={"era": era}) as desk:
        await approved(desk)
        looked = await desk.hub.look("web")
        assert (looked.resources, looked.prompts) == ((), ())
        assert len(looked.tools) == 1
        assert not [entry for entry in desk.journal("web") if "listed" in entry]


async def test_looking_starts_a_server_and_shows_all_of_it(desks: Desks) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        with pytest.raises(McpNotApprovedError):
            await desk.hub.look("web")
        assert desk.journal("web") == []
        await approved(desk)
        looked = await desk.hub.look("web")
        assert desk.hub.status() == (looked,)
        assert (looked.state, looked.standing, looked.protocol) == (ServerState.READY, Standing.APPROVED, MODERN)
        assert looked.lines[0] == "server: web"
        tool = looked.tools[0]
        assert (tool.name, tool.exposed, tool.standing, tool.lines[0]) == (
            "echo", "web__echo", Standing.NEW, "tool: echo",
        )  # fmt: skip
        await desk.hub.approve_tools("web", {tool.name: tool.digest})
        assert desk.hub.status()[0].tools[0].standing is Standing.APPROVED
        # Only plain texts go into the log.
        texts = [*looked.lines, *tool.lines, looked.prompts[0].about, looked.resources[0].about]
        assert not [each for each in texts if isinstance(each, SafeText)]


async def test_nothing_is_read_of_a_server_that_nobody_approved(desks: Desks) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        for reading in (desk.hub.read("web", "notes://a"), desk.hub.prompt("web", "explain", {"topic": "x"})):
            with pytest.raises(McpNotApprovedError):
                await reading
        assert desk.journal("web") == []


@pytest.mark.parametrize(
    "uri",
    [
        "notes://b", "notes://by/a/b", "notes://by/../a", "notes://by/%2e%2e%2fa", "notes://by/{name}", "notes://by/",
        "file:///etc/passwd", "notes://a\n", "notes://by/a b", "notes://by/" + "x" * 3_000, "", "notes://by/a?x=1",
    ],
)  # fmt: skip
async def test_only_what_is_listed_or_fits_a_template_is_asked_for(desks: Desks, uri: str) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        await approved(desk)
        with pytest.raises(McpCallError, match="offers no resource"):
            await desk.hub.read("web", uri)
        assert not [entry for entry in desk.journal("web") if "asked" in entry]


@pytest.mark.parametrize("template", ["notes://{", "notes://a", "{+uri}", "x" * 400, "notes://{a}{b}", "notes://{a:3}"])
def test_a_template_that_cannot_be_held_to_anything_is_none(template: str) -> None:
    assert not readable("notes://by/b", [ServerResource(template)])
    assert readable("notes://by/b", [ServerResource("notes://{+path}")])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("other", {}), ("explain", {}), ("explain", {"topic": "x", "other": "y"}), ("explain", {"topic": ""}),
        ("explain", {"topic": TOKEN}), ("explain", {"topic": "[REDACTED:field:12345678]"}),
    ],
)  # fmt: skip
async def test_a_prompt_takes_what_it_names_and_no_secret(desks: Desks, name: str, values: dict[str, str]) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        await approved(desk)
        with pytest.raises(McpCallError) as caught:
            await desk.hub.prompt("web", name, values)
        assert TOKEN not in f"{caught.value} {caught.value.detail}"
        assert not [entry for entry in desk.journal("web") if "asked" in entry]


async def test_a_template_is_no_way_out_for_a_secret(desks: Desks) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        await approved(desk)
        with pytest.raises(McpCallError, match="secret"):
            await desk.hub.read("web", f"notes://by/{TOKEN}")


async def test_what_is_read_is_cleaned_and_named(desks: Desks) -> None:
    contents = [
        {"uri": "notes://a", "text": f"password: {TOKEN}\nfine\x1b[2J\u202e"},
        {"uri": "notes://a/2", "text": "a part"},
        {"uri": "notes://a/3", "blob": "AAAA", "mimeType": "image/png"},
    ]
    messages = [
        {"role": "user", "content": {"type": "text", "text": f"Bearer {TOKEN}"}},
        {"role": "assistant", "content": {"type": "text", "text": "I will."}},
    ]
    async with desks(web={"offers": {**OFFERS, "contents": contents, "messages": messages}}) as desk:
        await approved(desk)
        read = await desk.hub.read("web", "notes://a")
        said = await desk.hub.prompt("web", "explain", {"topic": "x"})
    for outcome in (read, said):
        assert TOKEN not in outcome.text + outcome.citation.quote
        assert not set("\x1b\u202e") & set(outcome.text)
        assert outcome.redactions >= 1
        assert type(outcome.citation.request) is str
    assert "a part" in read.text
    assert read.notes == ("from the resource notes://a/2", "the resource notes://a/3 (3 bytes) was left out")
    assert "assistant: I will." in said.text


async def test_many_and_hostile_ones_are_bounded_and_said(desks: Desks) -> None:
    odd = {
        "resources": [{"uri": uri, "name": "n"} for uri in ("a\x1b:b", "x", "notes://" + "y" * 5_000, "notes://ok")],
        "resourceTemplates": [{"uriTemplate": "notes://{", "name": "n"}],
        "prompts": [{"name": "a\u202eb"}, {"name": "p", "arguments": [{"name": "a"}, {"name": "a"}]}, {"name": "ok"}],
    }
    async with desks(
        many={"offers": {"many": 5_000}}, odd={"offers": odd}, endless={"offers": {"endless": True}}
    ) as desk:
        looked = {}
        for name in ("many", "odd", "endless"):
            await approved(desk, name)
            looked[name] = await desk.hub.look(name)
        assert (len(looked["many"].resources), len(looked["many"].prompts)) == (MOST_RESOURCES, MOST_PROMPTS)
        assert [each.uri for each in looked["odd"].resources] == ["notes://ok"]
        assert [each.name for each in looked["odd"].prompts] == ["ok"]
        assert all(each.left_out for each in looked.values())
        assert len([entry for entry in desk.journal("endless") if "listed" in entry]) < 20


async def test_a_list_is_asked_for_once_however_often_it_is_read(desks: Desks) -> None:
    async with desks(web={"offers": OFFERS}) as desk:
        await approved(desk)
        for _ in range(5):
            await desk.hub.read("web", "notes://a")
        assert len([entry for entry in desk.journal("web") if entry.get("listed") == "resources/list"]) == 1


@pytest.mark.parametrize("fault", ["crash-on-read", "hang-on-read", "error-on-read", "nonsense-on-read"])
async def test_a_read_that_fails_is_typed_and_the_others_go_on(desks: Desks, fault: str) -> None:
    async with desks(web={"offers": OFFERS, "fault": fault}, good={"offers": OFFERS}) as desk:
        await approved(desk)
        await approved(desk, "good")
        await desk.hub.look("web")
        seen: list[CallNews] = []
        task = asyncio.create_task(desk.hub.read("web", "notes://a", seen.append))
        if fault == "hang-on-read":
            while not seen:  # noqa: ASYNC110 - the hub's own callback
                await asyncio.sleep(0)
            for _ in range(3):
                await desk.clock.pass_seconds(31)
        with pytest.raises(McpError) as caught:
            await task
        assert isinstance(caught.value, McpUnknownOutcomeError) is (fault != "error-on-read")
        assert (await desk.hub.read("good", "notes://a")).ok


async def test_a_question_before_a_text_is_put_to_the_person(desks: Desks) -> None:
    person = Person()
    person.answer.set()
    async with desks(web={"offers": OFFERS, "asks": [FORM]}, elicit=person) as desk:
        await approved(desk)
        assert '"count": 3' in (await desk.hub.read("web", "notes://a")).text
        assert '"count": 3' in (await desk.hub.prompt("web", "explain", {"topic": "x"})).text
        assert person.asked == [("web", "How many?")] * 2
