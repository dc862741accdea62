"""`pilothouse` and `practice`: the screen, or lines where there is no terminal for one. The first frame comes first."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assistant.backend import Place, place_of, practice_place
from assistant.commands.opening import place_for, settings_of
from assistant.config import Settings
from assistant.errors import StoreError, UsageError

if TYPE_CHECKING:
    from assistant.domain.event import Event
    from assistant.practice import Incident
    from assistant.session.library import LibraryRow, StoreLibrary
    from assistant.session.runner import Session
    from assistant.wiring import Work


def open_terminal(given: argparse.Namespace) -> int:
    """Open a cluster, a bundle or a stored session."""
    settings, place = settings_of(given), place_for(given)
    question = " ".join(given.question)
    if _linear(given):
        return _plain(settings, place, question, given.resume or "")
    return _screen(settings, place, question=question, resume=given.resume or "")


def practise(given: argparse.Namespace) -> int:
    """Open a practice incident, or the list of them."""
    from assistant.practice import incident, incidents

    settings = settings_of(given)
    if _linear(given):
        if not given.incident:
            for item in incidents():
                print(f"{item.name:16} {item.title}\n{'':16} {item.symptom}")
            print("\nOpen one with: pilothouse practice NAME")
            return 0
        chosen = incident(given.incident)
        return _plain(settings, practice_place(chosen), "", "", chosen)
    name = incident(given.incident).name if given.incident else ""
    return _screen(settings, Place(), incident_name=name, choose=not name)


def _linear(given: argparse.Namespace) -> bool:
    return bool(given.plain) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()


class Connections:
    """Opens sessions for the screen and remembers what has to be ended after it."""

    def __init__(self, settings: Settings, place: Place, *, attended: bool = False) -> None:
        """Keep what to open where no incident or stored session is named; `attended` as in `open_work`."""
        self._settings = settings
        self._attended = attended
        self._place = place
        self._works: list[Work] = []

    async def __call__(self, incident: str = "", resume: str = "") -> Session:
        """Open a session; see `assistant.tui.ports.Connect`."""
        from assistant.practice import incident as named
        from assistant.wiring import open_work

        place, session = self._place, ""
        if incident:
            place = practice_place(named(incident))
        if resume:
            session, source = await asyncio.to_thread(_stored, self._settings, resume)
            place = place if self._place.bundle else place_of(source)
        work = await open_work(self._settings, place, resume=session, attended=self._attended)
        self._works.append(work)
        return work.session

    async def close(self) -> None:
        """End every session that was opened. Raises PilothouseError for one that could not be written."""
        for work in self._works:
            await work.close()


def _stored(settings: Settings, prefix: str) -> tuple[str, str]:
    from assistant.wiring import open_store

    with open_store(settings, read_only=True) as store:
        session = store.find(prefix)
        return session, store.row(session).source


def _screen(
    settings: Settings,
    place: Place,
    *,
    question: str = "",
    resume: str = "",
    incident_name: str = "",
    choose: bool = False,
) -> int:
    if not sys.stdin.isatty():
        raise UsageError("The screen needs a terminal to read keys from.", "Use `pilothouse ask` or --plain.")
    from assistant.practice import incidents
    from assistant.tui.app import PilothouseApp
    from assistant.tui.ports import PracticeIncident

    connections = Connections(settings, place, attended=True)
    app = PilothouseApp(
        connections,
        practice=[PracticeIncident(i.name, i.title, i.symptom, i.namespace) for i in incidents()],
        choose=choose,
        incident=incident_name,
        resume=resume,
        question=question,
        library=LazyLibrary(settings),
        theme=settings.theme,
    )

    async def run() -> int:
        try:
            return await app.run_async() or 0
        finally:
            await connections.close()

    return asyncio.run(run())


class LazyLibrary:
    """The stored sessions, opened at each look: the first frame must not wait for a database."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings."""
        self._settings = settings

    @contextmanager
    def _open(self) -> Iterator[StoreLibrary]:
        from assistant.session.library import StoreLibrary
        from assistant.wiring import open_store

        with open_store(self._settings, read_only=True) as store:
            yield StoreLibrary(store)

    def list(self, limit: int = 200, query: str = "") -> Sequence[LibraryRow]:
        """Return the newest sessions; none where there is no store yet. Raises StoreError."""
        try:
            with self._open() as library:
                return library.list(limit, query)
        except StoreError as error:
            if error.code == "store-missing":
                return []
            raise

    def load(self, session: str) -> Sequence[Event]:
        """Return the events of a session. Raises StoreError."""
        with self._open() as library:
            return library.load(session)

    def body(self, sha256: str) -> str:
        """Return a stored text. Raises StoreError."""
        with self._open() as library:
            return library.body(sha256)


def _plain(settings: Settings, place: Place, question: str, resume: str, incident: Incident | None = None) -> int:
    async def run() -> int:
        from assistant.plain.face import PlainFace
        from assistant.plain.talk import converse, read_stdin
        from assistant.plain.typed import TerminalLines
        from assistant.session.clock import SystemClock

        connections = Connections(settings, place)
        try:
            session = await connections(resume=resume)
            face = PlainFace(sys.stdout, evidence=False)
            if incident is not None:
                print(f"Practice: {incident.title}. Its users say: {incident.symptom}")
            early = sys.stdin.isatty()
            read = TerminalLines(sys.stdin.fileno(), sys.stdout) if early else read_stdin
            await converse(session, face, read, SystemClock(), question, early=early)
        finally:
            await connections.close()
        return 0

    return asyncio.run(run())
