"""The session store: an append-only log of events per session, their bodies, and the list of sessions."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from assistant.domain.case import Spent
from assistant.domain.event import Event
from assistant.errors import StoreError
from assistant.store import bodies, index
from assistant.store.audit import links_of, strays, verify_session, verify_texts
from assistant.store.chain import IMPORTED, Link, Verification, link
from assistant.store.index import SESSION_ID, Hit, SessionRow, summarise
from assistant.store.sqlite import Connection, StoreLockedError, StoreReadOnlyError, open_database
from assistant.store.writer import Body, Record, Writer
from assistant.wire import event_from_builtins

FLUSH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """The events of a session as far as they can be read; `cut` says why it ends early, "" when it is whole."""

    events: tuple[Event, ...]
    cut: str = ""


def new_session_id(now: datetime) -> str:
    """Return an id that sorts by day and is short enough to type the beginning of: `20261124-7f3a91c2`."""
    return f"{now:%Y%m%d}-{secrets.token_hex(4)}"


class SessionStore:
    """One SQLite file with all sessions. Reads on the caller's thread; writes go through one writer thread."""

    def __init__(self, path: Path, reader: Connection, writer: Writer | None) -> None:
        self.path = path
        self._reader = reader
        self._writer = writer
        self._rows: dict[str, SessionRow] = {}
        self._fresh_bodies: dict[str, str] = {}
        self._put: set[tuple[str, str]] = set()
        self._claims: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> SessionStore:
        """Open the store, making or migrating the file. Raises a StoreError that says what is the matter."""
        from assistant.store.schema import MIGRATIONS

        if read_only:
            reader = open_database(path, read_only=True)
            try:
                reader.migrate(MIGRATIONS)
            except BaseException:
                reader.close()
                raise
            return cls(path, reader, None)
        writing = open_database(path, synchronous="FULL")
        try:
            writing.migrate(MIGRATIONS)
            reader = open_database(path, read_only=True)
        except BaseException:
            writing.close()
            raise
        return cls(path, reader, Writer(writing))

    # Writing

    @property
    def trouble(self) -> StoreError | None:
        """Return why nothing can be written at the moment, None when all is well."""
        return self._writer.trouble if self._writer else None

    def listen(self, on_trouble: Callable[[StoreError | None], None]) -> None:
        """Call `on_trouble` from the writer's thread when writing begins to fail (why) and works again (None)."""
        self._need_writer().listen(on_trouble)

    def append(self, event: Event) -> None:
        """Queue an event that follows the session's last one; it is durable at most 50 ms later, or after `flush`.

        Raises StoreError for an event out of order or one that is not JSON.
        """
        row = self._current(event.session, event.at)
        if event.seq != row.events + 1:
            raise StoreError(
                f"Event {event.seq} does not follow event {row.events} of session {event.session}.",
                "Another process may have gone on with this session; open it anew.",
            )
        try:
            made = link(event, row.head)
        except (TypeError, ValueError) as error:
            raise StoreError("An event cannot be stored.", "Please report this.", detail=repr(error)) from error
        row = summarise(row, event, made.hash)
        self._need_writer().put(Record(made, row))
        self._rows[event.session] = row

    def put_body(self, session: str, text: str) -> str:
        """Queue a text and return its SHA-256; put before the event that refers to it, it is never missing."""
        sha256 = bodies.body_key(text)
        if (session, sha256) not in self._put:
            self._fresh_bodies[sha256] = text
            self._need_writer().put(Body(session, sha256, text))
            self._put.add((session, sha256))
        return sha256

    async def flush(self) -> None:
        """Return when everything appended so far is durable. Raises StoreError when it is not."""
        fresh = list(self._fresh_bodies)
        await self._need_writer().flush()
        for sha256 in fresh:
            self._fresh_bodies.pop(sha256, None)

    def flush_blocking(self) -> None:
        """Do what `flush` does where no event loop runs."""
        done: Future[None] = self._need_writer().request_flush()
        done.result(FLUSH_SECONDS)

    def import_session(self, events: Iterable[Event], texts: Iterable[str]) -> str:
        """Store somebody else's events as a read-only session under an id of our own, and return that id."""
        session = new_session_id(datetime.now(UTC))
        first = True
        for event in events:
            if first:
                self._rows[session] = SessionRow(session, event.at, event.at, head=IMPORTED, imported=True)
                for text in texts:
                    self.put_body(session, text)
                first = False
            self.append(replace(event, session=session))
        if first:
            raise StoreError("There is nothing to import.", "The recording holds no events.")
        self.flush_blocking()
        return session

    def delete(self, session: str) -> None:
        """Remove a session, its events and the bodies that no other session uses; a line in `deletions` stays."""
        row = self.row(session)
        self.claim(session)
        try:
            self.flush_blocking()
            with open_database(self.path, synchronous="FULL") as connection, connection.transaction() as raw:
                now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
                raw.execute(
                    "insert or replace into deletions(session, at, events, head) values (?, ?, ?, ?)",
                    (session, now, row.events, row.head),
                )
                raw.execute("delete from events where session = ?", (session,))
                raw.execute("delete from session_bodies where session = ?", (session,))
                raw.execute("delete from bodies where sha256 not in (select sha256 from session_bodies)")
                raw.execute("delete from sessions where id = ?", (session,))
            self._rows.pop(session, None)
            self._put = {item for item in self._put if item[0] != session}
        finally:
            self.release(session)

    # Reading

    def load(self, session: str) -> Loaded:
        """Return the events of a session, up to the first one that cannot be read. Raises StoreError for none."""
        if not self._reader.query("select 1 from sessions where id = ?", (session,)):
            raise _unknown(session)
        events: list[Event] = []
        for item in self._links(session):
            if item.seq != len(events) + 1:
                return Loaded(tuple(events), f"event {len(events) + 1} is missing")
            try:
                data = msgspec.json.decode(item.data)
                value: dict[str, Any] = {"session": item.session, "seq": item.seq, "at": item.at, "kind": item.kind}
                events.append(event_from_builtins(value | {"data": data}))
            except (ValueError, msgspec.DecodeError) as error:
                return Loaded(tuple(events), f"event {item.seq} cannot be read ({error})")
        return Loaded(tuple(events))

    def verify(self, session: str) -> Verification:
        """Recompute a session's chain and its line in the list. Raises StoreError when there is none with this id."""
        return verify_session(self._reader, session)

    def verify_texts(self, session: str) -> Verification:
        """Check the texts that a session's events name; where the chain does not hold, `verify` says so."""
        return verify_texts(self._reader, session)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all sessions, the oldest first."""
        return tuple(str(row["id"]) for row in self._reader.query("select id from sessions order by opened_at, id"))

    def hash_of(self, session: str, seq: int) -> str:
        """Return the stored hash of one event, "" where it is not there."""
        found = self._reader.query("select hash from events where session = ? and seq = ?", (session, seq))
        return str(found[0]["hash"]) if found else ""

    def deleted(self) -> frozenset[str]:
        """Return the ids of sessions that were deleted."""
        return frozenset(str(row["session"]) for row in self._reader.query("select session from deletions"))

    def strays(self) -> tuple[str, ...]:
        """Return what is in the file and belongs to no session, in words."""
        return strays(self._reader)

    def row(self, session: str) -> SessionRow:
        """Return what the list shows of one session. Raises StoreError when there is none, or a damaged one."""
        found = index.row(self._reader, session)
        if found is None:
            raise _unknown(session)
        return found

    def find(self, prefix: str) -> str:
        """Return the id of the one session that starts with `prefix` (`last`: the latest). Raises UsageError."""
        return index.find(self._reader, prefix)

    def sessions(self, *, limit: int = 100, offset: int = 0, text: str = "", context: str = "") -> list[SessionRow]:
        """Return sessions, the latest first, optionally only those that match `text` or a context's name."""
        return index.rows(self._reader, limit=limit, offset=offset, text=text, context=context)

    def search(self, text: str, *, limit: int = 50) -> list[Hit]:
        """Return events whose text has words that begin like those of `text`, best first."""
        return index.search(self._reader, text, limit=limit)

    def spent_since(self, at: datetime) -> Spent:
        """Return what language models have cost since `at`, over all sessions that are not imported.

        What is not durable yet (50 ms, see `append`) is not in it, nor what sessions spent that were deleted.
        """
        return index.spent_since(self._reader, at)

    def body(self, sha256: str) -> str:
        """Return a stored text. Raises StoreError when it is not there or damaged."""
        fresh = self._fresh_bodies.get(sha256)
        if fresh is not None:
            return fresh
        found = bodies.get(self._reader, sha256)
        if found is None:
            raise StoreError(
                f"The text {sha256[:12]} is not in the store.", "It may have been deleted with its session."
            )
        return found

    # Who works on a session

    def claim(self, session: str) -> None:
        """Mark a session as being worked on by this process, until `release` or the process ends.

        Raises StoreLockedError when another process does. An advisory lock, so that kill -9 releases it.
        """
        if session in self._claims:
            return
        path = self._claim_path(session)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise StoreLockedError(
                f"Session {session} is open in another Pilothouse (process {owner or 'unknown'}).",
                "Go on there, or end it first; replay works meanwhile.",
            ) from error
        if not path.exists() or os.fstat(handle).st_ino != path.stat().st_ino:
            # Its former owner removed the file between our open and our lock: a lock on that one guards nothing.
            os.close(handle)
            return self.claim(session)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._claims[session] = handle

    def release(self, session: str) -> None:
        """Give up a claim."""
        handle = self._claims.pop(session, None)
        if handle is not None:
            with suppress(FileNotFoundError):
                self._claim_path(session).unlink()
            os.close(handle)

    def interrupted(self, row: SessionRow) -> bool:
        """Say whether a session that was at work is held by no process any more."""
        if row.status not in ("running", "waiting") or row.imported or row.id in self._claims:
            return False
        try:
            handle = os.open(self._claim_path(row.id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def close(self) -> None:
        """Write what is left and close. Raises StoreError for what could not be written."""
        for session in list(self._claims):
            self.release(session)
        # The reader first: only a last connection that may write folds the WAL into the file and removes it.
        self._reader.close()
        if self._writer:
            self._writer.close()

    def __enter__(self) -> SessionStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claim_path(self, session: str) -> Path:
        if not SESSION_ID.fullmatch(session):
            raise StoreError(f"{session!r} is not a session id.", "Ids are letters, digits, - and _.")
        return self.path.with_name(self.path.name + ".claims") / session

    def _need_writer(self) -> Writer:
        if self._writer is None:
            raise StoreReadOnlyError(f"{self.path} was opened for reading only.", "Open it for writing to change it.")
        return self._writer

    def _current(self, session: str, at: datetime) -> SessionRow:
        known = self._rows.get(session)
        if known is None:
            if not SESSION_ID.fullmatch(session):
                raise StoreError(f"{session!r} is not a session id.", "Ids are letters, digits, - and _.")
            known = index.row(self._reader, session) or SessionRow(session, at, at)
        return known

    def _links(self, session: str) -> list[Link]:
        return links_of(self._reader, session)


def _unknown(session: str) -> StoreError:
    return StoreError(f"There is no session {session!r}.", "`pilothouse sessions list` shows them.")
