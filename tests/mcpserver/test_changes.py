"""A proposed change leaves the cluster as it is until a person approves it elsewhere; then it is made once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as kube
from kubernetes import config
from mcp import Client

from assistant.commands.approvals import Found, running_gates
from assistant.domain.proposal import Answer, Proposal
from assistant.gate.control import ControlClient
from assistant.wiring import DATABASE
from tests.gate.conftest import says
from tests.mcpserver.serving import NAMESPACE, ON_BUNDLE, QUESTION, connected, error_code, said, text

BROKEN = "docker.io/acme/web-frontend:5.21.0"
WHOLE = "docker.io/acme/web-frontend:5.12.0"
ENDED = ("applied", "failed", "denied", "unknown")


def gate_of(home: Path) -> Found:
    (found,) = running_gates(home / "run")
    return found


async def image(home: Path) -> tuple[str, int]:
    """Return what the cluster has now, asked through the guarded kubeconfig like any other client."""

    def read() -> tuple[str, int]:
        path = home / "run" / "gates" / f"{gate_of(home).gate}.kubeconfig"
        with config.new_client_from_config(str(path)) as api:  # type: ignore[no-untyped-call]
            found = kube.AppsV1Api(api).read_namespaced_deployment("storefront", NAMESPACE).to_dict()
        return found["spec"]["template"]["spec"]["containers"][0]["image"], found["spec"]["replicas"]

    return await asyncio.to_thread(read)


async def decide(home: Path, proposal: str, answer: Answer, **changes: Any) -> Proposal:
    found = gate_of(home)
    async with ControlClient(found.url, found.token, found.ca_pem) as control:
        held = next(item for item, _ in await control.proposals() if item.id == proposal)
        await control.decide(says(held, answer, **changes))
    return held


async def became(client: Client, proposal: str, wanted: str = "") -> dict[str, Any]:
    while True:
        now = said(await client.call_tool("propose_change", {"proposal": proposal}))
        if now["state"] in ENDED and (not wanted or now[wanted]):
            return now


async def test_a_remedy_waits_for_a_person_and_is_then_made_and_verified(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        session = said(await client.call_tool("diagnose", {"question": QUESTION}))["session"]
        answer = await client.call_tool("propose_change", {"session": session, "remedy": "A1"})
        change = said(answer)
        assert (change["state"], change["approvable"], change["risk"]) == ("open", True, "medium")
        assert f"+ image: {WHOLE}" in change["diff"]
        assert f"pilothouse approvals show {change['proposal']}" in text(answer)
        assert await image(tmp_path) == (BROKEN, 2)

        again = said(await client.call_tool("propose_change", {"session": session, "remedy": "A1"}))
        assert again["proposal"] == change["proposal"]
        still = said(await client.call_tool("propose_change", {"proposal": change["proposal"]}))
        assert still["state"] == "open"
        assert await image(tmp_path) == (BROKEN, 2)

        held = await decide(tmp_path, change["proposal"], Answer.APPROVE)
        assert "MCP client" in held.origin.why
        assert held.digest not in str(answer), "who proposes must not be able to approve"
        done = await became(client, change["proposal"], "verified")
        assert (done["state"], done["decided_by"], done["approve_with"]) == ("applied", "grace", "")
        assert done["verified"] in ("fixed", "not fixed", "cannot tell")
        assert await image(tmp_path) == (WHOLE, 2)


async def test_a_patch_of_ones_own_goes_the_same_way_and_may_be_denied(tmp_path: Path) -> None:
    patch = {
        "kind": "Deployment", "name": "storefront", "namespace": NAMESPACE, "patch": {"spec": {"replicas": 3}},
        "why": "the sale begins",
    }  # fmt: skip
    async with connected(tmp_path) as client:
        change = said(await client.call_tool("propose_change", {"patch": patch}))
        assert (change["state"], change["target"]["kind"]) == ("open", "Deployment")
        assert await image(tmp_path) == (BROKEN, 2)
        held = await decide(tmp_path, change["proposal"], Answer.DENY, reason="not tonight")
        assert "the sale begins" in held.origin.why
        other = {**patch, "patch": {"spec": {"minReadySeconds": 5}}}
        second = said(await client.call_tool("propose_change", {"patch": other}))
        assert second["session"] == change["session"], "the gate's bounds hold for all patches together"
        denied = await became(client, change["proposal"])
        assert (denied["state"], denied["reason"]) == ("denied", "not tonight")
        assert await image(tmp_path) == (BROKEN, 2)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "Nonesuch"}, "usage"),
        ({"name": "absent"}, "not-found"),
        ({"patch": {"spec": {"replicas": "many"}}}, ""),
        ({"patch": {"spec": {"paused": "x" * 30_000}}}, "usage"),
    ],
)
@pytest.mark.long
async def test_a_patch_that_cannot_be_made_is_told_and_nothing_waits(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    patch = {"kind": "Deployment", "name": "storefront", "namespace": NAMESPACE, "patch": {"spec": {"replicas": 3}}}
    async with connected(tmp_path) as client:
        answer = await client.call_tool("propose_change", {"patch": {**patch, "why": "try", **changes}})
        if code:
            assert error_code(answer) == code, text(answer)
        elif not answer.is_error:
            assert not said(answer)["approvable"], text(answer)
        assert said(await client.call_tool("list_sessions", {})) is not None


async def test_what_waits_is_taken_back_when_the_server_ends(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        session = said(await client.call_tool("diagnose", {"question": QUESTION}))["session"]
        change = said(await client.call_tool("propose_change", {"session": session, "remedy": "A1"}))["proposal"]
    assert not list(running_gates(tmp_path / "run"))
    async with connected(tmp_path) as client:
        gone = said(await client.call_tool("propose_change", {"session": session, "proposal": change}))
        assert gone["state"] == "withdrawn"


async def test_where_nothing_may_be_changed_nothing_waits(tmp_path: Path) -> None:
    async with connected(tmp_path, *ON_BUNDLE, "--mode", "observe") as client:
        session = said(await client.call_tool("diagnose", {"question": QUESTION}))["session"]
        answer = await client.call_tool("propose_change", {"session": session, "remedy": "A1"})
        assert error_code(answer)
        assert "observe" in text(answer)
        assert await image(tmp_path) == (BROKEN, 2)


async def test_what_cannot_be_recorded_can_be_asked_and_not_proposed(tmp_path: Path) -> None:
    (tmp_path / "state" / DATABASE).mkdir(parents=True)
    async with connected(tmp_path) as client:
        report = said(await client.call_tool("diagnose", {"question": QUESTION}))
        assert report["verdict"] == "fault"
        read = said(await client.call_tool("get_evidence", {"session": report["session"], "evidence": "E1"}))
        assert read["text"]
        answer = await client.call_tool("propose_change", {"session": report["session"], "remedy": "A1"})
        assert error_code(answer).startswith("store")
        found = gate_of(tmp_path)
        async with ControlClient(found.url, found.token, found.ca_pem) as control:
            assert await control.proposals() == ()
