"""The screens as a person uses them: sizes, keys, following, steering, sessions, replay, failures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.app import ComposeResult

from assistant.domain import event as ev
from assistant.errors import ClusterError
from assistant.tui.app import PilothouseApp
from assistant.tui.approvals import ApprovalsScreen
from assistant.tui.caseview import CaseBody
from assistant.tui.heldcall import HeldCallScreen
from assistant.tui.investigate import InvestigateScreen
from assistant.tui.keys import KEYS, Place, as_markdown, clashes
from assistant.tui.lines import Tone, line
from assistant.tui.overlays import ChooserScreen, TextScreen, help_lines
from assistant.tui.ports import Recording, SessionLike
from assistant.tui.question import QuestionScreen
from assistant.tui.replay import ReplayScreen
from assistant.tui.review import ReviewScreen
from assistant.tui.servers import ServersScreen
from assistant.tui.sessions import SessionsScreen
from assistant.tui.themes import PALETTES
from assistant.tui.transcript import Transcript
from assistant.tui.view import LinesView
from tests.tui import fixture
from tests.tui.screens import INCIDENTS, built, settled
from tests.tui.scripted import MemoryLibrary, ScriptedSession, StillClock

ROOT = Path(__file__).parents[2]
SIZES = [(80, 24), (120, 36), (200, 50)]


def screen_text(app: PilothouseApp) -> str:
    """The rows of the screen in front as text."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", SIZES)
async def test_investigate_shows_question_answer_evidence_and_what_waits(size: tuple[int, int]) -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        text = screen_text(app)
        for words in ("prod-eu-1", "PROD", "payments", "alice", "REC", "f2", "proposed change", "Not ruled out"):
            assert words in text, words
        await pilot.press("escape", "g", "g")
        await settled(pilot, clock)
        assert "FAILED" in screen_text(app) or size[1] < 30


@pytest.mark.parametrize("size", [*SIZES, (60, 16), (40, 10), (20, 5), (10, 3)])
async def test_identity_and_waiting_count_stay_on_every_screen_and_size(size: tuple[int, int]) -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=size) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        for mode in ("investigate", "approvals", "sessions"):
            app.switch(mode)
            await settled(pilot, clock)
            text = screen_text(app)
            assert "prod-eu"[: size[0] - 5] in text
            if size[0] >= 20:
                assert "PROD" in text
                assert "f2" in text
            if size[0] < 60:
                assert "Too small"[: size[0]] in text


async def test_resizing_keeps_the_place_and_every_word() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        view = app.screen.query_one("#transcript", LinesView)
        before = [each.text for each in view.lines]
        await pilot.press("escape", "g", "g")
        await pilot.resize_terminal(80, 24)
        await settled(pilot, clock)
        assert [each.text for each in view.lines] == before
        assert view.scroll_offset.y == 0


async def test_lines_that_change_while_they_are_hidden_are_laid_out_when_they_come_back() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        view = app.screen.query_one("#items", LinesView)
        view.show([line(f"row {n}") for n in range(30)])
        await pilot.pause()
        view.display = False
        await pilot.pause()
        view.show([line("the only row")])
        await pilot.pause()
        view.display = True
        await pilot.pause()
        assert "the only row" in screen_text(app)
        assert "row 7" not in screen_text(app)


async def test_scrolled_up_text_stays_while_more_arrives_and_says_how_to_return() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        await pilot.press("escape", "k", "k", "k")
        await settled(pilot, clock)
        view = app.screen.query_one("#transcript", LinesView)
        place = view.scroll_offset.y
        for number in range(30):
            session.emit(ev.Noted(f"note {number}"))
        await pilot.pause(0.2)
        await settled(pilot, clock)
        assert view.scroll_offset.y == place
        assert "new lines  G" in screen_text(app)
        await pilot.press("G")
        await settled(pilot, clock)
        assert "note 29" in screen_text(app)


async def test_escape_stops_a_running_turn_with_one_press_and_keeps_the_text() -> None:
    clock = StillClock()
    app, session = built(clock)
    session.answers = fixture.investigation()[2:5]
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await pilot.press(*"half a thou")
        await settled(pilot, clock)
        assert "esc stops" in screen_text(app)
        await pilot.press("escape")
        await settled(pilot, clock)
        assert session.stopped == ["stopped by you"]
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == "half a thou"


async def test_text_sent_while_a_turn_runs_steers_it() -> None:
    clock = StillClock()
    app, session = built(clock)
    session.answers = fixture.investigation()[2:5]
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await pilot.press(*"look at dns", "enter")
        await settled(pilot, clock)
        assert session.steered == ["look at dns"]
        assert session.asked == [fixture.QUESTION]


async def test_text_typed_before_the_session_exists_is_sent_when_it_does() -> None:
    import asyncio

    clock = StillClock()
    gate = asyncio.Event()
    session = ScriptedSession(clock)

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        await gate.wait()
        return session

    app = PilothouseApp(connect, clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"why", "enter")
        assert session.asked == []
        gate.set()
        await settled(pilot, clock)
        assert session.asked == ["why"]


async def test_ctrl_c_never_quits_and_multi_line_history_works() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await pilot.press("ctrl+c", "ctrl+c")
        assert app.is_running
        await pilot.press("a", "ctrl+j", "b", "enter")
        await settled(pilot, clock)
        assert session.asked == ["a\nb"]
        await pilot.press("up")
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == "a\nb"


async def test_no_cluster_says_what_to_do_and_offers_practice() -> None:
    clock = StillClock()

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        if not incident:
            raise ClusterError("No cluster answers.", "Check the VPN.", detail="dial tcp")
        return ScriptedSession(clock)

    app = PilothouseApp(connect, practice=INCIDENTS, clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        text = screen_text(app)
        assert "No cluster answers." in text
        assert "Check the VPN." in text
        await pilot.press("escape", "exclamation_mark")
        await settled(pilot, clock)
        assert "dial tcp" in screen_text(app)
        await pilot.press("escape", "c")
        await settled(pilot, clock)
        assert isinstance(app.screen, ChooserScreen)
        await pilot.press("j", "enter")
        await settled(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == INCIDENTS[1].symptom


async def test_with_nothing_open_the_screen_says_so_and_a_question_waits_for_its_cluster() -> None:
    clock = StillClock()
    opened: list[ScriptedSession] = []

    async def connect(incident: str = "", resume: str = "") -> SessionLike:
        opened.append(ScriptedSession(clock))
        return opened[-1]

    app = PilothouseApp(connect, practice=INCIDENTS, choose=True, clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        await pilot.press("escape")
        await settled(pilot, clock)
        text = screen_text(app)
        assert "Nothing is open." in text
        assert "connecting" not in text
        await pilot.press(*"why is it slow", "enter")
        await settled(pilot, clock)
        assert isinstance(app.screen, ChooserScreen)
        await pilot.press("enter")
        await settled(pilot, clock)
        assert isinstance(app.screen, InvestigateScreen)
        assert app.screen.prompt.text == "why is it slow"
        assert opened[0].asked == [], "a text typed before a cluster was chosen is not sent to it unseen"
        await pilot.press("enter")
        await settled(pilot, clock)
        assert opened[0].asked == ["why is it slow"]


async def test_evidence_opens_whole_with_the_quoted_line_marked() -> None:
    clock = StillClock()
    app, session = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        await settled(pilot, clock)
        await pilot.press("escape", "1", "j", "j", "o")
        await settled(pilot, clock)
        assert isinstance(app.screen, TextScreen)
        marked = [
            each.text for each in app.screen.query_one("#text", LinesView).lines if each.parts[-1][1] is Tone.MATCH
        ]
        assert marked == ["> 13:41:02 FATAL config: DB_HOST is empty"]
        await pilot.press("slash", *"starting", "enter")
        await settled(pilot, clock)
        assert isinstance(app.screen, TextScreen)


async def test_sessions_are_searched_replayed_and_a_damaged_one_is_said() -> None:
    clock = StillClock()
    app, _ = built(clock)
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await pilot.press("escape", "g", "s")
        await pilot.pause(0.1)
        await settled(pilot, clock)
        assert isinstance(app.screen, SessionsScreen)
        await pilot.press("slash", *"backups", "enter")
        await pilot.pause(0.1)
        await settled(pilot, clock)
        assert "nightly backups" in screen_text(app)
        assert "checkout rollout in" not in screen_text(app)
        await pilot.press("escape")
        await pilot.pause(0.1)
        await pilot.press("j", "enter")
        await pilot.pause(0.1)
        await settled(pilot, clock)
        assert "damaged" in screen_text(app)
        await pilot.press("k", "enter")
        await pilot.pause(0.1)
        await settled(pilot, clock)
        assert isinstance(app.screen, ReplayScreen)


async def test_replay_answers_every_key_and_ends_at_the_live_case() -> None:
    clock = StillClock()
    app = PilothouseApp(recording=Recording("s", fixture.whole(), fixture.BODIES.__getitem__), clock=clock)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        screen = app.screen
        assert isinstance(screen, ReplayScreen)
        player = screen.player
        assert player.position == 1
        await pilot.press("full_stop", "full_stop")
        assert isinstance(player.events[2].payload, ev.PlanMade)
        assert player.position == 4, "the plan's bookkeeping belongs to its step"
        await pilot.press("comma")
        assert player.position == 2
        await pilot.press("right_square_bracket")
        marked = player.position
        assert marked in {marker.step for marker in player.markers}
        await pilot.press("left_square_bracket")
        assert player.position < marked
        await pilot.press("greater_than_sign")
        assert player.speed == 2.0
        await pilot.press("less_than_sign", "9", "j")
        assert player.position > player.length * 0.8
        await pilot.press("G")
        await settled(pilot, clock)
        assert player.case == fixture.case_of([*fixture.investigation(), *fixture.outcome()])
        assert "read only" in screen_text(app)


def test_more_than_five_reads_in_a_row_become_one_line() -> None:
    calls: list[ev.Payload] = []
    for number in range(12):
        calls += [ev.ToolStarted(f"k{number}", "list", f"list {number}"), ev.ToolEnded(f"k{number}", True, "ok", 0.1)]
    case = fixture.case_of([*fixture.investigation()[:2], *calls, ev.Noted("then")])
    shown = Transcript(lambda text, ref: [])
    text = [each.text for each in shown.lines(case, fixture.START)]
    assert any("12 reads, 0 failed" in row for row in text)
    shown.folds.toggle("run:k0", False)
    assert any("list 11" in each.text for each in shown.lines(case, fixture.START))


def test_failures_unfold_by_themselves_and_reads_do_not() -> None:
    case = fixture.case_of(fixture.investigation())
    text = "\n".join(each.text for each in Transcript(lambda text, ref: []).lines(case, fixture.START))
    assert "403 forbidden: alice may not get secrets" in text
    assert "FATAL" not in text


# Keys ------------------------------------------------------------------------------------------------------------


def test_no_key_means_two_things_in_one_place() -> None:
    for place in Place:
        assert clashes([place]) == []
        assert clashes([place, Place.ANYWHERE]) in ([], ["escape"])


def test_every_binding_has_a_text_and_an_action() -> None:
    screens = {
        Place.INVESTIGATE: InvestigateScreen, Place.APPROVALS: ApprovalsScreen, Place.SESSIONS: SessionsScreen,
        Place.SERVERS: ServersScreen, Place.REVIEW: ReviewScreen, Place.CALL: HeldCallScreen,
        Place.QUESTION: QuestionScreen, Place.REPLAY: ReplayScreen, Place.CHOOSER: ChooserScreen,
        Place.TEXT: InvestigateScreen, Place.ANYWHERE: PilothouseApp,
    }  # fmt: skip
    for key in KEYS:
        assert key.text
        if not key.by_screen:
            assert hasattr(screens[key.place], f"action_{key.name}"), key.name


def test_help_lists_every_key_of_the_screen() -> None:
    text = "\n".join(each.text for each in help_lines(Place.APPROVALS))
    for key in KEYS:
        if key.place in (Place.APPROVALS, Place.TEXT, Place.ANYWHERE):
            assert key.text in text


def test_the_key_page_is_made_from_the_registry() -> None:
    assert (ROOT / "docs" / "keys.md").read_text() == as_markdown()


# Colours ---------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", PALETTES)
def test_every_tone_is_readable_on_its_theme(name: str) -> None:
    palette = PALETTES[name]
    for tone in Tone:
        colours = re.findall(r"#[0-9a-f]{6}", palette.style(tone))
        backs = colours[1:] or [palette.background, palette.surface]
        for back in backs:
            light, dark = sorted((luminance(colours[0]), luminance(back)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (tone, back)


async def test_no_color_gets_a_theme_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = PilothouseApp(library=MemoryLibrary(), clock=StillClock())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert app.theme == "pilothouse-mono"
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                if segment.text.strip() and segment.style is not None and segment.style.color and segment.style.bgcolor:
                    assert segment.style.color != segment.style.bgcolor


async def test_text_typed_during_the_first_frame_is_shown_and_arrives_in_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = StillClock()
    app, session = built(clock)
    monkeypatch.setattr(InvestigateScreen, "on_mount", lambda self: None)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.screen
        assert isinstance(screen, InvestigateScreen)
        await pilot.press(*"whx", "backspace", *"y: a?", "enter", *"next")
        assert "why: a?next" in screen_text(app)
        assert session.asked == []
        await screen._furnish()
        await settled(pilot, clock)
        assert session.asked == ["why: a?"]
        assert screen.prompt.text == "next"


async def test_a_tick_while_the_panes_take_the_first_frames_place_draws_on_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = StillClock()
    app, _ = built(clock)
    ticks: list[str] = []
    compose = CaseBody.compose

    def tick(body: CaseBody) -> ComposeResult:
        ticks.append(str(body.id))
        app.draw()
        return compose(body)

    monkeypatch.setattr(CaseBody, "compose", tick)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, clock)
        assert ticks == ["body"]
        assert "ask what is wrong" in screen_text(app)


@pytest.mark.parametrize("mode", ["investigate", "approvals", "sessions"])
async def test_a_tick_while_the_app_ends_draws_on_no_screen_that_is_being_taken_down(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StillClock()
    app, session = built(clock)
    ticks: list[str] = []

    def tick(view: LinesView) -> None:
        # While one part goes, others are gone already, and the app's timers still run.
        ticks.append(str(view.id))
        app.draw()
        app.tell("ended")

    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot, clock)
        await session.ask(fixture.QUESTION)
        app.switch_mode(mode)
        await settled(pilot, clock)
        monkeypatch.setattr(LinesView, "on_unmount", tick, raising=False)
    assert ticks, "no tick fell into the taking down"
