"""Our side of the process that speaks to models: started ahead, shared by all calls, replaced when it dies.

It implements `agents.model.types.ChatClient`, so that a mind does not know where its model is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agents.deadline import OverdueError, within
from agents.model.types import (
    Bounds,
    Endpoint,
    Message,
    ModelCallError,
    ModelContextError,
    ModelTimeoutError,
    Reply,
    Tell,
    Wait,
)
from assistant.domain.ports import Clock
from assistant.errors import PilothouseError
from assistant.model_worker import wire
from assistant.processes import ChildProcess

MODULE: Final = "assistant.model_worker"
GRACE_SECONDS: Final = 10.0
"""Beyond the time of a call, which the process keeps itself: one that does not even say so is stuck."""
MOST_DEATHS: Final = 3
"""In a row, without any word about a call between; then no other is started for a while."""
PAUSE_SECONDS: Final = 60.0
WHO: Final = "The process that speaks to the model"


class ModelWorkerError(ModelCallError):
    """The process that speaks to the model could not start, has ended, or cannot be understood."""

    code = "model-worker"


class ModelWorker:
    """One process for all calls of all sessions with the same settings. Use `start_ahead`, `call`, `close`."""

    def __init__(self, endpoints: Sequence[Endpoint], bounds: Bounds, log: Path, clock: Clock) -> None:
        """Keep the settings; nothing is started yet. Raises ValueError without an endpoint."""
        if not endpoints:
            raise ValueError("a worker needs an endpoint")
        self._settings = wire.Settings(tuple(endpoints), bounds)
        self._log = log
        self._clock = clock
        self._numbers = itertools.count(1)
        self._starting: asyncio.Task[_Running] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._deaths = 0
        self._died = -math.inf
        self._closed = False

    @property
    def pid(self) -> int:
        """Return the process id of the one that runs, 0 where none does."""
        running = self._running
        return running.child.pid if running is not None else 0

    def start_ahead(self) -> None:
        """Start the process now: what it has to load takes seconds. Needs a running loop; says nothing of failures."""
        if self._starting is None and not self._closed:
            self._starting = asyncio.create_task(self._start(), name="start of the model worker")
            # Whoever makes the first call is told; nobody may ever make one.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def call(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] = (),
        *,
        tell: Tell = lambda sentence: None,
        on_text: Tell = lambda part: None,
        on_wait: Wait = lambda why, seconds: None,
        seconds: float = math.inf,
    ) -> Reply:
        """Return one whole answer, as `ChatClient` has it. Raises a ModelCallError.

        It is asked once: where the process dies, whether the provider was asked is not known.
        """
        heard: list[str] = []

        def hear(part: str) -> None:
            heard.append(part)
            on_text(part)

        work = self._call(messages, tools, tell, hear, on_wait, self._clock.monotonic() + seconds)
        try:
            return await (within(work, seconds + GRACE_SECONDS, self._clock) if math.isfinite(seconds) else work)
        except OverdueError as error:
            if (running := self._running) is not None:
                self._lose(running, f"{WHO} does not answer.")
            meaning = f"{WHO} did not answer for {seconds + GRACE_SECONDS:.0f} s."
            raise ModelTimeoutError(meaning, f"Ask again; its log is {self._log}.", said="".join(heard)) from error
        except ModelWorkerError as error:
            error.said = "".join(heard)
            raise

    async def close(self) -> None:
        """End the process and every call that is open."""
        self._closed = True
        starting, self._starting = self._starting, None
        if starting is not None and not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
        elif starting is not None and not starting.cancelled() and starting.exception() is None:
            self._end(starting.result(), f"{WHO} was ended.")
        if self._ending:
            await asyncio.wait(self._ending)

    async def _call(
        self, messages: Sequence[Message], tools: Sequence[Message], tell: Tell, on_text: Tell, on_wait: Wait,
        until: float,
    ) -> Reply:  # fmt: skip
        running, number = await self._up(), next(self._numbers)
        left = max(0.0, until - self._clock.monotonic())
        line = wire.request_line(wire.Call(number, messages, tools, left))
        if len(line) >= wire.LINE_BYTES:
            raise ModelContextError("The request is larger than any model takes.", "Ask a narrower question.")
        inbox: asyncio.Queue[wire.Event] = asyncio.Queue()
        running.open[number] = inbox
        over = False
        try:
            running.child.write(line)
            await running.child.drain()
            while True:
                match await inbox.get():
                    case wire.Text(part):
                        on_text(part)
                    case wire.Told(sentence):
                        tell(sentence)
                    case wire.Waits(why, seconds):
                        on_wait(why, seconds)
                    case Reply() as reply:
                        over = True
                        return reply
                    case ModelCallError() as error:
                        over = True
                        raise error
        except ConnectionError as error:
            raise self._ended(f"{WHO} ended.") from error
        finally:
            running.open.pop(number, None)
            if not over:
                # The provider is told to stop; nobody waits for that.
                with suppress(ConnectionError):
                    running.child.write(wire.request_line(wire.Cancel(number)))

    @property
    def _running(self) -> _Running | None:
        task = self._starting
        known = task is not None and task.done() and not task.cancelled() and task.exception() is None
        return task.result() if task is not None and known else None

    async def _up(self) -> _Running:
        if self._closed:
            raise self._ended(f"{WHO} was ended.")
        running = self._running
        if running is not None and not running.child.alive:
            self._lose(running, f"{WHO} ended.")
        if self._starting is None:
            if self._deaths >= MOST_DEATHS and self._clock.monotonic() - self._died < PAUSE_SECONDS:
                text = f"{WHO} ended {self._deaths} times in a row and is not started again for {PAUSE_SECONDS:.0f} s."
                raise self._ended(text)
            self.start_ahead()
        assert self._starting is not None  # noqa: S101 - for the type checker
        try:
            # Shielded: other calls wait for it too.
            return await asyncio.shield(self._starting)
        except (PilothouseError, OSError) as error:
            said = error.meaning if isinstance(error, PilothouseError) else str(error)
            raise ModelWorkerError(f"{WHO} did not start.", f"Look into {self._log}.", detail=said) from error

    async def _start(self) -> _Running:
        try:
            child = await ChildProcess.spawn(MODULE, self._log, line_bytes=wire.LINE_BYTES)
            await child.begin(wire.settings_value(self._settings))
        except (PilothouseError, OSError):
            self._starting = None
            self._count()
            raise
        running = _Running(child)
        running.reading = asyncio.create_task(self._read(running), name="events of the model worker")
        return running

    async def _read(self, running: _Running) -> None:
        why = f"{WHO} ended."
        try:
            while line := await running.child.receive():
                number, event = wire.read_event(line)
                if isinstance(event, Reply | ModelCallError):
                    self._deaths = 0
                # What nobody waits for any more came too late to be stopped.
                if (inbox := running.open.get(number)) is not None:
                    inbox.put_nowait(event)
                # However much has come, the calls take it, and the face draws, before the next is read.
                await asyncio.sleep(0)
        except ValueError:
            why = f"{WHO} said something that is not understood."
        except Exception as error:
            # Whatever is wrong, nobody may wait for its answers for ever.
            why = f"{WHO} cannot be listened to ({type(error).__name__})."
        self._lose(running, why)

    def _lose(self, running: _Running, why: str) -> None:
        """Give a process up that has failed."""
        if self._running is running:
            self._starting = None
            self._count()
        self._end(running, why)

    def _end(self, running: _Running, why: str) -> None:
        for inbox in running.open.values():
            inbox.put_nowait(self._ended(why))
        if running.ended:
            return
        running.ended = True
        task = asyncio.create_task(running.stop(), name="end of the model worker")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _count(self) -> None:
        self._deaths += 1
        self._died = self._clock.monotonic()

    def _ended(self, why: str) -> ModelWorkerError:
        return ModelWorkerError(why, f"Ask again; its log is {self._log}.")


class _Running:
    """A process that is ready, and the calls that it has."""

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.open: dict[int, asyncio.Queue[wire.Event]] = {}
        self.reading: asyncio.Task[None] | None = None
        self.ended = False

    async def stop(self) -> None:
        if self.reading is not None and self.reading is not asyncio.current_task():
            self.reading.cancel()
        await self.child.stop()
