"""A process that appends events and prints the number of each one that was acknowledged, until it is killed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from assistant.domain import event as ev
from assistant.store.log import SessionStore


def main(path: str) -> None:
    store = SessionStore.open(Path(path))
    store.claim("s1")
    seq = 0
    while True:
        for _ in range(3):
            seq += 1
            payload: ev.Payload = ev.Noted("x" * 300)
            if seq == 1:
                payload = ev.Asked(1, "why?", "")
            store.append(ev.Event("s1", seq, datetime.now(UTC), payload))
        store.flush_blocking()
        sys.stdout.write(f"{seq}\n")
        sys.stdout.flush()


main(sys.argv[1])
