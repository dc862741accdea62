"""Judges one run: compares the API server's own log with the gate's journal, the session's log and the side file.

Every rule is a sentence that must hold however and whenever the processes were killed; each breach is one violation.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from assistant.domain.case import Case, fold
from assistant.domain.event import Noted
from assistant.domain.proposal import Proposal, ProposalState
from assistant.errors import StoreError
from assistant.store.log import SessionStore
from assistant.wire import decode
from tests.faults.driver import digest

State = ProposalState
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
REVIEWS: Final = ("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")


@dataclass(frozen=True, slots=True)
class Write:
    """One mutation as the API server saw it."""

    at: datetime
    method: str
    path: str
    body: str
    status: int


@dataclass(slots=True)
class Change:
    """One proposal as the journal has it."""

    proposal: Proposal
    decided: dict[str, Any] | None = None
    intent: datetime | None = None
    intent_digest: str = ""
    end: dict[str, Any] | None = None
    end_at: datetime | None = None
    consumed_digest: str = ""
    writes: list[Write] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Found:
    """What one run showed."""

    violations: tuple[str, ...]
    mutations: int
    approved: int
    unknown: int
    known_late: int
    acknowledged: int
    resumed: bool


def writes_of(path: Path) -> list[Write]:
    """Return the mutations of the request log: no reads, no dry runs, no access reviews."""
    found = []
    for line in path.read_bytes().splitlines():
        item = json.loads(line)
        if item["method"] in WRITES and not item["dry"] and not item["path"].startswith(REVIEWS):
            at = datetime.fromisoformat(item["time"])
            found.append(Write(at, item["method"], item["path"], item["body"], item["status"]))
    return found


def changes_of(path: Path) -> dict[str, Change]:
    """Return the journal by proposal."""
    found: dict[str, Change] = {}
    if not path.exists():
        return found
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        entries = database.execute("SELECT proposal, at, kind, data FROM entries ORDER BY seq").fetchall()
        used = dict(database.execute("SELECT proposal, digest FROM approvals WHERE consumed IS NOT NULL").fetchall())
    for proposal, at, kind, data in entries:
        when = datetime.fromisoformat(at)
        match kind:
            case "proposed":
                found[proposal] = Change(decode(Proposal, data), consumed_digest=used.get(proposal, ""))
            case "decided":
                found[proposal].decided = json.loads(data)
            case "intent":
                found[proposal].intent, found[proposal].intent_digest = when, json.loads(data)["digest"]
            case "outcome" | "unknown":
                found[proposal].end, found[proposal].end_at = json.loads(data), when
            case _:
                pass
    return found


def _assign(writes: list[Write], changes: dict[str, Change]) -> list[str]:
    wrong = []
    for write in writes:
        fits = [change for change in changes.values() if change.intent and _same(write, change)]
        inside = [c for c in fits if c.intent and c.intent <= write.at and (c.end_at is None or write.at <= c.end_at)]
        if not inside:
            wrong.append(f"{write.method} {write.path} reached the API server without an approval of these bytes")
        else:
            inside[-1].writes.append(write)
    return wrong


def _same(write: Write, change: Change) -> bool:
    action = change.proposal.action
    body = hashlib.sha256((action.body or "").encode()).hexdigest()
    return (write.method, write.path, write.body) == (action.method, action.path, body)


def _journal(changes: dict[str, Change]) -> list[str]:
    wrong = []
    for name, change in changes.items():
        state = str(change.end["state"]) if change.end else ""
        approved = change.decided is not None and change.decided["answer"] == "approve"
        wanted = change.proposal.digest
        if change.intent and not (approved and change.decided and change.decided["digest"] == wanted):
            wrong.append(f"{name} was sent without an approval of its digest")
        if change.intent and (change.intent_digest != wanted or change.consumed_digest != wanted):
            wrong.append(f"{name} was sent and its approval was not used up")
        if len(change.writes) > 1:
            wrong.append(f"{name} was sent {len(change.writes)} times")
        if change.intent and not change.end:
            wrong.append(f"{name} was sent and its end is nowhere")
        if state == "applied" and not change.writes:
            wrong.append(f"{name} is called applied, and the API server never saw it")
        if change.writes and state not in ("applied", "unknown", "failed"):
            wrong.append(f"{name} reached the API server and is called {state or 'nothing'}")
    return wrong


def _shown(case: Case, changes: dict[str, Change], notes: str) -> tuple[list[str], int]:
    """Compare what the session shows with the journal; also count what the journal knows and the session does not."""
    wrong: list[str] = []
    late = 0
    for name, change in changes.items():
        if not change.intent or not change.end:
            continue
        item, state = case.proposal(name), State(change.end["state"])
        if item is None:
            if name not in notes:
                wrong.append(f"{name} was sent ({state.value}) and the session does not show it")
        elif item.state is not state:
            if item.state is not State.UNKNOWN:
                wrong.append(f"{name} is {state.value} in the journal and {item.state.value} in the session")
            late += 1
    for item in case.proposals:
        entry = changes.get(item.proposal.id)
        if entry is None:
            wrong.append(f"the session shows {item.proposal.id}, which no gate has proposed")
        elif item.state is State.APPLIED and not entry.writes:
            wrong.append(f"the session calls {item.proposal.id} applied, and the API server never saw it")
    wrong += [f"{item.proposal.id} is still {item.state.value} at rest" for item in case.unresolved]
    return wrong, late


def judge(folder: Path) -> Found:
    """Return what one finished run showed. The processes must be gone."""
    changes = changes_of(folder / "state" / "journal.db")
    writes = writes_of(folder / "requests.jsonl")
    wrong = _assign(writes, changes) + _journal(changes)
    path = folder / "acknowledged.jsonl"
    facts = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    late = acknowledged = 0
    resumed = False
    sessions = list(dict.fromkeys(fact["session"] for fact in facts if "session" in fact))
    for session in sessions:
        due = [tuple(item) for fact in _of(facts, session) for item in fact.get("events", ())]
        acknowledged += len(due)
        with SessionStore.open(folder / "state" / "sessions.db", read_only=True) as store:
            try:
                loaded = store.load(session)
            except StoreError:
                wrong += [f"session {session} is gone with {len(due)} acknowledged events"] if due else []
                continue
            if loaded.cut:
                wrong.append(f"session {session} cannot be read whole: {loaded.cut}")
            if not store.verify(session).intact:
                wrong.append(f"the chain of session {session} does not hold: {store.verify(session).why}")
        kept = {(event.seq, digest(event)) for event in loaded.events}
        wrong += [f"event {seq} was acknowledged and is lost or changed" for seq, sha in due if (seq, sha) not in kept]
        case = fold(loaded.events)
        resumed = resumed or any(event.kind == "resumed" for event in loaded.events)
        notes = "\n".join(event.payload.text for event in loaded.events if isinstance(event.payload, Noted))
        if session == sessions[-1]:
            shown, late = _shown(case, changes, notes)
            wrong += shown
    for fact in facts:
        if fact.get("state") == "approved" and (fact["decided"] not in changes or not changes[fact["decided"]].decided):
            wrong.append(f"the decision on {fact['decided']} was acknowledged and is not in the journal")
    wrong += _clients(folder, writes)
    ends = [change.end["state"] for change in changes.values() if change.end and change.intent]
    approved = sum(1 for change in changes.values() if change.decided)
    return Found(tuple(wrong), len(writes), approved, ends.count("unknown"), late, acknowledged, resumed)


def _of(facts: list[dict[str, Any]], session: str) -> list[dict[str, Any]]:
    current, found = "", []
    for fact in facts:
        current = fact.get("session", current)
        if current == session:
            found.append(fact)
    return found


def _clients(folder: Path, writes: list[Write]) -> list[str]:
    """Return what foreign clients were told and is not so."""
    wrong = []
    path = folder / "clients.jsonl"
    for line in path.read_bytes().splitlines() if path.exists() else ():
        told = json.loads(line)
        seen = [write for write in writes if write.body == told["body"] and write.path == told["path"]]
        if 200 <= told["status"] < 300 and not seen:
            wrong.append(f"a client was told {told['status']} for a write that never arrived")
        if len(seen) > 1:
            wrong.append(f"a client's write arrived {len(seen)} times")
    return wrong
