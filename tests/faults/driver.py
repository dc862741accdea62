"""One session process as a person would use it, which a test may kill: `python -m tests.faults.driver SETTINGS`.

Opens the real wiring on a running cluster, asks, approves whatever waits, and comes to rest. What it was told is safe
goes to a side file with fsync, so that another process can hold the product to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from assistant import wiring
from assistant.backend import Place
from assistant.config import load
from assistant.domain.case import Case
from assistant.domain.event import Event
from assistant.domain.proposal import Answer
from assistant.errors import PilothouseError
from assistant.gate.control import ControlClient
from assistant.gate.faults import VARIABLE
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from assistant.wire import encode, event_to_builtins

REST_SECONDS: Final = 90.0
QUIET_SECONDS: Final = 0.3
KINDS: Final = ("asked", "answered", "proposed", "decided", "sending", "concluded", "undo_offered", "verified")
CALLS: Final = ("propose", "decide", "execute")
POINTS: Final = (
    *(f"on-{kind}" for kind in KINDS),
    *(f"{side}-flush-{kind}" for kind in ("proposed", "sending") for side in ("before", "after")),
    *(f"{side}-{call}" for call in CALLS for side in ("before", "after")),
    "before-checkpoint",
    "after-checkpoint",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do. `resume` is a session's id; `gate_fault` and `fault` name a point, "" for none."""

    folder: str
    kubeconfig: str
    namespace: str
    question: str
    resume: str = ""
    fault: str = ""
    gate_fault: str = ""


def digest(event: Event) -> str:
    """Return the hash of an event as the store must give it back."""
    return hashlib.sha256(encode(event_to_builtins(event))).hexdigest()


class Witness:
    """Notes what was acknowledged, on disk before anything else happens."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.emitted: list[tuple[int, str]] = []
        self.last_kind = ""

    def note(self, **fact: Any) -> None:
        """Write one fact and wait until it is on disk."""
        os.write(self._handle, msgspec.json.encode(fact) + b"\n")
        os.fsync(self._handle)

    def saw(self, event: Event, case: Case) -> None:
        """Remember an event that was emitted and is not yet acknowledged."""
        self.emitted.append((event.seq, digest(event)))
        self.last_kind = event.kind


class Faults:
    """Dies at the named point. Hooks are put around the product's own calls from outside."""

    def __init__(self, armed: str) -> None:
        self._armed = armed

    def point(self, name: str) -> None:
        """Die here with SIGKILL if this is the armed point."""
        if name == self._armed:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: type, method: str, name: str) -> None:
        """Make a point before and one after an asynchronous method."""
        inner: Callable[..., Awaitable[Any]] = getattr(owner, method)

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            self.point(f"before-{name}")
            result = await inner(*arguments, **named)
            self.point(f"after-{name}")
            return result

        setattr(owner, method, wrapped)


def watch_flush(witness: Witness, faults: Faults) -> None:
    """Have every successful flush of the store acknowledged in the side file."""
    inner = SessionStore.flush

    async def flush(store: SessionStore) -> None:
        kind, due = witness.last_kind, list(witness.emitted)
        faults.point(f"before-flush-{kind}")
        await inner(store)
        faults.point(f"after-flush-{kind}")
        if due:
            witness.note(events=due)
            witness.emitted = [item for item in witness.emitted if item not in due]

    SessionStore.flush = flush  # type: ignore[method-assign, assignment]


class Person:
    """Approves everything that waits and can be approved, as soon as it is seen."""

    def __init__(self, session: Session, witness: Witness) -> None:
        self._session = session
        self._witness = witness
        self._changed = asyncio.Event()
        session.subscribe(lambda event, case: self._changed.set())

    async def work(self) -> None:
        """Decide until nothing runs and nothing waits for a while. Raises TimeoutError after 90 seconds."""
        async with asyncio.timeout(REST_SECONDS):
            while True:
                self._changed.clear()
                for item in self._session.case.waiting:
                    await self._decide(item.proposal.id, item.proposal.typed_name, item.proposal.approvable)
                resting = not self._session.running and not self._session.case.unresolved
                try:
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    if resting and not self._session.case.cluster_lost:
                        return

    async def _decide(self, proposal: str, typed_name: str, approvable: bool) -> None:
        answer = Answer.APPROVE if approvable else Answer.DENY
        try:
            state = await self._session.decide(proposal, answer, "crash loop", "ab" * 32, typed_name)
        except PilothouseError as error:
            self._witness.note(undecided=proposal, why=error.code)
            await asyncio.sleep(0.05)
            return
        self._witness.note(decided=proposal, state=state.value)


async def acknowledge(store: Any) -> None:
    """Flush again and again, so that as much as possible is acknowledged when the end comes."""
    while True:
        with suppress(PilothouseError):
            await store.flush()
        await asyncio.sleep(0.03)


def say(word: str, text: str = "") -> None:
    """Tell the parent how far we are."""
    sys.stdout.write(f"{word} {text}\n")
    sys.stdout.flush()


async def main(settings: Settings) -> int:
    """Run one session until it rests, or until it is killed."""
    folder = Path(settings.folder)
    witness, faults = Witness(folder / "acknowledged.jsonl"), Faults(settings.fault)
    watch_flush(witness, faults)
    for call in CALLS:
        faults.around(ControlClient, call, call)
    faults.around(AsyncSqliteSaver, "aput", "checkpoint")
    flags = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run"), "kubeconfig": settings.kubeconfig}
    product = load(flags, {}, folder / "no-settings")
    if settings.gate_fault:
        os.environ[VARIABLE] = settings.gate_fault
    try:
        work = await wiring.open_work(product, Place("live", settings.namespace), resume=settings.resume)
    finally:
        os.environ.pop(VARIABLE, None)  # a gate that takes the dead one's place lives

    def saw(event: Event, case: Case) -> None:
        witness.saw(event, case)
        faults.point(f"on-{event.kind}")
        if event.kind in KINDS:
            say(event.kind)

    session = work.session
    session.subscribe(saw)
    witness.note(session=session.id)
    say("opened", str(work.backend.ready["kubeconfig"]))
    flusher = asyncio.create_task(acknowledge(work.store))
    try:
        if not settings.resume:
            await session.ask(settings.question)
        await Person(session, witness).work()
        say("rested")
    finally:
        flusher.cancel()
        await work.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Settings))))
