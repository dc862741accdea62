"""An indexed snapshot of a cluster over raw objects, and the only way to quote it.

Apart from the readers, because the same analysis runs over a live cluster, a support bundle and a test's objects.
Objects are kept as the API server sent them: every accessor survives fields that are missing or of another type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from assistant.domain.evidence import Citation
from assistant.domain.quoting import body_of, emptiness_of, quote_of
from assistant.domain.raw import mapping, rows, text
from assistant.domain.target import Target
from assistant.domain.thing import LONG_AGO, Kept, KeptThing, Recent, Thing, key_of, when

__all__ = [
    "LONG_AGO",
    "ClusterView",
    "Knowledge",
    "Log",
    "Thing",
    "event_count",
    "event_time",
    "key_of",
    "selects",
    "when",
]


class Knowledge(StrEnum):
    """What is known of a kind: an empty list means "none" only when it was LISTED."""

    LISTED = "listed"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"
    FAILED = "failed"
    NOT_READ = "not read"


_DATED = ("events", "leases.coordination.k8s.io", "pods", "nodes")
"""The kinds whose times tell when the snapshot was taken: they are written all the time."""


class Log:
    """The end of a container's log."""

    __slots__ = ("container", "lines", "namespace", "pod", "previous", "request", "text")

    def __init__(self, namespace: str, pod: str, container: str, previous: bool, content: str, request: str) -> None:
        """Keep the text and its lines."""
        self.namespace, self.pod, self.container, self.previous = namespace, pod, container, previous
        self.text, self.request = content, request
        self.lines = content.splitlines()


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


class _Group:
    """Pods of a namespace that share their labels, with their places among all pods."""

    __slots__ = ("labels", "places", "pods")

    def __init__(self, labels: Mapping[str, Any]) -> None:
        self.labels = labels
        self.pods: list[Thing] = []
        self.places: list[int] = []


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
        self._now = LONG_AGO
        self._recent = Recent()
        self._memo: dict[str, Any] = {}
        self._log_memo: dict[str, Any] = {}
        self._logged: set[tuple[str, str]] = set()

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
        added = False
        lists, things, dated = self._lists[resource], self._things, resource in _DATED
        for raw in items:
            if isinstance(raw, dict):
                thing: Thing = Thing(resource, api_version, kind, raw, request)
            elif isinstance(raw, Kept):
                thing = KeptThing(resource, api_version, kind, raw, request, self._recent)
            else:
                continue
            lists[thing.namespace].append(thing)
            things[thing.key] = thing
            if dated:
                self._now = max(self._now, event_time(thing) if resource == "events" else thing.newest)
            added = True
        if added:
            self._events = self._pods = None
            self._memo.clear()
        self.know(resource, namespace, Knowledge.LISTED)

    def know(self, resource: str, namespace: str, knowledge: Knowledge, why: str = "") -> None:
        """Record what became of reading a kind in a namespace."""
        self._knowledge[(resource, namespace)] = (knowledge, why)
        self._log_memo.clear()

    def add_log(self, log: Log) -> None:
        """Put a container's log in."""
        self._logs[(log.namespace, log.pod, log.container, log.previous)] = log
        self._logged.add((log.namespace, log.pod))
        self._log_memo.clear()

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
        tops: dict[tuple[str, int], Thing | None] = self._memo.setdefault("tops", {})
        # The pods of a ReplicaSet share one list of owners where they are kept as bytes, so most are looked up here.
        place = (thing.namespace, id(thing.at("metadata.ownerReferences")))
        if place not in tops:
            seen = {thing.key}
            current = thing
            while (above := self.owner(current)) is not None and above.key not in seen:
                seen.add(above.key)
                current = above
            tops[place] = None if current is thing else current
        return tops[place] or thing

    def pods_of(self, workload: Thing) -> list[Thing]:
        """Return the pods whose owner chain passes through this object."""
        if workload.resource == "pods":
            return [workload]
        if self._pods is None:
            index: dict[str, list[Thing]] = defaultdict(list)
            chains: dict[tuple[str, int], list[list[Thing]]] = {}
            for pod in self.all("pods"):
                place = (pod.namespace, id(pod.at("metadata.ownerReferences")))
                if place not in chains:
                    chains[place] = [index[key] for key in self._above(pod)]
                for pods in chains[place]:
                    pods.append(pod)
            self._pods = index
        return self._pods.get(workload.key, [])

    def _above(self, thing: Thing) -> list[str]:
        """Return the keys of the owners above an object, the nearest first."""
        seen: dict[str, None] = {}
        current = self.owner(thing)
        while current is not None and current.key not in seen and current is not thing:
            seen[current.key] = None
            current = self.owner(current)
        return list(seen)

    def pods_with(self, namespace: str, labels: Mapping[str, Any]) -> list[Thing]:
        """Return the pods of a namespace that carry all these labels; none for an empty selector."""
        if not labels:
            return []
        index: dict[tuple[str, str, str], dict[int, _Group]] | None = self._memo.get("labels")
        if index is None:
            index = self._memo["labels"] = self._label_index()
        sets = [index.get((namespace, str(k), str(v)), {}) for k, v in labels.items()]
        shortest = min(sets, key=len)
        found = [g for g in shortest.values() if all(g.labels.get(k) == v for k, v in labels.items())]
        if len(found) == 1:
            return found[0].pods.copy()
        return [pod for _, pod in sorted(p for g in found for p in zip(g.places, g.pods, strict=True))]

    def _label_index(self) -> dict[tuple[str, str, str], dict[int, _Group]]:
        """Return groups of pods with the same labels, by namespace, name and value of each label."""
        index: dict[tuple[str, str, str], dict[int, _Group]] = defaultdict(dict)
        groups: dict[tuple[str, int], _Group] = {}
        for place, pod in enumerate(self.all("pods")):
            labels = pod.labels
            group = groups.get((pod.namespace, id(labels)))
            if group is None:
                group = groups[(pod.namespace, id(labels))] = _Group(labels)
                for name, value in labels.items():
                    index[(pod.namespace, name, str(value))][id(group)] = group
            group.pods.append(pod)
            group.places.append(place)
        return index

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

    def logged(self, pod: Thing) -> bool:
        """Say whether any log of a pod was read."""
        return (pod.namespace, pod.name) in self._logged

    @property
    def now(self) -> datetime:
        """Return the newest time that any object carries: the time of the snapshot, also for a recorded one."""
        return self._now

    def close(self) -> None:
        """Say that nothing more is asked of this view, so that a large one is freed at once."""
        self._recent.clear()

    @property
    def decoded(self) -> int:
        """Return how many of the objects that are kept as bytes were decoded, each time counted."""
        return self._recent.decoded

    def memo(self, name: str, *, logs: bool = True) -> dict[str, Any]:
        """Return a scratch mapping that lives until something is read; for indexes that analyzers build once.

        `logs` says whether what is kept there depends on more than the objects: on logs, or on which kinds were read.
        Without, it outlives the reading of a log and of a kind of which there are no objects.
        """
        memo = self._log_memo if logs else self._memo
        kept: dict[str, Any] = memo.setdefault(f"memo.{name}", {})
        return kept

    def cite(self, thing: Thing, *paths: str) -> Citation:
        """Quote an object at these paths; the body is the whole object without managedFields.

        Where that leaves its name alone, the namespace is quoted as well: a name says little without it. A field that
        stands there and is empty is quoted as such.
        """
        raw = thing.raw
        quotes = dict.fromkeys(q for q in (quote_of(raw, p) or emptiness_of(raw, p) for p in paths) if q)
        name = quote_of(raw, "metadata.name")
        if not quotes or list(quotes) == [name]:
            quotes = dict.fromkeys(q for q in (name, quote_of(raw, "metadata.namespace")) if q)
        return Citation(thing.request, " … ".join(quotes), body_of(raw), thing.target)

    def cite_log(self, log: Log, *lines: str) -> Citation:
        """Quote lines of a log; the body is the log as it was read."""
        kept = [" ".join(line.split())[:400] for line in lines]
        pod = Target("v1", "Pod", log.namespace, log.pod)
        return Citation(log.request, " … ".join(dict.fromkeys(k for k in kept if k)), log.text, pod)
