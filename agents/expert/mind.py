"""The expert as a mind: plans by subject, concludes from the whole view, verifies by reading again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from agents.expert.answer import answer
from agents.expert.catalogue import SUBJECTS, Subject
from agents.expert.causes import ODD_OBJECTS, Scan, drafts_of, scan
from agents.expert.draft import Draft, Level
from agents.expert.hushed import Hushed
from agents.expert.numbering import evidence_of, findings_of, outside_of, remedies_of
from agents.expert.question import asks_for_the_other, remark
from agents.expert.reading import abroad_of, logs_of, reads_of
from agents.mind import Conclusion
from assistant.domain.action import Remedy
from assistant.domain.event import Healing, ToolEnded, ToolStarted, Verified
from assistant.domain.finding import Finding, Role, Verdict
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

    async def verify(
        self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder, patience_seconds: float = VERIFY_SECONDS
    ) -> Verified:
        """Read again until the finding is gone and what it touched is well, at most `patience_seconds`.

        FIXED only on evidence; reads that fail to the end are CANNOT_TELL. All of it is one tool call in the log.
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
            recorder.emit(ToolEnded(call, False, "broken off", self._clock.monotonic() - started))
            raise
        # Judged once more from what was read last, so that the evidence of this verdict alone is on record.
        verified = self._judged(turn, finding, proposal, recorder) if verified.healing in SEEN else verified
        times = "once" if looks == 1 else f"{looks} times"
        recorder.emit(ToolEnded(call, True, f"{verified.healing.value}, read {times}", seconds))
        return verified

    async def _look_again(self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder) -> Verified:
        try:
            self._reader.refresh(turn.namespace or finding.target.namespace)
            await self._read_all(self._reader.view.namespace, recorder)
        except ClusterError as error:
            return Verified(proposal, Healing.CANNOT_TELL, f"The cluster could not be read: {error.meaning}")
        return self._judged(turn, finding, proposal, recorder)

    def _judged(self, turn: Turn, finding: Finding, proposal: str, recorder: Recorder) -> Verified:
        view = self._reader.view
        result = scan(view, turn.question)
        touched = self._touched.get(identity(finding), frozenset())
        healing, text, evidence = judge(result, finding, touched, recorder)
        now = view.find(finding.target.kind, finding.target.namespace, finding.target.name)
        if healing is Healing.FIXED and now is not None:
            evidence = (recorder.cite(view.cite(now, finding.field, "metadata.resourceVersion")).id,)
        return Verified(proposal, healing, text, evidence)

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


def identity(finding: Finding) -> tuple[str, str]:
    """Return what a finding is recognised by in a later scan."""
    return finding.category, f"{finding.target.kind}/{finding.target.namespace}/{finding.target.name}"


def touched_by(result: Scan) -> dict[tuple[str, str], frozenset[str]]:
    """Return for each claim the keys of all objects that it is about or that follow from it, through the graph."""
    by_rank = {c.rank: c for c in result.claims}
    found = {}
    for claim in result.claims:
        keys = claim.draft.about | claim.draft.explains
        for rank in claim.explains:
            keys |= by_rank[rank].draft.about
        target = claim.draft.target
        found[(claim.draft.category, f"{target.kind}/{target.namespace}/{target.name}")] = keys
    return found


def judge(
    result: Scan, finding: Finding, touched: frozenset[str], recorder: Recorder
) -> tuple[Healing, str, tuple[str, ...]]:
    """Say whether a finding is gone: neither it is left nor anything that keeps what it touched unwell.

    With nothing known of what it touched (another process found it), whatever is unwell in its namespace counts.
    """
    category, key = identity(finding)
    for claim in result.claims:
        draft = claim.draft
        starting = draft.note and draft.level is Level.CALLER
        if draft.note and not starting:
            continue
        own = f"{draft.target.kind}/{draft.target.namespace}/{draft.target.name}" == key
        if own and draft.category == category:
            return Healing.NOT_FIXED, f"Still so: {draft.summary}", evidence_of(draft, recorder.cite)
        stable = {k for k in draft.about if not k.startswith("Pod/")}
        near = bool(stable & touched) if touched else draft.target.namespace == finding.target.namespace
        if own or near:
            text = f"The change is in, but not all is well yet: {draft.summary}"
            return Healing.NOT_FIXED, text, evidence_of(draft, recorder.cite)
    if result.verdict is Verdict.UNDETERMINED and result.gaps:
        return Healing.CANNOT_TELL, f"The cluster cannot be seen well enough: {result.gaps[0]}", ()
    good = "; ".join(result.checked[:3])
    return Healing.FIXED, f"The fault is gone. {good}." if good else "The fault is gone.", ()
