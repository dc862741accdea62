"""What the server needs of whoever holds the cluster, the gate and the sessions. Wiring gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from assistant.domain.action import Action
from assistant.domain.case import Case
from assistant.session.library import LibraryRow
from assistant.session.runner import Session


class Sessions(Protocol):
    """One cluster behind one gate, opened at the first call that needs it, and every session on this machine."""

    async def open(self, namespace: str, *, everywhere: bool = False, expert: bool = False) -> Session:
        """Open a session. Raises PilothouseError."""
        ...

    def held(self, session_id: str) -> Session | None:
        """Return a session that is open here."""
        ...

    def holder(self, proposal_id: str) -> Session | None:
        """Return the open session that proposed this change."""
        ...

    async def case(self, name: str) -> tuple[Case, str]:
        """Return a session by its id, the beginning of one, or `last`, and why it ends early. Raises StoreError."""
        ...

    async def body(self, session_id: str, sha256: str) -> str:
        """Return the text that evidence stands in. Raises StoreError."""
        ...

    async def list(self, limit: int, query: str = "") -> Sequence[LibraryRow]:
        """Return the latest sessions. Raises StoreError."""
        ...

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Action:
        """Return the request that a patch of one object means; nothing is sent. Raises PilothouseError."""
        ...
