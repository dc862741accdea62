"""Servers as a session has them: the hub, the desk where a person is asked, and the gate's kubeconfigs, joined."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.domain.toolserver import ServerState, Standing
from assistant.errors import PilothouseError, StoreError
from assistant.policy.redact import redact_text
from assistant.session.asking import Asking
from assistant.session.clock import SystemClock
from assistant.session.recorder import SessionRecorder
from assistant.session.scrub import Scrubber
from assistant.store.memory import MemoryStore
from assistant.toolservers import LONGEST_CLIENT, ToolServers
from tests.session.scripted import OPENED, drain

from .conftest import scripted

SECONDS = 90


class Kept(MemoryStore):
    """A store in memory that says that everything was written."""

    async def flush(self) -> None:
        pass


@dataclass
class Session:
    servers: ToolServers
    asking: Asking
    recorder: SessionRecorder
    folder: Path
    asked_for: list[str]
    told: list[tuple[str, float]]
    gates: list[str]
    """What the kubeconfigs of the gate that runs now end in, the last one."""

    async def approve(self, name: str) -> None:
        known = {each.name: each for each in self.servers.servers()}
        await self.servers.approve_server(name, known[name].digest)
        shown = await self.servers.look(name)
        await self.servers.approve_tools(name, {tool.name: tool.digest for tool in shown.tools})

    def call(self, name: str, **arguments: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(
            self.servers.call(name, arguments, "T1", lambda text, left: self.told.append((text, left)))
        )

    async def until(self, what: str) -> Any:
        async with asyncio.timeout(SECONDS):
            while True:
                change = self.recorder.next_change
                if found := getattr(self.recorder.case, what):
                    return found[0]
                await change.wait()

    def journal(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@asynccontextmanager
async def session(folder: Path, reads: tuple[str, ...] = (), **scripts: dict[str, Any]) -> AsyncIterator[Session]:
    made = {name: scripted(folder, name, **orders) for name, orders in scripts.items()}
    entries = {
        name: {"command": each.command, "args": list(each.args), "reads": list(reads)} for name, each in made.items()
    }
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": entries}))
    clock, asked_for, gates = SystemClock(), list[str](), [""]
    recorder = SessionRecorder("s1", Kept(StoreError("", "")), clock, lambda text: (text, 0))
    recorder.emit(OPENED)
    recorder.emit(ev.Asked(1, "why?", "shop"))
    asking = Asking(clock, "alice")
    asking.bind(recorder)
    asking.attended = True

    async def kubeconfig(name: str) -> str:
        asked_for.append(name)
        return str(folder / f"{name}.kubeconfig") + (f".{gates[-1]}" if gates[-1] else "")

    servers = ToolServers(folder / "mcp.json", folder / "state", kubeconfig, clock, asking)
    try:
        async with asyncio.timeout(SECONDS):
            yield Session(servers, asking, recorder, folder, asked_for, [], gates)
    finally:
        await servers.close()


async def test_looking_starts_nothing_and_approving_starts_only_what_was_approved(tmp_path: Path) -> None:
    async with session(tmp_path, one={}, two={}) as here:
        assert [each.standing for each in here.servers.servers()] == [Standing.NEW] * 2
        assert await here.servers.approved() == ()
        assert await here.servers.search("say something", 5) == []
        await here.approve("one")
        assert await here.servers.approved() == ("one",)
        names = [each["function"]["name"] for each in await here.servers.search("say something", 5)]
        assert names == ["one__echo"]
        assert here.journal("two") == []
        states = {each.name: each.state for each in here.servers.servers()}
        assert states == {"one": ServerState.READY, "two": ServerState.OFF}
        assert set(here.asked_for) == {"mcp-one"}


async def test_each_server_has_a_kubeconfig_of_its_own(tmp_path: Path) -> None:
    async with session(tmp_path, ("echo",), one={}, two={}) as here:
        for name in ("one", "two"):
            await here.approve(name)
            assert (await here.call(f"{name}__echo", text="hello")).ok
        seen = {name: here.journal(name)[-1]["env"]["KUBECONFIG"] for name in ("one", "two")}
        assert seen == {name: str(tmp_path / f"mcp-{name}.kubeconfig") for name in ("one", "two")}


async def test_a_call_waits_for_a_yes_to_what_is_shown_and_is_made_once(tmp_path: Path) -> None:
    async with session(tmp_path, one={}) as here:
        await here.approve("one")
        calling = here.call("one__echo", text="hello")
        held = await here.until("held_calls")
        assert any("hello" in line for line in held.lines)
        assert not [entry for entry in here.journal("one") if "call" in entry]
        here.asking.decide(held.call, held.digest, True)
        assert (await calling).text == "said hello"
        assert len([entry for entry in here.journal("one") if "call" in entry]) == 1
        calling = here.call("one__echo", text="hello")
        held = await here.until("held_calls")
        here.asking.decide(held.call, held.digest, False, "not again")
        with pytest.raises(PilothouseError, match="not again"):
            await calling
        assert len([entry for entry in here.journal("one") if "call" in entry]) == 1


async def test_what_changes_while_a_person_reads_is_not_called(tmp_path: Path) -> None:
    async with session(tmp_path, one={}) as here:
        await here.approve("one")
        calling = here.call("one__echo", text="hello")
        held = await here.until("held_calls")
        await here.servers.forget("one")
        here.asking.decide(held.call, held.digest, True)
        with pytest.raises(PilothouseError, match="approved"):
            await calling
        assert not [entry for entry in here.journal("one") if "call" in entry]


@pytest.mark.parametrize("era", ["2025-06-18", "2025-11-25", "2026-07-28"])
async def test_a_servers_question_is_answered_by_the_person(tmp_path: Path, era: str) -> None:
    async with session(tmp_path, ("echo",), one={"fault": "elicits", "era": era}) as here:
        await here.approve("one")
        calling = here.call("one__echo", text="hello")
        question = await here.until("questions")
        assert (question.server, question.message) == ("one", "Approve A-0001?")
        assert [field.name for field in question.fields] == ["ok"]
        here.asking.reply(question.question, Reply.ACCEPT, {"ok": "yes"})
        assert (await calling).ok
        assert here.recorder.case.questions == ()
        if era == "2026-07-28":
            assert (await calling).text == "said accept"
        else:
            answered = next(entry["answered"] for entry in here.journal("one") if "answered" in entry)
            assert answered == {"action": "accept", "content": {"ok": True}}


async def test_a_call_that_is_stopped_takes_its_question_along(tmp_path: Path) -> None:
    async with session(tmp_path, ("echo",), one={"fault": "elicits"}) as here:
        await here.approve("one")
        calling = here.call("one__echo", text="hello")
        await here.until("questions")
        calling.cancel()
        await asyncio.wait({calling})
        await drain()
        assert here.recorder.case.questions == ()


async def test_a_tool_whose_words_look_like_a_secret_is_not_told_of(tmp_path: Path) -> None:
    async with session(tmp_path, one={"more": []}, two={"about": "password=" + "hunter2-" * 3}) as here:
        for name in ("one", "two"):
            await here.approve(name)
        names = {each["function"]["name"] for each in await here.servers.search("says given", 5)}
        assert "one__echo" in names


async def test_a_file_that_cannot_be_read_is_a_sentence_and_no_servers(tmp_path: Path) -> None:
    async with session(tmp_path, one={}) as here:
        (tmp_path / "mcp.json").write_text("{")
        assert "mcp.json is not JSON" in here.servers.problem
        assert here.servers.servers() == ()
        assert await here.servers.approved() == ()


async def test_a_person_sees_each_argument_as_it_is_sent_or_nothing_is_sent(tmp_path: Path) -> None:
    async with session(tmp_path, one={}) as here:
        here.recorder._scrub = Scrubber(redact_text)
        await here.approve("one")
        for hidden in ({"api_key": 12345678}, {"deep": [{"tokens": 123456789}]}):
            with pytest.raises(PilothouseError, match="looks like a secret"):
                await here.call("one__echo", **hidden)
        assert here.recorder.case.held_calls == ()
        assert not [entry for entry in here.journal("one") if "call" in entry]


async def test_a_gate_that_is_started_anew_while_a_call_is_held_is_the_one_that_the_call_goes_to(
    tmp_path: Path,
) -> None:
    async with session(tmp_path, one={}) as here:
        await here.approve("one")
        calling = here.call("one__echo", text="hello")
        held = await here.until("held_calls")
        here.gates.append("second")
        here.asking.decide(held.call, held.digest, True)
        assert (await calling).ok
        seen = [entry["env"]["KUBECONFIG"] for entry in here.journal("one") if "env" in entry]
        assert seen[-1] == str(tmp_path / "mcp-one.kubeconfig.second")


async def test_long_names_of_servers_do_not_make_one_client_at_the_gate(tmp_path: Path) -> None:
    names = ("observability-of-staging-eu-west", "observability-of-staging-eu-east")
    async with session(tmp_path, (), **{name: dict[str, Any]() for name in names}) as here:
        for name in names:
            await here.approve(name)
        assert len(set(here.asked_for)) == 2
        assert all(re.fullmatch(r"mcp-observability-[a-z0-9-]+[a-z0-9]", each) for each in here.asked_for)
        assert all(len(each) <= LONGEST_CLIENT for each in here.asked_for)


async def test_a_catalogue_that_is_not_shipped_is_told_as_a_fault_of_the_file(tmp_path: Path) -> None:
    async with session(tmp_path) as here:
        (tmp_path / "mcp.json").write_text('{"mcpServers": {"one": {"command": "one", "profile": "nope"}}}')
        assert "'nope' is not shipped" in here.servers.problem
        assert here.servers.servers() == ()
