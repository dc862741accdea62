"""Opening a SQLite file the one way that both databases (sessions, journal) need: WAL, time-outs, one writer at a time.

Apart, because SQLite before 3.51.3 can corrupt a WAL when two connections write and reset it at the same moment
(https://sqlite.org/wal.html#walresetbug), so every write and checkpoint here runs under an advisory file lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from assistant.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database as SqliteUtils
    from sqlite_utils import Migrations

Synchronous = Literal["NORMAL", "FULL"]
Parameters = Iterable[Any] | Mapping[str, Any]

LOCK_TIMEOUT_SECONDS: Final = 5.0
LOCK_POLL_SECONDS: Final = 0.005


class StoreMissingError(StoreError):
    """There is no database yet."""

    code = "store-missing"


class StoreLockedError(StoreError):
    """Another process holds the database for longer than we wait."""

    code = "store-locked"


class StoreReadOnlyError(StoreError):
    """The file, its folder or its file system cannot be written."""

    code = "store-read-only"


class StoreFullError(StoreError):
    """There is no space left for the database."""

    code = "store-full"


class StoreDamagedError(StoreError):
    """The file is not a whole SQLite database."""

    code = "store-damaged"


class StoreNewerError(StoreError):
    """A newer version of Pilothouse has changed the layout of the database."""

    code = "store-newer"


def store_error(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Return the typed error for what SQLite (result code names) or the system (errno) said about `path`."""
    name = getattr(error, "sqlite_errorname", None) or ""
    number = error.errno if isinstance(error, OSError) else None
    detail = f"{name or type(error).__name__}: {error}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _locked(path, detail)
    if name == "SQLITE_FULL" or number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFullError(
            f"There is no space left to write {path}.",
            "Free some space on that file system, then go on.",
            detail=detail,
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreDamagedError(
            f"{path} is damaged or is not a SQLite database.",
            f"Keep a copy of {path.name}, {path.name}-wal and {path.name}-shm, then move them away to start anew.",
            detail=detail,
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH")) or number in (
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    ):
        return StoreReadOnlyError(
            f"{path} cannot be opened for writing.",
            "Check the owner and mode of the file and its folder, or set another state directory.",
            detail=detail,
        )
    return StoreError(f"{path} cannot be used.", "Check the disk, then start again.", detail=detail)


def _locked(path: Path, detail: str) -> StoreLockedError:
    return StoreLockedError(
        f"Another process is writing {path} and did not finish in {LOCK_TIMEOUT_SECONDS:.0f} seconds.",
        "Wait for the other Pilothouse to finish, or end it, then try again.",
        detail=detail,
    )


class Connection:
    """One connection to one database file; to be used by one thread at a time.

    `raw` is the sqlite3 connection in autocommit mode. Write only inside `transaction()`.
    """

    def __init__(self, path: Path, raw: sqlite3.Connection, *, read_only: bool, lock: int | None) -> None:
        self.path = path
        self.raw = raw
        self.read_only = read_only
        self._lock = lock
        self._depth = 0

    @property
    def tables(self) -> SqliteUtils:
        """Return the sqlite-utils view of this connection, for migrations and table work."""
        from sqlite_utils import Database

        return Database(self.raw, recursive_triggers=False, execute_plugins=False)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one write transaction under the file lock; commit at its end, roll back on any exception.

        Raises a StoreError for what goes wrong in SQLite or with the lock. Nested blocks join the outer one.
        """
        if self.read_only:
            raise StoreReadOnlyError(f"{self.path} was opened for reading only.", "Open it for writing to change it.")
        if self._depth:
            yield self.raw
            return
        with self._locked_file():
            self._depth += 1
            try:
                self.raw.execute("BEGIN IMMEDIATE")
                try:
                    yield self.raw
                except BaseException:
                    self._rollback()
                    raise
                try:
                    self.raw.execute("COMMIT")
                except sqlite3.Error:
                    self._rollback()
                    raise
            except (sqlite3.Error, OSError) as error:
                raise store_error(error, self.path) from error
            finally:
                self._depth -= 1

    def query(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """Return all rows of a reading statement. Raises StoreError."""
        try:
            return list(self.raw.execute(sql, parameters if isinstance(parameters, Mapping) else tuple(parameters)))
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error

    def migrate(self, migrations: Migrations) -> None:
        """Bring the database to the newest layout of one sqlite-utils migration set.

        Raises StoreNewerError when the database has had migrations of that set which this version does not know.
        """
        tables = self.tables
        try:
            pending = [item.name for item in migrations.pending(tables)]
            applied = [item.name for item in migrations.applied(tables)]
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error
        known = {item.name for item in migrations.pending(_empty())}
        unknown = [name for name in applied if name not in known]
        if unknown:
            raise StoreNewerError(
                f"{self.path} was written by a newer version of Pilothouse (it has {unknown[0]}).",
                "Update Pilothouse, or set another state directory; the file was not changed.",
            )
        if not pending:
            return
        if self.read_only:
            raise StoreReadOnlyError(
                f"{self.path} has the layout of an older version and was opened for reading only.",
                "Start Pilothouse once with write access to that file.",
            )
        with self.transaction():
            migrations.apply(self.tables)

    def _rollback(self) -> None:
        # A full disk or an I/O error has already rolled back by itself (https://sqlite.org/lang_transaction.html, 2.3).
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    @contextmanager
    def _locked_file(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise _locked(self.path, "advisory lock") from error
                time.sleep(LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the connection; the last one checkpoints the WAL, so this too happens under the lock."""
        if self._lock is None:
            self.raw.close()
            return
        try:
            with self._locked_file():
                self.raw.close()
        finally:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _empty() -> SqliteUtils:
    from sqlite_utils import Database

    return Database(sqlite3.connect(":memory:"), recursive_triggers=False, execute_plugins=False)


def open_database(path: Path, *, synchronous: Synchronous = "NORMAL", read_only: bool = False) -> Connection:
    """Open a database file, making it and its folder (mode 0600 and 0700) when it is to be written.

    WAL, `synchronous` as given (FULL survives power loss for every commit, NORMAL survives kill -9), foreign keys on.
    A reader of a file that it may not write still gets what is there. Raises a StoreError.
    """
    path = Path(path)
    try:
        if read_only:
            return _open_reader(path)
        return _open_writer(path, synchronous)
    except (sqlite3.Error, OSError) as error:
        raise store_error(error, path) from error


def _open_writer(path: Path, synchronous: Synchronous) -> Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The database holds what was read from clusters: nobody else on the machine may read it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        raw = _connect(path, "rw")
        connection = Connection(path, raw, read_only=False, lock=lock)
        try:
            with connection._locked_file():
                _check_header(raw)
                raw.execute("PRAGMA journal_mode=WAL")
            raw.execute(f"PRAGMA synchronous={synchronous}")
            # What is deleted is overwritten, not only unlinked.
            raw.execute("PRAGMA secure_delete=ON")
        except BaseException:
            raw.close()
            raise
    except BaseException:
        os.close(lock)
        raise
    return connection


def _open_reader(path: Path) -> Connection:
    if not path.exists():
        raise StoreMissingError(f"There is no {path} yet.", "It appears with the first session.")
    raw = _connect(path, "ro")
    try:
        _check_header(raw)
    except sqlite3.OperationalError as error:
        raw.close()
        name = getattr(error, "sqlite_errorname", "")
        if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise
        # A WAL database in a folder that cannot be written has nowhere for its -shm file: with no writer possible
        # the file does not change, which is what `immutable` promises (https://sqlite.org/wal.html#readonly).
        raw = _connect(path, "ro&immutable=1")
        _check_header(raw)
    return Connection(path, raw, read_only=True, lock=None)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    raw = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    raw.row_factory = sqlite3.Row
    raw.execute("PRAGMA foreign_keys=ON")
    return raw


def _check_header(raw: sqlite3.Connection) -> None:
    # Reads page one, so that "not a database" is said here and not at the first use.
    raw.execute("PRAGMA schema_version").fetchone()
