"""The objects of the recorded cluster: bytes and history by resource version, with everything a watch needs.

Objects are plain dictionaries and are never changed in place; a write stores a new one. Lists are joined from bytes
that were encoded once.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

Object = dict[str, Any]
StoreKey = tuple[str, str]

HISTORY = 50_000
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Entry:
    """One object with its encoded form, made when it is first asked for."""

    item: Object
    _body: bytes = b""

    @property
    def body(self) -> bytes:
        """Return the JSON without apiVersion and kind, as typed lists have it."""
        if not self._body:
            self._body = _encode({k: v for k, v in self.item.items() if k not in ("apiVersion", "kind")})
        return self._body


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the history; `before` is None for a creation, `after` None for a deletion."""

    version: int
    store: StoreKey
    key: str
    before: Entry | None
    after: Entry | None


@dataclass(slots=True)
class _Shelf:
    entries: dict[str, Entry] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


def key_of(namespace: str, name: str) -> str:
    """Return the key of an object below its resource; keys sort as etcd's do."""
    return f"{namespace}/{name}" if namespace else name


class Objects:
    """Current objects by resource, the last changes, and a signal for watchers."""

    def __init__(self, items: Iterable[tuple[StoreKey, Object]]) -> None:
        """Take the recorded objects; the first version of the whole is the newest one that any of them has."""
        self._shelves: dict[StoreKey, _Shelf] = {}
        self.version = 1
        for store, item in items:
            meta = item["metadata"]
            version = str(meta.get("resourceVersion", ""))
            if not version.isdecimal():
                meta["resourceVersion"] = version = "1"
            self.version = max(self.version, int(version))
            self._shelves.setdefault(store, _Shelf()).entries[key_of(meta.get("namespace", ""), meta["name"])] = Entry(
                item
            )
        for shelf in self._shelves.values():
            shelf.keys = sorted(shelf.entries)
        self.floor = self.version
        self._history: deque[Change] = deque()
        self._listeners: list[Callable[[Change], None]] = []

    def get(self, store: StoreKey, namespace: str, name: str) -> Object | None:
        """Return the object, None when there is none."""
        entry = self.entry(store, namespace, name)
        return entry.item if entry else None

    def entry(self, store: StoreKey, namespace: str, name: str) -> Entry | None:
        """Return the object with its bytes, None when there is none."""
        shelf = self._shelves.get(store)
        return shelf.entries.get(key_of(namespace, name)) if shelf else None

    def items(self, store: StoreKey, namespace: str = "") -> Iterator[Object]:
        """Yield the current objects of a resource in key order."""
        for _, entry in self.entries(store, namespace):
            yield entry.item

    def entries(self, store: StoreKey, namespace: str = "", *, start: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield keys and objects from `start` on, in key order."""
        shelf = self._shelves.get(store)
        if shelf is None:
            return
        prefix = f"{namespace}/" if namespace else ""
        keys = shelf.keys
        for index in range(bisect.bisect_left(keys, max(prefix, start)), len(keys)):
            key = keys[index]
            if not key.startswith(prefix):
                return
            yield key, shelf.entries[key]

    def entries_at(self, version: int, store: StoreKey, namespace: str, start: str) -> Iterator[tuple[str, Entry]]:
        """Yield what `entries` yielded when `version` was current, by undoing the changes since."""
        undone: dict[str, Entry | None] = {}
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.store == store:
                undone[change.key] = change.before
        if not undone:
            yield from self.entries(store, namespace, start=start)
            return
        prefix = f"{namespace}/" if namespace else ""
        now = dict(self.entries(store, namespace, start=start))
        for key, before in undone.items():
            if before is None:
                now.pop(key, None)
            elif key.startswith(prefix) and key >= start:
                now[key] = before
        yield from sorted(now.items())

    def stores(self) -> list[StoreKey]:
        """Return every resource that has or had objects."""
        return list(self._shelves)

    def put(self, store: StoreKey, item: Object) -> Object:
        """Store a new or changed object under a new resource version and return it as stored."""
        self.version += 1
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        meta = item["metadata"]
        key = key_of(meta.get("namespace", ""), meta["name"])
        shelf = self._shelves.setdefault(store, _Shelf())
        before = shelf.entries.get(key)
        if before is None:
            bisect.insort(shelf.keys, key)
        entry = shelf.entries[key] = Entry(item)
        self._note(Change(self.version, store, key, before, entry))
        return item

    def remove(self, store: StoreKey, namespace: str, name: str) -> Object | None:
        """Delete an object; return it with the resource version of its deletion, None when it was not there."""
        shelf = self._shelves.get(store)
        key = key_of(namespace, name)
        before = shelf.entries.pop(key, None) if shelf else None
        if shelf is None or before is None:
            return None
        shelf.keys.pop(bisect.bisect_left(shelf.keys, key))
        self.version += 1
        self._note(Change(self.version, store, key, before, None))
        return {**before.item, "metadata": {**before.item["metadata"], "resourceVersion": str(self.version)}}

    def _note(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > HISTORY:
            self.floor = self._history.popleft().version
        for listener in self._listeners:
            listener(change)

    def since(self, version: int) -> list[Change]:
        """Return the changes after `version`, oldest first."""
        found: list[Change] = []
        for change in reversed(self._history):
            if change.version <= version:
                break
            found.append(change)
        return found[::-1]

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` after every change until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
