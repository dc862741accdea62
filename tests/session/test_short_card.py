"""The card in a terminal that other things scroll through: never taller than it, and honest about what was cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.domain.proposal import Check, CheckResult, DiffLine, Impact, Origin, Proposal
from assistant.plain.card import Place, card_digest, card_lines, how_to_answer, short_card
from assistant.policy.sanitize import cell_width
from tests.session.scripted import START, patch, proposal

CHANGE = proposal(7, patch(), Origin("client", "kubectl/v1.36", token="editor", process="pid 12: kubectl apply"))
TEXT = st.text(max_size=400) | st.sampled_from(["x" * 5000, "word " * 800, "漢字" * 900, "\x1b[2J\n" * 300])


def rows_taken(lines: list[str], columns: int) -> int:
    return sum(max(1, -(-cell_width(line) // columns)) for line in lines)


@settings(max_examples=150, deadline=None)
@given(
    title=TEXT, diff=st.lists(TEXT, max_size=60), check=TEXT, impact=TEXT, reason=TEXT, why=TEXT, client=TEXT,
    critical=st.booleans(), rows=st.integers(8, 60), columns=st.integers(40, 200),
)  # fmt: skip
def test_it_is_never_taller_than_the_screen_whatever_comes(
    title: str, diff: list[str], check: str, impact: str, reason: str, why: str, client: str, critical: bool, rows: int,
    columns: int,
) -> None:  # fmt: skip
    made = proposal(7, patch(), Origin("client", client), critical=critical)
    change = replace(
        made, title=title, diff=tuple(DiffLine("+", text) for text in diff),
        checks=(Check("access", CheckResult.PASS, check),), impact=(Impact("direct", impact),), not_approvable=why,
        risk=replace(made.risk, reasons=(reason,)),
    )  # fmt: skip
    card = short_card(change, START, rows, columns)
    text = "\n".join(card.lines)
    assert rows_taken(list(card.lines), columns) <= rows
    assert "\x1b" not in text
    if not card.whole:
        assert f"more lines: show {change.id}" in text
        assert "approve" not in card.lines[-1], "a cut card must not say how to approve it"


def test_a_card_that_fits_is_whole_and_says_how_to_answer_here() -> None:
    card = short_card(CHANGE, START, 40, 120)
    assert card.whole
    assert card.lines[-1] == f"Type: approve {CHANGE.id} {CHANGE.digest[:6]}   or: deny {CHANGE.id} REASON"
    assert [*card.lines[:-1]] == card_lines(CHANGE, START, 120, answering=False)


def test_a_cut_card_keeps_what_changes_who_asked_and_the_risk() -> None:
    long = replace(CHANGE, diff=tuple(DiffLine("-", f"line {number}") for number in range(3000)))
    card = short_card(long, START, 20, 80)
    text = "\n".join(card.lines)
    assert not card.whole
    assert len(card.lines) == 20
    assert card.lines[0].startswith(f"change: {long.id}")
    assert "kubeconfig editor" in text
    assert "risk: medium: replaces 3 pods" in text
    assert f"pilothouse approvals show {long.id}" in text
    # The digest stands on the whole card only.
    assert long.digest[:6] not in text


@pytest.mark.parametrize(("place", "said"), [
    (Place.CARD, "Type: approve {d} web   or: deny REASON   or: later"),
    (Place.GATE, "Type: approve {id} {d} web   or: deny {id} REASON"),
    (Place.SHELL, "Type: pilothouse approvals approve {id} {d} --name web"
     "   or: pilothouse approvals deny {id} --reason TEXT"),
])  # fmt: skip
def test_how_to_answer_is_what_can_be_typed_there(place: Place, said: str) -> None:
    change = proposal(7, patch(), Origin("client", "kubectl"), critical=True)
    assert how_to_answer(change, place) == said.format(id=change.id, d=change.digest[:6])


def test_the_hash_of_a_card_depends_on_all_of_it_and_on_nothing_else() -> None:
    def changed(**values: object) -> Proposal:
        return replace(CHANGE, **values)  # type: ignore[arg-type]

    whole = card_digest(CHANGE)
    assert whole == card_digest(replace(CHANGE))
    others = [
        changed(title="x"), changed(digest="f" * 64), changed(diff=(DiffLine("+", "x"),)), changed(kubectl="x"),
        changed(origin=replace(CHANGE.origin, process="pid 13: kubectl apply")), changed(cluster="x"),
        changed(resource_version="11"), changed(impact=(Impact("direct", "x"),)),
    ]  # fmt: skip
    assert len({whole, *(card_digest(other) for other in others)}) == len(others) + 1
