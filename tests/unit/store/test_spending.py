"""What language models have cost over all sessions since a time, from a real file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from assistant.domain import event as ev
from assistant.domain.case import Spent
from assistant.domain.event import Event
from assistant.errors import StoreError
from assistant.store.log import SessionStore
from assistant.store.memory import MemoryStore

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
OPENED = ev.SessionOpened("0.1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", "live", "openai/m")


def call(tokens: int, cost: float) -> ev.ModelCalled:
    return ev.ModelCalled("m", "diagnose", "0" * 64, tokens, 10, cost, 1.5)


def record(store: SessionStore, session: str, *events: tuple[datetime, ev.Payload]) -> None:
    for seq, (at, payload) in enumerate(events, start=1):
        store.append(Event(session, seq, at, payload))
    store.flush_blocking()


def test_all_sessions_count_from_the_given_time_on(tmp_path: Path) -> None:
    before, after = MIDNIGHT - timedelta(microseconds=1), MIDNIGHT + timedelta(microseconds=1)
    with SessionStore.open(tmp_path / "s.db") as store:
        assert store.spent_since(MIDNIGHT) == Spent()
        record(
            store, "s1", (before, OPENED), (before, call(1_000, 1.0)), (MIDNIGHT, call(100, 0.25)),
            (after, ev.Noted("not a call")), (after, call(200, 0.5)),
        )  # fmt: skip
        record(store, "s2", (after, OPENED), (after, call(300, -1.0)))
        record(store, "s3", (before, OPENED), (before, call(5_000, 5.0)))
        assert store.spent_since(MIDNIGHT) == Spent(3, 600, 30, 0.75, 1)
        assert store.spent_since(MIDNIGHT.astimezone(timezone(timedelta(hours=9)))) == Spent(3, 600, 30, 0.75, 1)
        assert store.spent_since(MIDNIGHT + timedelta(seconds=1)) == Spent()
        assert store.spent_since(MIDNIGHT - timedelta(days=1)).calls == 5
    with SessionStore.open(tmp_path / "s.db", read_only=True) as store:
        assert store.spent_since(MIDNIGHT) == Spent(3, 600, 30, 0.75, 1)


def test_somebody_elses_session_costs_nothing(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        store.import_session([Event("theirs", 1, MIDNIGHT, OPENED), Event("theirs", 2, MIDNIGHT, call(100, 9.0))], [])
        assert store.spent_since(MIDNIGHT) == Spent()


def test_a_damaged_call_counts_as_one_whose_price_is_not_known(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        record(store, "s1", (MIDNIGHT, OPENED), (MIDNIGHT, call(100, 0.5)), (MIDNIGHT, call(100, 0.5)))
    with closing(sqlite3.connect(tmp_path / "s.db")) as raw, raw:
        raw.execute("drop trigger events_never_change")
        raw.execute("update events set data = '{\"prompt_tok' where seq = 3")
    with SessionStore.open(tmp_path / "s.db") as store:
        assert store.spent_since(MIDNIGHT) == Spent(2, 100, 10, 0.5, 1)


def test_old_events_are_not_looked_at(tmp_path: Path) -> None:
    with SessionStore.open(tmp_path / "s.db") as store:
        statements: list[str] = []
        store._reader.raw.set_trace_callback(statements.append)
        store.spent_since(MIDNIGHT)
        store._reader.raw.set_trace_callback(None)
        plan = [str(row["detail"]) for row in store._reader.query(f"explain query plan {statements[0]}")]
    assert any("SEARCH s USING INDEX" in step and "last_at>" in step for step in plan), plan
    assert any("SEARCH e USING INDEX" in step and "session=? AND kind=?" in step for step in plan), plan
    assert not any(step.startswith("SCAN") for step in plan), plan


def test_without_a_store_nothing_is_known_of_other_sessions() -> None:
    assert MemoryStore(StoreError("x", "y")).spent_since(MIDNIGHT) == Spent()
