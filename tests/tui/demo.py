"""The terminal over a scripted session, to look at: `python -m tests.tui.demo [choose|nocluster|replay|model|mcp]`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from assistant.errors import ClusterError
from assistant.tui.app import PilothouseApp
from assistant.tui.ports import PracticeIncident, Recording, SessionLike
from tests.tui import fixture, foreign
from tests.tui.scripted import MemoryLibrary, ScriptedSession, StillClock

PRACTICE = (
    PracticeIncident(
        "storefront-web", "Storefront web", "The shop front page returns no response since the release.", "shop"
    ),
    PracticeIncident("checkout", "Checkout rollout", fixture.QUESTION, "payments"),
    PracticeIncident("backup", "Nightly backup", "There is no backup since Tuesday.", "ops"),
)


ADDRESS = "https://login.xn--exmple-cua.com/auth?next=%2Fnotes"


class RunningClock(StillClock):
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return datetime.now(UTC).timestamp()


def app(mode: str = "", pace_seconds: float = 0.15) -> PilothouseApp:
    clock = RunningClock()
    start = datetime.now(UTC)
    made = fixture.proposal(created=start, expires=start + timedelta(minutes=10))

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        if mode == "nocluster" and not incident:
            raise ClusterError(
                "No cluster answers at https://203.0.113.7:6443.",
                "Check the VPN, or run kubectl version.",
                detail="dial tcp: i/o timeout",
            )
        answers = fixture.thought()[2:-1] if mode == "model" else fixture.investigation(made)[2:]
        if mode == "mcp":
            until = datetime.now(UTC) + timedelta(minutes=5)
            asked = [foreign.question(until=until), foreign.question("Q2", url=ADDRESS, fields=(), until=until)]
            calls = [foreign.held(until=until), foreign.held("m2", tool="purge", destructive=True, until=until)]
            answers = [*fixture.investigation(made)[2:8], *foreign.called(), *calls, *asked]
        return ScriptedSession(
            clock, answers=answers, after=fixture.outcome(made)[1:-1], pace_seconds=pace_seconds,
            servers=foreign.ScriptedServers(),
        )  # fmt: skip

    recording = (
        Recording("s-0188", fixture.whole(), lambda sha256: fixture.BODIES[sha256]) if mode == "replay" else None
    )
    return PilothouseApp(
        connect, practice=PRACTICE, choose=mode == "choose", library=MemoryLibrary(), recording=recording, clock=clock
    )


if __name__ == "__main__":
    app(sys.argv[1] if len(sys.argv) > 1 else "").run()
