"""A session as a Markdown report for a ticket or a post-mortem. Hostile text cannot become links, HTML or headings."""

from __future__ import annotations

import re
from typing import Final

from assistant.domain.case import Case, Entry, ProposalCase
from assistant.domain.event import (
    Answered,
    Asked,
    CallDecided,
    CallHeld,
    Concluded,
    Decided,
    ErrorRaised,
    HypothesisMarked,
    ModelCalled,
    Noted,
    OpinionGiven,
    Proposed,
    QuestionAnswered,
    QuestionPut,
    Stopped,
    Verified,
)
from assistant.domain.proposal import LineOrigin
from assistant.plain.asking import asked_words
from assistant.plain.lines import one_line
from assistant.plain.thinking import call_words, claim_words, hypothesis_words, marked_words, spent_words
from assistant.policy.sanitize import safe

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#+!|~&])")


def literal(text: str) -> str:
    """Return one line in which nothing is Markdown (CommonMark 2.4: a backslash makes punctuation literal)."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def fenced(text: str, kind: str = "text") -> str:
    """Return a code block whose fence is longer than any run of backquotes in it (CommonMark 4.5)."""
    clean = safe(text)
    longest = max((len(run) for run in re.findall(r"`+", clean)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{clean}\n{fence}"


def report(case: Case, *, cut: str = "") -> str:
    """Return the whole report; `cut` says why the session is not complete, if it is not."""
    opened = case.opened
    parts = [f"# {literal(case.question or 'Session')}", ""]
    if opened:
        begun = f"{case.opened_at:%Y-%m-%d %H:%M} UTC" if case.opened_at else ""
        place = f"context {opened.context}, namespace {case.namespace or 'all'}, {opened.server_version}"
        parts.append(f"Session {literal(case.session)}, {begun}, {literal(place)}, mind {literal(opened.mind)}.")
    if spent := spent_words(case):
        parts.append(f"\nLanguage model: {literal(spent)}.")
    if cut:
        parts.append(f"\n**Incomplete:** {literal(cut)}.")
    if case.answer:
        parts += ["", f"## Answer: {case.answer.verdict.value}", "", fenced(case.answer.markdown, "markdown")]
    if case.findings:
        parts += ["", "## Findings", ""]
    for finding in case.findings:
        cited = " ".join(finding.evidence) or "nothing cited, so a guess"
        text = f"{finding.target}: {finding.summary}"
        claim = f"; {literal(told)}" if (told := claim_words(finding, case.mind)) else ""
        head = f"- **{finding.id} {finding.role.value}** {literal(text)}"
        parts.append(f"{head} ({finding.confidence:.0%}; {cited}{claim})")
        if finding.outside:
            parts.append(f"  - outside the cluster: {literal(finding.outside)}")
    if case.board:
        parts += ["", "## What it might be", ""]
    parts += [f"- {literal(hypothesis_words(each))}" for each in case.board]
    if case.remedies:
        parts += ["", "## Suggestions", ""]
    for remedy in case.remedies:
        parts.append(f"- **{remedy.id}** {literal(remedy.title)}, risk {remedy.risk.value}")
        if remedy.kubectl:
            parts += ["", fenced(remedy.kubectl, "sh"), ""]
    if case.proposals:
        parts += ["", "## Changes"]
    for item in case.proposals:
        parts += _change(item)
    parts += ["", "## Course", ""]
    parts += [line for line in map(_course, case.transcript) if line]
    if case.evidence:
        parts += ["", "## Evidence"]
    for fact in case.evidence:
        heading = f"### {fact.id} {literal(fact.request)}"
        parts += ["", heading, "", f"{fact.at:%Y-%m-%d %H:%M:%S} UTC, SHA-256 {fact.body}", "", fenced(fact.quote)]
    return "\n".join(parts) + "\n"


def _change(item: ProposalCase) -> list[str]:
    proposal = item.proposal
    lines = ["", f"### {literal(proposal.id)} {literal(proposal.title)}: {item.state.value}", ""]
    lines.append(f"- risk {proposal.risk.level.value}: {literal('; '.join(proposal.risk.reasons))}")
    if item.decision:
        reason = f", {literal(item.decision.reason)}" if item.decision.reason else ""
        loud = "**" if item.decision.break_glass else ""
        lines.append(f"- {loud}{item.decision.word} by {literal(item.decision.who)}{reason}{loud}")
    if item.outcome:
        lines.append(f"- {item.outcome.state.value}: {literal(item.outcome.message)}")
    if item.verified:
        lines.append(f"- afterwards {item.verified.healing.value}: {literal(item.verified.text)}")
    lines.append(f"- undo: {literal(proposal.undo.text)}")
    shown = [f"{line.sign} {line.text}" for line in proposal.diff if line.origin is not LineOrigin.HIDDEN]
    return [*lines, "", fenced("\n".join(shown) or proposal.kubectl, "diff" if shown else "sh")]


def _course(entry: Entry) -> str:
    payload, at = entry.payload, f"- {entry.at:%H:%M:%S} "
    match payload:
        case Asked():
            return f"{at}asked: {literal(payload.text)}"
        case HypothesisMarked():
            return f"{at}marked: {literal(marked_words(payload))}"
        case OpinionGiven():
            return f"{at}{literal(payload.who)} said: {payload.verdict.value}"
        case CallHeld() | CallDecided() | QuestionPut() | QuestionAnswered():
            label, text = asked_words(payload)
            return f"{at}{label}: {literal(text)}"
        case ModelCalled():
            return f"{at}model: {literal(call_words(payload))}"
        case Answered():
            return f"{at}answered: {payload.verdict.value}"
        case Proposed(proposal):
            return f"{at}proposed {literal(proposal.id)}: {literal(proposal.title)}"
        case Decided(decision):
            return f"{at}{decision.word} {literal(decision.proposal)} by {literal(decision.who)}"
        case Concluded(outcome):
            return f"{at}{literal(outcome.proposal)}: {outcome.state.value}"
        case Verified():
            return f"{at}{literal(payload.proposal)} verified: {payload.healing.value}"
        case ErrorRaised():
            return f"{at}error: {literal(payload.meaning)}"
        case Noted() if payload.level == "warning":
            return f"{at}warning: {literal(payload.text)}"
        case Stopped():
            return f"{at}stopped: {literal(payload.reason)}"
        case _:
            return ""
