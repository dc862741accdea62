"""What the session and the process that speaks to models say to each other: one JSON line each, the same both ways.

To the process: its settings, then `{"call": id, "messages", "tools", "seconds"}` and `{"cancel": id}`. From it:
`{"ready": true}`, then for each call any number of `text`, `tell` and `wait`, and one `reply` or `error` at its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from agents.model.types import Bounds, Endpoint, Message, ModelCallError, Reply

LINE_BYTES: Final = 8 * 1024 * 1024
"""Of one line. An answer within its bounds takes a tenth of it, however it is escaped."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Whom the process asks. Holds keys, so it goes over standard input and is never logged."""

    endpoints: tuple[Endpoint, ...]
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Call:
    """A call to be made; the process knows it by its number."""

    number: int
    messages: Sequence[Message]
    tools: Sequence[Message]
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this call any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Text:
    """A part of an answer, as it comes."""

    part: str


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence about whom is asked instead."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Why nothing is asked, and for how long."""

    why: str
    seconds: float


Request: TypeAlias = Call | Cancel
Event: TypeAlias = Text | Told | Waits | Reply | ModelCallError


def settings_value(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON has them."""
    value = msgspec.to_builtins(settings)
    assert isinstance(value, dict)  # noqa: S101 - for the type checker
    return value


def read_settings(line: bytes) -> Settings:
    """Return the settings of a line. Raises ValueError, which repeats nothing of it."""
    try:
        settings = msgspec.convert(json.loads(line), Settings)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the settings cannot be read ({type(error).__name__})") from None
    if not settings.endpoints:
        raise ValueError("the settings name no endpoint")
    return settings


def request_line(request: Request) -> bytes:
    """Return a request as a line."""
    if isinstance(request, Cancel):
        return _line({"cancel": request.number})
    seconds = request.seconds if math.isfinite(request.seconds) else None
    messages, tools = [dict(each) for each in request.messages], [dict(each) for each in request.tools]
    return _line({"call": request.number, "messages": messages, "tools": tools, "seconds": seconds})


def read_request(line: bytes) -> Request:
    """Return the request of a line. Raises ValueError for anything else."""
    match _value(line):
        case {"cancel": int(number)}:
            return Cancel(number)
        case {"call": int(number), "messages": list(messages), "tools": list(tools), "seconds": seconds}:
            return Call(number, messages, tools, math.inf if seconds is None else float(seconds))
    raise ValueError("a line is no request")


def event_line(number: int, event: Event) -> bytes:
    """Return an event of a call as a line."""
    match event:
        case Text():
            said: Mapping[str, Any] = {"text": event.part}
        case Told():
            said = {"tell": event.sentence}
        case Waits():
            said = {"wait": event.why, "seconds": event.seconds}
        case Reply():
            said = {"reply": msgspec.to_builtins(event)}
        case ModelCallError():
            said = {
                "error": type(event).__name__, "meaning": event.meaning, "hint": event.hint, "detail": event.detail,
                "said": event.said,
            }  # fmt: skip
    return _line({"id": number, **said})


def read_event(line: bytes) -> tuple[int, Event]:
    """Return the call and its event. Raises ValueError for anything else."""
    match _value(line):
        case {"id": int(number), "text": str(part)}:
            return number, Text(part)
        case {"id": int(number), "tell": str(sentence)}:
            return number, Told(sentence)
        case {"id": int(number), "wait": str(why), "seconds": int() | float() as seconds}:
            return number, Waits(why, float(seconds))
        case {"id": int(number), "reply": dict(reply)}:
            return number, msgspec.convert(reply, Reply)  # its ValidationError is a ValueError
        case {
            "id": int(number), "error": str(name), "meaning": str(meaning), "hint": str(hint), "detail": str(detail),
            "said": str(said),
        }:  # fmt: skip
            return number, ERRORS.get(name, ModelCallError)(meaning, hint, detail=detail, said=said)
    raise ValueError("a line is no event")


def _line(value: Mapping[str, Any]) -> bytes:
    # ASCII: half of a character, which a cluster's text may hold, has no other way through.
    return json.dumps(value, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("a line is nested too deeply") from None


def _kinds(kind: type[ModelCallError]) -> Iterator[type[ModelCallError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


ERRORS: Final[Mapping[str, type[ModelCallError]]] = {kind.__name__: kind for kind in _kinds(ModelCallError)}
"""All that may cross, by name."""
