"""`sessions` and `replay`: what was recorded. Nothing here opens a cluster, a gate or a socket."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assistant import __version__
from assistant.commands.opening import settings_of
from assistant.config import Settings
from assistant.domain.case import Case, fold
from assistant.domain.event import Concluded, Decided, Event, Proposed, Verified
from assistant.domain.recorded import RERUN_OF
from assistant.errors import StoreError, UsageError
from assistant.policy.sanitize import SafeText, safe

if TYPE_CHECKING:
    from assistant.session.library import LibraryRow
    from assistant.store.log import SessionStore
    from assistant.tui.ports import Recording

TITLE_WIDTH = 60


def sessions(given: argparse.Namespace) -> int:
    """Run one of list, search, show, export, verify, delete."""
    settings = settings_of(given)
    match given.action:
        case "list":
            return _list(settings, given.limit, "", given.format)
        case "search":
            return _list(settings, 1000, " ".join(given.text), given.format)
        case "show":
            return _show(settings, given.session, given.format)
        case "export":
            return _export(settings, given.session, given.format, given.output)
        case "verify":
            from assistant.commands.verify import verify

            return verify(settings, given.session or "", given.export_heads, given.against)
        case _:
            return _delete(settings, given.session, sure=given.yes)


def replay(given: argparse.Namespace) -> int:
    """Play a recording on the screen, or as lines."""
    settings = settings_of(given)
    recording = recording_of(settings, given.what)
    if given.plain or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return _replay_plain(recording.events, given.speed)
    if given.speed is not None:
        raise UsageError("The screen has keys for its speed.", "Use --speed with --plain; on the screen press < and >.")
    from assistant.tui.app import PilothouseApp

    app = PilothouseApp(recording=recording, theme=settings.theme)
    return asyncio.run(app.run_async()) or 0


def _replay_plain(events: Sequence[Event], speed: float | None) -> int:
    from assistant.plain.replay import replay_plain
    from assistant.session.clock import SystemClock
    from assistant.session.replay import SPEEDS, Player

    player = Player(tuple(events))
    if speed is not None:
        if speed not in SPEEDS:
            raise UsageError(f"There is no speed {speed:g}.", f"Use one of {', '.join(f'{s:g}' for s in SPEEDS)}.")
        player.speed = speed
    elif not sys.stdout.isatty():
        player.speed = 0.0
    asyncio.run(replay_plain(player, sys.stdout, SystemClock()))
    return 0


def recording_of(settings: Settings, what: str, used: str = "played") -> Recording:
    """Return a recording by its file, or a stored session by its id; where it is cut, say what of it is `used`."""
    from assistant.tui.ports import Recording

    path = Path(what).expanduser()
    if path.suffix in (".jsonl", ".gz") or path.exists():
        from assistant.store.recording import read_file

        read = read_file(path)
        if read.cut:
            print(f"{path}: {safe(read.cut)}; what stands before that is {used}.", file=sys.stderr)
        return Recording(path.name, read.events, read.body)
    with _store(settings) as store:
        session = store.find(what)
        loaded = store.load(session)
        if loaded.cut:
            print(f"{session}: {safe(loaded.cut)}; what stands before that is {used}.", file=sys.stderr)

    def body(sha256: str) -> str:
        with _store(settings) as again:
            return again.body(sha256)

    return Recording(session, loaded.events, body)


def _store(settings: Settings) -> SessionStore:
    from assistant.wiring import open_store

    return open_store(settings, read_only=True)


def _list(settings: Settings, limit: int, text: str, form: str) -> int:
    from assistant.session.library import StoreLibrary

    rows: Sequence[LibraryRow]
    try:
        with _store(settings) as store:
            rows = StoreLibrary(store).list(limit, text)
    except StoreError as error:
        if error.code != "store-missing":
            raise
        rows = []
    if form == "json":
        from assistant.wire import encode

        print(encode([{"interrupted": item.interrupted, "session": item.row} for item in rows]).decode())
        return 0
    if not rows:
        print("No session matches." if text else "There are no sessions yet.")
        return 0
    for item in rows:
        row = item.row
        status = "interrupted" if item.interrupted else row.status
        when = row.opened_at.astimezone().strftime("%Y-%m-%d %H:%M")
        # Its question is that of the recorded session, so that only this tells the two apart.
        again = f"[{row.source}, {row.mind}] " if row.source.startswith(RERUN_OF) else ""
        title = f"{again}{row.title or _untitled(row.mind)}"[:TITLE_WIDTH]
        place = safe(f"{row.context}/{row.namespace or 'all'}", multiline=False)
        said = safe(row.result or row.verdict or status, multiline=False)
        print(safe(f"{row.id}  {when}  {place:32.32}  {said:12.12}  {title}", multiline=False))
    return 0


def _untitled(mind: str) -> str:
    return "(gate for other tools)" if mind == "none" else "(nothing asked)"


def _show(settings: Settings, name: str, form: str) -> int:
    with _store(settings) as store:
        loaded = store.load(store.find(name))
    case = fold(loaded.events)
    if form == "json":
        from assistant.plain.json import dumps

        print(dumps(case))
    elif form == "markdown":
        from assistant.plain.markdown import report

        print(report(case, cut=loaded.cut))
    else:
        from assistant.plain.face import report_lines

        print(safe(f"{case.session}: {case.question or _untitled(case.opened.mind if case.opened else '')}"))
        print("\n".join(report_lines(case)))
        _show_changes(loaded.events)
        if loaded.cut:
            print(safe(f"\nIt ends early: {loaded.cut}."))
    return 0


def _show_changes(events: Sequence[Event]) -> None:
    from assistant.plain.lines import event_lines

    case = Case()
    lines: list[SafeText] = []
    for event in events:
        case = case.apply(event)
        if isinstance(event.payload, Proposed | Decided | Concluded | Verified):
            lines += event_lines(event, case)
    if lines:
        print("\nchanges:")
        print("\n".join(lines))


def _export(settings: Settings, name: str, form: str, output: Path | None) -> int:
    with _store(settings) as store:
        loaded = store.load(store.find(name))
        if form == "markdown":
            from assistant.plain.markdown import report

            _write(report(fold(loaded.events), cut=loaded.cut).encode() + b"\n", output)
            return 0
        from assistant.store.recording import export_file, export_lines

        now = datetime.now(UTC)
        if output is not None:
            export_file(output, loaded.events, store.body, app_version=__version__, exported_at=now)
            return 0
        for line in export_lines(loaded.events, store.body, app_version=__version__, exported_at=now):
            sys.stdout.buffer.write(line)
    return 0


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{output} cannot be written.", "Choose another place.", detail=str(error)) from error


def _delete(settings: Settings, name: str, *, sure: bool) -> int:
    from assistant.wiring import open_store

    with open_store(settings) as store:
        session = store.find(name)
        if not sure:
            if not sys.stdin.isatty():
                raise UsageError("Deleting a session needs a yes.", "Add --yes.")
            title = safe(store.row(session).title or session, multiline=False)
            if input(f"Delete {session} ({title})? Type yes: ").strip() != "yes":
                print("Kept.")
                return 0
        store.delete(session)
        print(f"Deleted {session}.")
    return 0
