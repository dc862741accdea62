"""A question of an MCP server: its form works by keyboard, names the server all the time, and is never an approval."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.screen import ModalScreen

from assistant.domain import event as ev
from assistant.domain.asking import Choice, Field, FieldKind, Reply
from assistant.errors import UsageError
from assistant.policy.sanitize import cell_width
from assistant.tui.address import address_lines, host_of, warnings
from assistant.tui.app import PilothouseApp
from assistant.tui.arming import SETTLE_SECONDS
from assistant.tui.form import Form
from assistant.tui.heldcall import HeldCallScreen
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import KEYS
from assistant.tui.lines import as_text
from assistant.tui.question import QuestionScreen
from assistant.tui.words import BAR, said
from tests.tui import fixture, foreign
from tests.tui.screens import built, settled
from tests.tui.scripted import ScriptedSession, StillClock
from tests.tui.test_screens import screen_text

SIZES = [(80, 24), (120, 36)]
ESC = chr(27)
Opened = tuple[PilothouseApp, Pilot[int], ScriptedSession, StillClock]
CARD = (
    "\n" * 40 + " APPROVE A CHANGE  A1  1 of 1    expires in 04:31\n" + "-" * 78 + "\n[ a approve ]   [ d deny ]\n"
    f"{ESC}[2J{ESC}]52;c;QUJD{chr(7)}[@click=app.leave]approve[/] \u202egnissim\n"
)  # fmt: skip


@asynccontextmanager
async def asking(
    *questions: ev.QuestionPut, size: tuple[int, int] = (120, 36), settle: bool = True
) -> AsyncIterator[Opened]:
    """An app whose screen shows a question that waits."""
    clock = StillClock()
    app, session = built(clock)
    session.emit(*fixture.investigation()[1:4], *(questions or (foreign.question(),)))
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await pilot.press("f3")
        await pilot.pause()
        if settle:
            await settled(pilot, clock)
        assert isinstance(app.screen, QuestionScreen)
        yield app, pilot, session, clock


FIELDS_FILLED = ("enter", *"Ada", "enter", "enter", "enter", "enter")


@pytest.mark.parametrize("size", SIZES)
async def test_all_kinds_of_fields_are_filled_in_by_keyboard_and_sent_after_a_second_key(size: tuple[int, int]) -> None:
    async with asking(size=size) as (app, pilot, session, clock):
        await pilot.press("enter", *"Ada", "enter", "backspace", "7", "enter", *"0.5", "enter")
        await pilot.press("j", "enter", "j", "j", "space", "j", "space", "j", "j", "space")
        await settled(pilot, clock)
        await pilot.press("ctrl+s")
        assert session.asking.replied == []
        text = screen_text(app)
        assert "enter sends to notes" in text
        assert "Your name = Ada" in text
        await pilot.press("enter")
        await settled(pilot, clock)
        values = {"name": "Ada", "age": "7", "share": "0.5", "public": "no", "size": "l", "tags": ("db", "ops")}
        assert session.asking.replied == [("Q7.1", Reply.ACCEPT, values)]
        assert isinstance(app.screen, InvestigateScreen)


@pytest.mark.parametrize("size", SIZES)
async def test_it_names_the_server_warns_of_secrets_and_has_nothing_of_an_approval(size: tuple[int, int]) -> None:
    async with asking(size=size) as (app, _, _session, _clock):
        text = screen_text(app)
        for words in ("MCP SERVER notes ASKS", "in its own words", "Never type a password", "needed", "PROD"):
            assert words in text, words
        for words in ("approve", "Approve", "APPROVE", "allow once", "deny", "diff"):
            assert words not in text, words


async def test_what_is_needed_and_what_is_no_number_is_said_before_it_is_sent() -> None:
    async with asking() as (app, pilot, session, _clock):
        await pilot.press("ctrl+s", "ctrl+s")
        assert "“Your name” is needed." in screen_text(app)
        await pilot.press("enter", *"Ada", "enter", *"x", "enter", "enter", "space", "ctrl+s")
        assert "“Pages” takes a whole number." in screen_text(app)
        await pilot.press("ctrl+s", "enter")
        assert session.asking.replied == []


async def test_what_the_server_does_not_take_is_said_beside_the_form_and_it_still_waits() -> None:
    async with asking() as (app, pilot, session, clock):
        session.asking.refuses = UsageError("“Your name” is longer than 40 characters.", "Shorten it.")
        await pilot.press(*FIELDS_FILLED, "ctrl+s", "enter")
        await settled(pilot, clock)
        assert "longer than 40 characters" in screen_text(app)
        assert isinstance(app.screen, QuestionScreen)
        session.asking.refuses = None
        await pilot.press("ctrl+s", "enter")
        await settled(pilot, clock)
        assert [each[1] for each in session.asking.replied] == [Reply.ACCEPT]
        assert session.asking.replied[0][2]["name"] == "Ada"


async def test_no_single_key_sends_an_answer() -> None:
    keys = {k for key in KEYS for k in key.keys} | set(string.printable[:95]) | {"enter", "space", "f5", "delete"}
    keys -= {"ctrl+q", " ", "escape", "ctrl+x"}
    bare = foreign.question(fields=(), message="Delete everything?")
    async with asking(bare) as (app, pilot, session, clock):
        for key in sorted(keys):
            while isinstance(app.screen, ModalScreen):
                app.pop_screen()
            app.switch("question")
            await settled(pilot, clock)
            assert isinstance(app.screen, QuestionScreen), key
            app.screen.disarm()
            await pilot.press(key)
        assert session.asking.replied == []


async def test_letters_typed_on_after_the_last_field_answer_nothing() -> None:
    one = foreign.question(fields=(Field("name", "Your name", FieldKind.TEXT),))
    async with asking(one) as (app, pilot, session, _clock):
        await pilot.press("enter", *"Ada", "enter", *"Xaddfy", "enter", "escape")
        assert session.asking.replied == []
        assert isinstance(app.screen, QuestionScreen)


async def test_keys_typed_before_and_just_after_it_opened_never_answer_it() -> None:
    async with asking(foreign.question(fields=()), settle=False) as (_, pilot, session, clock):
        await pilot.press("ctrl+s", "enter", "escape", "ctrl+x")
        clock.advance(SETTLE_SECONDS / 2)
        await pilot.press("ctrl+s", "enter", "escape", "ctrl+x")
        assert session.asking.replied == []
        clock.advance(SETTLE_SECONDS)
        await pilot.press("enter")
        assert session.asking.replied == []


async def test_decline_and_no_answer_are_told_apart_and_send_no_value() -> None:
    async with asking(foreign.question(), foreign.question("Q8.2")) as (app, pilot, session, clock):
        assert "1 of 2" in screen_text(app)
        await pilot.press("ctrl+x", "ctrl+x", "escape")
        await settled(pilot, clock)
        assert [each[:2] for each in session.asking.replied] == [("Q7.1", Reply.DECLINE)]
        await pilot.press("escape")
        await settled(pilot, clock)
        assert session.asking.replied[1:] == [("Q8.2", Reply.CANCEL, {})]
        assert isinstance(app.screen, InvestigateScreen)


async def test_escape_leaves_a_field_first_and_asks_before_it_throws_away_what_was_typed() -> None:
    async with asking() as (app, pilot, session, _clock):
        await pilot.press("enter", *"Ada", "escape")
        assert "(empty)" in screen_text(app)
        await pilot.press("enter", *"Ada", "enter", "escape")
        await pilot.press("escape")
        assert session.asking.replied == []
        assert "esc again" in screen_text(app)
        await pilot.press("j", "escape")
        assert session.asking.replied == []
        await pilot.press("escape")
        assert [each[1] for each in session.asking.replied] == [Reply.CANCEL]


async def test_what_was_filled_in_is_kept_while_one_looks_elsewhere() -> None:
    async with asking() as (app, pilot, session, clock):
        await pilot.press("enter", *"Ada", "enter", "escape", "g", "i")
        await settled(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)
        await pilot.press("f3")
        await settled(pilot, clock)
        assert "= Ada" in screen_text(app)
        assert session.asking.replied == []


async def test_a_question_that_ends_while_it_is_filled_in_says_so_and_sends_nothing() -> None:
    async with asking() as (app, pilot, session, clock):
        await pilot.press("enter", *"Ad")
        session.emit(ev.QuestionAnswered("Q7.1", Reply.CANCEL))
        await settled(pilot, clock)
        assert "does not wait any more" in screen_text(app)
        await pilot.press("a", "enter", "ctrl+s", "enter", "ctrl+x")
        await settled(pilot, clock)
        assert session.asking.replied == []
        await pilot.press("escape")
        await settled(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)


async def test_after_a_question_the_call_that_waits_is_shown_and_gets_none_of_its_keys() -> None:
    async with asking() as (app, pilot, session, clock):
        session.emit(foreign.held())
        await pilot.press("ctrl+x", "a", "enter", "d")
        await settled(pilot, clock)
        assert isinstance(app.screen, HeldCallScreen)
        assert session.asking.decided == []


async def test_a_text_that_looks_like_a_secret_is_warned_of_before_it_is_sent() -> None:
    one = foreign.question(fields=(Field("note", "Note", FieldKind.TEXT),))
    async with asking(one) as (app, pilot, session, _clock):
        await pilot.press("enter")
        app.post_message(events.Paste("ghp_" + "a1B2" * 9))
        await pilot.pause()
        await pilot.press("enter", "ctrl+s")
        assert "LOOKS LIKE A SECRET" in screen_text(app)
        assert session.asking.replied == []


# Hostile texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (60, 16)])
@pytest.mark.parametrize("fields", [(), foreign.FIELDS])
async def test_a_hostile_message_moves_nothing_and_stays_behind_its_bar(
    size: tuple[int, int], fields: tuple[Field, ...]
) -> None:
    async with asking(foreign.question(message=CARD * 60, fields=fields), size=size) as (app, pilot, session, clock):
        for _ in range(4):
            rows = screen_text(app).split("\n")
            assert any("MCP SERVER notes ASKS YOU" in row for row in rows)
            assert any("ctrl+x decline" in row for row in rows)
            assert any("Never type" in row for row in rows)
            for row in rows:
                assert ESC not in row
                assert "\u202e" not in row
                if "APPROVE A CHANGE" in row or "a approve" in row or "d deny" in row:
                    assert BAR in row.split("approve")[0].split("APPROVE")[0].split("deny")[0]
            await pilot.press("tab", "ctrl+d", "ctrl+d")
            await settled(pilot, clock)
        await pilot.press("tab", "a", "enter", "d", "ctrl+s", "enter")
        assert session.asking.replied == []
        assert app.screen.query_one("#frame").region.bottom <= size[1]


async def test_a_message_that_was_not_read_to_its_end_locks_the_answer_but_not_the_no() -> None:
    async with asking(foreign.question(message="words\n" * 300, fields=())) as (app, pilot, session, _clock):
        await pilot.press("ctrl+s", "enter")
        assert session.asking.replied == []
        assert "Its message goes on" in screen_text(app)
        await pilot.press("ctrl+x")
        assert [each[1] for each in session.asking.replied] == [Reply.DECLINE]


async def test_hostile_names_titles_choices_and_hints_are_cut_and_shown_plainly() -> None:
    bad = f"{ESC}[31m[/x]\u202e" + "x" * 500 + "\n[ a approve ]"
    field = Field(bad, bad, FieldKind.CHOICE, bad * 40, True, (Choice(bad, bad), Choice("b", bad)), bad, bad)
    async with asking(foreign.question(server=bad, fields=(field,) * 30)) as (app, pilot, _session, clock):
        text = screen_text(app)
        assert ESC not in text
        assert "\u202e" not in text
        assert "ctrl+x decline" in text
        assert "MCP SERVER" in text
        await pilot.press("j", "j", "space", "G")
        await settled(pilot, clock)
        assert app.is_running


@given(st.text(max_size=400), st.integers(12, 90))
def test_every_row_of_foreign_text_has_its_bar_and_fits(text: str, width: int) -> None:
    for each in said(text, width):
        assert each.text.startswith(BAR)
        assert cell_width(each.text) <= width
        assert "\n" not in each.text


# Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_an_address_is_shown_whole_opens_nothing_and_is_answered_with_i_looked(size: tuple[int, int]) -> None:
    url = "https://login.xn--exmple-cua.com/auth?next=%2F" + "y" * 200 + "end"
    async with asking(foreign.question(url=url, fields=()), size=size) as (app, pilot, session, clock):
        text = screen_text(app)
        for words in ("WANTS YOU TO LOOK", "login.xn--exmple-cua.com", "login.exämple.com", "I looked at it", "end"):
            assert words in text, words
        await pilot.press("y")
        assert app.clipboard == url
        await pilot.press("enter", "ctrl+s")
        assert session.asking.replied == []
        await pilot.press("enter")
        await settled(pilot, clock)
        assert session.asking.replied == [("Q7.1", Reply.ACCEPT, {})]


@pytest.mark.parametrize(
    ("url", "host", "says"),
    [
        ("https://example.com/x", "example.com", ""),
        ("http://example.com/x", "example.com", "not https"),
        ("https://github.com@evil.example/x", "evil.example", "before the @"),
        ("https://github.com\\@evil.example/", "", "cannot be told"),
        ("https://exa mple.com/", "", "cannot be told"),
        ("https://[::1", "", "cannot be told"),
        ("javascript:alert(1)", "", "cannot be told"),
        ("https://g\u0456thub.com/", "g\u0456thub.com", "Cyrillic"),
        ("https://xn--gthub-n4a.com/", "xn--gthub-n4a.com", "plain letters"),
        ("https://127.0.0.1:8080/", "127.0.0.1", "a number"),
    ],
)  # fmt: skip
def test_the_host_and_what_deceives_about_it_are_said(url: str, host: str, says: str) -> None:
    assert host_of(url) == host
    assert says in " ".join(warnings(url))
    assert bool(says) == bool(warnings(url))
    assert address_lines(url, 70)


@given(st.text(max_size=200))
def test_no_address_breaks_the_screen(url: str) -> None:
    assert ESC not in as_text(address_lines("https://" + url, 60))


# The form alone --------------------------------------------------------------------------------------------------


def test_presets_are_taken_where_the_field_takes_them() -> None:
    choices = (Choice("a", "A"), Choice("b", "B"))
    form = Form((
        Field("t", "T", FieldKind.TEXT, preset="x"), Field("y", "Y", FieldKind.YES_NO, preset="true"),
        Field("c", "C", FieldKind.CHOICE, choices=choices, preset="z"),
        Field("m", "M", FieldKind.CHOICES, choices=choices, preset="b, a, q"),
    ))  # fmt: skip
    assert form.answers() == {"t": "x", "y": "yes", "m": ("a", "b")}
    assert not form.touched
    form.turn("option:3:0")
    form.turn("option:1:0")
    assert form.answers() == {"t": "x", "m": ("b",)}


@pytest.mark.parametrize(("kind", "value", "fits"), [
    (FieldKind.INTEGER, "3", True), (FieldKind.INTEGER, "3.5", False), (FieldKind.NUMBER, "3.5", True),
    (FieldKind.NUMBER, "nan", False), (FieldKind.NUMBER, "x", False), (FieldKind.INTEGER, "", True),
])  # fmt: skip
def test_numbers_are_checked_before_anything_is_sent(kind: FieldKind, value: str, fits: bool) -> None:
    form = Form((Field("n", "N", kind),))
    form.put(0, value)
    assert (form.trouble() == "") is fits
