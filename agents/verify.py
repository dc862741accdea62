"""Reads again after a change, says whether it helped, and offers the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.executor import choose
from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.event import Healing, Noted, UndoOffered
from assistant.domain.finding import Finding
from assistant.domain.ports import Turn
from assistant.wire import convert

UNDO_OFFER: Final = timedelta(hours=1)
FIRST_LOOK_SECONDS: Final = 6.0
"""How long to watch one of several faults; the others may hide what the change did, so it is looked at again later."""
PATIENCE_SECONDS: Final = 60.0


async def verify(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor"]]:
    """Offer the undo at once, then verify; a chain after its last link, and what was not clear once more at the end."""
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
    findings = {item.id: item for item in conclusion.findings}
    finding = next((findings[name] for name in remedy.fixes if name in findings), None)
    if finding is None:
        return Command(goto="executor")
    more = choose(conclusion.remedies, list(state.get("tried", [])), list(state.get("applied", []))) is not None
    turn = parts.directed(state.get("directions", []))
    healing = await _verify(parts, turn, finding, proposal_id, FIRST_LOOK_SECONDS if more else PATIENCE_SECONDS)
    unclear = [*state.get("unclear", []), *([] if healing is Healing.FIXED else [[proposal_id, finding.id]])]
    if more or healing is not Healing.FIXED:
        return Command(update={"unclear": unclear}, goto="executor")
    for earlier, name in unclear:
        await _verify(parts, turn, findings[name], earlier, FIRST_LOOK_SECONDS)
    return Command(update={"unclear": []}, goto="executor")


async def _verify(parts: Parts, turn: Turn, finding: Finding, proposal: str, patience_seconds: float) -> Healing:
    known = parts.recorder.case.proposal(proposal)
    if known and known.verified and known.verified.healing is Healing.FIXED:
        return Healing.FIXED
    verified = await parts.mind.verify(turn, finding, proposal, parts.recorder, patience_seconds)
    parts.recorder.emit(verified)
    return verified.healing
