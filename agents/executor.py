"""The executor: chooses which suggestion to put before a person next. It proposes; it cannot apply."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import END, Ports, State
from assistant.domain.action import Remedy
from assistant.domain.event import ErrorRaised, Noted
from assistant.domain.finding import Finding
from assistant.domain.proposal import Origin, ProposalState
from assistant.errors import PilothouseError
from assistant.wire import convert

AGAIN = frozenset({ProposalState.VOID.value, "conflict"})
"""What makes the same change worth proposing anew: the gate that held it is gone, or the object moved on."""


async def executor(state: State, runtime: Runtime[Ports]) -> Command[Literal["approval", "__end__"]]:
    """Propose the next remedy: the one to repeat, the next of a chain, an alternative, or the next root cause's."""
    ports = runtime.context
    remedies = tuple(convert(Remedy, item) for item in state.get("remedies", []))
    remedy, attempt = _next(state, remedies, ports)
    if remedy is None or remedy.action is None or ports.gate is None:
        return Command(goto=END)
    findings = [convert(Finding, item) for item in state.get("findings", [])]
    cited = [fact for finding in findings if finding.id in remedy.fixes for fact in finding.evidence]
    origin = Origin("session", "pilothouse", ports.turn.session, remedy.id, remedy.title, tuple(dict.fromkeys(cited)))
    try:
        # The key comes from the state, so that a node that is run again after a crash gets the same proposal.
        proposal = await ports.gate.propose(remedy.action, origin, f"{ports.turn.thread}.{remedy.id}.{attempt}")
    except PilothouseError as error:
        ports.recorder.emit(ErrorRaised(error.code, error.meaning, error.hint, error.detail))
        return Command(goto=END)
    update: State = {
        "remedy": remedy.id,
        "attempts": attempt,
        "tried": [*state.get("tried", []), remedy.id],
        "proposal": proposal.id,
        "resolution": {},
    }
    return Command(update=update, goto="approval")


def _next(state: State, remedies: tuple[Remedy, ...], ports: Ports) -> tuple[Remedy | None, int]:
    last = next((item for item in remedies if item.id == state.get("remedy")), None)
    resolution = state.get("resolution") or {}
    said = resolution.get("state", "")
    attempt = state.get("attempts", 0)
    if last is not None and said in AGAIN:
        if attempt < ports.limits.attempts:
            return last, attempt + 1
        ports.recorder.emit(Noted(f"{last.title}: proposed {attempt} times without a decision.", "warning"))
        return None, 0
    if last is not None and said and said != ProposalState.APPROVED.value:
        if said != ProposalState.DENIED.value or not resolution.get("feedback"):
            return None, 0
        return _alternative(state, remedies, last, ports), 1
    return _following(state, remedies), 1


def _following(state: State, remedies: tuple[Remedy, ...]) -> Remedy | None:
    tried, applied = set(state.get("tried", [])), set(state.get("applied", []))
    mended = {finding for item in remedies if item.id in applied for finding in item.fixes}
    for item in remedies:
        if item.action is None or item.id in tried:
            continue
        if item.after:
            if item.after in applied:
                return item
        elif not set(item.fixes) & mended and not _denied(state, item, remedies):
            return item
    return None


def _denied(state: State, item: Remedy, remedies: tuple[Remedy, ...]) -> bool:
    # A root cause whose change was put before the person and not applied is theirs to come back to.
    tried, applied = set(state.get("tried", [])), set(state.get("applied", []))
    asked = {finding for other in remedies if other.id in tried - applied for finding in other.fixes}
    return bool(set(item.fixes) & asked)


def _alternative(state: State, remedies: tuple[Remedy, ...], denied: Remedy, ports: Ports) -> Remedy | None:
    tried = set(state.get("tried", []))
    for item in remedies:
        if item.id not in tried and item.action and not item.after and set(item.fixes) & set(denied.fixes):
            ports.recorder.emit(Noted(f"Denied with feedback; the next way to mend it is: {item.title}"))
            return item
    ports.recorder.emit(Noted("Denied with feedback; there is no other change to suggest for this cause."))
    return None
