"""The one thread that writes the session database, in batches: the event loop must never wait for a disk."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from assistant.errors import StoreError
from assistant.store import bodies
from assistant.store.chain import Link
from assistant.store.index import COLUMNS, SessionRow, row_values
from assistant.store.sqlite import Connection

_LOG: Final = logging.getLogger(__name__)

BATCH_SECONDS: Final = 0.05
BATCH_ITEMS: Final = 2000
RETRY_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Body:
    """A text to keep for a session."""

    session: str
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """An event to append, with the session's row as it is after it."""

    link: Link
    row: SessionRow


@dataclass(frozen=True, slots=True)
class _Flush:
    done: Future[None]


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Item = Body | Record | _Flush | _Stop

_EVENT_SQL: Final = "insert into events(session, seq, at, kind, data, prev_hash, hash) values (?, ?, ?, ?, ?, ?, ?)"
_ROW_SQL: Final = (
    f"insert into sessions({', '.join(COLUMNS)}) values ({', '.join(':' + name for name in COLUMNS)}) "  # noqa: S608
    f"on conflict(id) do update set {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
)


class Writer:
    """Takes items from any thread and writes them in order, at most 50 ms later; FULL synchronous, so durable.

    What cannot be written is kept and tried again; every `flush` says so until it has been written. Listeners are
    called in the writer's thread with the error when writing begins to fail, and with None when it works again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._listeners: list[Callable[[StoreError | None], None]] = []
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._trouble: StoreError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="session-writer", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> StoreError | None:
        """Return why nothing can be written at the moment, None when all is well."""
        return self._trouble

    def listen(self, listener: Callable[[StoreError | None], None]) -> None:
        """Call `listener` when trouble begins and ends; it must not raise and not block."""
        self._listeners.append(listener)

    def put(self, item: Body | Record) -> None:
        """Queue an item. Raises StoreError after `close`."""
        if self._closed:
            raise StoreError("The session store has been closed.", "Start again to go on.")
        self._queue.put(item)

    def request_flush(self) -> Future[None]:
        """Ask for everything queued so far to be written now."""
        done: Future[None] = Future()
        if self._closed:
            done.set_exception(StoreError("The session store has been closed.", "Start again to go on."))
        else:
            self._queue.put(_Flush(done))
        return done

    async def flush(self) -> None:
        """Return when everything queued so far is durable. Raises StoreError when it is not."""
        await asyncio.wrap_future(self.request_flush())

    def close(self) -> None:
        """Write what is left, end the thread and close the connection. Raises StoreError for what was not written."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(_Stop())
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            raise StoreError("The session store did not finish writing.", "Check whether the disk answers.")
        self._connection.close()
        if self._trouble:
            raise self._trouble

    def _run(self) -> None:
        pending: list[Body | Record] = []
        stop = False
        while not stop:
            waiters, stop = self._gather(pending)
            if pending:
                self._write(pending)
            for waiter in waiters:
                if self._trouble:
                    waiter.set_exception(self._trouble)
                else:
                    waiter.set_result(None)

    def _gather(self, pending: list[Body | Record]) -> tuple[list[Future[None]], bool]:
        # A flush ends the wait at once; a retry after trouble is not delayed for ever by a quiet session.
        waiters: list[Future[None]] = []
        deadline: float | None = None
        while len(pending) < BATCH_ITEMS or self._trouble:
            timeout = RETRY_SECONDS if pending else None
            if deadline is not None:
                timeout = max(0.0, deadline - time.monotonic())
            try:
                item = self._queue.get(timeout != 0.0, timeout)
            except queue.Empty:
                break
            match item:
                case _Stop():
                    return waiters, True
                case _Flush():
                    if not item.done.set_running_or_notify_cancel():
                        continue
                    waiters.append(item.done)
                    if self._queue.empty():
                        break
                    deadline = time.monotonic()
                case Body() | Record():
                    pending.append(item)
                    if deadline is None:
                        deadline = time.monotonic() + BATCH_SECONDS
        return waiters, False

    def _write(self, pending: list[Body | Record]) -> None:
        trouble: StoreError | None = None
        try:
            with self._connection.transaction() as raw:
                latest: dict[str, SessionRow] = {}
                for item in pending:
                    if isinstance(item, Record):
                        latest[item.row.id] = item.row
                raw.executemany(_ROW_SQL, [row_values(row) for row in latest.values()])
                for item in pending:
                    if isinstance(item, Body):
                        bodies.put(raw, item.session, item.sha256, item.text)
                raw.executemany(_EVENT_SQL, [_values(item.link) for item in pending if isinstance(item, Record)])
        except StoreError as error:
            trouble = error
        except Exception as error:  # the thread must outlive a surprise: every flush then says that nothing is safe
            trouble = StoreError("The session store failed unexpectedly.", "Please report this.", detail=repr(error))
        if trouble is None:
            pending.clear()
        changed = (trouble is None) != (self._trouble is None)
        self._trouble = trouble
        if changed:
            for listener in tuple(self._listeners):
                try:
                    listener(trouble)
                except Exception:
                    # Whoever does not listen well must not end the only thread that writes; `flush` still tells.
                    _LOG.exception("a listener failed")


def _values(link: Link) -> tuple[str, int, str, str, str, str, str]:
    return (link.session, link.seq, link.at, link.kind, link.data, link.prev_hash, link.hash)
