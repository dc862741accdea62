"""A conversation line by line: `--plain` in a terminal. For screen readers, tiny terminals and logs."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, Protocol

from assistant.domain.case import Case
from assistant.domain.hypothesis import Mark
from assistant.domain.ports import Clock
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import PilothouseError
from assistant.plain.face import PlainFace, report_lines
from assistant.plain.lines import evidence_lines, one_line, wrapped
from assistant.plain.thinking import hypothesis_words
from assistant.plain.typed import ReadLine, TypedLines
from assistant.policy.sanitize import SafeText, safe
from assistant.session.recorder import Listener

HELP: Final = """Type a question, or one of:
  approvals      the changes that wait, one after the other
  review A1      have a suggestion examined, so that you can decide on it
  undo A-0001    have the way back of an applied change examined
  evidence E1    the whole text that a fact stands in
  board          what it might be, with what speaks for and against
  strike H1      have a hypothesis not looked into; pin H1: have it decided first;
                 unmark H1: neither. In a terminal these work while a turn runs, and
                 any other line then gives it a direction
  report         the answer again, with evidence
  stop           stop what runs
  quit           end"""


MARKS: Final = {"strike": Mark.STRUCK, "pin": Mark.PINNED, "unmark": Mark.OPEN}
QUIT: Final = ("quit", "exit")


class Talking(Protocol):
    """The part of a session that a conversation needs (`assistant.session.runner.Session`)."""

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        ...

    def subscribe(self, listener: Listener) -> object:
        """Call `listener` after every event."""
        ...

    async def ask(self, text: str, namespace: str | None = None) -> object:
        """Start a turn."""
        ...

    def steer(self, text: str) -> object:
        """Give the running turn a direction."""
        ...

    def mark(self, hypothesis_id: str, mark: Mark) -> object:
        """Strike or pin a hypothesis, or take that back."""
        ...

    async def settled(self) -> None:
        """Return when the turn is over or waits for a person."""
        ...

    async def stop(self, reason: str) -> object:
        """Stop the turn."""
        ...

    async def decide(
        self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
        *, looked_seconds: float = -1.0,
    ) -> ProposalState:  # fmt: skip
        """Hand over a decision."""
        ...

    async def review(self, remedy_id: str) -> Proposal:
        """Have a suggestion examined."""
        ...

    async def undo(self, proposal_id: str) -> Proposal:
        """Have the way back of a change examined."""
        ...

    def body(self, sha256: str) -> str:
        """Return a stored text."""
        ...


async def read_stdin(prompt: str) -> str | None:
    """Return the next line of standard input without its end, None at its end; the loop goes on meanwhile."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return line.rstrip("\n") if line else None


async def converse(
    session: Talking, face: PlainFace, read: ReadLine, clock: Clock, question: str = "", *, early: bool = False
) -> None:
    """Take questions and answers until the person ends it or input ends; `question` is asked first.

    With `early`, lines are also taken while a turn runs: marks on the board, `stop`, or a direction.
    """
    session.subscribe(face)
    face.lines([safe(line) for line in HELP.split("\n")])
    typed = TypedLines(read, face.prompt, early=early)
    try:
        line: str | None = question or await typed("ask> ")
        while line is not None and line.strip() not in QUIT:
            if line.strip():
                try:
                    await _do(session, face, typed, clock, line.strip())
                except PilothouseError as error:
                    face.error(error)
            line = await typed("ask> ")
    finally:
        typed.close()


async def _do(session: Talking, face: PlainFace, typed: TypedLines, clock: Clock, line: str) -> None:
    words = line.split()
    match words:
        case ["review", remedy_id]:
            await session.review(remedy_id)
            await _decisions(session, face, typed, clock)
        case ["undo", proposal_id]:
            await session.undo(proposal_id)
            await _decisions(session, face, typed, clock)
        case ["approvals"]:
            if not session.case.waiting:
                face.lines([SafeText("No change waits for you.")])
            await _decisions(session, face, typed, clock)
        case _ if await _shown(session, face, words):
            pass
        case _:
            await session.ask(line)
            await _decisions(session, face, typed, clock)


async def _shown(session: Talking, face: PlainFace, words: list[str]) -> bool:
    """Do what can be done at any time, also while a turn runs; returns whether `words` were such a command."""
    match words:
        case ["help"]:
            face.lines([safe(text) for text in HELP.split("\n")])
        case ["report"]:
            face.lines(report_lines(session.case))
        case ["stop"]:
            await session.stop("stopped by you")
        case ["evidence", fact_id]:
            _evidence(session, face, fact_id)
        case ["board"]:
            board = [wrapped(one_line(hypothesis_words(each)), rest="   ") for each in session.case.board]
            said = [line for lines in board for line in lines]
            face.lines(said or [SafeText("Nothing is on the board: a language model fills it while it thinks.")])
        case ["strike" | "pin" | "unmark" as word, hypothesis_id]:
            session.mark(hypothesis_id, MARKS[word])
        case _:
            return False
    return True


async def _while_it_runs(session: Talking, face: PlainFace, typed: TypedLines, line: str) -> bool:
    """Do what a line says that was typed while a turn runs; returns whether more lines are taken meanwhile."""
    words = line.split()
    try:
        if line in QUIT:
            await session.stop("stopped by you")
            typed.put_back(line)
            return False
        elif words and words[0] in ("approve", "deny", "later"):
            # Typed ahead of its card, it would be an answer to something that nobody has read.
            face.lines([SafeText("Nothing was decided: no change is shown yet.")])
        elif words and not await _shown(session, face, words):
            session.steer(line)
    except PilothouseError as error:
        face.error(error)
    return True


async def _settled(session: Talking, face: PlainFace, typed: TypedLines) -> None:
    """Return when the turn is over or waits for a person; where lines come early, do meanwhile what they say."""
    over = asyncio.ensure_future(session.settled())
    try:
        while typed.early and not over.done():
            waited: set[asyncio.Future[Any]] = {over, typed.begin()}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if over.done() or (line := typed.take()) is None:
                break
            if not await _while_it_runs(session, face, typed, line.strip()):
                break
        await over
    finally:
        over.cancel()


async def _decisions(session: Talking, face: PlainFace, typed: TypedLines, clock: Clock) -> None:
    put_off: set[str] = set()
    await _settled(session, face, typed)
    while waiting := [item.proposal for item in session.case.waiting if item.proposal.id not in put_off]:
        proposal = waiting[0]
        if await face.ask_decision(session, proposal, typed, clock) is ProposalState.OPEN:
            put_off.add(proposal.id)
            text = f"{proposal.id} still waits: `approvals` shows it again, `stop` takes it back."
            face.lines(wrapped(text))
            continue
        await _settled(session, face, typed)


def _evidence(session: Talking, face: PlainFace, fact_id: str) -> None:
    fact = session.case.fact(fact_id)
    if fact is None:
        face.lines([SafeText(f"There is no {one_line(fact_id)}.")])
        return
    face.lines(evidence_lines(fact))
    face.lines([SafeText(f"  {line}") for line in safe(session.body(fact.body)).split("\n")])
