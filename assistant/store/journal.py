"""The gate's own record of every change: proposed, decided, intent, sent, outcome or unknown. One file, fsync'd.

Apart from the session store because it has another writer and another trust (decision 002). Nothing is sent unless its
intent is on disk; the intent and the consumption of its approval are one transaction, so an approval is used once.
The entries of all gates are one hash chain (`store/chain.py`); its head also goes into the session's log.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database, Migrations

from assistant.domain.proposal import Decision, Outcome, Proposal, ProposalState
from assistant.errors import StoreError
from assistant.store.chain import GENESIS, Link, digest
from assistant.store.sqlite import open_database, store_error
from assistant.wire import decode, encode, to_builtins

FILE: Final = "journal.db"
NAME: Final = "journal"
CHAINED: Final = "chained"
migrations: Final = Migrations("journal")


@migrations(name="0001_entries")
def _entries(db: Database) -> None:
    db.execute(
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY, proposal TEXT NOT NULL, gate TEXT NOT NULL, at TEXT NOT NULL,"
        " kind TEXT NOT NULL CHECK (kind IN ('proposed','decided','intent','sent','outcome','unknown','passed')),"
        " cluster TEXT NOT NULL, data TEXT NOT NULL)"
    )
    # A second intent for one proposal is impossible in the file itself, whatever the code above it does.
    db.execute("CREATE UNIQUE INDEX one_intent ON entries(proposal) WHERE kind = 'intent'")
    db.execute("CREATE UNIQUE INDEX one_end ON entries(proposal) WHERE kind IN ('outcome','unknown')")
    db.execute("CREATE INDEX by_proposal ON entries(proposal, kind)")
    db.execute(
        "CREATE TABLE approvals (proposal TEXT PRIMARY KEY, digest TEXT NOT NULL, mac TEXT NOT NULL,"
        " expires TEXT NOT NULL, consumed TEXT)"
    )
    for name in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER entries_no_{name.lower()} BEFORE {name} ON entries"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )


@migrations(name="0002_chain")
def _chain(db: Database) -> None:
    # The table is made anew: SQLite cannot add a NOT NULL column without a default, nor drop a CHECK.
    db.execute("ALTER TABLE entries RENAME TO entries_before")
    for name in ("one_intent", "one_end", "by_proposal"):
        db.execute(f"DROP INDEX {name}")
    db.execute(
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY, proposal TEXT NOT NULL, gate TEXT NOT NULL, at TEXT NOT NULL,"
        " kind TEXT NOT NULL, cluster TEXT NOT NULL, data TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL)"
        " STRICT"
    )
    db.execute("CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER, hash TEXT) STRICT")
    db.execute("INSERT INTO head (one, entries, hash) VALUES (1, 0, ?)", (GENESIS,))
    old = db.execute("SELECT proposal, gate, at, kind, cluster, data FROM entries_before ORDER BY seq").fetchall()
    for proposal, gate, at, kind, cluster, data in old:
        _append_entry(db.conn, proposal, gate, at, kind, cluster, data)
    if old:
        # Whoever verifies must know that these entries got their hashes later than they were written.
        _append_entry(db.conn, "", "", _now(), CHAINED, "", encode({"entries": len(old)}).decode())
    db.execute("DROP TABLE entries_before")
    db.execute("CREATE UNIQUE INDEX one_intent ON entries(proposal) WHERE kind = 'intent'")
    db.execute("CREATE UNIQUE INDEX one_end ON entries(proposal) WHERE kind IN ('outcome','unknown')")
    db.execute("CREATE INDEX by_proposal ON entries(proposal, kind)")
    for name in ("UPDATE", "DELETE"):
        db.execute(
            f"CREATE TRIGGER entries_no_{name.lower()} BEFORE {name} ON entries"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )


def entry_data(proposal: str, gate: str, cluster: str, data: str) -> str:
    """Return what goes into an entry's hash as its data: every column that a session's event does not have.

    `data` goes in as the text that is stored, between two texts in quotes, so no two entries give the same.
    """
    cluster_, gate_, proposal_ = (json.dumps(text, ensure_ascii=False) for text in (cluster, gate, proposal))
    return f'{{"cluster":{cluster_},"data":{data},"gate":{gate_},"proposal":{proposal_}}}'


def entry_link(row: Mapping[str, Any]) -> Link:
    """Return a stored entry as a link of the chain; where a session's event has its session, it has the file's name."""
    data = entry_data(row["proposal"], row["gate"], row["cluster"], row["data"])
    return Link(NAME, row["seq"], row["at"], row["kind"], data, row["prev_hash"], row["hash"])


def mac_digest(mac: str) -> str:
    """Return what the entry of a decision says of its MAC: the MAC itself opens the way to sending."""
    return hashlib.sha256(mac.encode()).hexdigest()


def _append_entry(
    raw: sqlite3.Connection, proposal: str, gate: str, at: str, kind: str, cluster: str, data: str
) -> str:
    entries, prev = raw.execute("SELECT entries, hash FROM head").fetchone()
    seq = entries + 1
    own = digest(prev, NAME, seq, at, kind, entry_data(proposal, gate, cluster, data))
    raw.execute(
        "INSERT INTO entries (seq, proposal, gate, at, kind, cluster, data, prev_hash, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (seq, proposal, gate, at, kind, cluster, data, prev, own),
    )
    raw.execute("UPDATE head SET entries = ?, hash = ?", (seq, own))
    return f"{seq}:{own}"


class ApprovalUsedError(StoreError):
    """The approval was used before, or was never recorded: nothing may be sent for it."""

    code = "approval-used"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A change whose intent is on record and whose end is not: it may or may not have happened."""

    proposal: Proposal
    at: datetime


class Journal:
    """One gate's hold on the journal file. Every method that writes returns when the entry is on disk."""

    def __init__(self, state_dir: Path, gate: str, cluster: str = "") -> None:
        """Open or make the file and hold this gate's lock. Raises StoreError.

        `head` is `NUMBER:HASH` of the last entry that this gate knows of, for whoever keeps it elsewhere.
        """
        self.gate = gate
        self.cluster = cluster
        self.head = ""
        self._state_dir = state_dir
        self._db = open_database(state_dir / FILE, synchronous="FULL")
        try:
            self._db.migrate(migrations)
            entries, last = self._db.query("SELECT entries, hash FROM head")[0]
            self.head = f"{entries}:{last}"
            self._lock = _alive_lock(state_dir, gate)
        except BaseException:
            self._db.close()
            raise

    def proposed(self, proposal: Proposal) -> None:
        """Record a proposal; it is already without secrets."""
        self._append(proposal.id, "proposed", encode(proposal).decode())

    def decided(self, decision: Decision, mac: str = "", expires: str = "") -> None:
        """Record a decision and, for an approval, its MAC."""
        said = to_builtins(decision)
        if mac:
            said |= {"approval": {"expires": expires, "mac_sha256": mac_digest(mac)}}
        with self._db.transaction() as raw:
            head = self._insert(raw, decision.proposal, "decided", encode(said).decode())
            if mac:
                raw.execute(
                    "INSERT INTO approvals (proposal, digest, mac, expires) VALUES (?, ?, ?, ?)",
                    (decision.proposal, decision.digest, mac, expires),
                )
        self.head = head

    def intent(self, proposal_id: str, digest: str, mac: str) -> None:
        """Consume the approval and record that the request is about to leave, in one transaction.

        Raises ApprovalUsedError when there is no unused approval of this digest and MAC.
        """
        now = _now()
        with self._db.transaction() as raw:
            cursor = raw.execute(
                "UPDATE approvals SET consumed = ? WHERE proposal = ? AND digest = ? AND mac = ? AND consumed IS NULL",
                (now, proposal_id, digest, mac),
            )
            if cursor.rowcount != 1:
                raise ApprovalUsedError("The approval was used already.", "Propose the change again.")
            head = self._insert(raw, proposal_id, "intent", encode({"digest": digest}).decode(), at=now)
        self.head = head

    def sent(self, proposal_id: str) -> None:
        """Record that the request has left completely."""
        self._append(proposal_id, "sent", "{}")

    def outcome(self, outcome: Outcome) -> None:
        """Record the end of a proposal."""
        kind = "unknown" if outcome.state is ProposalState.UNKNOWN else "outcome"
        self._append(outcome.proposal, kind, encode(outcome).decode())

    def part_intent(self, part: str, digest: str) -> None:
        """Record that one request of several is about to leave; its mark is `proposal/number`.

        The approval was consumed with the intent of the whole. Raises StoreError, also for a second time.
        """
        self._append(part, "intent", encode({"digest": digest}).decode())

    def part_ended(self, outcome: Outcome) -> None:
        """Record the end of one request of several."""
        self.outcome(outcome)

    def passed(self, line: dict[str, object]) -> None:
        """Record what was no decision of its own: a dry run that passed, a granted read, the end of a session."""
        self._append("", "passed", encode(line).decode())

    def refused(self, line: dict[str, object]) -> None:
        """Record a request that tried to change something and was refused by a rule; `line` holds no body."""
        self._append("", "refused", encode(line).decode())

    def settle(self) -> tuple[Unfinished, ...]:
        """Mark intents without an end of gates that are gone as unknown; return all unknown ones of this cluster."""
        with self._db.transaction() as raw:
            rows = raw.execute(
                "SELECT proposal, gate, cluster FROM entries i WHERE kind = 'intent' AND NOT EXISTS"
                " (SELECT 1 FROM entries e WHERE e.proposal = i.proposal AND e.kind IN ('outcome','unknown'))"
            ).fetchall()
            for row in rows:
                if row["gate"] != self.gate and not _is_alive(self._state_dir, row["gate"]):
                    lost = Outcome(
                        row["proposal"], ProposalState.UNKNOWN, datetime.now(UTC),
                        message="The gate ended between sending and the answer." + _parts_told(raw, row["proposal"]),
                    )  # fmt: skip
                    data = encode(lost).decode()
                    _append_entry(raw, lost.proposal, row["gate"], _now(), "unknown", row["cluster"], data)
        return self.unknown()

    def unknown(self) -> tuple[Unfinished, ...]:
        """Return the changes to this cluster whose end is unknown, oldest first."""
        rows = self._db.query(
            "SELECT p.data AS data, u.at AS at FROM entries u JOIN entries p ON p.proposal = u.proposal"
            " AND p.kind = 'proposed' WHERE u.kind = 'unknown' AND u.cluster = ? ORDER BY u.seq",
            (self.cluster,),
        )
        return tuple(Unfinished(decode(Proposal, row["data"]), datetime.fromisoformat(row["at"])) for row in rows)

    def ended(self, proposal_id: str) -> tuple[Proposal, Outcome] | None:
        """Return a change to this cluster with its recorded end, whichever gate held it; None while it has none."""
        rows = self._db.query(
            "SELECT p.data AS proposal, e.data AS outcome FROM entries e JOIN entries p ON p.proposal = e.proposal"
            " AND p.kind = 'proposed' WHERE e.kind IN ('outcome','unknown') AND e.proposal = ? AND e.cluster = ?",
            (proposal_id, self.cluster),
        )
        for row in rows:
            return decode(Proposal, row["proposal"]), decode(Outcome, row["outcome"])
        return None

    def kinds(self, proposal_id: str) -> tuple[str, ...]:
        """Return the kinds of the entries of one proposal, in order."""
        rows = self._db.query("SELECT kind FROM entries WHERE proposal = ? ORDER BY seq", (proposal_id,))
        return tuple(str(row["kind"]) for row in rows)

    def close(self) -> None:
        """Close the file and give the lock up."""
        self._db.close()
        os.close(self._lock)
        _lock_path(self._state_dir, self.gate).unlink(missing_ok=True)

    def _append(self, proposal_id: str, kind: str, data: str) -> None:
        with self._db.transaction() as raw:
            head = self._insert(raw, proposal_id, kind, data)
        self.head = head

    def _insert(self, raw: sqlite3.Connection, proposal_id: str, kind: str, data: str, at: str = "") -> str:
        return _append_entry(raw, proposal_id, self.gate, at or _now(), kind, self.cluster, data)


class NoJournal(Journal):
    """Stands where the file cannot be used: nothing is on record, and every attempt to write says why and stops."""

    def __init__(self, reason: StoreError) -> None:
        """Keep the reason; nothing is opened."""
        self._reason = reason
        self.head = ""

    def decided(self, decision: Decision, mac: str = "", expires: str = "") -> None:
        """Raise the reason."""
        raise self._reason

    def intent(self, proposal_id: str, digest: str, mac: str) -> None:
        """Raise the reason."""
        raise self._reason

    def settle(self) -> tuple[Unfinished, ...]:
        """Return nothing: what is on record cannot be told."""
        return ()

    def unknown(self) -> tuple[Unfinished, ...]:
        """Return nothing: what is on record cannot be told."""
        return ()

    def ended(self, proposal_id: str) -> tuple[Proposal, Outcome] | None:
        """Raise the reason: "no end is on record" would be a claim."""
        raise self._reason

    def kinds(self, proposal_id: str) -> tuple[str, ...]:
        """Return nothing: what is on record cannot be told."""
        return ()

    def close(self) -> None:
        """Do nothing."""

    def _append(self, proposal_id: str, kind: str, data: str) -> None:
        raise self._reason


def open_journal(state_dir: Path, gate: str, cluster: str) -> Journal:
    """Open the journal and settle what earlier gates left; without a usable file, one that refuses every change.

    Reading a broken cluster must not depend on the disk. Changing it does.
    """
    try:
        journal = Journal(state_dir, gate, cluster)
    except StoreError as error:
        return NoJournal(error)
    except OSError as error:
        return NoJournal(store_error(error, state_dir / FILE))
    try:
        journal.settle()
    except StoreError as error:
        journal.close()
        return NoJournal(error)
    return journal


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _parts_told(raw: Any, proposal: str) -> str:
    """Return how far a change to several objects had come, "" for one to a single object."""
    begun, known, applied = raw.execute(
        "SELECT count(*) FILTER (WHERE kind = 'intent'), count(*) FILTER (WHERE kind = 'outcome'),"
        " count(*) FILTER (WHERE kind = 'outcome' AND json_extract(data, '$.state') = 'applied')"
        " FROM entries WHERE proposal GLOB ? || '/*'",
        (proposal,),
    ).fetchone()
    if not begun:
        return ""
    return f" {applied} of its deletes are confirmed, {begun - known} may have happened, the rest was not sent."


def _lock_path(state_dir: Path, gate: str) -> Path:
    return state_dir / f"gate-{gate}.alive"


def _alive_lock(state_dir: Path, gate: str) -> int:
    handle = os.open(_lock_path(state_dir, gate), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _is_alive(state_dir: Path, gate: str) -> bool:
    # A lock, not a pid: the kernel gives it up with the process, and a pid can be somebody else's by now.
    try:
        handle = os.open(_lock_path(state_dir, gate), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
