"""Whether a read that failed is tried again, and after how long. Pure: the caller waits and tells people.

Changes have no such policy: they are sent once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from assistant.policy.limits import READ_TRIES, READ_WAIT_SECONDS, READ_WAITS

BUSY: Final = 429
AGAIN: Final = frozenset({500, 502, 503, 504})
_FIRST_SECONDS: Final = 0.5
_GROWTH: Final = 2.0
_LONGEST_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after `seconds`; `why` is the sentence for people."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again. `why` says what else would have been waited for, "" where the failure says everything."""

    why: str = ""


def refused_by_budget(status: Any) -> bool:
    """Say whether a 429 is a PodDisruptionBudget's no to an eviction, and no sign of load (policy/v1 Eviction)."""
    details = status.get("details") if isinstance(status, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return any(isinstance(cause, dict) and cause.get("reason") == "DisruptionBudget" for cause in causes or ())


def asked_seconds(retry_after: str, date: str, now: datetime) -> float | None:
    """Return what a Retry-After header asks for (RFC 9110 section 10.2.3), None where it says nothing usable.

    A point in time counts from the server's own `date` where it sent one, so that wrong clocks do not matter.
    """
    value = retry_after.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until = _moment(value)
    if until is None:
        return None
    return max(0.0, (until - (_moment(date) or now)).total_seconds())


def next_try(status: int, what: str, asked: float | None, tries: int, waited: float, dice: float) -> Wait | GiveUp:
    """Say what to do after a read failed for the `tries`-th time, having waited for `waited` seconds so far.

    `status` is 0 for a connection that broke, `what` names the failure, `asked` is the server's wish in seconds and
    `dice` a random number from 0 to 1, which spreads the clients that failed together.
    """
    if status not in AGAIN and status not in (0, BUSY):
        return GiveUp()
    if tries >= (READ_WAITS if status == BUSY else READ_TRIES):
        return GiveUp(f"Tried {tries} times.")
    own = min(_FIRST_SECONDS * _GROWTH ** (tries - 1), _LONGEST_SECONDS) * (0.5 + dice / 2)
    seconds = max(asked or 0.0, own)
    if asked:
        what = f"the API server asked to wait {spoken(asked)} ({what})"
    if waited + seconds > READ_WAIT_SECONDS:
        limit = spoken(READ_WAIT_SECONDS)
        before = f" after {spoken(waited)} of waiting" if waited >= 1 else ""
        return GiveUp(f"Not waited for: {what}{before}; a read waits at most {limit}.")
    return Wait(seconds, what)


def spoken(seconds: float) -> str:
    """Return a time as people say it: 0.4 s, 30 s, 5 min, 1 h."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _moment(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
