"""No secret survives whatever it is wrapped in, and what only looks like one does."""

from __future__ import annotations

import pytest

from tests.attacks import secrets
from tests.attacks.lookalikes import LOOKALIKES
from tests.attacks.secret_forms import CORPUS, WRAPPERS, leaked, secret_of, text_of
from tests.attacks.secret_notations import NOTATIONS

GENERATED = 2000


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_nothing_of_the_set_survives(wrapper: str) -> None:
    assert secrets.missed_of_set(wrapper) == []


def test_nothing_survives_in_other_notations() -> None:
    assert len(NOTATIONS) > 180
    assert len(secrets.missed_notations()) <= 1


def test_of_generated_secrets_at_most_one_in_a_thousand_survives() -> None:
    assert secrets.missed_generated(1, GENERATED).total() <= GENERATED / 1000


def test_what_only_looks_like_a_secret_stays() -> None:
    assert len(secrets.damaged(secrets.set_lookalikes())) <= 1
    assert len(secrets.damaged(LOOKALIKES)) <= len(LOOKALIKES) // 60


# How many of the first characters of these are no secret: a PEM header, an address, `HOME=` or a user in base64.
OPEN_FRONT = {"S027": 16, "S029": 40, "S031": 30, "S033": 31, "S067": 34, "S079": 44}


def test_a_text_cut_anywhere_gives_no_part_away() -> None:
    missed = set()
    for entry in CORPUS["must_redact"]:
        text, secret = text_of(entry), secret_of(entry)
        start = text.index(secret)
        for end in range(start + OPEN_FRONT.get(entry["id"], 12), min(start + len(secret), start + 60)):
            cut = text[:end]
            if leaked(secrets.REDACTOR.text(cut)[0], text[start:end]):
                missed.add((entry["id"], end - start))
    assert not missed, sorted(missed)[:20]


def test_the_oracle_finds_what_it_looks_for() -> None:
    """A leak test that finds nothing because it cannot is worse than none."""
    for wrapper, put in WRAPPERS.items():
        if wrapper in ("url", "base64", "base64 in lines"):
            continue  # encoded once more, an unredacted text is another text
        found = [leaked(put(text_of(entry)), secret_of(entry)) for entry in CORPUS["must_redact"][:12]]
        assert sum(found) >= 11, wrapper
