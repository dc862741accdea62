"""What people see of a language model: the board and its marks, opinions, calls, price, claims that nothing carries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.finding import Verdict
from assistant.domain.hypothesis import Mark
from assistant.tui.app import PilothouseApp
from assistant.tui.lines import Line, Tone, line, row_count, wrap
from assistant.tui.markdown import markdown_lines
from assistant.tui.overlays import TextScreen
from assistant.tui.panes import finding_item, identity_line, tab_line, tab_lines
from assistant.tui.ports import Recording
from assistant.tui.quotes import spread
from assistant.tui.replay import ReplayScreen
from assistant.tui.steps import Show, grouped, step_text
from assistant.tui.transcript import Transcript
from assistant.tui.view import LinesView
from tests.tui import fixture
from tests.tui.screens import built, settled
from tests.tui.scripted import StillClock
from tests.tui.test_screens import screen_text

HOSTILE = "\x1b[2J\u202eevil\u200b"
SIZES = [(80, 24), (120, 36)]


def transcript(payloads: list[ev.Payload], shown: Transcript | None = None) -> list[Line]:
    return (shown or Transcript(markdown_lines)).lines(fixture.case_of(payloads), fixture.START)


def text_of(lines: list[Line]) -> str:
    return "\n".join(each.text for each in lines)


class TestBoard:
    @pytest.mark.parametrize("size", SIZES)
    async def test_hypotheses_are_struck_pinned_and_taken_back_while_the_turn_runs(self, size: tuple[int, int]) -> None:
        clock = StillClock()
        app, session = built(clock)
        session.emit(*fixture.thinking()[1:])
        async with app.run_test(size=size) as pilot:
            await settled(pilot, clock)
            await pilot.press("tab", "5")
            await settled(pilot, clock)
            text = screen_text(app)
            for words in ("[Board 3]", "H1 Revision 14 dropped", "for E3 E4", "against E3", "by expert", "s strikes",
                          "by large-2026-10", "decides: the secret's keys", "working: ask large"):  # fmt: skip
                assert words in text, words
            await pilot.press("s", "j", "m", "m", "m", "k", "s")
            await settled(pilot, clock)
            assert [(each.id, each.mark) for each in session.case.board] == [
                ("H1", Mark.OPEN), ("H2", Mark.PINNED), ("H3", Mark.OPEN),
            ]  # fmt: skip
            assert "H2 PINNED The database host moved" in " ".join(screen_text(app).split())
            await pilot.press("s")
            await settled(pilot, clock)
            assert "H1 STRUCK" in screen_text(app)
            assert session.case.running and session.stopped == []

    async def test_marks_need_a_hypothesis_and_a_refused_mark_is_said(self) -> None:
        clock = StillClock()
        app, session = built(clock)
        session.emit(*fixture.thinking()[1:])
        async with app.run_test(size=(120, 36)) as pilot:
            await settled(pilot, clock)
            await pilot.press("tab", "s")
            await settled(pilot, clock)
            assert session.marked == []
            assert "choose a hypothesis on the board first (5)" in screen_text(app)
            await pilot.press("5")
            await settled(pilot, clock)
            items = app.screen.query_one("#items", LinesView)
            session.emit(ev.BoardMade(()))
            items.cursor = "hypothesis:H1"
            await pilot.press("m")
            await settled(pilot, clock)
            assert session.marked == [], "it is not on the board any more"

    async def test_an_opened_hypothesis_shows_its_first_evidence(self) -> None:
        clock = StillClock()
        app, session = built(clock)
        session.emit(*fixture.thinking()[1:])
        async with app.run_test(size=(120, 36)) as pilot:
            await settled(pilot, clock)
            await pilot.press("tab", "5")
            await settled(pilot, clock)
            assert "for E3 13:41:02 FATAL" in " ".join(screen_text(app).split())
            await pilot.press("enter")
            await settled(pilot, clock)
            assert isinstance(app.screen, TextScreen)
            assert "Evidence E3" in screen_text(app)

    async def test_a_mark_after_the_turn_is_noted_and_says_that_it_changes_nothing(self) -> None:
        clock = StillClock()
        app, session = built(clock)
        session.emit(*fixture.thought()[1:-2], ev.TurnEnded(1))
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot, clock)
            await pilot.press("tab", "5", "m")
            await settled(pilot, clock)
            assert session.marked == [("H1", Mark.PINNED)]
            assert "the turn is over" in screen_text(app)

    def test_an_empty_board_says_what_it_is_for(self) -> None:
        text = text_of(tab_lines(Case(), 4, fixture.START))
        assert "Nothing is on the board." in text and "Strike one (s)" in text and "pin one (m)" in text

    @given(st.integers(0, 4), st.integers(36, 120))
    def test_all_tabs_have_a_name_at_every_width(self, chosen: int, width: int) -> None:
        row = tab_line(fixture.case_of(fixture.thought()), chosen, width).text
        assert all(name in row for name in ("Evidence", "Findings", "Changes", "Plan", "Board"))
        assert row.count("[") == 1
        assert len(row) <= max(width, 44)


class TestOpinion:
    def test_the_experts_answer_stands_whole_while_the_model_thinks(self) -> None:
        text = text_of(transcript(fixture.thinking()))
        assert "the expert says (the model still thinks)" in text
        assert "Not ruled out: a rotation of the secret" in text
        assert "tab, 5: what it might be" in text

    def test_once_the_answer_is_there_the_opinion_is_one_line_that_opens(self) -> None:
        shown = Transcript(markdown_lines)
        text = text_of(transcript(fixture.thought(), shown))
        assert "> the expert said  fault" in text and "Both minds agree" in text
        assert "Not ruled out: a rotation" not in text and "still thinks" not in text
        case = fixture.case_of(fixture.thought())
        ref = next(f"entry:{e.seq}" for e in case.transcript if isinstance(e.payload, ev.OpinionGiven))
        shown.turn_over(ref, case)
        assert "Not ruled out: a rotation" in text_of(shown.lines(case, fixture.START))
        shown.turn_over(ref, case)
        assert text_of(shown.lines(case, fixture.START)) == text

    def test_a_verdict_that_differs_is_said_where_the_opinion_folds(self) -> None:
        course = [
            replace(each, verdict=Verdict.UNDETERMINED) if isinstance(each, ev.Answered) else each
            for each in fixture.thought()
        ]
        assert "the expert said  fault  the answer differs: undetermined" in text_of(transcript(course))

    def test_a_turn_that_was_stopped_keeps_the_opinion_open_because_it_is_all_there_is(self) -> None:
        text = text_of(transcript([*fixture.thinking(), ev.Stopped("stopped by you")]))
        assert "the expert says" in text and "still thinks" not in text and "Not ruled out: a rotation" in text

    def test_opinions_of_earlier_turns_stay_folded(self) -> None:
        text = text_of(transcript([*fixture.thought(), ev.TurnEnded(1), *fixture.thinking()[1:]]))
        assert text.count("the expert said  fault") == 1 and text.count("still thinks") == 1


class TestCalls:
    def test_a_call_is_one_line_with_who_answered_where_tokens_price_and_time(self) -> None:
        lines = transcript(fixture.thought())
        call = next(each for each in lines if each.text.startswith("> model large-2026-10"))
        for words in ("(asked large)", "diagnose", "gateway.example", "7.4k tok", "$0.01", "3.4 s"):
            assert words in call.text, words
        assert "ask large" not in text_of(lines), "the running call gives way to what is known of it"
        warned = [part for each in lines for part in each.parts if part[1] is Tone.WARN]
        assert any("cut: more than 60,000 characters" in text for text, _ in warned)
        assert "price unknown" in text_of(lines)

    def test_a_failed_call_says_why_and_a_running_one_what_it_waits_for(self) -> None:
        running = [*fixture.thinking(), ev.ToolWaiting("c6", "HTTP 429", 4.0)]
        text = text_of(transcript(running))
        assert "ask large  diagnose" in text and "HTTP 429" in text
        failed = [*running, ev.ToolEnded("c6", False, "no answer", 4.0), fixture.called(failed="HTTP 503 three times")]
        text = text_of(transcript(failed))
        assert "FAILED" in text and "failed: HTTP 503 three times" in text and "no answer" not in text

    def test_a_call_of_which_nothing_more_is_known_keeps_its_line(self) -> None:
        text = text_of(transcript([*fixture.thinking(), ev.ToolEnded("c6", False, "the turn was stopped", 4.0)]))
        assert "ask large  diagnose" in text and "the turn was stopped" in text

    async def test_space_shows_the_detail_of_a_call_and_enter_what_was_sent_and_what_came(self) -> None:
        clock = StillClock()
        app, session = built(clock)
        session.emit(*fixture.thought()[1:-2], ev.TurnEnded(1))
        async with app.run_test(size=(120, 36)) as pilot:
            await settled(pilot, clock)
            await pilot.press("tab")
            view = app.screen.query_one("#transcript", LinesView)
            call = next(each.ref for each in view.lines if each.text.startswith("> model large"))
            view.pick(call)
            await pilot.press("space")
            await settled(pilot, clock)
            text = screen_text(app)
            for words in ("7,120 sent, 310 received", "$0.0121", "diagnoser 1f3a", fixture.called().prompt_digest[:12]):
                assert words in text, words
            await pilot.press("enter")
            await settled(pilot, clock)
            assert isinstance(app.screen, TextScreen)
            text = screen_text(app)
            for words in ("You look for a cause.", "Cite evidence.", "name: checkout-env", "SENT", "CAME"):
                assert words in text, words
            await pilot.press("escape")
            session.bodies.clear()
            await pilot.press("enter")
            await settled(pilot, clock)
            assert "not in the store" in screen_text(app)

    @pytest.mark.parametrize(
        ("calls", "wide", "narrow"),
        [
            ([], "", ""),
            ([fixture.called(prompt_tokens=500, completion_tokens=90)], "590 tok  $0.01", "590 $0.01"),
            ([fixture.called(cost_usd=0.001)], "7.4k tok  <$0.01", "7.4k <$0.01"),
            ([fixture.called(cost_usd=-1.0)], "7.4k tok  price unknown", "7.4k $?"),
            ([fixture.called(), fixture.called(cost_usd=-1.0)], "14.9k tok  $0.01 + 1 unpriced", "14.9k $0.01+"),
        ],
    )
    def test_the_identity_row_names_model_tokens_and_money_once_a_model_was_called(
        self, calls: list[ev.Payload], wide: str, narrow: str
    ) -> None:
        case = fixture.case_of([*fixture.investigation()[:2], *calls])
        row = identity_line(case, fixture.START, 140).text
        assert wide in row and ("model large-2026-10" in row) == bool(calls) and ("mind expert" in row) != bool(calls)
        row = identity_line(case, fixture.START, 80).text
        assert narrow in row and ("$" in row) == bool(calls)


class TestClaims:
    def test_a_claim_that_nothing_carries_says_so_in_pane_and_transcript(self) -> None:
        case = fixture.case_of(fixture.thought())
        text = text_of(tab_lines(case, 1, fixture.START))
        assert "unsupported: no evidence is cited" in text
        assert "by expert and large" in text and "by large-2026-10" in text
        said = text_of(transcript(fixture.thought()))
        assert said.index("unsupported: no evidence is cited") > said.index("Both minds agree")
        assert "F3 The secret was rotated and the login fails." in said

    def test_it_still_says_so_when_a_later_turn_has_other_findings(self) -> None:
        later = [*fixture.thought(), ev.TurnEnded(1), ev.Asked(2, "and now?", "payments"), ev.FindingsRanked(())]
        assert text_of(transcript(later)).count("unsupported: no evidence is cited") == 1

    def test_who_claims_it_is_named_only_where_it_is_not_the_turns_mind(self) -> None:
        finding = fixture.case_of(fixture.investigation()).findings[0]
        assert "by expert" not in text_of(finding_item(finding))
        assert "by expert" in text_of(finding_item(finding, "large"))

    def test_hostile_text_of_a_model_is_shown_as_marks(self) -> None:
        case = fixture.case_of(fixture.thought())
        board = tuple(replace(each, cause=HOSTILE, decides=HOSTILE, by=HOSTILE) for each in case.board)
        course: list[ev.Payload] = [
            ev.Asked(1, "q", ""), ev.BoardMade(board), ev.OpinionGiven(HOSTILE, Verdict.FAULT, HOSTILE),
            fixture.called(HOSTILE, model=HOSTILE, asked=HOSTILE + "x", endpoint=HOSTILE, cut=HOSTILE),
            ev.FindingsRanked((replace(case.findings[2], unsupported=HOSTILE, by=HOSTILE),)),
        ]  # fmt: skip
        hostile = fixture.case_of(course)
        shown = Transcript(markdown_lines)
        shown.turn_over("entry:4", hostile)
        text = text_of([*shown.lines(hostile, fixture.START), *tab_lines(hostile, 4, fixture.START)])
        assert "evil" in text and not {"\x1b", "\u202e", "\u200b"} & set(text)


class TestReplay:
    async def test_board_opinion_and_calls_are_replayed_with_what_was_sent(self) -> None:
        clock = StillClock()
        begun = fixture.thinking()
        struck = ev.HypothesisMarked("H3", Mark.STRUCK)
        events = fixture.numbered([*begun, struck, *fixture.thought()[len(begun) :]])
        app = PilothouseApp(recording=Recording("s", events, fixture.BODIES.__getitem__), clock=clock)
        async with app.run_test(size=(120, 36)) as pilot:
            await settled(pilot, clock)
            screen = app.screen
            assert isinstance(screen, ReplayScreen)
            place = next(n for n, each in enumerate(events, 1) if isinstance(each.payload, ev.ModelCalled))
            screen.player.jump(place)
            screen.refresh_case()
            await settled(pilot, clock)
            text = screen_text(app)
            for words in ("model large-2026-10 diagnose", "7,120 sent", "might be H1 H2 H3", "the expert says: fault"):
                assert words in text, words
            assert "H3 STRUCK" in text_of(list(screen.query_one("#state", LinesView).lines))
            await pilot.press("enter")
            await settled(pilot, clock)
            assert "You look for a cause." in screen_text(app)

    def test_a_call_of_a_model_is_one_step_and_no_read(self) -> None:
        said = [step_text(step) for step in grouped(fixture.numbered(fixture.thought()), Show.STEPS)]
        assert "5 reads, 1 FAILED  E1..E4" in said
        assert "model large-2026-10 diagnose, 7.4k tok, $0.01" in said
        assert "get configmap checkout-env  E5" in said
        assert "model small diagnose, 8.5k tok, price unknown, cut: more than 60,000 characters" in said


@given(st.integers(1, 20), st.integers(0, 6), st.integers(40, 90))
def test_a_line_takes_the_rows_that_are_counted_for_it(right: int, free: int, width: int) -> None:
    text = ("ab " * 40)[: width - right - free]
    given_line = line(text, right=["x" * right])
    assert row_count(given_line, width) == len(wrap(given_line, width))


class TestTexts:
    def test_json_is_spread_into_rows_with_its_line_feeds(self) -> None:
        assert spread('{"a": [{"b": "x\\ny", "c": 1}, "d"], "e": {}, "f": []}') == [
            "a:", "  - b:", "      x", "      y", "    c: 1", "  - d", "e: {}", "f: []",
        ]  # fmt: skip

    @given(st.text(max_size=200))
    def test_any_other_text_keeps_its_lines(self, text: str) -> None:
        assert "".join(spread(text + "{")) == (text + "{").replace("\n", "")

    def test_a_text_nested_beyond_reason_is_shown_as_it_is(self) -> None:
        deep = "[" * 100_000
        assert spread(deep) == [deep]
