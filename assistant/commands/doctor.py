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
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from assistant import __version__
from assistant.backend import Backend, Place
from assistant.commands.checks import Line, State
from assistant.commands.checks_servers import servers_checked
from assistant.commands.opening import settings_of
from assistant.config import Settings, config_path
from assistant.domain.ports import GateInfo
from assistant.errors import PilothouseError, StoreError, UsageError
from assistant.policy.endpoints import read_address
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe

WAL_RESET_FIXED = (3, 51, 3)
"""SQLite before this can corrupt a WAL when two connections write and reset it at once; our file lock prevents that."""


_SHOWN_APART: Final = ("model", "base_url", "model_fallbacks", "model_headers", "model_key_env")
"""Settings that have lines of their own, because their values may hold credentials."""
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def doctor(given: argparse.Namespace) -> int:
    """Print every check. Exit 0 when nothing fails, 4 when the cluster cannot be used, 2 for the settings."""
    print(f"pilothouse {__version__}, Python {platform.python_version()}, {sys.platform}")
    try:
        settings = settings_of(given)
    except UsageError as error:
        _print(Line(State.FAIL, "settings", error.meaning, error.hint))
        return error.exit_code
    cluster, servers, policy = asyncio.run(_cluster(settings))
    lines = [
        *_settings(settings),
        *_terminal(),
        *_store(settings),
        *_practice(),
        *_model(settings),
        *servers,
        cluster,
        *policy,
        *_programs(),
        *_gates(settings),
    ]
    for line in lines:
        _print(line)
    return 4 if cluster.state is State.FAIL else 0 if all(line.state is not State.FAIL for line in lines) else 70


def _print(line: Line) -> None:
    # Redacted too: people ask for help with this output, and a key may stand where a name belongs.
    print(safe(redact_text(f"{line.state:4}  {line.what:12}  {line.found}")[0], multiline=False))
    if line.to_do:
        print(safe(redact_text(f"      {'':12}  -> {line.to_do}")[0], multiline=False))


def _settings(settings: Settings) -> Iterator[Line]:
    path = config_path()
    yield Line(State.OK, "settings", f"{path} {'read' if path.exists() else 'not there, defaults hold'}")
    for name, source in sorted(settings.sources.items()):
        if source != "default" and name not in _SHOWN_APART:
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


def _model(settings: Settings) -> Iterator[Line]:
    """Say which language models are asked, with which key and for how much; asks nobody and loads no LiteLLM."""
    sources = settings.sources
    if not settings.model:
        set_too = [name for name in _SHOWN_APART[1:] if getattr(settings, name)]
        found = f"none ({sources['model']}): the built-in expert answers alone"
        to_do = 'To ask a language model too: --model openai/NAME, or model = "openai/NAME" in the settings.'
        yield Line(State.OK, "model", found + (f"; {', '.join(set_too)} without effect" if set_too else ""), to_do)
        return
    for number, (name, address) in enumerate(settings.models):
        source = sources["model_fallbacks" if number else "model"]
        address_from = sources["base_url" if address == settings.base_url else "model_fallbacks"]
        if address and address_from != source:
            source += f", its address from {address_from}"
        yield from _one_model(settings, name, address, "then " if number else "", source)
    if settings.model_headers:
        names = ", ".join(sorted(settings.model_headers))
        yield Line(State.OK, "model", f"headers {names}, from {sources['model_headers']}; values are not shown")
    yield from _budget(settings)


def _one_model(settings: Settings, name: str, address: str, then: str, source: str) -> Iterator[Line]:
    from agents.model.types import Endpoint
    from assistant.models import variables

    known = variables(name)
    asked_at = address
    for variable in known.addresses if known and not address else ():
        if os.environ.get(variable):
            # LiteLLM goes there without being asked to, and so does what was read from the cluster.
            asked_at, source = os.environ[variable], f"{source}, its address from {variable}"
            break
    try:
        asked_at = read_address(asked_at) if asked_at else ""
    except ValueError as error:
        yield Line(State.WARN, "model", f"{then}{name}, from {source}", f"That address cannot be used: {error}.")
        return
    where = urlsplit(asked_at)
    in_the_open = where.scheme == "http" and where.hostname not in _LOCAL
    to_do = "What leaves for it can be read on the way: use https where you can." if in_the_open else ""
    found = f"{then}{Endpoint(name, asked_at).place}, from {source}"
    yield Line(State.WARN if in_the_open else State.OK, "model", found, to_do)
    if "/" not in name:
        to_do = f"Where it is not found: openai/{name} for any server of that protocol, ollama/{name}, and so on."
        yield Line(State.OK, "model", f"{name} names no provider; LiteLLM guesses it from the name", to_do)
    yield from _key(settings, name, address)


def _key(settings: Settings, name: str, address: str) -> Iterator[Line]:
    from assistant.models import keyed, variables

    if keyed(settings, name, address):
        variable, source = settings.model_key_env, settings.sources["model_key_env"]
        if os.environ.get(variable, "").strip():
            yield Line(State.OK, "model key", f"{variable} is set; named by {source}")
        else:
            to_do = f"Set {variable} to the key; until then no model is asked."
            yield Line(State.WARN, "model key", f"{variable} is not set; named by {source}", to_do)
        return
    known = variables(name)
    if known is None:
        return
    either = " or ".join(known.keys)
    elsewhere = "name the variable of its own key in model_key_env." if address == settings.base_url else ""
    held = [variable for variable in known.keys if os.environ.get(variable)]
    if held:
        to_do = f"It goes to that address; otherwise {elsewhere}" if elsewhere and address else ""
        yield Line(State.OK, "model key", f"{held[0]} is set", to_do)
    elif address:
        to_do = f"Where that server wants a key: {elsewhere or f'set {either}.'}"
        yield Line(State.OK, "model key", f"{either}: not set", to_do)
    else:
        to_do = f"Set {either}, or name another variable in model_key_env."
        yield Line(State.WARN, "model key", f"{either}: not set", to_do)


def _budget(settings: Settings) -> Iterator[Line]:
    from agents.model.budget import dollars, reached, unpriced
    from assistant.domain.case import Spent
    from assistant.models import allowance, day_began
    from assistant.wiring import open_store

    allowed = allowance(settings)
    for scope, bound in (("turn", allowed.turn), ("session", allowed.session), ("day", allowed.day)):
        amounts = (
            (f"{bound.tokens:,}", bound.tokens, "tokens"), (dollars(bound.cost_usd), bound.cost_usd, "USD"),
            (f"{bound.calls:,}", bound.calls, "calls"),
        )  # fmt: skip
        said = [f"{text} {unit}" for text, amount, unit in amounts if amount]
        if scope == "turn":
            said.append(f"{allowed.tool_calls:,} calls of tools, {allowed.seconds:,.0f} s")
        yield Line(State.OK, "model budget", f"a {scope}: {', '.join(said) or 'no bound'}")
    try:
        with open_store(settings, read_only=True) as store:
            spent = store.spent_since(day_began(datetime.now(UTC)))
    except StoreError as error:
        if error.code != "store-missing":
            yield Line(State.WARN, "model budget", f"what was used today cannot be told: {error.meaning}", error.hint)
            return
        spent = Spent()
    found = f"used today: {spent.tokens:,} tokens, {dollars(spent.cost_usd)} USD, calls: {spent.calls:,}"
    if unpriced(spent):
        found += f", of which {spent.unpriced:,} at a price that is not known"
    stop = reached(allowed, Spent(), Spent(), spent)
    yield Line(State.WARN if stop else State.OK, "model budget", found, stop.text if stop else "")


def _practice() -> Iterator[Line]:
    from assistant.practice import incidents

    try:
        yield Line(State.OK, "practice", f"{len(incidents())} recorded incidents")
    except PilothouseError as error:
        yield Line(State.FAIL, "practice", error.meaning, error.hint)


async def _cluster(settings: Settings) -> tuple[Line, list[Line], list[Line]]:
    """Return what is to be said of the cluster, of MCP servers, which get its gate's kubeconfig, and of its rules."""
    backend = Backend(settings, Place())
    try:
        try:
            info = await backend.open()
        except PilothouseError as error:
            failed = Line(State.FAIL, "cluster", error.meaning, f"{error.hint} The practice incidents need no cluster.")
            return failed, await servers_checked(settings, None), []
        what = f"{info.context}: Kubernetes {info.server_version} as {info.identity}, mode {info.mode}"
        line = Line(State.OK, "cluster", what + (", PRODUCTION" if info.production else ""))
        return line, await servers_checked(settings, backend), list(_policy(settings, info))
    finally:
        await backend.close()


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
