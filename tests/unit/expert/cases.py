"""A table of imaginary incidents, and what is asked of every one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from agents.expert.causes import Scan, scan
from assistant.domain.finding import Verdict
from assistant.domain.view import ClusterView

Build = Callable[[], ClusterView]
SURE = 0.9


@dataclass(frozen=True, slots=True)
class Incident:
    """One fault: how it looks, what must change (`Kind/name`), a part of the field, and the question that is asked."""

    build: Build
    category: str
    target: str
    field: str
    question: str = ""


class Table:
    """Incidents by the name of the function that builds them."""

    def __init__(self) -> None:
        self.rows: dict[str, Incident] = {}

    def __call__(self, category: str, target: str, field: str, question: str = "") -> Callable[[Build], Build]:
        def keep(build: Build) -> Build:
            assert build.__name__ not in self.rows
            self.rows[build.__name__] = Incident(build, category, target, field, question)
            return build

        return keep


def told(result: Scan) -> str:
    return "\n" + "\n".join(
        f"{c.role} {c.draft.confidence} {c.draft.category} {c.draft.target} {c.draft.field}: {c.draft.summary}"
        for c in result.claims
    )


def check(incident: Incident) -> None:
    """The fault is the only root cause; its field, its quotes and its fixes are right in form."""
    result = scan(incident.build(), incident.question)
    assert result.verdict is Verdict.FAULT, told(result)
    assert not result.gaps, result.gaps
    top = result.roots[0].draft
    assert (top.category, f"{top.target.kind}/{top.target.name}") == (incident.category, incident.target), told(result)
    assert incident.field in top.field, (top.field, told(result))
    assert len(result.roots) == 1, told(result)
    assert top.citations
    for citation in top.citations:
        body = " ".join(citation.body.split())
        assert all(part in body for part in " ".join(citation.quote.split()).split(" … ")), citation.quote
    assert top.fixes or top.outside
    for fix in top.fixes:
        assert (fix.action is None) == bool(fix.outside)
        if fix.action is not None and fix.action.body:
            json.loads(fix.action.body)
        assert "None" not in fix.title and "<" not in fix.kubectl.replace("<<'EOF'", "")


def check_healthy(build: Build, question: str = "is everything in order?") -> None:
    result = scan(build(), question)
    assert result.verdict is Verdict.HEALTHY, told(result)


def check_undecided(build: Build) -> None:
    result = scan(build(), "what is wrong?")
    assert result.verdict is Verdict.UNDETERMINED, told(result)
    assert not result.roots


def check_first_fix(build: Build, value: str) -> None:
    """The first fix is a request that holds the computed value."""
    action = scan(build()).roots[0].draft.fixes[0].action
    assert action is not None
    assert value in action.body
