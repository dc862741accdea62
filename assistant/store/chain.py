"""The hash chain over a session's events. Apart and pure, so that the log, recordings and tests compute one thing.

Tamper-evident only: whoever can rewrite the whole file can rewrite the chain, unless its head is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from assistant.domain.canonical import canonical
from assistant.domain.event import Event
from assistant.wire import event_to_builtins

GENESIS: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Link:
    """One stored event with its hashes; `data` is the canonical JSON text of the payload, exactly as stored."""

    session: str
    seq: int
    at: str
    kind: str
    data: str
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of a chain found; `bad_seq` is 0 and `why` empty when all `events` hold."""

    session: str
    events: int
    head: str
    bad_seq: int = 0
    why: str = ""

    @property
    def intact(self) -> bool:
        """Say whether every event stands as it was written."""
        return not self.why


def digest(prev_hash: str, session: str, seq: int, at: str, kind: str, data: str) -> str:
    """Return SHA-256(prev_hash + canonical JSON of the event) as hex.

    `data` goes in as the text that is stored, so that not a blank in it can change unseen. The keys stand in sorted
    order, hence for canonical `data` the bytes equal `canonical({"at", "data", "kind", "seq", "session"})`.
    """
    at_, kind_, session_ = (json.dumps(text, ensure_ascii=False) for text in (at, kind, session))
    text = f'{prev_hash}{{"at":{at_},"data":{data},"kind":{kind_},"seq":{seq},"session":{session_}}}'
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def link(event: Event, prev_hash: str) -> Link:
    """Return the stored form of an event that follows the event with `prev_hash` (GENESIS for the first)."""
    value = event_to_builtins(event)
    data = canonical(value["data"]).decode()
    at, kind = str(value["at"]), str(value["kind"])
    own = digest(prev_hash, event.session, event.seq, at, kind, data)
    return Link(event.session, event.seq, at, kind, data, prev_hash, own)


def fault(session: str, place: int, prev_hash: str, item: Link) -> str:
    """Return what is wrong with the link that should stand at `place` after `prev_hash`, "" when nothing is."""
    if item.session != session or item.seq != place:
        return f"event {place} is missing or out of order"
    if item.prev_hash != prev_hash:
        return f"event {place} does not follow the event before it"
    if digest(prev_hash, item.session, item.seq, item.at, item.kind, item.data) != item.hash:
        return f"event {place} has been changed since it was written"
    return ""


def check(session: str, links: list[Link], head: str, count: int) -> Verification:
    """Recompute a chain. `head` and `count` are what the session's row says, so that a cut tail shows."""
    prev = GENESIS
    for place, item in enumerate(links, start=1):
        why = fault(session, place, prev, item)
        if why:
            return Verification(session, len(links), head, place, why)
        prev = item.hash
    if len(links) != count or prev != head:
        return Verification(
            session, len(links), head, len(links) + 1, f"the session ends at event {len(links)}, {count} were written"
        )
    return Verification(session, len(links), head)
