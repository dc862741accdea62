"""Takes secret values out of answers on their way: whole bodies, watch streams line by line, env values in passing.

Fails closed: an answer about Secrets that cannot be read is withheld, never passed.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Final

import msgspec

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


# Begins with a literal, which the matcher finds fast. The backslashes before the quote tell how deep the pair lies in
# JSON texts inside JSON (0 in the object, 1 in a last-applied annotation, 3 in a copy inside that, and so on). The last
# group takes plain values, nearly all there are, whole; without it the value has escapes or its end is not here yet.
_PAIR: Final = re.compile(
    rb'"name(\\{0,15}+)"\s{0,99}+:\s{0,99}+\1"([^"\\]{1,512}+)\1"\s{0,99}+,\s{0,99}+\1"value\1"\s{0,99}+:\s{0,99}+\1"'
    rb'(?:([^"\\]*+)\1")?'
)
_QUOTE: Final = re.compile(rb'(\\*+)"')
# A list of variables as the API server writes it. What is found is a guess until `Seen.block` has read it as JSON.
_ENV: Final = b'"env":['
_ENV_END: Final = b"}]"
_BLOCK_BYTES: Final = 262_144
# Stands for: this is no whole list, so look at it pair by pair.
_OPEN: Final = b""
# More than a pair can take up to the beginning of its value.
_TAIL: Final = 1536


class EnvRedactor:
    """Replaces values of env variables with sensitive names in a JSON byte stream, without parsing or holding it.

    `seen` is shared by the streams of one gate: the pods of a workload have the same environment, so nearly every list
    of variables was judged before and costs one look-up. What lies between those lists is searched for pairs only where
    it holds a `value` at all.
    """

    def __init__(self, redactor: Redactor, seen: Seen | None = None) -> None:
        self._seen = seen if seen is not None else Seen(redactor)
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be passed on after one more chunk. Raises ClusterError for a value without an end."""
        return self._run(self._rest + chunk if self._rest else chunk, last=False)

    def end(self) -> bytes:
        """Return what was held back. A value whose end never came is dropped."""
        return self._run(self._rest, last=True)

    def _run(self, data: bytes, *, last: bool) -> bytes:
        done: list[bytes] = []
        copied = position = 0
        while (start := data.find(_ENV, position)) >= 0:
            copied, _, unclosed = self._seen.pairs(data, position, start, done, copied)
            end = data.find(_ENV_END, start) + len(_ENV_END)
            if unclosed >= 0 or (end < len(_ENV_END) and (last or len(data) - start > _BLOCK_BYTES)):
                break
            if end < len(_ENV_END):
                return self._hold(data, start, copied, done)
            block = data[start:end]
            verdict = self._seen.block(block)
            if verdict is _OPEN:
                position = start + len(_ENV)
                continue
            if verdict is not None:
                done += (data[copied:start], verdict)
                copied = end
            position = end
        copied, read, unclosed = self._seen.pairs(data, max(position, copied), len(data), done, copied)
        if unclosed >= 0:
            if len(data) - unclosed > MAX_WATCH_LINE_BYTES:
                raise withheld("one value is too large")
            return self._hold(data, unclosed, copied, done, drop=last)
        return self._hold(data, len(data) if last else max(read, len(data) - _TAIL), copied, done)

    def _hold(self, data: bytes, cut: int, copied: int, done: list[bytes], *, drop: bool = False) -> bytes:
        self._rest = b"" if drop else data[cut:]
        return b"".join((*done, data[copied:cut]))


def _closing(data: bytes, start: int, stop: int, depth: int) -> int:
    """Return where the quote with its `depth` backslashes stands that ends the value at `start`; -1 for none.

    A quote after r backslashes ends a string of this depth when r mod 2(depth+1) is depth. Anything less escaped ends
    a string further out, and this value with it.
    """
    for quote in _QUOTE.finditer(data, start, stop):
        run = len(quote.group(1))
        if run % (2 * depth + 2) == depth:
            return quote.end() - 1 - depth
        if (run + 1) % (depth + 1):
            return quote.start()
    return -1


# $(NAME) stands for another variable, whose own value was judged where it is set.
_REFERENCE: Final = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_.-]*\)")
# Shorter than any value that a pattern without a telling name could find.
_PLAIN_BYTES: Final = 8
_KEPT_BYTES: Final = 16_777_216
_KEPT_EACH_BYTES: Final = 65_536


class Seen:
    """What became of each pair and of each list of variables: the new bytes, or None where they stay as they are."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kept: dict[bytes, bytes | None] = {}
        self.kept_bytes = 0

    def block(self, block: bytes) -> bytes | None:
        """Return the verdict on a list of variables, `_OPEN` when the bytes are no whole list."""
        try:
            return self._kept[block]
        except KeyError:
            pass
        verdict: bytes | None = _OPEN
        with suppress(ValueError):
            # Only what is whole by itself may be judged by itself: a value can hold the end that was looked for.
            msgspec.json.decode(b"{" + block + b"}")
            done: list[bytes] = []
            copied, _, unclosed = self.pairs(block, 0, len(block), done, 0)
            if unclosed < 0:
                verdict = b"".join((*done, block[copied:])) if done else None
        self._keep(block, verdict)
        return verdict

    def pairs(self, data: bytes, start: int, stop: int, done: list[bytes], copied: int) -> tuple[int, int, int]:
        """Judge the pairs between `start` and `stop`: new values go to `done`, with what stands before them.

        Returns up to where `data` was copied, up to where it was judged, and where a pair begins whose end is not
        there, -1 for none.
        """
        read = start
        if data.find(b'"value', start, stop) < 0:
            return copied, read, -1
        for match in _PAIR.finditer(data, start, stop):
            if match.start() < read:
                continue  # inside a value that was judged whole
            if match.end(3) < 0:
                close = _closing(data, match.end(), stop, len(match.group(1)))
                if close < 0:
                    return copied, read, match.start()
                read = close
                clean = self.value(match.group(2), data[match.end() : close])
                if clean is not None:
                    done += (data[copied : match.end()], clean)
                    copied = close
                continue
            read = match.end()
            pair = match.group()
            try:
                verdict = self._kept[pair]
            except KeyError:
                verdict = self.judge(match)
            if verdict is not None:
                done += (data[copied : match.start()], verdict)
                copied = read
        return copied, read, -1

    def judge(self, match: re.Match[bytes]) -> bytes | None:
        """Return the verdict on a plain pair and keep it."""
        pair = match.group()
        clean = self.value(match.group(2), match.group(3))
        head, tail = match.end(3) - match.start(), match.start(3) - match.start()
        verdict = None if clean is None else pair[:tail] + clean + pair[head:]
        self._keep(pair, verdict)
        return verdict

    def _keep(self, key: bytes, verdict: bytes | None) -> None:
        size = len(key) + len(verdict or b"") + 200
        if size > _KEPT_EACH_BYTES:
            return
        if self.kept_bytes + size > _KEPT_BYTES:
            self._kept.clear()
            self.kept_bytes = 0
        self._kept[key] = verdict
        self.kept_bytes += size

    def value(self, name: bytes, value: bytes) -> bytes | None:
        """Return what stands in a value's place, None for the value itself."""
        text = value.decode(errors="surrogateescape")
        if not text or _REFERENCE.fullmatch(text):
            return None
        if sensitive_name(name.decode(errors="replace")):
            return self._redactor.mark("env", text).encode()
        if len(value) < _PLAIN_BYTES:
            return None
        clean, count = self._redactor.text(text)
        return clean.encode(errors="surrogateescape") if count else None
