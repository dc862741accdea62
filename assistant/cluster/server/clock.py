"""The recorded cluster's time: it stands at the moment of capture when the server starts and runs on from there.

Ages, back-offs and "since" filters then mean what they meant to the person who captured the bundle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the server needs of time; tests give one that they move by hand."""

    def now(self) -> datetime:
        """Return the time in the cluster (aware, UTC)."""
        ...

    def reach(self, moment: datetime) -> None:
        """Move forward to `moment`; a moment that is past already changes nothing."""
        ...

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` after so many seconds; the returned function calls it off."""
        ...


class CapturedClock:
    """A clock that starts at a given moment and runs at the speed of the machine's."""

    def __init__(self, start: datetime) -> None:
        """Start at `start`."""
        self._start = start
        self._mark = time.monotonic()

    def now(self) -> datetime:
        """Return the time in the cluster."""
        return self._start + timedelta(seconds=time.monotonic() - self._mark)

    def reach(self, moment: datetime) -> None:
        """Move forward to `moment`, never back."""
        if moment > self.now():
            self._start, self._mark = moment, time.monotonic()

    def later(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` on the running event loop after `seconds`."""
        return asyncio.get_running_loop().call_later(seconds, action).cancel


def stamp(moment: datetime) -> str:
    """Return an RFC 3339 time with whole seconds, as object metadata has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
