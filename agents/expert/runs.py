"""What a claim rests on after a change: a container run of before it says nothing about it.

A container that backs off is not started for up to five minutes, and until then its log, its last state and its restart
count are those of a run that began before the change. So each citation of a claim is asked for the run that it is of,
and when that began. All times are the cluster's own: ours may differ, and that of a recorded cluster stands elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from agents.expert.changes import CONTROL_PLANE
from agents.expert.draft import Draft
from agents.expert.workload import Container, Workload, containers, workload_of
from assistant.domain.evidence import Citation
from assistant.domain.quoting import quote_of
from assistant.domain.raw import mapping, rows, text
from assistant.domain.target import Target
from assistant.domain.view import LONG_AGO, ClusterView, Log, Thing, event_time, when

STATUS = re.compile(r'"(state|lastState|waiting|terminated|running|restartCount|ready|conditions|phase|startedAt)":')
"""Fields of a pod's status that are those of a container run."""
CONFIGURATION = frozenset({"ConfigMap", "Secret", "ServiceAccount"})
BACKING_OFF = "CrashLoopBackOff"
LogKey = tuple[str, str, str, bool]


class Rests(Enum):
    """What a claim rests on: the state of now, a run of before the change, or such a run that a good one came after."""

    NOW = "now"
    BEFORE = "before"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class Since:
    """A change that is being checked: what it changed, when by the cluster's clock, and the logs at the first look."""

    target: Target
    at: datetime
    heard: Mapping[LogKey, tuple[str, ...]] = field(default_factory=dict)


def since(view: ClusterView, target: Target, version: str) -> Since:
    """Return a change as the first look after it shows it; `version` is the resourceVersion that it led to.

    The changed object says when it was written into (metadata.managedFields). Objects of recorded clusters do not, and
    a deleted one cannot: then it is the newest time in the view, which is that of the look right after the change.
    """
    thing = view.find(target.kind, target.namespace, target.name)
    ours = thing is not None and bool(version) and thing.text("metadata.resourceVersion") == version
    edits = [
        at
        for each in (thing.rows("metadata.managedFields") if thing is not None else [])
        if not text(each.get("subresource"))
        and (ours or not CONTROL_PLANE.match(text(each.get("manager"))))
        and (at := when(each.get("time"))) is not None
    ]
    heard = {(log.namespace, log.pod, log.container, log.previous): tuple(log.lines) for log in view.logs}
    return Since(target, max(edits, default=view.now), heard)


def rests(view: ClusterView, draft: Draft, change: Since) -> tuple[Rests, tuple[Container, ...]]:
    """Say what a claim rests on, with the containers whose runs are older than the change.

    A claim with one citation of after the change rests on that. A claim about objects alone rests on the state of now.
    """
    old: dict[tuple[str, str], Container] = {}
    for citation in draft.citations:
        for container, fresh in _cited(view, citation, change):
            if fresh:
                return Rests.NOW, ()
            old[(container.pod.key, container.name)] = container
    if not old:
        return Rests.NOW, ()
    found = tuple(old.values())
    done = all(c.running and c.ready and _after(began(c.status), change) for c in found)
    return (Rests.OVERTAKEN if done else Rests.BEFORE), found


def began(status: Mapping[str, object], *, previous: bool = False) -> datetime | None:
    """Return when the newest run of a container began, or the one before it; None where there was none.

    While a container waits, its newest run is the one that the last state tells of.
    """
    state, last = mapping(status.get("state")), mapping(mapping(status.get("lastState")).get("terminated"))
    own = mapping(state.get("running")) or mapping(state.get("terminated"))
    run = last if previous or not own else own
    return when(run.get("startedAt")) or when(run.get("finishedAt"))


def reads_at_start(workload: Workload, target: Target) -> bool:
    """Say whether a workload's containers take an object as environment, which is read when a container starts."""
    ref, key = f"{target.kind[:1].lower()}{target.kind[1:]}Ref", f"{target.kind[:1].lower()}{target.kind[1:]}KeyRef"
    if target.kind not in ("ConfigMap", "Secret") or target.namespace != workload.thing.namespace:
        return False
    for group in ("containers", "initContainers"):
        for spec in rows(workload.spec.get(group)):
            taken = [mapping(each.get(ref)) for each in rows(spec.get("envFrom"))]
            taken += [mapping(mapping(each.get("valueFrom")).get(key)) for each in rows(spec.get("env"))]
            if any(each.get("name") == target.name for each in taken):
                return True
    return False


def _cited(view: ClusterView, citation: Citation, change: Since) -> Iterator[tuple[Container, bool]]:
    """Yield the containers whose runs a citation is of, and whether what it quotes is of after the change."""
    target = citation.target
    if target is None:
        return
    if target.kind == "Event":
        yield from _told(view, target, change)
        return
    pod = view.find("Pod", target.namespace, target.name) if target.kind == "Pod" else None
    if pod is None:
        return
    own = list(containers(workload_of(view, pod), pod))
    log = next((each for each in view.logs if each.request == citation.request and each.text == citation.body), None)
    if log is not None:
        for container in own:
            if container.name == log.container:
                run = began(container.status, previous=log.previous)
                yield container, _after(run, change) or _heard(view, container, log, citation, change)
    elif STATUS.search(citation.quote):
        for container, run, current in _shown(own, citation.quote):
            yield container, _after(run, change) or (current and container.running and _goes_on(view, pod, change))


def _shown(own: list[Container], quote: str) -> Iterator[tuple[Container, datetime | None, bool]]:
    """Yield the containers whose status is quoted, the run that it is of, and whether that is the one of now.

    Where the quote is that of no single container it is the pod's, and rests on those that are not ready.
    """
    exact = [c for c in own if any(part and part in quote for part in _parts(c))]
    for container in exact or [c for c in own if not c.ready]:
        last = quote_of(container.pod.raw, f"{container.status_path}.lastState.terminated")
        previous = bool(last) and last in quote
        run = began(container.status, previous=previous)
        # Without a run there is only the pod itself: it waits for an image, a volume or its configuration.
        if run is not None:
            yield container, run, not previous


def _parts(container: Container) -> list[str]:
    paths = ("state.waiting", "state.terminated", "state.running", "lastState.terminated")
    return [quote_of(container.pod.raw, f"{container.status_path}.{path}") for path in paths]


def _told(view: ClusterView, target: Target, change: Since) -> Iterator[tuple[Container, bool]]:
    """Yield the containers of the pod that an event is about, and whether it tells of something after the change."""
    event = view.find("Event", target.namespace, target.name)
    about = (event.map("involvedObject") or event.map("regarding")) if event is not None else {}
    pod = view.find("Pod", text(about.get("namespace")), text(about.get("name")))
    if event is None or pod is None or about.get("kind") != "Pod" or not pod.text("spec.nodeName"):
        return  # of a pod that no node has, nothing can have been started
    place = text(about.get("fieldPath"))
    for container in containers(workload_of(view, pod), pod):
        if place and f"{{{container.name}}}" not in place:
            continue
        run = began(container.status) or (pod.created if pod.created != LONG_AGO else None)
        # A back-off is repeated all the time without anything being tried.
        again = event_time(event) > change.at and event.text("reason") != "BackOff"
        waits = began(container.status) is None and change.target.kind in CONFIGURATION
        yield container, again and (_after(run, change) or waits or _goes_on(view, pod, change))


def _after(run: datetime | None, change: Since) -> bool:
    # Times have whole seconds: a run that began in the second of the change may have begun before it.
    return run is not None and run > change.at


def _goes_on(view: ClusterView, pod: Thing, change: Since) -> bool:
    """Say whether a running container sees a change: of the world around it, not of its own template or settings."""
    workload = workload_of(view, pod)
    target = change.target
    if f"{target.kind}/{target.namespace}/{target.name}" in (workload.thing.key, pod.key):
        return False
    owner = view.owner(pod)
    if owner is not None and (owner.kind, owner.name) == (target.kind, target.name):
        return False
    named = json.dumps(target.name) in json.dumps(workload.spec, default=str)
    return not (target.kind in CONFIGURATION and named)


def _heard(view: ClusterView, container: Container, log: Log, citation: Citation, change: Since) -> bool:
    """Say whether a line of a run that goes on was logged after the first look: the run began before, the line not."""
    if log.previous or not container.running or not _goes_on(view, container.pod, change):
        return False
    known = change.heard.get((log.namespace, log.pod, log.container, log.previous))
    if known is None:
        return False
    new = " ".join(" ".join(line.split()) for line in _added(known, log.lines))
    return any(part and part in new for part in citation.quote.split(" … "))


def _added(known: tuple[str, ...], lines: list[str]) -> list[str]:
    """Return the lines that came after those that are known; the end of a log is read, so its beginning may be gone."""
    for length in range(len(known)):
        tail = list(known[length:])
        if lines[: len(tail)] == tail:
            return lines[len(tail) :]
    return lines
