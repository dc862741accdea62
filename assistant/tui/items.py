"""What keys do with the item under the cursor: open it, copy its source, strike or pin it. Imported late."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.hypothesis import Mark
from assistant.errors import PilothouseError
from assistant.policy.sanitize import safe
from assistant.tui.lines import BLANK, Line, Tone, block, line
from assistant.tui.overlays import TextScreen
from assistant.tui.quotes import spread
from assistant.tui.thinking import call_facts, hypothesis_at

if TYPE_CHECKING:
    from assistant.tui.app import PilothouseApp


def open_item(app: PilothouseApp, ref: str) -> bool:
    """Open an item of the transcript or of the case pane; returns whether there is more to it than its block."""
    case = app.case
    if ref.startswith("proposal:"):
        app.open_approvals(ref.removeprefix("proposal:"))
    elif (called := _payload(case, ref)) is not None and isinstance(called, ev.ModelCalled):
        app.push_screen(call_screen(called, app.session.body if app.session is not None else None))
    elif evidence := _evidence_of(case, ref):
        app.open_evidence(evidence)
    else:
        return False
    return True


def _evidence_of(case: Case, ref: str) -> str:
    """Return the first evidence that an item rests on, "" for none."""
    if case.fact(ref) is not None:
        return ref
    call = case.call(ref.removeprefix("call:")) if ref.startswith("call:") else None
    if call is not None:
        return call.evidence[0] if call.evidence else ""
    hypothesis = hypothesis_at(case, ref)
    if hypothesis is not None:
        return next(iter((*hypothesis.speaks_for, *hypothesis.speaks_against)), "")
    finding = next((f for f in case.findings if f.id == ref), None)
    return finding.evidence[0] if finding is not None and finding.evidence else ""


def _payload(case: Case, ref: str) -> ev.Payload | None:
    return next((e.payload for e in case.transcript if f"entry:{e.seq}" == ref), None)


def source_text(case: Case, ref: str) -> str:
    """Return the Markdown of an answer or opinion, the whole quote of a fact; "" where the lines are the source."""
    if (fact := case.fact(ref)) is not None:
        return safe(fact.quote)
    payload = _payload(case, ref)
    if isinstance(payload, ev.Answered | ev.OpinionGiven):
        return safe(payload.markdown)
    return safe(getattr(payload, "text", ""))


def turn_mark(app: PilothouseApp, ref: str, mark: Mark) -> None:
    """Mark the hypothesis, or take the mark back where it has just this one."""
    hypothesis = hypothesis_at(app.case, ref)
    if hypothesis is None or app.session is None:
        app.tell("choose a hypothesis on the board first (5)")
        return
    try:
        app.session.mark(hypothesis.id, Mark.OPEN if hypothesis.mark is mark else mark)
    except PilothouseError as error:
        app.tell(f"{error.meaning} {error.hint}")
    else:
        if not app.case.running:
            app.tell("noted; the turn is over, so nothing is looked into anew")
    app.draw()


def call_screen(called: ev.ModelCalled, body_of: Callable[[str], str] | None) -> TextScreen:
    """Return a call of a model in full: what is known of it, what was sent, what came."""
    lines: list[Line] = [*call_facts(called), BLANK]
    for word, sha256 in (("SENT", called.prompt_digest), ("CAME", called.reply_digest)):
        lines.append(line((word, Tone.HEADING), (f"  SHA-256 {sha256}" if sha256 else "", Tone.MUTED), hang=2))
        lines += [*_text(sha256, body_of), BLANK]
    return TextScreen(f"{called.model}  {called.purpose}", lines[:-1])


def _text(sha256: str, body_of: Callable[[str], str] | None) -> list[Line]:
    if not sha256 or body_of is None:
        return [line(("No text was kept.", Tone.MUTED))]
    try:
        return [each for row in spread(body_of(sha256)) for each in block(row, Tone.CODE, indent=1)]
    except PilothouseError as error:
        return [line((error.meaning, Tone.WARN), f" {error.hint}", hang=2)]
