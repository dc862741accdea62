"""The screens that are imported when they are first shown. Apart, so that starting imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.screen import Screen


def _approvals() -> Screen[Any]:
    from assistant.tui.approvals import ApprovalsScreen

    return ApprovalsScreen()


def _sessions() -> Screen[Any]:
    from assistant.tui.sessions import SessionsScreen

    return SessionsScreen()


def _replay() -> Screen[Any]:
    from assistant.tui.replay import ReplayScreen

    return ReplayScreen()


def _servers() -> Screen[Any]:
    from assistant.tui.servers import ServersScreen

    return ServersScreen()


def _call() -> Screen[Any]:
    from assistant.tui.heldcall import HeldCallScreen

    return HeldCallScreen()


def _question() -> Screen[Any]:
    from assistant.tui.question import QuestionScreen

    return QuestionScreen()


LATER: dict[str, Callable[[], Screen[Any]]] = {
    "approvals": _approvals, "sessions": _sessions, "replay": _replay, "servers": _servers, "call": _call,
    "question": _question,
}  # fmt: skip
