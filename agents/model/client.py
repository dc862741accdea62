"""Asks one language model after the other until one answers: one retry policy, bounds, typed errors.

LiteLLM does the protocols of the providers. Its retries, fallbacks and callbacks stay off, because each multiplies the
requests without anybody seeing it (measured: 5 for `num_retries=2`).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from agents.deadline import OverdueError, within
from agents.model.faults import may_try_again, retry_after_seconds, typed
from agents.model.library import load, takes
from agents.model.stream import Gathered, Noted
from agents.model.types import (
    Bounds,
    Endpoint,
    Message,
    ModelBusyError,
    ModelCallError,
    ModelCutError,
    ModelRequestError,
    ModelSecretError,
    ModelTimeoutError,
    Reply,
    Tell,
    Wait,
)
from assistant.domain.ports import Clock
from assistant.policy.redact import redact_text

WAITS_SECONDS: Final = (1.0, 4.0)


class ModelClient:
    """One list of endpoints, the first being the wanted one. Has no state but the library that it loads."""

    def __init__(self, endpoints: Sequence[Endpoint], clock: Clock, bounds: Bounds | None = None) -> None:
        """Keep the list. Raises ValueError for an empty one."""
        if not endpoints:
            raise ValueError("a client needs an endpoint")
        self._endpoints = tuple(endpoints)
        self._clock = clock
        self._bounds = bounds or Bounds()

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
        """Return one whole answer, as `ChatClient` has it. Raises a ModelCallError."""
        _look_through(messages, tools)
        until = self._clock.monotonic() + seconds
        library = await load()
        *others, last = self._endpoints
        for number, endpoint in enumerate(others):
            try:
                return await self._ask(library, endpoint, messages, tools, tell, on_text, on_wait, until)
            except ModelCallError as error:
                # Once something was said, another model must not go on with it: it would speak for the first one.
                if error.said:
                    raise
                tell(f"{error.meaning} Asking {self._endpoints[number + 1].place} instead.")
        return await self._ask(library, last, messages, tools, tell, on_text, on_wait, until)

    async def _ask(
        self, library: Any, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[Message], tell: Tell,
        on_text: Tell, on_wait: Wait, until: float,
    ) -> Reply:  # fmt: skip
        waited = 0.0
        for number in range(self._bounds.tries):
            left = max(0.0, until - self._clock.monotonic())
            bounds = replace(self._bounds, whole_seconds=min(self._bounds.whole_seconds, left))
            gathered = Gathered(endpoint, bounds, self._clock, number + 1, waited)
            try:
                return await self._once(library, endpoint, messages, tools, gathered, on_text)
            except ModelCallError:
                raise
            except Exception as error:
                last = number + 1 == self._bounds.tries
                if gathered.begun or last or not may_try_again(error):
                    raise typed(error, endpoint, gathered.text, tries=number + 1) from error
                pause = retry_after_seconds(error, WAITS_SECONDS[min(number, len(WAITS_SECONDS) - 1)])
                if pause > min(self._bounds.longest_wait_seconds, until - self._clock.monotonic()):
                    raise typed(error, endpoint, "", tries=number + 1, asked_seconds=pause) from error
                on_wait(typed(error, endpoint, "", tries=0).meaning, pause)
                await self._clock.sleep(pause)
                waited += pause
        raise ModelBusyError(f"{endpoint.place} was not asked.", "Allow at least one try.")

    async def _once(
        self, library: Any, endpoint: Endpoint, messages: Sequence[Message], tools: Sequence[Message],
        gathered: Gathered, on_text: Tell,
    ) -> Reply:  # fmt: skip
        bounds = gathered.bounds
        given: dict[str, Any] = {
            "model": endpoint.model, "messages": list(messages), "stream": True, "max_retries": 0, "num_retries": 0,
            "timeout": bounds.whole_seconds,
        }  # fmt: skip
        optional = {"stream_options": {"include_usage": True}, "max_tokens": bounds.completion_tokens}
        given |= {name: value for name, value in optional.items() if takes(library, endpoint.model, name)}
        given |= {"tools": list(tools)} if tools else {}
        given |= {"api_base": endpoint.base_url} if endpoint.base_url else {}
        given |= {"api_key": endpoint.api_key} if endpoint.api_key else {}
        given |= {"extra_headers": dict(endpoint.headers)} if endpoint.headers else {}
        stream = await self._within(library.acompletion(**given), bounds.first_token_seconds, gathered, "its answer")
        noted = Noted.of(stream)
        async with contextlib.aclosing(_iterate(stream)) as chunks:
            while not gathered.cut:
                seconds = bounds.next_token_seconds if gathered.begun else bounds.first_token_seconds
                chunk = await self._within(anext(chunks, None), seconds, gathered, "more of its answer")
                if chunk is None:
                    break
                if part := gathered.add(chunk):
                    on_text(part)
        if not gathered.cut and not noted.finished(stream):
            if not gathered.begun:
                raise ModelRequestError(
                    f"{endpoint.place} answered with something that is no completion.",
                    "Check the address: it has to speak the chat completions protocol.",
                )
            raise ModelCutError(f"{endpoint.place} broke off its answer.", "Ask again.", said=gathered.text)
        return gathered.reply(library, noted, messages, tools)

    async def _within(self, work: Any, seconds: float, gathered: Gathered, what: str) -> Any:
        """Await `work` for `seconds` of the clock, and never beyond the bound of the whole call."""
        seconds = max(0.0, min(seconds, gathered.bounds.whole_seconds - gathered.seconds))
        try:
            return await within(work, seconds, self._clock)
        except OverdueError as error:
            text = f"{gathered.endpoint.place} did not send {what} for {seconds:.0f} s."
            raise ModelTimeoutError(text, "Ask again, or choose another model.", said=gathered.text) from error


async def _iterate(stream: Any) -> AsyncGenerator[Any]:
    try:
        async for chunk in stream:
            yield chunk
    finally:
        # Closing is what tells the server to stop generating, and being paid for it.
        close = getattr(stream, "aclose", None)
        if close is not None:
            with contextlib.suppress(Exception):
                await close()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)


def _look_through(messages: Sequence[Message], tools: Sequence[Message]) -> None:
    # Everything was redacted before it got here. What is found now got past that, so nothing can be trusted to leave.
    for each in (*messages, *tools):
        # As a whole, where names stand beside values, and each text as it stands, with its own line breaks.
        texts = [json.dumps(dict(each), ensure_ascii=False, default=str), *_texts(each)]
        if any(redact_text(text)[1] for text in texts):
            raise ModelSecretError(
                "What would be sent to the model holds something that looks like a secret, so nothing was sent.",
                "Report it with the session's id; the built-in expert's answer stands.",
            )
