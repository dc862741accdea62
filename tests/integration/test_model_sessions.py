"""A stored session in which a language model thought, through the commands: verified, shown, exported, replayed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from assistant.domain.event import ModelCalled
from assistant.store.bodies import body_key
from assistant.store.log import SessionStore
from assistant.store.recording import read_file
from tests.integration.terminal import Terminal
from tests.integration.test_cli_bad_input import run
from tests.replay import thought


@pytest.fixture
def home(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with SessionStore.open(state / "sessions.db") as store:
        for text in thought.TEXTS.values():
            store.put_body("s1", text)
        for event in thought.EVENTS:
            store.append(event)
    return tmp_path


def said(home: Path, *arguments: str, code: int = 0) -> str:
    done = run(home, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def squeezed(text: str | Sequence[str]) -> str:
    return " ".join(str(text).split())


def test_an_export_holds_what_was_sent_and_said_and_replays_as_it_was(home: Path) -> None:
    path = home / "s.jsonl.gz"
    said(home, "sessions", "export", "s1", "-o", str(path))
    found = read_file(path)
    assert found.events == thought.EVENTS
    calls = [event.payload for event in found.events if isinstance(event.payload, ModelCalled)]
    assert [found.body(call.prompt_digest) for call in calls] == [thought.PROMPT, thought.PROMPT]
    text = squeezed(said(home, "replay", str(path), "--plain"))
    for words in ("might be: H1", "you mark: H2 struck", "the expert says", "cut: no token for 45 s", "unsupported:"):
        assert words in text, words


def test_a_changed_prompt_is_found_by_verify(home: Path) -> None:
    said(home, "sessions", "verify", "s1")
    with closing(sqlite3.connect(home / "state" / "sessions.db")) as raw, raw:
        raw.execute("update bodies set zlib = x'00' where sha256 = ?", (body_key(thought.PROMPT),))
    assert body_key(thought.PROMPT)[:12] in said(home, "sessions", "verify", "s1", code=1)


def test_show_names_board_price_and_what_nothing_carries_in_every_form(home: Path) -> None:
    text = squeezed(said(home, "sessions", "show", "s1"))
    assert "might be: H2 STRUCK" in text and "unsupported: no evidence is cited" in text
    assert "2 calls, 12800 + 520 tokens, $0.02 + 1 unpriced" in text
    value = json.loads(said(home, "sessions", "show", "s1", "--format", "json"))
    assert value["board"][1]["mark"] == "struck" and value["usage"]["unpriced_calls"] == 1
    assert "## What it might be" in said(home, "sessions", "show", "s1", "--format", "markdown")


@pytest.mark.parametrize(("columns", "rows"), [(120, 36), (80, 24)])
def test_the_player_shows_the_board_and_the_price(home: Path, columns: int, rows: int) -> None:
    path = home / "s.jsonl"
    said(home, "sessions", "export", "s1", "-o", str(path))
    with Terminal("replay", str(path), home=home, columns=columns, rows=rows) as terminal:
        terminal.wait_for("REPLAY")
        terminal.press("G")
        terminal.wait_for(r"13\.3k.*\$0\.02")
        terminal.wait_for("H1 H2 struck")
        terminal.press("ctrl+q")
        assert terminal.wait_end() == 0
