# ruff: noqa: E501, S608 - tables of statements
"""Recordings, databases and texts for the terminal that somebody else has made: shown as they are, and nothing done."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assistant.domain import event as ev
from assistant.domain.proposal import ProposalState
from assistant.errors import GateError, RecordingError, StoreError
from assistant.store.log import SessionStore
from assistant.store.recording import export_file, read_file
from assistant.tui.app import PilothouseApp
from assistant.tui.ports import Recording
from tests.attacks.injection import ATTACKS, DISGUISES, UI_CANARY
from tests.attacks.scene import WATCH, watched
from tests.gate.conftest import OURS, SCALE, lab, says
from tests.integration.terminal import Terminal
from tests.tui import fixture
from tests.tui.scripted import StillClock

TERMINAL = [
    each.payload for each in ATTACKS if "no_control_sequence" in each.must_not or "no_ui_action" in each.must_not
]
TEXTS = TERMINAL + [disguise(UI_CANARY) for name, disguise in DISGUISES.items() if name != "long"]
# What our own drawing never sends: commands to the system, device control, eight-bit controls, reports.
FOREIGN = re.compile(rb"\x1b\][^\x07\x1b]*|\x1b[PX^_][^\x1b]*|\x1b\[\d*[nct]|\xc2[\x80-\x9f]|\x07|[^\x1b]\x08")


def hostile() -> list[ev.Event]:
    """Return a session in which every field that may hold text of others holds all of it."""
    text = "\n".join(TEXTS)
    events = []
    for each in fixture.investigation():
        payload = each
        match each:
            case ev.Asked():
                payload = replace(each, text=text)
            case ev.Answered():
                payload = replace(each, markdown=text, checked=tuple(TEXTS))
            case ev.ToolStarted():
                payload = replace(each, title=TEXTS[0], request=text, kubectl=text)
            case ev.ToolEnded():
                payload = replace(each, result=text, preview=text)
            case ev.FindingsRanked():
                payload = ev.FindingsRanked(
                    tuple(replace(f, summary=text, field=text, outside=text) for f in each.findings)
                )
            case ev.RemediesSuggested():
                payload = ev.RemediesSuggested(tuple(replace(r, title=text, reason=text) for r in each.remedies))
            case _:
                pass
        events.append(payload)
    events += [ev.Noted(each) for each in TEXTS]
    return fixture.numbered(events)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "s.jsonl"
    export_file(path, hostile(), fixture.BODIES.__getitem__, app_version="0", exported_at=datetime.now(UTC))
    return path


def test_the_texts_are_hostile() -> None:
    whole = "\n".join(TEXTS).encode()
    assert len(FOREIGN.findall(whole)) > 5
    assert UI_CANARY.encode() in whole


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10)])
def test_a_terminal_is_told_nothing_by_a_recording(tmp_path: Path, recording: Path, columns: int, rows: int) -> None:
    with Terminal("replay", str(recording), home=tmp_path, columns=columns, rows=rows) as terminal:
        terminal.wait_for(r"\S")
        for keys in ("end", "2", "end", "3", "G", "1", "page down", "f2"):
            terminal.press(keys)
            terminal.wait_for(r"\S")
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0
        found = {bytes(each) for each in FOREIGN.findall(bytes(terminal.raw))}
        assert not [each for each in found if UI_CANARY.encode() in each], found
        # What the program says to the terminal itself may be there; nothing of it may come from the text.
        assert terminal._screen.title == ""
        assert terminal._screen.icon_name == ""
        assert b"\x1b[2J\x1b[1;1H" + UI_CANARY.encode() not in terminal.raw


def test_the_plain_replay_of_it_holds_no_control_byte(tmp_path: Path, recording: Path) -> None:
    with Terminal("replay", "--plain", "--speed", "0", str(recording), home=tmp_path) as terminal:
        assert terminal.wait_end() == 0
        raw = bytes(terminal.raw).decode(errors="replace").replace("\r\n", "\n")
    assert UI_CANARY in raw
    assert not [ch for ch in raw if (ord(ch) < 0x20 and ch != "\n") or 0x7F <= ord(ch) < 0xA0]


async def test_replaying_opens_no_socket_starts_no_process_and_can_decide_nothing(
    tmp_path: Path, recording: Path
) -> None:
    app_state = tmp_path / "state"
    app_state.mkdir()
    with watched(app_state, set()):
        read = read_file(recording)
        app = PilothouseApp(recording=Recording(read.session, read.events, read.body), clock=StillClock())
        async with app.run_test(size=(100, 40)) as pilot:
            for key in ("9", "enter", "a", "enter", "d", "2", "G", "y", "enter"):
                await pilot.press(key)
                await pilot.pause()
            for row in range(2, 38, 3):
                # A click on anything that looks like a link or a button of the text.
                await pilot.click(offset=(12, row))
            await pilot.pause()
            assert app.session is None
            assert app.read_only
    assert WATCH.found == []


@pytest.mark.parametrize("line", [
    '[1.0,"o","\\u001b]52;c;e0NBTkFSWV9VSX0=\\u0007"]', '{"kind":"o","data":"\\u001b]0;x\\u0007","seq":1,"at":"2026"}',
    '{"kind":"__import__","data":{},"seq":1,"at":"2026-11-23T08:00:00Z","hash":"x"}', "\x80\x04\x95", "{" * 5000,
])  # fmt: skip
def test_a_line_that_is_no_event_ends_the_reading(tmp_path: Path, recording: Path, line: str) -> None:
    lines = recording.read_text().splitlines()
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(RecordingError):
        read_file(path)


# Databases ---------------------------------------------------------------------------------------------------------


SABOTAGE = {
    "trigger of the set": "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM approvals; END",
    "trigger that forgets": "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events WHERE seq < new.seq; END",
    "trigger that rewrites": "CREATE TRIGGER t AFTER INSERT ON events BEGIN UPDATE events SET data = '{}' WHERE seq = new.seq; END",
    "view instead of the table": "ALTER TABLE events RENAME TO e; CREATE VIEW events AS SELECT * FROM e",
    "view that hides": "ALTER TABLE events RENAME TO e; CREATE VIEW events AS SELECT * FROM e WHERE seq < 3",
}  # fmt: skip


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_sabotaged_session_database_cannot_hide_anything(tmp_path: Path, name: str) -> None:
    """Refused, or found by the check of the chain: a record is never whole where it is not."""
    path = tmp_path / "sessions.db"
    events = fixture.whole()
    session = events[0].session
    with SessionStore.open(path) as store:
        for event in events[:5]:
            store.append(event)
        store.flush_blocking()
    with sqlite3.connect(path) as raw:
        raw.executescript("DROP TRIGGER IF EXISTS events_no_update; DROP TRIGGER IF EXISTS events_no_delete;")
        raw.executescript(SABOTAGE[name])
    refused = found = False
    try:
        with SessionStore.open(path) as store:
            for event in events[5:9]:
                store.append(event)
            store.flush_blocking()
            found = not store.verify(session).intact or len(store.load(session).events) < 9
    except StoreError:
        refused = True
    assert refused or found


JOURNAL: dict[str, Callable[[str], str]] = {
    "forgets approvals": lambda _: "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM approvals; END",
    "makes them unused again": lambda _: "CREATE TRIGGER t AFTER UPDATE ON approvals BEGIN UPDATE approvals SET consumed = NULL; END",
    "types one in": lambda id: "CREATE TRIGGER t AFTER INSERT ON entries BEGIN INSERT OR IGNORE INTO approvals VALUES"
    f" ('{id}', 'd', 'm', '2999-01-01T00:00:00Z', NULL); END",
}  # fmt: skip


@pytest.mark.parametrize("name", JOURNAL)
async def test_a_sabotaged_journal_approves_nothing_and_sends_nothing_twice(tmp_path: Path, name: str) -> None:
    async with lab(tmp_path) as here:
        proposal = await here.control.propose(SCALE, OURS, "k")
        with sqlite3.connect(tmp_path / "state" / "journal.db") as raw:
            raw.execute(JOURNAL[name](proposal.id))
        with pytest.raises(GateError):
            await here.control.execute(proposal.id)
        assert here.server.writes == []
        # A person's own approval counts once or, where the file cannot be written, not at all.
        with suppress(GateError):
            if await here.control.decide(says(proposal)) is ProposalState.APPROVED:
                first = await here.control.execute(proposal.id)
                assert await here.control.execute(proposal.id) == first
        assert len(here.server.writes) <= 1
