"""What passes through the gate and what does not: tokens, browsers, secrets, streams, strange requests."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import stat
from pathlib import Path

import pytest
import yaml

from assistant.domain.proposal import Answer
from assistant.errors import ClusterError
from assistant.gate.context import load
from tests.gate.conftest import OURS, SCALE, Lab, lab, says
from tests.gate.scripted import ApiServer
from tests.gate.test_holding import held

SECRETS = "/api/v1/namespaces/shop/secrets"
VALUE = "pa55" + "word-of-nobody"
ENCODED = base64.b64encode(VALUE.encode()).decode()
JSON = {"Content-Type": "application/json"}


def secret() -> dict[str, object]:
    return {
        "apiVersion": "v1", "kind": "Secret", "data": {"pw": ENCODED},
        "metadata": {"name": "db", "namespace": "shop", "uid": "u3", "resourceVersion": "4"},
    }  # fmt: skip


class TestDoor:
    @pytest.mark.parametrize("token", ["", "Bearer x", "Basic x"])
    async def test_needs_the_right_token(self, here: Lab, token: str) -> None:
        before = len(here.server.requests)
        async with here.client(Authorization=token) as client, client.get("/api/v1/pods") as answer:
            assert answer.status == 401
        assert len(here.server.requests) == before

    async def test_keeps_the_two_tokens_apart(self, here: Lab) -> None:
        async with here.client() as client, client.get("/pilothouse/v1/proposals") as answer:
            assert answer.status == 401
        control = f"Bearer {here.gate.ready['control_token']}"
        async with here.client(Authorization=control) as client, client.get("/version") as answer:
            assert answer.status == 401

    @pytest.mark.parametrize("header", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
    async def test_does_not_open_to_browsers(self, here: Lab, header: dict[str, str]) -> None:
        async with here.client(**header) as client, client.get("/version") as answer:
            assert answer.status == 403

    async def test_never_hands_its_token_on(self, here: Lab) -> None:
        async with here.client() as client, client.get("/version") as answer:
            assert answer.status == 200
        sent = here.server.requests[-1].headers
        assert sent["Authorization"] == "Bearer up" + "stream"

    def test_leaves_files_that_only_the_owner_reads(self, here: Lab) -> None:
        config = Path(here.gate.ready["kubeconfig"])
        record = config.with_name(f"{here.gate.ready['gate']}.json")
        assert [stat.S_IMODE(p.stat().st_mode) for p in (config, record)] == [0o600, 0o600]
        value = yaml.safe_load(config.read_text())
        assert value["current-context"] == "lab"
        assert value["contexts"][0]["context"]["namespace"] == "shop"
        assert "upstream" not in config.read_text()


class TestSecrets:
    @pytest.mark.parametrize("accept", ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"])
    async def test_come_without_their_values(self, here: Lab, accept: str) -> None:
        here.server.objects[SECRETS + "/db"] = secret()
        async with here.client(Accept=accept) as client, client.get(SECRETS + "/db") as answer:
            text = await answer.text()
        assert ENCODED not in text
        assert list(json.loads(text)["data"]) == ["pw"]
        assert "json" in here.server.requests[-1].headers["Accept"]

    async def test_that_cannot_be_read_are_withheld(self, here: Lab) -> None:
        here.server.raw[SECRETS] = (200, JSON, b'{"items":[{"data":{"pw":"' + ENCODED.encode())
        async with here.client() as client, client.get(SECRETS) as answer:
            assert answer.status == 502
            assert ENCODED not in await answer.text()

    async def test_read_and_written_back_are_refused(self, here: Lab) -> None:
        here.server.objects[SECRETS + "/db"] = secret()
        async with here.client() as client:
            async with client.get(SECRETS + "/db") as answer:
                body = await answer.json()
            async with client.put(SECRETS + "/db", json=body) as answer:
                assert answer.status == 422
        assert here.server.writes == []

    async def test_written_show_no_value_anywhere(self, here: Lab) -> None:
        here.server.objects[SECRETS + "/db"] = secret()
        new = base64.b64encode(b"another-" + b"value-99").decode()
        async with here.client() as client:
            patch = {"data": {"pw": new}}
            headers = {"Content-Type": "application/merge-patch+json"}
            asked = asyncio.create_task(client.patch(SECRETS + "/db", json=patch, headers=headers))
            proposal = await held(here.control)
            assert new not in repr(proposal)
            assert ENCODED not in repr(proposal)
            assert proposal.undo.action is None
            assert any(line.sign == "+" for line in proposal.diff)
            await here.control.decide(says(proposal))
            answer = await asked
            assert new not in await answer.text()
        assert here.server.writes[0].body["data"] == {"pw": new}
        assert new.encode() not in (here.folder / "state" / "journal.db-wal").read_bytes()


class TestReads:
    async def test_of_compressed_answers_stay_as_they_are(self, here: Lab) -> None:
        body = gzip.compress(b'{"kind":"ServiceList","items":[]}', mtime=0)
        here.server.raw["/api/v1/services"] = (200, {**JSON, "Content-Encoding": "gzip"}, body)
        async with here.client() as client, client.get("/api/v1/services") as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert await answer.json() == {"kind": "ServiceList", "items": []}

    async def test_keep_status_and_body_of_a_refusal(self, here: Lab) -> None:
        here.server.raw["/api/v1/nodes"] = (403, JSON, b'{"kind":"Status","code":403}')
        async with here.client() as client, client.get("/api/v1/nodes") as answer:
            assert (answer.status, await answer.read()) == (403, b'{"kind":"Status","code":403}')

    async def test_say_that_the_api_server_is_gone(self, here: Lab) -> None:
        here.server.stop()
        await here.gate.upstream.close()
        here.gate.upstream._session = None
        async with here.client() as client, client.get("/api/v1/services") as answer:
            assert answer.status == 502
            assert "cannot be reached" in (await answer.json())["message"]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/api/v1/namespaces/a/pods/b/exec?command=ls", 400), ("/api/v1/proxy/nodes/n/metrics", 403),
            ("/metrics", 403), ("/nowhere", 403), ("/api/v1/pods?x=1", 400),
        ],
    )  # fmt: skip
    async def test_that_act_or_are_not_known_do_not_pass(self, here: Lab, path: str, code: int) -> None:
        before = len(here.server.requests)
        async with here.client() as client, client.get(path) as answer:
            assert answer.status == code
            assert (await answer.json())["kind"] == "Status"
        assert len(here.server.requests) == before


class TestUpstream:
    def test_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ClusterError, match="no kubeconfig"):
            load(str(tmp_path / "none"), None, ())

    @pytest.mark.parametrize("text", ["", "{", "clusters: 3", "\x00", "apiVersion: v1\nkind: Config\n"])
    def test_that_is_broken_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "k").write_text(text)
        with pytest.raises(ClusterError):
            load(str(tmp_path / "k"), None, ())

    @pytest.mark.parametrize("command", ["plugin", "{}/plugin"])
    def test_runs_no_plugin_that_is_not_allowed(self, tmp_path: Path, command: str) -> None:
        plugin = tmp_path / "plugin"
        plugin.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        plugin.chmod(0o755)
        value = {
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": command.format(tmp_path),
                "interactiveMode": "Never",
            }}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        (tmp_path / "k").write_text(yaml.safe_dump(value))
        with pytest.raises(ClusterError, match="not allowed"):
            load(str(tmp_path / "k"), None, ("/usr/bin/other",))
        assert not (tmp_path / "ran").exists()

    async def test_that_cannot_be_reached_ends_the_start(self, tmp_path: Path) -> None:
        server = ApiServer()
        await server.start()
        server.stop()
        server.start = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
        with pytest.raises(ClusterError, match="cannot be reached"):
            async with lab(tmp_path, server):
                pass


async def test_a_denied_change_is_denied_even_if_the_client_comes_again(here: Lab) -> None:
    proposal = await here.control.propose(SCALE, OURS, "k")
    await here.control.decide(says(proposal, Answer.DENY))
    again = await here.control.propose(SCALE, OURS, "k")
    assert again.id != proposal.id
    assert here.server.writes == []
