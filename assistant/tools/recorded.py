"""The reading tools of a mind over what a recording holds, instead of over a cluster.

It is given texts and no client, so that there is nothing it could ask. A recording holds what was cited and not what
was listed: what is not here may well have been in the cluster, and nothing can be concluded from its absence.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from assistant.cluster.read import KindInfo
from assistant.domain.event import ToolEnded, ToolStarted
from assistant.domain.ports import Clock, Recorder
from assistant.domain.raw import mapping, rows, text
from assistant.domain.recorded import RecordedFact
from assistant.domain.target import Target
from assistant.domain.view import ClusterView, Knowledge, Log
from assistant.errors import ClusterError
from assistant.policy.api_path import ApiPath, read_path
from assistant.tools.counting import counted
from assistant.tools.kube import without_values

NOT_RECORDED: Final = "not recorded"
PARTLY: Final = "a recording holds only what was cited, so there may have been more"
SECRETS: Final = "secrets"
_HEAD: Final = re.compile(r"\Acontainer \S+ of pod \S+(?: \(the run before\))?\n")


@dataclass(frozen=True, slots=True)
class _Object:
    resource: str
    raw: Mapping[str, Any]
    request: str
    api_version: str
    kind: str

    @property
    def place(self) -> tuple[str, str, str]:
        meta = mapping(self.raw.get("metadata"))
        return self.resource, text(meta.get("namespace")), text(meta.get("name"))


class RecordedReader:
    """Fills a ClusterView out of facts; every read is a tool call of the log, as with the reader of a cluster.

    `texts` holds, by their request, the texts that are neither an object nor a log.
    """

    def __init__(
        self, facts: Iterable[RecordedFact], requests: Iterable[str], clock: Clock, namespace: str = ""
    ) -> None:
        """Sort the facts into a first view; `requests` are those of all that was read, for the kinds there were."""
        self._clock = clock
        self._objects: dict[tuple[str, str, str], _Object] = {}
        self._logs: dict[tuple[str, str, str, bool], Log] = {}
        self._kinds: dict[str, KindInfo] = {}
        self._done: set[tuple[str, ...]] = set()
        self._turn = ""
        self.texts: dict[str, str] = {}
        for fact in facts:
            if fact.text is not None:
                self._sort(fact.evidence.request, fact.text, fact.evidence.target)
        for request in requests:
            path = _path_of(request)
            if path is not None and not path.name and not path.sub:
                self._know(path)
        self.view = self._filled(namespace)

    @property
    def requests(self) -> int:
        """Return how many requests were sent: none, ever."""
        return 0

    def begin(self, turn: str, namespace: str) -> ClusterView:
        """Start a turn with a view of all that is recorded; the same turn again keeps it."""
        if turn != self._turn:
            self._turn = turn
            self._done = set()
            self.view = self._filled(namespace)
        return self.view

    async def kinds(self, recorder: Recorder, step: str = "") -> Mapping[str, KindInfo]:
        """Return the kinds that the recorded session read or cited; what else the cluster served is not known."""
        if ("discovery",) not in self._done:
            self._done.add(("discovery",))
            call, started = self._start(recorder, "list", "list kinds", step)
            said = f"{counted(len(self._kinds), 'kind')} recorded"
            self._end(recorder, call, started, bool(self._kinds), said if self._kinds else NOT_RECORDED)
        return self._kinds

    async def read(self, resources: Iterable[tuple[str, str]], recorder: Recorder, step: str = "") -> None:
        """Say what is recorded of (kind, namespace) pairs; the view holds it already, and knows that it is not all."""
        for resource, namespace in dict.fromkeys(resources):
            info = self._kinds.get(resource)
            place = namespace if info is None or info.namespaced else ""
            key = ("list", resource, place)
            if key in self._done:
                continue
            self._done.add(key)
            call, started = self._start(recorder, "list", f"list {resource}  {place or 'all'}", step)
            found = [dict(thing.raw) for thing in self.view.all(resource, place)]
            said = f"{counted(len(found), self._named(resource), found)} recorded; {PARTLY}" if found else NOT_RECORDED
            # A list of which a part is missing counts as one that could not be read, here as with a cluster.
            self.view.know(resource, place, Knowledge.FAILED, PARTLY if found else NOT_RECORDED)
            self._end(recorder, call, started, bool(found), said)

    async def logs(
        self, wanted: Iterable[tuple[str, str, str, bool]], recorder: Recorder, step: str = "", tail_lines: int = 200
    ) -> None:
        """Say which of these logs (namespace, pod, container, previous) are recorded; the view holds them already."""
        for namespace, pod, container, previous in dict.fromkeys(wanted):
            key = ("log", namespace, pod, container, str(previous))
            if key in self._done:
                continue
            self._done.add(key)
            flag = " --previous" if previous else ""
            call, started = self._start(recorder, "logs", f"log {pod}/{container}{flag}", step)
            log = self.view.log(namespace, pod, container, previous)
            if log is None:
                self._end(recorder, call, started, False, NOT_RECORDED)
                continue
            preview = "\n".join(log.lines[-5:])[:1000]
            said = f"{counted(len(log.lines), 'line')} recorded"
            self._end(recorder, call, started, True, said, len(log.text), preview)

    def recorded(self, request: str) -> str | None:
        """Return the text that was recorded of a request beside objects and logs: a table that a model has read."""
        return self.texts.get(request)

    async def try_patch(self, path: str, patch: str, content_type: str) -> None:
        """Raise ClusterError: whether a server would take a change is not recorded."""
        text = "This is a recording: whether the server would take this change is not recorded."
        raise ClusterError(text, "Suggest it in words.")

    def _named(self, resource: str) -> str:
        return self._kinds[resource].kind.lower() if resource in self._kinds else _singular(resource.partition(".")[0])

    def _filled(self, namespace: str) -> ClusterView:
        view = ClusterView(namespace)
        view.groups = frozenset(info.group for info in self._kinds.values())
        places: dict[tuple[str, str], list[_Object]] = defaultdict(list)
        for (resource, place, _), item in self._objects.items():
            places[resource, place].append(item)
        for (resource, place), items in places.items():
            for item in items:
                view.add(
                    resource, [item.raw], item.request, api_version=item.api_version, kind=item.kind, namespace=place
                )
            # Putting something in says that its kind was listed there, which is not so.
            view.know(resource, place, Knowledge.NOT_READ, PARTLY)
        for log in self._logs.values():
            view.add_log(log)
        return view

    def _sort(self, request: str, body: str, target: Target | None) -> None:
        path = _path_of(request)
        if path is None:
            self.texts[request] = body
        elif path.resource == "pods" and path.sub == "log":
            query = dict(parse_qsl(request.partition("?")[2]))
            key = (path.namespace, path.name, query.get("container", ""), query.get("previous") == "true")
            # What a model read of a log begins with a line that says whose log it is.
            self._logs[key] = Log(*key, _HEAD.sub("", body, count=1), request)
        elif path.sub or not (found := _objects_in(body, path, request, target)):
            self.texts[request] = body
        else:
            for item in found:
                # The last one recorded is how the object was when the question was answered.
                self._objects[item.place] = item
            self._know(path, found)

    def _know(self, path: ApiPath, found: Sequence[_Object] = ()) -> None:
        # A list of all namespaces does not say whether its kind has any; the objects in it do.
        resource = _resource_of(path)
        inside = bool(path.namespace and path.resource != "namespaces") or any(item.place[1] for item in found)
        known = self._kinds.get(resource)
        kind = found[-1].kind if found else known.kind if known else _singular(path.resource)
        inside = inside or bool(known and known.namespaced)
        self._kinds[resource] = KindInfo(
            resource, path.resource, path.group, path.version, kind, inside, frozenset({"get", "list"})
        )

    def _start(self, recorder: Recorder, tool: str, title: str, step: str) -> tuple[str, float]:
        # Without a request line and a command: there is none, and a transcript must not look as if one was sent.
        call = recorder.new_call()
        recorder.emit(ToolStarted(call, tool, title, step=step))
        return call, self._clock.monotonic()

    def _end(
        self, recorder: Recorder, call: str, started: float, ok: bool, result: str, size: int = 0, preview: str = ""
    ) -> None:
        recorder.emit(ToolEnded(call, ok, result, self._clock.monotonic() - started, size, preview))


def _path_of(request: str) -> ApiPath | None:
    method, _, target = request.partition(" ")
    return read_path(target.partition("?")[0]) if method == "GET" else None


def _resource_of(path: ApiPath) -> str:
    return f"{path.resource}.{path.group}" if path.group else path.resource


def _objects_in(body: str, path: ApiPath, request: str, target: Target | None) -> list[_Object]:
    """Return the objects of a body: one as it is cited, or those of a whole list; none where it is another text."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return []
    raw = mapping(value)
    items = rows(raw.get("items"))
    found = []
    # Named by the list that they were in, as a reader of a cluster has them, so that they are cited alike.
    request = f"GET {path.collection}" if path.name else request
    for item in items or [raw]:
        name = text(mapping(item.get("metadata")).get("name"))
        if not name or (not items and target is not None and target.name != name):
            continue
        own = target if target is not None and target.name == name else None
        kind = text(item.get("kind")) or (own.kind if own else text(raw.get("kind")).removesuffix("List"))
        kept = without_values(item) if path.resource == SECRETS and not path.group else item
        api_version = text(item.get("apiVersion")) or (own.api_version if own else path.api_version)
        found.append(_Object(_resource_of(path), kept, request, api_version, kind or _singular(path.resource)))
    return found


def _singular(plural: str) -> str:
    """Return the kind's name as far as its plural tells it; which letters are capitals is not known."""
    if plural.endswith("ies"):
        return f"{plural[:-3]}y"
    return plural[:-2] if plural.endswith(("sses", "xes", "ches")) else plural.removesuffix("s")
