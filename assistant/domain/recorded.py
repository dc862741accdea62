"""What a recording holds of one turn: all that somebody who reasons over it again may know.

Apart from the case, because a case at the end of a turn also knows what came after its answer: a change, and the
cluster as it was after that.
"""

from __future__ import annotations

from dataclasses import dataclass

from assistant.domain.action import Remedy
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Verdict

EXPERT = "expert"
"""The name under which the rules answer."""
RERUN_OF = "rerun of "
"""How the source of a session begins that answers a recorded turn anew; the id of the recorded one follows."""


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact with the text that it stands in; `text` is None where the recording came without it."""

    evidence: Evidence
    text: str | None


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What a mind made of the turn; `mind` is whose answer it is."""

    mind: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]
    markdown: str
    checked: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One turn up to its answer: the question, the facts in the order in which they were recorded, the answer.

    `facts` begin with those of earlier turns, which the answer may cite too. `requests` are the request lines of all
    that was read until then (`GET /api/v1/namespaces/shop/pods`), whether a fact came of it or not. `answer` is None
    where the turn was stopped before there was one; `stopped` then says why.
    """

    session: str
    number: int
    question: str
    namespace: str
    facts: tuple[RecordedFact, ...]
    requests: tuple[str, ...]
    answer: RecordedAnswer | None
    stopped: str = ""
