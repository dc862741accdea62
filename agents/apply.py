"""Has the gate send what was approved. May run again after a crash: the gate sends a proposal once, whoever asks."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import Parts, TurnState
from assistant.domain.event import Concluded, Sending
from assistant.domain.proposal import ProposalState
from assistant.errors import GateError


async def apply(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["verify", "settle"]]:
    """Execute the approved proposal; `Sending` is durable before the gate is asked."""
    parts, proposal_id = runtime.context, state["proposal"]
    known = parts.recorder.case.proposal(proposal_id)
    if parts.gate is None or known is None:
        raise GateError(f"Change {proposal_id} is not known here, so it was not sent.", "Ask again to propose it anew.")
    outcome = known.outcome
    if outcome is None:
        parts.recorder.emit(Sending(proposal_id, known.proposal.digest))
        await parts.recorder.flush()
        outcome = await parts.gate.execute(proposal_id)
        parts.recorder.emit(Concluded(outcome))
    if outcome.state is not ProposalState.APPLIED:
        return Command(goto="settle")
    return Command(update={"applied": [*state.get("applied", []), state["remedy"]]}, goto="verify")
