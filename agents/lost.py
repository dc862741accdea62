"""Gives up checking a change once the gate is gone: what reads through it can only fail until the patience is over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from assistant.domain.case import Case
from assistant.domain.event import ClusterLost, Healing, Verified
from assistant.domain.ports import Clock, Recorder

LOOK_SECONDS: Final = 0.5
TEXT: Final = (
    "The gate died while this was being checked, so whether the change helped is not known. "
    "Ask again: the new gate reads the cluster."
)


async def unless_lost(
    checking: Coroutine[Any, Any, Verified], proposal: str, recorder: Recorder, clock: Clock
) -> Verified:
    """Return what `checking` says, or CANNOT_TELL at most `LOOK_SECONDS` after the log said that the gate is gone."""
    began = recorder.case.seq
    task = asyncio.ensure_future(checking)
    try:
        while True:
            alarm = asyncio.ensure_future(clock.sleep(LOOK_SECONDS))
            try:
                await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
            if task.done():
                return task.result()
            if recorder.case.cluster_lost or _lost_since(recorder.case, began):
                return Verified(proposal, Healing.CANNOT_TELL, TEXT)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _lost_since(case: Case, seq: int) -> bool:
    # The new gate may answer already: that it was gone is in the transcript, not in what the case says now.
    for entry in reversed(case.transcript):
        if entry.seq <= seq:
            return False
        if isinstance(entry.payload, ClusterLost):
            return True
    return False
