"""A log in few words: within its budget, the complaint in it, nothing in it that does not stand in the log."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agents.model.logtext import BUDGET_CHARACTERS, LINE_CHARACTERS, digest, patterns

ROW = re.compile(r"(?:x\d+ \[[\d.]+\]|\d+\|) (?P<line>.*)")
OURS = ("lines, ", "more patterns are left out)", "around the latest complaint:", "its end:")


def busy(count: int) -> list[str]:
    return [
        f'2026-11-24T03:{n // 60 % 60:02}:{n % 60:02}Z level=info msg="GET /items/{n} 200" ms={n % 17}'
        for n in range(count)
    ]


def test_a_short_log_is_shown_as_it_is() -> None:
    assert digest("a\n\nb\n") == "a\n\nb"


def test_an_empty_log_is_said() -> None:
    assert digest("") == digest("\n \n") == "(the log is empty)"


def test_a_hundred_thousand_lines_are_their_patterns_and_the_complaint_with_what_stands_around_it() -> None:
    lines = busy(100_000)
    lines[60_000] = '2026-11-24T04:00:00Z level=error msg="dial tcp 10.0.0.7:5432: connection refused"'
    lines[70_000] = '2026-11-24T04:10:00Z level=error msg="dial tcp 10.0.0.8:5432: connection refused"'
    text = digest("\n".join(lines))
    assert len(text) <= BUDGET_CHARACTERS + 200
    first, second = text.splitlines()[1:3]
    assert first == f"x2 [60001..70001] {lines[70_000]}"
    assert second.startswith("x99998 [1..100000] ")
    assert f"70001| {lines[70_000]}" in text and f"69999| {lines[69_998]}" in text


def test_the_end_is_shown_where_nothing_complains() -> None:
    lines = busy(500)
    assert digest("\n".join(lines)).endswith(
        f"its end:\n497| {lines[496]}\n498| {lines[497]}\n499| {lines[498]}\n500| {lines[499]}"
    )


def test_lines_that_differ_in_ids_and_numbers_only_are_one_pattern() -> None:
    (one,) = patterns(
        [
            "12:00:01 request 7f3a9c21 took 12 ms", "12:00:02 request 00ffee99 took 9 ms",
            "12:09:59 request deadbeef took 12345 ms",
        ]
    )  # fmt: skip
    assert one.places == [1, 2, 3]
    assert len(patterns(["took 1 ms", "took 1 s"])) == 2


def test_one_line_of_ten_megabytes_is_cut() -> None:
    text = digest("x" * 10_000_000)
    assert len(text) < 2 * LINE_CHARACTERS + 300


@given(
    st.lists(st.sampled_from(["ok 1", "ok 2", "ERROR boom", "  at x", "", "x" * 400, "panic: é", "a\tb"]), max_size=60),
    st.integers(200, 3_000),
)
def test_every_line_that_is_shown_stands_in_the_log_and_the_budget_holds(lines: list[str], budget: int) -> None:
    text = "\n".join(lines)
    found = digest(text, budget)
    if len(text) + 1 > budget and text.strip():
        around = 7 * (LINE_CHARACTERS + 8)
        assert len(found) <= max(budget, around) + 300
        for row in found.splitlines():
            match = ROW.fullmatch(row)
            assert match or row.endswith(OURS) or row.startswith(f"{len(text.splitlines())} lines")
            assert match is None or match["line"] in text
