"""When a key may approve: the accident rules as one small state machine. Apart and pure, because it must be right.

The rules answer reported accidents: an approval that opens while somebody types must not be answered by that typing,
and no single key may approve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

SETTLE_SECONDS = 0.8
"""Keys are dropped for so long after the card appears or changes: they were meant for what was there before."""
ARMED_SECONDS = 10.0


class Move(StrEnum):
    """What a key means to the guard."""

    DROPPED = "dropped"
    ARMED = "armed"
    LOCKED = "locked"
    RUN = "run"
    PASS = "pass"  # noqa: S105 - a move, not a password


@dataclass(frozen=True, slots=True)
class Locks:
    """Why a card cannot be approved just now; all empty or false means that it can."""

    closed: str = ""
    unread: bool = False
    name_missing: bool = False

    @property
    def reason(self) -> str:
        """Return the first reason as one sentence, "" where there is none."""
        if self.closed:
            return self.closed
        if self.name_missing:
            return "Type the name of the object first."
        return "Read the diff to its end first (j, ctrl+d or G)." if self.unread else ""


class Guard:
    """Decides about every key while a card is on screen. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float], key: str = "a") -> None:
        """Start with the card not yet painted: every key is dropped until `settle` is called. `key` is what arms."""
        self._monotonic = monotonic
        self._key = key
        self._quiet_until = float("inf")
        self._armed_until = float("-inf")

    def cover(self) -> None:
        """Drop everything until the card has been painted (`settle`)."""
        self._quiet_until = float("inf")
        self.disarm()

    def settle(self) -> None:
        """The card was painted or replaced just now: start the quiet time and disarm."""
        self._quiet_until = self._monotonic() + SETTLE_SECONDS
        self.disarm()

    def disarm(self) -> None:
        """Take the arming back."""
        self._armed_until = float("-inf")

    @property
    def quiet(self) -> bool:
        """Say whether keys are still dropped."""
        return self._monotonic() < self._quiet_until

    @property
    def armed_seconds(self) -> float:
        """Return how long the arming still lasts, 0 where nothing is armed."""
        return max(0.0, self._armed_until - self._monotonic())

    def press(self, key: str, locks: Locks) -> Move:
        """Return what a key does. Only the arming key and then `enter` at once, within the time, gives RUN."""
        if self.quiet:
            self.disarm()
            return Move.DROPPED
        armed = self.armed_seconds > 0
        self.disarm()
        if key == self._key:
            if locks.reason:
                return Move.LOCKED
            self._armed_until = self._monotonic() + ARMED_SECONDS
            return Move.ARMED
        if key == "enter":
            if not armed:
                return Move.DROPPED
            return Move.LOCKED if locks.reason else Move.RUN
        return Move.PASS
