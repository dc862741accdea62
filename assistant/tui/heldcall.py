"""A held call of an MCP tool: all that would be sent, and a yes that holds for this one call.

It is no change that the gate examined, and it says so: nobody made a dry run, and there is no undo.
"""

from __future__ import annotations

from assistant.domain import event as ev
from assistant.errors import PilothouseError
from assistant.tui.asked import asked_headline, countdown
from assistant.tui.consent import Card, ConsentScreen
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.overlays import FieldScreen
from assistant.tui.words import said_lines, short

NOT_EXAMINED = (
    "This is no change of the cluster that the gate has examined: no diff, no dry run, no undo, and nobody looked at "
    "what it does."
)
STILL_GATED = "Should it want to change the cluster, the gate holds that and asks you apart."
DESTROYS = "The server says that this tool destroys or overwrites."


class HeldCallScreen(ConsentScreen):
    """One call at a time; several wait in the order in which they came."""

    PLACE = Place.CALL
    BINDINGS = bindings(Place.CALL)
    CSS = ConsentScreen.styled("HeldCallScreen")
    VERB = "allow once"
    OTHERS = ("d deny", "f deny + say why", "esc later")

    def __init__(self) -> None:
        """Start with the call that waits longest."""
        super().__init__()
        self._shown: ev.CallHeld | None = None

    def on_screen_resume(self) -> None:
        """What is over is not shown again."""
        if self._shown not in self.host.case.held_calls:
            self._shown = None
        super().on_screen_resume()

    def held(self) -> ev.CallHeld | None:
        """Return the call that is shown; the one that waits longest where none is."""
        waiting = self.host.case.held_calls
        if self._shown is not None:
            # What waits under this name now: it may not be what was shown.
            return next((each for each in waiting if each.call == self._shown.call), self._shown)
        return waiting[0] if waiting else None

    def choose(self, call: str) -> None:
        """Show this call."""
        self._shown = next((each for each in self.host.case.held_calls if each.call == call), self._shown)
        self.refresh_case()

    def card(self) -> Card | None:
        """Return the call as a card."""
        held = self._shown = self.held()
        if held is None:
            return None
        waiting, now = self.host.case.held_calls, self.host.now()
        open_now = held in waiting
        word = (" ALLOW THIS CALL? ", Tone.MATCH) if open_now else ("HELD CALL", Tone.HEADING)
        right: tuple[tuple[str, Tone], ...] = ()
        if open_now:
            place = f"{waiting.index(held) + 1}/{len(waiting)}  " if len(waiting) > 1 else ""
            right = ((f"{place}denied in ", Tone.MUTED), (f"{countdown(held.until, now)} ", Tone.WARN))
        of = " of MCP server " if self.wide else " of "
        # All of both names stands in the text below; here they leave room for how long it still waits.
        taken = len(word[0]) + len(of) + sum(len(each[0]) for each in right) + 6
        each_name = min(40, max(6, (self.size.width - taken) // 2))
        tool, server = short(held.tool, each_name), short(held.server, each_name)
        title: tuple[Given, ...] = (word, "  ", (tool, Tone.CODE), of, (server, Tone.CODE))
        closed = "" if open_now else self._became(held)
        if open_now and now >= held.until:
            closed = "Nobody answered in time: it is not called."
        key = f"{held.call} {held.digest}"
        lines = self.laid(key, lambda width: self._lines(held, width))
        return Card(key, title, right, self._head(held), lines, closed, not open_now)

    def _head(self, held: ev.CallHeld) -> tuple[Line, ...]:
        out = [line((" " + NOT_EXAMINED, Tone.PLAIN), hang=1), line((" " + STILL_GATED, Tone.MUTED), hang=1)]
        if held.destructive:
            out.insert(0, line(" ", (" SAYS IT DESTROYS ", Tone.ALERT), " ", DESTROYS, hang=1))
        return tuple(out)

    def _lines(self, held: ev.CallHeld, width: int) -> list[Line]:
        intro = "All that is sent, and what the server says of its tool:"
        end = f"end of the call; digest {held.digest[:12]} binds your yes to exactly this"
        return [line((intro, Tone.MUTED)), *said_lines(held.lines, width), line((end, Tone.MUTED))]

    def _became(self, held: ev.CallHeld) -> str:
        decided = (e.payload for e in reversed(self.host.case.transcript) if e.ref == held.call)
        answer = next((each for each in decided if isinstance(each, ev.CallDecided)), None)
        if answer is None:
            return "It does not wait any more: the turn was stopped."
        return f"It does not wait any more: {asked_headline(answer)[0]}."

    def empty(self) -> Line:
        """Return what stands there where nothing is held."""
        return line("No call of a tool waits for you.")

    def allow(self, card: Card) -> None:
        """Allow this one call."""
        self._answer(True, "")

    def back(self) -> None:
        """Decide later."""
        self._shown = None
        self.host.switch("investigate")

    def action_deny(self) -> None:
        """Do not allow it."""
        self._answer(False, "")

    def action_deny_feedback(self) -> None:
        """Do not allow it, and say why."""
        asked = self._shown

        def told(text: str | None) -> None:
            if text and asked is not None and self._shown == asked:
                self._answer(False, text)

        if asked is not None and asked in self.host.case.held_calls:
            self.app.push_screen(FieldScreen("do not allow it, and say why: "), told)

    def _answer(self, allowed: bool, reason: str) -> None:
        held, session = self._shown, self.host.session
        if held is None or session is None or held not in self.host.case.held_calls:
            return
        try:
            session.asking.decide(held.call, held.digest, allowed, reason)
        except PilothouseError as error:
            self.say(f"{error.meaning} {error.hint}")
            return
        word = "allowed once" if allowed else "not allowed"
        self.host.tell(f"{word}: {short(held.tool)} of {short(held.server)}")
        self._shown = None
        # The answer reaches the case when the turn goes on, so this one still stands among those that wait.
        rest = [each for each in self.host.case.held_calls if each.call != held.call]
        if rest:
            self.choose(rest[0].call)
        elif self.host.case.questions:
            self.host.switch("question")
        else:
            self.host.switch("investigate")

    def action_previous_call(self) -> None:
        """Show the call before."""
        self._turn(-1)

    def action_next_call(self) -> None:
        """Show the next call."""
        self._turn(1)

    def _turn(self, step: int) -> None:
        waiting = self.host.case.held_calls
        if self._shown in waiting and len(waiting) > 1:
            self.choose(waiting[(waiting.index(self._shown) + step) % len(waiting)].call)
