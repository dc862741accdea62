"""A server that misbehaves is told apart, bounded and ended; the others go on, and nothing is called twice."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.domain.toolserver import ServerState, Standing
from assistant.errors import PilothouseError
from assistant.tools.mcp.connection import CallNews
from assistant.tools.mcp.faults import McpCallError, McpNotApprovedError, McpServerError, McpUnknownOutcomeError
from assistant.tools.mcp.hub import SEARCH_SECONDS, Hub
from assistant.tools.mcp.pins import Pins
from assistant.tools.mcp.stdio import StderrLog
from tests.session.scripted import drain
from tests.unit.mcp.conftest import Desk, Desks

ROOT = Path(__file__).parents[3]


async def told(desk: Desk, name: str, seen: list[CallNews]) -> asyncio.Task[object]:
    """Start a call and return when its server has said that it works on it."""
    heard = asyncio.Event()

    def watch(news: CallNews) -> None:
        seen.append(news)
        if news.message:
            heard.set()

    task: asyncio.Task[object] = asyncio.create_task(desk.call(name, watch=watch))
    waiting = asyncio.create_task(heard.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    assert heard.is_set(), task
    return task


async def pause(desk: Desk, task: asyncio.Task[object]) -> None:
    """Let the pause before another start go by, where there is one."""
    while not task.done() and not desk.clock.sleeping:  # noqa: ASYNC110 - the clock is the test's
        await asyncio.sleep(0)
    await desk.clock.pass_seconds(20)


def gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_call_is_answered_and_its_children_are_gone_afterwards(desks: Desks) -> None:
    async with desks(good={}) as desk:
        await desk.approve("good")
        outcome = await desk.call("good__echo", "hello")
        assert outcome.ok
        assert outcome.text == "said hello"
        assert outcome.citation.request == 'mcp good echo {"text":"hello"}'
        assert desk.hub.status()[0].protocol == "2026-07-28"
    assert len(desk.groups) == 1
    assert all(gone(group) for group in desk.groups)


async def test_nothing_starts_before_it_is_needed(desks: Desks) -> None:
    async with desks(good={}) as desk:
        assert desk.hub.status()[0].state is ServerState.OFF
    assert desk.journal("good") == []


@pytest.mark.parametrize("fault", ["crash-in-call", "flood", "garbage-flood"])
async def test_a_call_that_the_server_does_not_survive_is_unknown_and_not_made_again(desks: Desks, fault: str) -> None:
    async with desks(bad={"fault": fault}, good={}) as desk:
        await desk.approve("bad")
        await desk.approve("good")
        with pytest.raises(McpUnknownOutcomeError) as caught:
            await desk.call("bad__echo")
        assert "not known" in caught.value.hint
        assert desk.calls("bad") == 1
        assert (await desk.call("good__echo")).text == "said hello"


async def test_the_reason_of_a_crash_is_told_without_its_secret(desks: Desks) -> None:
    async with desks(bad={"fault": "crash-in-call"}) as desk:
        await desk.approve("bad")
        with pytest.raises(McpUnknownOutcomeError) as caught:
            await desk.call("bad__echo")
        assert "out of luck" in caught.value.meaning
        assert "hunter2" not in caught.value.meaning
        log = desk.log("bad")
        assert "out of luck" in log.read_text()
        assert "hunter2" not in log.read_text()
        assert log.stat().st_mode & 0o777 == 0o600


async def test_a_server_that_died_is_started_again_for_the_next_call(desks: Desks) -> None:
    async with desks(bad={"fault": "crash-in-call"}) as desk:
        await desk.approve("bad")
        with pytest.raises(McpUnknownOutcomeError):
            await desk.call("bad__echo")
        again = asyncio.create_task(desk.call("bad__echo"))
        await pause(desk, again)
        with pytest.raises(McpUnknownOutcomeError):
            await again
        assert sum("start" in entry for entry in desk.journal("bad")) == 2
        assert desk.calls("bad") == 2


async def test_a_server_that_cannot_start_is_tried_a_few_times_only(desks: Desks) -> None:
    async with desks(bad={"fault": "crash-at-start"}, good={}) as desk:
        desk.hub.approve_server("bad", desk.hub.status()[0].digest)
        said: list[str] = []
        for _ in range(6):
            task = asyncio.create_task(desk.hub.tools("bad"))
            await pause(desk, task)
            with pytest.raises(McpServerError) as caught:
                await task
            said.append(f"{caught.value} {caught.value.detail}")
        assert "no licence found" in said[0]
        assert "4 times" in said[-1]
        assert sum("start" in entry for entry in desk.journal("bad")) == 4
        await desk.approve("good")
        assert (await desk.call("good__echo")).ok


async def test_a_program_that_is_not_there_is_named(desks: Desks) -> None:
    from assistant.tools.mcp.servers import Server

    async with desks(Server("none", "no-such-program-here", source="mcp.json")) as desk:
        desk.hub.approve_server("none", desk.hub.status()[0].digest)
        with pytest.raises(McpServerError, match="not there"):
            await desk.hub.tools("none")


@pytest.mark.parametrize("fault", ["hang", "wrong-id", "late", "byte-a-time"])
async def test_a_call_without_an_answer_is_given_up_in_time_and_the_server_is_told(desks: Desks, fault: str) -> None:
    async with desks(bad={"fault": fault}, good={}) as desk:
        await desk.approve("bad")
        await desk.approve("good")
        seen: list[CallNews] = []
        task = await told(desk, "bad__echo", seen)
        for _ in range(29):
            await desk.clock.pass_seconds(1)
        assert not task.done()
        assert (await desk.call("good__echo")).ok
        await desk.clock.pass_seconds(2)
        with pytest.raises(McpUnknownOutcomeError, match="within 30 seconds"):
            await task
        assert {round(news.seconds_left) for news in seen} >= {30, 20, 10, 1}
        assert any(news.progress == 1 and news.total == 4 for news in seen)
        assert desk.calls("bad") == 1


async def test_a_late_answer_is_nobody_elses(desks: Desks) -> None:
    async with desks(bad={"fault": "late"}) as desk:
        await desk.approve("bad")
        task = await told(desk, "bad__echo", [])
        await desk.clock.pass_seconds(31)
        with pytest.raises(McpUnknownOutcomeError):
            await task
        assert (await desk.call("bad__echo", "second")).text == "said second"


async def test_a_person_who_stops_does_not_wait_and_the_server_hears_of_it(desks: Desks) -> None:
    async with desks(bad={"fault": "hang"}) as desk:
        await desk.approve("bad")
        task = await told(desk, "bad__echo", [])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The server reads one line after the other: what it answers next, it got after the cancellation.
        await desk.hub.tools("bad")
        await desk.clock.pass_seconds(61)
        await desk.hub.tools("bad")
        assert any("cancelled" in entry for entry in desk.journal("bad"))


async def test_a_server_that_says_nothing_at_the_start_is_ended(desks: Desks) -> None:
    async with desks(bad={"fault": "silent"}) as desk:
        desk.hub.approve_server("bad", desk.hub.status()[0].digest)
        task = asyncio.create_task(desk.hub.tools("bad"))
        while not desk.groups:  # noqa: ASYNC110 - the hub's own callback
            await asyncio.sleep(0)
        await desk.clock.pass_seconds(31)
        with pytest.raises(McpServerError, match="not ready after 30 seconds"):
            await task
    assert all(gone(group) for group in desk.groups)


async def test_some_garbage_between_messages_does_no_harm(desks: Desks) -> None:
    async with desks(bad={"fault": "garbage"}) as desk:
        await desk.approve("bad")
        assert (await desk.call("bad__echo")).text == "said hello"


async def test_a_storm_of_changes_costs_one_list_a_call(desks: Desks) -> None:
    async with desks(bad={"fault": "storm"}) as desk:
        await desk.approve("bad")
        for text in ("one", "two", "three"):
            assert (await desk.call("bad__echo", text)).text == f"said {text}"
        assert desk.calls("bad") == 3


async def test_a_flood_on_standard_error_is_kept_in_bounds_with_its_last_words(desks: Desks) -> None:
    async with desks(bad={"fault": "stderr-flood"}) as desk:
        await desk.approve("bad")
        assert (await desk.call("bad__echo")).ok
    log = desk.log("bad")
    assert log.stat().st_size < 300_000
    assert log.read_text().rstrip().endswith("the last word")


async def test_a_server_that_ignores_every_request_to_end_is_killed(desks: Desks) -> None:
    async with desks(bad={"fault": "deaf"}) as desk:
        await desk.approve("bad")
        assert (await desk.call("bad__echo")).ok
    assert all(gone(group) for group in desk.groups)


async def test_closing_ends_a_call_under_way_and_a_start_under_way(desks: Desks) -> None:
    async with desks(bad={"fault": "hang"}, mute={"fault": "silent"}) as desk:
        await desk.approve("bad")
        calling = await told(desk, "bad__echo", [])
        desk.hub.approve_server("mute", desk.hub.status()[1].digest)
        starting = asyncio.create_task(desk.hub.tools("mute"))
        while len(desk.groups) < 2:  # noqa: ASYNC110 - the hub's own callback
            await asyncio.sleep(0)
        await desk.hub.close()
        with pytest.raises(McpUnknownOutcomeError):
            await calling
        with pytest.raises(McpServerError):
            await starting
        with pytest.raises(McpServerError, match="is closed"):
            await desk.call("bad__echo")
    assert all(gone(group) for group in desk.groups)


async def test_children_are_gone_when_the_task_that_holds_them_is_cancelled(desks: Desks) -> None:
    ready = asyncio.Event()
    groups: list[int] = []

    async def session() -> None:
        async with desks(bad={"fault": "deaf"}, good={}) as desk:
            await desk.approve("bad")
            await desk.approve("good")
            groups.extend(desk.groups)
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(session())
    await ready.wait()
    task.cancel()
    await asyncio.wait({task})
    assert len(groups) == 2
    assert all(gone(group) for group in groups)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from assistant.gate.process import SystemClock
from assistant.tools.mcp.hub import SEARCH_SECONDS, Hub
from assistant.tools.mcp.pins import Pins
from assistant.tools.mcp.pins import Pins
from assistant.tools.mcp.servers import Servers
from tests.unit.mcp.conftest import scripted

async def main():
    folder = Path(sys.argv[1])
    servers = Servers((scripted(folder, "bad", fault="deaf", hold=str(folder / "pipe")),))
    hub = Hub(servers, Pins(folder / "pins.json"), SystemClock(), kubeconfig=str, logs=folder)
    hub.approve_server("bad", hub.status()[0].digest)
    await hub.tools("bad")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_are_gone_when_we_are_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    us = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert us.stdout
        assert us.stdout.readline() == b"ready\n"
        assert not select.select([end], [], [], 0)[0], "the server lives"
        us.kill()
        assert select.select([end], [], [], 20)[0]
        assert os.read(end, 1) == b""
    finally:
        us.kill()
        us.wait()
        os.close(end)


async def test_an_unknown_tool_and_an_unknown_server_are_named(desks: Desks, tmp_path: Path) -> None:
    async with desks(good={}) as desk:
        await desk.approve("good")
        for name in ("good__nothing", "other__echo", "echo"):
            with pytest.raises(McpCallError):
                await desk.hub.prepare(name, {})
        assert issubclass(McpCallError, PilothouseError)
        assert isinstance(desk.hub, Hub)


async def test_a_search_does_not_wait_for_a_server_that_does_not_start(desks: Desks) -> None:
    async with desks(web={}, stuck={"fault": "silent"}) as desk:
        await desk.approve("web")
        status = next(each for each in desk.hub.status() if each.name == "stuck")
        desk.hub.approve_server("stuck", status.digest)
        searching = asyncio.create_task(desk.hub.search("say something"))
        await drain()
        assert not searching.done()
        await desk.clock.pass_seconds(SEARCH_SECONDS)
        assert [tool.name for tool in await searching] == ["web__echo"]
        assert next(each.state for each in desk.hub.status() if each.name == "stuck") is ServerState.STARTING


async def test_a_server_that_died_after_an_hour_is_started_again_and_the_others_never_notice(desks: Desks) -> None:
    async with desks(web={}, good={}) as desk:
        for name in ("web", "good"):
            await desk.approve(name)
            assert (await desk.call(f"{name}__echo")).ok
        await desk.clock.pass_seconds(3600)
        (first,) = {entry["pid"] for entry in desk.journal("web") if "call" in entry}
        # The call comes before anybody can have noticed; what the tools are is asked anew, which may be done twice.
        os.kill(first, signal.SIGKILL)
        again = asyncio.create_task(desk.call("web__echo"))
        for _ in range(40):
            await asyncio.wait({again}, timeout=0.25)
            if again.done():
                break
            await desk.clock.pass_seconds(0.5)
        assert (await again).ok
        assert desk.calls("web") == 2
        assert len({entry["pid"] for entry in desk.journal("web") if "call" in entry}) == 2
        assert (await desk.call("good__echo")).ok
        assert len({entry["pid"] for entry in desk.journal("good") if "call" in entry}) == 1


async def test_a_server_that_is_about_to_be_started_again_stays_away_once_the_hub_is_closed(desks: Desks) -> None:
    async with desks(bad={"fault": "crash-at-start"}) as desk:
        desk.hub.approve_server("bad", desk.hub.status()[0].digest)
        with pytest.raises(McpServerError):
            await desk.hub.tools("bad")
        waiting = asyncio.create_task(desk.hub.tools("bad"))
        while not desk.clock.sleeping:  # noqa: ASYNC110 - the clock is the test's
            await asyncio.sleep(0)
        await desk.hub.close()
        await desk.clock.pass_seconds(20)
        with pytest.raises(McpServerError, match="closed"):
            await waiting
        assert len(desk.groups) == 1


async def test_a_server_whose_approval_was_taken_back_is_ended(desks: Desks) -> None:
    async with desks(good={}) as desk:
        await desk.approve("good")
        await desk.call("good__echo")
        desk.hub.forget("good")
        async with asyncio.timeout(20):
            while not gone(desk.groups[0]):  # noqa: ASYNC110 - a process has no event
                await asyncio.sleep(0)
        with pytest.raises(McpNotApprovedError):
            await desk.hub.tools("good")
        assert len(desk.groups) == 1
        assert desk.hub.status()[0].standing is Standing.NEW


async def test_a_server_whose_approval_was_taken_back_elsewhere_is_ended_at_the_next_look(desks: Desks) -> None:
    async with desks(good={}) as desk:
        await desk.approve("good")
        await desk.call("good__echo")
        Pins(desk.folder / "state" / "mcp-pins.json").forget("good")
        with pytest.raises(McpNotApprovedError):
            await desk.hub.tools("good")
        async with asyncio.timeout(20):
            while not gone(desk.groups[0]):  # noqa: ASYNC110 - a process has no event
                await asyncio.sleep(0)


def test_a_secret_that_comes_in_two_pieces_is_not_in_the_log(tmp_path: Path) -> None:
    log = StderrLog(tmp_path / "mcp-one.log")
    log.begin()
    for piece in ("starting, Authorization: Bearer ghp_16C7e42F", "292c6912E7710c838347Ae178B4a\nready", " now\nby"):
        log.add(piece.encode())
    kept = log.path.read_text()
    assert "292c6912E7710c838347Ae178B4a" not in kept
    assert kept.endswith("ready now\n")
    log.add(b"e")
    log.end()
    assert log.path.read_text().endswith("ready now\nbye")


async def test_a_server_whose_approval_was_taken_back_is_not_started_again_after_its_pause(desks: Desks) -> None:
    async with desks(bad={"fault": "crash-at-start"}) as desk:
        desk.hub.approve_server("bad", desk.hub.status()[0].digest)
        with pytest.raises(McpServerError):
            await desk.hub.tools("bad")
        waiting = asyncio.create_task(desk.hub.tools("bad"))
        while not desk.clock.sleeping:  # noqa: ASYNC110 - the clock is the test's
            await asyncio.sleep(0)
        desk.hub.forget("bad")
        await desk.clock.pass_seconds(20)
        with pytest.raises(McpServerError, match="not approved any more"):
            await waiting
        assert len(desk.groups) == 1
