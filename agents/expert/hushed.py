"""A recorder that says nothing: for reads that are repeated until something changes, which would fill the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from assistant.domain.case import Case
from assistant.domain.event import Payload, ToolEnded, ToolStarted, ToolWaiting
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.ports import Recorder

NEVER = datetime.min.replace(tzinfo=UTC)


class Hushed:
    """Implements `Recorder` over another one: tool calls are not told, citations are not recorded (their id is "").

    What those calls have to wait for is told as a wait of `call`, the one that stands for all of them.
    """

    def __init__(self, recorder: Recorder, call: str) -> None:
        """Keep the recorder that everything else goes to."""
        self._recorder = recorder
        self._call = call

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        return self._recorder.case

    def emit(self, payload: Payload) -> None:
        """Append an event, unless it is a tool call."""
        if isinstance(payload, ToolWaiting):
            self._recorder.emit(replace(payload, call=self._call))
        elif not isinstance(payload, ToolStarted | ToolEnded):
            self._recorder.emit(payload)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        """Return evidence that is not on record."""
        return Evidence("", citation.request, citation.quote, NEVER, "", len(citation.body), citation.target)

    def keep(self, text: str) -> str:
        """Keep nothing: what is only looked at again is not on record."""
        return ""

    def new_call(self) -> str:
        """Return a call id that is not used up."""
        return ""

    def steering(self) -> tuple[str, ...]:
        """Leave directions to whoever listens for them."""
        return ()

    async def flush(self) -> None:
        """Wait until what was told is durable."""
        await self._recorder.flush()
