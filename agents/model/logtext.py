"""A log in few words: its lines grouped by pattern, those that complain first, and what stands around the last of them.

Every line that is shown stands so in the log (long ones cut at their end), because the model has to quote it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.expert.logs import BAD, STACK

LINE_CHARACTERS: Final = 240
AROUND: Final = 3
BUDGET_CHARACTERS: Final = 3_000
# A time at the beginning, then whatever differs between two lines of one kind: ids, addresses, numbers.
_TIME: Final = re.compile(r"^\W*\d{2,4}[-/:.]\d{2}[-/:.]\d{2}[T\d:.,+Z /-]*")
_VARIES: Final = re.compile(
    r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{7,}\b|\d+", re.IGNORECASE
)


@dataclass(slots=True)
class Pattern:
    """Lines that differ in ids and numbers only; places count from 1."""

    complains: bool
    places: list[int] = field(default_factory=list)
    latest: str = ""


def pattern_of(line: str) -> str:
    """Return a line without what varies between two of one kind."""
    return _VARIES.sub("#", _TIME.sub("", line))


def patterns(lines: Sequence[str]) -> list[Pattern]:
    """Return the patterns: those that complain first, the latest first; then the others, the rarest first."""
    found: dict[str, Pattern] = {}
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        # Cut before any pattern looks at it: a line of ten megabytes must not take minutes.
        line = line[:LINE_CHARACTERS]
        key = pattern_of(line)
        pattern = found.setdefault(key, Pattern(bool(BAD.search(line)) and not STACK.search(line)))
        pattern.places.append(place)
        pattern.latest = line
    return sorted(
        found.values(),
        key=lambda each: (
            not each.complains,
            -each.places[-1] if each.complains else len(each.places),
            -each.places[-1],
        ),
    )


def digest(text: str, budget_characters: int = BUDGET_CHARACTERS) -> str:
    """Return the log within about the budget; what was left out is counted. An empty log says so."""
    lines = text.splitlines()
    found = patterns(lines)
    if not found:
        return "(the log is empty)"
    kept = sum(len(line) + 1 for line in lines)
    if kept <= budget_characters:
        return text.rstrip("\n")
    worst = next((each for each in found if each.complains), None)
    near = _around(lines, worst.places[-1]) if worst else _around(lines, len(lines))
    head = f"{len(lines)} lines, {len(found)} patterns; xN counts the lines of a pattern, its latest is shown"
    shown, left, room = [], 0, budget_characters - len(head) - sum(len(line) + 1 for line in near)
    for each in found:
        row = f"x{len(each.places)} [{_span(each.places)}] {each.latest}"
        if len(row) + 1 > room:
            left += 1
            continue
        shown.append(row)
        room -= len(row) + 1
    rest = [f"({left} more patterns are left out)"] if left else []
    where = "around the latest complaint:" if worst else "its end:"
    return "\n".join([head, *shown, *rest, where, *near])


def _around(lines: Sequence[str], place: int) -> list[str]:
    start, end = max(0, place - 1 - AROUND), min(len(lines), place + AROUND)
    return [f"{number}| {lines[number - 1][:LINE_CHARACTERS]}" for number in range(start + 1, end + 1)]


def _span(places: Sequence[int]) -> str:
    return str(places[0]) if len(places) == 1 else f"{places[0]}..{places[-1]}"
