"""Gathers a streamed answer within its bounds, and makes the whole of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.model.types import Bounds, Endpoint, Message, ModelRequestError, Reply, ToolCall
from assistant.domain.ports import Clock

MOST_LEVELS: Final = 40


@dataclass(slots=True)
class Noted:
    """What the provider's own chunks say and LiteLLM's do not: who answered, and whether usage was told.

    LiteLLM (1.97) puts the wanted model's name into each chunk, counts tokens itself where none are told, and ends a
    stream that just stops with finish_reason `stop`.
    """

    model: str = ""
    usage: bool = False

    @classmethod
    def of(cls, stream: Any) -> Noted:
        """Listen to a stream; where it has none inside, nothing is noted."""
        noted, inner = cls(), getattr(stream, "completion_stream", None)
        if hasattr(inner, "__aiter__"):
            stream.completion_stream = _Listening(inner, noted)
        return noted

    def finished(self, stream: Any) -> bool:
        """Say whether the provider said that its answer is whole."""
        reason = getattr(stream, "received_finish_reason", None) or getattr(stream, "intermittent_finish_reason", None)
        return bool(reason)


class _Listening:
    """Another iterator's chunks, looked at as they pass; closing it closes the other."""

    def __init__(self, inner: Any, noted: Noted) -> None:
        self._inner = inner
        self._chunks = aiter(inner)
        self._noted = noted

    def __aiter__(self) -> _Listening:
        return self

    async def __anext__(self) -> Any:
        chunk, noted = await anext(self._chunks), self._noted
        name = getattr(chunk, "model", None)
        noted.model = name if isinstance(name, str) and name else noted.model
        noted.usage = noted.usage or getattr(chunk, "usage", None) is not None
        return chunk

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None) or getattr(self._inner, "close", None)
        if close is not None:
            await close()


@dataclass(slots=True)
class Gathered:
    """One answer as it comes in."""

    endpoint: Endpoint
    bounds: Bounds
    clock: Clock
    tries: int
    waited: float
    text: str = ""
    cut: str = ""
    began: float = field(init=False)
    first: float = 0.0
    _chunks: list[Any] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _calls: set[int] = field(default_factory=set)
    _size: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self.began = self.clock.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return self.clock.monotonic() - self.began

    @property
    def begun(self) -> bool:
        """Say whether anything of the answer has come."""
        return self._size > 0 or bool(self._calls)

    def add(self, chunk: Any) -> str:
        """Take a chunk; returns its text. Sets `cut` where a bound is reached."""
        self._chunks.append(chunk)
        choices = getattr(chunk, "choices", None) or []
        delta = getattr(choices[0], "delta", None) if choices else None
        part = getattr(delta, "content", None) or ""
        for call in getattr(delta, "tool_calls", None) or []:
            self._calls.add(int(getattr(call, "index", 0) or 0))
            self._size += len(getattr(getattr(call, "function", None), "arguments", None) or "")
        if part:
            self.text += part
            self._size += len(part)
        if self.begun and not self.first:
            self.first = self.seconds
        if self._size > self.bounds.characters:
            self.cut = f"longer than {self.bounds.characters} characters"
        elif len(self._calls) > self.bounds.tool_calls:
            self.cut = f"more than {self.bounds.tool_calls} tool calls"
        return part

    def reply(self, library: Any, noted: Noted, messages: Sequence[Message], tools: Sequence[Message]) -> Reply:
        """Return the whole answer. Raises ModelRequestError where the chunks make none."""
        try:
            whole = library.stream_chunk_builder(self._chunks, messages=list(messages))
            message = whole.choices[0].message
        except Exception as error:
            raise ModelRequestError(
                f"{self.endpoint.place} sent an answer that cannot be put together.", "Ask again.",
                detail=type(error).__name__, said=self.text,
            ) from error  # fmt: skip
        calls = tuple(_call(each) for each in (message.tool_calls or [])[: self.bounds.tool_calls])
        usage = getattr(whole, "usage", None)
        estimated = not noted.usage
        prompt, completion = (
            int(getattr(usage, "prompt_tokens", 0) or 0),
            int(getattr(usage, "completion_tokens", 0) or 0),
        )
        if estimated:
            # The definitions of the tools are sent with every call and are not in the library's own count.
            name = self.endpoint.model
            prompt = library.token_counter(model=name, messages=list(messages), tools=list(tools) or None)
        return Reply(
            _whole(message.content or ""), calls, noted.model or self.endpoint.model, self.endpoint.model, prompt,
            completion, _cost(library, self.endpoint.model, prompt, completion), self.seconds, self.first, estimated,
            self.cut, self.tries, self.waited, self.endpoint.address,
        )  # fmt: skip


def _call(given: Any) -> ToolCall:
    name, text = str(given.function.name or ""), given.function.arguments or ""
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return ToolCall(str(given.id or ""), name, {}, "the arguments are not JSON")
    if not isinstance(arguments, dict):
        return ToolCall(str(given.id or ""), name, {}, "the arguments are not an object")
    try:
        return ToolCall(str(given.id or ""), name, _sound(arguments), "" if name else "the call has no name")
    except ValueError as error:
        return ToolCall(str(given.id or ""), name, {}, str(error))


def _whole(text: str) -> str:
    """Return a text that can be encoded: JSON may spell half of a character, which nothing can store or send."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _sound(value: Any, depth: int = 0) -> Any:
    """Return arguments with whole characters. Raises ValueError where they are nested deeper than anything we ask for.

    JSON of a thousand levels is read and cannot be written: whoever keeps or checks it would fail.
    """
    if depth > MOST_LEVELS:
        raise ValueError(f"the arguments are nested deeper than {MOST_LEVELS} levels")
    match value:
        case str():
            return _whole(value)
        case dict():
            return {_whole(name): _sound(each, depth + 1) for name, each in value.items()}
        case list():
            return [_sound(each, depth + 1) for each in value]
        case _:
            return value


def _cost(library: Any, model: str, prompt: int, completion: int) -> float:
    try:
        paid = library.cost_per_token(model=model, prompt_tokens=prompt, completion_tokens=completion)
    except Exception:
        # It raises a bare Exception for a model that is not on its list: then the price is not known.
        return -1.0
    return float(sum(paid))
