"""The hash chain over a session's events and the journal's entries. Apart and pure, so that all compute one thing.

Tamper-evident only: whoever can rewrite the whole file can rewrite the chain, unless its head is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from assistant.domain.canonical import canonical
from assistant.domain.event import Event
from assistant.wire import event_to_builtins

GENESIS: Final = "0" * 64
IMPORTED: Final = hashlib.sha256(b"an imported session").hexdigest()
"""What the first event of somebody else's session follows here, so that it cannot be passed off as one of ours."""


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


class Damage(StrEnum):
    """What can have happened to a chain, as far as it can be told from what is left."""

    CHANGED = "changed"
    REMOVED = "removed"
    ADDED = "added"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of a chain found; `bad_seq` is 0 and `why` empty when all `events` hold."""

    session: str
    events: int
    head: str
    bad_seq: int = 0
    why: str = ""
    damage: Damage | None = None

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


def fault(session: str, place: int, prev_hash: str, item: Link, noun: str = "event") -> str:
    """Return what is wrong with the link that should stand at `place` after `prev_hash`, "" when nothing is."""
    if item.session != session or item.seq != place:
        return f"{noun} {place} is missing or out of order"
    if item.prev_hash != prev_hash:
        return f"{noun} {place} does not follow the {noun} before it"
    if not _is_whole(item, item.seq):
        return f"{noun} {place} has been changed since it was written"
    return ""


def check(
    session: str, links: list[Link], head: str, count: int, *, noun: str = "event", genesis: str = GENESIS
) -> Verification:
    """Recompute a chain. `head` and `count` are what is kept beside it, so that a cut tail shows."""
    prev = genesis
    for index, item in enumerate(links):
        if fault(session, index + 1, prev, item, noun):
            place, damage, why = _diagnosed(links, index, count, noun)
            return Verification(session, len(links), head, place, why, damage)
        prev = item.hash
    written = len(links)
    if written < count:
        why = f"the record ends with {noun} {written}, {count} were written"
        return Verification(session, written, head, written + 1, why, Damage.CUT_OFF)
    if written > count:
        why = f"{noun} {count + 1} and what follows were not there when {noun} {count} was the last one"
        return Verification(session, written, head, count + 1, why, Damage.ADDED)
    if prev != head:
        why = f"the hash of the last {noun} is not the one that is kept beside the record"
        return Verification(session, written, head, max(written, 1), why, Damage.CHANGED)
    return Verification(session, written, head)


def _is_whole(item: Link, seq: int) -> bool:
    return digest(item.prev_hash, item.session, seq, item.at, item.kind, item.data) == item.hash


def _diagnosed(links: list[Link], index: int, count: int, noun: str) -> tuple[int, Damage, str]:
    """Return where a chain breaks, how, and in words. A guess from what is left: hashes say that, not who or how."""
    item, place = links[index], index + 1
    if _is_whole(item, item.seq):
        if item.seq > place:
            gone = f"{noun} {place}" if item.seq == place + 1 else f"{noun}s {place} to {item.seq - 1}"
            return place, Damage.REMOVED, f"{gone} missing: {noun} {item.seq} stands in that place"
        if index:
            return index, Damage.CHANGED, f"{noun} {index} is not the one that {noun} {place} was written after"
        return place, Damage.REMOVED, f"{noun} 1 does not stand at the beginning of a chain"
    written = next((seq for seq in range(1, len(links) + 2) if _is_whole(item, seq)), 0)
    if written == place:
        return place, Damage.CHANGED, f"the number of {noun} {place} has been changed to {item.seq}"
    if written:
        swapped = any(_is_whole(later, place) for later in links[place:])
        damage = Damage.CHANGED if swapped else Damage.REMOVED if written > place else Damage.ADDED
        return place, damage, f"{noun} {place} was written as {noun} {written} and stands in another place now"
    if len(links) > count and (place > count or any(_is_whole(later, place) for later in links[place:])):
        return place, Damage.ADDED, f"{noun} {place} is not one that was written here"
    return place, Damage.CHANGED, f"{noun} {place} has been changed since it was written"
