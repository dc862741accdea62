"""A question of an MCP server: a form in a frame that names the server all the time. It can never be an approval.

No letter answers it, so whoever types on after a field gives no answer by that.
"""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches

from assistant.domain import event as ev
from assistant.domain.asking import Reply
from assistant.errors import PilothouseError
from assistant.policy.sanitize import clip, safe
from assistant.tui.address import address_lines
from assistant.tui.arming import Guard, Locks, Move
from assistant.tui.asked import asked_headline, countdown
from assistant.tui.consent import ReadView
from assistant.tui.form import Form, title
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.overlays import Field
from assistant.tui.screen import CaseScreen, framed
from assistant.tui.view import LinesView, Row
from assistant.tui.words import said, short

KEPT_FORMS = 20
FOR_WHOM = "The answer goes to this server and to nobody else. It allows no change and no call."
NO_SECRETS = "Never type a password, a token or a key here."


class QuestionScreen(CaseScreen):
    """One question at a time, the one that waits longest first."""

    PLACE = Place.QUESTION
    BINDINGS = bindings(Place.QUESTION)
    AUTO_FOCUS = "#form"
    CSS = framed(
        "QuestionScreen",
        """
    QuestionScreen #frame { height: 1fr; border: heavy $warning; margin: 0 1; }
    QuestionScreen #notice { height: 2; }
    QuestionScreen #message { border-bottom: dashed $border; }
    QuestionScreen #form { height: 1fr; }
    QuestionScreen #editor { height: 1; display: none; }
    QuestionScreen #editor Row { width: auto; }
    QuestionScreen.-editing #editor { display: block; }
    QuestionScreen #told { height: 2; }
    QuestionScreen.-tiny #frame { display: none; }
    """,
    )

    def __init__(self) -> None:
        """Start covered, as a card does."""
        super().__init__()
        self.guard = Guard(lambda: self.host.clock.monotonic(), "ctrl+s")
        self._shown: ev.QuestionPut | None = None
        self._forms: dict[str, Form] = {}
        self._editing = -1
        self._hint = ""
        self._leaving = False
        self._laid: tuple[object, list[Line]] = (None, [])

    def compose(self) -> ComposeResult:
        """Lay the frame out."""
        yield from self.chrome_top()
        with Vertical(id="frame"):
            yield Row(id="asks")
            yield Row(id="notice")
            yield ReadView(id="message")
            yield LinesView(picks=True, id="form")
            with Horizontal(id="editor"):
                yield Row(id="label")
                yield Field(id="value")
            yield Row(id="told")
            yield Row(id="answers")
        yield from self.chrome_bottom()

    def cover(self) -> None:
        """Drop every key until the next paint, and for the settling time after it."""
        self.guard.cover()
        self.call_after_refresh(self.guard.settle)

    def on_screen_resume(self) -> None:
        """The question comes into sight: what was typed before is no answer."""
        if not self.waits:
            self._shown = None
        self.cover()
        super().on_screen_resume()

    @property
    def form(self) -> Form:
        """Return what was filled in for the question that is shown."""
        shown = self._shown
        if shown is None:
            return Form(())
        if shown.question not in self._forms:
            for old in list(self._forms)[: len(self._forms) - KEPT_FORMS]:
                del self._forms[old]
            self._forms[shown.question] = Form(shown.fields)
        return self._forms[shown.question]

    @property
    def waits(self) -> bool:
        """Say whether the question that is shown still waits."""
        return self._shown is not None and self._shown in self.host.case.questions

    # Drawing -----------------------------------------------------------------------------------------------------

    def refresh_case(self) -> None:
        """Draw the question."""
        if not self.drawable:
            return
        try:
            message, form = self.query_one("#message", ReadView), self.query_one("#form", LinesView)
        except NoMatches:
            return
        questions = self.host.case.questions
        if self._shown is None and questions:
            self._adopt(questions[0])
        shown = self._shown
        if shown is None:
            message.show([line("No MCP server asks you anything.")])
            form.show([line(("esc goes back", Tone.MUTED))])
            for name in ("asks", "notice", "told", "answers"):
                self.query_one(f"#{name}", Row).show()
            self.refresh_rows()
            return
        if not self.waits and self._editing >= 0:
            self._stop_editing()
        self._draw_frame(shown)
        words = self._message(shown, message.cells)
        # However long it is, the message leaves the frame and the fields where they are.
        room = max(3, self.size.height // 4) if shown.fields or shown.url else max(3, self.size.height // 2)
        message.styles.height = min(len(words), room) + 1
        message.show(words)
        width = max(form.scrollable_content_region.width - LinesView.GUTTER, 20)
        form.show(address_lines(shown.url, width) if shown.url else self.form.lines(width))
        if not form.cursor and form.refs:
            form.pick(form.refs[0], reveal=False)
        self._draw_answers()
        self.refresh_rows()
        self.call_after_refresh(self._draw_answers)

    def _adopt(self, question: ev.QuestionPut) -> None:
        self._shown, self._hint, self._leaving = question, "", False
        self._stop_editing()
        self.cover()
        self.query_one("#message", ReadView).show([], reset=True)
        form = self.query_one("#form", LinesView)
        form.cursor = ""
        form.show([], reset=True)
        form.focus()

    def _message(self, shown: ev.QuestionPut, width: int) -> list[Line]:
        key = (shown, width)
        if self._laid[0] != key:
            head = line(("It says, in its own words:", Tone.MUTED))
            self._laid = (key, [head, *said(shown.message or "(nothing)", width)])
        return self._laid[1]

    def _draw_frame(self, shown: ev.QuestionPut) -> None:
        waiting = self.host.case.questions
        place = f"  {waiting.index(shown) + 1} of {len(waiting)}" if shown in waiting and len(waiting) > 1 else ""
        left = countdown(shown.until, self.host.now()) if self.waits else ""
        right: list[Given] = [(f"left unanswered in {left} ", Tone.MATCH)] if left else []
        verb = "WANTS YOU TO LOOK AT AN ADDRESS" if shown.url else "ASKS YOU SOMETHING"
        name = short(shown.server, min(40, max(12, self.size.width - 66)))
        self.query_one("#asks", Row).show(
            line((f" MCP SERVER {name} {verb}{place}", Tone.MATCH), right=right, fill=Tone.MATCH)
        )
        self.query_one("#notice", Row).show(line(f" {FOR_WHOM} ", (NO_SECRETS, Tone.WARN), hang=1))

    def _draw_answers(self) -> None:
        shown = self._shown
        if shown is None or not self.drawable:
            return
        told, answers = self.query_one("#told", Row), self.query_one("#answers", Row)
        name = short(shown.server, 20)
        if not self.waits:
            answers.show(line((" [ esc back ]", Tone.MUTED)))
            told.show(line((f" {self._became(shown)}", Tone.WARN), hang=1))
            return
        armed, locks = self.guard.armed_seconds, self.locks()
        if self._editing >= 0:
            answers.show(
                line(" ", ("enter", Tone.STRONG), " keeps it   ", ("esc", Tone.STRONG), " leaves it as it was")
            )
        else:
            send = "I looked at it" if shown.url else "send the answer"
            first: Given = (f"[ ctrl+s {send} ]", Tone.STRONG if not locks.reason else Tone.MUTED)
            if armed:
                first = (f"[ enter: {send} ]", Tone.MATCH)
            rest = "   [ ctrl+x decline ]   [ esc no answer ]   gi later"
            answers.show(line(" ", first, rest if self.wide else "  ctrl+x decline  esc no answer  gi later"))
        if armed:
            sent = "nothing but that you looked" if shown.url else self.form.told()
            text: list[Given] = [(f" enter sends to {name}: ", Tone.WARN), (sent, Tone.STRONG)]
            if secrets := self.form.secrets():
                text.insert(0, (f" LOOKS LIKE A SECRET: {clip(', '.join(secrets), 30)}. ", Tone.ALERT))
        elif self._hint:
            text = [(f" {self._hint}", Tone.WARN)]
        else:
            text = [(f" {locks.reason}" if locks.reason else f" Nothing is sent to {name} yet.", Tone.MUTED)]
        told.show(line(*text, hang=1))

    def _became(self, shown: ev.QuestionPut) -> str:
        entries = (e.payload for e in reversed(self.host.case.transcript) if e.ref == shown.question)
        answer = next((each for each in entries if isinstance(each, ev.QuestionAnswered)), None)
        return f"It does not wait any more: {asked_headline(answer)[0] if answer else 'the turn was stopped'}."

    def state_word(self) -> str:
        """Return `field` where letters are text."""
        return "field" if self._editing >= 0 else "normal"

    # Keys --------------------------------------------------------------------------------------------------------

    def locks(self) -> Locks:
        """Return why nothing can be sent now."""
        if not self.waits:
            return Locks("It does not wait any more.")
        if not self.query_one("#message", ReadView).whole:
            return Locks("Its message goes on: tab, then ctrl+d shows the rest.")
        return Locks(self.form.trouble())

    def admit(self, event: events.Key) -> bool:
        """See every key before anything else does; returns whether it may go on to the bindings."""
        if self._shown is None or event.key in ("ctrl+q", "ctrl+c", "ctrl+l"):
            self.guard.disarm()
            return True
        if self.guard.quiet or (event.key == "X" and self._editing < 0):
            # X asks why all changes should be stopped, and would take what is typed on for the reason.
            return False
        if event.key != "escape":
            self._leaving = False
        if self._editing >= 0:
            self.guard.disarm()
            return True
        self._hint = ""
        armed = self.guard.armed_seconds > 0
        move = self.guard.press(event.key, self.locks())
        if move is Move.LOCKED:
            self._hint = self.locks().reason
        if move is Move.RUN:
            self._reply(Reply.ACCEPT)
        elif event.key == "enter" and not armed:
            self._open()
        self._draw_answers()
        return move is Move.PASS

    def disarm(self) -> None:
        """A click, a paste or a lost focus disarms like any other key."""
        self.guard.disarm()
        self._draw_answers()

    def back(self) -> None:
        """Leave the field; else leave the question unanswered, asking first where something was filled in."""
        if self._editing >= 0:
            self._stop_editing()
        elif not self.waits:
            self._next()
        elif self.form.touched and not self._leaving:
            self._leaving = True
            self._hint = "esc again leaves it unanswered, and what you filled in is lost; gi keeps both for later"
        else:
            self._reply(Reply.CANCEL)
        self._draw_answers()

    def source_of(self, view: LinesView, ref: str) -> str:
        """Return the address, so that it is copied whole and not as the rows of the screen."""
        return safe(self._shown.url) if self._shown is not None and view.id == "form" else ""

    def action_decline(self) -> None:
        """Say no."""
        if self.waits and self._editing < 0:
            self._reply(Reply.DECLINE)

    def action_turn(self) -> None:
        """Choose the option under the cursor, or take that back."""
        self._turn()

    def _reply(self, reply: Reply) -> None:
        shown, session = self._shown, self.host.session
        if shown is None or session is None:
            return
        try:
            session.asking.reply(shown.question, reply, self.form.answers() if reply is Reply.ACCEPT else None)
        except PilothouseError as error:
            self._hint = f"{error.meaning} {error.hint}"
            return
        self._forms.pop(shown.question, None)
        words = {Reply.ACCEPT: "answered", Reply.DECLINE: "declined", Reply.CANCEL: "left unanswered"}
        self.host.tell(f"{words[reply]}: the question of {short(shown.server)}")
        self._next()

    def _next(self) -> None:
        """Show what waits after this one; the case may not know yet that it was answered."""
        done, case = self._shown, self.host.case
        self._shown = None
        rest = [each for each in case.questions if each != done]
        if rest:
            self._adopt(rest[0])
            self.refresh_case()
        elif case.held_calls:
            self.host.switch("call")
        else:
            self.host.switch("investigate")

    # Filling in --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self.focused is self.query_one("#message"):
            self.query_one("#form").focus()
            return
        cursor = self.query_one("#form", LinesView).cursor
        place = self.form.typed_field(cursor) if self.waits and cursor and self._shown and not self._shown.url else -1
        if place >= 0:
            self._edit(place)
        else:
            self._turn()

    def _turn(self) -> None:
        if self.waits and self._editing < 0 and self.focused is not self.query_one("#message"):
            self.form.turn(self.query_one("#form", LinesView).cursor)
            self.refresh_case()

    def _edit(self, place: int) -> None:
        self._editing = place
        self.add_class("-editing")
        words = f" “{clip(title(self.form.fields[place]), 24)}” > "
        label, value = self.query_one("#label", Row), self.query_one("#value", Field)
        label.styles.width = len(words) + 1
        label.show(line((words, Tone.CODE)))
        value.value = str(self.form.values[place])
        value.cursor_position = len(value.value)
        value.focus()

    def _stop_editing(self) -> None:
        self._editing = -1
        self.remove_class("-editing")
        self.query_one("#form", LinesView).focus()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        """Keep what was typed and go on to the next field, which opens where it is typed into."""
        event.stop()
        place, form = self._editing, self.query_one("#form", LinesView)
        if place < 0 or not self.waits:
            return
        self.form.put(place, event.value)
        self._stop_editing()
        refs = form.refs
        at = refs.index(f"field:{place}") + 1 if f"field:{place}" in refs else len(refs)
        self.refresh_case()
        if at < len(refs):
            form.pick(refs[at])
            if (following := self.form.typed_field(refs[at])) >= 0:
                self._edit(following)
        self._draw_answers()
