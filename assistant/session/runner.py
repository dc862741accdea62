"""A session: runs turns as its own tasks, holds the log, waits for people's decisions and follows the gate.

Faces see this class only. It outlives every screen, and what it knows is in its `case`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from assistant.domain import event as ev
from assistant.domain.action import Action
from assistant.domain.case import Case
from assistant.domain.hypothesis import Mark
from assistant.domain.ports import Pause, Resolution, Turn
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import BudgetError, GateError, PilothouseError, StoreError, UsageError
from assistant.session.approvals import Approvals
from assistant.session.asking import Asking
from assistant.session.changes import Changes
from assistant.session.follow import Connected, GateFollower, check_same_cluster, settle_after_crash
from assistant.session.parts import Parts
from assistant.session.recorder import Listener, SessionRecorder, TurnRecorder

CANCEL_SECONDS: Final = 0.3
GATE_SECONDS: Final = 10.0


class Session:
    """One running session. Make it with `open` or `resume`, end it with `close`."""

    def __init__(self, session_id: str, parts: Parts, events: tuple[ev.Event, ...] = ()) -> None:
        self.id = session_id
        self._parts = parts
        self._workflow = parts.workflow
        self._recorder = SessionRecorder(session_id, parts.store, parts.clock, parts.redact, events)
        self.servers = parts.servers
        self.asking = parts.asking or Asking(parts.clock, parts.by)
        self.asking.bind(self._recorder)
        self._gate = parts.gate
        self._approvals: Approvals | None = None
        self._changes: Changes | None = None
        if self._gate is not None:
            self._gate.bind(self._recorder)
            self._approvals = Approvals(self._recorder, self._gate, parts.clock, parts.by)
            self._changes = Changes(self._recorder, self._gate, self._approvals, parts.clock, parts.verify, self._spawn)
        self._turn: asyncio.Task[None] | None = None
        self._paused = asyncio.Event()
        self._queued: list[tuple[str, str | None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(cls, parts: Parts, session_id: str, opened: ev.SessionOpened) -> Session:
        """Start a new session (`store.log.new_session_id` makes ids). Raises StoreError when it cannot be claimed."""
        parts.store.claim(session_id)
        try:
            session = cls(session_id, parts)
            session._recorder.emit(opened)
            await session._start()
        except BaseException:
            parts.store.release(session_id)
            raise
        return session

    @classmethod
    async def resume(
        cls, parts: Parts, session_id: str, events: tuple[ev.Event, ...], *, go_on: bool = True
    ) -> Session:
        """Take a stored session over, after a crash or an ordinary end.

        Proposals that waited are void, one that was being sent gets the outcome that the gate's journal knows or
        becomes unknown. An unfinished turn goes on from its checkpoint unless `go_on` is false. Raises UsageError on
        another cluster than the session's.
        """
        if not events:
            raise UsageError(f"Session {session_id} holds no events.", "Start a new one.")
        parts.store.claim(session_id)
        try:
            session = cls(session_id, parts, events)
            recorder = session._recorder
            await check_same_cluster(recorder, session._gate)
            unfinished = recorder.case.running
            if unfinished and not go_on:
                recorder.emit(ev.Stopped("interrupted"))
            recorder.emit(ev.Resumed(recorder.case.seq, continues=unfinished and go_on))
            await settle_after_crash(recorder, session._gate, parts.clock)
            await session._start()
        except BaseException:
            parts.store.release(session_id)
            raise
        if unfinished and go_on:
            case = recorder.case
            session._begin(Turn(session_id, case.turn, case.question, case.namespace, parts.propose))
        return session

    @property
    def case(self) -> Case:
        """Return the case as it stands: all that a face draws."""
        return self._recorder.case

    @property
    def events(self) -> tuple[ev.Event, ...]:
        """Return every event so far."""
        return tuple(self._recorder.events)

    @property
    def running(self) -> bool:
        """Say whether a turn is under way, waiting for a person included."""
        return self._turn is not None and not self._turn.done()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(event, case)` after every event; returns what ends that."""
        return self._recorder.subscribe(listener)

    def body(self, sha256: str) -> str:
        """Return the text that evidence stands in. Raises StoreError."""
        return self._parts.store.body(sha256)

    async def ask(self, text: str, namespace: str | None = None) -> None:
        """Start a turn and return; while one is under way the question is queued, and the log says so.

        Raises UsageError for a question without words.
        """
        self._alive()
        if not any(character.isalnum() for character in text):
            raise UsageError("The question has no words.", "Say what is wrong, for example: why does web restart?")
        if self.running:
            self._queued.append((text, namespace))
            self._recorder.emit(ev.Noted(f"Next question, once this one is done: {text}"))
            return
        self._ask(text, namespace)

    def steer(self, text: str) -> None:
        """Give a direction to the turn under way; it is read at the next step. Raises UsageError when none is."""
        self._alive()
        if not self.running:
            raise UsageError("Nothing is running that could be directed.", "Ask a question instead.")
        self._recorder.steer(text)

    def mark(self, hypothesis_id: str, mark: Mark) -> None:
        """Strike or pin a hypothesis, or take that back (OPEN); raises UsageError for one that is not on the board."""
        self._alive()
        self._recorder.mark(hypothesis_id, mark)

    async def stop(self, reason: str) -> None:
        """Stop the turn under way within 300 ms and take back what it proposed. The session stays open."""
        self._queued.clear()
        task = self._turn
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
        if self.case.running:
            self._recorder.emit(ev.Stopped(reason))
        self._turn = None
        apart = self._changes.under_way if self._changes else frozenset()
        turns = frozenset(item.proposal.id for item in self.case.unresolved) - apart
        await self._withdraw(f"stopped: {reason}", turns)

    async def finished(self) -> None:
        """Return when no turn is under way and none is queued."""
        while self._turn is not None and not self._turn.done():
            await asyncio.wait({self._turn})

    async def settled(self) -> None:
        """Return when the turn is over or waits for a person."""
        while self._turn is not None and not self._turn.done():
            if self._paused.is_set() and any(item.proposal.origin.session == self.id for item in self.case.waiting):
                return
            # Paused but decided: the turn has not woken up yet. What comes next is an event, another pause or its end.
            news = {asyncio.ensure_future(self._recorder.next_change.wait())}
            if not self._paused.is_set():
                news.add(asyncio.ensure_future(self._paused.wait()))
            try:
                await asyncio.wait({*news, self._turn}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in news:
                    waiter.cancel()

    async def decide(
        self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
        *, looked_seconds: float = -1.0, break_glass: bool = False,
    ) -> ProposalState:  # fmt: skip
        """Hand over a person's decision and return the state it led to; one already decided stays as it is.

        `shown` is the SHA-256 of the card that was on screen. Raises UsageError, StoreError or GateError.
        """
        desk = self._need_approvals()
        return await desk.decide(proposal_id, Answer(answer), reason, shown, typed_name, looked_seconds, break_glass)

    async def stop_changes(self, why: str) -> int:
        """Have the gate void all that waits and send nothing more while it runs. Raises GateError."""
        return await self._need_approvals().stop(why)

    async def recheck(self, proposal_id: str) -> Proposal:
        """Examine an open proposal again; a changed one supersedes it."""
        return await self._need_approvals().recheck(proposal_id)

    async def review(self, remedy_id: str, asked_by: str = "") -> Proposal:
        """Submit a suggested remedy to the gate; the proposal then waits like any other."""
        return await self._need_changes().review(remedy_id, asked_by)

    async def propose(self, action: Action, why: str) -> Proposal:
        """Submit a change of the caller's own to the gate; it waits like any other."""
        return await self._need_changes().propose(action, why)

    async def undo(self, proposal_id: str) -> Proposal:
        """Turn the way back of an applied change into a new proposal; raises UsageError when there is none."""
        return await self._need_changes().undo(proposal_id)

    async def close(self, result: str = "") -> None:
        """Stop what runs, take back what waits, write everything and give the session up.

        Raises StoreError when the end cannot be written and nobody was told so before.
        """
        if self._closed:
            return
        await self.stop("closed")
        await self._withdraw("the session was closed", None)
        await self._let_go(ev.SessionClosed(result or self.case.result))

    async def detach(self) -> None:
        """Let go of the session as it stands, waiting turn and all, for `resume`. Raises StoreError like `close`."""
        await self._let_go(None)

    async def _let_go(self, last: ev.Payload | None) -> None:
        self._closed = True
        tasks = {*self._tasks, *({self._turn} if self._turn else ())}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        if last is not None:
            self._recorder.emit(last)
        told = self._parts.store.trouble is not None
        try:
            await self._recorder.flush()
        except StoreError:
            # Who was told already that nothing is recorded need not have the end fail as well.
            if not told:
                raise
        finally:
            self._parts.store.release(self.id)

    # Turns

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()

        def on_trouble(error: StoreError | None) -> None:
            # The store may outlive this session and its loop.
            if not self._closed and not loop.is_closed():
                loop.call_soon_threadsafe(self._store_trouble, error)

        self._parts.store.listen(on_trouble)
        if self._gate is None:
            return
        follower = GateFollower(self._recorder, self._gate, self._parts.clock, self._parts.reconnect, self._on_back)
        try:
            async with asyncio.timeout(GATE_SECONDS):
                await follower.sync()
        except (GateError, TimeoutError) as error:
            self._recorder.emit(ev.Noted(f"What the gate holds cannot be listed: {error}", "warning"))
        self._spawn(follower.run(), "gate follower")

    def _ask(self, text: str, namespace: str | None) -> None:
        case = self.case
        place = case.namespace if namespace is None else namespace
        self._recorder.emit(ev.Asked(case.turn + 1, text, place))
        # The question as the log has it, without secrets; and the same after a crash.
        turn = Turn(self.id, self.case.turn, self.case.question, place, self._parts.propose)
        self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        self._turn = asyncio.create_task(self._run(turn), name=f"turn {turn.number}")

    async def _run(self, turn: Turn) -> None:
        recorder = TurnRecorder(self._recorder, self._parts.bounds.tool_calls)
        try:
            pause = await self._bounded(self._workflow.run(turn, recorder))
            while pause is not None:
                resolution = await self._resolution(pause)
                pause = await self._bounded(self._workflow.resume(turn, recorder, resolution))
            self._recorder.emit(ev.TurnEnded(turn.number))
        except BudgetError as error:
            self._recorder.emit(ev.Stopped(error.meaning))
        except PilothouseError as error:
            self._recorder.emit(ev.ErrorRaised(error.code, error.meaning, error.hint, error.detail))
            self._recorder.emit(ev.Stopped(error.meaning))
        except Exception as error:  # the turn is over either way, and the person has to hear why
            text = "The investigation failed because of a fault in Pilothouse."
            self._recorder.emit(ev.ErrorRaised("internal", text, "Ask again, or report it.", repr(error)))
            self._recorder.emit(ev.Stopped(text))
        finally:
            recorder.end()
        with suppress(StoreError):  # the listener of the store has told the person already
            await self._recorder.flush()
        if self._queued and not self._closed:
            text, namespace = self._queued.pop(0)
            self._ask(text, namespace)

    async def _bounded(self, work: Coroutine[Any, Any, Pause | None]) -> Pause | None:
        limit = self._parts.bounds.work_seconds
        task = asyncio.ensure_future(work)
        alarm = asyncio.ensure_future(self.asking.working(limit))
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return await task
            text = f"The turn took longer than {limit:.0f} seconds."
            self._recorder.emit(ev.BudgetReached("seconds", limit, text))
            raise BudgetError(text, "Ask a narrower question, or raise the bound.")
        finally:
            alarm.cancel()
            if task.cancel():
                # Nobody waits for it any more: it may take its time to end, and what it raises then is of no use.
                task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _resolution(self, pause: Pause) -> Resolution:
        self._paused.set()
        try:
            return await self._need_approvals().resolution(pause.proposal)
        finally:
            self._paused.clear()

    async def _withdraw(self, why: str, only: frozenset[str] | None) -> None:
        if self._approvals is None:
            return
        try:
            async with asyncio.timeout(GATE_SECONDS):
                await self._approvals.withdraw(why, only)
        except TimeoutError:
            self._recorder.emit(ev.Noted("The gate did not answer when proposals were withdrawn.", "warning"))

    def _on_back(self, connected: Connected) -> None:
        if connected.workflow is not None:
            self._workflow = connected.workflow

    def _store_trouble(self, error: StoreError | None) -> None:
        if self._closed:
            return
        if error is None:
            self._recorder.emit(ev.Noted("The session is being recorded again; nothing was lost."))
            return
        text = f"This session is not being recorded: {error.meaning} {error.hint} Until then nothing can be changed."
        self._recorder.emit(ev.Noted(text, "warning"))

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(work, name=what)

        def report(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if done.cancelled() or done.exception() is None or self._closed:
                return
            text = f"The {what} failed because of a fault in Pilothouse."
            self._recorder.emit(ev.ErrorRaised("internal", text, "Start the session anew.", repr(done.exception())))

        self._tasks.add(task)
        task.add_done_callback(report)

    def _need_approvals(self) -> Approvals:
        self._alive()
        if self._approvals is None:
            raise GateError("This session has no gate.", "Open a cluster to change something.")
        return self._approvals

    def _need_changes(self) -> Changes:
        self._alive()
        if self._changes is None:
            raise GateError("This session has no gate.", "Open a cluster to change something.")
        return self._changes

    def _alive(self) -> None:
        if self._closed:
            raise UsageError("The session is closed.", "Resume it or start a new one.")
