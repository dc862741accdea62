"""A conversation line by line: `--plain` in a terminal. For screen readers, tiny terminals and logs."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, Protocol

from assistant.domain.case import Case
from assistant.domain.ports import Clock
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import PilothouseError
from assistant.plain.face import PlainFace, ReadLine, report_lines
from assistant.plain.lines import evidence_lines, one_line, wrapped
from assistant.policy.sanitize import SafeText, safe
from assistant.session.recorder import Listener

HELP: Final = """Type a question, or one of:
  approvals      the changes that wait, one after the other
  review A1      have a suggestion examined, so that you can decide on it
  undo A-0001    have the way back of an applied change examined
  evidence E1    the whole text that a fact stands in
  report         the answer again, with evidence
  stop           stop what runs
  quit           end"""


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


async def converse(session: Talking, face: PlainFace, read: ReadLine, clock: Clock, question: str = "") -> None:
    """Take questions and answers until the person ends it or input ends; `question` is asked first."""
    session.subscribe(face)
    face.lines([safe(line) for line in HELP.split("\n")])
    line: str | None = question or await read("ask> ")
    while line is not None and line.strip() not in ("quit", "exit"):
        if line.strip():
            try:
                await _do(session, face, read, clock, line.strip())
            except PilothouseError as error:
                face.error(error)
        line = await read("ask> ")


async def _do(session: Talking, face: PlainFace, read: ReadLine, clock: Clock, line: str) -> None:
    words = line.split()
    match words:
        case ["help"]:
            face.lines([safe(text) for text in HELP.split("\n")])
        case ["report"]:
            face.lines(report_lines(session.case))
        case ["stop"]:
            await session.stop("stopped by you")
        case ["evidence", fact_id]:
            _evidence(session, face, fact_id)
        case ["review", remedy_id]:
            await session.review(remedy_id)
            await _decisions(session, face, read, clock)
        case ["undo", proposal_id]:
            await session.undo(proposal_id)
            await _decisions(session, face, read, clock)
        case ["approvals"]:
            if not session.case.waiting:
                face.lines([SafeText("No change waits for you.")])
            await _decisions(session, face, read, clock)
        case _:
            await session.ask(line)
            await _decisions(session, face, read, clock)


async def _decisions(session: Talking, face: PlainFace, read: ReadLine, clock: Clock) -> None:
    put_off: set[str] = set()
    await session.settled()
    while waiting := [item.proposal for item in session.case.waiting if item.proposal.id not in put_off]:
        proposal = waiting[0]
        if await face.ask_decision(session, proposal, read, clock) is ProposalState.OPEN:
            put_off.add(proposal.id)
            text = f"{proposal.id} still waits: `approvals` shows it again, `stop` takes it back."
            face.lines(wrapped(text))
            continue
        await session.settled()


def _evidence(session: Talking, face: PlainFace, fact_id: str) -> None:
    fact = session.case.fact(fact_id)
    if fact is None:
        face.lines([SafeText(f"There is no {one_line(fact_id)}.")])
        return
    face.lines(evidence_lines(fact))
    face.lines([SafeText(f"  {line}") for line in safe(session.body(fact.body)).split("\n")])
