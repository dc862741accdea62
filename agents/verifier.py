"""The verifier: reads the cluster again after a change and says fixed, not fixed or cannot tell."""

from __future__ import annotations

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.state import Ports, State
from assistant.domain.action import Remedy
from assistant.domain.event import ErrorRaised, Healing, Verified
from assistant.domain.finding import Finding
from assistant.errors import PilothouseError
from assistant.wire import convert


async def verifier(state: State, runtime: Runtime[Ports]) -> Command[Literal["executor"]]:
    """Verify the finding that the applied remedy is for, unless a further change of its chain has to come first."""
    ports = runtime.context
    remedies = [convert(Remedy, item) for item in state.get("remedies", [])]
    findings = {item["id"]: convert(Finding, item) for item in state.get("findings", [])}
    remedy = next((item for item in remedies if item.id == state["remedy"]), None)
    finding = next((findings[name] for name in remedy.fixes if name in findings), None) if remedy else None
    chained = remedy is not None and any(item.after == remedy.id and item.action for item in remedies)
    if finding is None or chained:
        return Command(goto="executor")
    healing = await _verify(ports, finding, state["proposal"])
    pairs = state.get("unproven", [])
    if healing is not Healing.FIXED:
        return Command(update={"unproven": [*pairs, [state["proposal"], finding.id]]}, goto="executor")
    # What an earlier change did may show only now, when the last of several faults is mended.
    left = [[proposal, name] for proposal, name in pairs
            if name not in findings or await _verify(ports, findings[name], proposal) is not Healing.FIXED]  # fmt: skip
    return Command(update={"unproven": left}, goto="executor")


async def _verify(ports: Ports, finding: Finding, proposal: str) -> Healing:
    try:
        verified = await ports.mind.verify(ports.turn, finding, proposal, ports.recorder)
    except PilothouseError as error:
        ports.recorder.emit(ErrorRaised(error.code, error.meaning, error.hint, error.detail))
        verified = Verified(proposal, Healing.CANNOT_TELL, f"The cluster could not be read again: {error.meaning}")
    ports.recorder.emit(verified)
    return verified.healing
