"""`approvals`: decide on held changes from another terminal. The digest has to be typed, for it binds the answer."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assistant.commands.opening import settings_of
from assistant.domain.proposal import Decision, Proposal, ProposalState
from assistant.errors import GateError, UsageError
from assistant.gate.control import ControlClient
from assistant.policy.sanitize import safe

NOT_DONE = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A gate that runs here, by its control file."""

    gate: str
    context: str
    url: str
    token: str
    ca_pem: str


def approvals(given: argparse.Namespace) -> int:
    """Run one of list, show, approve, deny."""
    runtime = settings_of(given).runtime
    gates = [item for item in running_gates(runtime) if not given.gate or item.gate == given.gate]
    if given.gate and not gates:
        raise GateError(f"There is no running gate {given.gate!r}.", "`pilothouse approvals list` names them.")
    return asyncio.run(_run(given, gates))


async def _run(given: argparse.Namespace, gates: list[Found]) -> int:
    held: list[tuple[Found, Proposal, ProposalState]] = []
    for item in gates:
        async with ControlClient(item.url, item.token, item.ca_pem) as control:
            held += [(item, proposal, state) for proposal, state in await control.proposals()]
    if given.action == "list":
        return _list(held, gates, given.format)
    matching = [row for row in held if row[1].id == given.id]
    if not matching:
        raise UsageError(f"No gate here holds a change {given.id!r}.", "`pilothouse approvals list` shows what waits.")
    found, proposal, state = matching[0]
    if given.action == "show":
        from assistant.plain.card import card_lines

        print("\n".join(card_lines(proposal, datetime.now(UTC))))
        print(f"state: {state.value}")
        return 0
    return await _decide(given, found, proposal, state)


def _list(held: list[tuple[Found, Proposal, ProposalState]], gates: list[Found], form: str) -> int:
    if form == "json":
        from assistant.wire import to_builtins

        rows = [{"gate": f.gate, "state": s.value, "proposal": to_builtins(p)} for f, p, s in held]
        print(json.dumps(rows, ensure_ascii=True))
        return 0
    waiting = [row for row in held if row[2] in (ProposalState.OPEN, ProposalState.UNKNOWN)]
    for found, proposal, state in waiting:
        what = safe(f"{proposal.title}", multiline=False)
        risk = proposal.risk.level.value
        client = safe(proposal.origin.client, multiline=False)
        print(
            f"{proposal.id}  {proposal.digest[:6]}  {state.value:8} {risk:8} {what}  (asked by {client}, {found.context})"
        )
    if not waiting:
        print("Nothing waits." if gates else "No gate is running here.")
    return 0


async def _decide(given: argparse.Namespace, found: Found, proposal: Proposal, state: ProposalState) -> int:
    from assistant.plain.card import card_lines, read_decision, shown_digest

    if state is not ProposalState.OPEN:
        raise UsageError(f"{proposal.id} is {state.value} already.", "Only an open change can be decided.")
    now = datetime.now(UTC)
    typed = f"approve {given.digest} {given.name}" if given.action == "approve" else f"deny {given.reason}"
    said = read_decision(typed, proposal)
    decision = Decision(
        proposal.id,
        proposal.digest,
        said.answer,
        getpass.getuser(),
        now,
        said.reason,
        shown_digest(card_lines(proposal, now)),
        said.typed_name,
    )
    async with ControlClient(found.url, found.token, found.ca_pem) as control:
        led_to, meaning = await control.decide_with_meaning(decision)
    print(safe(meaning or led_to.value))
    return 0 if led_to in (ProposalState.APPROVED, ProposalState.DENIED, ProposalState.APPLIED) else NOT_DONE


def running_gates(runtime: Path) -> Iterator[Found]:
    """Yield every gate of this user whose process is alive."""
    for path in sorted((runtime / "gates").glob("*.json")):
        try:
            said = json.loads(path.read_text())
            pid = int(said["pid"])
            found = Found(
                path.stem,
                str(said["context"]),
                str(said["control_url"]),
                str(said["control_token"]),
                str(said["ca_pem"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            # A file that is being removed or was cut by a crash is not a gate.
            continue
        if _alive(pid):
            yield found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
