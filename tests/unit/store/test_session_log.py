"""The stored log: what is acknowledged is there, what was changed is seen, what cannot be written is said."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Migrations

from assistant.domain import event as ev
from assistant.domain.case import fold
from assistant.domain.event import Event
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Verdict
from assistant.domain.proposal import Answer, Decision, Origin
from assistant.errors import StoreError, UsageError
from assistant.session.recorder import SessionRecorder
from assistant.store.chain import GENESIS, Link, check, fault
from assistant.store.log import SessionStore
from assistant.store.sqlite import (
    StoreDamagedError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
    StoreNewerError,
    StoreReadOnlyError,
    open_database,
)  # fmt: skip
from tests.session.scripted import FakeClock, patch, proposal
from tests.unit.domain.payloads import payloads

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
OPENED = ev.SessionOpened("0.1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", "live", "expert")


def filled(store: SessionStore, session: str = "s1", count: int = 200, start: datetime = AT) -> None:
    sha256 = store.put_body(session, '{"reason": "ImagePullBackOff"}')
    for seq in range(1, count + 1):
        payload: ev.Payload = OPENED
        if seq == 2:
            payload = ev.Asked(1, f"why is web down in {session}?", "shop")
        elif seq == 3:
            fact = Evidence("E1", "GET /api/v1/pods", '"reason": "ImagePullBackOff"', AT, sha256, 30)
            payload = ev.EvidenceAdded(fact)
        elif seq == 4:
            payload = ev.Answered("The image does not exist [E1].", Verdict.FAULT, "expert")
        elif seq > 4:
            payload = ev.Noted(f"note {seq}")
        store.append(Event(session, seq, start + timedelta(seconds=seq), payload))
    store.flush_blocking()


class TestLog:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(payloads, max_size=15))
    def test_the_live_case_equals_the_fold_of_what_is_stored(self, tmp_path: Path, given: list[ev.Payload]) -> None:
        async def run() -> None:
            session = f"h-{os.urandom(4).hex()}"
            with SessionStore.open(tmp_path / "s.db") as store:
                recorder = SessionRecorder(session, store, FakeClock(), lambda text: (text, 0))
                recorder.emit(OPENED)
                for payload in given:
                    recorder.emit(payload)
                await store.flush()
                loaded = store.load(session)
                assert loaded.cut == ""
                assert loaded.events == tuple(recorder.events)
                assert fold(loaded.events) == recorder.case
                assert store.verify(session).intact
                assert store.row(session).events == len(recorder.events)

        asyncio.run(run())

    def test_text_that_is_not_unicode_is_kept_as_replacement_characters(self, tmp_path: Path) -> None:
        async def run() -> None:
            with SessionStore.open(tmp_path / "s.db") as store:
                recorder = SessionRecorder("s1", store, FakeClock(), lambda text: (text, 0))
                recorder.emit(OPENED)
                recorder.emit(ev.Noted("broken \ud800 text"))
                await store.flush()
                assert store.load("s1").events == tuple(recorder.events)
                assert store.body(store.put_body("s1", "a \udfff b")) is not None

        asyncio.run(run())

    def test_an_event_out_of_order_is_refused(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=5)
            with pytest.raises(StoreError, match="does not follow"):
                store.append(Event("s1", 7, AT, ev.Noted("x")))

    def test_events_cannot_be_changed_or_removed_by_sql(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=5)
        raw = sqlite3.connect(tmp_path / "s.db")
        for statement in ("update events set data = '{}'", "delete from events where seq = 5"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
        raw.close()

    def test_a_killed_writer_loses_no_acknowledged_event(self, tmp_path: Path) -> None:
        program = Path(__file__).with_name("crashing_writer.py")
        for attempt in range(3):
            path = tmp_path / f"s{attempt}.db"
            with subprocess.Popen(
                [sys.executable, str(program), str(path)], stdout=subprocess.PIPE, text=True
            ) as child:
                assert child.stdout
                acknowledged = 0
                while acknowledged < 60 * (attempt + 1):
                    acknowledged = int(child.stdout.readline())
                os.kill(child.pid, signal.SIGKILL)
                rest = [line for line in child.stdout.read().split("\n") if line]
                # The last line may have been cut while it was written.
                acknowledged = max([acknowledged, *[int(line) for line in rest[:-1]]])
            with SessionStore.open(path) as store:
                loaded = store.load("s1")
                assert loaded.cut == "" and len(loaded.events) >= acknowledged
                assert store.verify("s1").intact
                assert store.interrupted(store.row("s1"))
                store.claim("s1")


class TestChain:
    def test_every_single_byte_change_of_a_session_is_seen(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=200)
            links, row = store._links("s1"), store.row("s1")
        assert check("s1", links, row.head, row.events).intact
        tried = 0
        for place, item in enumerate(links):
            columns = [item.session, str(item.seq), item.at, item.kind, item.data, item.prev_hash, item.hash]
            for column, text in enumerate(columns):
                for at in range(len(text)):
                    changed = columns.copy()
                    changed[column] = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
                    if not changed[1].isascii() or not changed[1].isdigit():
                        continue
                    bad = Link(changed[0], int(changed[1]), *changed[2:])
                    # The events before are the same in every round: checking from the changed one on is enough.
                    said = fault("s1", place + 1, links[place - 1].hash if place else GENESIS, bad)
                    assert said, f"event {place + 1}, column {column}, byte {at}"
                    tried += 1
        assert tried > 35_000

    def test_verify_names_the_first_bad_event(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=20)
        for statement, bad in (
            ("update events set data = replace(data, 'note 7', 'note X') where seq = 7", 7),
            ("delete from events where seq > 15", 16),
            ("update events set at = '2026-11-24T03:00:03Z' where seq = 2", 2),
        ):
            raw = sqlite3.connect(tmp_path / "s.db")
            for trigger in ("events_never_change", "events_stay"):
                raw.execute(f"drop trigger if exists {trigger}")
            raw.execute("begin")
            raw.execute(statement)
            raw.commit()
            raw.close()
            with SessionStore.open(tmp_path / "s.db") as store:
                found = store.verify("s1")
                assert not found.intact and found.bad_seq <= bad
            assert found.why
        assert found.bad_seq == 2


class TestList:
    def test_rows_say_what_happened_without_reading_events(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, "s1", 10)
            filled(store, "s2", 4, AT + timedelta(days=1))
            first, second = store.sessions()
            assert (first.id, second.id) == ("s2", "s1")
            assert (second.title, second.verdict, second.context) == ("why is web down in s1?", "fault", "prod-eu")
            assert (second.events, second.evidence, second.opened_at) == (10, 1, AT + timedelta(seconds=1))
            assert [row.id for row in store.sessions(text="down in s2")] == ["s2"]
            assert [row.id for row in store.sessions(text="imagepull")] == ["s2", "s1"]
            assert store.sessions(context="nowhere") == []

    @pytest.mark.parametrize("spoilt", ["opened_at = 'yesterday'", "last_at = ''", "opened_at = last_at || char(27)"])
    def test_an_entry_that_cannot_be_read_hides_no_other(self, tmp_path: Path, spoilt: str) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, "s1", 10)
            filled(store, "s2", 4, AT + timedelta(days=1))
        with closing(sqlite3.connect(tmp_path / "s.db")) as raw:
            raw.execute(f"update sessions set {spoilt} where id = 's1'")  # noqa: S608 - literals above
            raw.commit()
        with SessionStore.open(tmp_path / "s.db") as store:
            listed = {row.id: row for row in store.sessions()}
            assert listed["s2"].title == "why is web down in s2?"
            assert listed["s1"].status == "damaged" and "sessions verify" in listed["s1"].title
            with pytest.raises(StoreDamagedError, match="s1"):
                store.row("s1")
            assert len(store.load("s1").events) == 10, "its events are whole"

    def test_a_foreign_change_in_an_idle_session_does_not_make_it_look_interrupted(self, tmp_path: Path) -> None:
        change = proposal(1, patch(), Origin("client", "kubectl"))
        said = Decision(change.id, change.digest, Answer.DENY, "alice", AT)
        with SessionStore.open(tmp_path / "s.db") as store:
            store.append(Event("s1", 1, AT, OPENED))
            store.append(Event("s1", 2, AT, ev.Proposed(change)))
            store.append(Event("s1", 3, AT, ev.Decided(said)))
            store.flush_blocking()
            assert store.row("s1").status == "open" and not store.interrupted(store.row("s1"))

    def test_the_list_never_reads_events(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            plan = store._reader.query(
                "explain query plan select * from sessions order by last_at desc, id desc limit 100"
            )
            assert not any("events" in row["detail"] or "TEMP B-TREE" in row["detail"] for row in plan)

    @pytest.mark.parametrize("text", ['"', "a OR b", "NEAR(", "*", "a:b", "-", "'; drop table events; --", "\x00", ""])
    def test_any_text_may_be_searched_for(self, tmp_path: Path, text: str) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=5)
            store.search(text)
            store.sessions(text=text)

    def test_a_prefix_finds_one_session_or_says_which_there_are(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, "20261124-aa", 4)
            filled(store, "20261124-ab", 4, AT + timedelta(days=1))
            assert store.find("20261124-aa") == "20261124-aa"
            assert store.find("last") == "20261124-ab"
            for prefix in ("20261124-a", "nothing", "", "%"):
                with pytest.raises(UsageError):
                    store.find(prefix)

    def test_deleting_takes_events_texts_and_hits_and_leaves_the_others(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, "s1", 5)
            filled(store, "s2", 5)
            own = store.put_body("s1", "only here")
            shared = store.load("s2").events[2].payload
            assert isinstance(shared, ev.EvidenceAdded)
            store.flush_blocking()
            store.delete("s1")
            store._fresh_bodies.clear()
            assert [row.id for row in store.sessions()] == ["s2"]
            assert {hit.session for hit in store.search("image")} == {"s2"}
            assert store.body(shared.evidence.body)
            with pytest.raises(StoreError):
                store.body(own)
            assert store.verify("s2").intact


class TestBadFiles:
    def test_a_missing_file_is_made_for_writing_and_named_for_reading(self, tmp_path: Path) -> None:
        with pytest.raises(StoreMissingError):
            SessionStore.open(tmp_path / "deep" / "s.db", read_only=True)
        SessionStore.open(tmp_path / "deep" / "s.db").close()
        assert (tmp_path / "deep" / "s.db").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_a_file_that_is_no_database_is_damaged_and_left_alone(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "s.db"
        path.write_bytes(content)
        for read_only in (False, True):
            with pytest.raises(StoreDamagedError) as caught:
                SessionStore.open(path, read_only=read_only)
            assert caught.value.hint
        assert path.read_bytes() == content

    def test_a_damaged_event_ends_reading_there_and_says_so(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=10)
        raw = sqlite3.connect(tmp_path / "s.db")
        raw.execute("drop trigger events_never_change")
        raw.execute("update events set data = '{broken' where seq = 8")
        raw.commit()
        raw.close()
        with SessionStore.open(tmp_path / "s.db") as store:
            loaded = store.load("s1")
            assert len(loaded.events) == 7 and "event 8" in loaded.cut

    def test_a_newer_layout_is_not_touched(self, tmp_path: Path) -> None:
        SessionStore.open(tmp_path / "s.db").close()
        newer = Migrations("sessions")

        @newer(name="999_from_the_future")
        def future(db: object) -> None:
            pass

        with open_database(tmp_path / "s.db") as connection, connection.transaction():
            newer.apply(connection.tables)
        for read_only in (False, True):
            with pytest.raises(StoreNewerError, match="999_from_the_future"):
                SessionStore.open(tmp_path / "s.db", read_only=read_only)

    def test_a_full_disk_is_said_and_nothing_is_lost_once_there_is_room(self, tmp_path: Path) -> None:
        # RLIMIT_FSIZE makes the kernel refuse to grow files, which is what a full disk does, without needing one.
        troubles: list[StoreError | None] = []
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=5)
            store.listen(troubles.append)
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
            try:
                store.append(Event("s1", 6, AT, ev.Noted("does not fit" * 1000)))
                with pytest.raises(StoreError) as caught:
                    store.flush_blocking()
                assert caught.value.hint
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                signal.signal(signal.SIGXFSZ, ignored)
            assert len(store.load("s1").events) == 5
            store.flush_blocking()
            assert len(store.load("s1").events) == 6 and store.verify("s1").intact
            assert [error is None for error in troubles] == [False, True]

    def test_sqlite_names_are_turned_into_what_they_mean(self, tmp_path: Path) -> None:
        from assistant.store.sqlite import store_error

        path = tmp_path / "s.db"
        for name, kind in (
            ("SQLITE_FULL", StoreFullError), ("SQLITE_BUSY_SNAPSHOT", StoreLockedError),
            ("SQLITE_CORRUPT_VTAB", StoreDamagedError),
            ("SQLITE_NOTADB", StoreDamagedError), ("SQLITE_READONLY_DBMOVED", StoreReadOnlyError),
            ("SQLITE_CANTOPEN", StoreReadOnlyError),
        ):  # fmt: skip
            error = sqlite3.OperationalError("x")
            error.sqlite_errorname = name
            assert type(store_error(error, path)) is kind
        assert type(store_error(OSError(28, "no space"), path)) is StoreFullError
        assert type(store_error(OSError(30, "read-only"), path)) is StoreReadOnlyError

    def test_a_lock_that_is_held_too_long_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("assistant.store.sqlite.LOCK_TIMEOUT_SECONDS", 0.05)
        with open_database(tmp_path / "s.db") as one, open_database(tmp_path / "s.db") as two:
            with one.transaction() as raw:
                raw.execute("create table t(x)")
                with pytest.raises(StoreLockedError), two.transaction():
                    pass
            with two.transaction() as raw:
                raw.execute("insert into t values (1)")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_read_only_folder_can_still_be_read(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=5)
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(StoreReadOnlyError):
                SessionStore.open(tmp_path / "s.db")
            with SessionStore.open(tmp_path / "s.db", read_only=True) as store:
                assert len(store.load("s1").events) == 5
        finally:
            tmp_path.chmod(0o700)

    def test_a_store_opened_for_reading_refuses_to_write(self, tmp_path: Path) -> None:
        with SessionStore.open(tmp_path / "s.db") as store:
            filled(store, count=4)
        with SessionStore.open(tmp_path / "s.db", read_only=True) as store:
            assert len(store.load("s1").events) == 4
            with pytest.raises(StoreReadOnlyError):
                store.append(Event("s1", 5, AT, ev.Noted("x")))
