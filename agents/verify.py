"""Reads again after a change, says whether it helped, and offers the way back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.executor import choose
from agents.lost import unless_lost
from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.event import Healing, Noted, RemediesSuggested, UndoOffered
from assistant.domain.finding import Finding
from assistant.wire import convert, to_builtins

UNDO_OFFER: Final = timedelta(hours=1)
FIRST_LOOK_SECONDS: Final = 6.0
"""How long to watch one of several faults; the others may hide what the change did, so it is looked at again later."""
PATIENCE_SECONDS: Final = 60.0


async def verify(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor"]]:
    """Offer the undo at once, then verify; a chain after its last link, what was not clear in `settle`.

    Where pods would have to start first, the restart becomes the next link of the chain.
    """
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
    tried, applied, unfixed = state.get("tried", []), state.get("applied", []), state.get("unfixed", [])
    more = choose(conclusion.remedies, tried, applied, unfixed) is not None
    healing = await _look(state, parts, finding, proposal_id, others=more)
    update: dict[str, Any] = {"unfixed": _still(unfixed, finding, healing)}
    if healing is Healing.CANNOT_TELL and (link := parts.mind.next_link(conclusion, remedy, proposal_id)) is not None:
        place = conclusion.remedies.index(remedy) + 1
        remedies = (*conclusion.remedies[:place], link, *conclusion.remedies[place:])
        recorder.emit(RemediesSuggested(remedies))
        update["conclusion"] = to_builtins(replace(conclusion, remedies=remedies))
        more = True
    if more and healing is not Healing.FIXED:
        update["unclear"] = [*state.get("unclear", []), [proposal_id, finding.id]]
    return Command(update=update, goto="executor")


async def settle(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["executor", "__end__"]]:
    """Judge what could not be told while other changes were to come; they are in by now, or will not be made.

    What did not help then has its alternative proposed, unless a person or a failure has ended the turn.
    """
    parts = runtime.context
    conclusion = convert(Conclusion, state["conclusion"])
    findings = {item.id: item for item in conclusion.findings}
    unfixed = state.get("unfixed", [])
    for proposal, name in state.get("unclear", []):
        healing = await _look(state, parts, findings[name], proposal, others=False, seconds=FIRST_LOOK_SECONDS)
        unfixed = _still(unfixed, findings[name], healing)
    update: dict[str, Any] = {"unclear": [], "unfixed": unfixed, "exhausted": False}
    news = bool(state.get("unclear")) and state.get("exhausted", False)
    if news and choose(conclusion.remedies, state.get("tried", []), state.get("applied", []), unfixed) is not None:
        return Command(update=update, goto="executor")
    return Command(update=update, goto="__end__")


def _still(unfixed: list[str], finding: Finding, healing: Healing) -> list[str]:
    """Return the findings that a change was seen not to have mended; what cannot be told may yet be mended by it."""
    others = [name for name in unfixed if name != finding.id]
    return [*others, finding.id] if healing is Healing.NOT_FIXED else others


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
