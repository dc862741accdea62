"""The few Kubernetes protobuf messages that Go clients send even to a server that answers in JSON.

client-go's typed clients encode their requests as protobuf: access reviews, evictions and delete options are what a
recorded cluster gets. Field numbers: generated.proto of authorization/v1, policy/v1 and meta/v1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assistant.cluster.server.status import bad_request

MAGIC = b"k8s\x00"
MEDIA_TYPE = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its JSON name, and a message for the nested ones; plain ones are text unless `number`."""

    name: str
    message: Mapping[int, Field] | None = None
    number: bool = False
    repeated: bool = False


_PRECONDITIONS = {1: Field("uid"), 2: Field("resourceVersion")}
_DELETE = {
    1: Field("gracePeriodSeconds", number=True),
    2: Field("preconditions", _PRECONDITIONS),
    4: Field("propagationPolicy"),
    5: Field("dryRun", repeated=True),
}
_META = {
    1: Field("name"),
    2: Field("generateName"),
    3: Field("namespace"),
    5: Field("uid"),
    6: Field("resourceVersion"),
}
_NAMES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
_RESOURCE = {number: Field(name) for number, name in enumerate(_NAMES, 1)}
_PATH = {1: Field("path"), 2: Field("verb")}
_ASKED = {1: Field("resourceAttributes", _RESOURCE), 2: Field("nonResourceAttributes", _PATH)}
_SOMEBODY = {**_ASKED, 3: Field("user"), 4: Field("groups", repeated=True)}


def _object(spec: Mapping[int, Field]) -> Mapping[int, Field]:
    return {1: Field("metadata", _META), 2: Field("spec", spec)}


MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "DeleteOptions": _DELETE,
    "Eviction": {1: Field("metadata", _META), 2: Field("deleteOptions", _DELETE)},
    "SelfSubjectAccessReview": _object(_ASKED),
    "SelfSubjectRulesReview": _object({1: Field("namespace")}),
    "SelfSubjectReview": {1: Field("metadata", _META)},
    "SubjectAccessReview": _object(_SOMEBODY),
    "LocalSubjectAccessReview": _object(_SOMEBODY),
}


def decode(data: bytes) -> dict[str, Any] | None:
    """Return the object in a protobuf body, None for a kind that is not among MESSAGES. Raises ApiError 400."""
    if not data.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        meta: dict[str, Any] = {}
        raw = b""
        for number, value in _fields(data[len(MAGIC) :]):
            if number == 1 and isinstance(value, bytes):
                meta = _message(value, {1: Field("apiVersion"), 2: Field("kind")})
            elif number == 2 and isinstance(value, bytes):
                raw = value
        known = MESSAGES.get(str(meta.get("kind")))
        return None if known is None else {**meta, **_message(raw, known)}
    except (IndexError, ValueError) as error:
        raise bad_request(f"the protobuf body cannot be decoded: {error}") from error


def _message(data: bytes, fields: Mapping[int, Field]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for number, value in _fields(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.number != isinstance(value, int):
            raise ValueError(f"field {field.name} has the wrong wire type")
        shown: Any = value
        if isinstance(value, bytes):
            shown = value.decode() if field.message is None else _message(value, field.message)
        if field.repeated:
            made.setdefault(field.name, []).append(shown)
        elif shown != "":
            made[field.name] = shown
    return made


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers with whole numbers or bytes. Raises ValueError or IndexError for what is not protobuf."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field is longer than the message")
            yield number, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")
