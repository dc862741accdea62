"""Several sessions over one cluster and one gate: for a server, each of whose questions is a session of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from assistant.backend import Backend, Place
from assistant.config import Settings
from assistant.domain.action import Action
from assistant.domain.case import Case, fold
from assistant.domain.target import Target
from assistant.errors import StoreError, UsageError
from assistant.wiring import open_session, open_store, store_or_memory, tool_servers

if TYPE_CHECKING:
    from agents.graph import GraphWorkflow
    from assistant.session.library import LibraryRow
    from assistant.session.runner import Session
    from assistant.store.log import SessionStore
    from assistant.store.memory import MemoryStore
    from assistant.toolservers import ToolServers

MOST_OPEN: Final = 16
"""Sessions whose fixes can still be proposed; the oldest without a change on its way makes room."""

_T = TypeVar("_T")


class SessionPool:
    """Opens the cluster at the first question, each session by itself, and everything's end by `close`."""

    def __init__(self, settings: Settings, place: Place) -> None:
        """Keep the settings; nothing is started yet."""
        self._settings = settings
        self._place = place
        self._backend: Backend | None = None
        self._store: SessionStore | MemoryStore | None = None
        self._opening = asyncio.Lock()
        self._servers: ToolServers | None = None
        self._open: dict[str, tuple[Session, list[GraphWorkflow]]] = {}

    async def open(self, namespace: str, *, everywhere: bool = False, expert: bool = False) -> Session:
        """Open a session; an empty namespace is the one that the server was started for. Raises PilothouseError.

        `everywhere` looks at all namespaces, `expert` leaves a language model of the settings out.
        """
        async with self._opening:
            await self._make_room()
            backend = await self._cluster()
            store = await self._log()
            settings = replace(self._settings, namespace=namespace or self._settings.namespace)
            settings = replace(settings, model="") if expert else settings
            place = replace(self._place, all_namespaces=everywhere or (self._place.all_namespaces and not namespace))
            workflows: list[GraphWorkflow] = []
            session = await open_session(settings, place, backend, store, workflows, self._servers)
            self._open[session.id] = (session, workflows)
            return session

    def held(self, session_id: str) -> Session | None:
        """Return a session that is open here."""
        found = self._open.get(session_id)
        return found[0] if found else None

    def holder(self, proposal_id: str) -> Session | None:
        """Return the open session that proposed this change."""
        for session, _ in self._open.values():
            known = session.case.proposal(proposal_id)
            if known is not None and known.proposal.origin.session == session.id:
                return session
        return None

    async def case(self, name: str) -> tuple[Case, str]:
        """Return a session by its id, the beginning of one, or `last`, and why it ends early. Raises StoreError."""
        held = self.held(name)
        if held is not None:
            return held.case, ""

        def read(store: SessionStore) -> tuple[Case, str]:
            found = store.find(name)
            live = self.held(found)
            if live is not None:
                return live.case, ""
            loaded = store.load(found)
            return fold(loaded.events), loaded.cut

        return await self._read(read)

    async def body(self, session_id: str, sha256: str) -> str:
        """Return the text that evidence stands in. Raises StoreError."""
        held = self.held(session_id)
        if held is not None:
            return await asyncio.to_thread(held.body, sha256)
        return await self._read(lambda store: store.body(sha256))

    async def list(self, limit: int, query: str = "") -> Sequence[LibraryRow]:
        """Return the latest sessions of this machine's store, open ones included. Raises StoreError."""

        def read(store: SessionStore) -> Sequence[LibraryRow]:
            from assistant.session.library import StoreLibrary

            return StoreLibrary(store).list(limit, query)

        try:
            return await self._read(read)
        except StoreError as error:
            if error.code != "store-missing":
                raise
            return ()

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Action:
        """Return the request that a patch of one object means. Raises UsageError and ClusterError; nothing is sent."""
        from agents.expert.patching import sent_as
        from agents.model.reading import kind_named
        from assistant.cluster.read import discover

        async with self._opening:
            client = (await self._cluster()).client
        found = kind_named(await discover(client), kind)
        if found is None:
            raise UsageError(f"The cluster serves no kind {kind!r}.", "Write it like Deployment, or Kind.group.")
        path = f"{found.path(namespace)}/{name}"
        live = await client.get_json(path)
        body = json.dumps(patch, ensure_ascii=False)
        media_type, lost = sent_as(found.group, found.kind, live, patch)
        if lost:
            raise UsageError(f"The patch would also remove {lost}.", "Write its lists whole.")
        target = Target(found.api_version, found.kind, namespace if found.namespaced else "", name)
        return Action("PATCH", path, target, (), media_type, body)

    async def close(self) -> None:
        """End the sessions, the gate, the recorded cluster and the store, each even if one before failed."""
        async with AsyncExitStack() as stack:
            if self._store is not None:
                stack.push_async_callback(asyncio.to_thread, self._store.close)
            if self._backend is not None:
                stack.push_async_callback(self._backend.close)
            if self._servers is not None:
                stack.push_async_callback(self._servers.close)
            for name in list(self._open):
                stack.push_async_callback(self._end, name)

    async def _make_room(self) -> None:
        if len(self._open) < MOST_OPEN:
            return
        for name, (session, _) in self._open.items():
            if not session.running and not session.case.unresolved:
                await self._end(name)
                return
        raise UsageError(f"{MOST_OPEN} sessions wait for a person.", "Decide on their changes: pilothouse approvals.")

    async def _end(self, name: str) -> None:
        session, workflows = self._open.pop(name)
        async with AsyncExitStack() as stack:
            for workflow in workflows:
                stack.push_async_callback(workflow.close)
            await session.close()

    async def _cluster(self) -> Backend:
        if self._backend is None:
            backend = Backend(self._settings, self._place)
            # What cannot be opened now may be there at the next question, so nothing is kept of a failure.
            await backend.open()
            self._backend = backend
            # Whoever asks through MCP cannot be asked here: what does not only read is not called.
            self._servers = tool_servers(self._settings, backend, None)
        # An open session notices the gate's death and starts another; a question must not have to wait for that.
        await self._backend.revive()
        return self._backend

    async def _log(self) -> SessionStore | MemoryStore:
        if self._store is None:
            self._store = await asyncio.to_thread(store_or_memory, self._settings)
        return self._store

    async def _read(self, work: Callable[[SessionStore], _T]) -> _T:
        def read() -> _T:
            with open_store(self._settings, read_only=True) as store:
                return work(store)

        return await asyncio.to_thread(read)
