"""Reads again after a change, says whether it helped, and offers the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.executor import choose
from agents.lost import unless_lost
from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.event import Healing, Noted, UndoOffered
from assistant.domain.finding import Finding
from assistant.wire import convert

UNDO_OFFER: Final = timedelta(hours=1)
FIRST_LOOK_SECONDS: Final = 6.0
"""How long to watch one of several faults; the others may hide what the change did, so it is looked at again later."""
PATIENCE_SECONDS: Final = 60.0


async def verify(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor"]]:
    """Offer the undo at once, then verify; a chain after its last link, what was not clear in `settle`."""
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
    if finding is None:
        return Command(goto="executor")
    more = choose(conclusion.remedies, list(state.get("tried", [])), list(state.get("applied", []))) is not None
    healing = await _look(state, parts, finding, proposal_id, others=more)
    if healing is Healing.FIXED or not more:
        return Command(goto="executor")
    return Command(update={"unclear": [*state.get("unclear", []), [proposal_id, finding.id]]}, goto="executor")


async def settle(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["__end__"]]:
    """Judge what could not be told while other changes were to come; they are in by now, or will not be made."""
    parts = runtime.context
    findings = {item.id: item for item in convert(Conclusion, state["conclusion"]).findings}
    for proposal, name in state.get("unclear", []):
        await _look(state, parts, findings[name], proposal, others=False, seconds=FIRST_LOOK_SECONDS)
    return Command(update={"unclear": []}, goto="__end__")


async def _look(
    state: TurnState, parts: Parts, finding: Finding, proposal: str, *, others: bool, seconds: float = PATIENCE_SECONDS
) -> Healing:
    """Verify one change. With `others` still to be made, "not fixed" would blame it for what they have to mend."""
    turn = parts.directed(state.get("directions", []))
    patience = FIRST_LOOK_SECONDS if others else seconds
    checking = parts.mind.verify(turn, finding, proposal, parts.recorder, patience)
    verified = await unless_lost(checking, proposal, parts.recorder, parts.clock)
    if others and verified.healing is Healing.NOT_FIXED:
        text = f"Another change is still to come. {verified.text}"
        verified = replace(verified, healing=Healing.CANNOT_TELL, text=text)
    parts.recorder.emit(verified)
    return verified.healing
