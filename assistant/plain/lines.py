"""One event as lines of text: no cursor movement, no colour, every line begins with what it is.

Serves pipes, logs, tiny terminals and screen readers.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Final, assert_never

from assistant.domain import event as ev
from assistant.domain.action import Remedy
from assistant.domain.case import Case
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role
from assistant.domain.proposal import Outcome, ProposalState
from assistant.domain.thinking import MODEL_TOOL
from assistant.plain.asking import asked_words
from assistant.plain.thinking import call_words, claim_words, hypothesis_words, marked_words
from assistant.policy.sanitize import SafeText, safe

WIDTH: Final = 80
INDENT: Final = "          "
QUOTE_LINES: Final = 6


def one_line(text: str) -> str:
    """Return text on one line, blanks squeezed, safe to print."""
    return " ".join(safe(text).split())


def wrapped(text: str, *, first: str = "", rest: str = INDENT, width: int = WIDTH) -> list[SafeText]:
    """Return safe text cut at words into lines of at most `width` characters; long words stay whole, to be copied."""
    lines: list[SafeText] = []
    lead = first
    for part in safe(text).split("\n") or [""]:
        cut = textwrap.wrap(
            part, max(width, 40), initial_indent=lead, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        lines += [SafeText(line) for line in cut or [lead.rstrip()]]
        lead = rest
    return lines


def event_lines(event: ev.Event, case: Case, width: int = WIDTH, *, before: Case | None = None) -> list[SafeText]:
    """Return what one event says, `case` being the state after it; none for bookkeeping.

    With `before`, the state that was printed last, what findings and hypotheses said already is not said again.
    """
    lines: list[SafeText] = []
    for label, text in _said(event, case, before or Case()):
        lines += wrapped(text, first=f"{event.at:%H:%M:%S}  {label}: ", width=width)
    return lines


def _said(event: ev.Event, case: Case, before: Case) -> list[tuple[str, str]]:
    payload = event.payload
    match payload:
        case ev.SessionOpened():
            return [("session", _opened(payload))]
        case ev.Asked():
            place = f" (namespace {payload.namespace})" if payload.namespace else ""
            return [("you ask", one_line(payload.text) + place)]
        case ev.PlanMade():
            return [
                ("plan", "; ".join(f"{number} {one_line(step.title)}" for number, step in enumerate(payload.steps, 1)))
            ]
        case ev.ToolStarted(tool=tool) if tool == MODEL_TOOL:
            return [("thinking", f"{one_line(payload.title)} ..")]
        case ev.StepStarted() | ev.StepEnded() | ev.ToolStarted() | ev.ToolProgressed() | ev.Used() | ev.TurnEnded():
            return []
        case ev.ToolWaiting():
            call = case.call(payload.call)
            title = one_line(call.title) if call else payload.call
            return [("waiting", f"{title}, {one_line(payload.why)}; again in {payload.seconds:.1f} s")]
        case ev.CallHeld() | ev.CallDecided() | ev.QuestionPut() | ev.QuestionAnswered():
            label, text = asked_words(payload)
            return [(label, one_line(text))]
        case ev.ToolEnded():
            call = case.call(payload.call)
            if call and call.tool == MODEL_TOOL:
                return []
            title = one_line(call.title) if call else payload.call
            facts = f" [{' '.join(call.evidence)}]" if call and call.evidence else ""
            word = "" if payload.ok else "FAILED: "
            return [("read", f"{title}, {word}{one_line(payload.result)}, {payload.seconds:.1f} s{facts}")]
        case ev.EvidenceAdded():
            fact = payload.evidence
            return [("evidence", f"{fact.id} {one_line(fact.request)} says {one_line(fact.quote)}")]
        case ev.FindingsRanked():
            return _findings(payload, case, before)
        case ev.RemediesSuggested():
            return [("suggestion", _remedy(remedy)) for remedy in payload.remedies]
        case ev.BoardMade():
            return [("might be", one_line(hypothesis_words(each))) for each in case.board if each not in before.board]
        case ev.OpinionGiven():
            still = " (a model still thinks)" if case.running and case.answer is None else ""
            return [(one_line(f"{payload.who} says{still}, {payload.verdict.value}"), payload.markdown)]
        case ev.Answered():
            return [(f"answer, {payload.verdict.value}", payload.markdown)]
        case ev.Proposed() | ev.Decided() | ev.Sending() | ev.Concluded() | ev.Verified() | ev.UndoOffered():
            return [("change", _change(payload))]
        case _:
            return [_aside(payload)]


def _aside(
    payload: ev.Steered | ev.HypothesisMarked | ev.Noted | ev.BudgetReached | ev.ModelCalled | ev.ErrorRaised
    | ev.ClusterLost | ev.ClusterBack | ev.Stopped | ev.Resumed | ev.SessionClosed,
) -> tuple[str, str]:  # fmt: skip
    match payload:
        case ev.Steered():
            return "you direct", payload.text
        case ev.HypothesisMarked():
            return "you mark", one_line(marked_words(payload))
        case ev.Noted():
            return "warning" if payload.level == "warning" else "note", payload.text
        case ev.BudgetReached():
            return "bound reached", payload.text
        case ev.ModelCalled():
            return "model", one_line(call_words(payload))
        case ev.ErrorRaised():
            return "error", f"{payload.meaning} {payload.hint}".strip()
        case ev.ClusterLost():
            return "cluster lost", payload.reason
        case ev.ClusterBack():
            return "cluster back", payload.cluster
        case ev.Stopped():
            return "stopped", payload.reason
        case ev.Resumed():
            return "resumed", f"after event {payload.after}"
        case ev.SessionClosed():
            return "closed", payload.result
        case _:
            assert_never(payload)


def _opened(opened: ev.SessionOpened) -> str:
    prod = " PRODUCTION" if opened.production else ""
    place = f"context {opened.context}{prod}, namespace {opened.namespace or 'all'}, as {opened.identity}"
    return one_line(f"{place}, mode {opened.mode}, mind {opened.mind}, source {opened.source}")


def _findings(payload: ev.FindingsRanked, case: Case, before: Case) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    known = {finding.id: finding for finding in before.findings}
    for finding in payload.findings:
        old = known.pop(finding.id, None)
        if old is not None and replace(finding, by=old.by) == old:
            said += [("finding", one_line(f"{finding.id} as before, by {finding.by}"))] if finding.by != old.by else []
        else:
            said.append(("finding", _finding(finding, case.mind)))
    return said + [("finding", f"{one_line(gone)} no longer holds") for gone in known]


def _finding(finding: Finding, mind: str) -> str:
    role = {Role.ROOT_CAUSE: "root cause", Role.CONSEQUENCE: "consequence", Role.NOTE: "note"}[finding.role]
    facts = f"[{' '.join(finding.evidence)}]" if finding.evidence else "(a guess: nothing cited)"
    outside = f" Not a cluster change: {finding.outside}" if finding.outside else ""
    claim = f"; {told}" if (told := claim_words(finding, mind)) else ""
    sure = f"{finding.confidence:.0%} sure{claim}"
    text = f"{finding.id} {role}, {finding.target}: {finding.summary} {facts}, {sure}.{outside}"
    return one_line(text)


def _remedy(remedy: Remedy) -> str:
    if remedy.action is None:
        return one_line(f"{remedy.id} not a change that can be made from here: {remedy.outside or remedy.title}")
    return one_line(f"{remedy.id} {remedy.title}, risk {remedy.risk.value}: {remedy.kubectl or 'no command'}")


def _change(
    payload: ev.Proposed | ev.Decided | ev.Sending | ev.Concluded | ev.Verified | ev.UndoOffered,
) -> str:
    match payload:
        case ev.Proposed(proposal):
            who = "" if proposal.origin.kind == "session" else f" by {proposal.origin.client}"
            return one_line(f"{proposal.id} waits for you{who}: {proposal.title}, risk {proposal.risk.level.value}")
        case ev.Decided(decision):
            reason = f": {decision.reason}" if decision.reason else ""
            return one_line(f"{decision.proposal} {decision.word.upper()} by {decision.who}{reason}")
        case ev.Sending():
            return f"{payload.proposal} is being sent"
        case ev.Concluded(outcome):
            return _outcome(outcome)
        case ev.Verified():
            return one_line(f"{payload.proposal} verified: {payload.healing.value}. {payload.text}")
        case ev.UndoOffered():
            return one_line(f"{payload.proposal} can be undone until {payload.until:%H:%M} UTC: {payload.text}")
        case _:
            assert_never(payload)


def _outcome(outcome: Outcome) -> str:
    code = f" (HTTP {outcome.status_code})" if outcome.status_code else ""
    word = outcome.state.value.upper()
    tail = " It is not sent again; look at the object." if outcome.state is ProposalState.UNKNOWN else ""
    return one_line(f"{outcome.proposal} {word}{code}: {outcome.message}{tail}")


def evidence_lines(fact: Evidence, width: int = WIDTH) -> list[SafeText]:
    """Return one fact with its quote, at most six lines of it."""
    head = wrapped(f"{fact.id}  {one_line(fact.request)}  at {fact.at:%Y-%m-%d %H:%M:%S} UTC", rest="    ", width=width)
    quote = wrapped(fact.quote, first="    ", rest="    ", width=width)
    more = [SafeText(f"    ({len(quote) - QUOTE_LINES} more lines)")] if len(quote) > QUOTE_LINES else []
    return [*head, *quote[:QUOTE_LINES], *more]
