"""Waits for a person. Nothing else happens here, because everything above an interrupt runs again when it ends."""

from __future__ import annotations

from typing import Any, Literal

from langgraph.types import Command, interrupt

from agents.state import TurnState
from assistant.domain.ports import Resolution
from assistant.domain.proposal import ProposalState
from assistant.wire import convert

MAX_VOIDED = 2
"""How often a change is proposed anew because the gate that held it went away."""


async def approval(state: TurnState) -> Command[Literal["apply", "executor", "settle"]]:
    """Stop until the session says what became of the proposal."""
    resolution = convert(Resolution, interrupt({"proposal": state["proposal"]}))
    # A re-check may have superseded the proposal that was asked about.
    update: dict[str, Any] = {"proposal": resolution.proposal, "feedback": resolution.feedback}
    match resolution.state:
        case ProposalState.APPROVED:
            return Command(update=update, goto="apply")
        case ProposalState.DENIED if resolution.feedback:
            return Command(update=update, goto="executor")
        case ProposalState.VOID if state.get("voided", 0) < MAX_VOIDED:
            tried = [item for item in state.get("tried", []) if item != state["remedy"]]
            again = {"tried": tried, "voided": state.get("voided", 0) + 1}
            return Command(update=update | again, goto="executor")
        case _:
            return Command(update=update, goto="settle")
