"""Where the workflow keeps its place: a SQLite file of its own, a cache for resuming and never the truth.

A checkpoint can name code to rebuild objects with, so a file that is not ours is not opened.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from assistant.errors import StoreError

APPLICATION_ID: Final = 0x50494C43
"""Stands in the header of every checkpoint file that we made ("PILC")."""

MAGIC: Final = b"SQLite format 3\x00"


async def open_checkpoints(path: Path | None) -> AsyncSqliteSaver:
    """Open the file, making it with mode 0600; None keeps checkpoints in memory, for a session that is not recorded.

    Raises StoreError for a file that is not ours or cannot be used.
    """
    try:
        if path is not None:
            _own(path)
        connection = await aiosqlite.connect(path or ":memory:")
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The file {path} for resuming cannot be used.", "Check its folder, or remove it.", detail=str(error)
        ) from error
    try:
        # An empty allow-list: plain types only, whatever the file says.
        saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=[]))
        await saver.setup()
        await connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        await connection.close()
        raise StoreError(
            f"The file {path} for resuming cannot be used.", "Check its folder, or remove it.", detail=str(error)
        ) from error
    return saver


def _own(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        head = os.pread(handle, 100, 0)
        foreign = os.fstat(handle).st_uid != os.getuid()
        if not foreign:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    # The header is read as bytes: SQLite itself must not see a file that somebody else made.
    if foreign or (head and (head[:16] != MAGIC or int.from_bytes(head[68:72], "big") != APPLICATION_ID)):
        raise StoreError(
            f"{path} is not a file that Pilothouse made, so it was not opened.",
            "Move it away; sessions stay as they are.",
        )
    if not head:
        made = sqlite3.connect(path)
        try:
            made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            made.execute("PRAGMA journal_mode = WAL")
            made.commit()
        finally:
            made.close()
