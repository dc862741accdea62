"""The life of every held change: open, decided, sent once, concluded. The only module that lets a write out.

Each step is in the journal before the next one happens; where the journal cannot be written, nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from assistant.domain.event import Concluded, Decided, Proposed, Sending
from assistant.domain.ports import Clock
from assistant.domain.proposal import Answer, Consent, Decision, Origin, Outcome, Proposal, ProposalState
from assistant.errors import GateError, StoreError
from assistant.gate import faults
from assistant.gate.governor import Governor
from assistant.gate.held import ENDED
from assistant.gate.held import Held as Held
from assistant.gate.lastlook import LastLook
from assistant.gate.news import News
from assistant.gate.parts import send_parts
from assistant.gate.prepare import Prepared
from assistant.gate.preview import Examined, Examiner
from assistant.gate.sender import Sender, Sent
from assistant.policy.api_path import Refused
from assistant.policy.classify import CRITICAL, Verdict
from assistant.policy.limits import APPROVED_CRITICAL_SECONDS, APPROVED_SECONDS, MAX_OPEN_PROPOSALS
from assistant.store.journal import Journal

State = ProposalState
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class UnknownProposalError(GateError):
    """The gate holds no proposal of this id."""

    code = "no-such-proposal"


class Broker:
    """Holds changes until a person decides."""

    def __init__(
        self, examiner: Examiner, sender: Sender | None, journal: Journal, clock: Clock, governor: Governor, *,
        open_seconds: float,
    ) -> None:  # fmt: skip
        """Keep the parts; without a sender the gate only observes."""
        self.stopped = ""
        self.end_sessions: Callable[[], None] = lambda: None
        self.news = News()
        self._last_look = LastLook(examiner, governor, clock)
        self._governor = governor
        self._examiner = examiner
        self._sender = sender
        self._journal = journal
        self._clock = clock
        self._open_seconds = open_seconds
        self._held: dict[str, Held] = {}
        self._keys: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._key_locks: dict[str, asyncio.Lock] = {}
        self._lost = {item.proposal.id: item for item in journal.unknown()}

    # Asking

    async def propose(self, verdict: Verdict, asked: Prepared, origin: Origin, key: str, *, own: bool) -> Held:
        """Examine a change and hold it. Raises Refused, ClusterError, GateError or StoreError."""
        self._check_writes()
        if not key:
            return await self._propose(verdict, asked, origin, key, own)
        async with self._key_locks.setdefault(key, asyncio.Lock()):
            known = self._held.get(self._keys.get(key, ""))
            if known is not None:
                self._expire(known)
                if known.state not in ENDED:
                    return known
            return await self._propose(verdict, asked, origin, key, own)

    async def _propose(self, verdict: Verdict, asked: Prepared, origin: Origin, key: str, own: bool) -> Held:
        if sum(held.state is State.OPEN for held in self._held.values()) >= MAX_OPEN_PROPOSALS:
            raise Refused("too-many", "Too many changes wait already; decide those first.", 429)
        self._governor.admit(origin)
        examined = await self._examiner.examine(verdict, asked, origin)
        return self._register(examined, key, own)

    def _check_writes(self) -> None:
        if self.stopped:
            raise Refused("stopped", f"{self.stopped}. Nothing is sent until the gate is started anew.", 403)
        if self._sender is None:
            raise Refused("observe-mode", "This gate only observes: it sends no change, whoever approves.", 403)

    def _register(self, examined: Examined, key: str, own: bool) -> Held:
        # All may have been stopped while this one was being examined.
        self._check_writes()
        examined = replace(examined, proposal=self._governor.marked(examined.proposal))
        held = Held(examined, key, own, self._clock.monotonic() + self._open_seconds)
        faults.point("before-proposed")
        self._journal.proposed(held.proposal)
        faults.point("after-proposed")
        self._held[held.proposal.id] = held
        if key:
            self._keys[key] = held.proposal.id
        self.news.tell(Proposed(held.proposal, self._journal.head))
        self._later(self._expire_later(held))
        return held

    async def recheck(self, proposal_id: str) -> Held:
        """Examine an open proposal again; where anything moved, a new one takes its place and the old one is void."""
        held = self.get(proposal_id)
        async with held.lock:
            self._expire(held)
            if held.state is not State.OPEN:
                return held.successor or held
            return await self._renew(held)

    async def _renew(self, held: Held) -> Held:
        old = held.examined
        new = await self._examiner.examine(old.verdict, old.asked, held.proposal.origin, supersedes=held.proposal.id)
        same = (
            new.prepared == old.prepared
            and new.dry_hash == old.dry_hash
            and new.proposal.action.target.uid == held.proposal.action.target.uid
            and new.proposal.resource_version == held.proposal.resource_version
            and new.proposal.checks == held.proposal.checks
            and new.proposal.parts == held.proposal.parts
        )
        if same or held.state is not State.OPEN:
            return held
        successor = self._register(new, held.key, held.own)
        held.successor = successor
        self._conclude(held, State.VOID, f"The object changed; {successor.proposal.id} takes its place.")
        return successor

    # Deciding

    async def agree(self, consent: Consent) -> Held:
        """Take a second person's signed agreement; the first one decides afterwards. Raises GateError."""
        held = self.get(consent.proposal)
        async with held.lock:
            if not self._open(held):
                raise GateError(f"It is {held.state.value} already.", "Only an open change can be agreed to.")
            held.second = self._governor.agreed(consent, held.proposal)
            if held.proposal.second is not None:
                second = replace(held.proposal.second, agreed=(held.second.by,))
                held.show(replace(held.proposal, second=second))
            self.news.tell(Proposed(held.proposal))
            return held

    async def decide(self, decision: Decision) -> tuple[State, str]:
        """Take a person's decision. Returns the state and what it means; raises GateError or StoreError."""
        held = self.get(decision.proposal)
        async with held.lock:
            if not self._open(held):
                return held.state, f"It is {held.state.value} already; the decision changes nothing."
            if not hmac.compare_digest(decision.digest.encode(), held.proposal.digest.encode()):
                return State.OPEN, "The decision was about other bytes than the ones held here."
            decision = replace(decision, at=self._clock.now())
            if decision.answer is Answer.DENY:
                return self._deny(held, decision)
            return await self._approve(held, decision)

    def _deny(self, held: Held, decision: Decision) -> tuple[State, str]:
        # A denial holds even where the journal fails: refusing needs nobody's record to be safe.
        with contextlib.suppress(StoreError):
            self._journal.decided(decision)
        held.decision = decision
        self.news.tell(Decided(decision, self._journal.head))
        reason = f": {decision.reason}" if decision.reason else ""
        self._conclude(held, State.DENIED, f"{decision.by} denied it{reason}")
        return State.DENIED, "Denied; nothing was sent."

    async def _approve(self, held: Held, decision: Decision) -> tuple[State, str]:
        proposal = held.proposal
        if not proposal.approvable:
            return State.OPEN, proposal.not_approvable
        if not _SHA256.fullmatch(decision.shown):
            return State.OPEN, "An approval has to say what was on screen, and this one does not."
        if proposal.typed_name and decision.typed_name != proposal.typed_name:
            return State.OPEN, f"This change needs the name {proposal.typed_name!r} to be typed exactly."
        if held.examined.verdict.request_class is CRITICAL and not proposal.typed_name:
            return State.OPEN, "A critical change without a name cannot be approved."
        decision = replace(decision, second=held.second, quick=self._governor.quick(proposal, decision))
        others = sum(other.state is State.APPROVED for other in self._held.values())
        why_not = self._governor.objection(proposal, decision) or self._governor.full(others)
        if why_not:
            return State.OPEN, f"{why_not} Nothing was decided; it still waits."
        if moved := await self._examiner.moved(held.examined):
            successor = await self._renew(held)
            return State.VOID, f"{moved}; look at {successor.proposal.id} instead."
        if not self._open(held):
            return held.state, f"It is {held.state.value} already; the decision changes nothing."
        critical = bool(proposal.typed_name)
        seconds = APPROVED_CRITICAL_SECONDS if critical else APPROVED_SECONDS
        until = self._clock.now() + timedelta(seconds=seconds)
        mac = self._last_look.mac(decision, until)
        faults.point("before-decided")
        self._journal.decided(decision, mac, until.isoformat())
        faults.point("after-decided")
        held.decision, held.mac, held.state = decision, mac, State.APPROVED
        held.approved_until = self._clock.monotonic() + seconds
        held.approved_until_wall = until
        self.news.tell(Decided(decision, self._journal.head))
        if held.own:
            self._later(self._void_later(held, seconds))
        else:
            self._later(self._execute_foreign(held))
        return State.APPROVED, "Approved."

    # Sending

    async def execute(self, proposal_id: str) -> Outcome:
        """Send an approved proposal once, and return its outcome; asked again, return the recorded one."""
        held = self.get(proposal_id)
        async with held.lock:
            if held.outcome is not None:
                return held.outcome
            if held.sending is None and held.state is not State.APPROVED:
                raise GateError("This change is not approved.", "Let a person decide first.", detail=held.state.value)
            if held.sending is None:
                held.sending = self._later(self._send(held))
            # Shielded, so that a caller that goes away does not cut a request in the middle.
            await asyncio.shield(held.sending)
        outcome = self.get(proposal_id).outcome
        if outcome is None:
            raise GateError("The change has no outcome.", "Look at the approvals list.")
        return outcome

    async def _execute_foreign(self, held: Held) -> None:
        async with held.lock:
            if held.state is State.APPROVED and held.sending is None:
                held.sending = self._later(self._send(held))
        if held.sending is not None:
            await held.sending

    async def _send(self, held: Held) -> None:
        try:
            async with self._one_at_a_time, self._governor.alone(held.approved_until) as alone:
                if alone:
                    await self._send_now(held)
                else:
                    text = "The approval ran out while another gate was sending to this cluster; nothing was sent."
                    self._conclude(held, State.EXPIRED, text)
        except StoreError as error:
            # Raised before anything is sent, never after.
            self._conclude(held, State.REFUSED, f"The journal cannot be written, so nothing was sent. {error.meaning}")

    async def _send_now(self, held: Held) -> None:
        why = await self._last_look.objection(held)
        sender = self._sender
        if why is not None or sender is None:
            self._conclude(held, *(why or (State.REFUSED, "This gate only observes.")))
            return
        proposal = held.proposal
        faults.point("before-intent")
        self._journal.intent(proposal.id, proposal.digest, held.mac)
        faults.point("after-intent")
        self._governor.sent()
        held.state = State.SENDING
        self.news.tell(Sending(proposal.id, proposal.digest))
        if proposal.parts:
            send = send_parts(sender, self._examiner, self._journal, held.examined, lambda: self._no_more(held))
        else:
            send = sender.send(held.examined, lambda: self._mark_sent(proposal.id))
        sent = await send
        held.answer = sent
        self._conclude(held, sent.state, sent.message, sent)

    def _mark_sent(self, proposal_id: str) -> None:
        # The intent is on disk already; this entry only narrows down when the process ended.
        with contextlib.suppress(StoreError):
            self._journal.sent(proposal_id)
        faults.point("after-sent")

    def _no_more(self, held: Held) -> str:
        return self.stopped or ("the approval ran out" if self._last_look.over(held) else "")

    # Ending

    def withdraw(self, proposal_id: str, why: str = "") -> State:
        """Take back a proposal that is not being sent; an approval of it is void."""
        held = self.get(proposal_id)
        if held.state in (State.OPEN, State.APPROVED):
            self._conclude(held, State.WITHDRAWN, why or "The one who asked took it back.")
        return held.state

    def give_up(self, held: Held) -> State:
        """End a proposal whose client waited as long as it may; one that is being sent goes on."""
        if held.state in (State.OPEN, State.APPROVED):
            self._conclude(held, State.EXPIRED, "Nobody decided while the client waited; nothing was sent.")
        return held.state

    def stop(self, by: str, why: str) -> int:
        """Void all that waits or is approved and drop the way to write, for good. Returns how many that ended.

        Sessions end. What is being sent already cannot be recalled; its outcome is recorded.
        """
        self.stopped = f"{by} stopped all changes" + (f": {why}" if why else "")
        self._sender = None
        self.end_sessions()
        waiting = [held for held in self._held.values() if held.state in (State.OPEN, State.APPROVED)]
        for held in waiting:
            self._conclude(held, State.VOID, f"{self.stopped}; nothing was sent.")
        # Stopping needs nobody's record to be safe.
        with contextlib.suppress(StoreError):
            self._journal.passed({"stopped": self.stopped, "ended": len(waiting)})
        return len(waiting)

    def distrust(self, why: str) -> None:
        """Void what waits and what is approved: whoever answers is not known to be the cluster that was looked at."""
        for held in list(self._held.values()):
            if held.state in (State.OPEN, State.APPROVED):
                self._conclude(held, State.VOID, f"Nothing was sent: {why}")

    def close(self) -> None:
        """Void everything that waits and stop."""
        for held in list(self._held.values()):
            if held.state in (State.OPEN, State.APPROVED):
                self._conclude(held, State.VOID, "The gate stopped.")
        for task in list(self._tasks):
            task.cancel()

    def _open(self, held: Held) -> bool:
        self._expire(held)
        return held.state is State.OPEN

    def _expire(self, held: Held) -> None:
        over = self._clock.monotonic() >= held.open_until or self._clock.now() >= held.proposal.expires
        if held.state is State.OPEN and over:
            self._conclude(held, State.EXPIRED, "Nobody decided in time; nothing was sent.")

    async def _expire_later(self, held: Held) -> None:
        await self._clock.sleep(self._open_seconds)
        self._expire(held)

    async def _void_later(self, held: Held, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if held.state is State.APPROVED:
            self._conclude(held, State.EXPIRED, "The approval ran out before the change was sent.")

    def _conclude(self, held: Held, state: State, message: str, sent: Sent | None = None) -> None:
        if held.state in ENDED:
            return
        held.state = state
        held.mac = ""
        outcome = Outcome(
            held.proposal.id, state, self._clock.now(), sent.status if sent else 0, message,
            sent.resource_version if sent else "",
        )  # fmt: skip
        faults.point("before-outcome")
        try:
            self._journal.outcome(outcome)
        except StoreError as error:
            # The change is what it is; that it could not be recorded is part of what people must hear.
            outcome = replace(outcome, message=f"{message} (the journal could not record this: {error.meaning})")
        faults.point("after-outcome")
        held.outcome = outcome
        held.done.set()
        self.news.tell(Concluded(outcome, self._journal.head))

    # Looking

    @property
    def journal(self) -> str:
        """Return `NUMBER:HASH` of the last entry that this gate's journal has."""
        return self._journal.head

    def get(self, proposal_id: str) -> Held:
        """Return a held change. Raises UnknownProposalError."""
        held = self._held.get(proposal_id)
        if held is None:
            raise UnknownProposalError("The gate holds no such change.", "It may belong to a gate that has ended.")
        return held

    def listed(self) -> list[tuple[Proposal, State]]:
        """Return every change of this gate, and those of ended gates whose end is unknown."""
        for held in list(self._held.values()):
            self._expire(held)
        lost = [(item.proposal, State.UNKNOWN) for item in self._lost.values()]
        return lost + [(held.proposal, held.state) for held in self._held.values()]

    def ended(self, proposal_id: str) -> tuple[Proposal, Outcome] | None:
        """Return a change that another gate on this cluster held, with its end, from the journal. Raises StoreError."""
        return self._journal.ended(proposal_id)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
