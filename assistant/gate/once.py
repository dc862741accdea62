"""What was answered already and is not asked again: a person's yes to a sensitive read, a person's no to a session.

A yes holds for one request of one client as long as the gate lives; a no for a few seconds, for kubectl asks for a
session again by another protocol as soon as the first one was refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final

from assistant.domain.canonical import sha256
from assistant.gate.broker import Held

AGAIN_SECONDS: Final = 10.0
_KEPT: Final = 1000


def asked_digest(client: str, method: str, raw_target: str, body: bytes) -> str:
    """Return one name for a question of a client; the body, which may hold a token, is in it as a hash only."""
    return sha256([client, method, raw_target, hashlib.sha256(body).hexdigest()])


class Answers:
    """The answers of one gate."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Start with none; `now` returns seconds that never go backwards."""
        self._now = now
        self._granted: dict[str, str] = {}
        self._refused: dict[str, tuple[Held, str, float]] = {}

    def grant(self, question: str, proposal: str) -> None:
        """Note that a person said yes; beyond a thousand the oldest is asked again."""
        self._granted[question] = proposal
        while len(self._granted) > _KEPT:
            del self._granted[next(iter(self._granted))]

    def granted(self, question: str) -> str:
        """Return the proposal that was approved for this question, "" for none."""
        return self._granted.get(question, "")

    def refuse(self, question: str, protocol: str, held: Held) -> None:
        """Note a no, so that the same question by another protocol gets it at once."""
        self._refused = {key: item for key, item in self._refused.items() if item[2] > self._now()}
        self._refused[question] = (held, protocol, self._now() + AGAIN_SECONDS)

    def refused(self, question: str, protocol: str) -> Held | None:
        """Return the request that was denied a moment ago by another protocol, None for none."""
        held, other, until = self._refused.get(question, (None, protocol, 0.0))
        return held if until > self._now() and other != protocol else None
