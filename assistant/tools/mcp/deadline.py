"""A bound in time that shows what is left of it, on a clock that tests can move; it stands still while it is held."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from assistant.domain.ports import Clock

TICK_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 0.2
T = TypeVar("T")


class OutOfTimeError(Exception):
    """The time was over; the work was cancelled."""


class Hold:
    """Time that a bound does not count, because it is a person that is waited for."""

    def __init__(self, clock: Clock, changed: Callable[[], None] | None = None) -> None:
        """Keep the clock; `changed` is told when holding begins and ends."""
        self._clock = clock
        self._changed = changed
        self._holders = 0
        self._since = 0.0
        self._before = 0.0

    @property
    def active(self) -> bool:
        """Say whether the time stands still now."""
        return self._holders > 0

    @property
    def seconds(self) -> float:
        """Return for how long it stood still so far."""
        return self._before + (self._clock.monotonic() - self._since if self._holders else 0.0)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the time stand still for as long as this lasts."""
        self._holders += 1
        if self._holders == 1:
            self._since = self._clock.monotonic()
            self._tell()
        try:
            yield
        finally:
            if self._holders == 1:
                self._before = self.seconds
            self._holders -= 1
            if not self._holders:
                self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()


async def within(
    clock: Clock, seconds: float, work: Coroutine[Any, Any, T], left: Callable[[float], None] | None = None,
    hold: Hold | None = None,
) -> T:  # fmt: skip
    """Return what `work` returns; `left` is told each second how many seconds remain. Raises OutOfTimeError.

    When the time is over, or the caller is cancelled, the work is cancelled too; it gets a moment to tell the other
    side, and no more, because a person who stops must not wait for a server that does not listen.
    """
    task = asyncio.create_task(work)
    hold = hold or Hold(clock)
    deadline = clock.monotonic() + seconds
    try:
        while not task.done():
            remaining = deadline + hold.seconds - clock.monotonic()
            if remaining <= 0 and not hold.active:
                raise OutOfTimeError
            if left is not None:
                left(max(remaining, 0.0))
            # While it stands still, the rest may be short, and nothing is gained by looking at it all the time.
            tick = asyncio.ensure_future(clock.sleep(TICK_SECONDS if hold.active else min(TICK_SECONDS, remaining)))
            try:
                await asyncio.wait({task, tick}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                tick.cancel()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_taken)
            await asyncio.wait({task}, timeout=GRACE_SECONDS)


def _taken(task: asyncio.Task[Any]) -> None:
    # What abandoned work ends with concerns nobody; unread, it would be reported as lost.
    if not task.cancelled():
        task.exception()
