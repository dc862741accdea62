"""From claims to findings and remedies: evidence recorded, ids given, chains of changes kept in order."""

from __future__ import annotations

from collections.abc import Callable

from agents.expert.causes import Claim, Scan
from agents.expert.draft import Draft, Fix
from assistant.domain.action import Remedy
from assistant.domain.evidence import Citation, Evidence
from assistant.domain.finding import Finding, Role

SHOWN = 12
"""Findings of an answer; more are counted, because a list of fifty consequences helps nobody at night."""


def findings_of(scan: Scan, cite: Callable[[Citation], Evidence]) -> tuple[Finding, ...]:
    """Return the findings F1… of a scan, with recorded evidence; at most `SHOWN` beside the root causes."""
    kept = [c for c in scan.claims if c.role is Role.ROOT_CAUSE]
    kept += [c for c in scan.claims if c.role is not Role.ROOT_CAUSE][: max(0, SHOWN - len(kept))]
    numbers = {c.rank: n for n, c in enumerate(kept, 1)}
    return tuple(_finding(c, numbers, cite) for c in kept)


def _finding(claim: Claim, numbers: dict[int, int], cite: Callable[[Citation], Evidence]) -> Finding:
    draft = claim.draft
    number = numbers[claim.rank]
    return Finding(
        f"F{number}",
        number,
        claim.role,
        draft.category,
        draft.target,
        draft.field,
        draft.summary,
        round(draft.confidence, 2),
        evidence_of(draft, cite),
        tuple(f"F{numbers[r]}" for r in claim.explains if r in numbers),
        outside_of(draft),
    )


def evidence_of(draft: Draft, cite: Callable[[Citation], Evidence]) -> tuple[str, ...]:
    """Record a draft's citations and return their ids, each once."""
    return tuple(dict.fromkeys(cite(c).id for c in draft.citations if c.quote))


def outside_of(draft: Draft) -> str:
    """Return who must do what, where the draft has no action that a cluster could carry out."""
    if any(f.action is not None for f in draft.fixes):
        return draft.outside
    return draft.outside or next((f.outside for f in draft.fixes if f.outside), "")


def remedies_of(scan: Scan, findings: tuple[Finding, ...]) -> tuple[Remedy, ...]:
    """Return the remedies A1… of the root causes: first each root's first choice, then the alternatives.

    A fix marked `then` follows the one in front of it, so the two stay together.
    """
    ids = {(f.category, str(f.target), f.field): f.id for f in findings}
    chains: list[tuple[int, int, str, list[Fix]]] = []
    for order, claim in enumerate(scan.roots):
        finding = ids.get((claim.draft.category, str(claim.draft.target), claim.draft.field))
        if finding is None:
            continue
        position = -1
        for fix in claim.draft.fixes:
            if not fix.then:
                position += 1
                chains.append((position, order, finding, [fix]))
            else:
                chains[-1][3].append(fix)
    chains.sort(key=lambda chain: (chain[0], chain[1]))
    remedies: list[Remedy] = []
    for _, _, finding, fixes in chains:
        before = ""
        for fix in fixes:
            name = f"A{len(remedies) + 1}"
            remedies.append(
                Remedy(
                    name,
                    fix.title,
                    (finding,),
                    fix.risk,
                    fix.action,
                    fix.kubectl,
                    fix.undo,
                    fix.reason,
                    fix.outside,
                    before,
                )
            )
            before = name
    return tuple(remedies)


def next_remedy(fix: Fix, remedies: tuple[Remedy, ...], before: Remedy) -> Remedy:
    """Return a fix as the link that follows a remedy, with an id of its own."""
    numbers = [int(each.id[1:]) for each in remedies if each.id[1:].isdigit()]
    return Remedy(
        f"A{max(numbers, default=0) + 1}",
        fix.title,
        before.fixes,
        fix.risk,
        fix.action,
        fix.kubectl,
        fix.undo,
        fix.reason,
        fix.outside,
        before.id,
    )
