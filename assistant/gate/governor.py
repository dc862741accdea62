"""Who has to agree to a change, and how many there may be: the rules of one context, applied to what the gate holds.

Apart from the broker, which keeps the life of a change: this says only whether a step may be taken, and why not.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from assistant.domain.ports import Clock
from assistant.domain.proposal import Consent, Decision, Origin, Proposal, SecondPerson
from assistant.errors import StoreError
from assistant.gate.consent import ConsentError, checked
from assistant.policy.api_path import Refused
from assistant.policy.contexts import ContextPolicy
from assistant.policy.limits import (
    MIN_REASON_LETTERS,
    PROPOSAL_WINDOW_SECONDS,
    QUICK_SECONDS,
    SENT_WINDOW_SECONDS,
)

_POLL_SECONDS: Final = 0.05


class Window:
    """Counts what happened in the last `seconds`, by a clock that never goes backwards."""

    def __init__(self, limit: int, seconds: float) -> None:
        """Keep the bound; nothing has happened yet."""
        self.limit = limit
        self.seconds = seconds
        self._times: deque[float] = deque()

    def room(self, now: float) -> int:
        """Return how many more fit now."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        return self.limit - len(self._times)

    def wait(self, now: float) -> float:
        """Return how many seconds there are until one more fits, 0 for now."""
        return 0.0 if self.room(now) > 0 else self._times[0] + self.seconds - now

    def add(self, now: float) -> None:
        """Count one."""
        self._times.append(now)


class Governor:
    """Applies one context's policy."""

    def __init__(
        self, policy: ContextPolicy, clock: Clock, *, people: Mapping[str, str], own: str, lock: Path | None
    ) -> None:
        """Keep the rules.

        Args:
            policy: what holds in the gate's context.
            clock: for the bounds.
            people: whose signature counts as a second person's, public key by name.
            own: the public key of the user who runs the gate, "" for none.
            lock: the file that all gates of this user on this cluster share; one of them sends at a time.
        """
        self.policy = policy
        self._clock = clock
        self._people = people
        self._own = own
        self._lock = lock
        self._sent = Window(policy.sent_per_10_min, SENT_WINDOW_SECONDS)
        self._asked: dict[tuple[str, str], Window] = {}

    # Asking

    def admit(self, origin: Origin) -> None:
        """Count a request for a change. Raises Refused (429) when its origin has asked too often."""
        # A foreign client's name is its own claim; which kubeconfig it came with is not, so that has the bound.
        ours = origin.kind == "session"
        key = (origin.kind, origin.session if ours else origin.token)
        limit = self.policy.proposals_per_5_min
        asked = self._asked.setdefault(key, Window(limit, PROPOSAL_WINDOW_SECONDS))
        wait = asked.wait(self._clock.monotonic())
        if wait > 0:
            who = "this session" if ours else f"clients of the kubeconfig {origin.token}".rstrip()
            text = (
                f"{who} asked for {limit} changes within {PROPOSAL_WINDOW_SECONDS / 60:.0f} minutes, which is as many"
                f" as a person is asked about; the next one is taken in {wait:.0f} s."
            )
            raise Refused("too-often", text, 429)
        asked.add(self._clock.monotonic())

    def marked(self, proposal: Proposal) -> Proposal:
        """Return the proposal with the rule that asks for a second person, where one does."""
        if not self.policy.needs_second(critical=proposal.critical):
            return proposal
        people = tuple(sorted(self._people))
        second = SecondPerson(self.policy.second_rule(), people, break_glass=self.policy.break_glass)
        return replace(proposal, second=second)

    # Deciding

    def agreed(self, consent: Consent, proposal: Proposal) -> Consent:
        """Return a second person's agreement with its name. Raises ConsentError where it does not count."""
        if proposal.second is None:
            raise ConsentError("This change needs no second person.", "Approve it as usual.")
        return checked(consent, proposal, self._people, self._own)

    def objection(self, proposal: Proposal, decision: Decision) -> str:
        """Return why this approval is not enough, "" when it is. `decision.second` is what the gate holds itself."""
        if decision.break_glass:
            return self._alone(proposal, decision)
        if not self.policy.needs_second(critical=proposal.critical):
            return ""
        rule = self.policy.second_rule()
        if decision.second is None:
            return f"A second person has to sign first: {rule}."
        try:
            signed = checked(decision.second, proposal, self._people, self._own)
        except ConsentError as error:
            return error.meaning
        if signed.by == decision.by:
            return f"{signed.by} cannot be the second person too: {rule}."
        return ""

    def _alone(self, proposal: Proposal, decision: Decision) -> str:
        if not self.policy.needs_second(critical=proposal.critical):
            return "This change needs no second person, so there is no glass to break; approve it as usual."
        if not self.policy.break_glass:
            return f"Going on alone is not allowed in context {self.policy.context} (break_glass)."
        if sum(letter.isalpha() for letter in decision.reason) < MIN_REASON_LETTERS:
            return f"Going on alone needs a reason, in words of {MIN_REASON_LETTERS} letters or more in all."
        name = proposal.typed_name or proposal.action.target.name
        if not name or decision.typed_name != name:
            return f"Going on alone needs the name {name!r} to be typed exactly."
        return ""

    def quick(self, proposal: Proposal, decision: Decision) -> bool:
        """Say whether the answer came sooner than anybody can have read the card."""
        age = (decision.at - proposal.created).total_seconds()
        looked = decision.looked_seconds if decision.looked_seconds >= 0 else age
        return min(looked, age) < QUICK_SECONDS

    # Sending

    def full(self, waiting: int = 0) -> str:
        """Return why nothing more may be sent for now, "" while something may; `waiting` are approved and not sent."""
        wait = self._sent.wait(self._clock.monotonic())
        room = self._sent.room(self._clock.monotonic())
        if room > waiting:
            return ""
        when = f"in {wait:.0f} s" if wait > 0 else "once those that are approved have been sent"
        return (
            f"At most {self._sent.limit} changes are sent within {SENT_WINDOW_SECONDS / 60:.0f} minutes"
            f" (sent_per_10_min, {self.policy.sources.get('sent_per_10_min', '')}); the next one {when}."
        )

    def sent(self) -> None:
        """Count a change that is about to leave."""
        self._sent.add(self._clock.monotonic())

    @asynccontextmanager
    async def alone(self, until: float) -> AsyncIterator[bool]:
        """Yield True while no other gate of this user sends to this cluster; False where that takes beyond `until`.

        The lock ends with the process, so a killed gate blocks nobody. Raises StoreError when there can be no lock.
        """
        if self._lock is None:
            yield True
            return
        try:
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError("The lock of this cluster cannot be taken.", "Check the state folder.") from error
        try:
            yield await self._taken(handle, until)
        finally:
            os.close(handle)

    async def _taken(self, handle: int, until: float) -> bool:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic() >= until:
                    return False
                await self._clock.sleep(_POLL_SECONDS)
            except OSError as error:
                raise StoreError("The lock of this cluster cannot be taken.", "Check the state folder.") from error
            else:
                return True
