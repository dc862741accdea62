"""The expert from question to verification, over HTTP against a recorded cluster that heals."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from agents.expert.mind import VERIFY_SECONDS, ExpertMind
from assistant.cluster.client import ClusterClient
from assistant.domain.action import Action
from assistant.domain.canonical import sha256
from assistant.domain.case import Case, ProposalCase
from assistant.domain.event import Healing, Payload, ToolEnded
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.finding import Role, Verdict
from assistant.domain.ports import Turn
from assistant.domain.proposal import Origin
from assistant.domain.target import Target
from assistant.tools.kube import KubeReader
from tests.session.scripted import proposal

from .test_practice import PRACTICE, unpack


class Log:
    """A recorder that numbers evidence and keeps events."""

    def __init__(self) -> None:
        self.events: list[Payload] = []
        self.case = Case()
        self.facts: dict[tuple[str, str, str], Evidence] = {}

    def emit(self, payload: Payload) -> None:
        self.events.append(payload)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        key = (citation.request, citation.quote, citation.body)
        fact = Evidence(f"E{len(self.facts) + 1}", *key[:2], datetime(2026, 1, 1, tzinfo=UTC), "0" * 64, len(key[2]))
        return self.facts.setdefault(key, fact)

    def keep(self, text: str) -> str:
        return sha256(text)

    def new_call(self) -> str:
        return f"C{len(self.events)}"

    def steering(self) -> tuple[str, ...]:
        return ()

    async def flush(self) -> None:
        return None


class Hurried:
    """A clock whose minutes are short: each sleep really yields, and counts in full."""

    def __init__(self, real_seconds: float) -> None:
        self.passed, self.real = 0.0, real_seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        await asyncio.sleep(self.real)


class Stopped(Hurried):
    """A clock that breaks off whoever begins to wait."""

    async def sleep(self, seconds: float) -> None:
        raise asyncio.CancelledError


def authority(kubeconfig: Path) -> str:
    cluster = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


@asynccontextmanager
async def recorded(name: str, tmp: Path) -> AsyncIterator[tuple[dict[str, Any], str]]:
    root, _ = unpack(PRACTICE / name / "bundle.tar.gz", tmp / "before")
    after, _ = unpack(PRACTICE / name / "after.tar.gz", tmp / "after")
    setting = {
        "bundle": str(root),
        "after": str(after),
        "heals_when": str(PRACTICE / name / "heals_when.yaml"),
        "heal_seconds": [0.1, 0.2],
        "request_log": None,
        "runtime_dir": str(tmp),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant.cluster.server", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(setting).encode() + b"\n")
        await child.stdin.drain()
        ready = json.loads(await asyncio.wait_for(child.stdout.readline(), 30))
        assert ready["ready"], ready
        yield ready, authority(Path(ready["kubeconfig"]))
    finally:
        child.stdin.close()
        await asyncio.wait_for(child.wait(), 10)


async def test_from_a_question_to_a_verified_fix(tmp_path: Path) -> None:
    async with (
        recorded("lost-points", tmp_path) as (ready, ca),
        ClusterClient(ready["url"], ready["token"], ca) as client,
    ):
        clock, log = Hurried(0.1), Log()
        mind = ExpertMind(KubeReader(client, clock), clock)
        turn = Turn("s", 1, "points are not shown in the app", "loyalty")
        steps = await mind.plan(turn, log)
        found = await asyncio.gather(*(mind.investigate(turn, step, log) for step in steps))
        before = client.requests
        done = await mind.conclude(turn, tuple(f for part in found for f in part), log)
        assert client.requests == before, "concluding reads nothing again"
        assert done.verdict is Verdict.FAULT
        (root,) = [f for f in done.findings if f.role is Role.ROOT_CAUSE]
        assert (root.id, root.target.kind, root.target.name) == ("F1", "Service", "loyalty-api")
        assert root.evidence and all(f"[{e}]" in done.markdown for e in root.evidence[:2])
        known = {e.id for e in log.facts.values()}
        assert {e for f in done.findings for e in f.evidence} <= known
        remedy = done.remedies[0]
        assert remedy.fixes == ("F1",) and remedy.action is not None

        same = await mind.verify(turn, root, "P1", log)
        assert same.healing is Healing.NOT_FIXED
        assert clock.passed >= VERIFY_SECONDS

        action = remedy.action
        head = {"Authorization": f"Bearer {ready['token']}", "Content-Type": action.content_type}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            url = ready["url"] + action.path
            async with session.request(action.method, url, data=action.body, headers=head) as answer:
                assert answer.status == 200
        healed = await mind.verify(turn, root, "P1", log)
        assert healed.healing is Healing.FIXED, healed.text
        assert healed.evidence
        assert not [e for e in log.events if isinstance(e, ToolEnded) and e.ok and not e.result]


async def test_a_setting_changed_under_back_off_is_not_judged_by_the_run_before_it(tmp_path: Path) -> None:
    async with (
        recorded("stuck-release", tmp_path) as (ready, ca),
        ClusterClient(ready["url"], ready["token"], ca) as client,
    ):
        clock, log = Hurried(0.0), Log()
        mind = ExpertMind(KubeReader(client, clock), clock)
        turn = Turn("s", 1, "the release is stuck", "order-history")
        done = await mind.conclude(turn, (), log)
        config = Target("v1", "ConfigMap", "order-history", "history-settings")
        path = "/api/v1/namespaces/order-history/configmaps/history-settings"
        # Refused as well as the missing one was, so the recorded cluster does not heal.
        body = json.dumps({"data": {"PRICING_SCHEMA": "v4"}})
        action = Action("PATCH", path, config, content_type="application/merge-patch+json", body=body)
        taken = replace(done.remedies[0], id="A9", action=action)
        made = proposal(1, action, Origin("session", "pilothouse"))
        log.case = Case(proposals=(ProposalCase(made),))
        head = {"Authorization": f"Bearer {ready['token']}", "Content-Type": action.content_type}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
            session.patch(ready["url"] + path, data=body, headers=head) as answer,
        ):
            assert answer.status == 200
        said = await mind.verify(turn, done.findings[0], made.id, log)
        assert said.healing is Healing.CANNOT_TELL
        assert "have not started since the change" in said.text
        assert set(said.evidence) <= {fact.id for fact in log.facts.values()} and said.evidence
        link = mind.next_link(replace(done, remedies=(*done.remedies, taken)), taken, made.id)
        assert link is not None and link.after == "A9" and link.id == "A10" and link.fixes == taken.fixes
        assert "rollout restart deployment/history-api" in link.kubectl

        broken_off = ExpertMind(KubeReader(client, clock), Stopped(0.0))
        with pytest.raises(asyncio.CancelledError):
            await broken_off.verify(turn, done.findings[0], made.id, log)
        assert broken_off.next_link(done, taken, made.id) is None


async def test_a_cluster_that_is_gone_is_not_called_fixed(tmp_path: Path) -> None:
    clock, log = Hurried(0.0), Log()
    async with ClusterClient("http://127.0.0.1:9", "t") as client:
        mind = ExpertMind(KubeReader(client, clock), clock)
        async with (
            recorded("lost-points", tmp_path) as (ready, ca),
            ClusterClient(ready["url"], ready["token"], ca) as live,
        ):
            other = ExpertMind(KubeReader(live, clock), clock)
            turn = Turn("s", 1, "", "loyalty")
            done = await other.conclude(turn, (), log)
        said = await mind.verify(turn, done.findings[0], "P1", log)
    assert said.healing is Healing.CANNOT_TELL
