"""`approvals`: decide on held changes from another terminal. The digest has to be typed, for it binds the answer."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assistant.commands.opening import settings_of
from assistant.domain.proposal import Decision, Outcome, Proposal, ProposalState
from assistant.errors import GateError, UsageError
from assistant.gate.control import ControlClient, GateGoneError
from assistant.gate.kubeconfig import is_running
from assistant.policy.limits import SEND_SECONDS
from assistant.policy.sanitize import safe

NOT_DONE = 4
POLL_SECONDS = 0.1
OUTCOME_ASKED_TIMES = int((SEND_SECONDS + 10.0) / POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Found:
    """A gate that runs here, by its control file."""

    gate: str
    context: str
    url: str
    token: str
    ca_pem: str


Row = tuple[Found, Proposal, ProposalState]


def approvals(given: argparse.Namespace) -> int:
    """Run one of list, show, approve, deny, stop, export, sign, key."""
    if given.action in ("key", "sign"):
        # Neither needs a gate: whoever signs sits at another machine.
        from assistant.commands.consent import make_key, sign

        return make_key() if given.action == "key" else sign(given)
    runtime = settings_of(given).runtime
    gates = [item for item in running_gates(runtime) if not given.gate or item.gate.startswith(given.gate)]
    if given.gate and len(gates) != 1:
        some = ", ".join(f"{item.gate} ({item.context})" for item in running_gates(runtime)) or "none"
        what = (
            f"More than one running gate begins with {given.gate!r}." if gates else f"No gate {given.gate!r} runs here."
        )
        raise GateError(what, f"Running: {some}.")
    return asyncio.run(_run(given, gates))


async def _run(given: argparse.Namespace, gates: list[Found]) -> int:
    if given.action == "stop":
        return await _stop(given, gates)
    held: list[Row] = []
    alone: dict[str, str] = {}
    answered = 0
    for item in gates:
        try:
            async with ControlClient(item.url, item.token, item.ca_pem) as control:
                held += [(item, proposal, state) for proposal, state in await control.proposals()]
                alone |= {found[0].id: _alone(*found) for found in await control.decided_alone()}
                answered += 1
        except GateGoneError:
            # It ended between our look at its file and our question; the other gates still count.
            print(safe(f"The gate {item.gate} ({item.context}) does not answer."), file=sys.stderr)
    if given.action == "list":
        return _list(held, alone, answered, given.format)
    matching = [row for row in held if row[1].id == given.id]
    if not matching:
        raise UsageError(f"No gate here holds a change {given.id!r}.", "`pilothouse approvals list` shows what waits.")
    found, proposal, state = matching[0]
    if given.action == "export":
        from assistant.commands.consent import export

        return export(proposal, state, given.output)
    if given.action == "show":
        from assistant.plain.card import Place, card_lines

        answering = state is ProposalState.OPEN
        shown = card_lines(proposal, datetime.now(UTC), whole=True, answering=answering, place=Place.SHELL)
        print("\n".join(shown))
        print(f"state: {state.value}")
        return 0
    return await _decide(given, found, proposal, state)


async def _stop(given: argparse.Namespace, gates: list[Found]) -> int:
    failed = False
    for item in gates:
        name = safe(f"{item.gate} ({item.context})", multiline=False)
        try:
            async with ControlClient(item.url, item.token, item.ca_pem) as control:
                ended = await control.stop(_person(), given.reason)
        except GateError as error:
            failed = True
            print(safe(f"The gate {name} was NOT stopped: {error.meaning} End it yourself."), file=sys.stderr)
        else:
            print(f"The gate {name} sends nothing more; void now: {ended}. Reading goes on.")
    if not gates:
        print("No gate is running here.")
    return NOT_DONE if failed else 0


def _alone(proposal: Proposal, decision: Decision, state: ProposalState) -> str:
    text = f"{proposal.id}  {state.value}  {decision.word} by {decision.who}: {decision.reason}  ({proposal.title})"
    return safe(text, multiline=False)


def _list(held: list[Row], alone: dict[str, str], answered: int, form: str) -> int:
    if form == "json":
        from assistant.wire import to_builtins

        rows = [
            {"gate": f.gate, "state": s.value, "proposal": to_builtins(p), "break_glass": p.id in alone}
            for f, p, s in held
        ]
        print(json.dumps(rows, ensure_ascii=True))
        return 0
    waiting = [row for row in held if row[2] in (ProposalState.OPEN, ProposalState.UNKNOWN)]
    for found, proposal, state in waiting:
        # The first product of a user agent names the program; the rest is its build.
        client = (proposal.origin.client.split() or ["unknown"])[0]
        token = "" if proposal.origin.token in ("", "session") else f" with kubeconfig {proposal.origin.token}"
        text = f"{proposal.title}  (asked by {client}{token}, {found.context}, gate {found.gate})"
        shown = safe(text, multiline=False)
        # Without its digest: who approves has to have seen the card, which alone shows it.
        print(f"{proposal.id}  {state.value:7}  {proposal.risk.level.value:8}  {shown}")
    for line in alone.values():
        print(f"!! {line}")
    if not waiting:
        print("Nothing waits." if answered else "No gate is running here.")
    return 0


async def _decide(given: argparse.Namespace, found: Found, proposal: Proposal, state: ProposalState) -> int:
    from assistant.plain.card import Place, card_digest, read_decision

    if state is not ProposalState.OPEN:
        raise UsageError(f"{proposal.id} is {state.value} already.", "Only an open change can be decided.")
    now = datetime.now(UTC)
    approving = given.action == "approve"
    alone = approving and given.break_glass
    # Whoever breaks the glass types the name whatever the change is; the gate checks it.
    name = "" if alone and not proposal.typed_name else getattr(given, "name", "")
    typed = f"approve {given.digest} {name}" if approving else f"deny {given.reason}"
    said = read_decision(typed, proposal, Place.SHELL)
    async with ControlClient(found.url, found.token, found.ca_pem) as control:
        if approving and given.second is not None:
            from assistant.commands.consent import read_consent

            proposal = await control.agree(read_consent(given.second))
        decision = Decision(
            proposal.id, proposal.digest, said.answer, _person(), now, given.reason,
            card_digest(proposal), given.name if alone else said.typed_name, break_glass=alone,
        )  # fmt: skip
        led_to, meaning = await control.decide_with_meaning(decision)
        print(safe(meaning or led_to.value), flush=True)
        if led_to is not ProposalState.APPROVED:
            return 0 if led_to is ProposalState.DENIED else NOT_DONE
        if proposal.origin.kind == "session":
            print(f"The session that asked for it sends it: {safe(proposal.origin.session, multiline=False)}")
            return 0
        outcome = await _outcome(control, proposal.id)
    print(safe(f"{outcome.state.value}: {outcome.message}"))
    return 0 if outcome.state is ProposalState.APPLIED else NOT_DONE


async def _outcome(control: ControlClient, proposal_id: str) -> Outcome:
    # The gate sends a foreign client's change by itself; whoever approved it wants to hear what came of it.
    for _ in range(OUTCOME_ASKED_TIMES):
        outcome = await control.outcome(proposal_id)
        if outcome is not None:
            return outcome
        await asyncio.sleep(POLL_SECONDS)
    raise GateError("The gate has not said yet what came of it.", "Look with `pilothouse approvals show`.")


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


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
        if is_running(pid):
            yield found
