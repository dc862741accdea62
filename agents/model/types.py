"""What is said to a language model and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from assistant.errors import ModelError

MIN_SECRET_CHARACTERS: Final = 6
"""Shorter values of headers (`sre`, `true`) are words, and taking them out would spoil the text."""
Message = Mapping[str, Any]
"""One message as the chat completions protocol has it: `role`, `content`, and what belongs to tool calls."""
Tell = Callable[[str], None]
"""Told a sentence."""
Wait = Callable[[str, float], None]
"""Told why and for how many seconds nothing is asked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one address. `model` is LiteLLM's name (`openai/…`, `ollama/…`); no `base_url` is the provider's."""

    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """Return the address for people, without what it may hold of credentials; "" for the provider's own."""
        where = urlsplit(self.base_url)
        host = where.netloc.rpartition("@")[2]
        return f"{where.scheme}://{host}{where.path}" if self.base_url else ""

    @property
    def place(self) -> str:
        """Return model and address for people."""
        return f"{self.model} at {self.address}" if self.base_url else self.model

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what no error and no log may hold: the key, the headers' values, credentials in the address."""
        where = urlsplit(self.base_url)
        inside = where.netloc.rpartition("@")[0] if "@" in where.netloc else ""
        given = (self.api_key, *self.headers.values(), inside, where.password or "")
        return tuple(sorted((text for text in given if len(text) >= MIN_SECRET_CHARACTERS), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one call may take: seconds, characters of text and arguments together, tool calls, tokens of the answer."""

    first_token_seconds: float = 90.0
    next_token_seconds: float = 45.0
    whole_seconds: float = 300.0
    characters: int = 60_000
    tool_calls: int = 32
    completion_tokens: int = 4_000
    tries: int = 3
    longest_wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asks for. With a `fault` it cannot be carried out, and the model is told so."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `model` is who answered as the server says.

    `asked` is the endpoint's name, `endpoint` its address for people.

    `cut` says why the stream was closed early, "" where it came to its end. Tokens are the server's, or `estimated`
    here where it told none. `cost_usd` is -1 where the price is not known. `waited_seconds` went by between tries.
    """

    text: str
    calls: tuple[ToolCall, ...]
    model: str
    asked: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float
    first_token_seconds: float
    estimated: bool = False
    cut: str = ""
    tries: int = 1
    waited_seconds: float = 0.0
    endpoint: str = ""

    @property
    def empty(self) -> bool:
        """Say whether the model said nothing at all."""
        return not self.text.strip() and not self.calls


class ChatClient(Protocol):
    """Asks language models: in this process (`agents.model.client`), or in one of its own, where LiteLLM is loaded."""

    async def call(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message] = (),
        *,
        tell: Tell = lambda sentence: None,
        on_text: Tell = lambda part: None,
        on_wait: Wait = lambda why, seconds: None,
        seconds: float = math.inf,
    ) -> Reply:
        """Return one whole answer. Raises a ModelCallError.

        `tell` hears whom it asks instead, `on_text` the text as it comes, `on_wait` why and how long it waits.
        `seconds` is for all of it, other tries and other endpoints included. Cancelling it closes the connection.
        """
        ...


class ModelCallError(ModelError):
    """One call failed for good. `said` is what had come of the answer until then."""

    def __init__(self, meaning: str, hint: str = "", *, detail: str = "", said: str = "") -> None:
        """Keep what had come."""
        super().__init__(meaning, hint, detail=detail)
        self.said = said


class ModelRefusedError(ModelCallError):
    """The server does not let us in, or does not know the model (401, 403, 404)."""

    code = "model-refused"


class ModelBusyError(ModelCallError):
    """The server is down, overloaded or out of reach, and stayed so for every try."""

    code = "model-busy"


class ModelContextError(ModelCallError):
    """The request is larger than the model's context."""

    code = "model-context"


class ModelTimeoutError(ModelCallError):
    """The model did not answer, or stopped answering."""

    code = "model-timeout"


class ModelCutError(ModelCallError):
    """The stream broke after it had begun."""

    code = "model-cut"


class ModelRequestError(ModelCallError):
    """The server finds fault with the request (400, 422), or its answer is none that can be read."""

    code = "model-request"


class ModelSecretError(ModelCallError):
    """Something that looks like a secret would have left; nothing was sent."""

    code = "model-secret"
