"""From a fault to a fix: moves the cluster to its second recorded state once what was written satisfies a condition.

There are no controllers here. What a right fix leads to was captured on the real cluster; it is replayed in two stages,
and back again when the fix is taken back. `docs/recorded-cluster.md` says what that means for a client.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from assistant.cluster.bundle import Bundle, parse_time
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Change, Object, StoreKey, key_of
from assistant.errors import BundleError

Place = tuple[StoreKey, str]
_STEP = re.compile(
    r"\.?(?:(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<key>[^=\]']+)=(?P<value>[^\]]*)\]|\['(?P<quoted>[^']*)'\])"
)
REVISION = "deployment.kubernetes.io/revision"
_SPOKEN_FOR = frozenset({("", "nodes"), ("coordination.k8s.io", "leases")})


@dataclass(frozen=True, slots=True)
class Condition:
    """One line of heals_when.yaml: an object (or every one whose name fits), a path in it, and what must be there."""

    kind: str
    namespace: str
    name: str
    path: str
    matches: str
    absent: bool

    def holds(self, cluster: Cluster) -> bool:
        """Say whether the current objects satisfy this."""
        found = list(self._objects(cluster))
        if self.absent and not self.path:
            return not found
        if self.absent:
            return bool(found) and all(not list(lookup(item, self.path)) for item in found)
        values = [value for item in found for value in lookup(item, self.path)]
        return any(re.search(self.matches, v if isinstance(v, str) else json.dumps(v)) for v in values)

    def _objects(self, cluster: Cluster) -> Iterator[Object]:
        for store in sorted({resource.store for resource in cluster.catalog.kinds(self.kind)}):
            for item in cluster.objects.items(store, self.namespace):
                name = item["metadata"]["name"]
                if name == self.name or (self.name.endswith("*") and name.startswith(self.name[:-1])):
                    yield item


def read_conditions(path: Path) -> tuple[tuple[Condition, ...], ...]:
    """Read heals_when.yaml: alternatives, each of checks that must all hold. Raises BundleError."""
    hint = "Compare it with a heals_when.yaml of the practice incidents."
    try:
        value = yaml.safe_load(path.read_bytes())
        alternatives = value["any"]
        made = tuple(tuple(_condition(item) for item in alternative) for alternative in alternatives)
    except OSError as error:
        raise BundleError(f"There is no healing condition at {path}.", "Check the path.", detail=str(error)) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, re.error) as error:
        raise BundleError(f"{path.name} is not a healing condition.", hint, detail=str(error)[:300]) from error
    if not made or not all(made):
        raise BundleError(f"{path.name} has no condition, so everything would heal it.", hint)
    return made


def _condition(item: Mapping[str, Any]) -> Condition:
    made = Condition(
        str(item["kind"]), str(item.get("namespace", "")), str(item["name"]), str(item.get("path", "")),
        str(item.get("matches", "")), bool(item.get("absent", False)),
    )  # fmt: skip
    if not made.absent and not (made.path and made.matches):
        raise ValueError("a condition needs `path` and `matches`, or `absent`")
    re.compile(made.matches)
    list(lookup({}, made.path))
    return made


def lookup(item: Any, path: str) -> Iterator[Any]:
    """Yield the value at a dotted path, nothing if it is not there. Raises ValueError for a path that is not one."""
    steps: list[Callable[[Any], Any]] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise ValueError(f"not a path: {path}")
        steps.append(_step(match))
        position = match.end()
    for step in steps:
        item = step(item)
        if item is None:
            return
    yield item


def _step(match: re.Match[str]) -> Callable[[Any], Any]:
    index, key, value = match["index"], match["key"], match["value"]
    if index is not None:
        return lambda item: item[int(index)] if isinstance(item, list) and int(index) < len(item) else None
    if key is not None:
        return lambda item: next(
            (e for e in item if isinstance(e, dict) and e.get(key) == value) if isinstance(item, list) else iter(()),
            None,
        )
    name = match["name"] if match["name"] is not None else match["quoted"]
    return lambda item: item.get(name) if isinstance(item, dict) else None


class Healing:
    """Watches the writes of one cluster and moves it between its recorded states."""

    def __init__(
        self,
        cluster: Cluster,
        after: Bundle,
        conditions: tuple[tuple[Condition, ...], ...],
        stage_seconds: tuple[float, float],
    ) -> None:
        """Prepare the move; `stage_seconds` are the delays of the two stages after the write that decided it."""
        self._cluster = cluster
        self._conditions = conditions
        self._stage_seconds = stage_seconds
        self._bundles = (cluster.bundle, after)
        scope = cluster.captured | frozenset(after.namespaces)
        self._worlds: tuple[dict[Place, Object], ...] = tuple(
            {(store, _key(item)): item for store, item in cluster.placed(bundle) if _moves(store, item, scope)}
            for bundle in self._bundles
        )
        self._state = 0
        self._pending: list[Callable[[], None]] = []
        self._written: set[Place] = set()
        self._moving = False
        cluster.after_write.append(self.consider)
        cluster.objects.listen(self._note)

    @property
    def healed(self) -> bool:
        """Say whether the second state has been reached or is on its way."""
        return self._state == 1

    def consider(self) -> None:
        """Look at the current objects; on a change of mind, or after another write once healed, start the stages."""
        wanted = int(any(all(check.holds(self._cluster) for check in group) for group in self._conditions))
        if wanted == self._state == 0:
            return
        for call_off in self._pending:
            call_off()
        self._state = wanted
        first, second = self._stage_seconds
        later = self._cluster.clock.later
        self._pending = [later(first, self._arrive), later(max(first, second), self._settle)]

    def _note(self, change: Change) -> None:
        if not self._moving:
            self._written.add((change.store, change.key))

    def _arrive(self) -> None:
        """Stage 1: the controllers have seen the change; new pods exist and are not ready yet."""
        self._moving = True
        try:
            for place, item in self._worlds[self._state].items():
                live = self._live(place)
                if place[0] == ("", "pods") and live is None and place not in self._written:
                    born = parse_time(item["metadata"].get("creationTimestamp"))
                    if born:
                        self._cluster.clock.reach(born)
                    self._cluster.objects.put(place[0], starting(item))
                elif place[0][0] == "apps" and live is not None:
                    generation = live["metadata"].get("generation")
                    if generation and (live.get("status") or {}).get("observedGeneration") != generation:
                        status = {**(live.get("status") or {}), "observedGeneration": generation}
                        # That the last rollout had run out of time is no longer said of this generation.
                        conditions = status.get("conditions") or []
                        status["conditions"] = [c for c in conditions if c.get("reason") != "ProgressDeadlineExceeded"]
                        self._cluster.objects.put(place[0], {**live, "status": status})
                elif place[0] == ("apps", "replicasets") and live is None and place not in self._written:
                    fresh = {"replicas": 0, "observedGeneration": item["metadata"].get("generation", 1)}
                    self._cluster.objects.put(place[0], {**item, "status": fresh})
        finally:
            self._moving = False

    def _settle(self) -> None:
        """Stage 2: everything as it was captured, except for what a client wrote."""
        bundle = self._bundles[self._state]
        self._cluster.clock.reach(bundle.captured_at)
        self._cluster.log_source = bundle
        world, other = self._worlds[self._state], self._worlds[1 - self._state]
        self._moving = True
        try:
            for place in other.keys() - world.keys():
                if place not in self._written or place[0] == ("", "pods"):
                    namespace, _, name = place[1].rpartition("/")
                    self._cluster.objects.remove(place[0], namespace, name)
            for place, item in world.items():
                live = self._live(place)
                if live is None:
                    if place not in self._written:
                        self._cluster.objects.put(place[0], item)
                    continue
                made = settled(live, item, theirs=place in self._written)
                if made != live:
                    self._cluster.objects.put(place[0], made)
        finally:
            self._moving = False

    def _live(self, place: Place) -> Object | None:
        namespace, _, name = place[1].rpartition("/")
        return self._cluster.objects.get(place[0], namespace, name)


def _key(item: Object) -> str:
    return key_of(item["metadata"].get("namespace", ""), item["metadata"]["name"])


def _moves(store: StoreKey, item: Object, scope: frozenset[str]) -> bool:
    """Say whether an object belongs to the incident: in a captured namespace, or a volume that is claimed from one."""
    if store in _SPOKEN_FOR:
        return False
    namespace = item["metadata"].get("namespace")
    if store == ("", "persistentvolumes"):
        namespace = ((item.get("spec") or {}).get("claimRef") or {}).get("namespace")
    return namespace in scope


def starting(pod: Object) -> Object:
    """Return a pod as it looks between its binding to a node and its first container: scheduled, creating."""
    status = copy.deepcopy(pod.get("status") or {})
    for name in ("containerStatuses", "initContainerStatuses"):
        status[name] = [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}},
                "lastState": {},
            }
            for container in (pod.get("spec") or {}).get(name.replace("Statuses", "s")) or []
        ]
    status["phase"] = "Pending"
    status["conditions"] = [
        {**condition, "status": "True" if condition.get("type") in ("PodScheduled", "Initialized") else "False"}
        for condition in status.get("conditions") or []
    ]
    for name in ("podIP", "podIPs"):
        status.pop(name, None)
    return {**pod, "status": {key: value for key, value in status.items() if value != []}}


def settled(live: Object, recorded: Object, *, theirs: bool) -> Object:
    """Return the live object in its recorded end state; what a client wrote keeps its spec and its metadata."""
    if not theirs:
        meta = {**recorded["metadata"], "resourceVersion": live["metadata"].get("resourceVersion")}
        return {**recorded, "metadata": meta}
    status = copy.deepcopy(recorded.get("status"))
    if not isinstance(status, dict):
        return live
    generation = live["metadata"].get("generation")
    if "observedGeneration" in status and generation:
        status["observedGeneration"] = generation
    made = {**live, "status": status}
    revision = (recorded["metadata"].get("annotations") or {}).get(REVISION)
    if revision:  # written by the deployment controller, never by a client
        annotations = {**(live["metadata"].get("annotations") or {}), REVISION: revision}
        made["metadata"] = {**live["metadata"], "annotations": annotations}
    return made
