"""A bound in time that shows what is left of it, on a clock that tests can move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from assistant.domain.ports import Clock

TICK_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 0.2
T = TypeVar("T")


class OutOfTimeError(Exception):
    """The time was over; the work was cancelled."""


async def within(
    clock: Clock, seconds: float, work: Coroutine[Any, Any, T], left: Callable[[float], None] | None = None
) -> T:
    """Return what `work` returns; `left` is told each second how many seconds remain. Raises OutOfTimeError.

    When the time is over, or the caller is cancelled, the work is cancelled too; it gets a moment to tell the other
    side, and no more, because a person who stops must not wait for a server that does not listen.
    """
    task = asyncio.create_task(work)
    deadline = clock.monotonic() + seconds
    try:
        while not task.done():
            remaining = deadline - clock.monotonic()
            if remaining <= 0:
                raise OutOfTimeError
            if left is not None:
                left(remaining)
            tick = asyncio.ensure_future(clock.sleep(min(TICK_SECONDS, remaining)))
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
