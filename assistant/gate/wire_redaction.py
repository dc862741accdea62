"""Takes secret values out of answers on their way: whole bodies, watch streams line by line, env values in passing.

Fails closed: an answer about Secrets that cannot be read is withheld, never passed.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Final

from assistant.errors import ClusterError
from assistant.policy.api_path import ApiPath
from assistant.policy.limits import MAX_WATCH_LINE_BYTES
from assistant.policy.redact import Redactor
from assistant.policy.redact_text import sensitive_name

_KINDS: Final = {"secrets": "Secret", "configmaps": "ConfigMap"}
# Kinds with pod templates: too large to parse on the way, so only values of env variables are replaced in passing.
# fmt: off
_TEMPLATED: Final = frozenset(
    [
        "pods", "podtemplates", "replicationcontrollers", "deployments", "statefulsets", "daemonsets", "replicasets",
        "controllerrevisions", "jobs", "cronjobs",
    ]
)
# fmt: on
JSON_ONLY: Final = "application/json"


def parsed_kind(api: ApiPath | None) -> str:
    """Return the kind whose answers are read whole and redacted, "" for the others."""
    if api is None or api.group:
        return ""
    return _KINDS.get(api.resource, "")


def streamed_env(api: ApiPath | None) -> bool:
    """Say whether env values have to be replaced in this answer while it streams through."""
    return api is not None and api.resource in _TEMPLATED and api.sub not in ("log", "scale")


def json_accept(accept: str) -> str:
    """Return the Accept header with its JSON forms only: a form that we cannot read cannot be redacted."""
    kept = [part.strip() for part in accept.split(",") if part.strip().split(";")[0].strip() == JSON_ONLY]
    return ", ".join(kept) or JSON_ONLY


def withheld(why: str) -> ClusterError:
    """Return the error for an answer that is not passed on."""
    return ClusterError(f"The answer was withheld: {why}.", "Its secret values could not be taken out.")


def redact_body(redactor: Redactor, body: bytes, kind: str) -> bytes:
    """Return a JSON body without secret values, the same bytes when there were none. Raises ClusterError."""
    try:
        value = json.loads(body)
    except ValueError as error:
        raise withheld("it is not JSON") from error
    if not isinstance(value, dict):
        raise withheld("it is not an API object")
    clean, count = redactor.object(_with_kinds(value, kind), kind)
    return json.dumps(clean, separators=(",", ":"), ensure_ascii=False).encode() if count else body


def _with_kinds(value: dict[str, Any], kind: str) -> dict[str, Any]:
    # What lies under a Secret path is a Secret whatever it says of itself; a Status says so and has no data.
    own = str(value.get("kind") or "")
    if own in ("", "PartialObjectMetadata") or own.endswith("List") or own in ("Table", "Status", kind):
        return value
    if "data" in value or "stringData" in value:
        return {**value, "kind": kind}
    return value


class WatchRedactor:
    """Redacts a watch stream, one JSON document a line."""

    def __init__(self, redactor: Redactor, kind: str) -> None:
        self._redactor = redactor
        self._kind = kind
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be passed on after one more chunk. Raises ClusterError."""
        self._rest += chunk
        if len(self._rest) > MAX_WATCH_LINE_BYTES:
            raise withheld("one event is too large")
        *lines, self._rest = self._rest.split(b"\n")
        return b"".join(redact_body(self._redactor, line, self._kind) + b"\n" for line in lines if line.strip())

    def end(self) -> bytes:
        """Return the last line, if the stream ended without a newline."""
        rest, self._rest = self._rest, b""
        return redact_body(self._redactor, rest, self._kind) if rest.strip() else b""


# Begins with a literal, which the matcher finds fast; the backslash before the quote tells the nested form.
_START: Final = re.compile(rb'"name(\\?)"\s*:\s*\1"([A-Za-z_][\w.\-]{0,200})\1"\s*,\s*\1"value\1"\s*:\s*\1"')
_END: Final = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)
# The same inside a JSON text inside JSON (last-applied annotation): every quote and backslash is escaped once more.
_END_NESTED: Final = re.compile(rb'(?:[^"\\]|\\\\(?:\\\\|\\"|[^"\\])|\\[^"\\])*\\"', re.DOTALL)
_TAIL: Final = 512


class EnvRedactor:
    """Replaces values of env variables with sensitive names in a JSON byte stream, without parsing or holding it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be passed on after one more chunk."""
        return self._run(self._rest + chunk, last=False)

    def end(self) -> bytes:
        """Return what was held back. A value whose end never came is dropped."""
        return self._run(self._rest, last=True)

    def _run(self, data: bytes, *, last: bool) -> bytes:
        done: list[bytes] = []
        position = 0
        self._rest = b""
        while match := _START.search(data, position):
            nested = bool(match.group(1))
            close = (_END_NESTED if nested else _END).match(data, match.end())
            if close is None:
                done.append(data[position : match.start()])
                if len(data) - match.start() > MAX_WATCH_LINE_BYTES:
                    raise withheld("one value is too large")
                self._rest = b"" if last else data[match.start() :]
                return b"".join(done)
            quote = 2 if nested else 1
            value = data[match.end() : close.end() - quote]
            done.append(data[position : match.end()])
            done.append(_env_value(self._redactor, match.group(2), value))
            done.append(data[close.end() - quote : close.end()])
            position = close.end()
        cut = len(data) if last else max(position, len(data) - _TAIL)
        done.append(data[position:cut])
        self._rest = data[cut:]
        return b"".join(done)


# Shorter than any value that a pattern without a telling name could find.
_PLAIN_BYTES: Final = 8


@lru_cache(maxsize=16384)
def _env_value(redactor: Redactor, name: bytes, value: bytes) -> bytes:
    # Replicas repeat their environment: without the cache a large list of pods costs minutes of matching.
    text = value.decode(errors="surrogateescape")
    if not text or text.startswith("$("):
        return value
    if sensitive_name(name.decode()):
        return redactor.mark("env", text).encode()
    if len(value) < _PLAIN_BYTES:
        return value
    clean, count = redactor.text(text)
    return clean.encode(errors="surrogateescape") if count else value
