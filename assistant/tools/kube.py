"""The reading tools of a mind: kinds and logs into one view, each read once a turn, each visible as a tool call.

Secrets are read as the gate redacts them, because their key names decide "missing key"; values are dropped here once
more, so that no analysis, quote or recording can hold one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from assistant.cluster.client import ClusterClient
from assistant.cluster.listing import Told
from assistant.cluster.read import KindInfo, KindRead, discover, read_kind
from assistant.domain.event import ToolEnded, ToolStarted, ToolWaiting
from assistant.domain.ports import Clock, Recorder
from assistant.domain.raw import mapping
from assistant.domain.view import ClusterView, Knowledge, Log
from assistant.errors import ClusterError
from assistant.policy.retry import Wait
from assistant.tools.counting import counted

HIDDEN = "(not read)"


class KubeReader:
    """Fills a ClusterView. `begin` starts a turn; steps that run together share every read."""

    def __init__(self, client: ClusterClient, clock: Clock) -> None:
        """Keep the client; nothing is read before the first step asks."""
        self._client = client
        self._clock = clock
        self._kinds: dict[str, KindInfo] | None = None
        self._locks: dict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._done: set[tuple[str, ...]] = set()
        self._turn = ""
        self._reads = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.view = ClusterView()

    async def settled(self) -> None:
        """Return when no step reads anything, and none of those that waited for that has begun to."""
        while True:
            await self._idle.wait()
            await asyncio.sleep(0)
            if self._idle.is_set():
                return

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._reads += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._reads -= 1
            if not self._reads:
                self._idle.set()

    @property
    def requests(self) -> int:
        """Return how many requests were sent so far."""
        return self._client.requests

    def begin(self, turn: str, namespace: str) -> ClusterView:
        """Start a turn with an empty view; the same turn again keeps what was read."""
        if turn != self._turn:
            self._turn = turn
            self.refresh(namespace)
        return self.view

    def refresh(self, namespace: str) -> ClusterView:
        """Forget everything but the discovery, so that the next reads see the cluster as it is now."""
        self._done = set()
        self._locks = defaultdict(asyncio.Lock)
        self.view.close()
        self.view = ClusterView(namespace)
        return self.view

    async def kinds(self, recorder: Recorder, step: str = "") -> Mapping[str, KindInfo]:
        """Return the kinds that the cluster serves; asked once. Raises ClusterError when nothing answers."""
        async with self._locks[("discovery",)]:
            if self._kinds is None:
                call, started = self._start(recorder, "list kinds", "GET /apis", "kubectl api-resources", step)
                try:
                    self._kinds = await discover(self._client, _waits(recorder, call))
                except ClusterError as error:
                    self._end(recorder, call, started, False, f"{error.meaning} {error.detail}".strip()[:300])
                    raise
                self._end(recorder, call, started, True, counted(len(self._kinds), "kind"))
            self.view.groups = frozenset(info.group for info in self._kinds.values())
            return self._kinds

    async def read(self, resources: Iterable[tuple[str, str]], recorder: Recorder, step: str = "") -> None:
        """Read (kind, namespace) pairs into the view, concurrently; a kind that cannot be read becomes knowledge."""
        with self._busy():
            kinds = await self.kinds(recorder, step)
            await asyncio.gather(*(self._read(kinds, r, ns, recorder, step) for r, ns in dict.fromkeys(resources)))

    async def _read(
        self, kinds: Mapping[str, KindInfo], resource: str, namespace: str, recorder: Recorder, step: str
    ) -> None:
        info = kinds.get(resource)
        place = namespace if info is not None and info.namespaced else ""
        key = ("list", resource, place)
        async with self._locks[key]:
            if key in self._done or ("list", resource, "") in self._done:
                return
            if info is None:
                self.view.know(resource, "", Knowledge.ABSENT, "the cluster does not serve this kind")
                self._done.add(key)
                return
            where = f"-n {place}" if place else "-A" if info.namespaced else ""
            line = f"kubectl get {resource} {where}".strip()
            call, started = self._start(
                recorder, f"list {info.plural}  {place or 'all'}", f"GET {info.path(place)}", line, step
            )
            answer = await read_kind(self._client, kinds, resource, place, _waits(recorder, call))
            ok, said = self._keep(answer, info)
            self._done.add(key)
            self._end(recorder, call, started, ok, said, answer.listing.size_bytes if answer.listing else 0)

    def _keep(self, answer: KindRead, info: KindInfo) -> tuple[bool, str]:
        if answer.listing is None:
            self.view.know(answer.resource, answer.namespace, answer.knowledge, answer.why)
            return False, f"{answer.knowledge}: {answer.why}"[:200]
        items: Iterable[object] = answer.listing.items
        if answer.resource == "secrets":
            items = [without_values(item) for item in answer.listing.items if isinstance(item, dict)]
        self.view.add(
            answer.resource,
            items,
            answer.request,
            api_version=info.api_version,
            kind=info.kind,
            namespace=answer.namespace,
        )
        said = counted(len(answer.listing.items), info.kind.lower(), answer.listing.items)
        if answer.listing.cut:
            # What was cut off is not known: no conclusion may rest on its absence.
            self.view.know(answer.resource, answer.namespace, Knowledge.FAILED, answer.listing.cut)
            return True, f"{said}; {answer.listing.cut}"
        return True, said

    async def logs(
        self, wanted: Iterable[tuple[str, str, str, bool]], recorder: Recorder, step: str = "", tail_lines: int = 200
    ) -> None:
        """Read container logs (namespace, pod, container, previous) into the view; a log that is not there is none."""
        with self._busy():
            await asyncio.gather(*(self._log(w, recorder, step, tail_lines) for w in dict.fromkeys(wanted)))

    async def _log(self, wanted: tuple[str, str, str, bool], recorder: Recorder, step: str, tail_lines: int) -> None:
        namespace, pod, container, previous = wanted
        key = ("log", namespace, pod, container, str(previous))
        async with self._locks[key]:
            if key in self._done:
                return
            flag = " --previous" if previous else ""
            call, started = self._start(
                recorder,
                f"log {pod}/{container}{flag}",
                f"GET /api/v1/namespaces/{namespace}/pods/{pod}/log",
                f"kubectl -n {namespace} logs {pod} -c {container} --tail={tail_lines}{flag}",
                step,
            )
            try:
                read = await self._client.log(
                    namespace, pod, container, previous=previous, tail_lines=tail_lines, told=_waits(recorder, call)
                )
            except ClusterError as error:
                self._done.add(key)
                self._end(recorder, call, started, False, (error.detail or error.meaning)[:200])
                return
            self._done.add(key)
            self.view.add_log(Log(namespace, pod, container, previous, read.text, read.request))
            lines = read.text.splitlines()
            preview = "\n".join(lines[-5:])[:1000]
            cut = f"; cut after {len(read.text) // 1024} KiB, the newest lines are missing" if read.cut else ""
            self._end(recorder, call, started, True, counted(len(lines), "line") + cut, len(read.text), preview)

    def recorded(self, request: str) -> str | None:
        """Return nothing: what is asked for here is read."""
        return None

    async def try_patch(self, path: str, patch: str, content_type: str) -> None:
        """Have the server try a patch (dryRun=All). Raises ClusterError with its reason where it refuses."""
        await self._client.try_patch(path, patch, content_type)

    def _start(self, recorder: Recorder, title: str, request: str, kubectl: str, step: str) -> tuple[str, float]:
        call = recorder.new_call()
        tool = "logs" if title.startswith("log ") else "list"
        recorder.emit(ToolStarted(call, tool, title, request, kubectl, step))
        return call, self._clock.monotonic()

    def _end(
        self, recorder: Recorder, call: str, started: float, ok: bool, result: str, size: int = 0, preview: str = ""
    ) -> None:
        recorder.emit(ToolEnded(call, ok, result, self._clock.monotonic() - started, size, preview))


def _waits(recorder: Recorder, call: str) -> Told:
    def told(wait: Wait) -> None:
        recorder.emit(ToolWaiting(call, wait.why, wait.seconds))

    return told


def without_values(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Secret with the names of its keys alone."""
    kept: dict[str, Any] = {k: v for k, v in secret.items() if k not in ("data", "stringData")}
    meta = dict(mapping(secret.get("metadata")))
    meta.pop("annotations", None)
    kept["metadata"] = meta
    kept["data"] = dict.fromkeys(mapping(secret.get("data")), HIDDEN)
    return kept
