"""An indexed snapshot of a cluster over raw objects, and the only way to quote it.

Apart from the readers, because the same analysis runs over a live cluster, a support bundle and a test's objects.
Objects are kept as the API server sent them: every accessor survives fields that are missing or of another type.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from assistant.domain.evidence import Citation
from assistant.domain.quoting import body_of, quote_of
from assistant.domain.raw import dig, fold_int, mapping, rows, text
from assistant.domain.target import Target

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"\.\d+")


class Knowledge(StrEnum):
    """What is known of a kind: an empty list means "none" only when it was LISTED."""

    LISTED = "listed"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"
    FAILED = "failed"
    NOT_READ = "not read"


def when(value: object) -> datetime | None:
    """Return an RFC 3339 time as aware UTC, None where there is none that can be read."""
    if not isinstance(value, str) or len(value) < 19:
        return None
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Thing:
    """One object as it was read, with the request that brought it."""

    __slots__ = ("api_version", "key", "kind", "name", "namespace", "raw", "request", "resource")

    def __init__(self, resource: str, api_version: str, kind: str, raw: Mapping[str, Any], request: str) -> None:
        """Index the coordinates; `resource` is "plural.group", the bare plural in the core group."""
        meta = mapping(raw.get("metadata"))
        self.resource = resource
        self.api_version = text(raw.get("apiVersion")) or api_version
        self.kind = text(raw.get("kind")) or kind
        self.raw = raw
        self.request = request
        self.name = text(meta.get("name"))
        self.namespace = text(meta.get("namespace"))
        self.key = key_of(self.kind, self.namespace, self.name)

    def __repr__(self) -> str:
        """Return the key, for test output."""
        return f"<{self.key}>"

    def at(self, path: str) -> Any:
        """Return what stands at a path like `spec.containers[0].image`, None where nothing does."""
        return dig(self.raw, path)[1]

    def map(self, path: str) -> Mapping[str, Any]:
        """Return the mapping at a path, an empty one where there is none."""
        return mapping(self.at(path))

    def rows(self, path: str) -> list[Mapping[str, Any]]:
        """Return the mappings in the list at a path."""
        return rows(self.at(path))

    def text(self, path: str) -> str:
        """Return the text at a path, "" where there is none."""
        return text(self.at(path))

    def number(self, path: str, default: int = 0) -> int:
        """Return the whole number at a path."""
        return fold_int(self.at(path), default)

    @property
    def labels(self) -> Mapping[str, Any]:
        """Return the object's labels."""
        return self.map("metadata.labels")

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Return the object's annotations."""
        return self.map("metadata.annotations")

    @property
    def uid(self) -> str:
        """Return the uid, "" where the reader left it out."""
        return self.text("metadata.uid")

    @property
    def created(self) -> datetime:
        """Return when the object was created; long ago where it does not say."""
        return when(self.at("metadata.creationTimestamp")) or LONG_AGO

    @property
    def deleting(self) -> bool:
        """Say whether deletion has been asked for."""
        return bool(self.text("metadata.deletionTimestamp"))

    @property
    def target(self) -> Target:
        """Return the coordinates that findings and actions use."""
        return Target(self.api_version, self.kind, self.namespace, self.name, self.uid)

    def condition(self, kind: str) -> Mapping[str, Any]:
        """Return the status condition of this type, an empty mapping where there is none."""
        return next((c for c in self.rows("status.conditions") if c.get("type") == kind), {})


class Log:
    """The end of a container's log."""

    __slots__ = ("container", "lines", "namespace", "pod", "previous", "request", "text")

    def __init__(self, namespace: str, pod: str, container: str, previous: bool, content: str, request: str) -> None:
        """Keep the text and its lines."""
        self.namespace, self.pod, self.container, self.previous = namespace, pod, container, previous
        self.text, self.request = content, request
        self.lines = content.splitlines()


def key_of(kind: str, namespace: str, name: str) -> str:
    """Return how objects are named inside an analysis."""
    return f"{kind}/{namespace}/{name}"


def event_time(event: Thing) -> datetime:
    """Return when an event was last seen, whichever of the API's four fields holds it."""
    for path in ("series.lastObservedTime", "lastTimestamp", "eventTime", "firstTimestamp"):
        moment = when(event.at(path))
        if moment is not None:
            return moment
    return event.created


def event_count(event: Thing) -> int:
    """Return how often an event was seen."""
    return max(event.number("count"), event.number("series.count"), 1)


def selects(selector: object, labels: Mapping[str, Any]) -> bool:
    """Say whether a label selector matches; `{}` matches all, a broken expression matches nothing.

    Rules of LabelSelector in meta/v1: matchLabels and matchExpressions are ANDed.
    """
    wanted = mapping(selector)
    if any(labels.get(k) != v for k, v in mapping(wanted.get("matchLabels")).items()):
        return False
    for rule in rows(wanted.get("matchExpressions")):
        key, values = text(rule.get("key")), rule.get("values")
        options = values if isinstance(values, list) else []
        present = key in labels
        match rule.get("operator"):
            case "In":
                good = present and labels[key] in options
            case "NotIn":
                good = not present or labels[key] not in options
            case "Exists":
                good = present
            case "DoesNotExist":
                good = not present
            case _:
                good = False
        if not good:
            return False
    return True


class ClusterView:
    """Everything that was read, indexed. Adding invalidates the derived indexes, so build first and ask later."""

    def __init__(self, namespace: str = "") -> None:
        """Start empty; `namespace` is the one that the question is about, "" for all."""
        self.namespace = namespace
        self.groups: frozenset[str] = frozenset()
        self._lists: dict[str, dict[str, list[Thing]]] = defaultdict(lambda: defaultdict(list))
        self._things: dict[str, Thing] = {}
        self._knowledge: dict[tuple[str, str], tuple[Knowledge, str]] = {}
        self._logs: dict[tuple[str, str, str, bool], Log] = {}
        self._events: dict[str, list[Thing]] | None = None
        self._pods: dict[str, list[Thing]] | None = None
        self._now: datetime | None = None
        self._memo: dict[str, Any] = {}

    def add(
        self,
        resource: str,
        items: Iterable[object],
        request: str,
        *,
        api_version: str = "",
        kind: str = "",
        namespace: str = "",
    ) -> None:
        """Put the items of one list in; `namespace` is the one that was listed, "" for all or a cluster kind."""
        for raw in items:
            if isinstance(raw, dict):
                thing = Thing(resource, api_version, kind, raw, request)
                self._lists[resource][thing.namespace].append(thing)
                self._things[thing.key] = thing
        self.know(resource, namespace, Knowledge.LISTED)

    def know(self, resource: str, namespace: str, knowledge: Knowledge, why: str = "") -> None:
        """Record what became of reading a kind in a namespace."""
        self._knowledge[(resource, namespace)] = (knowledge, why)
        self._events = self._pods = self._now = None
        self._memo.clear()

    def add_log(self, log: Log) -> None:
        """Put a container's log in."""
        self._logs[(log.namespace, log.pod, log.container, log.previous)] = log
        self._memo.clear()

    def knowledge(self, resource: str, namespace: str = "") -> Knowledge:
        """Return what is known of a kind in a namespace; a list of all namespaces covers each."""
        for place in (namespace, ""):
            if (resource, place) in self._knowledge:
                return self._knowledge[(resource, place)][0]
        return Knowledge.NOT_READ

    def complete(self, resource: str, namespace: str = "") -> bool:
        """Say whether a kind was listed, so that what is not in the view does not exist."""
        return self.knowledge(resource, namespace) is Knowledge.LISTED

    def gaps(self) -> list[tuple[str, str, Knowledge, str]]:
        """Return what could not be read: resource, namespace, knowledge, reason."""
        blind = (Knowledge.FORBIDDEN, Knowledge.FAILED)
        return [(r, ns, k, why) for (r, ns), (k, why) in sorted(self._knowledge.items()) if k in blind]

    def all(self, resource: str, namespace: str = "") -> list[Thing]:
        """Return the objects of a kind, in a namespace or in all of them."""
        places = self._lists.get(resource)
        if not places:
            return []
        return places.get(namespace, []) if namespace else [t for items in places.values() for t in items]

    @property
    def resources(self) -> list[str]:
        """Return the kinds of which there are objects."""
        return [name for name, places in self._lists.items() if any(places.values())]

    def find(self, kind: str, namespace: str, name: str) -> Thing | None:
        """Return an object by kind, namespace ("" for cluster kinds) and name."""
        return self._things.get(key_of(kind, namespace, name))

    def by_key(self, key: str) -> Thing | None:
        """Return an object by its key."""
        return self._things.get(key)

    def owner(self, thing: Thing) -> Thing | None:
        """Return the controlling owner, None where there is none or it was not read."""
        for ref in thing.rows("metadata.ownerReferences"):
            if ref.get("controller"):
                found = self.find(text(ref.get("kind")), thing.namespace, text(ref.get("name")))
                return found or self.find(text(ref.get("kind")), "", text(ref.get("name")))
        return None

    def top(self, thing: Thing) -> Thing:
        """Return the object at the head of the owner chain; an object without owner is its own."""
        seen = {thing.key}
        current = thing
        while (above := self.owner(current)) is not None and above.key not in seen:
            seen.add(above.key)
            current = above
        return current

    def pods_of(self, workload: Thing) -> list[Thing]:
        """Return the pods whose owner chain passes through this object."""
        if self._pods is None:
            index: dict[str, list[Thing]] = defaultdict(list)
            for pod in self.all("pods"):
                current: Thing | None = pod
                seen: set[str] = set()
                while current is not None and current.key not in seen:
                    seen.add(current.key)
                    index[current.key].append(pod)
                    current = self.owner(current)
            self._pods = index
        return self._pods.get(workload.key, [])

    def pods_with(self, namespace: str, labels: Mapping[str, Any]) -> list[Thing]:
        """Return the pods of a namespace that carry all these labels; none for an empty selector."""
        if not labels:
            return []
        index: dict[tuple[str, str, str], list[Thing]] | None = self._memo.get("labels")
        if index is None:
            index = defaultdict(list)
            for pod in self.all("pods"):
                for name, value in pod.labels.items():
                    index[(pod.namespace, name, str(value))].append(pod)
            self._memo["labels"] = index
        sets = [index.get((namespace, str(k), str(v)), []) for k, v in labels.items()]
        shortest = min(sets, key=len)
        return [p for p in shortest if all(p.labels.get(k) == v for k, v in labels.items())]

    def events_of(self, thing: Thing) -> list[Thing]:
        """Return the events about an object, newest first."""
        return self._event_index().get(thing.key, [])

    def _event_index(self) -> dict[str, list[Thing]]:
        if self._events is None:
            index: dict[str, list[Thing]] = defaultdict(list)
            for event in self.all("events"):
                about = event.map("involvedObject") or event.map("regarding")
                place = text(about.get("namespace"))
                index[key_of(text(about.get("kind")), place, text(about.get("name")))].append(event)
            for items in index.values():
                items.sort(key=event_time, reverse=True)
            self._events = index
        return self._events

    def log(self, namespace: str, pod: str, container: str, previous: bool = False) -> Log | None:
        """Return a container's log, None where it was not read."""
        return self._logs.get((namespace, pod, container, previous))

    @property
    def logs(self) -> Iterable[Log]:
        """Return every log that was read."""
        return self._logs.values()

    @property
    def now(self) -> datetime:
        """Return the newest time that any object carries: the time of the snapshot, also for a recorded one."""
        if self._now is None:
            newest = LONG_AGO
            for resource in ("events", "leases.coordination.k8s.io", "pods", "nodes"):
                for thing in self.all(resource):
                    newest = max(newest, event_time(thing) if resource == "events" else thing.created)
                    renewed = when(thing.at("spec.renewTime"))
                    newest = max(newest, renewed or newest)
                    for condition in thing.rows("status.conditions"):
                        for name in ("lastHeartbeatTime", "lastTransitionTime"):
                            newest = max(newest, when(condition.get(name)) or newest)
            self._now = newest
        return self._now

    def memo(self, name: str) -> dict[str, Any]:
        """Return a scratch mapping that lives until something is added; for indexes that analyzers build once."""
        kept: dict[str, Any] = self._memo.setdefault(f"memo.{name}", {})
        return kept

    def cite(self, thing: Thing, *paths: str) -> Citation:
        """Quote an object at these paths; the body is the whole object without managedFields."""
        quote = " … ".join(dict.fromkeys(q for q in (quote_of(thing.raw, p) for p in paths) if q))
        return Citation(thing.request, quote or quote_of(thing.raw, "metadata.name"), body_of(thing.raw), thing.target)

    def cite_log(self, log: Log, *lines: str) -> Citation:
        """Quote lines of a log; the body is the log as it was read."""
        kept = [" ".join(line.split())[:400] for line in lines]
        pod = Target("v1", "Pod", log.namespace, log.pod)
        return Citation(log.request, " … ".join(dict.fromkeys(k for k in kept if k)), log.text, pod)
