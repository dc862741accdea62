"""kill -9 of the gate at each named point: nothing is sent twice, nothing unapproved, and what is lost is said."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.domain.proposal import ProposalState
from assistant.errors import GateError
from assistant.gate.control import ControlClient
from assistant.gate.faults import POINTS
from tests.gate.conftest import OURS, SCALE, says
from tests.gate.scripted import ApiServer

State = ProposalState


async def start_gate(folder: Path, server: ApiServer, fault: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant.gate", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PILOTHOUSE_FAULT": fault},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    settings = {
        "kubeconfig": server.kubeconfig(folder / "kubeconfig"), "context": None, "namespace": None, "mode": "ask",
        "state_dir": str(folder / "state"), "runtime_dir": str(folder / "run"), "kubeconfig_out": None,
        "production": None, "hold_seconds": 600,
    }  # fmt: skip
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    await process.stdin.drain()
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert ready["ready"], ready
    return process, ready


async def change(ready: dict[str, Any]) -> None:
    async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
        proposal = await control.propose(SCALE, OURS, "k")
        await control.decide(says(proposal))
        await control.execute(proposal.id)


@pytest.mark.parametrize("fault", POINTS)
async def test_a_killed_gate_sends_nothing_twice_and_forgets_nothing(tmp_path: Path, fault: str) -> None:
    server = ApiServer()
    await server.start()
    process, ready = await start_gate(tmp_path, server, fault)
    with pytest.raises(GateError):
        await change(ready)
    assert await asyncio.wait_for(process.wait(), 10) == -9
    sent = len(server.writes)
    assert sent == (1 if fault in ("after-sent", "before-outcome", "after-outcome") else 0)

    process, ready = await start_gate(tmp_path, server, "")
    async with ControlClient(ready["control_url"], ready["control_token"], ready["ca_pem"]) as control:
        found = await control.proposals()
        # With the intent on disk and no outcome nobody can know: it is said, and never sent again.
        lost = fault in ("after-intent", "after-sent", "before-outcome")
        assert [state for _, state in found] == ([State.UNKNOWN] if lost else [])
        for proposal, _ in found:
            with pytest.raises(GateError):
                await control.execute(proposal.id)
            with pytest.raises(GateError):
                await control.decide(says(proposal))
    assert len(server.writes) == sent
    assert process.stdin
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not list((tmp_path / "run" / "gates").iterdir()), "the killed gate left its tokens"
    server.stop()


async def test_the_gate_ends_with_its_parent(tmp_path: Path) -> None:
    server = ApiServer()
    await server.start()
    process, _ = await start_gate(tmp_path, server, "")
    assert process.stdin
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not list((tmp_path / "run" / "gates").iterdir())
    server.stop()
