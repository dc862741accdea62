"""Builds a session out of its parts. The only module that knows all of them; read it to see what exists."""

from __future__ import annotations

import asyncio
import difflib
import gc
import getpass
import importlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assistant import __version__
from assistant.backend import Backend, Place
from assistant.config import Settings
from assistant.domain.event import SessionOpened
from assistant.domain.ports import GateInfo
from assistant.errors import ClusterError, NotFoundError, StoreError, UsageError

if TYPE_CHECKING:
    from agents.graph import GraphWorkflow
    from agents.mind import Mind
    from agents.model.types import ChatClient
    from assistant.domain.event import Event, Verified
    from assistant.domain.finding import Finding
    from assistant.domain.ports import Clock, Gate, Pause, Recorder, Resolution, Turn, Workflow
    from assistant.domain.recorded import RecordedTurn
    from assistant.session.asking import Asking
    from assistant.session.parts import Parts
    from assistant.session.runner import Session
    from assistant.store.log import SessionStore
    from assistant.store.memory import MemoryStore
    from assistant.toolservers import ToolServers

CHECKPOINTS: Final = "checkpoints.db"
DATABASE: Final = "sessions.db"
SHOWN_NAMESPACES: Final = 12
COLLECTED_AFTER: Final = (50_000, 20, 20)
"""New objects before the youngest are looked through, and how often before the older ones are (gc.set_threshold)."""


@dataclass(slots=True)
class Work:
    """A session with everything under it. Faces get `session`; whoever opened it calls `close`."""

    session: Session
    backend: Backend
    store: SessionStore | MemoryStore
    workflows: list[GraphWorkflow]
    servers: ToolServers | None = None

    async def close(self) -> None:
        """End session, workflow, servers, children and store in this order, each even if one before failed."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, self.store.close)
            stack.push_async_callback(self.backend.close)
            if self.servers is not None:
                stack.push_async_callback(self.servers.close)
            for workflow in self.workflows:
                stack.push_async_callback(workflow.close)
            await self.session.close()


def open_store(settings: Settings, *, read_only: bool = False) -> SessionStore:
    """Open the session store. Raises StoreError."""
    from assistant.store.log import SessionStore

    return SessionStore.open(settings.state / DATABASE, read_only=read_only)


async def open_gate(settings: Settings, place: Place, kubeconfig_out: Path | None, clients: Mapping[str, Path]) -> Work:
    """Open a gate for other tools, and a session that records what they asked for and what a person decided."""
    from assistant.store.log import new_session_id

    backend = Backend(settings, place, kubeconfig_out, clients)
    store = await asyncio.to_thread(store_or_memory, settings)
    try:
        from assistant.session.runner import Session

        info = await backend.open()
        parts = _parts(settings, backend, store, _NoWorkflow)
        opened = replace(_opened(settings, info, place, info.namespace), mind="none")
        session = await Session.open(parts, new_session_id(parts.clock.now()), opened)
    except BaseException:
        await backend.close()
        await asyncio.to_thread(store.close)
        raise
    return Work(session, backend, store, [])


async def open_work(
    settings: Settings, place: Place, *, propose: bool = True, resume: str = "", attended: bool = False
) -> Work:
    """Open a cluster and a session on it, or take the stored session `resume` over.

    `attended` says that a person is there who can be asked in the middle of a turn, from the first moment on. Raises
    PilothouseError; then nothing is left open. Without a usable store the session lives in memory, says so, and can
    change nothing.
    """
    from assistant.store.log import new_session_id

    backend = Backend(settings, place)
    if settings.model:
        # What it loads takes seconds, in which the others start, the question is typed and the cluster is read.
        backend.model_worker()
    # Neither the heavy imports nor the store's file are needed by the children, so all of them start at once.
    graph = asyncio.create_task(asyncio.to_thread(importlib.import_module, "agents.graph"))
    opening = asyncio.create_task(backend.open())
    store = await asyncio.to_thread(store_or_memory, settings)
    try:
        from assistant.session.runner import Session

        info = await opening
        await graph
        namespace = await _namespace(settings, place, backend, info)
        workflows: list[GraphWorkflow] = []
        asking = _asking()
        asking.attended = attended
        servers = tool_servers(settings, backend, asking, namespace)
        parts = replace(_with_mind(settings, backend, store, workflows, servers, asking), propose=propose)
        if resume:
            loaded = await asyncio.to_thread(_load, settings, resume)
            session = await Session.resume(parts, resume, loaded)
        else:
            session = await Session.open(
                parts, new_session_id(parts.clock.now()), _opened(settings, info, place, namespace)
            )
        _spare_collections()
    except BaseException:
        opening.cancel()
        await asyncio.wait({opening, graph})
        await backend.close()
        await asyncio.to_thread(store.close)
        raise
    return Work(session, backend, store, workflows, servers)


async def open_session(
    settings: Settings,
    place: Place,
    backend: Backend,
    store: SessionStore | MemoryStore,
    workflows: list[GraphWorkflow],
    servers: ToolServers | None = None,
) -> Session:
    """Open one more session on a cluster that is open; its `workflows` are for the caller to close after it.

    Nothing is submitted to the gate by a turn: whoever asks reviews a suggestion by its id. Raises PilothouseError.
    """
    from assistant.session.runner import Session
    from assistant.store.log import new_session_id

    info = backend.info or await backend.control.info()
    namespace = await _namespace(settings, place, backend, info)
    parts = replace(_with_mind(settings, backend, store, workflows, servers, _asking()), propose=False)
    try:
        return await Session.open(parts, new_session_id(parts.clock.now()), _opened(settings, info, place, namespace))
    except BaseException:
        for workflow in workflows:
            await workflow.close()
        raise


def tool_servers(settings: Settings, backend: Backend, asking: Asking | None, namespace: str = "") -> ToolServers:
    """Return the MCP servers of the settings, over this gate; none is started. Without `asking`, nobody is asked.

    What the identity may do is looked up for the namespace.
    """
    from assistant.cluster.rights import Rights
    from assistant.session.clock import SystemClock
    from assistant.toolservers import ToolServers

    async def kubeconfig(name: str) -> str:
        return await backend.control.kubeconfig_for(name)

    async def rights() -> Callable[[str, str, str, str], bool | None]:
        return Rights(namespace, await backend.client.own_rules(namespace)).may

    return ToolServers(
        settings.mcp_file, settings.state, kubeconfig, SystemClock(), asking, rights if namespace else None
    )


def _asking() -> Asking:
    from assistant.session.asking import Asking
    from assistant.session.clock import SystemClock

    return Asking(SystemClock(), _person())


async def _namespace(settings: Settings, place: Place, backend: Backend, info: GateInfo) -> str:
    wanted = settings.namespace or place.namespace or info.namespace
    return "" if place.all_namespaces else await _existing(backend, wanted)


def _spare_collections() -> None:
    # What was loaded lives as long as the process, and what is read as long as the turn, so looking through it for
    # garbage again and again finds none (measured: a fifth of a large scan). Cycles still go, more of them at a time.
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


def _with_mind(
    settings: Settings,
    backend: Backend,
    store: SessionStore | MemoryStore,
    workflows: list[GraphWorkflow],
    servers: ToolServers | None,
    asking: Asking,
) -> Parts:
    from agents.expert.mind import ExpertMind
    from agents.graph import GraphWorkflow
    from agents.lost import unless_lost
    from agents.state import Limits
    from assistant.models import model_mind
    from assistant.session.clock import SystemClock
    from assistant.store.memory import MemoryStore
    from assistant.tools.kube import KubeReader

    clock = SystemClock()
    recorded = not isinstance(store, MemoryStore)
    client = backend.model_worker() if settings.model else None

    def workflow(gate: Gate) -> GraphWorkflow:
        reader = KubeReader(backend.client, clock)
        mind: Mind = ExpertMind(reader, clock)
        if client is not None:
            mind = model_mind(settings, client, mind, reader, asking.clock, store.spent_since, servers)
        # What is not recorded cannot be resumed, so its checkpoints need no file either.
        checkpoints = settings.state / CHECKPOINTS if recorded else None
        # A mind that thinks longer needs a turn that lasts longer.
        limits = Limits(seconds=Limits().seconds + (settings.turn_model_seconds if client else 0.0))
        workflows.append(GraphWorkflow(mind, gate, checkpoints, asking.clock, limits, requests=lambda: reader.requests))
        return workflows[-1]

    async def verify(turn: Turn, finding: Finding, proposal: str, recorder: Recorder) -> Verified:
        # A reader of its own: a turn that runs at the same time must not find its view forgotten.
        mind = ExpertMind(KubeReader(backend.client, clock), clock)
        return await unless_lost(mind.verify(turn, finding, proposal, recorder), proposal, recorder, clock)

    return replace(_parts(settings, backend, store, workflow), verify=verify, asking=asking, servers=servers)


def _parts(
    settings: Settings,
    backend: Backend,
    store: SessionStore | MemoryStore,
    workflow: Callable[[Gate], Workflow],
) -> Parts:
    from assistant.policy.redact import redact_text
    from assistant.session.budget import Bounds
    from assistant.session.clock import SystemClock
    from assistant.session.door import RecordedGate
    from assistant.session.follow import Connected
    from assistant.session.parts import Parts

    control = backend.control
    gate = RecordedGate(control)

    async def reconnect() -> Connected:
        nonlocal control
        info = await backend.restart_gate(control)
        control = backend.control
        return Connected(control, info, workflow(gate))

    return Parts(
        store=store,
        workflow=workflow(gate),
        gate=gate,
        clock=SystemClock(),
        redact=redact_text,
        by=_person(),
        reconnect=reconnect,
        bounds=Bounds(settings.tool_calls, float(settings.turn_seconds)),
    )


class _NoWorkflow:
    """What stands where a mind would: a session that only keeps a gate does not answer questions."""

    def __init__(self, gate: Gate) -> None:
        pass

    async def run(self, turn: Turn, recorder: Recorder) -> Pause | None:
        raise UsageError("This gate does not answer questions.", "Use `pilothouse ask`.")

    async def resume(self, turn: Turn, recorder: Recorder, resolution: Resolution) -> Pause | None:
        raise UsageError("This gate does not answer questions.", "Use `pilothouse ask`.")


def store_or_memory(settings: Settings) -> SessionStore | MemoryStore:
    """Open the session store, or what stands in for it where it cannot be used."""
    try:
        return open_store(settings)
    except StoreError as error:
        # Looking at a broken cluster must not depend on the disk. Changing it does: the memory store refuses a flush.
        from assistant.store.memory import MemoryStore

        return MemoryStore(error)


def _load(settings: Settings, session: str) -> tuple[Event, ...]:
    with open_store(settings, read_only=True) as store:
        return store.load(session).events


def _opened(settings: Settings, info: GateInfo, place: Place, namespace: str) -> SessionOpened:
    return SessionOpened(
        app_version=__version__,
        context=info.context,
        cluster=info.cluster,
        server_version=info.server_version,
        namespace=namespace,
        identity=info.identity,
        mode=info.mode,
        source=place.source,
        mind=settings.model or "expert",
        production=info.production,
    )


async def _existing(backend: Backend, namespace: str) -> str:
    if not namespace:
        return ""
    try:
        await backend.client.get_json(f"/api/v1/namespaces/{namespace}")
    except NotFoundError as error:
        raise ClusterError(f"There is no namespace {namespace!r}.", await _others(backend, namespace)) from error
    except ClusterError:
        # Whoever may read inside a namespace need not be allowed to read the Namespace object itself.
        return namespace
    return namespace


async def _others(backend: Backend, namespace: str) -> str:
    try:
        listing = await backend.client.list("/api/v1/namespaces")
    except ClusterError:
        return "Check its spelling."
    names = sorted(str(item.get("metadata", {}).get("name", "")) for item in listing.items)
    near = difflib.get_close_matches(namespace, names, n=1)
    some = ", ".join(names[:SHOWN_NAMESPACES]) + (", …" if len(names) > SHOWN_NAMESPACES else "")
    return (f"Did you mean {near[0]}? " if near else "") + f"There are: {some}."


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def rerun_mind(
    settings: Settings,
    recorded: RecordedTurn,
    model: str,
    client: ChatClient | None,
    store: SessionStore | MemoryStore,
    clock: Clock,
) -> Mind:
    """Return the mind that answers a recorded turn anew, asking `model`; without a `client` only the recording speaks.

    Nothing it is made of can reach a cluster; `store` tells what models have cost today.
    """
    from agents.recorded import RecordedMind
    from assistant.models import model_mind
    from assistant.tools.recorded import RecordedReader

    expert = RecordedMind(recorded, clock)
    if client is None:
        return expert
    reader = RecordedReader(recorded.facts, recorded.requests, clock, recorded.namespace)
    return model_mind(replace(settings, model=model), client, expert, reader, clock, store.spent_since)
