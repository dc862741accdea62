"""Questions that a server puts to the person: only within a call of ours, a few a call, and none outlives its call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import mcp_types as types

from assistant.domain.ports import Clock
from assistant.tools.mcp.deadline import Hold

MOST_ROUNDS: Final = 4
"""Of questions that a server may put before it answers one call."""

Elicit = Callable[[str, types.ElicitRequestParams], Awaitable[types.ElicitResult]]
"""Answers a question of a server (its name, the question). The face that shows it must name the server."""


async def decline(server: str, question: types.ElicitRequestParams) -> types.ElicitResult:
    """Answer a server's question where nobody is asked: no."""
    return types.ElicitResult(action="decline")


class Exchange:
    """One call of ours, with what was asked in it. Its time stands still while `hold` is active."""

    def __init__(self, hold: Hold) -> None:
        """Begin without a question."""
        self.hold = hold
        self.asked = 0


class Questions:
    """All questions of one server.

    Older revisions do not say which call a question belongs to. Then it belongs to all that are under way: the time of
    each stands still, it counts against each, and it ends with the last of them.
    """

    def __init__(self, server: str, clock: Clock, elicit: Elicit) -> None:
        """Keep who answers."""
        self._server = server
        self._clock = clock
        self._elicit = elicit
        self._open: set[Exchange] = set()
        self._waiting: dict[asyncio.Task[types.ElicitResult], set[Exchange]] = {}
        self._turn = asyncio.Lock()

    @contextlib.contextmanager
    def during(self, changed: Callable[[], None]) -> Iterator[Exchange]:
        """Open a call, in which a server may ask; its open questions end with it."""
        exchange = Exchange(Hold(self._clock, changed))
        self._open.add(exchange)
        try:
            yield exchange
        finally:
            self._open.discard(exchange)
            for task, owners in list(self._waiting.items()):
                owners.discard(exchange)
                if not owners:
                    task.cancel()

    async def put(self, question: types.ElicitRequestParams, exchange: Exchange | None = None) -> types.ElicitResult:
        """Return the person's answer. Declined outside any call, and after `MOST_ROUNDS` in one."""
        owners = {exchange} if exchange is not None else set(self._open)
        if not any(each.asked < MOST_ROUNDS for each in owners):
            return types.ElicitResult(action="decline")
        for each in owners:
            each.asked += 1
        task = asyncio.create_task(self._answered(question), name=f"mcp question {self._server}")
        self._waiting[task] = set(owners)
        try:
            with contextlib.ExitStack() as holding:
                for each in owners:
                    holding.enter_context(each.hold.held())
                await asyncio.wait({task})
        finally:
            task.cancel()
            del self._waiting[task]
        if task.cancelled():
            return types.ElicitResult(action="cancel")
        # Where nobody could be asked, for whatever reason, the answer is no.
        return task.result() if task.exception() is None else types.ElicitResult(action="decline")

    def end(self) -> None:
        """End every open question: the server is gone."""
        for task in self._waiting:
            task.cancel()

    async def _answered(self, question: types.ElicitRequestParams) -> types.ElicitResult:
        # One after the other: a person can read one question of a server at a time.
        async with self._turn:
            return await self._elicit(self._server, question)
