"""Where the workflow keeps its place: a SQLite file of its own, a cache for resuming and never the truth.

A checkpoint can name code to rebuild objects with, so a file that is not ours is not opened. Secrets are taken out of
every text before it is written: what a mind found is as raw as the cluster gave it.
"""

from __future__ import annotations

import os
import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Send

from assistant.errors import StoreError
from assistant.policy.redact import redact_text

APPLICATION_ID: Final = 0x50494C43
"""Stands in the header of every checkpoint file that we made ("PILC")."""

SHORTEST_SECRET: Final = 8
MAGIC: Final = b"SQLite format 3\x00"


class Scrubbing(JsonPlusSerializer):
    """Writes no secret. A change that held one cannot be proposed from a checkpoint: the gate refuses placeholders.

    Only texts change; keys, numbers and the shape stay, so that resuming finds its place.
    """

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the type and the bytes of an object without secrets."""
        return super().dumps_typed(_scrubbed(obj))


def _scrubbed(value: Any) -> Any:
    match value:
        case str():
            return _clean(value) if len(value) >= SHORTEST_SECRET else value
        case dict():
            return {key: _scrubbed(item) for key, item in value.items()}
        case list():
            return [_scrubbed(item) for item in value]
        case tuple() if type(value) is tuple:
            return tuple(_scrubbed(item) for item in value)
        case Send():
            return Send(value.node, _scrubbed(value.arg))
        case _:
            return value


@lru_cache(maxsize=2048)  # every step of the workflow writes the whole state again
def _clean(text: str) -> str:
    return redact_text(text)[0]


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
        saver = AsyncSqliteSaver(connection, serde=Scrubbing(allowed_msgpack_modules=[]))
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
