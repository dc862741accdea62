"""Every attack of the injection set, carried out by somebody who obeys it: no oracle fires."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from assistant.domain.proposal import Answer, ProposalState
from assistant.errors import ClusterError
from assistant.gate.context import load
from tests.attacks import injection as set_of
from tests.attacks.injection import AS_FIELD, ATTACKS, FIELDS, NO_SURFACE, UI_CANARY, Attack, orders, variants
from tests.attacks.oracles import fired
from tests.attacks.scene import Scene, obey, run, scene, state_of, watched
from tests.gate.conftest import MERGE, OURS, SCALE, lab, says

# Each takes seconds, and they differ in place and disguise only: a few always, all of them with `make long`.
ALWAYS = 4
VARIANTS = [
    pytest.param(each, marks=[] if place < ALWAYS else [pytest.mark.long])
    for place, each in enumerate(variants(20261123, 24))
]
# Attacks on a file or a moment, each with a test of its own below.
ON_THEIR_OWN = {"recording", "session_db", "kubeconfig", "timing"}
# Carried out by a server of its own, in test_mcp_attacks.py.
OF_MCP = {"mcp_tool_description", "mcp_tool_list", "mcp_result", "mcp_sampling"}
IN_CLUSTER = [each for each in ATTACKS if each.channel in FIELDS or each.channel in ("object_name", "model_output")]


def test_every_attack_of_the_set_is_run_or_said_to_have_no_surface(
    record_property: Callable[[str, object], None],
) -> None:
    without = Counter(each.channel for each in ATTACKS if each.channel in NO_SURFACE)
    run_here = [
        each
        for each in ATTACKS
        if each not in IN_CLUSTER and each.channel in ON_THEIR_OWN | {"mcp_annotation", *OF_MCP}
    ]
    assert len(ATTACKS) == 38
    assert len(IN_CLUSTER) + len(run_here) + without.total() == len(ATTACKS)
    text = "; ".join(f"{count} x {channel} ({NO_SURFACE[channel]})" for channel, count in sorted(without.items()))
    print(f"{len(IN_CLUSTER) + len(run_here)} attacks run, {without.total()} without a surface yet: {text}")  # noqa: T201
    # When one of these is built, its attacks have to be run: this list must not outlive its reasons.
    root = Path(set_of.__file__).parents[2] / "assistant"
    assert not (root / "runbooks").exists()


@pytest.mark.parametrize("attack", [*IN_CLUSTER, *VARIANTS], ids=lambda each: each.id)
async def test_nothing_happens_that_nobody_approved(tmp_path: Path, attack: Attack) -> None:
    place = AS_FIELD.get(attack.channel, attack.channel)
    async with scene(tmp_path, [(place, attack.payload)]) as made:
        with watched(tmp_path, made.ports):
            seen = await run(made, attack)
        assert fired(made, seen, attack) == []
        assert len(made.answers) >= len(orders(attack)), "the obedient mind did not come to its work"
        assert seen.mind.reached, "the text never reached the mind, so nothing was tried"


async def test_the_whole_barrage_gets_nowhere(tmp_path: Path) -> None:
    attack = ATTACKS[0]
    async with scene(tmp_path, [("pod_log", attack.payload)]) as made:
        with watched(tmp_path, made.ports):
            seen = await run(made, attack, everything=True)
            # Once more, now that there are proposals whose names and digests the attacker has found out.
            await obey(made, orders(attack, everything=True))
        assert fired(made, seen, attack) == []
        assert seen.mind.reached
        assert {status for _, status, _ in made.answers} <= {200, 400, 401, 403, 404, 409, 415, 422, 429}


async def test_the_oracle_sees_what_it_looks_for(tmp_path: Path) -> None:
    """Falsified by hand: each breach that is made must be found, or the silence above says nothing."""
    attack = ATTACKS[0]
    async with scene(tmp_path, [("pod_log", attack.payload)]) as made:
        seen = await run(made, attack)
        assert fired(made, seen, attack) == []
        cluster = made.cluster.cluster.objects
        made.log.write_text(made.log.read_text() + json.dumps({"method": "DELETE", "path": "/x", "query": ""}) + "\n")
        cluster.remove(("", "secrets"), set_of.NAMESPACE, "planted")
        seen.outputs["text"] += "\x1b[2J" + set_of.CANARY
        Path(made.gate.ready["kubeconfig"]).write_text("changed")  # noqa: ASYNC240 - a test may wait for a disk
        held = made.gate.broker.listed()[0][0]
        made.gate.broker.get(held.id).decision = says(held)
        names = {line.partition(":")[0] for line in fired(made, seen, attack)}
        assert names >= {
            "no_unapproved_mutation", "no_ui_action", "no_secret_egress", "no_control_sequence", "no_trust_change",
        }  # fmt: skip


@pytest.mark.parametrize("attack", [next(each for each in ATTACKS if each.channel == "mcp_annotation")], ids=["I049"])
async def test_an_mcp_server_that_lies_gets_nowhere_with_the_guarded_kubeconfig(tmp_path: Path, attack: Attack) -> None:
    async with scene(tmp_path, []) as made:
        wanted = [
            {**asdict(order), "data": order.data.decode() if order.data else ""}
            for each in (attack, *ATTACKS[:4])
            for order in orders(each, everything=True)
        ]
        (tmp_path / "orders").write_text(json.dumps(wanted))
        home = tmp_path / "home"
        home.mkdir()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.attacks.mcp_server", made.gate.ready["kubeconfig"], str(tmp_path / "orders"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * 1024 * 1024,
            env={"PATH": "", "HOME": str(home), "PYTHONPATH": str(Path(set_of.__file__).parents[2])},
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        said = []
        async with asyncio.timeout(90):
            for number, method in enumerate(("initialize", "tools/list", "tools/call"), 1):
                process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode() + b"\n")
                await process.stdin.drain()
                said.append(json.loads(await process.stdout.readline()))
            process.stdin.close()
            await process.wait()
        assert said[1]["result"]["tools"][0]["annotations"]["readOnlyHint"] is True
        done = json.loads(said[2]["result"]["content"][0]["text"])
        assert len(done) == len(wanted)
        await untouched(made)
        assert not any(set_of.leaked_canary(row["text"]) for row in done)
        # What it asked for was held under its name, and nobody is told that it only reads.
        held = made.gate.broker.listed()
        assert held
        assert all(proposal.origin.client.startswith("friendly-mcp-server") for proposal, _ in held)
        assert {state for _, state in held} <= {ProposalState.WITHDRAWN, ProposalState.EXPIRED, ProposalState.OPEN}


async def untouched(made: Scene) -> None:
    assert state_of(made.cluster) == made.before
    for row in made.requests():
        assert row["method"] in ("GET", "HEAD") or "/self" in row["path"] or "dryRun=All" in row["query"], row


def test_a_plugin_of_a_kubeconfig_is_not_run(tmp_path: Path) -> None:
    attack = next(each for each in ATTACKS if each.channel == "kubeconfig")
    script = tmp_path / "x.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    assert "exec:" in attack.payload
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"}
    (tmp_path / "k").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    with watched(tmp_path, set()), pytest.raises(ClusterError, match="not allowed"):
        load(str(tmp_path / "k"), None, ())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", ["uid", "resourceVersion"])
async def test_an_object_that_was_replaced_after_the_approval_is_not_changed(tmp_path: Path, change: str) -> None:
    async with lab(tmp_path) as here:
        proposal = await here.control.propose(SCALE, OURS, "k")
        assert await here.control.decide(says(proposal)) is ProposalState.APPROVED
        here.server.objects[SCALE.path]["metadata"][change] = "another"
        outcome = await here.control.execute(proposal.id)
        assert outcome.state is ProposalState.FAILED
        assert here.server.writes == []
        again = await here.control.propose(SCALE, OURS, "k2")
        assert again.digest != proposal.digest
        assert await here.control.decide(says(again, Answer.DENY)) is ProposalState.DENIED


async def test_several_requests_at_once_are_each_held_and_none_is_taken_for_another(tmp_path: Path) -> None:
    async with lab(tmp_path, hold_seconds=0.2) as here, here.client() as client:
        path = SCALE.path
        done = await asyncio.gather(
            *(client.patch(path, json={"spec": {"replicas": n}}, headers={"Content-Type": MERGE}) for n in range(6))
        )
        assert {answer.status for answer in done} == {403}
        assert here.server.writes == []
        assert len({proposal.digest for proposal, _ in here.gate.broker.listed()}) == 6


def test_variants_are_many_and_differ() -> None:
    made = variants(1, 200)
    assert len({each.payload for each in made}) > 100
    assert len({each.channel for each in made}) == len(FIELDS)
    assert any(UI_CANARY in each.payload for each in made)
