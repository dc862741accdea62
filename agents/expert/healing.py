"""Whether a change helped: the claims that are left after it, told from those that rest on what was before it."""

from __future__ import annotations

from dataclasses import dataclass

from agents.expert.causes import Claim, Scan
from agents.expert.draft import Draft, Level
from agents.expert.numbering import evidence_of
from agents.expert.runs import BACKING_OFF, Rests, Since, reads_at_start, rests
from agents.expert.workload import Container, Workload, workload_of
from assistant.domain.event import Healing
from assistant.domain.finding import Finding, Verdict
from assistant.domain.ports import Recorder
from assistant.domain.view import ClusterView


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict in words with its evidence; `behind` is the workload whose pods have not started since the change."""

    healing: Healing
    text: str
    evidence: tuple[str, ...] = ()
    behind: Workload | None = None


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
    view: ClusterView,
    result: Scan,
    finding: Finding,
    touched: frozenset[str],
    change: Since | None,
    recorder: Recorder,
) -> Judgement:
    """Say whether a finding is gone: neither it is left nor anything that keeps what it touched unwell.

    With nothing known of what it touched (another process found it), whatever is unwell in its namespace counts. What
    rests on container runs that began before the change, and what follows from that, is no verdict on the change.
    """
    by_rank = {claim.rank: claim for claim in result.claims}
    older: list[tuple[Claim, tuple[Container, ...]]] = []
    follows: set[int] = set()
    for claim in result.claims:
        draft = claim.draft
        if claim.rank in follows or not _counts(draft, finding, touched):
            continue
        basis, runs = rests(view, draft, change) if change is not None else (Rests.NOW, ())
        if basis is Rests.NOW:
            still = "Still so" if _same(draft, finding) else "The change is in, but not all is well yet"
            return Judgement(Healing.NOT_FIXED, f"{still}: {draft.summary}", evidence_of(draft, recorder.cite))
        if basis is Rests.BEFORE:
            older.append((claim, runs))
            follows |= _after(claim, by_rank)
    if older and change is not None:
        return _not_since(view, older[0][1], change, recorder)
    if result.verdict is Verdict.UNDETERMINED and result.gaps:
        return Judgement(Healing.CANNOT_TELL, f"The cluster cannot be seen well enough: {result.gaps[0]}")
    good = "; ".join(result.checked[:3])
    return Judgement(Healing.FIXED, f"The fault is gone. {good}." if good else "The fault is gone.")


def _same(draft: Draft, finding: Finding) -> bool:
    category, key = identity(finding)
    return draft.category == category and f"{draft.target.kind}/{draft.target.namespace}/{draft.target.name}" == key


def _counts(draft: Draft, finding: Finding, touched: frozenset[str]) -> bool:
    """Say whether a claim speaks of the finding, of its object, or of something else that the fault had touched."""
    starting = draft.note and draft.level is Level.CALLER
    if draft.note and not starting:
        return False
    own = f"{draft.target.kind}/{draft.target.namespace}/{draft.target.name}" == identity(finding)[1]
    stable = {key for key in draft.about if not key.startswith("Pod/")}
    near = bool(stable & touched) if touched else draft.target.namespace == finding.target.namespace
    return own or near


def _after(claim: Claim, by_rank: dict[int, Claim]) -> set[int]:
    """Return the ranks of all claims that follow from one, through the graph."""
    seen: set[int] = set()
    todo = list(claim.explains)
    while todo:
        rank = todo.pop()
        if rank not in seen:
            seen.add(rank)
            todo += by_rank[rank].explains
    return seen


def _not_since(view: ClusterView, runs: tuple[Container, ...], change: Since, recorder: Recorder) -> Judgement:
    """Return that nothing can be told yet, with what would decide it."""
    first, target = runs[0], change.target
    workload = workload_of(view, first.pod)
    moment = f"{change.at:%H:%M:%S} UTC by the cluster's clock"
    restarted = workload.thing.key == f"{target.kind}/{target.namespace}/{target.name}"
    if all(each.running for each in runs) and not restarted and not reads_at_start(workload, target):
        text = f"Cannot tell yet: {workload.name()} has not become well and has said nothing new since the change"
        parts = [f"{text} ({moment}).", "What its containers log from now on decides it, or a start of its pods."]
    else:
        text = f"Cannot tell yet: the pods of {workload.name()} have not started since the change ({moment})"
        parts = [f"{text}, so that their logs and restarts are of before it."]
        if reads_at_start(workload, target):
            parts.append(
                f"They take {target.kind} {target.name} as environment, which is read when a container starts: "
                "one that runs never sees the change."
            )
        seen, made = workload.thing.number("status.observedGeneration"), workload.thing.number("metadata.generation")
        if restarted and 0 < seen < made:
            parts.append(f"Its controller has not taken the change up (generation {made}, observed {seen}).")
        elif restarted:
            parts.append("The first pods of the new template decide it.")
        elif any(each.reason == BACKING_OFF for each in runs):
            parts.append(
                "The kubelet waits up to 5 minutes between two tries: the next start decides it, or a restart now."
            )
        else:
            parts.append("Their next start decides it: restart them.")
    cited = [view.cite(each.pod, f"{each.status_path}.state", f"{each.status_path}.lastState") for each in runs[:2]]
    evidence = tuple(dict.fromkeys(recorder.cite(each).id for each in cited))
    return Judgement(Healing.CANNOT_TELL, " ".join(parts), evidence, workload)
