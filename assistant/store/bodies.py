"""Texts that events name, kept once by content. Apart, because recordings carry them too."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from typing import Final

from assistant.domain import event as ev
from assistant.store.sqlite import Connection, StoreDamagedError

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
LARGE_BODY_BYTES: Final = 1024 * 1024


def body_key(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 form as hex; lone surrogates count as U+FFFD, as they are stored."""
    return hashlib.sha256(encoded(text)).hexdigest()


def named_by(payload: ev.Payload) -> tuple[str, ...]:
    """Return the SHA-256 of every text that an event names: what evidence stands in, what a model was sent and said."""
    match payload:
        case ev.EvidenceAdded():
            named: tuple[str, ...] = (payload.evidence.body,)
        case ev.ModelCalled():
            named = (payload.prompt_digest, payload.reply_digest)
        case _:
            return ()
    return tuple(sha256 for sha256 in named if sha256)


def encoded(text: str) -> bytes:
    """Return the bytes that are stored for a text."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def pack(data: bytes) -> bytes:
    """Compress; large bodies at the quickest level, because the writer must not fall behind."""
    return zlib.compress(data, 1 if len(data) > LARGE_BODY_BYTES else 6)


def unpack(packed: bytes, size_bytes: int, sha256: str) -> str:
    """Undo `pack` within `size_bytes`. Raises ValueError when size or hash differ from what was promised."""
    if not 0 <= size_bytes <= MAX_BODY_BYTES:
        raise ValueError(f"a body of {size_bytes} bytes is not accepted")
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, size_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"the body cannot be decompressed: {error}") from error
    if len(data) != size_bytes:
        raise ValueError("the body has another size than its record says")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("the body does not match its hash")
    return data.decode("utf-8", "replace")


def put(raw: sqlite3.Connection, session: str, sha256: str, text: str) -> None:
    """Store a body once and note that the session uses it; inside the caller's transaction."""
    if not raw.execute("select 1 from bodies where sha256 = ?", (sha256,)).fetchone():
        data = encoded(text)
        raw.execute("insert into bodies(sha256, size_bytes, zlib) values (?, ?, ?)", (sha256, len(data), pack(data)))
    raw.execute("insert or ignore into session_bodies(session, sha256) values (?, ?)", (session, sha256))


def get(connection: Connection, sha256: str) -> str | None:
    """Return a stored body, None when there is none. Raises StoreDamagedError when it does not match its hash."""
    rows = connection.query("select size_bytes, zlib from bodies where sha256 = ?", (sha256,))
    if not rows:
        return None
    try:
        return unpack(bytes(rows[0]["zlib"]), int(rows[0]["size_bytes"]), sha256)
    except ValueError as error:
        raise StoreDamagedError(
            f"The stored text {sha256[:12]} is damaged.",
            "The events that cite it can still be read.",
            detail=str(error),
        ) from error
