"""Events on their way to the parent, in order for each call; while the pipe is full, parts of a text are joined."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from agents.model.types import ModelCallError, ModelRequestError
from assistant.model_worker import wire

PIECE_CHARACTERS: Final = 64 * 1024


class Outbox:
    """Takes events at once and writes them as the parent reads; holds no more than the answers themselves."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        """Keep the pipe; `run` writes."""
        self._writer = writer
        self._waiting: dict[int, list[wire.Event]] = {}
        self._some = asyncio.Event()

    def put(self, number: int, event: wire.Event) -> None:
        """Have an event of a call sent."""
        events = self._waiting.setdefault(number, [])
        if isinstance(event, wire.Text) and events and isinstance(events[-1], wire.Text):
            events[-1] = wire.Text(events[-1].part + event.part)
        else:
            events.append(event)
        self._some.set()

    async def run(self) -> None:
        """Write until cancelled. Raises ConnectionError once the parent does not read any more."""
        while True:
            await self._some.wait()
            while self._waiting:
                number = next(iter(self._waiting))
                for event in self._waiting.pop(number):
                    for line in _lines(number, event):
                        self._writer.write(line)
                        await self._writer.drain()
            self._some.clear()


def _lines(number: int, event: wire.Event) -> Iterator[bytes]:
    """Yield the lines of an event, none of them longer than the parent takes."""
    if isinstance(event, wire.Text):
        for at in range(0, len(event.part), PIECE_CHARACTERS):
            yield wire.event_line(number, wire.Text(event.part[at : at + PIECE_CHARACTERS]))
        return
    line = wire.event_line(number, event)
    if len(line) < wire.LINE_BYTES:
        yield line
        return
    too_large: ModelCallError = ModelRequestError(
        "The model sent more at once than can be taken.", "Ask again, or choose another model."
    )
    yield wire.event_line(number, too_large)
