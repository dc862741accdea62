"""The transcript of a case as lines: turns, plan, tool lines, answer, proposals, notices. Pure, so it can be tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import assert_never

from assistant.domain import event as ev
from assistant.domain.case import Case, Entry, ToolCall
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import Answer, ProposalState
from assistant.tui.asked import asked_lines, progress_parts, waits
from assistant.tui.lines import BLANK, Given, Line, Tone, block, line
from assistant.tui.thinking import VERDICTS, Course, call_lines, course, marked, opinion_lines, unsupported
from assistant.tui.words import said

READS_IN_A_ROW = 5
"""Longer runs of successful reads collapse to one line."""
PREVIEW_LINES = 12
PROGRESS_ROWS = 2
PROGRESS_CELLS = 50

STEP_MARKS = {
    StepStatus.PENDING: "[ ]",
    StepStatus.RUNNING: "[>]",
    StepStatus.DONE: "[x]",
    StepStatus.FAILED: "[!]",
    StepStatus.SKIPPED: "[-]",
}


@dataclass(slots=True)
class Folds:
    """What a person folded or unfolded by hand; everything else follows the rules."""

    opened: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    plan_open: bool = False

    def is_open(self, ref: str, default: bool) -> bool:
        """Say whether a block is unfolded."""
        return ref in self.opened or (default and ref not in self.closed)

    def toggle(self, ref: str, default: bool) -> None:
        """Turn a block over."""
        if self.is_open(ref, default):
            self.closed.add(ref)
            self.opened.discard(ref)
        else:
            self.opened.add(ref)
            self.closed.discard(ref)


def clock(at: datetime) -> str:
    """Return local time of day; the date is in the session's head."""
    return at.astimezone().strftime("%H:%M:%S")


def seconds(value: float) -> str:
    """Return a duration as people read it: `212 ms`, `1.1 s`, `2:05`."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value) // 60}:{int(value) % 60:02d}"


class Transcript:
    """Turns cases into lines and remembers what it has laid out: an event never changes, so a tick costs what does."""

    def __init__(self, markdown: Callable[[str, str], list[Line]]) -> None:
        """Take the Markdown renderer (`markdown(text, ref)`), which is loaded late."""
        self.folds = Folds()
        self._markdown = markdown
        self._session = ""
        self._entries: dict[int, tuple[object, list[Line]]] = {}
        self._calls: dict[str, tuple[ToolCall, bool, list[Line]]] = {}

    def lines(self, case: Case, now: datetime, *, narrow: bool = False) -> list[Line]:
        """Return the whole transcript at time `now` (for what still runs)."""
        if case.session != self._session:
            self._session = case.session
            self._entries.clear()
            self._calls.clear()
        out: list[Line] = []
        calls = {call.call: call for call in case.calls}
        followed = course(case)
        claims: list[Line] = []
        last_plan = max((e.seq for e in case.transcript if isinstance(e.payload, ev.PlanMade)), default=0)
        run: list[ToolCall] = []
        for entry in case.transcript:
            payload = entry.payload
            if isinstance(payload, ev.ToolStarted):
                call = calls.get(entry.ref)
                if call is not None and call.done and entry.ref in followed.told:
                    continue
                if call is not None and call.done and call.ok:
                    run.append(call)
                    continue
            self._flush(run, out, now)
            if isinstance(payload, ev.PlanMade):
                if entry.seq == last_plan and case.plan:
                    out += self._plan(case.plan, narrow)
                continue
            if isinstance(payload, ev.ToolStarted):
                if (call := calls.get(entry.ref)) is not None:
                    out += self._call(call, now)
                continue
            laid = self._laid(entry, case, followed)
            if isinstance(payload, ev.FindingsRanked):
                # What nothing carries is said below the answer that claims it, where people read on.
                claims = laid
                continue
            if isinstance(payload, ev.Asked) and claims:
                out, claims = [*out, *claims], []
            out += laid
            if isinstance(payload, ev.Answered) and claims:
                out, claims = [*out, *claims, BLANK], []
        self._flush(run, out, now)
        out += claims
        return [each for n, each in enumerate(out) if each is not BLANK or (n and out[n - 1] is not BLANK)]

    def _laid(self, entry: Entry, case: Case, followed: Course) -> list[Line]:
        """Return the lines of an entry; most never change once laid out, some turn with what is folded or followed."""
        state: object = None
        match entry.payload:
            case ev.Proposed():
                return self._entry(entry, case)
            case ev.ModelCalled():
                state = self.folds.is_open(f"entry:{entry.seq}", False)
            case ev.OpinionGiven():
                answer = followed.answers.get(entry.seq)
                thinking = case.running and answer is None and case.opinion is entry.payload
                is_open = self.folds.is_open(f"entry:{entry.seq}", answer is None)
                state = (answer, thinking, is_open, thinking and bool(case.board))
            case ev.CallHeld() | ev.QuestionPut():
                state = waits(entry.payload, case)
            case _:
                pass
        known = self._entries.get(entry.seq)
        if known is None or known[0] != state:
            known = self._entries[entry.seq] = (state, self._entry(entry, case, state))
        return known[1]

    def turn_over(self, ref: str, case: Case) -> None:
        """Fold or unfold a block."""
        call = case.call(ref.removeprefix("call:")) if ref.startswith("call:") else None
        opened = call is not None and call.done and not call.ok
        entry = next((e for e in case.transcript if f"entry:{e.seq}" == ref), None)
        if entry is not None and isinstance(entry.payload, ev.OpinionGiven):
            opened = entry.seq not in course(case).answers
        self.folds.toggle(ref, opened)

    def _flush(self, run: list[ToolCall], out: list[Line], now: datetime) -> None:
        ref = f"run:{run[0].call}" if run else ""
        if len(run) > READS_IN_A_ROW and not self.folds.is_open(ref, False):
            ids = [e for call in run for e in call.evidence]
            span = f"{ids[0]}..{ids[-1]}" if len(ids) > 1 else "".join(ids)
            total = sum(call.seconds for call in run)
            right: list[Given] = [("ok", Tone.GOOD), f"  {seconds(total)}", (f"  {span}", Tone.ACCENT)]
            out.append(line(f"> {len(run)} reads, 0 failed", right=right, ref=ref))
        else:
            for call in run:
                out += self._call(call, now)
        run.clear()

    def _call(self, call: ToolCall, now: datetime) -> list[Line]:
        ref = f"call:{call.call}"
        is_open = self.folds.is_open(ref, call.done and not call.ok)
        if call.done:
            known = self._calls.get(call.call)
            if known is None or known[0] is not call or known[1] is not is_open:
                known = self._calls[call.call] = (call, is_open, self._lay_call(call, now, is_open))
            return known[2]
        return self._lay_call(call, now, is_open)

    def _lay_call(self, call: ToolCall, now: datetime, is_open: bool) -> list[Line]:
        ref = f"call:{call.call}"
        right: list[Given]
        if not call.done:
            elapsed = max(0.0, (now - call.started).total_seconds())
            right = [("running", Tone.ACCENT), f"  {int(elapsed)} s", *progress_parts(call.given_up_at, now)]
            left = (call.waits_until - now).total_seconds() if call.waits_until else 0.0
            if left > 0:
                right = [("waiting", Tone.WARN), f"  {math.ceil(left)} s left"]
        elif call.ok:
            word = call.result if 0 < len(call.result) <= 18 else "ok"
            right = [(word, Tone.GOOD), f"  {seconds(call.seconds):>6}"]
        else:
            right = [("FAILED", Tone.BAD), f"  {seconds(call.seconds):>6}"]
        if call.evidence:
            ids = call.evidence[0] if len(call.evidence) == 1 else f"{call.evidence[0]}..{call.evidence[-1]}"
            right.append((f"  {ids}", Tone.ACCENT))
        out = [line(("v " if is_open else "> ", Tone.MUTED), call.title or call.tool, hang=4, right=right, ref=ref)]
        if call.waiting and not call.done:
            out += block(call.waiting, Tone.WARN, indent=4, ref=ref)
        if call.progress and not call.done:
            out += said(call.progress, PROGRESS_CELLS, indent=4, ref=ref, most=PROGRESS_ROWS)
        if is_open:
            if call.result:
                tone = Tone.PLAIN if call.ok else Tone.BAD
                out += block(call.result, tone, indent=4, ref=ref)
            preview = call.preview.splitlines()
            out += [
                line(("    | ", Tone.MUTED), (text, Tone.CODE), hang=6, ref=ref) for text in preview[:PREVIEW_LINES]
            ]
            if len(preview) > PREVIEW_LINES:
                out.append(line((f"    | {len(preview) - PREVIEW_LINES} more lines", Tone.MUTED), ref=ref))
            if call.kubectl:
                out.append(line(("    same as: ", Tone.MUTED), (call.kubectl, Tone.CODE), hang=13, ref=ref))
            elif call.request:
                out.append(line((f"    {call.request}", Tone.MUTED), hang=8, ref=ref))
        return out

    def _plan(self, plan: tuple[Step, ...], narrow: bool) -> list[Line]:
        done = sum(step.status in (StepStatus.DONE, StepStatus.SKIPPED) for step in plan)
        running = next((s for s in plan if s.status is StepStatus.RUNNING), None)
        head: list[Given] = [("plan ", Tone.HEADING), f"{done}/{len(plan)}"]
        if running is not None:
            head += [("  [>] ", Tone.ACCENT), running.title]
        hint = "t folds" if self.folds.plan_open else "t opens"
        out = [line(*head, hang=6, right=[(hint, Tone.MUTED)], ref="plan")]
        if self.folds.plan_open:
            out += plan_lines(plan, ref="plan")
        return [*out, BLANK]

    def _entry(self, entry: Entry, case: Case, state: object = None) -> list[Line]:
        payload = entry.payload
        ref = f"entry:{entry.seq}"
        match payload:
            case ev.Asked():
                head = line(("you ", Tone.HEADING), (clock(entry.at), Tone.MUTED), ref=ref)
                space = [BLANK] if entry.seq > 2 else []
                return [*space, head, *block(payload.text, Tone.STRONG, indent=2, ref=ref), BLANK]
            case ev.Steered():
                return [line(("you, while it works: ", Tone.HEADING), payload.text, hang=2, ref=ref)]
            case ev.HypothesisMarked():
                return [line(("you: ", Tone.HEADING), marked(payload), hang=5, ref=ref)]
            case ev.OpinionGiven():
                return self._opinion(payload, entry, ref, state)
            case ev.FindingsRanked():
                return unsupported(payload.findings, ref)
            case ev.Answered():
                return self._answer(payload, entry, ref)
            case ev.Noted():
                tone = Tone.WARN if payload.level == "warning" else Tone.MUTED
                word = "warning: " if payload.level == "warning" else ""
                return block(word + payload.text, tone, indent=0, ref=ref)
            case ev.BudgetReached():
                return [line((f"bound reached ({payload.bound}): ", Tone.WARN), payload.text, hang=2, ref=ref)]
            case ev.ModelCalled():
                return call_lines(payload, ref, seconds=seconds(payload.seconds), is_open=bool(state))
            case ev.ErrorRaised():
                return error_lines(payload, ref)
            case ev.ClusterLost():
                text = f"{payload.reason}. Open approvals are void; what was read stays here."
                return [line(("cluster lost: ", Tone.BAD), text, hang=2, ref=ref)]
            case ev.ClusterBack():
                return [line(("cluster answers again: ", Tone.GOOD), payload.cluster, ref=ref)]
            case ev.Stopped():
                return [line(("stopped: ", Tone.WARN), payload.reason, hang=2, ref=ref)]
            case ev.Resumed():
                then = "" if payload.continues else ": ask on; 3, then p has a suggested change examined again"
                return [line((f"resumed after event {payload.after}{then}", Tone.MUTED), hang=2, ref=ref)]
            case ev.SessionClosed():
                return [line(("closed: ", Tone.MUTED), payload.result or "no result", hang=2, ref=ref)]
            case ev.Proposed() | ev.Decided() | ev.Sending() | ev.Concluded() | ev.Verified() | ev.UndoOffered():
                return proposal_lines(payload, entry, case)
            case ev.CallHeld() | ev.CallDecided() | ev.QuestionPut() | ev.QuestionAnswered():
                return asked_lines(payload, entry, case)
            case _:
                return []

    def _opinion(self, payload: ev.OpinionGiven, entry: Entry, ref: str, state: object) -> list[Line]:
        answer, thinking, is_open, board = state if isinstance(state, tuple) else (None, False, True, False)
        return opinion_lines(
            payload, clock(entry.at), ref, answer=answer, thinking=thinking, is_open=is_open, board=board,
            markdown=self._markdown,
        )  # fmt: skip

    def _answer(self, payload: ev.Answered, entry: Entry, ref: str) -> list[Line]:
        word = VERDICTS.get(payload.verdict.value, Tone.WARN)
        head = line(
            ("answer ", Tone.HEADING), (clock(entry.at), Tone.MUTED), f"  by {payload.mind}  ",
            (payload.verdict.value, word), ref=ref,
        )  # fmt: skip
        body = self._markdown(payload.markdown, ref)
        checked = (
            block("Checked: " + ", ".join(payload.checked), Tone.MUTED, indent=2, ref=ref) if payload.checked else []
        )
        body = [*body, BLANK] if checked else body
        return [BLANK, head, *body, *checked, BLANK]


def plan_lines(plan: tuple[Step, ...], ref: str = "") -> list[Line]:
    """Return the steps with their state and who acts."""
    out = []
    for step in plan:
        tone = {StepStatus.RUNNING: Tone.ACCENT, StepStatus.FAILED: Tone.BAD, StepStatus.DONE: Tone.GOOD}.get(
            step.status, Tone.MUTED
        )
        owner = [(step.owner.upper(), Tone.WARN)] if step.owner != "auto" else [("auto", Tone.MUTED)]
        note = f"  {step.note}" if step.note else ""
        mark = (f"  {STEP_MARKS[step.status]} ", tone)
        out.append(line(mark, step.title, (note, Tone.MUTED), hang=6, right=owner, ref=ref or f"step:{step.id}"))
    return out


def error_lines(error: ev.ErrorRaised, ref: str) -> list[Line]:
    """Return an error as meaning and hint; the raw text is one key away."""
    out = [line(("error: ", Tone.BAD), error.meaning, hang=2, ref=ref)]
    if error.hint:
        out.append(line(("  do: ", Tone.STRONG), error.hint, hang=6, ref=ref))
    if error.detail:
        out.append(line(("  ! shows the raw text", Tone.MUTED), ref=ref))
    return out


def proposal_lines(
    payload: ev.Proposed | ev.Decided | ev.Sending | ev.Concluded | ev.Verified | ev.UndoOffered,
    entry: Entry,
    case: Case,
) -> list[Line]:
    """Return what the transcript says about a change."""
    ref = f"proposal:{entry.ref}"
    name = (entry.ref, Tone.ACCENT)
    match payload:
        case ev.Proposed():
            known = case.proposal(entry.ref)
            proposal = known.proposal if known else payload.proposal
            head = line(("proposed change ", Tone.HEADING), name, f"  {proposal.title}", hang=2, ref=ref)
            tone = Tone.BAD if proposal.risk.level.value in ("high", "critical") else Tone.WARN
            second: list[Given] = [("  risk ", Tone.MUTED), (proposal.risk.level.value, tone)]
            if known and known.state is ProposalState.OPEN:
                second += [("   f2 reviews it", Tone.STRONG), (", nothing runs before that", Tone.MUTED)]
            return [BLANK, head, line(*second, ref=ref)]
        case ev.Decided():
            decision = payload.decision
            verb = ("approved", Tone.GOOD) if decision.answer is Answer.APPROVE else ("denied", Tone.WARN)
            why = f": {decision.reason}" if decision.reason else ""
            return [line(("  ", Tone.PLAIN), name, " ", verb, f" by {decision.by}{why}", hang=4, ref=ref)]
        case ev.Sending():
            return [line("  ", name, (" request sent", Tone.PLAIN), ref=ref)]
        case ev.Concluded():
            outcome = payload.outcome
            good = outcome.state is ProposalState.APPLIED
            code = f" (HTTP {outcome.status_code})" if outcome.status_code else ""
            words = f"{code} {outcome.message}" if outcome.message else code
            return [
                line("  ", name, " ", (outcome.state.value, Tone.GOOD if good else Tone.WARN), words, hang=4, ref=ref)
            ]
        case ev.Verified():
            tone = {"fixed": Tone.GOOD, "not fixed": Tone.BAD}.get(payload.healing.value, Tone.WARN)
            return [line("  ", name, " check: ", (payload.healing.value, tone), f"  {payload.text}", hang=4, ref=ref)]
        case ev.UndoOffered():
            until = clock(payload.until)
            return [
                line(
                    "  ",
                    name,
                    f" undo offered until {until}: {payload.text}",
                    (" (f2, U)", Tone.MUTED),
                    hang=4,
                    ref=ref,
                )
            ]
        case _:
            assert_never(payload)
