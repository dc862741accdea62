"""The mind of a recording: it finds nothing, and repeats what was found then on the evidence of then.

Alone it shows what a session came to. As the expert of another mind it is where that one starts from, with the same
facts under the same ids, so that two models can be compared on equal terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agents.mind import Conclusion
from assistant.domain.action import Remedy
from assistant.domain.event import Healing, ToolEnded, ToolStarted, Verified
from assistant.domain.evidence import Citation
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.domain.recorded import EXPERT, RecordedAnswer, RecordedTurn

_CITED: Final = re.compile(r"\[(E\d+)\]")


class RecordedMind:
    """Answers one recorded turn. It is given no reader, so that it cannot look at anything else."""

    def __init__(self, recorded: RecordedTurn, clock: Clock) -> None:
        """Keep what is recorded; nothing of it is told before `conclude`."""
        self._recorded = recorded
        self._clock = clock
        self._stands: Conclusion | None = None

    @property
    def name(self) -> str:
        """Return whose answer is repeated: the expert's, or a model's where the recording has no other."""
        return self._recorded.answer.mind if self._recorded.answer else EXPERT

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        """Return nothing: there is nothing to look at but the recording, and that is read as a whole."""
        return ()

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        """Return nothing: no step is planned."""
        return ()

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        """Record the facts of the recording in their order, and return what was concluded from them."""
        ids = self._cite_all(recorder)
        answer = self._recorded.answer
        self._stands = _renumbered(answer, ids) if answer else self._unanswered()
        return self._stands

    def standing(self, turn: Turn) -> Conclusion | None:
        """Return the recorded conclusion once its facts are recorded."""
        return self._stands

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        """Return nothing: all that was suggested is in the conclusion."""
        return ()

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        """Return nothing: a recording has no pods that could be started again."""
        return None

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = 60.0
    ) -> Verified:
        """Say that it cannot be told: there is no cluster behind a recording."""
        text = "This is a recording: there is no cluster that could be read again, so nothing can be verified."
        return Verified(proposal, Healing.CANNOT_TELL, text)

    def _cite_all(self, recorder: Recorder) -> dict[str, str]:
        call, started = recorder.new_call(), self._clock.monotonic()
        recorder.emit(ToolStarted(call, "recording", f"facts of {self._recorded.session}"))
        ids, bare = {}, 0
        for fact in self._recorded.facts:
            known = fact.evidence
            # Without its text a fact still has its quote, which is what the answer rests on.
            body = fact.text if fact.text is not None else known.quote
            bare += fact.text is None
            ids[known.id] = recorder.cite(Citation(known.request, known.quote, body, known.target), call).id
        said = f"{len(ids)} facts" if len(ids) != 1 else "1 fact"
        said += f", {bare} of them without the text it stands in" if bare else ""
        recorder.emit(ToolEnded(call, True, said, self._clock.monotonic() - started))
        return ids

    def _unanswered(self) -> Conclusion:
        why = f": {self._recorded.stopped}" if self._recorded.stopped else "."
        return Conclusion(Verdict.UNDETERMINED, (), (), f"The recorded turn has no answer{why}")


def _renumbered(answer: RecordedAnswer, ids: Mapping[str, str]) -> Conclusion:
    """Return the conclusion with its evidence under the ids of this session, which are nearly always the same."""
    findings = tuple(
        replace(finding, evidence=tuple(dict.fromkeys(ids[fact] for fact in finding.evidence if fact in ids)))
        for finding in answer.findings
    )
    markdown = _CITED.sub(lambda found: f"[{ids.get(found[1], found[1])}]", answer.markdown)
    return Conclusion(
        answer.verdict, findings, answer.remedies, markdown, answer.checked, remark=answer.remark
    )  # fmt: skip
