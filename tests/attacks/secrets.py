"""Prints what the redactor misses and what it damages: `python -m tests.attacks.secrets [--count N] [--seed S]`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from assistant.policy.redact import Redactor
from tests.attacks.lookalikes import LOOKALIKES
from tests.attacks.secret_forms import CORPUS, LARGE, WRAPPERS, generated, leaked, secret_of, text_of
from tests.attacks.secret_notations import NOTATIONS

REDACTOR = Redactor(b"k" * 32)


def missed_of_set(wrapper: str) -> list[str]:
    """Return the ids of the set that survive in a wrapper."""
    put = WRAPPERS[wrapper]
    if wrapper == LARGE:
        return missed_in_megabyte()
    return [
        str(entry["id"])
        for entry in CORPUS["must_redact"]
        if leaked(REDACTOR.text(put(text_of(entry)))[0], secret_of(entry))
    ]


def missed_in_megabyte() -> list[str]:
    """Put the whole set into a megabyte of ordinary lines, each far from the next."""
    filler = "2026-11-23T08:02:08Z info: all is well, request 1234 took 12ms\n" * 400
    out, _ = REDACTOR.text(filler.join("\n" + text_of(entry) + "\n" for entry in CORPUS["must_redact"]))
    return [str(entry["id"]) for entry in CORPUS["must_redact"] if leaked(out, secret_of(entry))]


def missed_notations() -> list[str]:
    """Return the notations in which a secret survives."""
    return [name for name, text, secret in NOTATIONS if leaked(REDACTOR.text(text.replace("{S}", secret))[0], secret)]


def damaged(entries: list[tuple[str, str, str]]) -> list[str]:
    """Return the names of the lookalikes that do not survive."""
    return [name for name, text, keep in entries if keep not in REDACTOR.text(text)[0]]


def set_lookalikes() -> list[tuple[str, str, str]]:
    """Return the lookalikes of the set."""
    return [(entry["id"], entry["text"], entry["keep"]) for entry in CORPUS["must_keep"]]


def missed_generated(seed: int, count: int) -> Counter[str]:
    """Return what survives of `count` generated variants."""
    return Counter(what for what, text, secret in generated(seed, count) if leaked(REDACTOR.text(text)[0], secret))


def main() -> int:
    """Print the numbers; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    total, say = 0, sys.stdout.write
    size = len(CORPUS["must_redact"])
    for wrapper in WRAPPERS:
        missed = missed_of_set(wrapper)
        total += len(missed)
        say(f"{len(missed):4} of {size} missed  {wrapper} {' '.join(missed)}\n")
    other = missed_notations()
    say(f"{len(other):4} of {len(NOTATIONS)} missed  other notations {', '.join(other)}\n")
    found = missed_generated(given.seed, given.count)
    say(f"{found.total():4} of {given.count} missed  generated, seed {given.seed} {dict(found.most_common(5)) or ''}\n")
    lost = damaged(set_lookalikes())
    say(f"{len(lost):4} of {len(CORPUS['must_keep'])} damaged  lookalikes of the set {' '.join(lost)}\n")
    more = damaged(LOOKALIKES)
    say(f"{len(more):4} of {len(LOOKALIKES)} damaged  other lookalikes {', '.join(more)}\n")
    return int(total > 0 or len(lost) > 1 or found.total() > given.count / 1000)


if __name__ == "__main__":
    sys.exit(main())
