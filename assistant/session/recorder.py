"""The events of one running session: appends, folds, tells listeners, numbers evidence. The only way into its log."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Final

from assistant.domain import event as ev
from assistant.domain.action import Action, Remedy
from assistant.domain.case import Case, fold
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.hypothesis import Mark
from assistant.domain.ports import Clock
from assistant.domain.proposal import ProposalState
from assistant.domain.target import Target
from assistant.errors import BudgetError, UsageError
from assistant.session.ports import Log
from assistant.session.scrub import Redact, Scrubber

Listener = Callable[[ev.Event, Case], None]

_LOG: Final = logging.getLogger(__name__)
_NUMBER: Final = re.compile(r"[A-Z](\d+)")


class SessionRecorder:
    """Implements `assistant.domain.ports.Recorder`.

    The workflow, the gate's watch and the runner may all report the same thing about a proposal; what the case
    already says is not appended again.
    """

    def __init__(
        self, session: str, store: Log, clock: Clock, redact: Redact, events: tuple[ev.Event, ...] = ()
    ) -> None:
        self.session = session
        self.events = list(events)
        # Actions as they were given, by remedy and proposal: the log's copies lose a body that holds a secret.
        self.remedies: dict[str, Remedy] = {}
        self.undos: dict[str, Action] = {}
        self._store = store
        self._clock = clock
        self._scrub = Scrubber(redact)
        self._case = fold(events)
        self._listeners: list[Listener] = []
        self._steering: list[str] = []
        self._handed: list[str] = []
        self._known: dict[tuple[str, str, str, Target | None], Evidence] = {
            (item.request, item.quote, item.body, item.target): item for item in self._case.evidence
        }
        self._facts = max((_number(item.id) for item in self._case.evidence), default=0)
        self._calls = max((_number(item.call) for item in self._case.calls), default=0)
        self._changed = asyncio.Event()

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        return self._case

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every event, on the loop's thread; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    @property
    def next_change(self) -> asyncio.Event:
        """Return what will be set by the next event; take it before looking at the case, then no event is missed."""
        return self._changed

    def emit(self, payload: ev.Payload) -> None:
        """Append an event, scrubbed, unless the case already says just that."""
        match payload:
            case ev.RemediesSuggested():
                self.remedies = {remedy.id: remedy for remedy in payload.remedies}
            case ev.Proposed(proposal) if proposal.undo.action:
                self.undos[proposal.id] = proposal.undo.action
            case _:
                pass
        clean = self._scrub.payload(payload)
        if self._said(clean):
            return
        event = ev.Event(self.session, self._case.seq + 1, self._clock.now(), clean)
        self._case = self._case.apply(event)
        self.events.append(event)
        self._store.append(event)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for listener in tuple(self._listeners):
            try:
                listener(event, self._case)
            except Exception:
                # A face that fails to draw must not stop an investigation or, worse, the record of a change.
                _LOG.exception("a listener failed on event %d", event.seq)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        """Record a fact: body and quote are redacted first, and the quote then still stands in the kept body."""
        body, quote, redactions = self._scrub.citation(citation)
        sha256 = self._store.put_body(self.session, body)
        key = (citation.request, quote, sha256, citation.target)
        known = self._known.get(key)
        if known:
            return known
        self._facts += 1
        fact = Evidence(
            f"E{self._facts}", citation.request, quote, self._clock.now(), sha256, len(body.encode()), citation.target,
            redactions=redactions,
        )  # fmt: skip
        self._known[key] = fact
        self.emit(ev.EvidenceAdded(fact, call))
        return fact

    def keep(self, text: str) -> str:
        """Keep a text beside the log, secrets taken out, and return the SHA-256 it is found under."""
        return self._store.put_body(self.session, self._scrub.body(text)[0])

    def new_call(self) -> str:
        """Return a fresh tool-call id (T1, T2 and so on)."""
        self._calls += 1
        return f"T{self._calls}"

    def steer(self, text: str) -> None:
        """Append a person's direction and keep it for the workflow's next step border."""
        self.emit(ev.Steered(text))
        self._steering.append(text)

    def mark(self, hypothesis_id: str, mark: Mark) -> None:
        """Append what a person said of a hypothesis. Raises UsageError for one that is not on the board."""
        if self._case.hypothesis(hypothesis_id) is None:
            known = ", ".join(each.id for each in self._case.board)
            raise UsageError(
                f"There is no hypothesis {hypothesis_id!r} on the board.",
                f"On it are {known}." if known else "The board is empty: a language model fills it while it thinks.",
            )
        self.emit(ev.HypothesisMarked(hypothesis_id, mark))

    def steering(self) -> tuple[str, ...]:
        """Return and clear the directions given since the last step border."""
        given = tuple(self._steering)
        self._steering.clear()
        self._handed.extend(given)
        return given

    async def flush(self) -> None:
        """Return when every event so far is durable. Raises StoreError when it is not: then nothing may be sent."""
        await self._store.flush()

    def _said(self, payload: ev.Payload) -> bool:
        match payload:
            case ev.Proposed(proposal):
                known = self._case.proposal(proposal.id)
                return known is not None and (known.state is not ProposalState.OPEN or known.proposal == proposal)
            case ev.Decided(decision):
                known = self._case.proposal(decision.proposal)
                return known is not None and (known.decision is not None or known.outcome is not None)
            case ev.Sending(proposal_id):
                known = self._case.proposal(proposal_id)
                return known is not None and (known.state is ProposalState.SENDING or known.outcome is not None)
            case ev.Concluded(outcome):
                known = self._case.proposal(outcome.proposal)
                if known is None:
                    return False
                if known.outcome is None:
                    return known.state is ProposalState.DENIED and outcome.state is ProposalState.DENIED
                # Only the unknown may become known; everything else is final.
                return known.outcome.state is not ProposalState.UNKNOWN or outcome.state is ProposalState.UNKNOWN
            case ev.Verified():
                known = self._case.proposal(payload.proposal)
                return known is not None and known.verified == payload
            case ev.UndoOffered():
                known = self._case.proposal(payload.proposal)
                return known is not None and known.undo is not None
            case ev.Steered(text):
                if text in self._handed:
                    self._handed.remove(text)
                    return True
                return False
            case ev.HypothesisMarked():
                known_one = self._case.hypothesis(payload.hypothesis)
                return known_one is not None and known_one.mark is payload.mark
            case ev.TurnEnded() | ev.Stopped():
                return not self._case.running
            case _:
                return False


class TurnRecorder:
    """What one turn's workflow holds of the recorder; once the turn was stopped it takes nothing more.

    Without it a node that outlives its cancellation could still write into the next turn.
    """

    def __init__(self, recorder: SessionRecorder, tool_calls: int) -> None:
        self._recorder = recorder
        self._tool_calls = tool_calls
        self._calls_left = tool_calls
        self._over = False

    def end(self) -> None:
        """Refuse everything from now on."""
        self._over = True

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        return self._recorder.case

    def emit(self, payload: ev.Payload) -> None:
        """Append an event."""
        self._check()
        self._recorder.emit(payload)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        """Record a fact."""
        self._check()
        return self._recorder.cite(citation, call)

    def keep(self, text: str) -> str:
        """Keep a text beside the log."""
        self._check()
        return self._recorder.keep(text)

    def new_call(self) -> str:
        """Return a fresh tool-call id. Raises BudgetError when the turn has had all that it may have."""
        self._check()
        if self._calls_left == 0:
            text = f"The turn made {self._tool_calls} tool calls, which is all that it may."
            self._recorder.emit(ev.BudgetReached("calls", float(self._tool_calls), text))
            raise BudgetError(text, "Ask a narrower question, or raise the bound.")
        self._calls_left -= 1
        return self._recorder.new_call()

    def steering(self) -> tuple[str, ...]:
        """Return and clear the directions given."""
        self._check()
        return self._recorder.steering()

    async def flush(self) -> None:
        """Return when every event so far is durable."""
        self._check()
        await self._recorder.flush()

    def _check(self) -> None:
        if self._over:
            raise asyncio.CancelledError("the turn was stopped")


def _number(text: str) -> int:
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else 0
