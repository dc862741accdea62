"""Awaiting something for a bounded time of the clock that is given, so that tests need not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from assistant.domain.ports import Clock

T = TypeVar("T")


class OverdueError(Exception):
    """The time was up. Not a TimeoutError, because the work itself may raise one."""


async def within(work: Awaitable[T], seconds: float, clock: Clock) -> T:
    """Return what `work` returns. Raises OverdueError after `seconds`; `work` is cancelled then, and has ended."""
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(max(seconds, 0.0)))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        alarm.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    raise OverdueError(f"{seconds:.0f} s went by")
