"""Past sessions for faces: the list, the search, one session's events and texts. Read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant.domain.event import Event
from assistant.store.index import Hit, SessionRow
from assistant.store.log import Loaded, SessionStore


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """A row of the list; `interrupted` where it was at work and no process holds it any more."""

    row: SessionRow
    interrupted: bool


class StoreLibrary:
    """What is in a store. May be called from any thread."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def load(self, session_id: str) -> Sequence[Event]:
        """Return a session's events as far as they can be read. Raises StoreError."""
        return self._store.load(session_id).events

    def load_with_cut(self, session_id: str) -> Loaded:
        """Return a session's events, and why they end early if they do."""
        return self._store.load(session_id)

    def body(self, sha256: str) -> str:
        """Return a text that evidence stands in. Raises StoreError."""
        return self._store.body(sha256)

    def search(self, text: str, limit: int = 50) -> Sequence[Hit]:
        """Return events that match, best first."""
        return self._store.search(text, limit=limit)

    def list(self, limit: int = 200, query: str = "") -> Sequence[LibraryRow]:
        """Return the latest sessions, those with the words of `query` anywhere in them."""
        rows = self._store.sessions(limit=limit, text=query)
        return [LibraryRow(row, self._store.interrupted(row)) for row in rows]
