"""The recorded cluster as a child process: one line of settings in, one line when ready, gone when its parent is."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from assistant.cluster.server.serving import Settings, start
from assistant.errors import PilothouseError, UsageError


def _settings(line: bytes) -> Settings:
    try:
        value: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        unknown = value.keys() - {"bundle", "after", "heals_when", "heal_seconds", "request_log", "runtime_dir"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        paths = {name: Path(value[name]) for name in ("after", "heals_when", "request_log") if value.get(name)}
        first, second = value.get("heal_seconds") or (1.5, 4.0)
        return Settings(
            bundle=Path(value["bundle"]),
            runtime_dir=Path(value["runtime_dir"]),
            heal_seconds=(float(first), float(second)),
            **paths,
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("The settings of the recorded cluster cannot be read.", "", detail=str(error)) from error


def _say(value: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


async def _serve(reader: asyncio.StreamReader) -> int:
    try:
        running = await start(_settings(await reader.readline()))
    except PilothouseError as error:
        _say({"ready": False, "code": error.code, "meaning": error.meaning, "hint": error.hint, "detail": error.detail})
        return error.exit_code
    except OSError as error:
        meaning, hint = "The recorded cluster cannot open a port or a file.", "Look at the detail."
        _say({"ready": False, "code": "cluster", "meaning": meaning, "hint": hint, "detail": str(error)})
        return 4
    ready = {"url": running.url, "token": running.token, "kubeconfig": str(running.kubeconfig), "cluster": running.name}
    _say({"ready": True, **ready})
    try:
        await reader.read()  # only its end matters: then the parent is gone
    finally:
        await running.close()
    return 0


async def _main() -> int:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: protocol, sys.stdin)
    # Ctrl-C in the terminal reaches the whole process group; when to stop is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.add_signal_handler(signal.SIGTERM, reader.feed_eof)
    return await _serve(reader)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
