"""The expert as a mind: plans by subject, concludes from the whole view, verifies by reading again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from agents.expert.answer import answer
from agents.expert.catalogue import SUBJECTS, Subject
from agents.expert.causes import ODD_OBJECTS, Scan, drafts_of, scan
from agents.expert.draft import Draft
from agents.expert.healing import identity, judge, touched_by
from agents.expert.hushed import Hushed
from agents.expert.numbering import evidence_of, findings_of, next_remedy, outside_of, remedies_of
from agents.expert.question import asks_for_the_other, remark
from agents.expert.reading import abroad_of, logs_of, reads_of
from agents.expert.remedies import restart
from agents.expert.runs import Since, reads_at_start, since
from agents.expert.workload import Workload
from agents.mind import Conclusion
from assistant.domain.action import Remedy
from assistant.domain.event import Healing, ToolEnded, ToolStarted, Verified
from assistant.domain.finding import Finding, Role
from assistant.domain.plan import Step
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.domain.view import ClusterView
from assistant.errors import ClusterError
from assistant.tools.kube import KubeReader

VERIFY_SECONDS = 60.0
POLL_SECONDS = 1.5
POLL_GROWTH = 1.4
LONGEST_POLL_SECONDS = 8.0
SEEN = (Healing.FIXED, Healing.NOT_FIXED)


class ExpertMind:
    """Rules over one shared view. Every method may run again: reads are repeated, citations are recorded once."""

    def __init__(self, reader: KubeReader, clock: Clock) -> None:
        """Keep the reader (one a session) and the clock that verification waits by."""
        self._reader = reader
        self._clock = clock
        self._logs: tuple[ClusterView, datetime, list[tuple[str, str, str, bool]]] | None = None
        self._touched: dict[tuple[str, str], frozenset[str]] = {}
        self._told: dict[int, str] = {}
        self._changes: dict[str, Since] = {}
        self._behind: dict[str, Workload | None] = {}

    @property
    def name(self) -> str:
        """Return what the screen calls this mind."""
        return "expert"

    async def plan(self, turn: Turn, recorder: Recorder) -> tuple[Step, ...]:
        """Return one step a subject; all are independent and share their reads."""
        self._logs = None  # it holds the view of the turn before, which is as large as the cluster
        self._reader.begin(turn.thread, turn.namespace)
        return tuple(Step(subject.id, subject.title) for subject in SUBJECTS)

    async def investigate(self, turn: Turn, step: Step, recorder: Recorder) -> tuple[Finding, ...]:
        """Read what a subject needs and return what its analyzers say. Raises ClusterError when nothing answers."""
        subject = next((s for s in SUBJECTS if s.id == step.id), None)
        if subject is None:
            return ()
        view = self._reader.begin(turn.thread, turn.namespace)
        await self._read(subject, turn.namespace, recorder, step.id)
        # Steps run together and share their reads. Judged before the last of them is in, a view is judged twice.
        await self._reader.settled()
        own = [d for name, analyze in subject.analyzers for d in _safely(name, analyze, view)]
        return tuple(
            Finding(
                f"{step.id}.{i}",
                i,
                Role.NOTE,
                d.category,
                d.target,
                d.field,
                d.summary,
                d.confidence,
                evidence_of(d, recorder.cite),
                (),
                outside_of(d),
            )
            for i, d in enumerate(own, 1)
        )

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        """Judge the whole view. `found` is not needed: what the steps read is in the view, or is read again."""
        view = self._reader.begin(turn.thread, turn.namespace)
        await self._read_all(turn.namespace, recorder)
        before = frozenset(key for number, key in self._told.items() if number < turn.number)
        answered = before if asks_for_the_other(turn.question) else frozenset()
        result = scan(view, turn.question, answered)
        self._touched.update(touched_by(result))
        if result.roots:
            self._told[turn.number] = key_of_target(result.roots[0].draft)
        return conclusion(result, recorder, turn.namespace, remark(view, turn.question))

    def standing(self, turn: Turn) -> Conclusion | None:
        """Return nothing: rules are done when they are."""
        return None

    async def revise(
        self, turn: Turn, conclusion: Conclusion, denied: str, feedback: str, recorder: Recorder
    ) -> tuple[Remedy, ...]:
        """Return nothing: all that rules can suggest is in the conclusion already."""
        return ()

    def next_link(self, conclusion: Conclusion, remedy: Remedy, proposal: str) -> Remedy | None:
        """Return the restart without which a change does not reach the pods; None where they do not wait for one."""
        workload = self._behind.get(proposal)
        change = self._changes.get(proposal)
        fix = restart(self._reader.view, workload) if workload is not None else None
        if fix is None or workload is None or change is None:
            return None
        if f"{change.target.kind}/{change.target.namespace}/{change.target.name}" == workload.thing.key:
            return None  # its pods are replaced by the change itself
        if not reads_at_start(workload, change.target):
            title = (
                f"Restart {workload.thing.kind.lower()} {workload.thing.name} so that its pods start with the change"
            )
            fix = replace(fix, title=title, reason="what its containers say is of before the change")
        return next_remedy(fix, conclusion.remedies, remedy)

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = VERIFY_SECONDS
    ) -> Verified:
        """Read again until the finding is gone and what it touched is well, at most `patience_seconds`.

        FIXED only on evidence; reads that fail to the end are CANNOT_TELL, and so is what only runs of before the
        change speak against. All of it is one tool call in the log.
        """
        call, started = recorder.new_call(), self._clock.monotonic()
        place = turn.namespace or finding.target.namespace or "all"
        recorder.emit(ToolStarted(call, "verify", f"check again  {place}"))
        hushed, looks, pause = Hushed(recorder, call), 0, POLL_SECONDS
        try:
            while True:
                looks += 1
                verified = await self._look_again(turn, finding, proposal, hushed)
                seconds = self._clock.monotonic() - started
                if verified.healing is Healing.FIXED or seconds >= patience_seconds:
                    break
                await self._clock.sleep(min(pause, patience_seconds - seconds))
                pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)
        except asyncio.CancelledError:
            self._behind[proposal] = None  # nobody waits for this verdict any more, so nothing follows from it
            recorder.emit(ToolEnded(call, False, "broken off", self._clock.monotonic() - started))
            raise
        # Judged once more from what was read last, so that the evidence of this verdict alone is on record.
        seen = verified.healing in SEEN or self._behind.get(proposal) is not None
        verified = self._judged(turn, finding, proposal, recorder) if seen else verified
        times = "once" if looks == 1 else f"{looks} times"
        recorder.emit(ToolEnded(call, True, f"{verified.healing.value}, read {times}", seconds))
        return verified

    async def _look_again(self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder) -> Verified:
        try:
            self._reader.refresh(turn.namespace or finding.target.namespace)
            await self._read_all(self._reader.view.namespace, recorder)
        except ClusterError as error:
            self._behind[proposal] = None
            return Verified(proposal, Healing.CANNOT_TELL, f"The cluster could not be read: {error.meaning}")
        if proposal not in self._changes:
            known = recorder.case.proposal(proposal)
            target = known.proposal.action.target if known is not None else finding.target
            version = known.outcome.resource_version if known is not None and known.outcome is not None else ""
            self._changes[proposal] = since(self._reader.view, target, version)
        return self._judged(turn, finding, proposal, recorder)

    def _judged(self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder) -> Verified:
        view = self._reader.view
        result = scan(view, turn.question)
        touched = self._touched.get(identity(finding), frozenset())
        said = judge(view, result, finding, touched, self._changes.get(proposal), recorder)
        self._behind[proposal] = said.behind
        now = view.find(finding.target.kind, finding.target.namespace, finding.target.name)
        evidence = said.evidence
        if said.healing is Healing.FIXED and now is not None:
            evidence = (recorder.cite(view.cite(now, finding.field, "metadata.resourceVersion")).id,)
        return Verified(proposal, said.healing, said.text, evidence)

    async def _read_all(self, namespace: str, recorder: Recorder) -> None:
        for subject in SUBJECTS:
            await self._read(subject, namespace, recorder, "")

    async def _read(self, subject: Subject, namespace: str, recorder: Recorder, step: str) -> None:
        kinds = await self._reader.kinds(recorder, step)
        groups = {name: info.group for name, info in kinds.items()}
        await self._reader.read(reads_of(subject, groups, namespace), recorder, step)
        await self._reader.settled()
        if subject.custom:
            await self._reader.read(abroad_of(self._reader.view), recorder, step)
        if subject.logs:
            await self._reader.logs(self._wanted_logs(), recorder, step)

    def _wanted_logs(self) -> list[tuple[str, str, str, bool]]:
        # Every subject with logs has read the same pods, and a log that was read changes nothing about which to read.
        view = self._reader.view
        if self._logs is None or self._logs[0] is not view or self._logs[1] != view.now:
            self._logs = (view, view.now, logs_of(view))
        return self._logs[2]


def _safely(name: str, analyze: Callable[[ClusterView], list[Draft]], view: ClusterView) -> list[Draft]:
    """Return an analyzer's drafts; one that fails on odd objects says so in the conclusion, where it runs again."""
    try:
        return drafts_of(view, name, analyze)
    except ODD_OBJECTS:
        return []


def conclusion(result: Scan, recorder: Recorder, namespace: str, said: str = "") -> Conclusion:
    """Return a scan as the workflow wants it, with recorded evidence; `said` is the remark on the question."""
    findings = findings_of(result, recorder.cite)
    remedies = remedies_of(result, findings)
    text = answer(result, findings, remedies, namespace, said)
    return Conclusion(result.verdict, findings, remedies, text, result.checked, remark=said)


def key_of_target(draft: Draft) -> str:
    """Return the key of the object that a draft would change."""
    return f"{draft.target.kind}/{draft.target.namespace}/{draft.target.name}"
