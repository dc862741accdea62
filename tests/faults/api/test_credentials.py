"""Credentials that are refused or cannot be had: fetched anew once, then "login needed", and no token in any text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.domain.proposal import CheckResult, ProposalState
from assistant.errors import ClusterError, PilothouseError
from assistant.gate.context import load
from assistant.gate.plugin import PluginError, run_plugin
from assistant.gate.process import start
from assistant.gate.settings import Settings
from assistant.gate.upstream import Upstream
from tests.faults.api.authority import Authority
from tests.faults.api.bench import Bench, bench
from tests.faults.api.wire import PODS, Fault, Seen, Wire, Writer, answering, failing
from tests.gate.conftest import says

State = ProposalState
V1 = "client.authentication.k8s.io/v1"
OLD, NEW = "old-" + "credential-7Jq", "new-" + "credential-9Xw"


def plugin(folder: Path, script: str) -> Path:
    """Write a credential plugin; it counts its runs in a file beside it."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def credential(token: str = NEW, **status: Any) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": token, **status}})


def runs(folder: Path) -> int:
    path = folder / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def with_plugin(path: Path, **more: Any) -> Wire:
    return Wire(user={"exec": {"apiVersion": V1, "command": str(path), **more}})


def accepting(token: str, then: Fault) -> Fault:
    """Do `then` for this token, refuse any other."""

    async def fault(seen: Seen, writer: Writer) -> None:
        good = seen.headers.get("authorization") == f"Bearer {token}"
        await (then if good else failing(401, "Unauthorized"))(seen, writer)

    return fault


EMPTY = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}


@pytest.fixture
def texts(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """Collects what a person could read; at the end none of it holds a token."""
    caplog.set_level(logging.DEBUG)
    found: list[str] = []
    yield found
    out, err = capfd.readouterr()
    everything = "\n".join([*found, out, err, caplog.text])
    assert OLD not in everything
    assert NEW not in everything


async def refused(seen: Seen, writer: Writer) -> None:
    await failing(401, "Unauthorized")(seen, writer)


@contextlib.contextmanager
def parents_words(words: bytes) -> Iterator[None]:
    """Put these bytes on this process's standard input, which is the gate's line to its parent."""
    kept = os.dup(0)
    reading, writing = os.pipe()
    os.write(writing, words)
    os.close(writing)
    os.dup2(reading, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)


class TestATokenThatIsRefused:
    async def test_is_read_anew_from_the_kubeconfig_once_and_the_read_goes_on(
        self, tmp_path: Path, texts: list[str]
    ) -> None:
        wire = Wire(user={"token": OLD})
        async with bench(tmp_path, wire) as it:
            wire.user = {"token": NEW}  # somebody logged in again
            wire.kubeconfig(tmp_path / "kubeconfig")
            wire.faults["list"] = [refused]
            ended = await it.read("list")
            assert ended.ok
            sent = [seen.headers["authorization"] for seen in wire.of("list")]
            assert sent == [f"Bearer {OLD}", f"Bearer {NEW}"]
            texts += [repr(it.screen.events), *it.screen.plain]

    @pytest.mark.parametrize("operation", ["list", "log"])
    async def test_and_stays_so_is_login_needed_with_the_command(
        self, tmp_path: Path, texts: list[str], operation: str
    ) -> None:
        async with bench(tmp_path, Wire(user={"token": OLD})) as it:
            it.wire.faults[operation] = [refused] * 9
            ended = await it.read(operation)
            assert not ended.ok
            assert "Login needed" in ended.result
            assert "kubectl --context lab auth whoami" in ended.result
            assert len(it.wire.of(operation)) == 1, "there was no other token to try"
            assert it.screen.waits == []
            # The session is kept: once somebody has logged in, reading goes on through the same gate.
            it.wire.faults.clear()
            it.reader.refresh("shop")
            assert (await it.read(operation)).ok
            texts += [repr(it.screen.events), *it.screen.plain]

    async def test_is_told_to_foreign_clients_as_unauthorized(self, tmp_path: Path) -> None:
        async with bench(tmp_path, Wire(user={"token": OLD})) as it:
            for query in ("", "?watch=true"):
                it.wire.faults["list"] = it.wire.faults["watch"] = [refused]
                async with it.lab.client() as client, client.get(PODS + query) as answer:
                    assert answer.status == 401
                    assert "Login needed" in (await answer.json())["message"]
                it.wire.faults.clear()

    async def test_on_a_dry_run_makes_it_unknown(self, tmp_path: Path, texts: list[str]) -> None:
        async with bench(tmp_path, Wire(user={"token": OLD})) as it:
            it.wire.faults["dry run"] = [refused] * 3
            proposal = await it.propose()
            check = {c.name: c for c in proposal.checks}["dry run"]
            assert check.result is CheckResult.UNKNOWN
            assert "Login needed" in check.text
            texts.append(repr(proposal))

    async def test_on_a_change_fails_it_and_it_is_not_sent_again(self, tmp_path: Path, texts: list[str]) -> None:
        wire = Wire(user={"token": OLD})
        async with bench(tmp_path, wire) as it:
            proposal = await it.propose()
            await it.lab.control.decide(says(proposal))
            wire.user = {"token": NEW}
            wire.kubeconfig(tmp_path / "kubeconfig")
            wire.faults["mutate"] = [refused] * 3
            outcome = await it.lab.control.execute(proposal.id)
            assert outcome.state is State.FAILED
            assert "Login needed" in outcome.message
            assert "Nothing was changed" in outcome.message
            assert len(wire.of("mutate")) == 1
            texts.append(repr(outcome))

    async def test_many_reads_at_once_run_the_plugin_once(self, tmp_path: Path) -> None:
        wire = with_plugin(plugin(tmp_path, f"echo '{credential(OLD)}'"))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            before = runs(tmp_path)
            wire.faults["list"] = [refused] * 40
            async with it.lab.client() as client:
                answers = await asyncio.gather(*(client.get(PODS) for _ in range(8)))
            assert {answer.status for answer in answers} == {401}
            assert runs(tmp_path) - before == 1

    async def test_many_reads_at_once_share_the_credential_that_one_of_them_fetched(self, tmp_path: Path) -> None:
        script = f"test $(wc -l < {tmp_path}/runs) = 1 && echo '{credential(OLD)}' || echo '{credential(NEW)}'"
        wire = with_plugin(plugin(tmp_path, script))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            wire.faults["list"] = [accepting(NEW, answering(200, EMPTY))] * 16
            async with it.lab.client() as client:
                answers = await asyncio.gather(*(client.get(PODS) for _ in range(8)))
            assert {answer.status for answer in answers} == {200}
            assert runs(tmp_path) == 2

    async def test_reads_one_after_the_other_do_not_run_the_plugin_each_time(self, tmp_path: Path) -> None:
        wire = with_plugin(plugin(tmp_path, f"echo '{credential(OLD)}'"))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            before = runs(tmp_path)
            wire.faults["list"] = [refused] * 9
            async with it.lab.client() as client:
                assert [(await client.get(PODS)).status for _ in range(4)] == [401] * 4
            assert runs(tmp_path) - before == 1


class TestATokenFile:
    async def test_is_read_for_every_request(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text(OLD)
        async with bench(tmp_path, Wire(user={"tokenFile": "token"})) as it:  # relative to the kubeconfig
            path.write_text(NEW + "\n")
            await it.read("list")
            assert it.wire.of("list")[-1].headers["authorization"] == f"Bearer {NEW}"

    async def test_that_goes_away_right_before_a_change_fails_it_unsent(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "token"
        path.write_text(OLD)
        async with bench(tmp_path, Wire(user={"tokenFile": str(path)})) as it:
            proposal = await it.propose()
            await it.lab.control.decide(says(proposal))
            real = Upstream.write

            def without(way: Upstream, *request: Any, **options: Any) -> Any:
                path.unlink()
                return real(way, *request, **options)

            monkeypatch.setattr(Upstream, "write", without)
            outcome = await it.lab.control.execute(proposal.id)
            assert outcome.state is State.FAILED
            assert "Nothing was sent: Login needed" in outcome.message
            assert it.wire.of("mutate") == []

    async def test_that_is_gone_is_login_needed(self, tmp_path: Path) -> None:
        path = tmp_path / "token"
        path.write_text(OLD)
        async with bench(tmp_path, Wire(user={"tokenFile": str(path)})) as it:
            path.unlink()
            ended = await it.read("list")
            assert "Login needed" in ended.result
            assert it.wire.of("list") == []


class TestACredentialPlugin:
    async def test_runs_again_when_its_credential_has_run_out(self, tmp_path: Path) -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        wire = with_plugin(plugin(tmp_path, f"echo '{credential(expirationTimestamp=soon)}'"))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            before = runs(tmp_path)
            await it.read("list")
            assert runs(tmp_path) == before + 1
            assert it.wire.of("list")[-1].headers["authorization"] == f"Bearer {NEW}"

    async def test_whose_token_is_refused_runs_once_more(self, tmp_path: Path, texts: list[str]) -> None:
        script = f"test $(wc -l < {tmp_path}/runs) = 1 && echo '{credential(OLD)}' || echo '{credential(NEW)}'"
        wire = with_plugin(plugin(tmp_path, script))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            it.wire.faults["list"] = [refused]
            assert (await it.read("list")).ok
            assert runs(tmp_path) == 2
            assert it.wire.of("list")[-1].headers["authorization"] == f"Bearer {NEW}"
            texts += [repr(it.screen.events)]

    async def test_that_fails_later_is_login_needed_and_the_session_is_kept(
        self, tmp_path: Path, texts: list[str]
    ) -> None:
        script = f"test -e {tmp_path}/broken && {{ echo {NEW}; echo {NEW} >&2; exit 3; }}; echo '{credential(OLD)}'"
        wire = with_plugin(plugin(tmp_path, script))
        async with bench(tmp_path, wire, exec_allow=(str(tmp_path / "plugin"),)) as it:
            (tmp_path / "broken").touch()
            it.wire.faults["list"] = [refused]
            ended = await it.read("list")
            assert not ended.ok
            assert "Login needed: plugin failed (exit 3)" in ended.result
            assert "auth whoami" in ended.result
            (tmp_path / "broken").unlink()
            it.reader.refresh("shop")
            assert (await it.read("list")).ok
            texts += [repr(it.screen.events), *it.screen.plain]

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            (f"echo {NEW}; echo {NEW} >&2; exit 1", "failed (exit 1)"),
            (f"echo '{{\"token\": \"{NEW}'", "printed something that is no credential"),
            (f"echo {NEW}", "printed something that is no credential"),
            (f"echo '{credential().replace('ExecCredential', 'Other')}'", "printed something that is no credential"),
            (f"echo '{credential(NEW).replace('/v1', '/v9')}'", "speaks another version"),
            (f"echo '{credential('')}'", "printed a credential that cannot be used"),
            (f"echo '{credential(NEW, expirationTimestamp='tomorrow')}'", "printed a credential that cannot be used"),
            (f"echo '{credential(NEW, clientCertificateData='half')}'", "printed a credential that cannot be used"),
            (f"head -c 100000 /dev/urandom; echo {NEW}", "printed something that is no credential"),
        ],
    )  # fmt: skip
    async def test_that_gives_none_stops_the_start_and_is_not_quoted(
        self, tmp_path: Path, texts: list[str], script: str, said: str
    ) -> None:
        path = plugin(tmp_path, script)
        wire = with_plugin(path)
        await wire.start()
        with pytest.raises(ClusterError) as caught:
            await start(
                Settings(
                    state_dir=str(tmp_path / "s"), runtime_dir=str(tmp_path / "r"), exec_allow=(str(path),),
                    kubeconfig=wire.kubeconfig(tmp_path / "kubeconfig"),
                )
            )  # fmt: skip
        wire.stop()
        error = caught.value
        assert "Login needed" in error.meaning
        assert said in error.meaning
        assert "kubectl --context lab auth whoami" in error.hint
        chain = [error.__cause__, error.__context__]
        texts += [repr(error), error.meaning, error.hint, error.detail, *map(repr, chain)]
        assert wire.seen == []

    def test_that_hangs_is_ended_with_its_children(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait")
        began = time.monotonic()
        with pytest.raises(PluginError, match=r"did not end within 0\.5 s"):
            run_plugin({"apiVersion": V1, "command": str(path)}, {}, 0.5)
        assert time.monotonic() - began < 5
        child = int((tmp_path / "child").read_text())
        state = Path(f"/proc/{child}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"

    def test_gets_neither_our_standard_input_nor_a_terminal(self, tmp_path: Path) -> None:
        path = plugin(
            tmp_path,
            f"cd {tmp_path}; cat > stdin; echo \"$KUBERNETES_EXEC_INFO\" > info; env > env; echo '{credential()}'",
        )
        spec = {
            "apiVersion": V1,
            "command": str(path),
            "provideClusterInfo": True,
            "env": [{"name": "REGION", "value": "eu"}],
        }
        with parents_words(b"what the parent says to the gate\n"):
            assert run_plugin(spec, {"server": "https://192.0.2.1"}).token == NEW
        assert (tmp_path / "stdin").read_text() == ""
        info = json.loads((tmp_path / "info").read_text())
        assert info["spec"] == {"interactive": False, "cluster": {"server": "https://192.0.2.1"}}
        assert "REGION=eu" in (tmp_path / "env").read_text()

    def test_that_wants_a_terminal_is_not_run(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, f"echo '{credential()}'")
        with pytest.raises(PluginError, match="wants a terminal"):
            run_plugin({"apiVersion": V1, "command": str(path), "interactiveMode": "Always"}, {})
        assert runs(tmp_path) == 0

    def test_that_is_not_allowed_is_not_run(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, f"echo '{credential()}'")
        wire = with_plugin(path)
        wire.url = "http://127.0.0.1:9"
        with pytest.raises(ClusterError, match="not allowed"):
            load(wire.kubeconfig(tmp_path / "kubeconfig"), None, (os.devnull,))
        assert runs(tmp_path) == 0


class TestABrokenKubeconfig:
    @pytest.mark.parametrize("user", [{"token": NEW, "client-certificate-data": "%%%" + NEW}, {"token": NEW}])
    def test_is_named_without_its_tokens(self, tmp_path: Path, texts: list[str], user: dict[str, Any]) -> None:
        wire = Wire(user=user)
        wire.url = "https://127.0.0.1:9"
        if "client-certificate-data" not in user:
            wire.cluster = {"certificate-authority": str(tmp_path / "gone.pem")}
        with pytest.raises(PilothouseError) as caught:
            load(wire.kubeconfig(tmp_path / "kubeconfig"), None, ())
        texts += [caught.value.meaning, caught.value.hint, caught.value.detail, repr(caught.value.__cause__)]

    def test_whose_token_stands_in_the_wrong_place_is_named_without_it(self, tmp_path: Path, texts: list[str]) -> None:
        wire = Wire()
        wire.url = "https://127.0.0.1:9"
        path = Path(wire.kubeconfig(tmp_path / "kubeconfig"))
        value = yaml.safe_load(path.read_text())
        value["users"] = [{"name": "u", "token": NEW}]  # the official loader quotes the whole entry
        path.write_text(yaml.safe_dump(value))
        with pytest.raises(PilothouseError) as caught:
            load(str(path), None, ())
        assert "Expected key user" in caught.value.detail
        texts += [caught.value.meaning, caught.value.hint, caught.value.detail, repr(caught.value.__cause__)]


class TestAKubeconfigThatNamesAnotherCluster:
    @pytest.mark.parametrize("what", ["address", "authority"])
    async def test_when_credentials_are_read_anew_stops_everything(self, tmp_path: Path, what: str) -> None:
        authority = Authority()
        wire = Wire(
            user={"token": OLD}, tls=authority.server(), cluster={"certificate-authority-data": authority.data}
        )  # fmt: skip
        other = Wire(tls=authority.server())
        await other.start()
        async with bench(tmp_path, wire) as it:
            proposal = await it.propose()
            ours, wire.user = wire.url, {"token": NEW}
            if what == "address":
                wire.url = other.url
            else:
                wire.cluster = {"certificate-authority-data": Authority().data}
            wire.kubeconfig(tmp_path / "kubeconfig")
            wire.url = ours
            wire.faults["list"] = [refused]
            ended = await it.read("list")
            assert not ended.ok
            assert "another address or certificate authority" in ended.result
            assert await it.lab.control.decide(says(proposal)) is State.VOID
            assert other.seen == [], "the other address got nothing"
            assert all(seen.headers["authorization"] == f"Bearer {OLD}" for seen in wire.seen)
        other.stop()


def test_the_bench_sends_what_the_kubeconfig_says(it: Bench) -> None:
    assert all("authorization" in seen.headers for seen in it.wire.seen)
