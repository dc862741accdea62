"""`doctor`: what is set up, what is missing, what to do. Starts a gate to see whether the cluster answers."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from assistant import __version__
from assistant.backend import Backend, Place
from assistant.commands.opening import settings_of
from assistant.config import Settings, config_path
from assistant.domain.ports import GateInfo
from assistant.errors import PilothouseError, UsageError
from assistant.policy.sanitize import safe

WAL_RESET_FIXED = (3, 51, 3)
"""SQLite before this can corrupt a WAL when two connections write and reset it at once; our file lock prevents that."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One check: what was looked at, what was found, what to do."""

    state: State
    what: str
    found: str
    to_do: str = ""


def doctor(given: argparse.Namespace) -> int:
    """Print every check. Exit 0 when nothing fails, 4 when the cluster cannot be used, 2 for the settings."""
    print(f"pilothouse {__version__}, Python {platform.python_version()}, {sys.platform}")
    try:
        settings = settings_of(given)
    except UsageError as error:
        _print(Line(State.FAIL, "settings", error.meaning, error.hint))
        return error.exit_code
    cluster, *policy = asyncio.run(_cluster(settings))
    lines = [
        *_settings(settings),
        *_terminal(),
        *_store(settings),
        *_practice(),
        cluster,
        *policy,
        *_programs(),
        *_gates(settings),
    ]
    for line in lines:
        _print(line)
    return 4 if cluster.state is State.FAIL else 0 if all(line.state is not State.FAIL for line in lines) else 70


def _print(line: Line) -> None:
    print(safe(f"{line.state:4}  {line.what:12}  {line.found}", multiline=False))
    if line.to_do:
        print(safe(f"      {'':12}  -> {line.to_do}", multiline=False))


def _settings(settings: Settings) -> Iterator[Line]:
    path = config_path()
    yield Line(State.OK, "settings", f"{path} {'read' if path.exists() else 'not there, defaults hold'}")
    for name, source in sorted(settings.sources.items()):
        if source != "default":
            yield Line(State.OK, "setting", f"{name} = {getattr(settings, name)!r}, from {source}")


def _terminal() -> Iterator[Line]:
    size = shutil.get_terminal_size()
    if not sys.stdout.isatty():
        yield Line(State.WARN, "terminal", "standard output is none", "The screen needs one; ask and scan do not.")
        return
    small = size.columns < 80 or size.lines < 24
    found = f"{os.environ.get('TERM', 'TERM is not set')}, {size.columns}x{size.lines}"
    yield Line(State.WARN if small else State.OK, "terminal", found, "80x24 or more is needed." if small else "")


def _store(settings: Settings) -> Iterator[Line]:
    from assistant.wiring import open_store

    version = ".".join(map(str, sqlite3.sqlite_version_info))
    old = sqlite3.sqlite_version_info < WAL_RESET_FIXED
    note = ", writes are kept apart by a file lock" if old else ""
    try:
        with open_store(settings) as store:
            count = len(store.sessions(limit=1000))
            yield Line(State.OK, "sessions", f"{store.path}: {count if count < 1000 else '1000 or more'} sessions")
    except PilothouseError as error:
        yield Line(State.FAIL, "sessions", error.meaning, f"{error.hint} Until then nothing can be changed.")
    yield Line(State.OK, "sqlite", f"{version}{note}")


def _practice() -> Iterator[Line]:
    from assistant.practice import incidents

    try:
        yield Line(State.OK, "practice", f"{len(incidents())} recorded incidents")
    except PilothouseError as error:
        yield Line(State.FAIL, "practice", error.meaning, error.hint)


async def _cluster(settings: Settings) -> list[Line]:
    backend = Backend(settings, Place())
    try:
        info = await backend.open()
    except PilothouseError as error:
        return [Line(State.FAIL, "cluster", error.meaning, f"{error.hint} The practice incidents need no cluster.")]
    finally:
        await backend.close()
    what = f"{info.context}: Kubernetes {info.server_version} as {info.identity}, mode {info.mode}"
    line = Line(State.OK, "cluster", what + (", PRODUCTION" if info.production else ""))
    return [line, *_policy(settings, info)]


def _policy(settings: Settings, info: GateInfo) -> Iterator[Line]:
    values = {item.name: item.value for item in info.policy}
    for item in info.policy:
        yield Line(State.OK, "policy", f"{item.name} = {item.value}, from {item.source}")
    if values.get("four_eyes", "off") != "off" and not settings.approvers:
        found = f"{info.context} asks for a second person, and nobody's signature counts"
        yield Line(State.WARN, "policy", found, "Add a colleague's public key to [approvers] in the settings.")
    for rule in settings.rules:
        if not rule.fits(info.context):
            yield Line(State.OK, "policy", f"{rule.source}: {rule.pattern} is not about {info.context}")


def _programs() -> Iterator[Line]:
    where = shutil.which("kubectl")
    found = where or "not found; only needed to use the guarded kubeconfig by hand"
    yield Line(State.OK if where else State.WARN, "kubectl", found)


def _gates(settings: Settings) -> Iterator[Line]:
    from assistant.commands.approvals import running_gates

    running = list(running_gates(settings.runtime))
    yield Line(State.OK, "gates", ", ".join(f"{item.gate} ({item.context})" for item in running) or "none is running")
