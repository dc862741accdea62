"""Lines typed while a turn runs: marks, directions, stop; and never an answer to a card that was not shown."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assistant.domain import event as ev
from assistant.domain.hypothesis import Mark
from assistant.domain.proposal import ProposalState
from assistant.plain.face import PlainFace
from assistant.plain.talk import converse
from assistant.plain.typed import TerminalLines, TypedLines
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from tests.replay.thought import BOARD
from tests.session.scripted import OPENED, FakeClock, ScriptedGate, ScriptedWorkflow, drain

Line = str | None | Callable[["Desk"], Awaitable[str | None]]


class Desk:
    """A session whose turn runs until a test lets it go on, and a person at a terminal."""

    def __init__(self, store: SessionStore) -> None:
        self.gate = ScriptedGate()
        door = RecordedGate(self.gate)
        self.workflow = ScriptedWorkflow(door)
        self.workflow.hold = self.hold = asyncio.Event()
        self.out = io.StringIO()
        self.parts = Parts(store, self.workflow, door, FakeClock(), lambda text: (text, 0), "alice")
        self.session: Session

    async def talk(self, *lines: Line, early: bool = True) -> str:
        self.session = await Session.open(self.parts, "s1", OPENED)
        typed = iter(lines)

        async def read(prompt: str) -> str | None:
            self.out.write(prompt)
            line = next(typed, None)
            return await line(self) if callable(line) else line

        await converse(self.session, PlainFace(self.out), read, FakeClock(), early=early)
        await self.session.close()
        return " ".join(self.out.getvalue().split())

    async def until(self, holds: Callable[[], object]) -> None:
        # The writer's thread takes its own time, so rounds of the loop cannot be counted.
        async with asyncio.timeout(5):
            await self._rounds(holds)

    async def _rounds(self, holds: Callable[[], object]) -> None:
        while not holds():
            await drain(1)

    def marks(self) -> list[tuple[str, Mark]]:
        said = [event.payload for event in self.session.events if isinstance(event.payload, ev.HypothesisMarked)]
        return [(each.hypothesis, each.mark) for each in said]


@asynccontextmanager
async def desk_at(path: Path) -> AsyncIterator[Desk]:
    with SessionStore.open(path / "s.db") as store:
        yield Desk(store)


async def strike(desk: Desk) -> str:
    desk.session._recorder.emit(ev.BoardMade(BOARD))
    return "strike H2"


async def let_go(desk: Desk) -> str:
    desk.hold.set()
    return ""


async def approve_once_asked(desk: Desk) -> str:
    await desk.until(lambda: "approve, deny or later> " in desk.out.getvalue())
    return f"approve {desk.session.case.waiting[0].proposal.digest[:6]}"


async def quit_once_sent(desk: Desk) -> str:
    await desk.until(lambda: desk.session.case.proposals[0].verified)
    return "quit"


class TestWhileATurnRuns:
    async def test_hypotheses_are_marked_and_other_lines_are_directions(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            text = await desk.talk(
                "why is web down?", strike, "pin H1", "board", "unmark H2", "strike H9", "", "look at the nodes",
                let_go, approve_once_asked, quit_once_sent,
            )  # fmt: skip
            assert desk.marks() == [("H2", Mark.STRUCK), ("H1", Mark.PINNED), ("H2", Mark.OPEN)]
            assert desk.workflow.steered == ["look at the nodes"]
            for words in ("H1 PINNED: The image tag does not exist", "H2 STRUCK: The pull secret is wrong",
                          "There is no hypothesis 'H9'", "you mark: H2 open again"):  # fmt: skip
                assert words in text, words
            assert desk.gate.sent == ["A-0001"], "the line begun before the card answers it after it was shown"

    async def test_nothing_typed_before_the_card_is_shown_decides_it(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:

            async def digest(desk: Desk) -> str:
                return f"approve {1:064x}"[: len("approve ") + 6]

            text = await desk.talk("why is web down?", digest, "deny", "later", let_go, None)
            assert text.count("Nothing was decided") == 3
            assert desk.gate.sent == [] and desk.gate.decisions == []
            assert desk.session.case.proposals[0].state is ProposalState.WITHDRAWN

    async def test_stop_ends_the_turn_and_the_conversation_goes_on(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            text = await desk.talk("why is web down?", "stop", "report", "quit")
            assert "stopped: stopped by you" in text
            assert desk.gate.held == {}

    async def test_quit_stops_the_turn_and_ends(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            text = await desk.talk("why is web down?", "quit", "why is it still down?")
            assert "stopped: stopped by you" in text and desk.session.case.turn == 1

    async def test_the_end_of_input_waits_for_the_turn_and_then_ends(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:

            async def end(desk: Desk) -> None:
                desk.hold.set()

            await desk.talk("why is web down?", end)
            assert desk.session.case.answer is not None and desk.gate.sent == []

    async def test_from_a_pipe_lines_wait_for_what_they_answer(self, tmp_path: Path) -> None:
        async with desk_at(tmp_path) as desk:
            desk.hold.set()
            text = await desk.talk("why is web down?", approve_once_asked, "strike H1", "board", early=False)
            assert desk.gate.sent == ["A-0001"] and "Nothing is on the board" in text and "The board is empty" in text


class TestTerminal:
    @pytest.fixture
    def ends(self) -> Iterator[tuple[int, int]]:
        ours, theirs = pty.openpty()
        tty.setcbreak(theirs)
        yield ours, theirs
        os.close(ours)
        os.close(theirs)

    async def test_lines_come_one_by_one_however_they_arrive(self, ends: tuple[int, int]) -> None:
        ours, theirs = ends
        read, out = TerminalLines(theirs, io.StringIO()), io.StringIO()
        os.write(ours, "höst".encode()[:2])
        first = asyncio.ensure_future(read(""))
        await drain()
        assert not first.done()
        os.write(ours, "höst".encode()[2:] + b"\nsecond\nthi")
        async with asyncio.timeout(5):
            assert await first == "höst"
            assert await read("") == "second"
            os.write(ours, b"rd\n")
            assert await read("") == "third"
        assert out.getvalue() == ""

    async def test_a_line_that_is_given_up_leaves_the_next_one_to_the_next_reader(self, ends: tuple[int, int]) -> None:
        ours, theirs = ends
        out = io.StringIO()
        read = TerminalLines(theirs, out)
        given_up = asyncio.ensure_future(read("first> "))
        await drain()
        given_up.cancel()
        await drain()
        os.write(ours, b"kept\n")
        async with asyncio.timeout(5):
            assert await read("second> ") == "kept"
        assert out.getvalue() == "first> second> "

    async def test_a_closed_input_ends_with_what_was_typed_and_then_nothing(self) -> None:
        reading, writing = os.pipe()
        read = TerminalLines(reading, io.StringIO())
        os.write(writing, b"rest")
        os.close(writing)
        async with asyncio.timeout(5):
            assert await read("") == "rest"
            assert await read("") is None
        os.close(reading)


async def test_a_line_begun_early_is_shown_its_prompt_when_it_is_asked_for() -> None:
    shown: list[str] = []
    line: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def read(prompt: str) -> str | None:
        return await line

    typed = TypedLines(read, shown.append, early=True)
    assert typed.begin() is typed.begin()
    asked = asyncio.ensure_future(typed("ask> "))
    await drain()
    assert shown == ["ask> "]
    line.set_result("why?")
    assert await asked == "why?"
    typed.begin()
    typed.close()
