"""Past sessions for faces: the list, the search, one session's events and texts. Read only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assistant.domain.event import Event
from assistant.store.index import Hit, SessionRow
from assistant.store.log import Loaded, SessionStore
from assistant.store.recording import Recording, read_file


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A session as the list shows it; `interrupted` when it was at work and no process holds it any more."""

    row: SessionRow
    interrupted: bool


class StoreLibrary:
    """What is in a store."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def list(self, limit: int = 100, query: str = "") -> list[LibraryRow]:
        """Return the latest sessions, optionally those that match."""
        return [LibraryRow(row, self._store.interrupted(row)) for row in self._store.sessions(limit=limit, text=query)]

    def search(self, text: str, limit: int = 50) -> list[Hit]:
        """Return events that match."""
        return self._store.search(text, limit=limit)

    def load(self, session: str) -> tuple[Event, ...]:
        """Return a session's events as far as they can be read."""
        return self._store.load(session).events

    def load_with_cut(self, session: str) -> Loaded:
        """Return a session's events, and why they end early if they do."""
        return self._store.load(session)

    def body(self, sha256: str) -> str:
        """Return a text that evidence stands in. Raises StoreError."""
        return self._store.body(sha256)


def open_recording(path: Path) -> Recording:
    """Read a recording file for replay. Raises RecordingError."""
    return read_file(path)
