"""A recorder that says nothing: for reads that are repeated until something changes, which would fill the log."""

from __future__ import annotations

from datetime import UTC, datetime

from assistant.domain.case import Case
from assistant.domain.event import Payload, ToolEnded, ToolStarted
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.ports import Recorder

NEVER = datetime.min.replace(tzinfo=UTC)


class Hushed:
    """Implements `Recorder` over another one: tool calls are not told, citations are not recorded (their id is "")."""

    def __init__(self, recorder: Recorder) -> None:
        """Keep the recorder that everything else goes to."""
        self._recorder = recorder

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        return self._recorder.case

    def emit(self, payload: Payload) -> None:
        """Append an event, unless it is a tool call."""
        if not isinstance(payload, ToolStarted | ToolEnded):
            self._recorder.emit(payload)

    def cite(self, citation: Citation, call: str = "") -> Evidence:
        """Return evidence that is not on record."""
        return Evidence("", citation.request, citation.quote, NEVER, "", len(citation.body), citation.target)

    def new_call(self) -> str:
        """Return a call id that is not used up."""
        return ""

    def steering(self) -> tuple[str, ...]:
        """Leave directions to whoever listens for them."""
        return ()

    async def flush(self) -> None:
        """Wait until what was told is durable."""
        await self._recorder.flush()
