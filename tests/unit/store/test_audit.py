"""Any changed, added or removed field of what is on record is found, and the place is named; what holds, holds."""

# ruff: noqa: S311, S608 - random for its choice of rows only, and statements made of this file's own words
from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.domain.proposal import Answer, Decision, Origin, Outcome, ProposalState
from assistant.errors import UsageError
from assistant.store.bodies import body_key
from assistant.store.chain import GENESIS, Damage, Verification, fault
from assistant.store.heads import Heads, read_heads, write_heads
from assistant.store.journal import FILE, Journal, entry_link, mac_digest, migrations
from assistant.store.journal_audit import NotedHead, check_entries, noted_head, verify_journal
from assistant.store.log import SessionStore
from assistant.store.sqlite import open_database
from assistant.wire import encode
from tests.replay import thought
from tests.session.scripted import START, patch, proposal
from tests.unit.store.test_session_log import filled

JOURNAL_COLUMNS = ("seq", "proposal", "gate", "at", "kind", "cluster", "data", "prev_hash", "hash")
APPROVAL_COLUMNS = ("proposal", "digest", "mac", "expires", "consumed")
# `id` numbers the rows for the search index, which is no part of the record.
EVENT_COLUMNS = ("session", "seq", "at", "kind", "data", "prev_hash", "hash")


def keep(folder: Path) -> str:
    """Write a small journal: one change applied, one denied, one refused by rule, one lost. Returns its head."""
    journal = Journal(folder, "gate-1", "c-1")
    for number in (1, 2, 3):
        journal.proposed(proposal(number, patch(), Origin("client", "kubectl")))
    done, denied, lost = (proposal(number, patch(), Origin("client", "kubectl")) for number in (1, 2, 3))
    for change in (done, lost):
        said = Decision(change.id, change.digest, Answer.APPROVE, "grace", START, shown="ab" * 32)
        journal.decided(said, f"mac of {change.id}", "2026-11-24T03:02:00+00:00")
        journal.intent(change.id, change.digest, f"mac of {change.id}")
    journal.sent(done.id)
    journal.outcome(Outcome(done.id, ProposalState.APPLIED, START, 200, "ok"))
    journal.decided(Decision(denied.id, denied.digest, Answer.DENY, "grace", START, "no"))
    journal.outcome(Outcome(denied.id, ProposalState.DENIED, START))
    journal.refused({"method": "POST", "path": "/api/v1/x", "rule": "path-tricks"})
    journal.outcome(Outcome(lost.id, ProposalState.UNKNOWN, START))
    journal.passed({"method": "PATCH", "path": "/api/v1/x"})
    journal.close()
    return journal.head


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    keep(tmp_path / "first")
    return tmp_path / "first"


def judged(folder: Path, *heads: NotedHead) -> Verification:
    found = verify_journal(folder, heads)
    assert found is not None
    return found.found


def statements(path: Path, *sql: tuple[str, tuple[object, ...]]) -> None:
    """Change a database behind its own back: without triggers, keys and indexes."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA foreign_keys=OFF")
        found = raw.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'index')").fetchall()
        for kind, name in found:
            if not name.startswith("sqlite_"):
                raw.execute(f"DROP {kind} {name}")
        for text, values in sql:
            raw.execute(text, values)


def other_values(value: object) -> Iterator[object]:
    """Yield the value with its bytes changed (of a long one every 41st), with one removed and with one added."""
    if isinstance(value, int):
        yield from (value + 1, value + 1000, -value - 1)
        return
    if value is None:
        yield "x"
        return
    text = str(value)
    places = range(0, len(text), 41 if len(text) > 64 else 1)
    yield from (text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :] for at in places)
    yield text + " "
    yield from {text[:-1], text.upper()} - {text}


def each_changed(
    path: Path, table: str, columns: tuple[str, ...], key: str, verify: Callable[[], Verification]
) -> Iterator[tuple[object, str, Verification]]:
    """Change every byte of every stored field, one at a time, and yield what a check then says."""
    statements(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA foreign_keys=OFF")
        raw.execute("PRAGMA synchronous=OFF")
        rows = raw.execute(f"SELECT rowid, {key}, {', '.join(columns)} FROM {table}").fetchall()
        for rowid, name, *values in rows:
            for column, value in zip(columns, values, strict=True):
                for other in other_values(value):
                    if column == "seq" and other in [row[1] for row in rows]:
                        continue
                    moved = other if column == "seq" and key == "seq" and table == "entries" else rowid
                    raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (other, rowid))
                    yield name, column, verify()
                    raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, moved))


class TestJournal:
    def test_unchanged_holds(self, journal: Path) -> None:
        found = verify_journal(journal, ())
        assert found is not None
        assert (found.found.intact, found.found.events, found.older) == (True, 14, 0)

    def test_entries_cannot_be_changed_or_removed_by_sql(self, journal: Path) -> None:
        with closing(sqlite3.connect(journal / FILE)) as raw:
            for statement in ("UPDATE entries SET data = '{}'", "DELETE FROM entries WHERE seq = 3"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    raw.execute(statement)

    def test_every_changed_byte_of_an_entry_is_found_where_it_is(self, journal: Path) -> None:
        tried = 0
        with closing(open_database(journal / FILE, read_only=True)) as reader:
            for seq, column, found in each_changed(
                journal / FILE, "entries", JOURNAL_COLUMNS, "seq", lambda: check_entries(reader, []).found
            ):
                assert not found.intact, f"entry {seq}, {column}"
                # A hash that is changed shows at the entry itself; a number that is changed, where it is missing.
                assert found.bad_seq == seq or column == "seq", (found, seq, column)
                tried += 1
        assert tried > 800
        assert judged(journal).intact

    def test_every_changed_byte_of_every_column_breaks_its_link(self, journal: Path) -> None:
        with closing(open_database(journal / FILE, read_only=True)) as database:
            rows = [dict(row) for row in database.query("SELECT * FROM entries ORDER BY seq")]
        tried, prev = 0, GENESIS
        for row in rows:
            assert fault("journal", row["seq"], prev, entry_link(row)) == ""
            for column in JOURNAL_COLUMNS[1:]:
                for at in range(len(row[column])):
                    other = row[column][:at] + chr(ord(row[column][at]) ^ 1) + row[column][at + 1 :]
                    assert fault("journal", row["seq"], prev, entry_link(row | {column: other})), (column, at)
                    tried += 1
            prev = row["hash"]
        assert tried > 5_000

    def test_every_changed_byte_of_an_approval_is_found(self, journal: Path) -> None:
        tried = 0
        with closing(open_database(journal / FILE, read_only=True)) as reader:
            for name, column, found in each_changed(
                journal / FILE, "approvals", APPROVAL_COLUMNS, "proposal", lambda: check_entries(reader, []).found
            ):
                assert not found.intact, f"approval of {name}, {column}"
                assert found.why
                tried += 1
        assert tried > 150
        assert judged(journal).intact

    @pytest.mark.parametrize("change", ["entries = entries + 1", "entries = entries - 1", "hash = 'x' || hash"])
    def test_a_changed_head_is_found(self, journal: Path, change: str) -> None:
        statements(journal / FILE, (f"UPDATE head SET {change}", ()))
        assert not judged(journal).intact

    def test_every_removed_entry_is_named(self, journal: Path) -> None:
        for seq in range(1, 15):
            copy = journal.with_name(f"without-{seq}")
            shutil.copytree(journal, copy)
            statements(copy / FILE, ("DELETE FROM entries WHERE seq = ?", (seq,)))
            found = judged(copy)
            assert (found.bad_seq, found.damage) == (seq, Damage.CUT_OFF if seq == 14 else Damage.REMOVED)
            # The same with the others moved up, so that no number is missing.
            statements(
                copy / FILE, *(("UPDATE entries SET seq = ? WHERE seq = ?", (n - 1, n)) for n in range(seq + 1, 15))
            )
            assert judged(copy).bad_seq == seq

    def test_every_added_entry_is_named(self, journal: Path) -> None:
        for seq in range(1, 16):
            copy = journal.with_name(f"with-{seq}")
            shutil.copytree(journal, copy)
            moved = [("UPDATE entries SET seq = ? WHERE seq = ?", (n + 1, n)) for n in range(14, seq - 1, -1)]
            added = (
                "INSERT INTO entries SELECT ?, proposal, gate, at, 'passed', cluster, '{}', prev_hash, hash FROM"
                " entries WHERE seq = 1 OR seq = 2 LIMIT 1",
                (seq,),
            )
            statements(copy / FILE, *moved, added)
            found = judged(copy)
            assert (found.bad_seq, found.damage) == (seq, Damage.ADDED), found

    def test_swapped_entries_are_named(self, journal: Path) -> None:
        draw = random.Random(1)
        for _ in range(20):
            one, two = sorted(draw.sample(range(1, 15), 2))
            copy = journal.with_name(f"swap-{one}-{two}")
            shutil.copytree(journal, copy, dirs_exist_ok=True)
            numbers = [(99, one), (one, two), (two, 99)]
            statements(copy / FILE, *(("UPDATE entries SET seq = ? WHERE seq = ?", pair) for pair in numbers))
            found = judged(copy)
            assert (found.bad_seq, found.damage) == (one, Damage.CHANGED)

    @pytest.mark.parametrize("sql", [
        "DELETE FROM approvals WHERE proposal = 'A-0001'",
        "INSERT INTO approvals SELECT 'A-0002', digest, mac, expires, NULL FROM approvals LIMIT 1",
        "UPDATE approvals SET consumed = NULL",
    ])  # fmt: skip
    def test_an_approval_that_is_removed_added_or_made_fresh_is_found(self, journal: Path, sql: str) -> None:
        statements(journal / FILE, (sql, ()))
        found = judged(journal)
        assert not found.intact
        assert "approval of A-000" in found.why

    def test_an_entry_replaced_by_one_with_a_proper_hash_is_found(self, journal: Path) -> None:
        other = journal.with_name("other")
        keep(other)
        with closing(sqlite3.connect(other / FILE)) as raw:
            row = raw.execute("SELECT * FROM entries WHERE seq = 1").fetchone()
        places = ", ".join("?" * len(row))
        statements(
            journal / FILE, ("DELETE FROM entries WHERE seq = 1", ()), (f"INSERT INTO entries VALUES ({places})", row)
        )
        found = judged(journal)
        assert (found.bad_seq, found.damage) == (1, Damage.CHANGED)

    def test_a_cut_tail_shows_against_a_head_that_a_session_kept(self, journal: Path) -> None:
        with closing(sqlite3.connect(journal / FILE)) as raw:
            last = raw.execute("SELECT seq || ':' || hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()[0]
            before = raw.execute("SELECT hash FROM entries WHERE seq = 12").fetchone()[0]
        head = noted_head(last, "session s1")
        assert head is not None
        assert judged(journal, head).intact
        # Cut off with care: the head in the file is brought into line, and the approvals fit.
        statements(
            journal / FILE, ("DELETE FROM entries WHERE seq > 12", ()),
            ("UPDATE head SET entries = 12, hash = ?", (before,)),
        )  # fmt: skip
        assert judged(journal).intact
        found = judged(journal, head)
        assert (found.bad_seq, found.damage) == (13, Damage.CUT_OFF)
        assert "session s1" in found.why
        shutil.rmtree(journal)
        assert judged(journal, head).damage is Damage.CUT_OFF

    def test_a_history_written_anew_shows_against_a_head(self, journal: Path) -> None:
        head = noted_head(keep(journal.with_name("other")), "session s1")
        assert head is not None
        found = judged(journal, head)
        assert (found.bad_seq, found.damage) == (14, Damage.CHANGED)

    def test_an_entry_of_another_gate_goes_on_with_the_chain(self, journal: Path) -> None:
        one, two = Journal(journal, "gate-2", "c-1"), Journal(journal, "gate-3", "c-2")
        for gate in (one, two, one):
            gate.passed({"method": "PATCH"})
        one.close()
        two.close()
        assert judged(journal).events == 17
        assert judged(journal).intact

    def test_a_lost_intent_that_the_next_gate_settles_is_in_the_chain(self, tmp_path: Path) -> None:
        first = Journal(tmp_path, "gate-1", "c-1")
        change = proposal(1, patch(), Origin("client", "kubectl"))
        first.proposed(change)
        first.decided(Decision(change.id, change.digest, Answer.APPROVE, "g", START, shown="ab" * 32), "m", "e")
        first.intent(change.id, change.digest, "m")
        first.close()
        second = Journal(tmp_path, "gate-2", "c-1")
        assert len(second.settle()) == 1
        second.passed({})
        second.close()
        assert judged(tmp_path).events == 5
        assert judged(tmp_path).intact

    def test_no_journal_is_no_fault(self, tmp_path: Path) -> None:
        assert verify_journal(tmp_path, ()) is None


class TestOlderJournal:
    """A file written before there was a chain."""

    def make(self, folder: Path) -> None:
        with closing(open_database(folder / FILE, synchronous="FULL")) as database:
            first = next(item for item in migrations.pending(database.tables) if item.name == "0001_entries")
            assert first.fn is not None
            with database.transaction() as raw:
                migrations.ensure_migrations_table(database.tables)
                first.fn(database.tables)
                raw.execute(
                    "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
                    " VALUES ('journal', '0001_entries', '2026-11-01')"
                )
                change = proposal(1, patch(), Origin("client", "kubectl"))
                said = Decision(change.id, change.digest, Answer.APPROVE, "grace", START)
                for kind, data in (("proposed", change), ("decided", said)):
                    raw.execute(
                        "INSERT INTO entries (proposal, gate, at, kind, cluster, data)"
                        " VALUES (?, 'g0', 't', ?, 'c-1', ?)",
                        (change.id, kind, encode(data).decode()),
                    )
                raw.execute("INSERT INTO approvals VALUES (?, ?, 'm', 'e', NULL)", (change.id, change.digest))

    def test_is_said_to_have_no_chain_until_a_gate_opens_it(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        before = verify_journal(tmp_path, ())
        assert before is not None
        assert (before.found.intact, before.older, before.since) == (True, 2, "")

    def test_is_chained_from_then_on_and_keeps_its_entries(self, tmp_path: Path) -> None:
        self.make(tmp_path)
        gate = Journal(tmp_path, "gate-1", "c-1")
        assert gate.kinds("A-0001") == ("proposed", "decided")
        gate.passed({})
        gate.close()
        found = verify_journal(tmp_path, ())
        assert found is not None
        assert (found.found.intact, found.found.events, found.older) == (True, 4, 2)
        assert found.since
        statements(tmp_path / FILE, ("UPDATE entries SET at = 'u' WHERE seq = 2", ()))
        assert (judged(tmp_path).bad_seq, judged(tmp_path).damage) == (2, Damage.CHANGED)


class TestSession:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "s.db"
        with SessionStore.open(path) as store:
            filled(store, "s1", 8)
            filled(store, "s2", 5)
        return path

    def judged(self, path: Path) -> Verification:
        with SessionStore.open(path, read_only=True) as store:
            return self.said(store)

    def said(self, store: SessionStore) -> Verification:
        found = store.verify("s1")
        if found.intact:
            found = store.verify_texts("s1")
        if found.intact and (strays := store.strays()):
            return replace(found, why=strays[0])
        return found

    def test_unchanged_holds(self, path: Path) -> None:
        assert self.judged(path).intact

    def test_every_changed_byte_of_an_event_is_found_where_it_is(self, path: Path) -> None:
        statements(path, ("DELETE FROM events WHERE session = 's2'", ()), ("DELETE FROM sessions WHERE id = 's2'", ()))
        tried = 0
        with SessionStore.open(path, read_only=True) as store:
            for seq, column, found in each_changed(path, "events", EVENT_COLUMNS, "seq", lambda: self.said(store)):
                assert not found.intact, f"event {seq}, {column}"
                assert found.bad_seq == seq or column == "seq", (found, seq, column)
                tried += 1
        assert tried > 800

    def test_every_changed_field_of_its_line_in_the_list_is_found(self, path: Path) -> None:
        statements(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as raw:
            raw.execute("PRAGMA foreign_keys=OFF")
            columns = [row[1] for row in raw.execute("PRAGMA table_info(sessions)") if row[1] != "id"]
            values = raw.execute(f"SELECT {', '.join(columns)} FROM sessions WHERE id = 's1'").fetchone()
            for column, value in zip(columns, values, strict=True):
                for other in other_values(value):
                    raw.execute(f"UPDATE sessions SET {column} = ? WHERE id = 's1'", (other,))
                    assert not self.judged(path).intact, (column, other)
                raw.execute(f"UPDATE sessions SET {column} = ? WHERE id = 's1'", (value,))
            assert self.judged(path).intact
            raw.execute("UPDATE sessions SET id = 's3' WHERE id = 's2'")
            assert "s2" in self.judged(path).why

    @pytest.mark.parametrize(("sql", "damage"), [
        ("UPDATE bodies SET zlib = x'00'", Damage.CHANGED),
        ("UPDATE bodies SET size_bytes = size_bytes + 1", Damage.CHANGED),
        ("UPDATE bodies SET sha256 = 'a' || sha256", Damage.REMOVED),
        ("DELETE FROM bodies", Damage.REMOVED),
        ("DELETE FROM session_bodies WHERE session = 's1'", Damage.REMOVED),
        ("UPDATE session_bodies SET sha256 = 'a' || sha256", Damage.REMOVED),
        ("INSERT INTO session_bodies VALUES ('s1', 'abc')", Damage.REMOVED),
        ("INSERT INTO bodies VALUES ('abc', 1, x'00')", None),
        ("INSERT INTO deletions VALUES ('s1', 't', 8, 'h')", None),
    ])  # fmt: skip
    def test_a_text_that_is_changed_removed_or_added_is_found(self, path: Path, sql: str, damage: Damage) -> None:
        statements(path, (sql, ()))
        found = self.judged(path)
        assert not found.intact
        assert found.damage is damage

    @pytest.mark.parametrize("text", [thought.PROMPT, thought.REPLY, thought.LATER_REPLY])
    @pytest.mark.parametrize(("sql", "damage"), [
        ("UPDATE bodies SET zlib = x'00' WHERE sha256 = ?", Damage.CHANGED),
        ("DELETE FROM bodies WHERE sha256 = ?", Damage.REMOVED),
        ("DELETE FROM session_bodies WHERE sha256 = ?", Damage.REMOVED),
    ])  # fmt: skip
    def test_what_a_model_was_sent_and_said_is_audited_like_evidence(
        self, tmp_path: Path, text: str, sql: str, damage: Damage
    ) -> None:
        path = tmp_path / "s.db"
        with SessionStore.open(path) as store:
            for each in thought.TEXTS.values():
                store.put_body("s1", each)
            for event in thought.EVENTS:
                store.append(event)
        assert self.judged(path).intact
        statements(path, (sql, (body_key(text),)))
        found = self.judged(path)
        assert found.damage is damage and body_key(text)[:12] in found.why
        assert thought.EVENTS[found.bad_seq - 1].kind == "model_called"

    def test_every_removed_event_is_named(self, path: Path) -> None:
        for seq in range(1, 9):
            copy = path.with_name(f"without-{seq}.db")
            shutil.copy(path, copy)
            statements(copy, ("DELETE FROM events WHERE session = 's1' AND seq = ?", (seq,)))
            found = self.judged(copy)
            assert (found.bad_seq, found.damage) == (seq, Damage.CUT_OFF if seq == 8 else Damage.REMOVED)

    def test_every_added_event_is_named(self, path: Path) -> None:
        for seq in range(1, 10):
            copy = path.with_name(f"with-{seq}.db")
            shutil.copy(path, copy)
            statements(
                copy, ("UPDATE events SET seq = seq + 1 WHERE session = 's1' AND seq >= ?", (seq,)),
                ("INSERT INTO events(session, seq, at, kind, data, prev_hash, hash) SELECT session, ?, at, kind, data,"
                 " 'x', hash FROM events WHERE session = 's2' AND seq = 1", (seq,)),
                ("UPDATE events SET session = 's1' WHERE session = 's2' AND prev_hash = 'x'", ()),
            )  # fmt: skip
            found = self.judged(copy)
            assert not found.intact
            statements(copy, ("UPDATE events SET session = 's1' WHERE prev_hash = 'x'", ()))
            assert self.judged(copy).bad_seq == seq

    def test_swapped_events_are_named(self, path: Path) -> None:
        pairs = [(99, 3), (3, 6), (6, 99)]
        statements(path, *(("UPDATE events SET seq = ? WHERE session = 's1' AND seq = ?", pair) for pair in pairs))
        assert (self.judged(path).bad_seq, self.judged(path).damage) == (3, Damage.CHANGED)


class TestSignedHeads:
    HEADS = Heads("2026-11-24T03:00:00+00:00", "3:" + "a" * 64, {"s1": "8:" + "b" * 64})

    def test_come_back_and_their_key_is_private(self, tmp_path: Path) -> None:
        write_heads(tmp_path / "heads.json", tmp_path / "state", self.HEADS)
        found = read_heads(tmp_path / "heads.json", tmp_path / "state")
        assert (found.journal, found.sessions) == (self.HEADS.journal, self.HEADS.sessions)
        assert (tmp_path / "state" / "signing.key").stat().st_mode & 0o777 == 0o600

    def test_are_refused_once_anything_in_them_is_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "heads.json"
        write_heads(path, tmp_path / "state", self.HEADS)
        value = json.loads(path.read_text())
        changes = {
            "at": "2026", "journal": "2:" + "a" * 64, "sessions": {}, "public_key": "0" * 64, "signature": "0" * 128,
            "version": 2, "format": "x",
        }  # fmt: skip
        for name, other in changes.items():
            path.write_text(json.dumps(value | {name: other}))
            with pytest.raises(UsageError):
                read_heads(path, tmp_path / "state")

    def test_of_another_key_are_refused(self, tmp_path: Path) -> None:
        write_heads(tmp_path / "heads.json", tmp_path / "theirs", self.HEADS)
        write_heads(tmp_path / "ours.json", tmp_path / "state", self.HEADS)
        with pytest.raises(UsageError, match="another key"):
            read_heads(tmp_path / "heads.json", tmp_path / "state")


def test_the_entry_of_a_decision_does_not_hold_the_mac(journal: Path) -> None:
    text = (journal / FILE).read_bytes()
    with closing(sqlite3.connect(journal / FILE)) as raw:
        entries = "".join(row[0] for row in raw.execute("SELECT data FROM entries"))
    assert "mac of A-0001" not in entries
    assert mac_digest("mac of A-0001") in entries
    assert text
