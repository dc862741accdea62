"""Two opinions made one conclusion: who leads, what both say, what is shown as unsupported. Pure.

A model may contradict the expert, with evidence. It leads where the expert is not nearly certain; where it is, the
model's cause stands beside the expert's as a note, so that no text in a cluster can talk a proven cause away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.expert.answer import plain, what_to_do
from agents.mind import Conclusion
from agents.model.answer import Cause
from agents.model.citations import Checked, Judged
from assistant.domain.action import Remedy
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.target import Target
from assistant.policy.sanitize import safe

CERTAIN: Final = 0.9
"""The expert's own word for it is "almost certain" (agents/expert/answer.py)."""
SURE: Final = 0.5
"""A further cause of the model's is a root cause from here on, a note below."""
GUESS: Final = 0.2
"""The most that an unsupported cause is shown with."""
FAULTS: Final = 4
"""Of an unsupported cause that people are told; one is enough to be unsupported."""
_LINK: Final = re.compile(r"!?\[([^\]\n]*)\]\(([^)\s]*)[^)]*\)")
_CITED: Final = re.compile(r"\[(E\d+)\]")
_DEFINED: Final = re.compile(r"\]:(?=\s*\S+[^\S\n]*(?:$|[\"'(]))", re.MULTILINE)
"""Where a link may be defined, far from where it is used: `[E1]: http://…` would make a link of every `[E1]`."""
_TAG: Final = re.compile(r"(\\*)<")
_FENCE: Final = re.compile(r"^([\s>*+-]*(?:\d+[.)]\s+)*[\s>*+-]*)(`{3,}|~{3,})(.*)$")

Seen = Callable[[str, str, str], Target | None]
"""Returns an object that was read, by kind, namespace and name."""
Record = Callable[[Judged], tuple[str, ...]]
"""Records the quotes of a cause and returns their evidence ids."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the model said, checked, and the changes that it wrote."""

    model: str
    checked: Checked
    remedies: Sequence[Remedy]

    @property
    def verdict(self) -> Verdict:
        """Return the model's verdict: a fault of which nothing is supported decides nothing."""
        verdict = self.checked.answer.verdict
        if verdict is Verdict.FAULT and not any(each.supported for each in self.checked.causes):
            return Verdict.UNDETERMINED
        return verdict


@dataclass(frozen=True, slots=True)
class _Led:
    """Findings in order, with the sentence that says how the opinions stand to each other.

    `model_leads` says whose cause comes first, `agreed` that the expert's text need not be repeated.
    """

    verdict: Verdict
    findings: list[Finding]
    head: str
    model_leads: bool = False
    agreed: bool = False


def joined(expert: Conclusion, said: Said, seen: Seen, record: Record) -> Conclusion:
    """Return the conclusion of both."""
    causes = () if said.checked.answer.informs else said.checked.causes
    made = [_finding(each, said.model, seen, record) for each in causes]
    made = [replace(each, id=f"F{n}") for n, each in enumerate(made, len(expert.findings) + 1)]
    led = _led(expert, said, made)
    order = {Role.ROOT_CAUSE: 0, Role.CONSEQUENCE: 1, Role.NOTE: 2}
    ranked = sorted(led.findings, key=lambda each: order[each.role])
    findings = tuple(replace(each, rank=n) for n, each in enumerate(ranked, 1))
    remedies = _remedies(expert, said, findings, first=led.model_leads)
    markdown = _markdown(expert, said, led, findings, remedies)
    return replace(
        expert, verdict=led.verdict, findings=findings, remedies=remedies, markdown=markdown, by=said.model
    )  # fmt: skip


def _led(expert: Conclusion, said: Said, made: Sequence[Finding]) -> _Led:
    model = plain(said.model)
    if said.checked.answer.informs:
        # Nobody asked what is wrong; what the expert sees stands as it is, behind the answer.
        return _Led(expert.verdict, list(expert.findings), f"**{model} answers:**")
    roots = [each for each in expert.findings if each.role is Role.ROOT_CAUSE]
    supported = [each for each in made if not each.unsupported]
    notes = [replace(each, role=Role.NOTE) for each in made]
    certain = expert.verdict is Verdict.FAULT and bool(roots) and roots[0].confidence >= CERTAIN
    agreed = {root.id for root in roots for each in supported if _same(each.target, root.target)}
    if said.verdict is Verdict.FAULT and agreed:
        return _agreeing(expert, said, made, roots, agreed)
    if said.verdict is Verdict.FAULT and not certain:
        doubted = [each for each in roots if each.confidence < CERTAIN]
        kept = [replace(f, role=Role.NOTE) if f in doubted else f for f in expert.findings]
        head = {
            Verdict.FAULT: f"**{model} contradicts the expert**, which is not certain. Look at the evidence of both.",
            Verdict.HEALTHY: f"**{model} found a fault where the expert sees none.** Look at its evidence.",
            Verdict.UNDETERMINED: f"**{model} found a cause** where the expert could not decide.",
        }[expert.verdict]
        told = [each if not each.unsupported else replace(each, role=Role.NOTE) for each in made]
        return _Led(Verdict.FAULT, [*told, *kept], head, model_leads=True)
    if said.verdict is expert.verdict and said.verdict is not Verdict.FAULT:
        head = f"**{model} and the expert agree: {said.verdict}.**"
    elif certain:
        head = f"**The expert is almost certain; {model} comes to something else.** Look at the evidence of both."
    else:
        head = f"**{model} comes to {said.verdict}**, the expert to {expert.verdict}."
    return _Led(expert.verdict, [*expert.findings, *notes], head)


def _agreeing(
    expert: Conclusion, said: Said, made: Sequence[Finding], roots: Sequence[Finding], agreed: set[str]
) -> _Led:
    by = f"expert and {said.model}"
    findings = []
    for each in expert.findings:
        if each.id in agreed:
            facts = [fact for mine in made if _same(mine.target, each.target) for fact in mine.evidence]
            each = replace(each, by=by, evidence=tuple(dict.fromkeys((*each.evidence, *facts))))
        findings.append(each)
    for each in made:
        if any(_same(each.target, root.target) for root in roots):
            continue
        # What the expert takes for a consequence is no further cause: it knows better what follows from what.
        follows = any(_same(each.target, f.target) for f in expert.findings)
        further = not follows and not each.unsupported and each.confidence >= SURE
        findings.append(each if further else replace(each, role=Role.NOTE))
    head = f"**{plain(said.model)} and the expert agree on the cause.**"
    named = {root.id for root in roots for each in made if _same(each.target, root.target)}
    left = [each for each in roots if each.id not in named]
    if left:
        head += " The expert names another: " + "; ".join(plain(each.summary) for each in left)
    return _Led(Verdict.FAULT, findings, head, agreed=True)


def _same(one: Target, other: Target) -> bool:
    places = (one.namespace, other.namespace)
    return (one.kind.lower(), one.name) == (other.kind.lower(), other.name) and (
        one.namespace == other.namespace or "" in places
    )


def _finding(judged: Judged, model: str, seen: Seen, record: Record) -> Finding:
    cause: Cause = judged.cause
    known = seen(cause.kind, cause.namespace, cause.name)
    target = known or Target("", cause.kind, cause.namespace, cause.name)
    why, sure = "", round(cause.confidence, 2)
    if not judged.supported:
        why, sure = "; ".join(judged.faults[:FAULTS]) or "nothing is cited", min(sure, GUESS)
    facts = record(judged) if judged.supported else ()
    return Finding(
        "", 0, Role.ROOT_CAUSE, cause.category, target, cause.field, cause.summary, sure, facts, by=model,
        unsupported=why,
    )  # fmt: skip


def _remedies(expert: Conclusion, said: Said, findings: Sequence[Finding], *, first: bool) -> tuple[Remedy, ...]:
    """Return the remedies, those that the model chose in front; a step of a chain stays behind the one before it."""
    roots = [each for each in findings if each.role is Role.ROOT_CAUSE]
    written = []
    for remedy in said.remedies:
        target = remedy.action.target if remedy.action else None
        fixes = [each for each in roots if target is not None and _same(each.target, target)] or roots[:1]
        written.append(replace(remedy, fixes=tuple(each.id for each in fixes)))
    chosen = {name: place for place, name in enumerate(said.checked.answer.fixes)}
    known = {each.id for each in expert.remedies}
    heads = [each for each in expert.remedies if each.after not in known]
    heads.sort(key=lambda each: chosen.get(each.id, len(chosen)))
    ordered = [link for head in heads for link in _chain(head, expert.remedies)]
    if first or any(each.id in chosen for each in written):
        return (*written, *ordered)
    return (*ordered, *written)


def _chain(head: Remedy, remedies: Sequence[Remedy]) -> list[Remedy]:
    """Return a remedy and all that come after it; two may come after the same one."""
    found = [head]
    for each in remedies:
        if each.after and any(each.after == link.id for link in found):
            found.append(each)
    return found


def _markdown(
    expert: Conclusion, said: Said, led: _Led, findings: Sequence[Finding], remedies: tuple[Remedy, ...]
) -> str:
    parts = [plain(expert.remark), led.head, tame(_with_known_ids(said))]
    guesses = [each for each in findings if each.unsupported]
    if guesses:
        lines = [f"- {plain(each.summary)} (unsupported: {plain(each.unsupported)})" for each in guesses]
        parts.append("Said without evidence that carries it:\n\n" + "\n".join(lines))
    ruled = [
        f"- {plain(each.what)}" + "".join(f" [{quoted.id}]" for quoted in each.evidence)
        for each in said.checked.answer.ruled_out
    ]
    if ruled:
        parts.append("Ruled out:\n\n" + "\n".join(ruled))
    if led.model_leads:
        parts.append(what_to_do(remedies, [each for each in findings if each.role is Role.ROOT_CAUSE]))
    if not led.agreed:
        parts.append(f"**What the expert says:**\n\n{expert.markdown}")
    # Names, titles and sentences of the model stand in it beside its text, and of the cluster in the expert's.
    return str(safe("\n\n".join(part for part in parts if part)))


def _with_known_ids(said: Said) -> str:
    """Return the model's text; an id that is no evidence is shown as such."""
    wrong = set(said.checked.unknown)
    return _CITED.sub(lambda found: "(no such evidence)" if found[1] in wrong else found[0], said.checked.answer.text)


def tame(markdown: str) -> str:
    """Return Markdown that fetches and hides nothing wherever it is shown: links as text, no images, no HTML.

    What makes a link is broken and not looked for: there are more ways to write one than an expression finds.
    """
    told = _LINK.sub(lambda m: f"{m[1]} ({m[2]})" if m[2] else m[1], safe(markdown))
    told = _DEFINED.sub("] :", told.replace("](", "] ("))
    # A backslash in front of a sign makes text of it, and two make text of each other only.
    told = _TAG.sub(lambda m: m[0] if len(m[1]) % 2 else f"{m[1]}\\<", told)
    return _closed(told.strip())


def _closed(markdown: str) -> str:
    """Return Markdown of which no block of code is left open: whatever stands below it is no code."""
    opened, inside = "", 0
    for line in markdown.split("\n"):
        match = _FENCE.match(line)
        before, sign, rest = match.groups() if match else ("", "", "")
        if opened:
            # Less indented it has left the list it is in, and what looks like the fence's end begins another.
            depth = len(line) - len(line.lstrip())
            if line.strip() and depth < inside:
                return _without_fences(markdown)
            ends = sign.startswith(opened) and not before.strip() and not rest.strip() and depth < inside + 4
            opened = "" if ends else opened
        elif sign and not (sign[0] == "`" and "`" in rest):
            if ">" in before:
                return _without_fences(markdown)
            opened, inside = sign, len(before)
    return _without_fences(markdown) if opened else markdown


def _without_fences(markdown: str) -> str:
    return "\n".join(
        f"{m[1]}{''.join(f'{chr(92)}{c}' for c in m[2])}{m[3]}" if (m := _FENCE.match(line)) else line
        for line in markdown.split("\n")
    )
