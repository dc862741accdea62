"""Runs one turn in a process that a test may kill: `python -m tests.session.resuming FOLDER NODE`.

Every effect is one line in FOLDER/effects. With NODE given the process kills itself the first time it gets there.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from agents.graph import GraphWorkflow
from agents.mind import Conclusion
from assistant.domain import event as ev
from assistant.domain.action import Action, Remedy
from assistant.domain.case import fold
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step
from assistant.domain.ports import Recorder, Resolution, Turn
from assistant.domain.proposal import Origin, Outcome, Proposal, ProposalState
from assistant.wire import convert, encode, event_from_builtins, event_to_builtins, to_builtins
from tests.session.scripted import FINDING, REMEDY, START, FakeClock, proposal
from tests.session.test_workflow import ListRecorder

NODES = ("plan", "S1", "S2", "conclude", "propose", "proposed", "wait", "execute", "executed", "verify")
TURN = Turn("s1", 1, "why is web down?", "shop")


class Place:
    """A folder that outlives the process: effects, what the gate holds, the events."""

    def __init__(self, folder: Path, kill_at: str) -> None:
        self.folder, self.kill_at = folder, kill_at

    def reach(self, node: str) -> None:
        with (self.folder / "effects").open("a") as file:
            file.write(node + "\n")
        if node == self.kill_at and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Recording(ListRecorder):
    def __init__(self, place: Place) -> None:
        self.place, self.path = place, place.folder / "events"
        known = [event_from_builtins(json.loads(line)) for line in self.path.open()] if self.path.exists() else []
        if known:
            self.events, self.case = [e.payload for e in known], fold(known)
            self.flushed_at, self.directions = [], []
        else:
            super().__init__(TURN)

    def emit(self, payload: ev.Payload) -> None:
        super().emit(payload)
        event = ev.Event("s1", self.case.seq, START, payload)
        with self.path.open("ab") as file:
            file.write(encode(event_to_builtins(event)) + b"\n")


class Mind:
    name = "scripted"

    def __init__(self, place: Place) -> None:
        self.place = place

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        self.place.reach("plan")
        return (Step("S1", "pods"), Step("S2", "events"))

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        self.place.reach(step.id)
        return (FINDING,)

    def standing(self, turn: Turn) -> Conclusion | None:
        return None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        return ()

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        self.place.reach("conclude")
        assert len(found) == 2
        return Conclusion(Verdict.FAULT, (FINDING,), (REMEDY,), "The image does not exist.")

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        return None

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> ev.Verified:
        self.place.reach("verify")
        return ev.Verified(proposal, ev.Healing.FIXED, "3 of 3 pods are ready")


class FileGate:
    """Keeps what the real gate's journal would keep: one proposal a key, one outcome a proposal."""

    def __init__(self, place: Place) -> None:
        self.place, self.path = place, place.folder / "gate"

    async def propose(self, action: Action, origin: Origin, key: str) -> Proposal:
        self.place.reach("propose")
        path = self.path.with_name(f"gate-{key}")
        if not path.exists():
            path.write_bytes(encode(proposal(1, action, origin)))
        self.place.reach("proposed")
        return convert(Proposal, json.loads(path.read_bytes()))

    async def execute(self, proposal_id: str) -> Outcome:
        self.place.reach("execute")
        path = self.path.with_name("outcome")
        if not path.exists():
            path.write_text(proposal_id)
            self.place.reach("SENT")
        self.place.reach("executed")
        return Outcome(proposal_id, ProposalState.APPLIED, START, 200, "ok")


async def main(folder: Path, kill_at: str) -> None:
    place = Place(folder, kill_at)
    recorder = Recording(place)
    gate = FileGate(place)
    workflow = GraphWorkflow(Mind(place), gate, folder / "checkpoints.db", FakeClock())  # type: ignore[arg-type]
    pause = await workflow.run(TURN, recorder)
    while pause is not None:
        place.reach("wait")
        recorder.case.proposal(pause.proposal)
        pause = await workflow.resume(TURN, recorder, Resolution(pause.proposal, ProposalState.APPROVED))
    await workflow.close()
    (folder / "end").write_text(json.dumps(to_builtins(recorder.case.proposals)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
