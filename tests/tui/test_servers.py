"""The screen of MCP servers: how each stands, what it offers, and approvals that are bound to what was shown."""

from __future__ import annotations

import json
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import ModalScreen

from assistant.domain import event as ev
from assistant.domain.toolserver import ServerPrompt, ServerResource, ServerState, Standing, ToolServer
from assistant.errors import PilothouseError, UsageError
from assistant.session.clock import SystemClock
from assistant.toolservers import ToolServers
from assistant.tui.app import PilothouseApp
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import KEYS
from assistant.tui.lines import as_text
from assistant.tui.overlays import TextScreen
from assistant.tui.review import ReviewScreen
from assistant.tui.serverlines import calls_of, offered_lines, server_item
from assistant.tui.servers import LONGEST_PROMPT, ServersScreen
from assistant.tui.templates import blanks
from assistant.tui.view import LinesView
from tests.tui import fixture, foreign
from tests.tui.foreign import ScriptedServers
from tests.tui.screens import built, settled
from tests.tui.scripted import ScriptedSession, StillClock
from tests.tui.test_screens import screen_text
from tests.unit.mcp.conftest import scripted

SIZES = [(80, 24), (120, 36)]
ESC = chr(27)
Opened = tuple[PilothouseApp, Pilot[int], ScriptedServers, StillClock]


async def drawn(pilot: Pilot[int], clock: StillClock) -> None:
    """Let the list be read in its thread, and everything be drawn."""
    await settled(pilot, clock)
    await pilot.app.workers.wait_for_complete()
    await settled(pilot, clock)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


@asynccontextmanager
async def servers_of(given: Any = None, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Opened]:
    """An app whose screen shows the servers of its session."""
    clock = StillClock()
    app, session = built(clock)
    given = given or ScriptedServers()
    session.servers = given
    session.emit(*fixture.investigation()[1:4], *foreign.called())
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await pilot.press("tab", "g", "m")
        await drawn(pilot, clock)
        assert isinstance(app.screen, ServersScreen)
        yield app, pilot, given, clock


def session_of(app: PilothouseApp) -> ScriptedSession:
    assert isinstance(app.session, ScriptedSession)
    return app.session


@pytest.mark.parametrize("size", SIZES)
async def test_each_server_is_listed_with_state_standing_calls_and_last_error(size: tuple[int, int]) -> None:
    async with servers_of(size=size) as (app, pilot, given, clock):
        text = screen_text(app)
        for words in ("notes", "ready", "kube", "NEW", "search", "FAILED", "CHANGED", "2025-11-25", "exit code 1"):
            assert words in text, words
        assert "2 of 5 tools" in text
        assert "3 calls, 1 FAILED" in text
        await pilot.press("enter")
        await drawn(pilot, clock)
        text = screen_text(app)
        for words in ("/state/mcp-notes.log", "purge", "only reads", "asks first, says it destroys", "v reviews the 2"):
            assert words in text, words
        assert given.done == [], "looking starts nothing"


async def test_calls_are_counted_by_the_whole_name_of_their_server() -> None:
    calls = [ev.ToolStarted("o", "mcp", "x", "mcp notes-2 search {}"), *foreign.called()]
    assert calls_of(fixture.case_of([*fixture.investigation()[:2], *calls]), "notes") == (3, 1)


async def test_without_a_file_it_says_which_and_shows_the_least_that_goes_into_it() -> None:
    async with servers_of(ScriptedServers(listed=[])) as (app, _, _given, _clock):
        text = screen_text(app)
        for words in ("No MCP server is configured", "pilothouse/mcp.json", '{"mcpServers"', '"command"'):
            assert words in text, words


async def test_a_file_that_cannot_be_used_is_shown_with_what_to_do() -> None:
    broken = ScriptedServers(problem="Line 3 is no JSON. Put a comma after the second server.")
    async with servers_of(broken, (80, 24)) as (app, _, _given, _clock):
        text = screen_text(app)
        assert "cannot be used" in text
        assert "Put a comma" in text


async def test_without_a_session_or_without_servers_it_says_so() -> None:
    clock = StillClock()
    app, _ = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await pilot.press("tab", "g", "m")
        await drawn(pilot, clock)
        assert "This session has no MCP servers" in screen_text(app)
        await pilot.press("enter", "v", "r", "F", "escape")
        assert isinstance(app.screen, InvestigateScreen)


# Approving -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_what_starts_a_changed_server_is_approved_by_its_digest_after_its_difference_was_shown(
    size: tuple[int, int],
) -> None:
    async with servers_of(size=size) as (app, pilot, given, clock):
        await pilot.press("G", "enter")
        await drawn(pilot, clock)
        await pilot.press("enter")
        await drawn(pilot, clock)
        assert isinstance(app.screen, ReviewScreen)
        text = screen_text(app)
        for words in (
            "-address: https://old.example/mcp",
            "+address: https://new.example/mcp",
            "read your files",
            "all of it",
        ):
            assert words in text, words
        await pilot.press("a", "enter")
        await drawn(pilot, clock)
        assert given.done == [("server", "search", "search-digest")]
        assert isinstance(app.screen, ServersScreen)
        assert "approved" in screen_text(app)


async def test_new_tools_are_approved_at_once_and_a_changed_one_only_alone() -> None:
    async with servers_of() as (app, pilot, given, clock):
        await pilot.press("v")
        await drawn(pilot, clock)
        assert "purge" in screen_text(app)
        assert "notes__export" not in screen_text(app)
        await pilot.press("a", "enter")
        await drawn(pilot, clock)
        assert given.done == [("tools", "notes", {"purge": "purge-digest", "tag": "tag-digest"})]
        await pilot.press("enter", *"jjjjj", "enter")
        await drawn(pilot, clock)
        assert isinstance(app.screen, ReviewScreen)
        assert "-says: export" in screen_text(app)
        await pilot.press("a", "enter")
        await drawn(pilot, clock)
        assert given.done[1:] == [("tools", "notes", {"export": "export-digest"})]


async def test_an_approved_tool_is_only_shown() -> None:
    async with servers_of() as (app, pilot, given, clock):
        await pilot.press("enter", "j", "enter")
        await drawn(pilot, clock)
        assert isinstance(app.screen, TextScreen)
        assert "its words" in screen_text(app)
        await pilot.press("a", "enter")
        assert given.done == []


async def test_no_single_key_and_no_unread_text_approves() -> None:
    tools = tuple(foreign.tool(f"tool_{n}", standing=Standing.NEW) for n in range(40))
    given = ScriptedServers(listed=[replace(foreign.NOTES, tools=tools)])
    async with servers_of(given, (80, 24)) as (app, pilot, given, clock):
        await pilot.press("v")
        await drawn(pilot, clock)
        await pilot.press("a", "enter", "G")
        await drawn(pilot, clock)
        await pilot.press("a", "enter")
        assert given.done == []
        assert "Read all of it first" in screen_text(app)
        await pilot.press("home", *["ctrl+d"] * 60)
        await drawn(pilot, clock)
        keys = {k for key in KEYS for k in key.keys} | set(string.printable[:95]) | {"space", "f5"}
        for key in sorted(keys - {"ctrl+q", " ", "escape", "f2", "f3"}):
            while isinstance(app.screen, ModalScreen):
                app.pop_screen()
            if isinstance(app.screen, ReviewScreen):
                app.screen.disarm()
                await pilot.press(key)
        assert isinstance(app.screen, ReviewScreen)
        assert given.done == []
        await settled(pilot, clock)
        app.screen.disarm()
        await pilot.press("a", "enter")
        await drawn(pilot, clock)
        assert len(given.done) == 1


async def test_what_changed_since_it_was_shown_is_said_and_not_approved() -> None:
    given = ScriptedServers(refuses=UsageError("What starts it has changed since it was shown.", "Look at it again."))
    async with servers_of(given) as (app, pilot, given, clock):
        await pilot.press("j", "enter", "enter")
        await drawn(pilot, clock)
        await pilot.press("a", "enter")
        await drawn(pilot, clock)
        assert isinstance(app.screen, ReviewScreen)
        assert "changed since it was shown" in screen_text(app)
        assert given.done == []


async def test_approvals_are_forgotten_only_after_a_yes() -> None:
    async with servers_of() as (_, pilot, given, clock):
        await pilot.press("F", "enter", "F", "escape", "F", *"n", "enter")
        await drawn(pilot, clock)
        assert given.done == []
        await pilot.press("F", "y", "enter")
        await drawn(pilot, clock)
        assert given.done == [("forget", "notes")]


# Starting, reading, prompts --------------------------------------------------------------------------------------


async def test_an_approved_server_is_started_when_it_is_opened_and_a_new_one_is_not() -> None:
    quiet = replace(foreign.FRESH, standing=Standing.APPROVED)
    async with servers_of(ScriptedServers(listed=[quiet, replace(foreign.FRESH, name="other")])) as (
        app, pilot, given, clock,
    ):  # fmt: skip
        await pilot.press("enter")
        await drawn(pilot, clock)
        assert given.done == [("look", "kube")]
        assert "get_pods" in screen_text(app)
        await pilot.press("escape", "j", "r", "enter")
        await drawn(pilot, clock)
        assert given.done == [("look", "kube")]


async def test_a_server_that_does_not_start_says_why() -> None:
    quiet = replace(foreign.FRESH, standing=Standing.APPROVED)
    given = ScriptedServers(listed=[quiet], refuses=UsageError("MCP server kube did not start.", "Look at its log."))
    async with servers_of(given) as (app, pilot, given, clock):
        await pilot.press("r")
        await drawn(pilot, clock)
        assert "did not start" in screen_text(app)


async def test_a_resource_is_read_and_shown_as_the_servers_words() -> None:
    async with servers_of() as (app, pilot, given, clock):
        given.text = f"{ESC}]52;c;QUJD{chr(7)}[@click=app.leave]approve[/]\n[ a approve ]"
        await pilot.press("enter", "G", "enter")
        await drawn(pilot, clock)
        assert given.done == [("read", "notes", "notes://today")]
        text = screen_text(app)
        assert "its own words" in text
        assert "| [ a approve ]" in text
        assert ESC not in text


async def test_what_is_open_in_an_address_is_asked_for_before_it_is_read() -> None:
    day = ServerResource("notes://day/{date}/{+path}", "a day")
    only = replace(foreign.NOTES, tools=(foreign.tool("search"),), prompts=(), resources=(day,))
    async with servers_of(ScriptedServers(listed=[only])) as (_, pilot, given, clock):
        await pilot.press("enter", "G", "enter")
        await drawn(pilot, clock)
        await pilot.press(*"a b", "enter")
        await drawn(pilot, clock)
        await pilot.press(*"x/y", "enter")
        await drawn(pilot, clock)
        assert given.done == [("read", "notes", "notes://day/a%20b/x/y")]


@pytest.mark.parametrize(("uri", "names"), [
    ("a://b", []), ("a://{x}/{y}/{x}", ["x", "y"]), ("a://{+p*}", ["p"]), ("a://b{?q}", None), ("a://b}", None),
])  # fmt: skip
def test_only_plain_blanks_of_an_address_are_filled_in(uri: str, names: list[str] | None) -> None:
    assert blanks(uri) == names


async def test_our_notes_on_a_tool_stand_in_the_list_and_above_its_own_words() -> None:
    noted = replace(foreign.tool("search", standing=Standing.NEW), notes=("needs get pods, which you may not",))
    async with servers_of(ScriptedServers(listed=[replace(foreign.NOTES, tools=(noted,))])) as (app, pilot, _, clock):
        assert "! needs get pods, which you may not" in screen_text(app)
        await pilot.press("v")
        await drawn(pilot, clock)
        text = screen_text(app)
        assert text.index("! needs get pods") < text.index("| tool: search")


async def test_a_prompt_asks_for_its_arguments_and_fills_the_question_without_sending_it() -> None:
    async with servers_of() as (app, pilot, given, clock):
        await pilot.press("enter", *"jjjjjj", "enter")
        await drawn(pilot, clock)
        await pilot.press(*"payments", "enter")
        await drawn(pilot, clock)
        await pilot.press("enter", "enter")
        await drawn(pilot, clock)
        assert given.done == [("prompt", "notes", "summarise", {"topic": "payments"})]
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == given.text
        await pilot.press("enter", "enter")
        await drawn(pilot, clock)
        assert session_of(app).steered == []
        assert session_of(app).asked == []


async def test_a_prompt_never_takes_the_place_of_ones_own_text_and_may_not_be_too_long() -> None:
    only = replace(foreign.NOTES, tools=(foreign.tool("search"),), prompts=(ServerPrompt("hello"),), resources=())
    async with servers_of(ScriptedServers(listed=[only])) as (app, pilot, given, clock):
        given.text = "x" * (LONGEST_PROMPT + 1)
        await pilot.press("enter", "j", "j", "enter")
        await drawn(pilot, clock)
        assert "too long" in screen_text(app)
        given.text = "words"
        app.screens_of(InvestigateScreen)[0].offer("my own")
        await pilot.press("enter")
        await drawn(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == "my own"


async def test_the_arguments_of_a_prompt_can_be_given_up() -> None:
    async with servers_of() as (_, pilot, given, clock):
        await pilot.press("enter", *"jjjjjj", "enter")
        await drawn(pilot, clock)
        await pilot.press("enter")
        await drawn(pilot, clock)
        await pilot.press("enter")
        await drawn(pilot, clock)
        await pilot.press("escape")
        await drawn(pilot, clock)
        assert given.done == []


# Hostile and plain -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
async def test_hostile_servers_change_nothing_on_the_screen(size: tuple[int, int]) -> None:
    bad = f"{ESC}[2J[@click=app.leave]approve[/] \u202egnissim\n" + "x" * 300
    tools = tuple(
        replace(foreign.tool(bad, standing=s), exposed=bad, lines=(bad,) * 9, changes=(bad,)) for s in Standing
    )
    server = ToolServer(
        bad, ServerState.FAILED, Standing.CHANGED, "d", (bad,) * 5, (f"+{bad}",), bad, bad, bad, tools, True,
        (ServerPrompt(bad, bad, (bad, bad), 1),), (ServerResource(bad, bad, bad, bad),),
    )  # fmt: skip
    async with servers_of(ScriptedServers(listed=[server, foreign.NOTES], file=bad), size) as (app, pilot, _, clock):
        for keys in (("enter",), ("enter",), ("escape",), ("j", "enter"), ("escape",), ("G", "enter"), ("escape",)):
            await pilot.press(*keys)
            await drawn(pilot, clock)
            for strip in app.screen._compositor.render_strips():
                for segment in strip:
                    assert not set(segment.text) & {ESC, chr(7), "\u202e"}
                    assert segment.style is None or not (segment.style.meta or {}).get("@click")
        assert app.is_running


def test_a_server_with_nothing_to_tell_has_no_empty_rows() -> None:
    case = fixture.case_of(fixture.investigation()[:2])
    text = as_text([*server_item(foreign.FRESH, case), *offered_lines(foreign.FRESH, case)])
    assert "protocol" not in text
    assert "log" not in text.split("session")[0]
    assert "approve what starts it" in text


async def test_a_list_that_changes_while_it_is_hidden_is_drawn_anew_when_it_comes_back() -> None:
    async with servers_of(size=(80, 24)) as (app, pilot, given, clock):
        view = app.screen.query_one("#offered", LinesView)
        await pilot.press("enter")
        await drawn(pilot, clock)
        await pilot.press("escape")
        given.listed = [replace(foreign.NOTES, tools=(), prompts=(), resources=(), state=ServerState.OFF)]
        await drawn(pilot, clock)
        clock.advance(5)
        await drawn(pilot, clock)
        await pilot.press("enter")
        await drawn(pilot, clock)
        assert view.lines
        assert "What starts it" in screen_text(app)


async def test_what_happened_to_a_real_server_stands_on_the_screen(tmp_path: Path) -> None:
    orders = {"broken": {"fault": "crash-at-start"}, "web": {}}
    entries = {}
    for name, given in orders.items():
        made = scripted(tmp_path, name, **given)
        entries[name] = {"command": made.command, "args": list(made.args)}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": entries}))

    async def kubeconfig(name: str) -> str:
        return ""

    real = ToolServers(tmp_path / "mcp.json", tmp_path / "state", kubeconfig, SystemClock())
    try:
        for each in real.servers():
            await real.approve_server(each.name, each.digest)
        assert (await real.look("web")).state is ServerState.READY
        with pytest.raises(PilothouseError, match="cannot be started"):
            await real.look("broken")
        for size in SIZES:
            async with servers_of(real, size) as (app, pilot, _, clock):
                await drawn(pilot, clock)
                shown = screen_text(app)
                assert "web" in shown and "ready" in shown
                assert "FAILED" in shown
                assert "no licence found" in shown
    finally:
        await real.close()
