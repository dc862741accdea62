"""`python -m assistant.model_worker`: settings on standard input, then calls; the end of input means stop.

LiteLLM is loaded from the first moment on, before anybody has said whom to ask. Only our own lines reach the log: what
a library writes may hold prompts and keys.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from agents.model.client import ModelClient
from agents.model.library import load_ahead
from agents.model.types import ModelCallError
from assistant.model_worker import wire
from assistant.model_worker.outbox import Outbox
from assistant.policy.redact import redact_text
from assistant.processes import claim_pipes
from assistant.session.clock import SystemClock

CLOSING_SECONDS: Final = 1.0
FRAMES: Final = 6
TALKATIVE: Final = ("LITELLM_LOG", "LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD", "OPENAI_LOG")
"""With these, prompts are printed."""


def main() -> int:
    """Answer calls until the parent closes standard input or a signal comes. Returns the exit code."""
    # A core file would hold prompts and keys.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = claim_pipes()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for name in TALKATIVE:
        os.environ.pop(name, None)
    load_ahead()
    return asyncio.run(_run(source, sink))


async def _run(source: int, sink: int) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    reader = asyncio.StreamReader(limit=wire.LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", 0))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(sink, "wb", 0))
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        settings = wire.read_settings(await reader.readline())
    except ValueError as error:
        return await _failed(writer, str(error))
    writer.write(b'{"ready":true}\n')
    outbox = Outbox(writer)
    work: tuple[Coroutine[Any, Any, Any], ...] = (stopping.wait(), outbox.run(), _serve(reader, settings, outbox))
    tasks = {asyncio.create_task(each) for each in work}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await _ended(tasks)
    return 0


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait a little: closing the connections is what tells a provider to stop."""
    running = set(tasks)
    for each in running:
        each.cancel()
    if running:
        await asyncio.wait(running, timeout=CLOSING_SECONDS)


async def _failed(writer: asyncio.StreamWriter, detail: str) -> int:
    said = {
        "ready": False, "code": "model-worker", "meaning": "The process that speaks to the model has no settings.",
        "hint": "Start it through pilothouse.", "detail": detail,
    }  # fmt: skip
    writer.write(json.dumps(said).encode() + b"\n")
    with suppress(ConnectionError):
        await writer.drain()
    return 2


async def _serve(reader: asyncio.StreamReader, settings: wire.Settings, outbox: Outbox) -> None:
    client = ModelClient(settings.endpoints, SystemClock(), settings.bounds)
    secrets = [secret for endpoint in settings.endpoints for secret in endpoint.secrets]
    calls: dict[int, asyncio.Task[None]] = {}
    try:
        while line := await reader.readline():
            match wire.read_request(line):
                case wire.Call() as call:
                    task = asyncio.create_task(_answer(client, call, outbox, secrets))
                    calls[call.number] = task
                    task.add_done_callback(partial(_forget, calls, call.number))
                case wire.Cancel(number):
                    if number in calls:
                        calls[number].cancel()
    except ValueError:
        # Its text would be a piece of what was sent.
        _note("a line of the parent's is no request")
    finally:
        await _ended(calls.values())


async def _answer(client: ModelClient, call: wire.Call, outbox: Outbox, secrets: list[str]) -> None:
    def put(event: wire.Event) -> None:
        outbox.put(call.number, event)

    try:
        put(await client.call(
            call.messages, call.tools, tell=lambda sentence: put(wire.Told(sentence)),
            on_text=lambda part: put(wire.Text(part)), on_wait=lambda why, seconds: put(wire.Waits(why, seconds)),
            seconds=call.seconds,
        ))  # fmt: skip
    except ModelCallError as error:
        put(error)
    except Exception as error:
        # Whatever is wrong in a library or in ours ends this call and no other.
        _note(f"a call failed: {_shape(error)}")
        text = f"{type(error).__name__}: {error}"
        for secret in secrets:
            text = text.replace(secret, "[key]")
        meaning, hint = "There is a fault on the side of the language model.", "The log file has the detail."
        put(ModelCallError(meaning, hint, detail=redact_text(text)[0][:300]))


def _forget(calls: dict[int, asyncio.Task[None]], number: int, _: asyncio.Task[None]) -> None:
    calls.pop(number, None)


def _unhandled(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    _note(f"{context.get('message')}: {_shape(context.get('exception'))}")


def _shape(error: BaseException | None) -> str:
    """Return what is wrong and where, without a word of its text: that may quote what was sent."""
    if error is None:
        return "no exception"
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return f"{type(error).__name__} at {' < '.join(f'{f.filename}:{f.lineno}' for f in reversed(frames))}"


def _note(text: str) -> None:
    sys.stderr.write(f"{SystemClock().now():%Y-%m-%d %H:%M:%S} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Taking the library apart takes longer than all of the above, and its import may not have come to its end.
    os._exit(code)
