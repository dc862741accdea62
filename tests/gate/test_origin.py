"""Who asked: by token, by the client's word, by process. What was refused is on record with it, without bodies."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from assistant.domain.action import RequestClass
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import GateError
from assistant.gate.clients import NAME, Clients
from assistant.gate.kubeconfig import remove_stale
from assistant.gate.peer import process_of
from tests.gate.conftest import MERGE, OURS, SCALE, Lab, lab, says
from tests.gate.scripted import DEPLOYMENT
from tests.gate.test_holding import held

State = ProposalState
NOBODY_KNOWS = 2**22 + 1


def token_in(path: str | Path) -> str:
    return str(yaml.safe_load(Path(path).read_text())["users"][0]["user"]["token"])


def mode(path: str) -> int:
    return Path(path).stat().st_mode & 0o777 if Path(path).exists() else 0


def bearer(path: str | Path) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_in(path)}"}


def refused(here: Lab) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(here.folder / "state" / "journal.db")) as raw:
        rows = raw.execute("SELECT data FROM entries WHERE kind = 'refused' ORDER BY seq").fetchall()
    return [json.loads(row[0]) for row in rows]


class TestToken:
    async def test_of_a_named_client_is_shown_with_what_it_asks(self, tmp_path: Path) -> None:
        files = {"editor": str(tmp_path / "editor.yaml"), "ci-7": str(tmp_path / "ci.yaml")}
        async with lab(tmp_path, clients=files) as here:
            assert here.gate.ready["clients"] == {"default": here.gate.ready["kubeconfig"], **files}
            for name, path in here.gate.ready["clients"].items():
                assert mode(path) == 0o600
                async with here.client(**bearer(path)) as client:
                    asked = asyncio.create_task(self.patch(client))
                    proposal = await held(here.control)
                    assert (proposal.origin.kind, proposal.origin.token) == ("client", name)
                    assert f"kubeconfig {name}" in proposal.origin.who
                    await here.control.decide(says(proposal, Answer.DENY))
                    assert await asked == 403
            assert len({token_in(path) for path in here.gate.ready["clients"].values()}) == 3
        assert not [path for path in files.values() if mode(path)], "a stopped gate left its tokens"

    async def patch(self, client: aiohttp.ClientSession) -> int:
        async with client.patch(DEPLOYMENT, data=SCALE.body, headers={"Content-Type": MERGE}) as answer:
            return answer.status

    async def test_is_given_by_name_over_the_control_side_and_is_the_same_when_asked_again(self, here: Lab) -> None:
        path = await here.control.kubeconfig_for("mcp-kubernetes")
        assert await here.control.kubeconfig_for("mcp-kubernetes") == path
        assert Path(path).parent == here.folder / "run" / "gates"
        async with here.client(**bearer(path)) as client, client.get(DEPLOYMENT) as answer:
            assert answer.status == 200
        assert path != await here.control.kubeconfig_for("default") == here.gate.ready["kubeconfig"]

    @pytest.mark.parametrize("name", ["session", "", "../x", "a/b", "A", "a b", "-a", "a" * 33, "x\n"])
    async def test_is_not_given_for_a_name_that_cannot_be_one(self, here: Lab, name: str) -> None:
        before = sorted((here.folder / "run" / "gates").iterdir())
        with pytest.raises(GateError, match="cannot be the name"):
            await here.control.kubeconfig_for(name)
        assert sorted((here.folder / "run" / "gates").iterdir()) == before

    async def test_is_needed(self, here: Lab) -> None:
        for value in ("", "Bearer x", "Bearer " + here.gate.ready["control_token"], "Basic x"):
            async with here.client(Authorization=value) as client, client.get(DEPLOYMENT) as answer:
                assert answer.status == 401
        assert here.server.requests[-1].path != DEPLOYMENT

    async def test_of_our_session_is_told_from_all_others(self, here: Lab) -> None:
        clients = Clients()
        names = {name: clients.token(name) for name in ("default", "editor")}

        class Request:
            def __init__(self, token: str) -> None:
                from multidict import CIMultiDict

                self.headers = CIMultiDict({"Authorization": f"Bearer {token}"})

        assert clients.ours(Request(clients.session_token))  # type: ignore[arg-type]
        assert not any(clients.ours(Request(token)) for token in names.values())  # type: ignore[arg-type]
        # One of nobody's gets what the session gets, which is less.
        assert clients.ours(Request("x"))  # type: ignore[arg-type]

    @pytest.mark.parametrize("content", ["apiVersion: v1\nusers: [{name: admin, user: {token: t}}]\n", "", "{"])
    async def test_never_takes_the_place_of_a_file_that_is_not_ours(self, tmp_path: Path, content: str) -> None:
        mine = tmp_path / "config"
        mine.write_text(content)
        with pytest.raises(GateError, match="no guarded kubeconfig"):
            async with lab(tmp_path, clients={"editor": str(mine)}):
                pass
        assert mine.read_text() == content
        assert not list((tmp_path / "run" / "gates").iterdir())

    async def test_takes_the_place_of_one_that_a_killed_gate_left(self, tmp_path: Path) -> None:
        mine = tmp_path / "editor.yaml"
        async with lab(tmp_path, clients={"editor": str(mine)}):
            left = mine.read_bytes()
        mine.write_bytes(left)
        async with lab(tmp_path, clients={"editor": str(mine)}):
            assert mine.read_bytes() != left

    def test_files_of_a_killed_gate_go_with_the_next_one(self, tmp_path: Path) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        (tmp_path / "aa.json").write_text(json.dumps({"pid": gone.pid}))
        for name in ("aa.kubeconfig", "aa.mcp-x.kubeconfig", "ab.kubeconfig"):
            (tmp_path / name).write_text("x")
        remove_stale(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["ab.kubeconfig"]

    async def test_of_our_session_names_its_own_proposals(self, here: Lab) -> None:
        proposal = await here.control.propose(SCALE, replace(OURS, token="editor"), "k")
        assert (proposal.origin.kind, proposal.origin.token, proposal.origin.who) == (
            "session",
            "session",
            "pilothouse",
        )

    def test_names_are_safe_in_a_path_and_on_a_card(self) -> None:
        assert all(NAME.fullmatch(name) for name in ("a", "a-b", "claude-code", "x1", "a" * 32))


PROGRAM = """
import http.client, json, os, ssl
trust = ssl.create_default_context(cadata=os.environ["CA"])
connection = http.client.HTTPSConnection(os.environ["PLACE"], context=trust)
connection.request("PATCH", os.environ["OBJECT"], json.dumps({"spec": {"replicas": 5}}), {
    "Authorization": "Bearer " + os.environ["GIVEN"], "Content-Type": "application/merge-patch+json",
    "User-Agent": "agent/1 \\u202e".encode().decode("latin-1")})
print(connection.getresponse().status)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which process holds a connection")
class TestProcess:
    async def ask(self, here: Lab, *more: str) -> tuple[asyncio.subprocess.Process, Proposal]:
        (here.folder / "deploy.py").write_text(PROGRAM)
        ready = here.gate.ready
        given = {
            "PLACE": ready["data_url"].removeprefix("https://"), "CA": ready["ca_pem"], "OBJECT": DEPLOYMENT,
            "GIVEN": here.client_token,
        }  # fmt: skip
        child = await asyncio.create_subprocess_exec(
            sys.executable, "deploy.py", *more, stdout=subprocess.PIPE, env={**os.environ, **given}, cwd=here.folder
        )
        return child, await held(here.control)

    async def test_that_asks_is_named_with_its_number_and_command(self, here: Lab) -> None:
        child, proposal = await self.ask(here, "--in", "shop")
        assert proposal.origin.process.startswith(f"pid {child.pid}")
        assert "deploy.py --in shop" in proposal.origin.process
        assert f"pid {child.pid}" in proposal.origin.who
        await here.control.decide(says(proposal, Answer.DENY))
        out, _ = await child.communicate()
        assert out == b"403\n"

    async def test_has_no_secret_and_no_control_character_on_its_line(self, here: Lab) -> None:
        secret = "hunter" + "2-" + "Xk9" * 5
        child, proposal = await self.ask(here, "--password", secret, f"--token={secret}", "\x1b[2J\u202e", "y" * 500)
        shown = json.dumps(proposal.origin.who)
        assert secret not in shown
        assert "\\u001b" not in shown
        assert "\\u202e" not in shown
        assert len(proposal.origin.process) < 200
        await here.control.decide(says(proposal, Answer.DENY))
        await child.communicate()

    def test_is_said_to_be_unknown_where_it_cannot_be_known(self, tmp_path: Path) -> None:
        def none(words: list[str]) -> list[str]:
            return words

        assert "connection is gone" in process_of(None, ("127.0.0.1", 1), none)
        assert "not listed" in process_of(("127.0.0.1", 1), ("127.0.0.1", 2), none)
        (tmp_path / "net").mkdir()
        line = "   0: 0100007F:0001 0100007F:0002 01 00000000:00000000 00:00000000 00000000  {} 0 777 1\n"
        for uid, said in ((os.geteuid() + 1, f"a process of user {os.geteuid() + 1}"), (os.geteuid(), "hides")):
            (tmp_path / "net" / "tcp").write_text("head\n" + line.format(uid))
            assert said in process_of(("127.0.0.1", 1), ("127.0.0.1", 2), none, tmp_path)

    def test_is_found_for_a_socket_of_the_other_family(self, tmp_path: Path) -> None:
        def none(words: list[str]) -> list[str]:
            return words

        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "tcp").write_text("head\n")
        mapped = "0000000000000000FFFF00000100007F"
        line = f"   0: {mapped}:0001 {mapped}:0002 01 0:0 00:0 0  {os.geteuid()} 0 777 1\n"
        (tmp_path / "net" / "tcp6").write_text("head\n" + line)
        folder = tmp_path / str(NOBODY_KNOWS)
        (folder / "fd").mkdir(parents=True)
        (folder / "fd" / "3").symlink_to("socket:[777]")
        (folder / "exe").symlink_to("/usr/bin/node")
        (folder / "cmdline").write_bytes(b"/usr/bin/node\0server.js\0")
        assert process_of(("127.0.0.1", 1), ("127.0.0.1", 2), none, tmp_path) == f"pid {NOBODY_KNOWS}: node server.js"

    def test_is_not_known_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        assert "only Linux" in process_of(("127.0.0.1", 1), ("127.0.0.1", 2), lambda words: words)


class TestRefused:
    """What tried to change something and was refused by a rule is on record: who, what, which rule."""

    async def test_requests_are_recorded_without_bodies_and_queries(self, here: Lab) -> None:
        secret = "s3cr3t" + "-value"
        async with here.client(**bearer(here.gate.ready["kubeconfig"])) as client:
            for method, path, body in (
                ("PATCH", DEPLOYMENT + "?x=" + secret, secret),
                ("POST", "/api/v1/namespaces/shop/../secrets", secret),
                ("DELETE", "/nowhere/at/all", ""),
                ("GET", DEPLOYMENT + "%2Fx", ""),
            ):
                async with client.request(method, path.replace("..", "%2e%2e"), data=body) as answer:
                    assert 400 <= answer.status < 500
        lines = refused(here)
        assert [line["method"] for line in lines] == ["PATCH", "POST", "DELETE"]
        for line in lines:
            assert line["rule"]
            assert line["token"] == "default"
            assert line["client"].startswith("Python/")
            assert "pid" in line["process"] or "not known" in line["process"]
        assert secret not in json.dumps(lines)

    async def test_an_observing_gate_records_what_was_tried(self, tmp_path: Path) -> None:
        async with lab(tmp_path, mode="observe") as here:
            async with here.client() as client, client.delete(DEPLOYMENT) as answer:
                assert answer.status == 403
            with pytest.raises(GateError):
                await here.control.propose(SCALE, OURS, "k")
            assert [(line["rule"], line["token"]) for line in refused(here)] == [("observe-mode", "session")] * 2
            assert refused(here)[1]["session"] == OURS.session

    async def test_reads_that_fail_are_no_attempts(self, here: Lab) -> None:
        async with here.client() as client:
            for path in (DEPLOYMENT + "?unknown=1", "/api/v1/namespaces/shop/pods/none"):
                async with client.get(path) as answer:
                    assert answer.status >= 400
        assert refused(here) == []

    async def test_a_token_of_nobody_leaves_no_entry(self, here: Lab) -> None:
        async with here.client(Authorization="Bearer x") as client, client.delete(DEPLOYMENT) as answer:
            assert answer.status == 401
        assert refused(here) == []


async def test_no_origin_changes_the_class_of_a_request(here: Lab) -> None:
    """The same request of the session's token, a client's and another client's is held the same way."""
    classes = set()
    for name in ("default", "trusted", "system-masters"):
        path = await here.control.kubeconfig_for(name)
        async with here.client(**bearer(path), **{"User-Agent": "kubelet"}) as client:
            asked = asyncio.create_task(TestToken().patch(client))
            proposal = await held(here.control)
            classes.add((proposal.request_class, proposal.risk.level))
            await here.control.decide(says(proposal, Answer.DENY))
            assert await asked == 403
    assert {found[0] for found in classes} == {RequestClass.WRITE}
    assert len(classes) == 1
