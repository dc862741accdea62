"""What reaches the screen: nothing that a terminal acts on, nothing that a person cannot see."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.policy.sanitize import SafeText, cell_width, clip, safe

ESC = chr(27)
INVISIBLE = [
    *range(0x00, 0x0A), *range(0x0B, 0x20), 0x7F, *range(0x80, 0xA0), 0xA0, 0xAD, 0x034F, 0x061C, 0x115F, 0x1160,
    0x180E, *range(0x200B, 0x2010), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x2800, 0x3164,
    *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0, 0xFFF9, *range(0xE0000, 0xE0080), 0xE0100, 0xD800, 0xDFFF, 0xE000,
]  # fmt: skip


@pytest.mark.parametrize("code", INVISIBLE, ids=lambda c: f"U+{c:04X}")
def test_no_invisible_character_survives(code: int) -> None:
    char = chr(code)
    shown = safe(f"a{char}b")
    assert char not in shown
    assert len(shown) >= 3


def test_escape_sequences_are_shown_and_not_dropped() -> None:
    assert safe(f"x{ESC}[31mred") == "x␛[31mred"
    assert safe(f"{ESC}]52;c;QUJD{chr(7)}") == "␛]52;c;QUJD␇"
    assert safe("adm\u202enimda") == "adm\\u{202e}nimda"


def test_line_feeds_stay_where_lines_are_allowed_and_are_marked_elsewhere() -> None:
    assert safe("a\r\nb\rc\n") == "a\nb␍c\n"
    assert safe("a\nb", multiline=False) == "a␊b"


def test_tabs_become_blanks_up_to_the_next_stop_in_cells() -> None:
    assert safe("a\tb") == "a   b"
    assert safe("日本\tb") == "日本    b"


def test_ordinary_text_of_many_languages_is_untouched() -> None:
    for text in (
        "plain",
        "Grüße, naïve",
        "日本語のポッド",
        "שלום",
        "\u0435\u0301 \u044e",
        "x[/path] [@click=app.quit]y[/]",
        "\u2013\u2014…√",
    ):
        assert safe(text) == text


def test_stacked_marks_are_cut_off_and_said() -> None:
    assert safe("e" + "\u0301" * 9).count("\\u{301}") == 6
    assert safe("\u0301x").startswith("\\u{301}")


@given(st.text())
def test_sanitising_twice_changes_nothing(text: str) -> None:
    once = safe(text)
    assert safe(str.__str__(once) + "") == once
    assert isinstance(once, SafeText)


@given(st.text(alphabet=st.characters()))
def test_only_printable_text_and_line_feeds_come_out(text: str) -> None:
    for char in safe(text):
        assert char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    safe(text).encode()


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_clipping_never_takes_more_cells_than_asked(text: str, cells: int) -> None:
    assert cell_width(clip(text, cells)) <= cells
