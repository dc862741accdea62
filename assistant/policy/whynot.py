"""Why a change cannot be approved, and what would have to be different. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from assistant.domain.proposal import Check, CheckResult

_CLOSING: Final = ("access", "dry run", "expected")
_INSTEAD: Final = {
    "access": "Somebody with that right gives it to this identity, or makes the change.",
    "dry run": "Change the request so that the server accepts it, or remove what makes the server refuse it; then ask "
    "again.",
    "expected": "Look at the object as it is now and ask for the change that you want from there.",
}


def closing(checks: Iterable[Check]) -> str:
    """Return why these checks close a proposal to approval, "" where they do not."""
    return next((c.text for c in checks if c.result is CheckResult.FAIL and c.name in _CLOSING), "")


def approvable_if(why_not: str, checks: Iterable[Check], instead: str = "") -> str:
    """Return what would make it approvable, "" where it is; `instead` is said where no check closes it."""
    if not why_not:
        return ""
    failed = [c.name for c in checks if c.result is CheckResult.FAIL and c.text == why_not]
    return _INSTEAD[failed[0]] if failed else instead or "Ask for less at once, so that the whole of it can be shown."
