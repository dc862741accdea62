"""What is proposed: the least invasive first, each with a reason; what opens a door or loses data last and critical."""

from __future__ import annotations

import pytest

from agents.expert.causes import scan
from agents.expert.draft import Fix
from assistant.domain.action import RiskLevel

from .test_variants import CASES

OPENS = ("finalizers", "failurePolicy", "claimRef", "privileged", "hostPath", "hostNetwork")


def fixes(name: str) -> list[Fix]:
    incident = CASES[name]
    return [f for c in scan(incident.build(), incident.question).roots for f in c.draft.fixes]


@pytest.mark.parametrize("name", sorted(CASES))
def test_dangerous_short_cuts_are_never_first_and_always_critical(name: str) -> None:
    for place, fix in enumerate(fixes(name)):
        body = fix.action.body if fix.action is not None and fix.action.method == "PATCH" else ""
        if any(word in (body or "") for word in OPENS):
            assert place > 0 and fix.risk is RiskLevel.CRITICAL, fix.title


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_fix_says_why_and_none_holds_a_placeholder(name: str) -> None:
    found = fixes(name)
    assert found or name in WITHOUT
    for fix in found:
        assert len(fix.reason) > 5, fix.title
        body = (fix.action.body or "") if fix.action is not None else ""
        assert not any(mark in body for mark in ("<", "TODO", "changeme", "example.com/")) or "finalizer" in name, body


WITHOUT: frozenset[str] = frozenset()
"""Faults whose finding says in words what has to be done outside, without a fix of its own."""
