"""How fast the session store is, beside what the machine can do: `python -m benchmarks.store`."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assistant.domain import event as ev
from assistant.domain.case import fold
from assistant.domain.event import Event
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Verdict
from assistant.session.replay import Player
from assistant.store.log import SessionStore

EVENTS = 10_000
SESSIONS = 10_000
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def course(session: str, sha256: str, count: int) -> tuple[Event, ...]:
    payloads: list[ev.Payload] = [
        ev.SessionOpened("0.1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", "live", "expert"),
        ev.Asked(1, "Why does web restart?", "shop"),
    ]
    number = 0
    while len(payloads) < count - 1:
        number += 1
        call = f"T{number}"
        payloads.append(
            ev.ToolStarted(call, "list_pods", f"list pods {number}", f"GET /api/v1/pods?{number}", "kubectl")
        )
        fact = Evidence(f"E{number}", f"GET /api/v1/pods?{number}", '"reason": "BackOff"', AT, sha256, 4000)
        payloads.append(ev.EvidenceAdded(fact, call))
        payloads.append(ev.ToolEnded(call, True, "12 pods, 1 not ready", 0.2, 4000, "web-1 0/1 BackOff " * 8))
    payloads = [*payloads[: count - 1], ev.Answered("It restarts [E1].", Verdict.FAULT, "expert")]
    return tuple(Event(session, seq, AT + timedelta(seconds=seq), item) for seq, item in enumerate(payloads, 1))


def raw_inserts(path: Path) -> float:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("pragma journal_mode=wal")
    raw.execute("pragma synchronous=full")
    raw.execute("create table events(session text, seq integer, at text, kind text, data text)")
    row = ("s1", 1, AT.isoformat(), "noted", "x" * 300)
    started = time.perf_counter()
    for _ in range(EVENTS // 100):
        raw.execute("begin")
        raw.executemany("insert into events values (?, ?, ?, ?, ?)", [row] * 100)
        raw.execute("commit")
    seconds = time.perf_counter() - started
    raw.close()
    return seconds


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = raw_inserts(Path(folder) / "raw.db")
        path = Path(folder) / "sessions.db"
        started = time.perf_counter()
        store = SessionStore.open(path)
        print(f"open and migrate a new store: {1000 * (time.perf_counter() - started):.0f} ms")
        events = course("s1", store.put_body("s1", "x" * 4000), EVENTS)
        started = time.perf_counter()
        for event in events:
            store.append(event)
        on_loop = time.perf_counter() - started
        await store.flush()
        durable = time.perf_counter() - started
        print(
            f"{EVENTS} events appended and durable: {EVENTS / durable:.0f}/s; of that on the caller's thread"
            f" {1e6 * on_loop / EVENTS:.0f} us each; bare SQLite in batches of 100: {EVENTS / bare:.0f}/s"
            f" (ratio {durable / bare:.2f})"
        )
        waits = []
        for number in range(200):
            store.append(Event("s1", EVENTS + 1 + number, AT, ev.Noted("one")))
            started = time.perf_counter()
            await store.flush()
            waits.append(time.perf_counter() - started)
        waits.sort()
        print(f"flush of one event: median {1000 * waits[100]:.1f} ms, p99 {1000 * waits[197]:.1f} ms")
        store.close()

        started = time.perf_counter()
        store = SessionStore.open(path)
        opened = time.perf_counter()
        loaded = store.load("s1").events
        read = time.perf_counter()
        case = fold(loaded)
        folded = time.perf_counter()
        print(
            f"resume: {folded - started:.2f} s"
            f" (open {opened - started:.2f}, read {read - opened:.2f}, fold {folded - read:.2f}),"
            f" {len(case.evidence)} facts, {len(loaded)} events"
        )
        started = time.perf_counter()
        whole = store.verify("s1")
        print(f"verify the chain: {time.perf_counter() - started:.2f} s, intact {whole.intact}")
        started = time.perf_counter()
        player = Player(loaded)
        made = time.perf_counter()
        slowest = 0.0
        for step in range(0, len(loaded), 97):
            began = time.perf_counter()
            player.jump(step)
            slowest = max(slowest, time.perf_counter() - began)
        print(f"replay: made in {made - started:.2f} s, slowest jump {1000 * slowest:.0f} ms")

        for number in range(SESSIONS):
            for event in course(f"n{number}", "0" * 64, 4):
                store.append(event)
        await store.flush()
        started = time.perf_counter()
        rows = store.sessions(limit=100)
        listed = time.perf_counter()
        hits = store.search("restarts", limit=50)
        searched = time.perf_counter()
        print(
            f"{SESSIONS} sessions: list of {len(rows)} in {1000 * (listed - started):.1f} ms,"
            f" search with {len(hits)} hits in {1000 * (searched - listed):.1f} ms,"
            f" file {path.stat().st_size / 1e6:.1f} MB"
        )
        store.close()


if __name__ == "__main__":
    asyncio.run(main())
