"""`gate`: a guarded kubeconfig for any tool, and this terminal to decide on what those tools want to change."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assistant.commands.opening import place_for, settings_of
from assistant.domain.event import Event, Proposed
from assistant.errors import GateError, PilothouseError, UsageError

if TYPE_CHECKING:
    from assistant.domain.case import Case
    from assistant.plain.face import PlainFace
    from assistant.wiring import Work

LAST_WORDS_SECONDS = 2.0
HELP = """\
Held changes appear here. Type:
  approve ID DIGEST [NAME]   the first six characters of its digest; the object's name where it is critical
  deny ID REASON             the reason is told to whoever asked
  list, show ID, quit"""


def gate(given: argparse.Namespace) -> int:
    """Run a gate until it is told to stop. Prints one JSON line when it is ready."""
    if given.request_log and not given.bundle:
        raise UsageError("--request-log is for recorded clusters.", "Use it with --bundle.")
    return asyncio.run(_run(given))


async def _run(given: argparse.Namespace) -> int:
    from assistant.wiring import open_gate

    place = replace(place_for(given), request_log=given.request_log.absolute() if given.request_log else None)
    out = given.kubeconfig_out.expanduser().absolute() if given.kubeconfig_out else None
    work = await open_gate(settings_of(given), place, out)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    try:
        _say_ready(work)
        talk = asyncio.create_task(_talk(work, stop)) if sys.stdin.isatty() else None
        await stop.wait()
        if talk is not None:
            talk.cancel()
            with suppress(asyncio.CancelledError):
                await talk
        await _send_away(work)
    finally:
        await work.close()
    return 0


async def _send_away(work: Work) -> None:
    # Clients that wait get an answer, and the log an end, before the gate goes.
    if work.session.case.cluster_lost:
        return
    ended = asyncio.Event()

    def listen(event: Event, case: Case) -> None:
        if not case.waiting:
            ended.set()

    unsubscribe = work.session.subscribe(listen)
    waiting = work.session.case.waiting
    for item in waiting:
        with suppress(GateError):
            await work.backend.control.withdraw(item.proposal.id, "The gate was stopped before anybody decided.")
    if waiting:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), LAST_WORDS_SECONDS)
    unsubscribe()


def _say_ready(work: Work) -> None:
    info = work.backend.info
    said = {
        "ready": True,
        "gate": info.gate if info else "",
        "kubeconfig": info.kubeconfig if info else "",
        "context": info.context if info else "",
        "namespace": info.namespace if info else "",
        "mode": info.mode if info else "",
        "session": work.session.id,
    }
    print(json.dumps(said), flush=True)


async def _talk(work: Work, stop: asyncio.Event) -> None:
    from assistant.plain.card import card_lines
    from assistant.plain.face import PlainFace
    from assistant.policy.sanitize import safe

    face = PlainFace(sys.stdout, evidence=False)
    info = work.backend.info
    face.lines([safe(f"In another terminal: export KUBECONFIG={shlex.quote(info.kubeconfig if info else '')}")])
    print(HELP, flush=True)

    def shown(event: Event, case: Case) -> None:
        if isinstance(event.payload, Proposed):
            face.lines(card_lines(event.payload.proposal, event.at))
        else:
            face(event, case)

    work.session.subscribe(shown)
    reader = await _stdin()
    while not stop.is_set():
        line = (await reader.readline()).decode("utf-8", "replace")
        if not line or line.strip() in ("quit", "exit"):
            stop.set()
            return
        try:
            await _do(work, face, line.split())
        except PilothouseError as error:
            face.error(error)


async def _do(work: Work, face: PlainFace, words: list[str]) -> None:
    from assistant.plain.card import card_lines, read_decision, shown_digest

    if not words:
        return
    now = datetime.now(UTC)
    waiting = {item.proposal.id: item.proposal for item in work.session.case.waiting}
    match words:
        case ["list"]:
            print("\n".join(f"{key}  {item.title}" for key, item in waiting.items()) or "Nothing waits.", flush=True)
        case ["show" | "approve" | "deny", name, *_] if name not in waiting:
            known = work.session.case.proposal(name)
            what = f"{name} is {known.state.value} already." if known else f"There is no change {name!r}."
            raise UsageError(what, "Type list to see what waits.")
        case ["show", name]:
            face.lines(card_lines(waiting[name], now))
        case ["approve" | "deny" as answer, name, *rest]:
            said = read_decision(" ".join([answer, *rest]), waiting[name])
            shown = shown_digest(card_lines(waiting[name], now))
            await work.session.decide(name, said.answer, said.reason, shown, said.typed_name)
        case _:
            print(HELP, flush=True)


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader
