"""Says whether what is on record still stands as it was written, and where not: sessions here, the journal beside it.

Tamper-evident only: whoever can rewrite the whole file and the heads kept elsewhere can rewrite history.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from assistant.domain.event import NAMES, Event, EvidenceAdded, ModelCalled
from assistant.errors import StoreError
from assistant.store import bodies
from assistant.store.chain import GENESIS, IMPORTED, Damage, Link, Verification, check
from assistant.store.index import COLUMNS, SessionRow, row_values, summarise
from assistant.store.sqlite import Connection, StoreDamagedError
from assistant.wire import event_from_builtins

NAMING = frozenset({NAMES[EvidenceAdded], NAMES[ModelCalled]})
"""The kinds of events that name texts: only these are decoded for it."""


def links_of(reader: Connection, session: str) -> list[Link]:
    """Return the stored events of a session with their hashes, in order."""
    rows = reader.query(
        "select session, seq, at, kind, data, prev_hash, hash from events where session = ? order by seq", (session,)
    )
    return [Link(*tuple(row)) for row in rows]


def verify_session(reader: Connection, session: str) -> Verification:
    """Recompute the chain of a session, then what is derived from it: its line in the list."""
    # As it is stored: a line that cannot be decoded any more is one of the things to be found.
    sql = f"select {', '.join(COLUMNS)} from sessions where id = ?"  # noqa: S608 - column names of a dataclass
    listed = reader.query(sql, (session,))
    if not listed:
        raise StoreError(f"There is no session {session!r}.", "`pilothouse sessions list` shows them.")
    stored = listed[0]
    links = links_of(reader, session)
    genesis = IMPORTED if stored["imported"] else GENESIS
    found = check(session, links, str(stored["head"]), int(stored["events"]), genesis=genesis)
    if not found.intact:
        return found
    row = SessionRow(session, *(2 * (_first_time(links),)), head=genesis)
    for item in links:
        try:
            event = event_of(item)
        except ValueError as error:
            why = f"event {item.seq} holds, and this version of Pilothouse cannot read it ({error})"
            return Verification(session, len(links), found.head, item.seq, why, Damage.CHANGED)
        row = summarise(row, event, item.hash)
    expected = row_values(row) | {"imported": stored["imported"]}
    for name in COLUMNS:
        # A text compared with a text: the same moment in another spelling is a changed field too.
        if stored[name] != expected[name]:
            why = f"{name} in the list of sessions is not what the events say"
            return Verification(session, len(links), found.head, len(links), why, Damage.CHANGED)
    return found


def event_of(item: Link) -> Event:
    """Return a stored link as an event. Raises ValueError for one that this version cannot read."""
    value = {"session": item.session, "seq": item.seq, "at": item.at, "kind": item.kind}
    return event_from_builtins(value | {"data": msgspec.json.decode(item.data)})


def strays(reader: Connection) -> tuple[str, ...]:
    """Return what is in the file and belongs to no session, in words; each is a sign of a row added or removed."""
    found = [
        f"events of session {row['session']}, which is not in the list: its line has been removed"
        for row in reader.query("select distinct session from events where session not in (select id from sessions)")
    ]
    found += [
        f"session {row['session']} is noted as deleted and is here"
        for row in reader.query("select session from deletions where session in (select id from sessions)")
    ]
    found += [
        f"text {row['sha256'][:12]} belongs to no session"
        for row in reader.query("select sha256 from bodies where sha256 not in (select sha256 from session_bodies)")
    ]
    return tuple(found)


def _first_time(links: list[Link]) -> datetime:
    return datetime.fromisoformat(links[0].at) if links else datetime.min


def verify_texts(reader: Connection, session: str) -> Verification:
    """Check the texts that the events of a session name: all there, each as its hash says."""
    needed: dict[str, int] = {}
    links = links_of(reader, session)
    for item in links:
        if item.kind in NAMING:
            for sha256 in bodies.named_by(event_of(item).payload):
                needed.setdefault(sha256, item.seq)
    head, last = (links[-1].hash, links[-1].seq) if links else (GENESIS, 0)
    rows = reader.query("select sha256 from session_bodies where session = ?", (session,))
    kept = {str(row["sha256"]) for row in rows}
    for sha256 in (*needed, *sorted(kept - needed.keys())):
        # A crash between a text and its event leaves a text to which no event refers; it has to be whole too.
        use = f"that event {needed[sha256]} rests on" if sha256 in needed else "to which no event refers"
        try:
            damage = None if sha256 in kept and bodies.get(reader, sha256) is not None else Damage.REMOVED
        except StoreDamagedError:
            damage = Damage.CHANGED
        if damage:
            why = f"the text {sha256[:12]}, {use}, is {'missing' if damage is Damage.REMOVED else 'not as it was kept'}"
            return Verification(session, last, head, needed.get(sha256, last), why, damage)
    return Verification(session, last, head)
