"""The last look before a change leaves: is the approval whole, unexpired, ours, enough, and about these very bytes?

Apart from the broker, so that everything that an approval must withstand stands in one place.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import datetime

from assistant.domain.canonical import sha256
from assistant.domain.ports import Clock
from assistant.domain.proposal import Decision, ProposalState
from assistant.errors import ClusterError
from assistant.gate.governor import Governor
from assistant.gate.held import Held
from assistant.gate.preview import Examiner
from assistant.wire import to_builtins


class LastLook:
    """Judges approvals of one gate. The MAC key never leaves this object, so no other process can make an approval."""

    def __init__(self, examiner: Examiner, governor: Governor, clock: Clock) -> None:
        """Keep the parts and make a key."""
        self._examiner = examiner
        self._governor = governor
        self._clock = clock
        self._key = os.urandom(32)

    def mac(self, decision: Decision, until: datetime) -> str:
        """Return the code that shows that this gate took this decision, good until then."""
        text = "\n".join((sha256(to_builtins(decision)), until.isoformat()))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    async def objection(self, held: Held) -> tuple[ProposalState, str] | None:
        """Return the end that the change has instead of being sent, None when it may leave now."""
        proposal, decision, until = held.proposal, held.decision, held.approved_until_wall
        if decision is None or until is None or self.over(held):
            return ProposalState.EXPIRED, "The approval ran out before the change was sent."
        if not hmac.compare_digest(held.mac, self.mac(decision, until)):
            return ProposalState.REFUSED, "The approval is not one of this gate."
        if not hmac.compare_digest(decision.digest.encode(), proposal.digest.encode()):
            return ProposalState.REFUSED, "The approval is for another change."
        if not hmac.compare_digest(self._examiner.digest(held.examined), proposal.digest):
            return ProposalState.REFUSED, "The bytes to send are not the ones that were approved."
        if why := self._governor.objection(proposal, decision) or self._governor.full():
            return ProposalState.REFUSED, f"{why} Nothing was sent."
        try:
            moved = await self._examiner.moved(held.examined, sending=True)
        except ClusterError as error:
            return ProposalState.FAILED, f"Nothing was sent: {error.meaning}"
        if moved:
            return ProposalState.FAILED, f"{moved}; nothing was sent."
        if held.state is not ProposalState.APPROVED:
            return ProposalState.REFUSED, "It was taken back while the object was read; nothing was sent."
        if self.over(held):
            return ProposalState.EXPIRED, "The approval ran out before the change was sent."
        return None

    def over(self, held: Held) -> bool:
        """Say whether an approval has run out, or never was one."""
        # Either clock is enough: the wall clock can be set back, and the other stands still in some suspended machines.
        until = held.approved_until_wall
        return until is None or self._clock.monotonic() >= held.approved_until or self._clock.now() >= until
