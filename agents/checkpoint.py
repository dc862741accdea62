"""Where the workflow's position survives a crash: a SQLite file a session. A cache for resuming, never the truth.

One file a session, because two processes with one file would need the locking that the session store has, and because
throwing a session's cache away is then deleting a file.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from assistant.errors import StoreError

APPLICATION_ID: Final = 0x50494C54
"""`PILT` at byte 68 of the file (https://sqlite.org/fileformat.html#application_id): written by us."""
HEADER_BYTES: Final = 100


@asynccontextmanager
async def checkpointer(folder: Path, session: str) -> AsyncIterator[AsyncSqliteSaver]:
    """Open the session's checkpoint file. Raises StoreError for a file that we did not write: it is never opened."""
    path = folder / f"{session}.db"
    _prepare(path)
    async with aiosqlite.connect(path) as connection:
        await connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # Strict by argument as well as by environment: an empty list allows no class at all.
        yield AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=[]))


def forget(folder: Path, session: str) -> None:
    """Throw the checkpoints of a session away; it can then be read and replayed, but an open turn not resumed."""
    for ending in ("", "-wal", "-shm", "-journal"):
        (folder / f"{session}.db{ending}").unlink(missing_ok=True)


def _prepare(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise StoreError(
            f"The workflow's position cannot be kept in {path}.", "Check the state directory.", detail=str(error)
        ) from error
    if header and (len(header) < HEADER_BYTES or int.from_bytes(header[68:72], "big") != APPLICATION_ID):
        raise StoreError(
            f"{path} was not written by Pilothouse, so it is not opened.", "Move it away; it is only a cache."
        )
