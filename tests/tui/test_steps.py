"""The steps of a replay: every event belongs to one, in order, and a person can tell what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assistant.domain import event as ev
from assistant.tui.quotes import readable
from assistant.tui.steps import Show, grouped, step_text
from tests.tui import fixture

PAYLOADS = [*fixture.investigation(), *fixture.outcome()]


@given(st.lists(st.sampled_from(PAYLOADS), max_size=60))
def test_steps_cover_every_event_once_whatever_the_order(payloads: list[ev.Payload]) -> None:
    events = fixture.numbered(payloads)
    for show in (Show.STEPS, Show.EVENTS):
        covered = [n for step in grouped(events, show) for n in range(step.first, step.last + 1)]
        assert covered == list(range(1, len(events) + 1))


def test_a_session_is_a_dozen_steps_that_name_question_reads_cause_and_change() -> None:
    steps = grouped(fixture.whole(), Show.STEPS)
    said = [step_text(step) for step in steps]
    assert len(said) <= 13 < len(fixture.whole())
    assert said[1].startswith("you ask: ")
    assert "5 reads, 1 FAILED  E1..E4" in said
    assert any("findings F1 F2, 2 remedies" in each for each in said)
    assert any("sent, " in each and "applied (HTTP 200)" in each for each in said)


def test_the_filter_for_changes_keeps_what_decided_and_drops_the_reads() -> None:
    said = " | ".join(step_text(step) for step in grouped(fixture.whole(), Show.CHANGES))
    for words in ("APPROVED by alice", "proposed", "check: fixed"):
        assert words in said
    assert "reads" not in said


def test_a_failed_read_is_red_and_alone_keeps_its_name() -> None:
    events = fixture.numbered([ev.ToolStarted("k", "get", "get secret db"), ev.ToolEnded("k", False, "403", 0.1)])
    (step,) = grouped(events, Show.STEPS)
    assert step_text(step) == "get secret db, 1 FAILED"


class TestQuotes:
    def test_json_loses_marks_and_escapes(self) -> None:
        quote = '"image": "reg/web:5" … "waiting": { "reason": "BackOff", "message": "pulling \\"reg/web:5\\" x" }'
        assert readable(quote) == 'image: reg/web:5 … waiting: reason: BackOff, message: pulling "reg/web:5" x'

    def test_a_cut_string_is_still_unescaped(self) -> None:
        assert readable('"message": "pulling \\"reg/we') == 'message: pulling "reg/we'

    def test_log_lines_keep_every_quotation_mark(self) -> None:
        text = 'FATAL config: key "host": missing'
        assert readable(text) == text

    @given(st.text(max_size=300))
    def test_any_text_gives_one_line_and_no_error(self, text: str) -> None:
        assert "\n" not in readable(text)
        assert "\n" not in readable(f'"a": "{text}')
