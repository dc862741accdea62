"""`python -m assistant.gate`: settings on standard input, one JSON line when ready, end of input means stop."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
from contextlib import suppress

import msgspec

from assistant.errors import PilothouseError
from assistant.gate.process import start
from assistant.gate.settings import Settings
from assistant.policy.redact import RedactingFormatter, redact_text


def main() -> int:
    """Run one gate until the parent closes standard input or a signal comes. Returns the exit code."""
    # A core file would hold the cluster's credentials.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("kubernetes", "urllib3", "aiohttp"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return asyncio.run(_run())


async def _run() -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        running = await start(msgspec.json.decode(await reader.readline(), type=Settings))
    except msgspec.DecodeError as error:
        return _failed("usage", "The gate's settings cannot be read.", "Start it through pilothouse.", str(error))
    except PilothouseError as error:
        return _failed(error.code, error.meaning, error.hint, error.detail)
    except OSError as error:
        return _failed(
            "gate", "The gate cannot write its files.", "Check the runtime and state directories.", str(error)
        )
    try:
        _say(running.ready)
        parent = asyncio.ensure_future(reader.read())  # only its end matters: then the parent is gone
        signalled = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({parent, signalled}, return_when=asyncio.FIRST_COMPLETED)
        parent.cancel()
        signalled.cancel()
    finally:
        await running.stop()
    return 0


def _say(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _failed(code: str, meaning: str, hint: str, detail: str) -> int:
    _say({"ready": False, "code": code, "meaning": meaning, "hint": hint, "detail": redact_text(detail)[0]})
    return 4


if __name__ == "__main__":
    sys.exit(main())
