"""`ask` and `scan`: one question, one answer, an exit code. Never approves anything."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace

from assistant.backend import Place
from assistant.commands.opening import place_for, settings_of, working
from assistant.config import Settings
from assistant.domain.case import Case
from assistant.domain.event import Event, StepStarted, ToolStarted
from assistant.domain.finding import Verdict
from assistant.domain.thinking import MODEL_TOOL
from assistant.errors import BudgetError, ClusterError, ModelError, PilothouseError, StoreError, UsageError
from assistant.policy.sanitize import safe

FAULT = 1
WAITS = 3
SCAN_QUESTION = "Is anything wrong here?"


def ask(given: argparse.Namespace) -> int:
    """Answer a question. Exit 3 when a change waits (--propose), 1 when there is a fault (--exit-code), else 0.

    Raises ModelError (exit 6) where the language model failed and the expert alone could not decide.
    """
    question = " ".join(given.question)
    if not any(character.isalnum() for character in question):
        raise UsageError("The question has no words.", 'Say what is wrong, for example: "why does web restart?"')
    case = asyncio.run(_answer(settings_of(given), place_for(given), question, given.format, given.propose))
    if case.waiting:
        return WAITS
    return FAULT if given.exit_code and _verdict(case) is Verdict.FAULT else 0


def scan(given: argparse.Namespace) -> int:
    """Look for faults without a question. Exit 1 when there is one."""
    case = asyncio.run(_answer(settings_of(given), place_for(given), SCAN_QUESTION, given.format, False))
    return FAULT if _verdict(case) is Verdict.FAULT else 0


async def _answer(settings: Settings, place: Place, question: str, form: str, propose: bool) -> Case:
    async with working(settings, place, propose=propose) as work:
        unsubscribe = work.session.subscribe(_progress) if sys.stderr.isatty() else None
        await work.session.ask(question)
        await work.session.settled()
        if unsubscribe:
            unsubscribe()
            print("\r\x1b[K", end="", file=sys.stderr)
        case = work.session.case
        trouble = work.store.trouble
        if trouble is not None and propose and any(remedy.action for remedy in case.remedies):
            # Nobody could take it over: a change that is not on record is not offered.
            shown = tuple(item for item in case.proposals if item not in case.waiting)
            _print(replace(case, proposals=shown), form)
            text = f"The change is not held, because the session cannot be recorded: {trouble.meaning}"
            raise StoreError(text, trouble.hint, detail=trouble.detail)
        if trouble is not None:
            print(safe(f"This session is not recorded: {trouble.meaning} {trouble.hint}"), file=sys.stderr)
        _raise_without_answer(case)
        _print(case, form)
        if case.waiting:
            # The turn stays open in the log, so that a person can take it over where it stands.
            await work.session.detach()
        return case


def _progress(event: Event, case: Case) -> None:
    title = ""
    if isinstance(event.payload, StepStarted):
        title = next((step.title for step in case.plan if step.id == event.payload.step), "")
    elif isinstance(event.payload, ToolStarted) and event.payload.tool == MODEL_TOOL:
        title = safe(event.payload.title, multiline=False)
    if title:
        print(f"\r\x1b[K{title} …"[:78], end="", file=sys.stderr, flush=True)


def _verdict(case: Case) -> Verdict:
    return case.answer.verdict if case.answer else Verdict.UNDETERMINED


def _raise_without_answer(case: Case) -> None:
    unreadable = next((error for error in case.errors if error.code in ("cluster", "gate", "gate-gone")), None)
    if unreadable and _verdict(case) is Verdict.UNDETERMINED:
        raise ClusterError(unreadable.meaning, unreadable.hint, detail=unreadable.detail)
    failed = next((error for error in reversed(case.errors) if error.code.startswith(ModelError.code)), None)
    if failed and case.answer is not None and _verdict(case) is Verdict.UNDETERMINED and not case.root_causes:
        raise ModelError(failed.meaning, failed.hint, detail=failed.detail)
    if case.answer is not None:
        return
    if case.errors:
        last = case.errors[-1]
        raise PilothouseError(last.meaning, last.hint, detail=last.detail)
    raise BudgetError(case.stopped or "There is no answer.", "Ask a narrower question, or raise the bound.")


def _print(case: Case, form: str) -> None:
    if form == "json":
        from assistant.plain.json import dumps

        print(dumps(case))
        return
    if form == "markdown":
        from assistant.plain.markdown import report

        print(report(case))
        return
    from assistant.plain.card import card_lines
    from assistant.plain.face import report_lines

    print("\n".join(report_lines(case)))
    for item in case.waiting:
        print()
        print("\n".join(card_lines(item.proposal, item.proposal.created)))
    if case.waiting:
        print(f"\nNothing was changed. To decide: pilothouse --resume {case.session}")
