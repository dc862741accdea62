"""The applier: has the gate send what was approved. The gate sends once, however often this node runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import END, Ports, State
from assistant.domain.event import ErrorRaised, Noted, UndoOffered
from assistant.domain.proposal import ProposalState
from assistant.errors import GateError, PilothouseError

UNDO_OFFER: Final = timedelta(hours=1)
CONFLICT: Final = 409


async def applier(state: State, runtime: Runtime[Ports]) -> Command[Literal["verifier", "executor", "__end__"]]:
    """Execute the approved proposal and offer the way back."""
    ports = runtime.context
    recorder = ports.recorder
    if ports.gate is None:
        raise GateError("There is no gate to send the approved change.", "Start the session again.")
    try:
        outcome = await ports.gate.execute(state["proposal"])
    except PilothouseError as error:
        recorder.emit(ErrorRaised(error.code, error.meaning, error.hint, error.detail))
        return Command(goto=END)
    if outcome.state is ProposalState.FAILED and outcome.status_code == CONFLICT:
        recorder.emit(Noted("The object changed since the change was shown; it is examined again as it is now."))
        return Command(update={"resolution": {"state": "conflict"}}, goto="executor")
    if outcome.state is not ProposalState.APPLIED:
        return Command(goto=END)
    known = recorder.case.proposal(state["proposal"])
    if known and known.proposal.undo.action and known.undo is None:
        undo = known.proposal.undo
        until = ports.clock.now() + UNDO_OFFER
        recorder.emit(UndoOffered(state["proposal"], known.proposal.undo.action, undo.text, until))
    applied = [*state.get("applied", []), state["remedy"]]
    return Command(update={"applied": list(dict.fromkeys(applied))}, goto="verifier")
