"""One object of a view, as a dictionary or as the bytes it came in, with accessors that survive whatever is missing.

Most objects of a large cluster are healthy and nobody looks at more than a few of their fields. So a reader may keep an
object as bytes (`Kept`) with those fields at hand; the rest is decoded when an accessor asks for it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from assistant.domain.raw import dig, fold_int, mapping, rows, text, tokens
from assistant.domain.target import Target

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
DECODED_AT_ONCE: Final = 2000
"""Kept objects of a view that are decoded at the same time; with more in trouble the oldest is decoded again later."""
_FRACTION = re.compile(r"\.\d+")


def when(value: object) -> datetime | None:
    """Return an RFC 3339 time as aware UTC, None where there is none that can be read."""
    return _moment(value) if isinstance(value, str) and len(value) >= 19 else None


@lru_cache(maxsize=16_384)
def _moment(value: str) -> datetime | None:
    # Cached, because the conditions of one object, and the objects of one rollout, carry the same few times.
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Thing:
    """One object as it was read, with the request that brought it."""

    __slots__ = ("_raw", "api_version", "key", "kind", "name", "namespace", "request", "resource")

    def __init__(self, resource: str, api_version: str, kind: str, raw: Mapping[str, Any], request: str) -> None:
        """Index the coordinates; `resource` is "plural.group", the bare plural in the core group."""
        meta = mapping(raw.get("metadata"))
        self.resource = resource
        self.api_version = text(raw.get("apiVersion")) or api_version
        self.kind = text(raw.get("kind")) or kind
        self._raw: Mapping[str, Any] = raw
        self.request = request
        self.name = text(meta.get("name"))
        self.namespace = text(meta.get("namespace"))
        self.key = key_of(self.kind, self.namespace, self.name)

    def __repr__(self) -> str:
        """Return the key, for test output."""
        return f"<{self.key}>"

    @property
    def raw(self) -> Mapping[str, Any]:
        """Return the whole object; it must not be changed in place."""
        return self._raw

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

    @property
    def ready(self) -> bool:
        """Say whether a pod is Ready or has done its work."""
        return self.text("status.phase") == "Succeeded" or self.condition("Ready").get("status") == "True"

    @property
    def quiet(self) -> bool:
        """Say that a pod is known to need no look; False where it has to be looked at to know."""
        return False

    @property
    def images(self) -> tuple[str, ...]:
        """Return the images of a pod's containers that were started: those that a node has."""
        return tuple(text(s.get("image")) for s in self.rows("status.containerStatuses") if s.get("imageID"))

    @property
    def newest(self) -> datetime:
        """Return the newest of the times that say when a pod, a node or a lease was last heard of."""
        latest = max(self.created, when(self.at("spec.renewTime")) or LONG_AGO)
        for condition in self.rows("status.conditions"):
            for name in ("lastHeartbeatTime", "lastTransitionTime"):
                latest = max(latest, when(condition.get(name)) or LONG_AGO)
        return latest

    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand anywhere in the spec; False is certain."""
        return True


def key_of(kind: str, namespace: str, name: str) -> str:
    """Return how objects are named inside an analysis."""
    return f"{kind}/{namespace}/{name}"


class Kept(ABC):
    """An object as its reader keeps it: bytes, and what is asked of every object.

    `facts` holds what stands at the paths that are asked of every object, None where nothing does. `ready`, `quiet`,
    `newest` and `images` say of the same bytes what the properties of `Thing` with these names would.
    """

    __slots__ = ("facts", "images", "newest", "quiet", "ready")

    facts: dict[str, Any]
    ready: bool
    quiet: bool
    newest: datetime | None
    images: tuple[str, ...]

    @abstractmethod
    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand anywhere in the spec; False is certain."""

    @abstractmethod
    def sections(self) -> tuple[str, ...]:
        """Return the names of the object's own fields."""

    @abstractmethod
    def section(self, name: str) -> Any:
        """Decode one of them; None where there is none of that name."""


class Recent:
    """Lets the kept objects that were decoded last stay decoded, and no more of them than `most`."""

    def __init__(self, most: int = DECODED_AT_ONCE) -> None:
        """Start with none; `decoded` counts how many objects were decoded so far, for tests and measurements."""
        self._things: deque[KeptThing] = deque()
        self._most = most
        self.decoded = 0

    def add(self, thing: KeptThing) -> None:
        """Take note that an object was decoded."""
        self.decoded += 1
        self._things.append(thing)
        if len(self._things) > self._most:
            self._things.popleft().forget()

    def clear(self) -> None:
        """Let go of the objects: with them it is a circle, which else waits for a collection."""
        self._things.clear()


class KeptThing(Thing):
    """An object that is kept as bytes. Reads like any other."""

    __slots__ = ("_kept", "_recent", "_sections")

    def __init__(self, resource: str, api_version: str, kind: str, kept: Kept, request: str, recent: Recent) -> None:
        """Index the coordinates without decoding anything."""
        self._kept = kept
        self._recent = recent
        self._sections: dict[str, Any] | None = None
        self.resource, self.api_version, self.kind, self.request = resource, api_version, kind, request
        self.name = text(kept.facts["metadata.name"])
        self.namespace = text(kept.facts["metadata.namespace"])
        self.key = key_of(kind, self.namespace, self.name)

    @property
    def raw(self) -> Mapping[str, Any]:
        """Return the whole object, decoded."""
        return {name: self._section(name) for name in self._kept.sections()}

    def at(self, path: str) -> Any:
        """Return what stands at a path; only the part that the path leads into is decoded."""
        facts = self._kept.facts
        if path in facts:
            return facts[path]
        head = tokens(path)[0]
        return dig({head: self._section(str(head))}, path)[1]

    def _section(self, name: str) -> Any:
        if self._sections is None:
            self._sections = {}
            self._recent.add(self)
        if name not in self._sections:
            self._sections[name] = self._kept.section(name)
        return self._sections[name]

    def forget(self) -> None:
        """Drop what was decoded; it is decoded again when it is asked for again."""
        self._sections = None

    @property
    def ready(self) -> bool:
        """Say whether a pod is Ready or has done its work."""
        return self._kept.ready

    @property
    def quiet(self) -> bool:
        """Say that a pod is known to need no look."""
        return self._kept.quiet

    @property
    def images(self) -> tuple[str, ...]:
        """Return the images of the containers that were started."""
        return self._kept.images

    @property
    def newest(self) -> datetime:
        """Return the newest time in it."""
        return self._kept.newest or super().newest

    def may_hold(self, key: str) -> bool:
        """Say whether a field of this name may stand anywhere in the spec; False is certain."""
        return self._kept.may_hold(key)
