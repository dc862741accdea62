"""Replay: step through what happened. Read only: there is no session here, so there is nothing that could send."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.timer import Timer

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.plan import StepStatus
from assistant.policy.sanitize import clip
from assistant.session.replay import Marker, MarkerKind, Player
from assistant.tui.asked import asked_detail
from assistant.tui.card import diff_lines, facts
from assistant.tui.items import call_screen
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import BLANK, Given, Line, Tone, block, columns, line
from assistant.tui.markdown import markdown_lines
from assistant.tui.outcome import progress_lines
from assistant.tui.overlays import TextScreen
from assistant.tui.panes import evidence_item, finding_item, identity_line
from assistant.tui.ports import Recording
from assistant.tui.quotes import readable
from assistant.tui.screen import CaseScreen, framed, keys_line
from assistant.tui.steps import Show, Step, grouped, headline, mmss, step_line, step_text
from assistant.tui.thinking import board_items, board_words, call_facts, hypothesis_item
from assistant.tui.transcript import clock, plan_lines, seconds
from assistant.tui.view import LinesView, Row, Rule

MARKS = {
    MarkerKind.QUESTION: "?", MarkerKind.PLAN: "p", MarkerKind.FAILURE: "!", MarkerKind.FINDING: "F",
    MarkerKind.PROPOSAL: "P", MarkerKind.DECISION: "D", MarkerKind.WRITE: "W", MarkerKind.END: "E",
}  # fmt: skip
LEGEND = "? ask  p plan  ! failure  F finding  P proposed  D decided  W write  E end"
QUICKEST_SECONDS = 0.02
READS_SHOWN = 12
BOOKKEEPING = (ev.StepStarted, ev.StepEnded, ev.Used, ev.TurnEnded, ev.RemediesSuggested)


class ReplayScreen(CaseScreen):
    """Steps, the state at a step, a timeline."""

    PLACE = Place.REPLAY
    BINDINGS = bindings(Place.REPLAY)
    AUTO_FOCUS = "#steps"
    CSS = framed(
        "ReplayScreen",
        """
    ReplayScreen #steps { width: 44%; border-right: solid $border; }
    ReplayScreen #state { width: 1fr; }
    ReplayScreen #timeline { height: 2; }
    ReplayScreen.-narrow #body { layout: vertical; }
    ReplayScreen.-narrow #steps { width: 1fr; height: 40%; border: none; border-bottom: solid $border; }
    ReplayScreen.-narrow #timeline { height: 1; }
    """,
    )

    def __init__(self) -> None:
        """Start without a recording."""
        super().__init__()
        self._recording: Recording | None = None
        self.player = Player(())
        self._timer: Timer | None = None
        self._steps: list[Step] = []
        self._show = Show.STEPS

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield from self.chrome_top()
        yield Row(id="title")
        with Horizontal(id="body"):
            yield LinesView(picks=True, id="steps")
            yield LinesView(id="state")
        yield Rule()
        yield Row(id="timeline")
        yield Row(id="position")
        yield from self.chrome_bottom()

    def on_screen_resume(self) -> None:
        """Take the recording that was chosen."""
        recording = self.host.recording
        if recording is not None and recording is not self._recording:
            self._recording = recording
            self._pause()
            self.player = Player(tuple(recording.events))
            self.player.jump(1)
            self._group()
        self.refresh_case()

    def _group(self) -> None:
        self._steps = grouped(self.player.events, self._show)
        self.query_one("#steps", LinesView).show([], reset=True)

    def step(self) -> int:
        """Return the index of the listed step that we are in: the last one that has begun."""
        here = self.player.position
        return max(0, bisect_right([each.first for each in self._steps], here) - 1)

    def identity(self) -> Line:
        """Return the identity of then."""
        return identity_line(self.player.case, self.host.now(), self.size.width, replayed="recorded ")

    def status(self) -> Line:
        """Return the status row: the play state."""
        note = self.host.note
        word = "playing" if self._timer is not None else "paused"
        return line((f" {word} ", Tone.ACCENT), "read only: no cluster, no model, no network", (f"  {note}", Tone.WARN))

    def key_row(self) -> Line:
        """Return the player's keys first."""
        return keys_line(self.size.width, Place.REPLAY, Place.TEXT, Place.ANYWHERE)

    def evidence_source(self) -> tuple[Case, Callable[[str], str]] | None:
        """Return the case of this step and the recording's texts."""
        return (self.player.case, self._recording.body) if self._recording is not None else None

    def refresh_case(self) -> None:
        """Draw the step."""
        if not self.drawable:
            return
        player = self.player
        title = self._recording.title if self._recording is not None else "nothing to replay"
        at = f"  {player.event.at.astimezone():%Y-%m-%d %H:%M:%S}" if player.event is not None else ""
        self.query_one("#title", Row).show(line((" REPLAY ", Tone.HEADING), clip(title, 60), (at, Tone.MUTED)))
        here = self.step()
        steps = self.query_one("#steps", LinesView)
        steps.show([step_line(n, each, player.position) for n, each in enumerate(self._steps, start=1)])
        steps.pick(str(self._steps[here].last) if self._steps and player.position else "")
        step = self._steps[here] if self._steps else Step(0, 0, 0.0, "", Tone.PLAIN)
        self.query_one("#state", LinesView).show(state_lines(player, step, here + 1), reset=True)
        speed = "instant" if player.speed == 0 else f"x{player.speed:g}"
        gap = "  idle gap cut" if player.gap_shortened(player.position) else ""
        self.query_one("#timeline", Row).show(timeline(player, self.size.width), line((f" {LEGEND}", Tone.MUTED)))
        self.query_one("#position", Row).show(
            line(
                f" at {mmss(player.seconds)}  {speed}  step {here + 1} of {len(self._steps)}",
                (f"  event {player.position} of {player.length}  f shows: {self._show.value}{gap}", Tone.MUTED),
            )
        )
        self.refresh_rows()

    # Playing -----------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = None

    def _schedule(self) -> None:
        self._timer = self.set_timer(max(self.player.delay_seconds(), QUICKEST_SECONDS), self._next)

    def _next(self) -> None:
        self.player.forward()
        if self.player.at_end:
            self._pause()
        else:
            self._schedule()
        self.refresh_case()

    def _moved(self) -> None:
        self._pause()
        self.refresh_case()

    def on_lines_view_picked(self, message: LinesView.Picked) -> None:
        """Go to the end of the step under the cursor; playing inside a step moves no cursor."""
        if message.view.id != "steps" or not message.ref.isdecimal() or self._timer is not None:
            return
        if self._steps and message.ref != str(self._steps[self.step()].last):
            self.player.jump(int(message.ref))
            self._moved()

    # Keys --------------------------------------------------------------------------------------------------------

    def back(self) -> None:
        """Leave the player, for the list it came from or the first screen."""
        self._pause()
        if self.host.library is not None:
            self.host.switch("sessions")
        elif self.host.connect is not None:
            self.host.switch("investigate")
        else:
            self.host.tell("ctrl+q quits")

    def action_play(self) -> None:
        """Play or pause; at the end it starts anew."""
        if self._timer is not None:
            self._moved()
            return
        if self.player.at_end:
            self.player.jump(0)
        self._schedule()
        self.refresh_case()

    def action_step_on(self) -> None:
        """To the end of this step, or of the next one."""
        later = [each.last for each in self._steps if each.last > self.player.position]
        self.player.jump(later[0] if later else self.player.length)
        self._moved()

    def action_step_back(self) -> None:
        """To the end of the step before."""
        earlier = [each.last for each in self._steps if each.last < self.player.position]
        self.player.jump(earlier[-1] if earlier else 0)
        self._moved()

    def action_filter(self) -> None:
        """Show other steps: those of a person, those of changes, every event."""
        kinds = list(Show)
        self._show = kinds[(kinds.index(self._show) + 1) % len(kinds)]
        self._group()
        self._moved()

    def action_next_marker(self) -> None:
        """To the next marker."""
        self.player.next_marker()
        self._moved()

    def action_previous_marker(self) -> None:
        """To the marker before."""
        self.player.previous_marker()
        self._moved()

    def action_faster(self) -> None:
        """Play faster."""
        self.player.faster()
        self.refresh_case()

    def action_slower(self) -> None:
        """Play slower."""
        self.player.slower()
        self.refresh_case()

    def action_tenth(self, key: str) -> None:
        """Jump to a tenth."""
        self.player.jump_tenth(int(key))
        self._moved()

    def action_open(self) -> None:
        """Open what stands at this step: the card that was seen, the evidence, the raw text of an error."""
        event, case = self.player.event, self.player.case
        if event is None or not self._steps:
            return
        payload = shown(self.player, self._steps[self.step()])
        if isinstance(payload, ev.EvidenceAdded):
            self.host.open_evidence(payload.evidence.id)
        elif isinstance(payload, ev.ModelCalled):
            self.app.push_screen(call_screen(payload, self._recording.body if self._recording is not None else None))
        elif (known := case.proposal(proposal_of(payload))) is not None:
            progress = progress_lines(known, event.at)
            card = [*facts(known.proposal), BLANK, *diff_lines(known.proposal, hidden=True), BLANK, *progress]
            self.app.push_screen(TextScreen(f"{known.proposal.id} as it was shown, read only", card))
        else:
            self.app.push_screen(TextScreen(f"Step {event.seq}", payload_lines(payload)))


def proposal_of(payload: ev.Payload) -> str:
    """Return the proposal that an event is about, "" for none."""
    match payload:
        case ev.Proposed():
            return payload.proposal.id
        case ev.Decided():
            return payload.decision.proposal
        case ev.Concluded():
            return payload.outcome.proposal
        case ev.Sending() | ev.Verified() | ev.UndoOffered():
            return payload.proposal
        case _:
            return ""


def state_lines(player: Player, step: Step, number: int) -> list[Line]:
    """Return what stands at this step, then the state of the case then."""
    event, case = player.event, player.case
    if event is None:
        return [line(("before the first step", Tone.MUTED))]
    out = [line((f"AT STEP {number}  {clock(event.at)}  {step_text(step)}", Tone.HEADING), hang=2)]
    payload = shown(player, step)
    told = read_lines(player, step) if step.reads else payload_lines(payload)
    out += [each for each in told if each.text != step_text(step)]
    known = case.proposal(proposal_of(payload))
    if known is not None:
        digest = known.decision.digest if known.decision else ""
        match = "  match" if digest == known.proposal.digest else "  NOT the proposal's" if digest else ""
        waited = f"{(known.decided_at - known.proposal.created).total_seconds():.0f} s" if known.decided_at else "-"
        rows: list[tuple[str, Given]] = [
            ("digest", f"{known.proposal.digest[:12]}{match}"), ("waited", waited),
            ("risk", known.proposal.risk.level.value), ("card", "enter opens it as it was shown"),
        ]  # fmt: skip
        out += [*columns(rows), *progress_lines(known, event.at)]
    out += [BLANK, line(("STATE OF THE CASE THEN", Tone.HEADING))]
    done = sum(step.status is StepStatus.DONE for step in case.plan)
    out += columns([
        ("plan", f"{done} of {len(case.plan)} done"), ("evidence", str(len(case.evidence))),
        ("findings", " ".join(f.id for f in case.findings) or "none"),
        ("board", board_words(case) or "empty"),
        ("changes", " ".join(f"{p.proposal.id} {p.state.value}" for p in case.proposals) or "none"),
    ])  # fmt: skip
    for finding in () if isinstance(payload, ev.FindingsRanked) else case.findings[:3]:
        out += finding_item(finding, case.mind)
    if case.board and not isinstance(payload, ev.BoardMade):
        out += board_items(case, hint=False)
    return out


def shown(player: Player, step: Step) -> ev.Payload:
    """Return the event of a step that says most: where we are in it, but no bookkeeping and no later one."""
    until = min(max(player.position, step.first), step.last)
    payloads = [event.payload for event in player.events[step.first - 1 : until]]
    told = [each for each in payloads if not isinstance(each, BOOKKEEPING)]
    return told[-1] if told else payloads[-1]


def read_lines(player: Player, step: Step) -> list[Line]:
    """Return the reads of a step, one a line with its evidence, as far as we are in it."""
    names = {
        event.payload.call
        for event in player.events[step.first - 1 : min(player.position, step.last)]
        if isinstance(event.payload, ev.ToolStarted)
    }
    calls = [call for call in player.case.calls if call.call in names]
    out: list[Line] = []
    for call in sorted(calls, key=lambda each: (each.ok or not each.done, not each.evidence))[:READS_SHOWN]:
        word: Given = ("..", Tone.MUTED) if not call.done else ("ok", Tone.GOOD) if call.ok else ("FAILED", Tone.BAD)
        right: list[Given] = [word, f" {seconds(call.seconds):>6}", (f"  {' '.join(call.evidence)}", Tone.ACCENT)]
        out.append(line(call.title or call.tool, hang=2, right=right))
        if call.done and not call.ok:
            out.append(line((f"  {call.result}", Tone.BAD), hang=2))
        for fact in filter(None, map(player.case.fact, call.evidence)):
            out.append(line("  ", (clip(readable(fact.quote), 160), Tone.CODE), hang=2))
    if len(calls) > READS_SHOWN:
        out.append(line((f"and {len(calls) - READS_SHOWN} more; f shows every event", Tone.MUTED)))
    return out


def payload_lines(payload: ev.Payload) -> list[Line]:
    """Return an event in full."""
    match payload:
        case ev.Answered():
            return markdown_lines(payload.markdown)
        case ev.PlanMade():
            return plan_lines(payload.steps)
        case ev.EvidenceAdded():
            return [*evidence_item(payload.evidence), *block(payload.evidence.quote, Tone.CODE, indent=3)]
        case ev.OpinionGiven():
            return markdown_lines(payload.markdown)
        case ev.BoardMade():
            return [each for hypothesis in payload.hypotheses for each in hypothesis_item(hypothesis)]
        case ev.ModelCalled():
            return [*call_facts(payload), line(("enter opens what was sent and what came", Tone.MUTED))]
        case ev.FindingsRanked():
            return [each for finding in payload.findings for each in finding_item(finding)]
        case ev.Proposed():
            return [line(payload.proposal.title, hang=2), line((payload.proposal.kubectl, Tone.CODE), hang=2)]
        case ev.ToolStarted():
            return [line(payload.title), line((payload.kubectl or payload.request, Tone.CODE), hang=2)]
        case ev.ToolEnded():
            return [line(headline(payload)), *block(payload.preview, Tone.CODE, indent=2)]
        case ev.CallHeld() | ev.CallDecided() | ev.QuestionPut() | ev.QuestionAnswered():
            return asked_detail(payload)
        case ev.ErrorRaised():
            return [line((payload.meaning, Tone.BAD)), line(payload.hint), *block(payload.detail, Tone.CODE)]
        case _:
            return [line(headline(payload), hang=2)]


def timeline(player: Player, width: int) -> Line:
    """Return the bar: markers by kind, the part already seen, the place where we are."""
    left, right = f" {mmss(0)} |", f"| {mmss(player.total_seconds)} "
    room = max(10, width - len(left) - len(right))
    cells = ["-" if n <= player.position * (room - 1) // max(1, player.length) else "." for n in range(room)]

    def place(step: int) -> int:
        return min(room - 1, step * (room - 1) // max(1, player.length))

    marker: Marker
    for marker in player.markers:
        cells[place(marker.step)] = MARKS[marker.kind]
    here = place(player.position)
    bar = "".join(cells)
    return line((left, Tone.MUTED), bar[:here], (bar[here], Tone.MATCH), bar[here + 1 :], (right, Tone.MUTED))
