"""The approval: an interrupt and nothing else, because a node runs again from its first line when it is resumed."""

from __future__ import annotations

from typing import Literal

from langgraph.types import Command, interrupt

from agents.state import State
from assistant.domain.proposal import ProposalState


async def approval(state: State) -> Command[Literal["applier", "executor"]]:
    """Wait for a person; what was said decides the way on."""
    resolution: dict[str, str] = interrupt({"proposal": state["proposal"]})
    approved = resolution["state"] == ProposalState.APPROVED.value
    update: State = {"resolution": resolution, "proposal": resolution["proposal"]}
    return Command(update=update, goto="applier" if approved else "executor")
