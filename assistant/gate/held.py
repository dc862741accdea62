"""One change that the gate holds and what has happened to it so far. Apart, so that rules can look at it too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from assistant.domain.proposal import Consent, Decision, Outcome, Proposal, ProposalState
from assistant.gate.preview import Examined
from assistant.gate.sender import Sent

ENDED: Final = frozenset(
    {
        ProposalState.DENIED, ProposalState.EXPIRED, ProposalState.REFUSED, ProposalState.WITHDRAWN,
        ProposalState.VOID, ProposalState.APPLIED, ProposalState.FAILED, ProposalState.UNKNOWN,
    }
)  # fmt: skip


@dataclass(slots=True)
class Held:
    """One change and what has happened to it. `answer` is what a waiting client gets."""

    examined: Examined
    key: str
    own: bool
    open_until: float
    state: ProposalState = ProposalState.OPEN
    decision: Decision | None = None
    second: Consent | None = None
    outcome: Outcome | None = None
    mac: str = ""
    approved_until: float = 0.0
    approved_until_wall: datetime | None = None
    answer: Sent | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    successor: Held | None = None
    sending: asyncio.Task[None] | None = None

    @property
    def proposal(self) -> Proposal:
        """Return the proposal as people see it."""
        return self.examined.proposal

    def show(self, proposal: Proposal) -> None:
        """Show another form of the same proposal: who has agreed to it meanwhile."""
        self.examined = replace(self.examined, proposal=proposal)
