"""Pictures of every screen at both sizes, from the scripted session: `python -m tests.tui.screens FOLDER [--png]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from textual.pilot import Pilot

from assistant.domain import event as ev
from assistant.domain.action import Action, RequestClass, RiskLevel
from assistant.domain.proposal import Risk, Undo
from assistant.domain.target import Target
from assistant.errors import ClusterError
from assistant.tui.app import PilothouseApp
from assistant.tui.ports import PracticeIncident, SessionLike
from tests.tui import fixture, foreign
from tests.tui.scripted import MemoryLibrary, ScriptedSession, StillClock

SIZES = ((120, 36), (80, 24))
INCIDENTS = (
    PracticeIncident(
        "storefront-web", "Storefront web", "The shop front page returns no response since the release.", "shop"
    ),
    PracticeIncident("checkout", "Checkout rollout", fixture.QUESTION, "payments"),
    PracticeIncident("backup", "Nightly backup", "There is no backup since Tuesday.", "ops"),
)


def built(clock: StillClock, **given: object) -> tuple[PilothouseApp, ScriptedSession]:
    """An app over a scripted session; the clock stands after the proposal."""
    session = ScriptedSession(clock)
    clock.advance(120)

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        return session

    app = PilothouseApp(connect, practice=INCIDENTS, library=MemoryLibrary(), clock=clock, **given)  # type: ignore[arg-type]
    return app, session


async def settled(pilot: Pilot[int], clock: StillClock, seconds: float = 1.0) -> None:
    """Let everything be drawn, and the approval's quiet time pass."""
    await pilot.pause()
    await pilot.pause()
    clock.advance(seconds)
    pilot.app.draw()  # type: ignore[attr-defined]
    await pilot.pause()


async def shots(size: tuple[int, int]) -> dict[str, str]:
    """Every screen as SVG."""
    out: dict[str, str] = {}
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        out["welcome"] = app.export_screenshot()
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        out["investigate"] = app.export_screenshot()
        await pilot.press("escape", "2")
        await settled(pilot, clock)
        out["findings"] = app.export_screenshot()
        await pilot.press("1", "j", "j", "enter")
        await settled(pilot, clock)
        out["evidence"] = app.export_screenshot()
        await pilot.press("escape", "f2")
        await settled(pilot, clock)
        out["approval"] = app.export_screenshot()
        await pilot.press("a")
        await pilot.pause()
        out["armed"] = app.export_screenshot()
        await pilot.press("enter")
        await settled(pilot, clock)
        out["applied"] = app.export_screenshot()
        await pilot.press("question_mark")
        await settled(pilot, clock)
        out["help"] = app.export_screenshot()
        await pilot.press("escape")
        await settled(pilot, clock)
        await pilot.press("g", "s")
        await settled(pilot, clock)
        out["sessions"] = app.export_screenshot()
        await pilot.press("enter")
        await settled(pilot, clock)
        await pilot.press("7")
        await settled(pilot, clock)
        out["replay"] = app.export_screenshot()
    out |= await model(size)
    out |= await foreign_servers(size)
    out["critical"] = await critical(size)
    out["chooser"] = await chooser(size)
    out["unreachable"] = await unreachable(size)
    return out


async def model(size: tuple[int, int]) -> dict[str, str]:
    """A turn with a language model: while it thinks, its board, what is left at the end, a call in full."""
    out: dict[str, str] = {}
    clock = StillClock()
    app, session = built(clock)
    course = fixture.thought()
    begun = len(fixture.thinking())
    session.emit(*course[1:begun])
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        out["model-thinks"] = app.export_screenshot()
        await pilot.press("tab", "5")
        await settled(pilot, clock)
        await pilot.press("m", "j", "j", "s")
        await settled(pilot, clock)
        out["model-board"] = app.export_screenshot()
        session.emit(*course[begun:-2], ev.TurnEnded(1))
        await pilot.press("2")
        await settled(pilot, clock)
        out["model-findings"] = app.export_screenshot()
        await pilot.press("i")
        await settled(pilot, clock)
        out["model-answered"] = app.export_screenshot()
        await pilot.press("tab", "G", "K", "K", "K")
        await settled(pilot, clock)
        await pilot.press("K", "K", "space")
        await settled(pilot, clock)
        out["model-call"] = app.export_screenshot()
        await pilot.press("enter")
        await settled(pilot, clock)
        out["model-call-text"] = app.export_screenshot()
    return out


async def foreign_servers(size: tuple[int, int]) -> dict[str, str]:
    """MCP servers, what is approved of them, a held call, a question, an address."""
    out: dict[str, str] = {}
    clock = StillClock()
    app, session = built(clock)
    session.servers = foreign.ScriptedServers()
    session.emit(*fixture.investigation()[1:8], *foreign.called())

    async def shoot(name: str, *keys: str) -> None:
        if keys:
            await pilot.press(*keys)
        await settled(pilot, clock)
        await app.workers.wait_for_complete([each for each in app.workers if each.group == "read"])
        await settled(pilot, clock)
        out[name] = app.export_screenshot()

    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await shoot("mcp-servers", "tab", "g", "m")
        await shoot("mcp-offered", "enter")
        await shoot("mcp-review-tools", "v")
        await shoot("mcp-review-server", "escape", "escape", "j", "j", "enter", "enter")
        session.emit(foreign.held(), foreign.held("m2", destructive=True, tool="purge"), foreign.question())
        await pilot.press("escape", "escape", "g", "i")
        await shoot("mcp-waits")
        await shoot("mcp-call", "f3")
        await shoot("mcp-call-destroys", "right_square_bracket")
        app.switch("question")
        await shoot("mcp-question")
        await shoot("mcp-question-filled", "enter", *"Ada", "enter", "enter", "enter", "enter", "ctrl+s")
        session.emit(foreign.question("Q9", url="https://login.xn--exmple-cua.com/auth?next=%2Fnotes", fields=()))
        await shoot("mcp-address", "enter")
    return out


async def critical(size: tuple[int, int]) -> str:
    """The card of a deletion."""
    clock = StillClock()
    app, session = built(clock)
    made = fixture.proposal()
    target = Target("v1", "PersistentVolumeClaim", "payments", "pg-data-0", "5c1e-44b0")
    action = Action("DELETE", "/api/v1/namespaces/payments/persistentvolumeclaims/pg-data-0", target)
    session.answers = fixture.investigation(
        replace(
            made, action=action, title="delete PersistentVolumeClaim payments/pg-data-0",
            request_class=RequestClass.CRITICAL,
            risk=Risk(RiskLevel.CRITICAL, ("destroys the disk", "used by pod pg-0")),
            undo=Undo("none: the disk is destroyed"),
            kubectl="kubectl -n payments delete pvc pg-data-0 --cascade=foreground",
            expires=made.expires + timedelta(minutes=5),
        )
    )[2:]  # fmt: skip
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await pilot.press("f2")
        await settled(pilot, clock)
        await pilot.press(*"pg-data")
        await settled(pilot, clock)
        return app.export_screenshot()


async def chooser(size: tuple[int, int]) -> str:
    """The practice incidents."""
    clock = StillClock()
    app, _ = built(clock, choose=True)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        return app.export_screenshot()


async def unreachable(size: tuple[int, int]) -> str:
    """No cluster."""

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        raise ClusterError("No cluster answers at https://203.0.113.7:6443.", "Check the VPN, or run: kubectl version.")

    clock = StillClock()
    app = PilothouseApp(connect, practice=INCIDENTS, clock=clock)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        return app.export_screenshot()


def main(arguments: Sequence[str]) -> None:
    """Write the pictures."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for size in SIZES:
        for name, svg in asyncio.run(shots(size)).items():
            path = folder / f"{name}-{size[0]}x{size[1]}.svg"
            path.write_text(svg.replace("Fira Code", "DejaVu Sans Mono"))
            if "--png" in arguments:
                import cairosvg

                cairosvg.svg2png(
                    bytestring=path.read_bytes(), write_to=str(path.with_suffix(".png")), output_width=1400
                )


if __name__ == "__main__":
    main(sys.argv[1:])
