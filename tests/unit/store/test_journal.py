"""The gate's journal: an approval is used once, for its own bytes, and what is written is on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from assistant.domain.proposal import Answer, Decision, Origin, Outcome, ProposalState
from assistant.errors import StoreError
from assistant.store.journal import ApprovalUsedError, Journal
from assistant.store.log import SessionStore
from tests.session.scripted import START, patch, proposal

MADE = proposal(1, patch(), Origin("client", "kubectl"))
UNTIL = "2026-11-24T03:02:00+00:00"


def approved(folder: Path) -> Journal:
    journal = Journal(folder, "g1", "c-1")
    journal.proposed(MADE)
    journal.decided(Decision(MADE.id, MADE.digest, Answer.APPROVE, "grace", START), "mac", UNTIL)
    return journal


def test_an_approval_is_used_once(tmp_path: Path) -> None:
    journal = approved(tmp_path)
    journal.intent(MADE.id, MADE.digest, "mac")
    with pytest.raises(ApprovalUsedError):
        journal.intent(MADE.id, MADE.digest, "mac")
    assert journal.kinds(MADE.id) == ("proposed", "decided", "intent")
    journal.close()


@pytest.mark.parametrize(
    ("digest", "mac"), [("0" * 64, "mac"), (MADE.digest, "another"), (MADE.digest, ""), ("", "mac")]
)
def test_an_approval_is_for_its_digest_and_its_mac(tmp_path: Path, digest: str, mac: str) -> None:
    journal = approved(tmp_path)
    with pytest.raises(ApprovalUsedError):
        journal.intent(MADE.id, digest, mac)
    assert journal.kinds(MADE.id) == ("proposed", "decided")
    journal.close()


def test_a_change_nobody_approved_has_no_intent(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "g1", "c-1")
    journal.proposed(MADE)
    journal.decided(Decision(MADE.id, MADE.digest, Answer.DENY, "grace", START))
    for mac in ("", "mac"):
        with pytest.raises(ApprovalUsedError):
            journal.intent(MADE.id, MADE.digest, mac)
    journal.close()


def test_the_file_itself_takes_no_second_intent_and_no_second_end(tmp_path: Path) -> None:
    journal = approved(tmp_path)
    journal.intent(MADE.id, MADE.digest, "mac")
    journal.outcome(Outcome(MADE.id, ProposalState.APPLIED, START))
    with pytest.raises(StoreError):
        journal.outcome(Outcome(MADE.id, ProposalState.FAILED, START))
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as raw:
        names = "proposal, gate, at, kind, cluster, data, prev_hash, hash"
        row = f"INSERT INTO entries ({names}) VALUES (?, 'g', 'now', ?, 'c-1', '{{}}', 'p', 'h')"  # noqa: S608 - no input
        for kind in ("intent", "outcome", "unknown"):
            with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                raw.execute(row, (MADE.id, kind))
        raw.execute(row, (MADE.id, "passed"))
        raw.rollback()
        for statement in ("UPDATE entries SET data = '{}'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)


def test_both_files_are_synced_to_the_disk_at_every_commit(tmp_path: Path) -> None:
    """2 is FULL: with NORMAL, a loss of power takes back what was acknowledged (sqlite.org/pragma.html)."""
    journal = Journal(tmp_path, "g1")
    assert [row[0] for row in journal._db.query("PRAGMA synchronous")] == [2]
    assert [row[0] for row in journal._db.query("PRAGMA journal_mode")] == ["wal"]
    journal.close()
    with SessionStore.open(tmp_path / "sessions.db") as store:
        assert store._writer
        assert [row[0] for row in store._writer._connection.query("PRAGMA synchronous")] == [2]
