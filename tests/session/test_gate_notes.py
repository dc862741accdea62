"""What the gate has to say about the way to the cluster is told to the person, once."""

from __future__ import annotations

from pathlib import Path

from assistant.domain import event as ev
from tests.session.scripted import drain
from tests.session.test_runner import desk_at

NOTE = "The API server's clock is 60 min ahead of this machine's."


async def test_a_note_of_the_gate_is_a_warning_of_the_session_and_is_told_once(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        desk.gate.notes = (NOTE,)
        session = await desk.open()
        assert ev.Noted(NOTE, "warning") in [event.payload for event in session.events]
        desk.gate.break_stream()
        await drain()
        await desk.clock.pass_seconds(1)
        assert [event.payload for event in session.events].count(ev.Noted(NOTE, "warning")) == 1
