"""Recordings: a session as JSON lines. Somebody else's recording is data, read strictly and within limits.

Lines: a header, then events in order, each body before the first event that refers to it, then an end line.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from assistant.domain import event as ev
from assistant.errors import RecordingError, StoreError
from assistant.store import bodies
from assistant.store.chain import GENESIS, digest, link
from assistant.store.index import SESSION_ID
from assistant.wire import event_from_builtins, to_builtins

FORMAT: Final = "pilothouse-recording"
FORMAT_VERSION: Final = 1
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
MAX_TOTAL_BYTES: Final = 1024 * 1024 * 1024
MAX_EVENTS: Final = 1_000_000
PACK_ABOVE_BYTES: Final = 2000
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Recording:
    """A session that can be replayed. `cut` says why it ends before its end, "" when it is whole.

    `bodies` maps SHA-256 to packed text; `text` unpacks one. `head` is the hash of the last event read.
    """

    session: str
    app_version: str
    exported_at: datetime
    events: tuple[ev.Event, ...]
    head: str
    cut: str = ""
    bodies: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def body(self, sha256: str) -> str:
        """Return a text that an event names. Raises RecordingError when the recording does not have it."""
        if sha256 not in self.bodies:
            raise RecordingError(
                f"The text {sha256[:12]} is not in this recording.", "It was exported without it, or the file was cut."
            )
        size_bytes, packed = self.bodies[sha256]
        try:
            return bodies.unpack(packed, size_bytes, sha256)
        except ValueError as error:
            raise RecordingError(
                f"The text {sha256[:12]} of this recording is damaged.",
                "Ask for the recording again.",
                detail=str(error),
            ) from error


def export_lines(
    events: Iterable[ev.Event], body: Callable[[str], str], *, app_version: str, exported_at: datetime
) -> Iterator[bytes]:
    """Yield the lines of a recording, each ended by a newline. `body` returns the text for a SHA-256.

    A body that is not there (StoreError, RecordingError) is left out; its events stay.
    """
    events = tuple(events)
    session = events[0].session if events else ""
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "app_version": app_version,
        "exported_at": to_builtins(exported_at),
        "session": session,
        "events": len(events),
    }
    yield _line(header)
    prev, done = GENESIS, set[str]()
    for event in events:
        for sha256 in bodies.named_by(event.payload):
            if sha256 in done:
                continue
            done.add(sha256)
            try:
                yield _line(_body_line(sha256, body(sha256)))
            except (StoreError, RecordingError) as error:
                yield _line({"missing_body": sha256, "why": error.meaning})
        made = link(event, prev)
        prev = made.hash
        value = {"seq": made.seq, "at": made.at, "kind": made.kind, "data": msgspec.Raw(made.data.encode())}
        yield _line(value | {"hash": made.hash})
    yield _line({"end": True, "events": len(events), "head": prev})


def export_file(
    path: Path, events: Iterable[ev.Event], body: Callable[[str], str], *, app_version: str, exported_at: datetime
) -> None:
    """Write a recording; gzipped when the name ends in .gz. Raises RecordingError when it cannot be written."""
    try:
        with ExitStack() as stack:
            # A partial file never stands under the final name.
            partial = path.with_name(path.name + ".part")
            out: IO[bytes] = stack.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                out = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", fileobj=out, mtime=0)))
            for line in export_lines(events, body, app_version=app_version, exported_at=exported_at):
                out.write(line)
        partial.replace(path)
    except OSError as error:
        raise RecordingError(f"{path} cannot be written.", "Choose another place.", detail=str(error)) from error


def read_file(path: Path) -> Recording:
    """Read a recording (.jsonl or .jsonl.gz). Raises RecordingError with the line number of the first fault."""
    try:
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            if magic == b"\x1f\x8b":
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    return read_lines(cast("IO[bytes]", unzipped))
            return read_lines(raw)
    except IsADirectoryError as error:
        raise RecordingError(f"{path} is a folder, not a recording.", "Give a .jsonl file.") from error
    except FileNotFoundError as error:
        raise RecordingError(f"There is no file {path}.", "Give a .jsonl file or the id of a session.") from error
    except OSError as error:
        raise RecordingError(f"{path} cannot be read.", "Check the file.", detail=str(error)) from error


def read_lines(source: IO[bytes]) -> Recording:
    """Read a recording from a binary stream; a cut one gives what stands before the cut."""
    reader = _Reader()
    total = 0
    number = 0
    while not reader.ended:
        try:
            line = source.readline(MAX_LINE_BYTES + 1)
        except (EOFError, zlib.error):
            reader.cut = f"the file is cut after line {number}"
            break
        if not line:
            break
        number += 1
        total += len(line)
        if len(line) > MAX_LINE_BYTES or total > MAX_TOTAL_BYTES:
            raise _fault(number, "it is larger than a recording may be")
        if not line.endswith(b"\n"):
            reader.cut = f"line {number} is cut"
            break
        reader.take(number, line)
    return reader.result()


class _Reader:
    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.events: list[ev.Event] = []
        self.bodies: dict[str, tuple[int, bytes]] = {}
        self.body_bytes = 0
        self.prev = GENESIS
        self.ended = False
        self.cut = ""

    def take(self, number: int, line: bytes) -> None:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _fault(number, "it is not JSON", str(error)) from error
        if not isinstance(value, dict):
            raise _fault(number, "it is not a JSON object")
        if self.header is None:
            self._header(number, value)
        elif "kind" in value:
            self._event(number, value, line)
        elif "body" in value:
            self._body(number, value)
        elif "missing_body" in value:
            return
        elif value.get("end") is True:
            if value.get("events") != len(self.events) or value.get("head") != self.prev:
                raise _fault(number, f"it ends {value.get('events')!r} events, but {len(self.events)} were read")
            self.ended = True
        else:
            raise _fault(number, "it is neither an event nor a body")

    def _header(self, number: int, value: dict[str, Any]) -> None:
        if value.get("format") != FORMAT:
            raise RecordingError(
                "This is not a recording of Pilothouse.",
                "Make one with `pilothouse sessions export ID`.",
                detail="line 1",
            )
        version = value.get("version")
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise RecordingError(
                f"This recording has format version {version!r}, this Pilothouse reads up to {FORMAT_VERSION}.",
                "Update Pilothouse.",
            )
        session = value.get("session")
        if not isinstance(session, str) or not SESSION_ID.fullmatch(session):
            raise _fault(number, "the session id is not one")
        try:
            value["exported_at"] = msgspec.convert(value.get("exported_at"), type=datetime)
            value["app_version"] = msgspec.convert(value.get("app_version"), type=str)
        except msgspec.ValidationError as error:
            raise _fault(number, "the header is incomplete", str(error)) from error
        self.header = value

    def _event(self, number: int, value: dict[str, Any], line: bytes) -> None:
        assert self.header is not None  # noqa: S101 - take() reads the header first
        if len(self.events) >= MAX_EVENTS:
            raise _fault(number, f"there are more than {MAX_EVENTS} events")
        session = str(self.header["session"])
        try:
            event = event_from_builtins(value | {"session": session})
        except (ValueError, TypeError) as error:
            raise _fault(number, "the event is not one that this version knows", str(error)) from error
        if event.at.utcoffset() != timedelta(0):
            raise _fault(number, "its time is not UTC")
        if event.seq != len(self.events) + 1:
            raise _fault(number, f"event {len(self.events) + 1} is missing")
        data = bytes(msgspec.json.decode(line, type=_Data).data).decode("utf-8", "replace")
        own = digest(self.prev, session, event.seq, str(value["at"]), str(value["kind"]), data)
        if own != value.get("hash"):
            raise _fault(number, f"event {event.seq} has been changed since it was written")
        self.prev = own
        self.events.append(event)

    def _body(self, number: int, value: dict[str, Any]) -> None:
        try:
            body = msgspec.convert(value, type=_Body)
            packed = bodies.pack(body.text.encode()) if body.text else base64.b64decode(body.zlib, validate=True)
        except (ValueError, TypeError) as error:
            raise _fault(number, "the body is not one", str(error)) from error
        self.body_bytes += body.size_bytes
        if not _SHA256.fullmatch(body.body) or not 0 <= body.size_bytes <= bodies.MAX_BODY_BYTES:
            raise _fault(number, "the body has no proper hash or is too large")
        if self.body_bytes > MAX_TOTAL_BYTES:
            raise _fault(number, "the bodies are larger than a recording may be")
        self.bodies[body.body] = (body.size_bytes, packed)

    def result(self) -> Recording:
        if self.header is None:
            raise RecordingError("The file is empty.", "Make a recording with `pilothouse sessions export ID`.")
        expected = self.header.get("events")
        cut = self.cut
        if not self.ended:
            cut = f"{cut or 'the file has no end line'}: {len(self.events)} of {expected} events are here"
        return Recording(
            str(self.header["session"]), self.header["app_version"], self.header["exported_at"], tuple(self.events),
            self.prev, cut, self.bodies,
        )  # fmt: skip


class _Data(msgspec.Struct):
    data: msgspec.Raw


class _Body(msgspec.Struct):
    body: str
    size_bytes: int
    text: str = ""
    zlib: str = ""


def _body_line(sha256: str, text: str) -> dict[str, Any]:
    data = bodies.encoded(text)
    value: dict[str, Any] = {"body": sha256, "size_bytes": len(data)}
    if len(data) <= PACK_ABOVE_BYTES:
        return value | {"text": data.decode()}
    return value | {"zlib": base64.b64encode(zlib.compress(data, 9)).decode()}


def _line(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _fault(number: int, why: str, detail: str = "") -> RecordingError:
    return RecordingError(
        f"Line {number} of the recording cannot be used: {why}.", "Ask for the recording again.", detail=detail
    )
