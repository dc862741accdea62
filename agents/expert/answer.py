"""The expert's answer as Markdown: the cause, its evidence, what to do, what is not known."""

from __future__ import annotations

from agents.expert.causes import Claim, Scan
from assistant.domain.action import Remedy
from assistant.domain.finding import Finding, Role, Verdict

LISTED = 4
MARKUP = frozenset("\\`*_[]<>#|")


def words(confidence: float) -> str:
    """Return a confidence in words."""
    if confidence >= 0.9:
        return "almost certain"
    if confidence >= 0.75:
        return "likely"
    return "possible" if confidence >= 0.5 else "a guess"


def plain(value: str) -> str:
    """Return cluster text as inert Markdown: no markup, no line breaks of its own."""
    return "".join(f"\\{c}" if c in MARKUP else c for c in " ".join(value.split()))


def cited(finding: Finding) -> str:
    """Return a finding's evidence as `[E1][E2]`, or the word that says there is none."""
    return "".join(f"[{e}]" for e in finding.evidence[:LISTED]) or "(a guess: no evidence)"


def answer(
    scan: Scan, findings: tuple[Finding, ...], remedies: tuple[Remedy, ...], namespace: str, remark: str = ""
) -> str:
    """Return the answer of a turn; `remark` is what has to be said about the question first."""
    place = f"namespace {namespace}" if namespace else "the cluster"
    parts: list[str] = [plain(remark)] if remark else []
    roots = [f for f in findings if f.role is Role.ROOT_CAUSE]
    match scan.verdict:
        case Verdict.HEALTHY:
            parts.append(f"**Nothing is wrong in {place}**, as far as the expert can see.")
            parts.append("Checked:\n\n" + "\n".join(f"- {plain(c)}" for c in scan.checked))
        case Verdict.UNDETERMINED:
            parts.append(f"**The evidence does not decide what is wrong in {place}.**")
            parts += [f"- {plain(f.summary)} {cited(f)}" for f in findings[:LISTED]]
            missing = dict.fromkeys(c.draft.missing for c in scan.claims if c.draft.missing)
            if missing:
                parts.append("What would decide it:\n\n" + "\n".join(f"- {plain(m)}" for m in list(missing)[:LISTED]))
        case Verdict.FAULT:
            told = dict(zip((f.id for f in roots), scan.roots, strict=False))
            beside = [f for f in roots if f.id in told and told[f.id].beside]
            mine = [f for f in roots if f not in beside]
            head = "**The cause**" if len(mine) == 1 else f"**{len(mine)} independent causes**"
            parts.append(f"{head} ({words(roots[0].confidence)})")
            parts += [_root(f, findings, told.get(f.id)) for f in mine]
            if beside:
                parts.append("**Also wrong**, and not what was asked about:")
                parts += [_root(f, findings, told.get(f.id)) for f in beside]
            parts.append(what_to_do(remedies, roots))
    notes = [f for f in findings if f.role is Role.NOTE][:LISTED]
    if notes and scan.verdict is not Verdict.UNDETERMINED:
        parts.append("Also seen, and not the cause:\n\n" + "\n".join(f"- {plain(f.summary)} {cited(f)}" for f in notes))
    if scan.gaps:
        parts.append("Not seen:\n\n" + "\n".join(f"- {plain(g)}" for g in scan.gaps[:LISTED]))
    return "\n\n".join(p for p in parts if p)


def _root(finding: Finding, findings: tuple[Finding, ...], claim: Claim | None) -> str:
    lines = [f"- {_headed(finding)} {cited(finding)}"]
    if claim is not None and claim.change is not None:
        lines.append(f"  - what changed: {plain(claim.change.text)}")
    if finding.field:
        lines.append(f"  - where: `{finding.field.replace('`', '')}`")
    follows = [f for f in findings if f.id in finding.explains][:3]
    lines += [f"  - from it follows: {plain(f.summary)} {cited(f)}" for f in follows]
    return "\n".join(lines)


def _headed(finding: Finding) -> str:
    """Return the summary with its object in bold, named once: most summaries begin with it."""
    target, summary = finding.target, plain(finding.summary)
    begins = plain(f"{target.kind} {target.name}")
    if summary.startswith(f"{begins} "):
        full = plain(str(target))
        return f"**{full}**{summary[len(begins) :]}"
    return f"**{plain(str(target))}**: {summary}"


def what_to_do(remedies: tuple[Remedy, ...], roots: list[Finding]) -> str:
    """Return the remedies as a numbered list, or who has to do what outside the cluster."""
    if not remedies:
        return "\n".join(f"Outside the cluster: {plain(f.outside)}." for f in roots if f.outside)
    lines = ["What to do:", ""]
    for number, remedy in enumerate(remedies[: LISTED + 2], 1):
        after = f", after {remedy.after}" if remedy.after else ""
        what = f"{remedy.id}{after}: {plain(remedy.title)}" if remedy.action is not None else plain(remedy.title)
        lines.append(f"{number}. {what} ({plain(remedy.reason)})")
    return "\n".join(lines)
