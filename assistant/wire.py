"""The JSON form of the domain types, for the store, the control API and recordings. Apart, because domain is pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from assistant.domain.event import KINDS, NAMES, Event, Payload

T = TypeVar("T")


def to_builtins(value: object) -> Any:
    """Return `value` as plain JSON types (datetimes become RFC 3339 text, tuples lists, enums their value)."""
    # Not msgspec.to_builtins: that leaves tuples as they are, which are no JSON type and no list to whoever adds to it.
    return msgspec.json.decode(msgspec.json.encode(value))


def encode(value: object) -> bytes:
    """Return `value` as JSON bytes."""
    return msgspec.json.encode(value)


def decode(kind: type[T], data: bytes | str) -> T:
    """Read JSON into a domain type. Raises msgspec.ValidationError (a ValueError) with the path of the first fault."""
    return msgspec.json.decode(data, type=kind)


def convert(kind: type[T], value: Any) -> T:
    """Turn plain JSON types into a domain type. Raises msgspec.ValidationError."""
    return msgspec.convert(value, type=kind)


def payload_to_builtins(payload: Payload) -> dict[str, Any]:
    """Return `{"kind": …, "data": {…}}`."""
    return {"kind": NAMES[type(payload)], "data": msgspec.to_builtins(payload)}


def payload_from_builtins(value: dict[str, Any]) -> Payload:
    """Read what `payload_to_builtins` wrote. Raises ValueError for an unknown kind or a wrong shape."""
    kind = KINDS.get(str(value.get("kind")))
    if kind is None:
        raise ValueError(f"unknown event kind {value.get('kind')!r}")
    return msgspec.convert(value.get("data"), type=kind)


def event_to_builtins(event: Event) -> dict[str, Any]:
    """Return one event as plain JSON types: session, seq, at, kind, data."""
    return {
        "session": event.session,
        "seq": event.seq,
        "at": msgspec.to_builtins(event.at),
        **payload_to_builtins(event.payload),
    }


def event_from_builtins(value: dict[str, Any]) -> Event:
    """Read one event. Raises ValueError (msgspec.ValidationError) for anything that is not one."""
    head = msgspec.convert({k: value.get(k) for k in ("session", "seq", "at")}, type=_Head)
    return Event(head.session, head.seq, head.at, payload_from_builtins(value))


class _Head(msgspec.Struct):
    session: str
    seq: int
    at: datetime
