"""The board of hypotheses: the expert's claims to begin with, then what the model supposes; what is marked stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from agents.mind import Conclusion
from assistant.domain.finding import Role, Verdict
from assistant.domain.hypothesis import Hypothesis
from assistant.domain.raw import rows, text, texts

LARGEST: Final = 8
WORDS: Final = 240
UNDECIDED: Final = 4


def first(expert: Conclusion) -> tuple[Hypothesis, ...]:
    """Return the expert's claims as hypotheses: its root causes, or what it could not decide between."""
    claims = [each for each in expert.findings if each.role is Role.ROOT_CAUSE]
    if expert.verdict is Verdict.UNDETERMINED:
        claims = claims or list(expert.findings[:UNDECIDED])
    return tuple(
        Hypothesis(f"H{n}", each.summary, "expert", each.target, each.evidence)
        for n, each in enumerate(claims[:LARGEST], 1)
    )


def supposed(
    board: Sequence[Hypothesis], given: Mapping[str, Any], known: Collection[str], by: str
) -> tuple[Hypothesis, ...]:
    """Return the board with what the model supposes; ids of evidence that nobody has seen are left out.

    A cause that stands there already (by its words or its id) gets the new evidence. Full boards take no more.
    """
    kept = list(board)
    for each in rows(given.get("hypotheses")):
        cause = " ".join(text(each.get("cause")).split())[:WORDS]
        if not cause:
            continue
        speaks = tuple(i for i in texts(each.get("for")) if i in known)
        against = tuple(i for i in texts(each.get("against")) if i in known)
        decides = " ".join(text(each.get("decides")).split())[:WORDS]
        place = next((n for n, h in enumerate(kept) if cause in (h.id, h.cause) or cause.startswith(f"{h.id} ")), None)
        if place is not None:
            old = kept[place]
            kept[place] = replace(
                old, speaks_for=_joined(old.speaks_for, speaks), speaks_against=_joined(old.speaks_against, against),
                decides=decides or old.decides,
            )  # fmt: skip
        elif len(kept) < LARGEST:
            kept.append(Hypothesis(f"H{len(kept) + 1}", cause, by, None, speaks, against, decides))
    return tuple(kept)


def _joined(before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *more)))
