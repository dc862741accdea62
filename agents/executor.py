"""Chooses the change to put before a person and submits it to the gate. It never sends anything to the cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.mind import Conclusion
from agents.state import Parts, TurnState
from assistant.domain.action import Remedy
from assistant.domain.event import Noted, Proposed, RemediesSuggested
from assistant.domain.proposal import Origin
from assistant.errors import BudgetError, GateError
from assistant.wire import convert, to_builtins

CLIENT = "pilothouse"


async def executor(state: TurnState, runtime: Runtime[Parts]) -> Command[Literal["approval", "settle"]]:
    """Propose the next applicable remedy; end the turn where there is none."""
    parts = runtime.context
    gate = parts.gate
    conclusion = convert(Conclusion, state["conclusion"])
    tried = list(state.get("tried", []))
    applied, unfixed = state.get("applied", []), state.get("unfixed", [])
    feedback = state.get("feedback", "")
    changed: dict[str, Any] = {}
    if gate is not None and feedback:
        conclusion, changed = await _revised(conclusion, state, feedback, parts)
    while gate is not None:
        remedy = choose(conclusion.remedies, tried, applied, unfixed)
        if remedy is None or remedy.action is None:
            break
        if len(tried) >= parts.limits.proposals:
            text = f"A turn may propose {parts.limits.proposals} changes; the suggestions list holds the others."
            parts.bound("proposals", float(parts.limits.proposals), text)
            break
        if feedback:
            parts.recorder.emit(Noted(f"Denied ({feedback}). The next suggestion: {remedy.title}."))
            feedback = ""
        elif failed := [each.id for each in conclusion.remedies if _in_vain(each, remedy, applied, unfixed)]:
            text = f"{' and '.join(failed)} did not mend it and is still in, with its way back on offer."
            parts.recorder.emit(Noted(f"{text} The next suggestion: {remedy.title}."))
        tried.append(remedy.id)
        # From the state, never from a clock or chance: run again after a crash, it is the same open proposal.
        key = f"{parts.turn.thread}.{remedy.id}.{state.get('voided', 0)}"
        try:
            proposal = await gate.propose(remedy.action, origin(remedy, conclusion, parts), key)
        except GateError as error:
            text = f"{remedy.id} could not be proposed: {error.meaning} {error.hint}".strip()
            parts.recorder.emit(Noted(text, "warning"))
            continue
        parts.recorder.emit(Proposed(proposal))
        update: dict[str, Any] = {"tried": tried, "remedy": remedy.id, "proposal": proposal.id, "feedback": ""}
        return Command(update=changed | update, goto="approval")
    if feedback:
        parts.recorder.emit(Noted(f"Denied ({feedback}). There is no other suggestion; say what you want instead."))
    return Command(update=changed | {"tried": tried, "feedback": "", "exhausted": True}, goto="settle")


async def _revised(
    conclusion: Conclusion, state: TurnState, feedback: str, parts: Parts
) -> tuple[Conclusion, dict[str, Any]]:
    """Let the mind answer what the person said; what it suggests then comes before all other suggestions."""
    turn = parts.directed(state.get("directions", []))
    try:
        thought = parts.mind.revise(turn, conclusion, state.get("remedy", ""), feedback, parts.recorder)
        remedies = await parts.within(thought, closing=True)
    except BudgetError:
        return conclusion, {}
    if not remedies:
        return conclusion, {}
    revised = replace(conclusion, remedies=(*remedies, *conclusion.remedies))
    parts.recorder.emit(RemediesSuggested(revised.remedies))
    return revised, {"conclusion": to_builtins(revised)}


def choose(
    remedies: tuple[Remedy, ...], tried: list[str], applied: list[str], unfixed: list[str] | None = None
) -> Remedy | None:
    """Return the next remedy to propose: untried, its forerunner applied, for something not yet dealt with.

    A finding is dealt with once a change for it is in, unless that was seen not to have helped (`unfixed`).
    """
    done = [remedy for remedy in remedies if remedy.id in applied]
    dealt = {finding for remedy in done for finding in remedy.fixes} - set(unfixed or [])
    sent = {(_request(remedy), finding) for remedy in done for finding in remedy.fixes}
    for remedy in remedies:
        if remedy.action is None or remedy.id in tried or (remedy.after and remedy.after not in applied):
            continue
        # The next link of a chain fixes the same finding as the link before it; an alternative would fix it twice.
        if remedy.after:
            return remedy
        again = any((_request(remedy), finding) in sent for finding in remedy.fixes)
        if not remedy.fixes or not (set(remedy.fixes) <= dealt or again):
            return remedy
    return None


def _request(remedy: Remedy) -> tuple[str, str, str]:
    """Return what two suggestions have in common that would send the same bytes to the same place."""
    return (remedy.action.method, remedy.action.path, remedy.action.body) if remedy.action else ("", "", remedy.id)


def _in_vain(one: Remedy, proposed: Remedy, applied: list[str], unfixed: list[str]) -> bool:
    """Say whether a change is in for what another one is proposed for now, and did not help."""
    return one.id in applied and bool(set(one.fixes) & set(proposed.fixes) & set(unfixed)) and not proposed.after


def origin(remedy: Remedy, conclusion: Conclusion, parts: Parts) -> Origin:
    """Return who asks and why, with the evidence of the findings that the remedy fixes."""
    facts = [fact for item in conclusion.findings if item.id in remedy.fixes for fact in item.evidence]
    return Origin("session", CLIENT, parts.turn.session, remedy.id, remedy.title, tuple(dict.fromkeys(facts)))
