"""The app: screens over one case, one session, one clock. It starts before the session exists.

Only Textual and the domain are imported before the first frame; what a screen needs is imported when it is shown.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.driver import Driver
from textual.screen import Screen
from textual.timer import Timer

from assistant.errors import PilothouseError
from assistant.policy.sanitize import safe
from assistant.session.clock import SystemClock
from assistant.tui.appkeys import KeyedApp
from assistant.tui.guard import guarded
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.modes import LATER
from assistant.tui.ports import Connect, PracticeIncident, Recording, SessionLibrary, SessionLike
from assistant.tui.screen import CaseScreen
from assistant.tui.themes import DEFAULT, MONO, PALETTES, theme_of
from assistant.tui.typeahead import TypeAhead

if TYPE_CHECKING:
    from assistant.domain.case import Case
    from assistant.domain.event import Event
    from assistant.domain.ports import Clock

FLUSH_SECONDS = 0.1
"""Events are drawn at most ten times a second; keys stay quick between."""
TICK_SECONDS = 1.0


class PilothouseApp(KeyedApp):
    """The terminal face. `connect` is called after the first frame; `recording` makes the app a player."""

    TITLE = "pilothouse"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "investigate"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "investigate": InvestigateScreen, **LATER,
    }  # fmt: skip
    CSS = "ModalScreen { background: $background 60%; }"

    def __init__(
        self,
        connect: Connect | None = None,
        *,
        practice: Sequence[PracticeIncident] = (),
        choose: bool = False,
        incident: str = "",
        resume: str = "",
        question: str = "",
        library: SessionLibrary | None = None,
        recording: Recording | None = None,
        clock: Clock | None = None,
        theme: str = "",
    ) -> None:
        """Take the parts; nothing is opened yet.

        Args:
            connect: opens the session; None where there is only a recording or a library to look at.
            practice: the recorded clusters to offer.
            choose: show that list first and connect to what is chosen.
            incident: the practice incident to open.
            resume: the stored session to carry on with.
            question: sent as soon as the session is there.
            library: the stored sessions.
            recording: start in the replay of this.
            clock: time; the real one by default.
            theme: name of a theme in `themes.PALETTES`.
        """
        self.clock: Clock = clock or SystemClock()
        super().__init__()
        self.ahead = TypeAhead(self, self.clock)
        for palette in PALETTES.values():
            self.register_theme(theme_of(palette))
        # Themes that use the terminal's colours turn black on black under NO_COLOR, so it gets a theme of ours.
        self.theme = MONO if os.environ.get("NO_COLOR") else theme if theme in PALETTES else DEFAULT
        self.animation_level = "none"
        self.connect, self.practice, self.library = connect, tuple(practice), library
        self.recording = recording
        self.session: SessionLike | None = None
        self._case: Case | None = None
        self.failure: PilothouseError | None = None
        self.connecting = connect is not None and not choose
        self.note = ""
        self.stopping = False
        self._choose, self._incident, self._resume = choose, incident, resume
        self._queued: list[str] = [question] if question else []
        self._unsubscribe: Callable[[], None] | None = None
        self._flush_timer: Timer | None = None

    def get_driver_class(self) -> type[Driver]:
        """Return the platform's driver with the output filter in front."""
        return guarded(super().get_driver_class())

    @property
    def opened(self) -> bool:
        """Say whether there is a case to draw."""
        return self._case is not None

    @property
    def case(self) -> Case:
        """Return the session's case; an empty one before there is a session."""
        if self._case is None:
            from assistant.domain.case import Case

            return Case()
        return self._case

    @property
    def working(self) -> bool:
        """Say whether something runs that one can stop."""
        return self._case is not None and self._case.running and not self._case.waiting

    @property
    def undecided(self) -> bool:
        """Say whether an approval waits."""
        return self._case is not None and bool(self._case.waiting)

    @property
    def read_only(self) -> bool:
        """Say whether there is no session, so that nothing can be decided."""
        return self.session is None

    def now(self) -> datetime:
        """Return the wall clock."""
        return self.clock.now()

    # Start and end -----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Paint first, then connect."""
        self.set_interval(TICK_SECONDS, self._tick)
        if self.recording is not None:
            self.switch("replay")
        elif self._choose:
            self.call_after_refresh(self.choose_practice)
        elif self.connect is not None:
            self.call_after_refresh(self.reconnect)
        elif self.library is not None:
            self.switch("sessions")

    def reconnect(self) -> None:
        """Open the session; does nothing while one is there."""
        if self.session is None and self.connect is not None:
            self._open()

    @work(group="connect", exclusive=True)
    async def _open(self) -> None:
        if self.connect is None:
            return
        self.failure, self.connecting = None, True
        self.draw()
        try:
            session = await self.connect(self._incident, self._resume)
        except PilothouseError as error:
            self.failure, self.connecting = error, False
            for screen in self.screens_of(InvestigateScreen):
                screen.leave_empty_prompt()
            self.draw()
            return
        self.session, self.connecting = session, False
        self._case = session.case
        self._unsubscribe = session.subscribe(self._on_event)
        session.asking.attended = True
        chosen = next((each for each in self.practice if each.name == self._incident), None)
        if chosen is not None and not self._queued and not self.case.question:
            for screen in self.screens_of(InvestigateScreen):
                screen.offer(chosen.symptom)
        self.draw()
        queued, self._queued = self._queued, []
        for text in queued:
            await self._send(text)

    def choose_practice(self) -> None:
        """List the practice incidents; choosing one opens it, where no session is open yet."""
        from assistant.tui.overlays import ChooserScreen

        def chosen(incident: PracticeIncident | None) -> None:
            if incident is None:
                self.draw()
                return
            if self.session is not None:
                self.tell("a session is open: start pilothouse practice in another terminal")
                return
            self._incident = incident.name
            self.reconnect()

        self.push_screen(ChooserScreen(self.practice), chosen)

    def resume_session(self, session_id: str) -> None:
        """Carry on with a stored session; one session is open at a time."""
        if self.session is not None:
            self.tell("a session is open here: quit, then pilothouse --resume, or replay it with enter")
        elif self.connect is not None:
            self._resume, self._incident = session_id, ""
            self.switch("investigate")
            self.reconnect()
        else:
            self.tell("this window only reads: it cannot resume")

    async def leave(self) -> None:
        """Close the session and end."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self.session is not None:
            self.session.asking.attended = False
            with suppress(PilothouseError):
                # A change that waits is left as it is: whoever resumes the session is asked about it anew.
                await (self.session.detach() if self.case.waiting else self.session.close())
        self.exit(0)

    # Events of the session ---------------------------------------------------------------------------------------

    def _on_event(self, event: Event, case: Case) -> None:
        self._case = case
        if not case.running:
            self.stopping = False
        if event.kind == "proposed" and (waiting := case.waiting):
            self.call_later(self._announce, "f2 opens the change", lambda: self.open_approvals(waiting[-1].proposal.id))
        elif event.kind in ("call_held", "question_put"):
            self.call_later(self._announce, "f3 opens what an MCP server waits for", self.action_asked_now)
        if self._flush_timer is None and self.is_running:
            self._flush_timer = self.set_timer(FLUSH_SECONDS, self._flushed)

    def _flushed(self) -> None:
        self._flush_timer = None
        self.draw()

    def _tick(self) -> None:
        if self.session is not None and self.app_focus:
            self.draw()

    def draw(self) -> None:
        """Have the screen in front draw the case."""
        base = self._base()
        if base is not None and base.drawable:
            base.refresh_case()

    def _base(self) -> CaseScreen | None:
        return next((s for s in reversed(self.screen_stack) if isinstance(s, CaseScreen)), None)

    def screens_of(self, kind: type[InvestigateScreen]) -> list[InvestigateScreen]:
        """Return the live screens of a kind, also those that are not in front."""
        return [s for stack in self._screen_stacks.values() for s in stack if isinstance(s, kind) and s.is_mounted]

    def _announce(self, words: str, opens: Callable[[], None]) -> None:
        """Open what waits only where nobody types and nothing is open; else say so and ring."""
        base = self._base()
        typing = isinstance(base, InvestigateScreen) and base.typing
        if isinstance(self.screen, InvestigateScreen) and not typing:
            opens()
            return
        self.bell()
        self.tell(words)

    def tell(self, text: str) -> None:
        """Show a sentence in the status row until the next one."""
        self.note = safe(text, multiline=False)
        base = self._base()
        if base is not None:
            base.refresh_rows()
        self.set_timer(6.0, lambda: self._untell(text))

    def _untell(self, text: str) -> None:
        if self.note == safe(text, multiline=False):
            self.note = ""
            if (base := self._base()) is not None:
                base.refresh_rows()

    # What screens ask for ----------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Ask, steer a running turn, or keep the text until the session is there."""
        if self.session is None and not self.connecting and self.failure is None:
            # Sent to whatever is opened next, it would ask another cluster than the one that it was meant for.
            for screen in self.screens_of(InvestigateScreen):
                screen.offer(text)
            self.tell("nothing is open yet: choose what to ask about; your text is kept")
            self.choose_practice()
            return
        if self.session is None:
            self._queued.append(text)
            waits = "it is sent when the cluster answers" if self.failure is None else "not connected (r tries again)"
            self.tell(f"kept; {waits}")
            return
        self.run_worker(self._send(text), group="ask")

    async def _send(self, text: str) -> None:
        session = self.session
        if session is None:
            return
        try:
            if session.case.running:
                session.steer(text)
                self.tell("queued; it arrives at the next step")
            else:
                await session.ask(text)
        except PilothouseError as error:
            self.tell(f"{error.meaning} {error.hint}")

    def review(self, remedy_id: str) -> None:
        """Have the gate examine a remedy, then open the approval."""
        if self.session is not None:
            self.run_safely(self.session.review(remedy_id), "examining the change", lambda: self.open_approvals())

    def run_safely(self, work: Awaitable[object], what: str, then: Callable[[], None]) -> None:
        """Await something of the session and say what went wrong in the status row."""

        async def run() -> None:
            self.tell(f"{what} ..")
            try:
                await work
            except PilothouseError as error:
                self.tell(f"{error.meaning} {error.hint}")
            else:
                self.tell("")
                then()

        self.run_worker(run(), group="asked")

    def open_evidence(self, evidence_id: str) -> None:
        """Open the whole text of a fact."""
        from assistant.tui.overlays import evidence_screen

        base = self._base()
        source = base.evidence_source() if base is not None else None
        case, body_of = source or (self.case, self.session.body if self.session is not None else None)
        fact = case.fact(evidence_id)
        if fact is None or body_of is None:
            return
        try:
            body = body_of(fact.body)
        except PilothouseError as error:
            self.tell(f"{error.meaning} {error.hint}")
            body = fact.quote
        self.push_screen(evidence_screen(fact, case, body))

    def open_approvals(self, proposal_id: str = "") -> None:
        """Show a proposal, or the one that waits longest."""
        from assistant.tui.approvals import ApprovalsScreen

        waiting = self.case.waiting
        wanted = proposal_id or (waiting[0].proposal.id if waiting else "")
        self.note = ""
        self.switch("approvals")

        def choose() -> None:
            if wanted and isinstance(self.screen, ApprovalsScreen):
                self.screen.choose(wanted)

        self.call_after_refresh(choose)

    def switch(self, mode: str) -> None:
        """Show another screen; a recording has no other screen than its player."""
        if mode == "replay" and self.recording is None:
            self.tell("choose a session to replay first: gs")
            return
        self.switch_mode(mode)

    def go(self, command: str | None) -> None:
        """Run a go command (the key after g)."""
        match command:
            case "go_top":
                if isinstance(self.screen, CaseScreen):
                    self.screen.action_top()
            case "go_approvals":
                self.open_approvals()
            case "go_investigate" | "go_servers" | "go_sessions" | "go_replay":
                self.switch(command.removeprefix("go_"))
            case _:
                pass
