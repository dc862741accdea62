"""Runs one question at a time in a session of its own: progress to whoever asked, an end when that one gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from assistant.domain.case import Case
from assistant.domain.event import Event, StepStarted, ToolStarted
from assistant.errors import BudgetError, ClusterError, ModelError, PilothouseError, UsageError
from assistant.mcpserver.answers import visible
from assistant.mcpserver.ports import Sessions
from assistant.session.runner import Session

MOST_WAITING: Final = 16
STOP_SECONDS: Final = 5.0

Tell = Callable[[float, str], Awaitable[None]]
"""Takes a number that only grows, and what is being done."""

_LOG: Final = logging.getLogger(__name__)


class Turns:
    """Questions are answered one after the other: the cluster is asked once at a time, whoever asks."""

    def __init__(self, sessions: Sessions) -> None:
        """Keep the sessions; nothing is opened yet."""
        self._sessions = sessions
        self._one = asyncio.Lock()
        self._waiting = 0

    async def answer(self, question: str, namespace: str, tell: Tell, *, everywhere: bool, expert: bool) -> Case:
        """Return the case of an answered question. Raises PilothouseError where there is no answer.

        Cancelling it stops the turn; the session keeps what was found until then.
        """
        if not any(character.isalnum() for character in question):
            raise UsageError("The question has no words.", "Say what is wrong, for example: why does web restart?")
        if self._waiting >= MOST_WAITING:
            raise UsageError(f"{MOST_WAITING} questions wait already.", "Ask again when one of them is answered.")
        self._waiting += 1
        try:
            async with self._one:
                session = await self.opened(namespace, everywhere=everywhere, expert=expert)
                return await self._run(session, question, tell)
        finally:
            self._waiting -= 1

    async def opened(self, namespace: str, *, everywhere: bool = False, expert: bool = False) -> Session:
        """Open a session; whoever gives up meanwhile leaves no half-started process behind. Raises PilothouseError."""
        opening = asyncio.ensure_future(self._sessions.open(namespace, everywhere=everywhere, expert=expert))
        # Not ours to cancel half-way: the gate that it starts serves the next call.
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(opening)

    async def _run(self, session: Session, question: str, tell: Tell) -> Case:
        news: asyncio.Queue[str] = asyncio.Queue()

        def listen(event: Event, case: Case) -> None:
            if title := _title(event, case):
                news.put_nowait(title)

        unsubscribe = session.subscribe(listen)
        telling = asyncio.create_task(_tell_all(news, tell), name="progress")
        try:
            await session.ask(question)
            await session.finished()
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
                await session.stop("the client gave up")
            raise
        finally:
            unsubscribe()
            telling.cancel()
        case = session.case
        _raise_without_answer(case)
        return case


async def _tell_all(news: asyncio.Queue[str], tell: Tell) -> None:
    number = 0
    while True:
        title = await news.get()
        number += 1
        try:
            await tell(float(number), title)
        except Exception as error:  # whoever asked may have gone; the answer decides that, not its progress
            _LOG.debug("Progress could not be told: %r", error)
            return


def _title(event: Event, case: Case) -> str:
    if isinstance(event.payload, StepStarted):
        step = event.payload.step
        return visible(next((each.title for each in case.plan if each.id == step), ""))
    if isinstance(event.payload, ToolStarted):
        return visible(event.payload.title).replace("\n", " ")
    return ""


def _raise_without_answer(case: Case) -> None:
    answer = case.answer
    if answer is not None and (answer.verdict.value != "undetermined" or case.root_causes):
        return
    for kind, codes in ((ClusterError, ("cluster", "gate", "gate-gone")), (ModelError, ("model",))):
        failed = next((each for each in reversed(case.errors) if each.code.startswith(codes)), None)
        if failed is not None:
            raise kind(failed.meaning, failed.hint, detail=failed.detail)
    if answer is not None:
        return
    if case.errors:
        last = case.errors[-1]
        raise PilothouseError(last.meaning, last.hint, detail=last.detail)
    raise BudgetError(case.stopped or "There is no answer.", "Ask a narrower question, or raise the bound.")
