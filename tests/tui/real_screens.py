"""Pictures of every screen from real runs on practice incidents: `python -m tests.tui.real_screens FOLDER [--png]`.

Real gate, recorded cluster, workflow and store in a folder that is thrown away; only the terminal is headless.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.pilot import Pilot

from assistant.backend import Place
from assistant.commands.terminal import Connections, LazyLibrary
from assistant.config import Settings
from assistant.domain.case import Case
from assistant.domain.event import Event
from assistant.domain.proposal import ProposalState
from assistant.practice import incident, incidents
from assistant.tui.app import PilothouseApp
from assistant.tui.approvals import ApprovalsScreen
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.ports import PracticeIncident
from assistant.tui.replay import ReplayScreen
from assistant.tui.sessions import SessionsScreen
from tests.tui.screens import SIZES

INCIDENT = "missing-image"
LIMIT_SECONDS = 90.0
READS_BEFORE_PICTURE = 60


async def until(pilot: Pilot[int], what: str, holds: Callable[[], object]) -> None:
    """Go on once `holds` does. Raises TimeoutError with `what` was waited for."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not holds():
        if time.monotonic() > limit:
            raise TimeoutError(f"it never happened: {what}")
        await pilot.pause(0.01)
    await pilot.pause(0.3)


async def shots(size: tuple[int, int], folder: Path) -> dict[str, str]:
    """Every screen as SVG, by name; `folder` takes state and runtime files."""
    settings = Settings(state_dir=str(folder / "state"), runtime_dir=str(folder / "run"))
    connections = Connections(settings, Place())
    app = PilothouseApp(
        connections,
        practice=[PracticeIncident(i.name, i.title, i.symptom, i.namespace) for i in incidents()],
        choose=True,
        library=LazyLibrary(settings),
    )
    out: dict[str, str] = {}

    def shoot(name: str) -> None:
        out[name] = app.export_screenshot()

    try:
        async with app.run_test(size=size) as pilot:
            await _walk(app, pilot, shoot)
    finally:
        await connections.close()
    return out


async def _walk(app: PilothouseApp, pilot: Pilot[int], shoot: Callable[[str], None]) -> None:
    place = [each.name for each in incidents()].index(INCIDENT)
    await until(pilot, "the list of incidents", lambda: len(app.screen_stack) > 1)
    await pilot.press(*["j"] * place)
    await pilot.pause(0.3)
    shoot("chooser")
    await pilot.press("enter")
    await until(pilot, "a session", lambda: app.session is not None)
    screen = app.screen
    assert isinstance(screen, InvestigateScreen)
    assert screen.prompt.text == incident(INCIDENT).symptom
    reads = 0

    def running(event: Event, case: Case) -> None:
        # The turn is over in less than a second, so the picture is taken from within it.
        nonlocal reads
        reads += event.kind == "tool_started"
        if event.kind == "tool_started" and reads == READS_BEFORE_PICTURE:
            app.draw()
            shoot("investigate-running")

    assert app.session is not None
    app.session.subscribe(running)
    await pilot.press("enter")
    await until(pilot, "a change that waits", lambda: app.case.waiting)
    shoot("investigate-answered")
    await pilot.press("escape", "1", "enter")
    await pilot.pause(0.5)
    shoot("evidence")
    await pilot.press("escape", "f2")
    await until(pilot, "the card", lambda: isinstance(app.screen, ApprovalsScreen))
    await pilot.pause(1.0)
    shoot("approval")
    # Keys of the first moment do not count, on purpose; so press until the card is armed.
    card = app.screen
    assert isinstance(card, ApprovalsScreen)
    while not card.guard.armed_seconds:
        await pilot.press("a")
        await pilot.pause(0.2)
    shoot("approval-armed")
    await pilot.press("enter")
    await until(pilot, "the check", lambda: any(p.verified for p in app.case.proposals))
    assert app.case.proposals[0].state is ProposalState.APPLIED
    await until(pilot, "the end of the turn", lambda: not app.case.running)
    shoot("approval-fixed")
    await pilot.press("question_mark")
    await pilot.pause(0.5)
    shoot("help")
    await pilot.press("escape")
    await pilot.pause(1.0)
    await pilot.press("g", "s")
    await until(pilot, "the sessions", lambda: isinstance(app.screen, SessionsScreen))
    await pilot.pause(1.0)
    shoot("sessions")
    await pilot.press("enter")
    await until(pilot, "the replay", lambda: isinstance(app.screen, ReplayScreen))
    await pilot.press(*["full_stop"] * 7)
    await pilot.pause(0.3)
    shoot("replay")


def main(arguments: Sequence[str]) -> None:
    """Write the pictures into a folder."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("NO_COLOR", None)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as home:
            pictures = asyncio.run(shots(size, Path(home)))
        for name, svg in pictures.items():
            path = folder / f"{name}-{size[0]}x{size[1]}.svg"
            path.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"), encoding="utf-8")
            if "--png" in arguments:
                import cairosvg

                cairosvg.svg2png(
                    bytestring=path.read_bytes(), write_to=str(path.with_suffix(".png")), output_width=1400
                )


if __name__ == "__main__":
    main(sys.argv[1:])
