"""The whole conversation in plain text over a real session: ask, read, decide, look at evidence, undo, end."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from assistant.domain.proposal import ProposalState
from assistant.plain.face import PlainFace
from assistant.plain.talk import converse
from assistant.session.door import RecordedGate
from assistant.session.parts import Parts
from assistant.session.runner import Session
from assistant.store.log import SessionStore
from tests.session.scripted import OPENED, FakeClock, ScriptedGate, ScriptedWorkflow

Line = str | Callable[[Session], str]


async def talk(path: Path, *lines: Line) -> tuple[str, ScriptedGate, Session]:
    """Type lines into a conversation and return what it printed, the gate and the session."""
    gate = ScriptedGate()
    door = RecordedGate(gate)
    out = io.StringIO()
    with SessionStore.open(path / "s.db") as store:
        parts = Parts(store, ScriptedWorkflow(door), door, FakeClock(), lambda text: (text, 0), "alice")
        session = await Session.open(parts, "s1", OPENED)
        typed = iter(lines)

        async def read(prompt: str) -> str | None:
            line = next(typed, None)
            out.write(prompt)
            text = line(session) if callable(line) else line
            out.write(f"{text}\n")
            return text

        await converse(session, PlainFace(out), read, FakeClock())
        await session.close()
    return out.getvalue(), gate, session


def approve(session: Session) -> str:
    return f"approve {session.case.waiting[0].proposal.digest[:6]}"


async def test_a_change_is_asked_for_approved_and_verified(tmp_path: Path) -> None:
    text, gate, session = await talk(tmp_path, "why is web down?", approve, "evidence E1", "quit")
    assert gate.sent == ["A-0001"]
    said = " ".join(text.split())
    for words in ("you ask: why is web down?", "A-0001 waits for you", "diff: none could be made", "APPROVED by alice",
                  "verified: fixed", '{"reason": "ImagePullBackOff"}'):  # fmt: skip
        assert words in said, words
    assert session.case.proposals[0].decision and len(session.case.proposals[0].decision.shown) == 64


async def test_yes_is_not_an_approval_and_later_leaves_it_open_until_the_end(tmp_path: Path) -> None:
    text, gate, session = await talk(tmp_path, "why is web down?", "yes", "y", "", "later", "quit")
    assert gate.sent == [] and gate.decisions == []
    assert "still waits" in text
    assert session.case.proposals[0].state is ProposalState.WITHDRAWN, "ending the session takes it back"


async def test_the_end_of_input_approves_nothing(tmp_path: Path) -> None:
    _, gate, session = await talk(tmp_path, "why is web down?")
    assert gate.sent == [] and session.case.closed


async def test_a_denial_carries_its_reason(tmp_path: Path) -> None:
    text, gate, _ = await talk(tmp_path, "why is web down?", "deny not during trading hours", "quit")
    assert gate.sent == [] and gate.decisions[0].reason == "not during trading hours"
    assert "DENIED by alice: not during trading hours" in text


async def test_mistakes_are_answered_and_end_nothing(tmp_path: Path) -> None:
    text, gate, session = await talk(
        tmp_path, "???", "review A9", "undo A-0009", "evidence E9", "approvals", "stop", "help"
    )
    assert text.count("error: ") == 3 and "There is no E9" in text and "No change waits" in text
    assert gate.sent == [] and session.case.turn == 0
