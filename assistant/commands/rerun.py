"""`rerun`: answer a recorded question anew on the recorded evidence, and compare. Nothing here opens a cluster.

The only way out is the process that asks the model, where one is given, and its address.

The rerun is a session like any other, with a log of its own, so that it can be shown, exported and replayed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from assistant import __version__
from assistant.commands.opening import settings_of
from assistant.commands.sessions import recording_of
from assistant.config import Settings
from assistant.domain.case import Case
from assistant.domain.event import SessionOpened
from assistant.domain.recorded import EXPERT, RERUN_OF
from assistant.errors import (
    BudgetError,
    ModelError,
    PilothouseError,
    RecordingError,
    StoreError,
    UnreadableRecordingError,
    UsageError,
)
from assistant.policy.sanitize import safe

if TYPE_CHECKING:
    from agents.mind import Mind
    from assistant.domain.ports import Clock
    from assistant.domain.recorded import RecordedTurn
    from assistant.model_worker.link import ModelWorker
    from assistant.store.log import SessionStore
    from assistant.store.memory import MemoryStore


def rerun(given: argparse.Namespace) -> int:
    """Answer one recorded question again and print both answers side by side."""
    from assistant.models import model_worker
    from assistant.session.clock import SystemClock
    from assistant.wiring import rerun_mind

    model, base_url = given.model or "", given.base_url or ""
    if base_url and not model:
        raise UsageError("--base-url is where a model is, and none is given.", "Add --model, or leave it out.")
    settings = settings_of(given)
    before, recorded = _recorded(settings, given.what, given.turn)
    clock, store = SystemClock(), _store(settings)
    try:
        worker = model_worker(settings, clock) if model else None
        mind = rerun_mind(settings, recorded, model, worker, store, clock)
        after = asyncio.run(_answer(settings, recorded, mind, _opened(before, model), store, clock, worker))
        trouble = store.trouble
    finally:
        store.close()
    if after.answer is None:
        _raise_without_answer(after)
    _print(before, after, given.format, stored=trouble is None)
    _warn(after, recorded, model, trouble)
    return 0


def _recorded(settings: Settings, what: str, turn: int | None) -> tuple[Case, RecordedTurn]:
    from assistant.session.rerun import case_of_turn, recorded_turn, turns_of

    try:
        recording = recording_of(settings, what, "used")
    except RecordingError as error:
        if not Path(what).expanduser().exists():
            raise
        raise UnreadableRecordingError(error.meaning, error.hint, detail=error.detail) from error
    number = turn if turn is not None else max(turns_of(recording.events), default=1)
    return case_of_turn(recording.events, number), recorded_turn(recording.events, recording.body, number)


def _store(settings: Settings) -> SessionStore | MemoryStore:
    from assistant.wiring import open_store

    try:
        return open_store(settings)
    except StoreError as error:
        # A comparison can be made without a disk; that it is not kept is said.
        from assistant.store.memory import MemoryStore

        return MemoryStore(error)


async def _answer(
    settings: Settings, recorded: RecordedTurn, mind: Mind, opened: SessionOpened, store: SessionStore | MemoryStore,
    clock: Clock, worker: ModelWorker | None,
) -> Case:  # fmt: skip
    async with AsyncExitStack() as stack:
        if worker is not None:
            stack.push_async_callback(worker.close)
            worker.start_ahead()
            await asyncio.sleep(0)  # it is on its way before we load what we need ourselves
        from agents.graph import GraphWorkflow
        from assistant.policy.redact import redact_text
        from assistant.session.budget import Bounds
        from assistant.session.parts import Parts
        from assistant.session.runner import Session
        from assistant.store.log import new_session_id

        # Without a gate there is no way to a change, and without a file nothing to go on from after a crash.
        workflow = GraphWorkflow(mind, None, None, clock)
        stack.push_async_callback(workflow.close)
        parts = Parts(
            store=store, workflow=workflow, gate=None, clock=clock, redact=redact_text, by="rerun", propose=False,
            bounds=Bounds(settings.tool_calls, float(settings.turn_seconds)),
        )  # fmt: skip
        session = await Session.open(parts, new_session_id(clock.now()), opened)
        stack.push_async_callback(session.close)
        await session.ask(recorded.question, recorded.namespace)
        await session.finished()
        return session.case


def _opened(before: Case, model: str) -> SessionOpened:
    from assistant.session.compare import RECORDED

    # Somebody else's file may begin anywhere; what it does not say of its cluster stays empty.
    was = before.opened or SessionOpened("", "", "", "", before.namespace, "", "", "", "")
    return replace(
        was, app_version=__version__, mode="observe", source=f"{RERUN_OF}{before.session}", mind=model or RECORDED
    )


def _raise_without_answer(case: Case) -> NoReturn:
    if not case.errors:
        raise BudgetError(case.stopped or "There is no answer.", "Raise the bound turn_seconds or tool_calls.")
    last = case.errors[-1]
    kind = ModelError if last.code.startswith(ModelError.code) else PilothouseError
    raise kind(last.meaning, last.hint, detail=last.detail)


def _print(before: Case, after: Case, form: str, *, stored: bool) -> None:
    from assistant.plain.compare import comparison_json, comparison_lines
    from assistant.session.compare import compare

    found = compare(before, after)
    if form == "json":
        print(comparison_json(found))
        return
    print("\n".join(comparison_lines(found)))
    if stored:
        print(f"\nThe rerun is kept as {after.session}: pilothouse sessions show {after.session}")


def _warn(case: Case, recorded: RecordedTurn, model: str, trouble: StoreError | None) -> None:
    stands = recorded.answer.mind if recorded.answer else EXPERT
    if model and case.answer is not None and case.answer.mind == stands != model:
        why = case.errors[-1].meaning if case.errors else "It gave no answer."
        print(safe(f"{model} did not answer, so the recorded answer stands. {why}"), file=sys.stderr)
    if trouble is not None:
        print(safe(f"This session is not recorded: {trouble.meaning} {trouble.hint}"), file=sys.stderr)
