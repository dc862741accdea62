"""What the workflow asks of a mind. The expert (rules) and the model (a language model) both answer this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from assistant.domain.action import Remedy
from assistant.domain.event import Verified
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step
from assistant.domain.ports import Recorder, Turn


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a mind makes of all findings of a turn.

    `findings` are linked, ranked and numbered F1…; `remedies` are numbered A1…, the one to consider first in front.
    `checked` says in plain words what was looked at (shown where nothing is wrong). `more` holds further steps that
    the mind wants before it answers; it is empty when the answer stands. `remark` is what had to be said about the
    question itself; the Markdown begins with it. `by` is whose answer it is, "" for the mind that was asked.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]
    markdown: str
    checked: tuple[str, ...] = ()
    more: tuple[Step, ...] = ()
    remark: str = ""
    by: str = ""


class Mind(Protocol):
    """Plans, investigates, concludes and verifies. Reads the cluster through its own tools; records through `recorder`.

    Every method may be run again after a crash, so none has an effect that a second run would double.
    """

    @property
    def name(self) -> str:
        """Return what the screen calls this mind: "expert" or the model's name."""
        ...

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        """Return the steps that would answer the question; independent ones run in parallel."""
        ...

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        """Carry out one step and return what it found, with evidence ids but not yet ranked or linked."""
        ...

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        """Link and rank what all steps found, and say what would mend it."""
        ...

    def standing(self, turn: Turn) -> Conclusion | None:
        """Return what already stands where `conclude` could not come to its end in time; None where nothing does."""
        ...

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        """Return further remedies after a person denied one (its id) and said why; none where there is no other idea.

        Their ids go on from those of the conclusion.
        """
        ...

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        """Return the change without which an applied one cannot be told to have helped, as a link after `remedy`.

        Asked once `verify` could not tell about `proposal`; None where nothing but time is missing.
        """
        ...

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> Verified:
        """Read again after a change until `finding` is gone, or `patience_seconds` have passed."""
        ...
