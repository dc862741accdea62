"""Recordings: what goes out comes in again, and a foreign or broken file is data with a line number."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.domain.case import fold
from assistant.domain.event import Event
from assistant.domain.hypothesis import Mark
from assistant.errors import PilothouseError, RecordingError, StoreError
from assistant.session.replay import Player
from assistant.store.log import SessionStore
from assistant.store.recording import Recording, export_file, export_lines, read_file, read_lines
from tests.replay import thought
from tests.replay.course import BODY, EVENTS, SHA256
from tests.session.scripted import START


def body(sha256: str) -> str:
    if sha256 != SHA256:
        raise StoreError("not there")
    return BODY


LINES = list(export_lines(EVENTS, body, app_version="0.1", exported_at=START))


def read(lines: list[bytes]) -> Recording:
    return read_lines(io.BytesIO(b"".join(lines)))


class TestRoundTrip:
    @pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.gz"])
    def test_events_and_texts_come_back(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        export_file(path, EVENTS, body, app_version="0.1", exported_at=START)
        found = read_file(path)
        assert found.events == EVENTS and found.cut == "" and found.session == "s1"
        assert found.body(SHA256) == BODY
        assert [file.name for file in tmp_path.iterdir()] == [name]

    def test_the_same_session_gives_the_same_file(self, tmp_path: Path) -> None:
        for name in ("a.gz", "b.gz"):
            export_file(tmp_path / name, EVENTS, body, app_version="0.1", exported_at=START)
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()

    def test_a_missing_text_is_named_and_the_rest_is_there(self) -> None:
        def nothing(sha256: str) -> str:
            raise StoreError("deleted")

        found = read(list(export_lines(EVENTS, nothing, app_version="0.1", exported_at=START)))
        assert found.events == EVENTS and found.cut == ""
        with pytest.raises(RecordingError, match="not in this recording"):
            found.body(SHA256)

    def test_an_imported_session_is_listed_and_verifies(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            found = read(LINES)
            session = store.import_session(found.events, [found.body(sha256) for sha256 in found.bodies])
            case = fold(store.load(session).events)
            assert case.question == fold(EVENTS).question and store.body(SHA256) == BODY
            assert store.row(session).imported and store.verify(session).intact
            assert not store.interrupted(store.row(session))


class TestTextsOfModels:
    """What a model was sent and what it said travels with the session, like the texts that evidence stands in."""

    def lines(self, body: Callable[[str], str] = thought.TEXTS.__getitem__) -> list[bytes]:
        return list(export_lines(thought.EVENTS, body, app_version="0.1", exported_at=START))

    def test_prompts_and_replies_come_back_and_stand_before_the_event_that_names_them(self) -> None:
        lines = self.lines()
        found = read(lines)
        assert found.events == thought.EVENTS
        assert {sha256: found.body(sha256) for sha256 in found.bodies} == thought.TEXTS
        values = [json.loads(line) for line in lines]
        bodies = [value["body"] for value in values if "body" in value]
        assert len(bodies) == len(set(bodies)), "a text that two calls name is written once"
        for digest in (thought.CALLED.prompt_digest, thought.CALLED.reply_digest, thought.CUT.reply_digest):
            named = next(
                n for n, value in enumerate(values)
                if value.get("kind") == "model_called" and digest in value["data"].values()
            )  # fmt: skip
            assert next(n for n, value in enumerate(values) if value.get("body") == digest) < named

    def test_a_recording_without_them_still_loads_and_names_what_is_missing(self) -> None:
        def evidence_only(sha256: str) -> str:
            return body(sha256)

        lines = self.lines(evidence_only)
        assert sum(b"missing_body" in line for line in lines) == 3
        for kept in (lines, [line for line in lines if b"missing_body" not in line]):
            found = read(kept)
            assert found.events == thought.EVENTS and found.cut == ""
            with pytest.raises(RecordingError, match="not in this recording"):
                found.body(thought.CALLED.prompt_digest)

    def test_a_call_that_kept_no_text_names_none(self) -> None:
        bare = replace(thought.CALLED, prompt_digest="", reply_digest="")
        events = (*EVENTS, Event("s1", len(EVENTS) + 1, START, bare))
        lines = list(export_lines(events, body, app_version="0.1", exported_at=START))
        assert not any(b"missing_body" in line for line in lines)
        assert read(lines).events == events

    def test_a_stored_session_is_exported_replayed_and_imported_as_it_was(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl.gz"
        with SessionStore.open(tmp_path / "s.db") as store:
            for text in thought.TEXTS.values():
                store.put_body("s1", text)
            for event in thought.EVENTS:
                store.append(event)
            store.flush_blocking()
            assert store.verify("s1").intact and store.verify_texts("s1").intact
            export_file(path, store.load("s1").events, store.body, app_version="0.1", exported_at=START)
        found = read_file(path)
        player = Player(found.events)
        assert player.jump(player.length) == fold(thought.EVENTS)
        assert player.case.board[1].mark is Mark.STRUCK and player.case.spent.calls == 2
        with SessionStore.open(tmp_path / "other.db") as store:
            session = store.import_session(found.events, [found.body(sha256) for sha256 in found.bodies])
            assert store.verify_texts(session).intact
            assert store.body(thought.CALLED.reply_digest) == thought.REPLY


class TestCutFiles:
    def test_a_cut_after_any_byte_replays_up_to_the_cut_and_says_so(self) -> None:
        whole = b"".join(LINES)
        head = len(LINES[0])
        for end in [*range(head, len(whole) - 1, 37), len(whole) - 1]:
            found = read_lines(io.BytesIO(whole[:end]))
            assert found.events == EVENTS[: len(found.events)]
            assert found.cut and f"{len(found.events)} of {len(EVENTS)}" in found.cut

    def test_a_cut_gzip_file_replays_up_to_the_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl.gz"
        path.write_bytes(gzip.compress(b"".join(LINES))[:-400])
        assert read_file(path).cut

    def test_an_empty_file_is_refused(self) -> None:
        with pytest.raises(RecordingError, match="empty"):
            read([])


class TestForeignFiles:
    @pytest.mark.parametrize(
        ("place", "change", "said"),
        [
            (0, {"format": "asciicast"}, "not a recording"),
            (0, {"version": 99}, "format version 99"),
            (0, {"session": "../../etc/passwd"}, "session id"),
            (1, {"kind": "exec"}, "Line 2"),
            (1, {"seq": 5}, "Line 2"),
            (1, {"at": "yesterday"}, "Line 2"),
            (1, {"at": "2026-11-24T03:00:00"}, "Line 2"),
            (2, {"data": {"turn": 1, "text": "other", "namespace": "shop"}}, "has been changed"),
            (2, {"hash": "0" * 64}, "has been changed"),
            (-1, {"events": 3}, "it ends 3 events"),
            (-1, {"head": "0" * 64}, "it ends"),
        ],
    )
    def test_a_changed_line_is_named(self, place: int, change: dict[str, object], said: str) -> None:
        lines = LINES.copy()
        lines[place] = json.dumps(json.loads(lines[place]) | change).encode() + b"\n"
        with pytest.raises(RecordingError, match=said) as caught:
            read(lines)
        assert caught.value.hint

    def test_a_removed_or_doubled_line_is_named(self) -> None:
        for lines in ([*LINES[:3], *LINES[4:]], [*LINES[:4], *LINES[3:]]):
            with pytest.raises(RecordingError, match=r"Line (4|5)"):
                read(lines)

    def test_a_bomb_is_not_unpacked(self) -> None:
        bomb = base64.b64encode(zlib.compress(b"0" * 50_000_000, 9)).decode()
        line = json.dumps({"body": "0" * 64, "size_bytes": 10, "zlib": bomb}).encode() + b"\n"
        found = read([LINES[0], line, *LINES[1:]])
        tracemalloc.start()
        try:
            with pytest.raises(RecordingError, match="damaged"):
                found.body("0" * 64)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 1_000_000

    def test_a_claimed_huge_text_is_refused(self) -> None:
        line = json.dumps({"body": "0" * 64, "size_bytes": 2**62, "zlib": "AAAA"}).encode() + b"\n"
        with pytest.raises(RecordingError, match="Line 2"):
            read([LINES[0], line])

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, sum(map(len, LINES)) - 1), st.integers(0, 255))
    def test_any_single_byte_change_is_harmless(self, at: int, byte: int) -> None:
        data = bytearray(b"".join(LINES))
        data[at] = byte
        try:
            found = read_lines(io.BytesIO(bytes(data)))
            fold(found.events)
        except RecordingError as error:
            assert error.meaning and error.hint

    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=300))
    def test_any_bytes_give_a_recording_or_an_error_that_says_what_to_do(self, data: bytes) -> None:
        for content in (data, LINES[0] + data + b"\n"):
            try:
                read_lines(io.BytesIO(content))
            except PilothouseError as error:
                assert error.meaning and error.hint

    def test_a_folder_or_a_missing_file_is_said(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "nothing.jsonl"):
            with pytest.raises(RecordingError):
                read_file(path)
