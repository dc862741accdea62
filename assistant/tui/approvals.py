"""Approvals: decide on one change at a time. No single key approves, and nothing typed before it opened counts."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.css.query import NoMatches

from assistant.domain.action import RiskLevel
from assistant.domain.case import ProposalCase
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import PilothouseError
from assistant.policy.sanitize import clip
from assistant.tui import card
from assistant.tui.arming import Guard, Locks, Move
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import BLANK, Given, Line, Tone, line, row_count
from assistant.tui.outcome import next_step, progress_lines, result
from assistant.tui.overlays import Field, FieldScreen
from assistant.tui.screen import CaseScreen, framed, keys_line
from assistant.tui.view import LinesView, Row, Rule


class ApprovalsScreen(CaseScreen):
    """The card of one proposal, with the action bar always in sight."""

    PLACE = Place.APPROVALS
    BINDINGS = bindings(Place.APPROVALS)
    AUTO_FOCUS = "#diff"
    CSS = framed(
        "ApprovalsScreen",
        """
    ApprovalsScreen #facts { width: 46%; border-right: solid $border; }
    ApprovalsScreen #diff { width: 1fr; }
    ApprovalsScreen #brief { height: 3; }
    ApprovalsScreen #progress { display: none; }
    ApprovalsScreen #typed { display: none; margin: 0 1; }
    ApprovalsScreen.-typed #typed { display: block; }
    ApprovalsScreen.-wide #brief, ApprovalsScreen.-wide #cardtabs { display: none; }
    ApprovalsScreen.-narrow #facts { display: none; }
    """,
    )

    def __init__(self) -> None:
        """Start covered: nothing counts before the card was painted."""
        super().__init__()
        self.guard = Guard(lambda: self.host.clock.monotonic())
        self._shown: Proposal | None = None
        self._tab = 0
        self._hidden = False
        self._read_to_end = False
        self._sending = ""
        self._hint = ""
        self._since = 0.0

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        top = self.chrome_top()
        yield top[0]
        yield Row(id="title")
        yield from top[1:]
        yield Row(id="brief")
        yield Row(id="cardtabs")
        with Horizontal(id="body"):
            yield LinesView(id="facts")
            yield LinesView(id="diff")
        yield Row(id="progress")
        yield Rule()
        yield Field(no_paste=True, id="typed")
        yield Row(id="actions")
        yield Row(id="hint")
        yield from self.chrome_bottom()

    # Which proposal ----------------------------------------------------------------------------------------------

    @property
    def known(self) -> ProposalCase | None:
        """Return what is known about the shown proposal; the oldest waiting one where none was chosen."""
        case = self.host.case
        if self._shown is not None and (found := case.proposal(self._shown.id)) is not None:
            return found
        waiting = case.waiting
        return waiting[0] if waiting else case.proposals[-1] if case.proposals else None

    def choose(self, proposal_id: str) -> None:
        """Show this proposal."""
        found = self.host.case.proposal(proposal_id)
        if found is not None:
            self._adopt(found)
        self.refresh_case()

    def _adopt(self, known: ProposalCase) -> None:
        """A card that was not on screen is about to be: cover it until it is painted."""
        self._shown = known.proposal
        self._tab, self._read_to_end, self._hint = 0, False, ""
        self.cover()
        typed = self.query_one("#typed", Field)
        typed.value = ""
        needs = bool(known.proposal.typed_name) and known.state is ProposalState.OPEN
        self.set_class(needs, "-typed")
        for view in self.query(LinesView):
            view.show([], reset=True)
        (typed if needs else self.query_one("#diff", LinesView)).focus()

    def cover(self) -> None:
        """Drop every key until the next paint, and for the settling time after it."""
        self._since = self.host.clock.monotonic()
        self.guard.cover()
        self.call_after_refresh(self.guard.settle)

    def on_screen_resume(self) -> None:
        """The card comes into sight: what was typed before does not count."""
        self.cover()
        super().on_screen_resume()

    # Drawing -----------------------------------------------------------------------------------------------------

    def refresh_case(self) -> None:
        """Draw the card."""
        if not self.drawable:
            return
        known = self.known
        if known is None:
            self._draw_empty()
            return
        if self._shown is None or known.proposal != self._shown:
            changed = self._shown is not None and self._shown.id == known.proposal.id
            self._adopt(known)
            self._hint = "The proposal changed since you looked: read it again." if changed else ""
        proposal, now = known.proposal, self.host.now()
        diff, facts = self.query_one("#diff", LinesView), self.query_one("#facts", LinesView)
        facts.show(card.facts(proposal))
        diff.show(card.pane_lines(proposal, 0 if self.wide else self._tab, hidden=self._hidden))
        self.query_one("#brief", Row).show(*card.brief_lines(proposal))
        self.query_one("#cardtabs", Row).show(card.tab_row(proposal, self._tab))
        progress = progress_lines(known, now)
        row = self.query_one("#progress", Row)
        row.display = bool(progress)
        row.styles.height = min(6, max(1, sum(row_count(each, self.size.width) for each in progress)))
        row.show(*progress)
        self._draw_bar(known)
        self.refresh_rows()
        self.call_after_refresh(self._note_read)

    def _note_read(self) -> None:
        try:
            diff = self.query_one("#diff", LinesView)
        except NoMatches:
            return
        if (self.wide or self._tab == 0) and diff.lines and diff.seen_end and not self._read_to_end:
            self._read_to_end = True
            if (known := self.known) is not None:
                self._draw_bar(known)

    def on_lines_view_moved(self, message: LinesView.Moved) -> None:
        """Note when the diff has been read to its end."""
        if message.view.id == "diff":
            self.call_after_refresh(self._note_read)

    def _draw_empty(self) -> None:
        self._shown = None
        self.query_one("#title", Row).show(line((" APPROVALS", Tone.HEADING)))
        self.query_one("#diff", LinesView).show(
            [BLANK, line("No change waits for you.", hang=2), line(("gi goes back", Tone.MUTED))]
        )
        for name in ("brief", "cardtabs", "actions", "hint", "progress"):
            self.query_one(f"#{name}", Row).show()
        self.refresh_rows()

    def _draw_bar(self, known: ProposalCase) -> None:
        proposal, now, app = known.proposal, self.host.now(), self.host
        waiting = [each.proposal.id for each in app.case.waiting]
        place = f"  {waiting.index(proposal.id) + 1} of {len(waiting)}" if proposal.id in waiting else ""
        open_now = known.state is ProposalState.OPEN
        word, tone = ("APPROVE A CHANGE", Tone.HEADING) if open_now else result(known)
        right: list[tuple[str, Tone]] = (
            [("expires in ", Tone.MUTED), (card.countdown(proposal, now) + " ", Tone.WARN)] if open_now else []
        )
        lead = f"  {proposal.id}{place}  "
        room = self.size.width - len(word) - len(lead) - sum(len(each[0]) for each in right) - 4
        self.query_one("#title", Row).show(line((f" {word}", tone), lead, clip(proposal.title, room), right=right))
        actions, hint = self.query_one("#actions", Row), self.query_one("#hint", Row)
        if not open_now:
            undo: list[Given] = [("[ U undo ]   ", Tone.STRONG)] if known.undo is not None else []
            actions.show(line(" ", *undo, ("[ esc back ]", Tone.MUTED)))
            hint.show(line((f" {self._hint}", Tone.WARN)) if self._hint else next_step(app.case, known))
            return
        locks = self.locks(known)
        armed = self.guard.armed_seconds
        if armed:
            first: Given = ("[ ARMED: enter sends it ]", Tone.ALERT)
        elif locks.reason:
            first = ("[ approve: locked ]", Tone.MUTED)
        else:
            first = ("[ a approve ]", Tone.STRONG)
        rest = "   [ d deny ]   [ f deny + say why ]   [ esc later ]   [ r re-check ]"
        if not self.wide:
            rest = "  d deny  f deny + why  esc later  r re-check"
        actions.show(line(" ", first, rest))
        tail = f" Digest {proposal.digest[:6]} binds this approval to exactly this request."
        if self._sending == proposal.id:
            text: Given = (" handing your decision over ..", Tone.ACCENT)
        elif armed:
            text = (f" enter sends it, any other key disarms ({int(armed) + 1} s)", Tone.WARN)
        elif self._hint:
            text = (f" {self._hint}", Tone.WARN)
        elif locks.reason:
            text = (" " + (self._name_left(proposal) if locks.name_missing else locks.reason), Tone.WARN)
        else:
            text = (" Nothing is armed. a arms, then enter sends it." + (tail if self.wide else ""), Tone.MUTED)
        hint.show(line(text))

    def _name_left(self, proposal: Proposal) -> str:
        left = len(proposal.typed_name) - len(self.query_one("#typed", Field).value)
        state = f"{left} left" if left > 0 else "does not match"
        return f"Type its name to unlock: {proposal.typed_name} ({state}; paste is ignored)"

    def state_word(self) -> str:
        """Return `name` where letters go into the name field."""
        return "name" if isinstance(self.focused, Field) else "normal"

    def key_row(self) -> Line:
        """Return the keys; those that decide only where there is something to decide."""
        known = self.known
        if known is None or known.state is ProposalState.OPEN:
            return super().key_row()
        return keys_line(self.size.width, Place.TEXT, Place.ANYWHERE)

    # Deciding ----------------------------------------------------------------------------------------------------

    def locks(self, known: ProposalCase) -> Locks:
        """Return why this card cannot be approved now."""
        proposal = known.proposal
        closed = card.why_not_approvable(proposal)
        if known.state is not ProposalState.OPEN:
            closed = f"This change is {known.state.value}."
        elif self.host.read_only:
            closed = "This is a recording: nothing can be approved."
        elif self.host.now() >= proposal.expires:
            closed = "Expired: r has it examined again."
        elif self._sending:
            closed = "A decision is on its way."
        high = proposal.risk.level in (RiskLevel.HIGH, RiskLevel.CRITICAL)
        name_missing = bool(proposal.typed_name) and self.query_one("#typed", Field).value != proposal.typed_name
        return Locks(f"Not approvable: {closed}" if closed == proposal.not_approvable and closed else closed,
                     high and not self._read_to_end, name_missing)  # fmt: skip

    def admit(self, event: events.Key) -> bool:
        """See every key before anything else does; returns whether it may go on to the bindings."""
        known = self.known
        if known is None or event.key in ("ctrl+q", "ctrl+c", "ctrl+l"):
            self.guard.disarm()
            return True
        if isinstance(self.focused, Field):
            if self.guard.quiet:
                return False
            self.guard.disarm()
            if event.key == "enter":
                self._draw_bar(known)
                return False
            return True
        self._hint = ""
        locks = self.locks(known)
        move = self.guard.press(event.key, locks)
        if move is Move.LOCKED:
            self._hint = locks.reason
        if move is Move.RUN:
            self._decide(known, Answer.APPROVE)
        self._draw_bar(known)
        return move is Move.PASS

    def on_input_changed(self) -> None:
        """Leave the field as soon as the name stands there; keys typed on at that moment are still dropped."""
        known = self.known
        if known is None or not isinstance(self.focused, Field):
            return
        if not self.locks(known).name_missing:
            self.query_one("#diff", LinesView).focus()
            self.guard.settle()
        self._draw_bar(known)

    def disarm(self) -> None:
        """A click, a paste or a lost focus disarms like any other key."""
        if self.guard.armed_seconds:
            self.guard.disarm()
            if (known := self.known) is not None:
                self._draw_bar(known)

    def on_mouse_down(self) -> None:
        """A click disarms, wherever it came from."""
        self.disarm()

    def _decide(self, known: ProposalCase, answer: Answer, reason: str = "") -> None:
        proposal = known.proposal
        typed = self.query_one("#typed", Field).value if answer is Answer.APPROVE else ""
        self._sending = proposal.id
        self.run_worker(self._hand_over(proposal, answer, reason, typed), group="decision")

    async def _hand_over(self, proposal: Proposal, answer: Answer, reason: str, typed: str) -> None:
        session, looked = self.host.session, self.host.clock.monotonic() - self._since
        try:
            if session is None:
                self._hint = "There is no session to decide in."
                return
            shown = card.shown_digest(proposal)
            state = await session.decide(proposal.id, answer, reason, shown, typed, looked_seconds=looked)
            if state not in (
                ProposalState.APPROVED,
                ProposalState.DENIED,
                ProposalState.SENDING,
                ProposalState.APPLIED,
            ):
                self._hint = f"The gate answered: {state.value}. Nothing was sent because of this decision."
        except PilothouseError as error:
            self._hint = f"{error.meaning} {error.hint}"
        finally:
            self._sending = ""
            self.guard.settle()
            if self.drawable:
                self.refresh_case()

    # Keys --------------------------------------------------------------------------------------------------------

    def back(self) -> None:
        """Decide later."""
        self.host.switch("investigate")

    def action_deny(self) -> None:
        """Deny."""
        self._deny("")

    def action_deny_feedback(self) -> None:
        """Deny, and say what to do instead."""
        asked = self._shown.id if self._shown is not None else ""

        def told(text: str | None) -> None:
            if text and self._shown is not None and self._shown.id == asked:
                self._deny(text)

        if (known := self.known) is not None and known.state is ProposalState.OPEN and not self._sending:
            self.app.push_screen(FieldScreen("deny, and say what to do instead: "), told)

    def _deny(self, reason: str) -> None:
        known = self.known
        if known is not None and known.state is ProposalState.OPEN and not self._sending and not self.host.read_only:
            self._decide(known, Answer.DENY, reason)

    def action_recheck(self) -> None:
        """Have the gate examine it again."""
        known, session = self.known, self.host.session
        if known is None or session is None or known.state is not ProposalState.OPEN:
            return
        self.cover()
        self.host.run_safely(session.recheck(known.proposal.id), "examining it again", self._rechecked)

    def _rechecked(self) -> None:
        waiting = self.host.case.waiting
        if self._shown is not None and waiting and all(w.proposal.id != self._shown.id for w in waiting):
            newer = next((w for w in waiting if self._shown and w.proposal.supersedes == self._shown.id), waiting[0])
            self.choose(newer.proposal.id)
        self.cover()
        self.refresh_case()

    def action_undo(self) -> None:
        """Propose the way back."""
        known, session = self.known, self.host.session
        if known is not None and session is not None and known.undo is not None:
            self.host.run_safely(session.undo(known.proposal.id), "examining the way back", self._next_waiting)

    def _next_waiting(self) -> None:
        if waiting := self.host.case.waiting:
            self.choose(waiting[-1].proposal.id)

    def action_hidden(self) -> None:
        """Show or hide the bookkeeping lines of the diff."""
        self._hidden = not self._hidden
        self.refresh_case()

    def action_tab_number(self, key: str) -> None:
        """Choose what the one pane of a narrow screen shows."""
        if not self.wide:
            self._note_read()
            self._tab = int(key) - 1
            self.query_one("#diff", LinesView).show([], reset=True)
            self.refresh_case()

    def action_previous_proposal(self) -> None:
        """Show the change before."""
        self._turn(-1)

    def action_next_proposal(self) -> None:
        """Show the next change."""
        self._turn(1)

    def _turn(self, step: int) -> None:
        ids = [each.proposal.id for each in self.host.case.proposals]
        if self._shown is not None and self._shown.id in ids and len(ids) > 1:
            self.choose(ids[(ids.index(self._shown.id) + step) % len(ids)])
