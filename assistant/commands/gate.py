"""`gate`: a guarded kubeconfig for any tool, and this terminal to decide on what those tools want to change."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.commands.opening import place_for, settings_of
from assistant.domain.event import Event, Proposed
from assistant.domain.proposal import Answer
from assistant.errors import GateError, PilothouseError, UsageError

if TYPE_CHECKING:
    from assistant.domain.case import Case
    from assistant.plain.face import PlainFace
    from assistant.wiring import Work

LAST_WORDS_SECONDS = 2.0
ROWS_LEFT = 4
"""Rows of the terminal that a card leaves to what is typed below it and what stands above."""
HELP = """\
Held changes appear here. Type:
  list                       what waits
  show ID                    all of a change, where its card was cut
  approve ID DIGEST [NAME]   the first six characters of its digest; the object's name where it is critical
  deny ID REASON             the reason is told to whoever asked
  quit                       end the gate; whoever waits is told"""


def gate(given: argparse.Namespace) -> int:
    """Run a gate until it is told to stop. Prints one JSON line when it is ready."""
    if given.request_log and not given.bundle:
        raise UsageError("--request-log is for recorded clusters.", "Use it with --bundle.")
    return asyncio.run(_run(given))


async def _run(given: argparse.Namespace) -> int:
    from assistant.wiring import open_gate

    place = replace(place_for(given), request_log=given.request_log.absolute() if given.request_log else None)
    out = given.kubeconfig_out.expanduser().absolute() if given.kubeconfig_out else None
    work = await open_gate(settings_of(given), place, out, _named(given.client))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
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


def _named(given: list[str]) -> dict[str, Path]:
    """Read `--client NAME=FILE`. Raises UsageError."""
    named: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise UsageError(f"--client {text!r} is not NAME=FILE.", "For example: --client editor=editor.yaml")
        if name in named:
            raise UsageError(f"--client names {name!r} twice.", "Give each client a name of its own.")
        named[name] = Path(file).expanduser().absolute()
    return named


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
        "clients": work.backend.ready.get("clients", {}),
    }
    print(json.dumps(said), flush=True)


async def _talk(work: Work, stop: asyncio.Event) -> None:
    from assistant.plain.face import PlainFace

    desk = Desk(work, PlainFace(sys.stdout, evidence=False))
    desk.greet()
    work.session.subscribe(desk.tell)
    reader = await _stdin()
    while not stop.is_set():
        line = (await reader.readline()).decode("utf-8", "replace")
        if not line or line.strip() in ("quit", "exit"):
            stop.set()
            return
        try:
            await desk.obey(line.split())
        except PilothouseError as error:
            desk.face.error(error)


class Desk:
    """The terminal of a gate: shows what is held, never taller than the screen, and takes the answers typed."""

    def __init__(self, work: Work, face: PlainFace) -> None:
        """Keep the parts; nothing has been read by anybody yet."""
        self.face = face
        self._work = work
        # When all of a change's card was on screen first. What nobody can have read cannot be approved here.
        self._read: dict[str, float] = {}

    def greet(self) -> None:
        """Say where the gate stands, how to use it, and what can be typed."""
        from assistant.policy.sanitize import safe

        info = self._work.backend.info
        if info is None:
            return
        place = f"Pilothouse gate {info.gate}: context {info.context}, namespace {info.namespace}, as {info.identity}"
        lines = [f"{place}{', production' if info.production else ''}."]
        if info.mode == "observe":
            lines.append("Mode observe: everything can be read, nothing can be changed, whoever approves.")
        lines.append("Point your tools at it, in another terminal:")
        clients = self._work.backend.ready.get("clients")
        for name, path in clients.items() if isinstance(clients, dict) else ():
            lines.append(f"  export KUBECONFIG={shlex.quote(path)}{'' if name == 'default' else f'   # {name}'}")
        self.face.lines([safe(line, multiline=False) for line in [*lines, "", *HELP.split("\n"), ""]])

    def tell(self, event: Event, case: Case) -> None:
        """Print one event; a new change as a card that fits the screen."""
        from assistant.plain.card import short_card
        from assistant.policy.sanitize import SafeText

        if not isinstance(event.payload, Proposed):
            self.face(event, case)
            return
        proposal = event.payload.proposal
        columns, rows = shutil.get_terminal_size()
        card = short_card(proposal, event.at, max(rows - ROWS_LEFT, 8), columns)
        number = [item.proposal.id for item in case.waiting].index(proposal.id) + 1 if case.waiting else 1
        more = f", {number} of {len(case.waiting)} that wait" if len(case.waiting) > 1 else ""
        self.face.lines([SafeText(), SafeText(f"─── {event.at:%H:%M:%S}  held{more}"), *card.lines])
        if card.whole:
            self._read.setdefault(proposal.id, time.monotonic())

    async def obey(self, words: list[str]) -> None:
        """Do what was typed. Raises UsageError for what cannot be done, and what the session raises."""
        from assistant.plain.card import Place, card_digest, card_lines, read_decision
        from assistant.policy.sanitize import safe

        if not words:
            return
        session = self._work.session
        waiting = {item.proposal.id: item.proposal for item in session.case.waiting}
        match words:
            case ["list"]:
                rows = [f"{key}  {item.risk.level.value:8}  {item.title}" for key, item in waiting.items()]
                self.face.lines([safe(row, multiline=False) for row in rows or ["Nothing waits."]])
            case ["show" | "approve" | "deny", name, *_] if name not in waiting:
                known = session.case.proposal(name)
                what = f"{name} is {known.state.value} already." if known else f"There is no change {name!r}."
                raise UsageError(what, "Type list to see what waits.")
            case ["show", name]:
                self.face.lines(card_lines(waiting[name], datetime.now(UTC), whole=True, place=Place.GATE))
                self._read.setdefault(name, time.monotonic())
            case ["approve" | "deny" as answer, name, *rest]:
                said = read_decision(" ".join([answer, *rest]), waiting[name], Place.GATE)
                since = self._read.get(name)
                if since is None and said.answer is Answer.APPROVE:
                    raise UsageError(f"The card of {name} was cut to fit the screen.", f"Read it first: show {name}")
                looked = time.monotonic() - since if since is not None else -1.0
                shown = card_digest(waiting[name])
                await session.decide(name, said.answer, said.reason, shown, said.typed_name, looked_seconds=looked)
            case _:
                self.face.lines([safe(line) for line in HELP.split("\n")])


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return reader
