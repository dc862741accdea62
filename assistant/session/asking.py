"""Asking the person in the middle of a turn: may this tool be called, and what does a server want to know.

The gate decides on changes of the cluster; this is about everything else that a tool may do. A yes holds for one call
with the arguments that were shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from assistant.domain.asking import CallDecided, CallHeld, Field, QuestionAnswered, QuestionPut, Reply
from assistant.domain.ports import Clock
from assistant.errors import StoreError, UsageError
from assistant.session.recorder import SessionRecorder

WAIT_SECONDS: Final = 300.0
"""How long a person is waited for, as long as the gate waits by default."""
STANDING_SECONDS: Final = 0.25
NOBODY: Final = "nobody is here to be asked"
NO_ANSWER: Final = "nobody answered"
STOPPED: Final = "the turn was stopped"

Values = Mapping[str, "str | tuple[str, ...]"]
Check = Callable[[Values], None]
"""Raises UsageError, with a sentence for the person, where a server's question does not take these values."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server's question came to; `values` as they were typed."""

    reply: Reply
    values: Values


class WorkingClock:
    """A clock that stands still while a person is asked: no bound of a turn is for the time in which people think.

    Only what measures work is given it; `now` is the time of day as ever.
    """

    def __init__(self, clock: Clock) -> None:
        """Keep the clock that never stands still."""
        self._clock = clock
        self._stood = 0.0
        self._since: float | None = None

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Return seconds of work, which never go backwards."""
        return (self._clock.monotonic() if self._since is None else self._since) - self._stood

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds of work have passed."""
        until = self.monotonic() + seconds
        left = max(seconds, 0.0)
        while True:
            await self._clock.sleep(left)
            left = until - self.monotonic()
            if left <= 0:
                return
            # While it stands still nothing is gained by looking at it all the time.
            left = max(left, STANDING_SECONDS) if self._since is not None else left

    def stands(self, still: bool) -> None:
        """Say whether a person is asked now."""
        if still and self._since is None:
            self._since = self._clock.monotonic()
        elif not still and self._since is not None:
            self._stood += self._clock.monotonic() - self._since
            self._since = None


class Asking:
    """The desk of one session. Faces that have a person before them set `attended`; else everything is a no at once."""

    def __init__(self, clock: Clock, by: str) -> None:
        """Keep who answers, for the log; `bind` gives it the session."""
        self.attended = False
        self._clock = clock
        self._by = by
        self._recorder: SessionRecorder | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._checks: dict[str, Check] = {}
        self._count = 0
        self._unanswered_in = 0
        """The turn in which nobody answered: whoever has gone away is not waited for again in it."""
        self.clock = WorkingClock(clock)

    def bind(self, recorder: SessionRecorder) -> None:
        """Take the session whose log and case the questions belong to."""
        self._recorder = recorder

    async def permit(
        self, call: str, server: str, tool: str, lines: Sequence[str], digest: str, *, destructive: bool = False
    ) -> CallDecided:
        """Return what a person says to one call of a tool. A yes that cannot be written down is none."""
        # Plain texts: what is marked as safe cannot be written by the log.
        held = CallHeld(
            call,
            server,
            tool,
            tuple(map(str, lines)),
            digest,
            self._clock.now() + timedelta(seconds=WAIT_SECONDS),
            destructive,
        )
        self._log.emit(held)
        decided: CallDecided | None = None
        if self._asked:
            try:
                decided = await self._answer(call)
            except asyncio.CancelledError:
                # Nobody waits for the answer any more. Where the turn is over, that has been said already.
                if any(each.call == call for each in self._log.case.held_calls):
                    self._log.emit(CallDecided(call, False, STOPPED))
                raise
        if decided is None:
            decided = CallDecided(call, False, NO_ANSWER if self.attended else NOBODY)
        self._log.emit(decided)
        if decided.allowed:
            try:
                await self._log.flush()
            except StoreError as error:
                decided = CallDecided(call, False, f"the yes could not be recorded: {error.meaning}")
                self._log.emit(decided)
        return decided

    def decide(self, call: str, digest: str, allowed: bool, reason: str = "") -> None:
        """Take a person's answer to a held call. Raises UsageError where it does not wait, or is not what was shown."""
        held = next((each for each in self._log.case.held_calls if each.call == call), None)
        if held is None or call not in self._waiting:
            raise UsageError("This call does not wait any more.", "Look at what runs now.")
        if held.digest != digest:
            raise UsageError("What waits is not what was shown.", "Look at it again.")
        self._settle(call, CallDecided(call, allowed, reason, self._by))

    async def put(
        self, server: str, message: str, fields: Sequence[Field] = (), url: str = "", check: Check | None = None
    ) -> Answer:
        """Return what a person says to a server's question; cancelled where nobody is there or nobody answers."""
        self._count += 1
        name = f"Q{self._log.case.seq}.{self._count}"
        until = self._clock.now() + timedelta(seconds=WAIT_SECONDS)
        self._log.emit(QuestionPut(name, server, str(message), tuple(fields), str(url), until))
        answer: Answer | None = None
        if self._asked:
            if check is not None:
                self._checks[name] = check
            try:
                answer = await self._answer(name)
            except asyncio.CancelledError:
                # The call that it belonged to is over. Where the turn is, too, that has been said already.
                if any(each.question == name for each in self._log.case.questions):
                    self._log.emit(QuestionAnswered(name, Reply.CANCEL))
                raise
            finally:
                self._checks.pop(name, None)
        answered, by = answer or Answer(Reply.CANCEL, {}), self._by if answer else ""
        self._log.emit(QuestionAnswered(name, answered.reply, tuple(answered.values), by))
        return answered

    def reply(self, question: str, reply: Reply, values: Values | None = None) -> None:
        """Take a person's answer to a server's question.

        Raises UsageError where it does not wait any more, or does not take these values: then it still waits.
        """
        if question not in self._waiting:
            raise UsageError("This question does not wait any more.", "Look at what runs now.")
        given = dict(values or {}) if reply is Reply.ACCEPT else {}
        if reply is Reply.ACCEPT and (check := self._checks.get(question)) is not None:
            check(given)
        self._settle(question, Answer(reply, given))

    @property
    def _asked(self) -> bool:
        return self.attended and (not self._unanswered_in or self._unanswered_in != self._log.case.turn)

    @property
    def _log(self) -> SessionRecorder:
        if self._recorder is None:
            raise UsageError("There is no session to ask in.", "Open one first.")
        return self._recorder

    def _settle(self, name: str, answer: object) -> None:
        future = self._waiting[name]
        if future.done():
            raise UsageError("It was answered already.", "Look at what runs now.")
        future.set_result(answer)

    async def _answer(self, name: str) -> Any:
        """Return the answer, None when the time is over. Leaves nothing behind when it is cancelled."""
        future = self._waiting[name] = asyncio.get_running_loop().create_future()
        self.clock.stands(bool(self._waiting))
        alarm = asyncio.ensure_future(self._clock.sleep(WAIT_SECONDS))
        try:
            await asyncio.wait({future, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                self._unanswered_in = self._log.case.turn
            return future.result() if future.done() else None
        finally:
            alarm.cancel()
            del self._waiting[name]
            self.clock.stands(bool(self._waiting))
