"""Watches: the changes of a list as a stream of lines, with bookmarks, time-out and the end of history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping

from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Change, Object
from assistant.cluster.server.reading import Scope, number
from assistant.cluster.server.representation import Form, Wanted, encode, metadata_only, table
from assistant.cluster.server.status import ApiError, bad_request, expired

BOOKMARK_SECONDS = 60.0
LONGEST_SECONDS = 1800.0
"""The least that a real server gives a watch without a time-out (--min-request-timeout)."""


def check(cluster: Cluster, query: Mapping[str, str]) -> None:
    """Refuse what a watch cannot be. Raises ApiError 400."""
    if query.get("resourceVersion") and not query["resourceVersion"].isdecimal():
        text = query["resourceVersion"][:40]
        raise bad_request(f'invalid resource version "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    if query.get("sendInitialEvents") in ("true", "1") and query.get("resourceVersionMatch") != "NotOlderThan":
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        text = f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {text}'
        raise ApiError(422, "Invalid", text, {"group": "meta.k8s.io", "kind": "ListOptions"})
    number(query, "timeoutSeconds")


async def events(cluster: Cluster, what: Scope, query: Mapping[str, str], wanted: Wanted) -> AsyncIterator[bytes]:
    """Yield the lines of a watch until its time is over."""
    objects = cluster.objects
    queue: asyncio.Queue[Change] = asyncio.Queue()
    timeout = float(number(query, "timeoutSeconds") or random.uniform(LONGEST_SECONDS, 2 * LONGEST_SECONDS))  # noqa: S311
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    shown = _Shown(cluster, what, wanted, query.get("includeObject", "Metadata"))
    version = int(query.get("resourceVersion") or 0)
    initial = query.get("sendInitialEvents") in ("true", "1")
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    missed = objects.since(version) if version else []
    present = list(objects.entries(what.resource.store, what.namespace))
    stop = objects.listen(queue.put_nowait)  # from here on nothing is missed and nothing comes twice
    try:
        if version > objects.version:
            text = f"Too large resource version: {version}, current: {objects.version}"
            yield shown.error(ApiError(504, "Timeout", f"Timeout: {text}", {}))
            return
        if initial or (version == 0 and query.get("sendInitialEvents") not in ("false", "0")):
            for _, entry in present:
                if what.matches is None or what.matches(entry.item):
                    yield shown.line("ADDED", entry.item)
            if initial and bookmarks:
                yield shown.bookmark(objects.version, initial=True)
        elif 0 < version < objects.floor:
            yield shown.error(expired(f"too old resource version: {version} ({objects.floor})"))
            return
        elif version:
            for change in missed:
                for line in shown.change(change):
                    yield line
        next_bookmark = loop.time() + BOOKMARK_SECONDS
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, max(0.01, next_bookmark - loop.time()))):
                    change = await queue.get()
            except TimeoutError:
                if bookmarks and loop.time() >= next_bookmark:
                    yield shown.bookmark(objects.version)
                    next_bookmark = loop.time() + BOOKMARK_SECONDS
                continue
            for line in shown.change(change):
                yield line
        if bookmarks:
            yield shown.bookmark(objects.version)
    finally:
        stop()


class _Shown:
    """Turns changes into lines for one watcher."""

    def __init__(self, cluster: Cluster, what: Scope, wanted: Wanted, include: str) -> None:
        self.cluster, self.what, self.wanted, self.include = cluster, what, wanted, include
        self.head = True

    def line(self, kind: str, item: Object) -> bytes:
        if self.wanted.form is Form.TABLE:
            meta = {"resourceVersion": item["metadata"].get("resourceVersion", "")}
            args = (self.cluster, self.what.resource, [item], meta, self.wanted.version, self.include)
            shown, self.head = table(*args, head=self.head), False
        elif self.wanted.form is Form.METADATA:
            shown = metadata_only(item, self.wanted.version)
        else:
            shown = self.cluster.in_version(item, self.what.resource)
        return encode({"type": kind, "object": shown}) + b"\n"

    def bookmark(self, version: int, *, initial: bool = False) -> bytes:
        resource = self.what.resource
        meta: Object = {"resourceVersion": str(version)}
        if initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.wanted.form is Form.TABLE:
            shown = table(self.cluster, resource, [], meta, self.wanted.version, head=False)
        elif self.wanted.form is Form.METADATA:
            shown = metadata_only({"metadata": meta}, self.wanted.version)
        else:
            shown = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
            if resource.store == ("", "pods"):
                shown |= {"spec": {"containers": None}, "status": {}}
        return encode({"type": "BOOKMARK", "object": shown}) + b"\n"

    def error(self, error: ApiError) -> bytes:
        return encode({"type": "ERROR", "object": error.status()}) + b"\n"

    def change(self, change: Change) -> list[bytes]:
        """Return the line for a change as this watcher sees it: leaving the selection is a deletion to it."""
        what = self.what
        if change.store != what.resource.store:
            return []
        if what.namespace and not change.key.startswith(f"{what.namespace}/"):
            return []

        def sees(item: Object | None) -> bool:
            return item is not None and (what.matches is None or what.matches(item))

        before = change.before.item if change.before else None
        after = change.after.item if change.after else None
        if after is not None and sees(after):
            return [self.line("MODIFIED" if sees(before) else "ADDED", after)]
        if before is not None and sees(before):
            meta = {**before["metadata"], "resourceVersion": str(change.version)}
            return [self.line("DELETED", {**before, "metadata": meta})]
        return []
