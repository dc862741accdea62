"""Reads again after a change, says whether it helped, and offers the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.event import Noted, UndoOffered
from assistant.wire import convert

UNDO_OFFER: Final = timedelta(hours=1)


async def verify(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor"]]:
    """Offer the undo at once, then verify; a chain is verified after its last link."""
    parts, proposal_id = runtime.context, state["proposal"]
    recorder = parts.recorder
    conclusion = convert(Conclusion, state["conclusion"])
    known = recorder.case.proposal(proposal_id)
    if known and known.undo is None and known.proposal.undo.action:
        undo = known.proposal.undo
        until = parts.clock.now() + UNDO_OFFER
        recorder.emit(UndoOffered(proposal_id, known.proposal.undo.action, undo.text, until))
    remedy = next(item for item in conclusion.remedies if item.id == state["remedy"])
    if any(item.after == remedy.id for item in conclusion.remedies):
        recorder.emit(Noted(f"{remedy.id} is the first part of a change; it is verified with the next one."))
        return Command(goto="executor")
    finding = next((item for item in conclusion.findings if item.id in remedy.fixes), None)
    if finding and known and known.verified is None:
        turn = parts.directed(state.get("directions", []))
        recorder.emit(await parts.mind.verify(turn, finding, proposal_id, recorder))
    return Command(goto="executor")
