"""Replays a recorded session as lines of text. Read only, like everything built on `Player`."""

from __future__ import annotations

from typing import TextIO

from assistant.domain.ports import Clock
from assistant.plain.face import PlainFace
from assistant.plain.lines import WIDTH, wrapped
from assistant.policy.sanitize import SafeText
from assistant.session.replay import Player


async def replay_plain(player: Player, out: TextIO, clock: Clock, *, cut: str = "", width: int = WIDTH) -> None:
    """Print a session from its beginning at the player's speed (0.0: at once), and say where it was cut."""
    face = PlainFace(out, width=width)
    face.lines([SafeText("REPLAY: read only, no cluster, no model, no network.")])
    player.jump(0)
    async for case in player.play(clock):
        event = player.event
        if event is not None:
            face(event, case)
    if cut:
        face.lines(wrapped(f"The recording ends here: {cut}.", width=width))
    face.lines([SafeText(f"END OF REPLAY after {player.length} events, {player.total_seconds:.0f} s.")])
