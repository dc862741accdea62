"""Whole lists out of pages: read ahead, read again when they expire, cut where they are larger than is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.cluster.pages import Item, Keeping, Page, Reading
from assistant.cluster.status import ExpiredError, Reply, TooLargeError
from assistant.policy import limits
from assistant.policy.retry import Wait

CHUNK: Final = 500
"""Objects a list request; what kubectl uses, so that no answer makes the API server hold a large list in memory."""

Told = Callable[[Wait], None]
"""Is called before every wait, so that no wait is silent."""

Get = Callable[[Mapping[str, str]], Awaitable[Reply]]
"""Sends one request of a list with these parameters."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a list, all chunks joined; `request` is the line of the first request.

    `cut` says in words what is missing where the list was larger than is kept, "" where all of it is here.
    """

    items: tuple[dict[str, Any], ...]
    api_version: str
    kind: str
    request: str
    size_bytes: int
    cut: str = ""


@dataclass(frozen=True, slots=True)
class KeptListing:
    """A list like `Listing` whose objects are kept as bytes; one of an odd form is a dictionary."""

    items: tuple[Item, ...]
    request: str
    size_bytes: int
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """What became of reading a list."""

    items: list[Item]
    last: Page
    size_bytes: int
    cut: str


def request_line(path: str, query: Mapping[str, str]) -> str:
    """Return `GET /path?query` as evidence names it, without the paging parameters."""
    shown = "&".join(f"{k}={v}" for k, v in query.items() if k not in ("limit", "continue"))
    return f"GET {path}?{shown}" if shown else f"GET {path}"


async def read_list(get: Get, query: Mapping[str, str], keeping: Keeping, told: Told | None) -> Read:
    """Read a whole list in chunks. A list that expires under way (410) is read once more from the start.

    Raises what `get` raises, and ClusterError for an answer that is no list.
    """
    try:
        return await _pages(get, query, keeping)
    except ExpiredError:
        if told is not None:
            told(Wait(0.0, "the list changed while it was being read (410); it is read again from the start"))
        return await _pages(get, query, keeping)


async def _pages(get: Get, query: Mapping[str, str], keeping: Keeping) -> Read:
    reading, received, chunk, token = Reading(keeping), 0, CHUNK, ""
    coming: asyncio.Task[Reply] | None = None
    try:
        while True:
            asked = {**query, "limit": str(chunk)} | ({"continue": token} if token else {})
            try:
                reply = await (coming or get(asked))
            except TooLargeError:
                if chunk == 1:
                    raise
                chunk, coming = max(1, chunk // 10), None
                continue
            page = Page(reply, keeping)
            received += len(reply.data)
            cut = _cut(len(reading.items) + page.count, received, page.remaining, keeping) if page.next else ""
            token, coming = page.next, None
            if token and not cut:
                # The server makes the next page while this one is decoded.
                coming = asyncio.ensure_future(get({**query, "limit": str(chunk), "continue": token}))
            for texts in page.batches():
                await asyncio.sleep(0)
                reading.add(texts)
            if not token or cut:
                most, _ = _most(keeping)
                return Read(reading.items[:most], page, received, cut)
    finally:
        if coming is not None and not coming.cancel():
            coming.add_done_callback(lambda done: done.cancelled() or done.exception())


def _most(keeping: Keeping) -> tuple[int, int]:
    if keeping is Keeping.DICTIONARIES:
        return limits.READ_LIST_OBJECTS, limits.READ_LIST_BYTES
    return limits.READ_KEPT_OBJECTS, limits.READ_KEPT_BYTES


def _cut(count: int, received: int, remaining: int, keeping: Keeping) -> str:
    objects, size = _most(keeping)
    if count < objects and received < size:
        return ""
    of = f"{count + remaining:,}" if remaining > 0 else "more"
    return f"showing {min(count, objects):,} of {of}"
