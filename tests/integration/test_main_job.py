"""The main job as a person does it: a practice incident from the list to fixed, then the recorded session again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.backend import practice_place
from assistant.config import load
from assistant.domain.case import Case, fold
from assistant.domain.event import Event, Healing
from assistant.domain.proposal import Answer, ProposalState
from assistant.practice import incident
from assistant.session.replay import Player
from assistant.store.recording import read_file
from assistant.wiring import open_store, open_work
from tests.integration.terminal import Terminal, private_environment

ROOT = Path(__file__).resolve().parents[2]


def pilothouse(*args: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assistant", *args],
        env=private_environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(("columns", "rows"), [(120, 36), (80, 24)])
def test_a_person_finds_the_cause_approves_the_change_sees_it_heal_and_replays_it(
    tmp_path: Path, columns: int, rows: int
) -> None:
    with Terminal("practice", home=tmp_path, columns=columns, rows=rows) as terminal:
        terminal.wait_for("Practice on a recorded cluster")
        terminal.press(*["j"] * 5)
        terminal.wait_for(r"> The shop front page is gone")
        terminal.press("enter")
        terminal.wait_for("The shop front page returns no response since the release")
        terminal.wait_for("REC")
        assert "warning" not in terminal.text(), "nothing is wrong with practising"
        terminal.press("enter")
        terminal.wait_for("1 approval")
        terminal.wait_for(r"web-frontend:5\.")
        terminal.press("f2")
        terminal.wait_for(r"APPROVE")
        screen = terminal.wait_for(r"\+\s+image: docker.io/acme/web-frontend:5\.12\.")
        assert "5.21.0" in screen
        # Keys in the first moment after opening are ignored on purpose; so press until the card says it is armed.
        press_until(terminal, "a", "any other key disarms")
        terminal.press("enter")
        terminal.wait_for("fixed", seconds=90)
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0
        assert b"\x1b[?1049l" in terminal.raw, "the terminal's own screen is not restored"

    listed = pilothouse("sessions", "list", home=tmp_path)
    assert listed.returncode == 0
    assert "fixed" in listed.stdout
    assert "shop front page" in listed.stdout
    replayed = pilothouse("replay", "last", "--plain", home=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    for said in ("you ask: The shop front page", "APPROVED by", "APPLIED", "fixed", "END OF REPLAY"):
        assert said in replayed.stdout
    exported = pilothouse("sessions", "export", "last", "-o", str(tmp_path / "it.jsonl"), home=tmp_path)
    assert exported.returncode == 0, exported.stderr
    verified = pilothouse("sessions", "verify", home=tmp_path)
    assert verified.returncode == 0, verified.stdout
    assert "1 of 1 approved cards drawn again alike" in verified.stdout
    assert "journal  holds" in verified.stdout
    assert "BROKEN" not in verified.stdout


def press_until(terminal: Terminal, key: str, pattern: str) -> None:
    for _ in range(20):
        terminal.press(key)
        try:
            terminal.wait_for(pattern, seconds=0.5)
        except AssertionError:
            continue
        return
    raise AssertionError(f"{key!r} never led to {pattern!r}:\n{terminal.text()}")


async def test_the_replayed_case_equals_the_live_one(tmp_path: Path) -> None:
    settings = load({"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}, {}, tmp_path / "none")
    work = await open_work(settings, practice_place(incident("lost-points")))
    live: list[Case] = []

    def listen(event: Event, case: Case) -> None:
        live.append(case)

    work.session.subscribe(listen)
    try:
        await work.session.ask("Points are not shown in the app; the loyalty pods are all green.")
        await work.session.settled()
        proposal = work.session.case.waiting[0].proposal
        assert proposal.action.target.kind == "Service"
        assert await work.session.decide(proposal.id, Answer.APPROVE, shown="0" * 64) is ProposalState.APPROVED
        async with asyncio.timeout(90):
            await work.session.finished()
        known = work.session.case.proposal(proposal.id)
        assert known is not None
        assert known.verified is not None
        assert known.verified.healing is Healing.FIXED
        session = work.session.id
    finally:
        await work.close()
    with open_store(settings, read_only=True) as store:
        events = store.load(session).events
        from assistant.store.recording import export_file

        export_file(tmp_path / "r.jsonl", events, store.body, app_version="0", exported_at=events[-1].at)
    assert fold(events) == live[-1]
    recording = read_file(tmp_path / "r.jsonl")
    player = Player(recording.events)
    player.jump(player.length)
    assert player.case == live[-1]
    assert recording.body(player.case.evidence[0].body)


def test_every_shipped_recording_replays_to_its_end(tmp_path: Path) -> None:
    recordings = sorted((ROOT / "recordings" / "sessions").glob("*.jsonl*"))
    assert len(recordings) >= 6
    for path in recordings:
        recording = read_file(path)
        assert not recording.cut, path
        case = fold(recording.events)
        assert case.root_causes, path
        assert [p for p in case.proposals if p.verified and p.verified.healing is Healing.FIXED], path


def test_the_first_frame_is_painted_before_the_panes_are_made(tmp_path: Path) -> None:
    with Terminal("practice", "missing-image", home=tmp_path) as terminal:
        terminal.wait_for("ask what is wrong")
        raw = bytes(terminal.raw)
        terminal.press("ctrl+q")
        terminal.wait_end()
    edge = raw.find("│".encode())
    assert 0 <= raw.find(b"connecting") < (edge if edge >= 0 else len(raw)), "the first frame came with the panes"
