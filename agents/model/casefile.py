"""The case as the model is shown it, made anew before each call: what is known instead of what was said.

So a turn of two hundred steps costs no more a call than one of ten. Texts are dropped when there is no room for them,
the oldest first; their ids never are, so that every piece of evidence can still be cited and read again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.mind import Conclusion
from agents.model.citations import Shown
from agents.model.tools import Result
from assistant.domain.action import Remedy
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.domain.target import Target
from assistant.policy.redact import redact_text

QUOTE_CHARACTERS: Final = 320
EVIDENCE_CHARACTERS: Final = 3_600
RESULTS_CHARACTERS: Final = 7_000
OLDER_CHARACTERS: Final = 2_400
NOTE_CHARACTERS: Final = 360
BODY_CHARACTERS: Final = 200
"""Of the body of a change: enough for one or two fields, which most of them are."""
EXPERT: Final = "expert"
LINE_CHARACTERS: Final = 1_000
NOTES: Final = 3
FAILURES: Final = 6
SUGGESTIONS: Final = 6
CONSEQUENCES: Final = 6


Kin = Callable[[Target], Sequence[Target]]


@dataclass(slots=True)
class CaseFile:
    """What a turn knows. `place` says in a line where we are; `gaps` what could not be read."""

    session: str
    question: str
    place: str
    expert: Conclusion
    evidence: Sequence[Evidence]
    gaps: Sequence[str] = ()
    kin: Kin = lambda target: ()
    """Returns what owns an object, the nearest first; of an event, the object that it is about and what owns that."""
    written: list[Remedy] = field(default_factory=list)
    """The changes that the model has written and the server would take."""
    directions: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    offered: Sequence[str] = ()
    """Names of the tools of MCP servers that can be called now."""
    complaint: str = ""
    tight: bool = False
    """Half of everything: the request did not fit the model's context."""

    @property
    def _mark(self) -> str:
        # Nobody who writes into the cluster knows it, so no text can end its own fence.
        return hashlib.sha256(self.session.encode()).hexdigest()[:6]

    def add(self, result: Result) -> None:
        """Take what a tool call came to."""
        if result.ok:
            self.results.append(result)
        else:
            self.failures.append(f"{result.title}: {result.text}")

    def note(self, said: str) -> None:
        """Keep what the model said beside its calls: it is all that it will know of its own thoughts."""
        if said.strip():
            self.notes.append(" ".join(said.split())[:NOTE_CHARACTERS])

    def shown(self) -> dict[str, Shown]:
        """Return all that may be cited: the expert's quotes, and what the tools read."""
        known = {fact.id: Shown(fact.id, fact.quote, fact.target, self._about(fact)) for fact in self.evidence}
        for result in self.results:
            fact = result.evidence
            if fact is not None:
                before = known[fact.id].text if fact.id in known else ""
                text = "\n".join([before, result.text, result.body])
                known[fact.id] = Shown(fact.id, text, fact.target, self._about(fact))
        return known

    def _about(self, fact: Evidence) -> frozenset[tuple[str, str]]:
        shown = [each.target for each in self.expert.findings if fact.id in each.evidence]
        above = self.kin(fact.target) if fact.target is not None else ()
        return frozenset((target.kind, target.name) for target in (*shown, *above))

    def render(self, board: Sequence[Hypothesis], left: str) -> str:
        """Return the text of the next call; `left` says what may still be spent."""
        # Once more as a whole: what the person and the model said is in it, and a secret in the next call would end it.
        return redact_text("\n\n".join(part for part in self._parts(board, left) if part))[0]

    def _parts(self, board: Sequence[Hypothesis], left: str) -> Iterable[str]:
        yield f"# Question\n{self._fenced('question', redact_text(self.question)[0])}\n{self.place}"
        if self.directions:
            yield "# What the person said since\n" + "\n".join(f"- {each}" for each in self.directions)
        # What rules say of the cluster repeats its words: names, lines of logs, messages. So it is fenced like them.
        yield self._section(f"# The expert says: {self.expert.verdict}", "findings", self._opinion())
        yield self._section("# Fixes", "fixes", self._remedies())
        yield self._quotes()
        yield self._read()
        yield self._unmarked(_board(board))
        if self.failures:
            said = (_line(each) for each in self.failures[-FAILURES:])
            yield self._section("# Calls that failed", "failed", "\n".join(f"- {each}" for each in said))
        if self.offered:
            yield f"# Further tools that you found\n{' '.join(self.offered)}"
        if self.notes:
            yield self._unmarked("# Your notes\n" + "\n".join(f"- {each}" for each in self.notes[-NOTES:]))
        if self.complaint:
            yield self._unmarked(f"# Mend this\n{self.complaint}")
        yield left

    def _section(self, head: str, name: str, said: str) -> str:
        return f"{head}\n{self._fenced(name, said)}" if said else head if name == "findings" else ""

    def _opinion(self) -> str:
        expert = self.expert
        lines = [_finding(each) for each in expert.findings if each.role is Role.ROOT_CAUSE]
        lines += [_finding(each) for each in expert.findings if each.role is not Role.ROOT_CAUSE][:CONSEQUENCES]
        if expert.verdict is not Verdict.FAULT and expert.checked:
            lines.append("checked: " + "; ".join(expert.checked[:12]))
        if expert.remark:
            lines.append(f"of the question: {expert.remark}")
        lines += [f"not readable: {each}" for each in self.gaps[:FAILURES]]
        return redact_text("\n".join(_line(each) for each in lines))[0]

    def _remedies(self) -> str:
        lines = [_remedy(each) for each in self.expert.remedies[:SUGGESTIONS]]
        lines += [f"{_remedy(each)} [yours, the server would take it]" for each in self.written]
        return redact_text("\n".join(lines))[0]

    def _quotes(self) -> str:
        """Return the quotes that the findings rest on, then the ids of all others by what was asked."""
        cited = list(dict.fromkeys(name for each in self.expert.findings for name in each.evidence))
        known = {fact.id: fact for fact in self.evidence}
        read = {result.evidence.id for result in self.results if result.evidence}
        room = EVIDENCE_CHARACTERS // (1 + self.tight)
        blocks, rest = [], []
        for name in [*(n for n in cited if n in known), *(n for n in known if n not in cited)]:
            fact = known[name]
            block = self._fenced(name, f"{_source(fact)}\n{fact.quote[:QUOTE_CHARACTERS]}")
            if name in cited and len(block) <= room:
                blocks.append(block)
                room -= len(block)
            elif name not in read:
                rest.append(fact)
        return "\n".join(["# Evidence", *blocks, *_index(rest)]) if blocks or rest else ""

    def _read(self) -> str:
        """Return what was read, the newest whole, older in a line each, the oldest by their ids."""
        if not self.results:
            return ""
        room, older_room = RESULTS_CHARACTERS // (1 + self.tight), OLDER_CHARACTERS // (1 + self.tight)
        whole: list[str] = []
        lines: list[str] = []
        ids: dict[str, None] = {}
        for place, result in enumerate(reversed(self.results)):
            name = result.evidence.id if result.evidence else ""
            block = self._fenced(name, f"{result.title}\n{result.text}")
            line = f"{name} {result.title}: {result.evidence.quote[:80] if result.evidence else ''}"
            if len(block) <= room or place == 0:
                whole.append(block)
                room -= len(block)
            elif len(line) <= older_room:
                lines.append(line)
                older_room -= len(line)
            else:
                ids[name] = None
        parts = ["# What you read, the newest last"]
        if ids:
            parts.append(f"earlier, read again if needed: {' '.join(reversed(ids))}")
        if lines:
            parts.append(self._fenced("older", "\n".join(reversed(lines))))
        return "\n".join([*parts, *reversed(whole)])

    def _fenced(self, name: str, said: str) -> str:
        mark = f"{name}.{self._mark}"
        return f"<<{mark}\n{self._unmarked(said)}\n{mark}>>"

    def _unmarked(self, said: str) -> str:
        # Again until none is left: taking one out may put another together.
        while self._mark in said:
            said = said.replace(self._mark, "")
        return said


def _finding(finding: Finding) -> str:
    cites = " ".join(finding.evidence[:4])
    follows = f", explains {' '.join(finding.explains[:4])}" if finding.explains else ""
    where = f" at {finding.field}" if finding.field else ""
    role = "" if finding.role is Role.ROOT_CAUSE else f"{finding.role} "
    sure = f" {finding.confidence:.2f}" if finding.role is Role.ROOT_CAUSE else ""
    return f"{finding.id} {role}{finding.category}{sure}: {finding.target}{where}: {finding.summary} [{cites}]{follows}"


def _line(said: str) -> str:
    """Return words of the cluster, for where no fence is around them, in one line: they begin no part of a prompt."""
    return " ".join(said.split())[:LINE_CHARACTERS]


def _remedy(remedy: Remedy) -> str:
    after = f" after {remedy.after}" if remedy.after else ""
    action = remedy.action
    if action is None:
        return f"{remedy.id} (fixes {', '.join(remedy.fixes)}): {remedy.title} [outside the cluster]"
    body = " ".join(action.body.split())
    cut = body if len(body) <= BODY_CHARACTERS else f"{body[:BODY_CHARACTERS]}…"
    fixes = f", fixes {', '.join(remedy.fixes)}" if remedy.fixes else ""
    return f"{remedy.id} ({remedy.risk}{fixes}): {remedy.title}{after} = {action.method} {action.target} {cut}".rstrip()


def _source(fact: Evidence) -> str:
    """Return where a quote is from, in few words: the object, or the container's log."""
    path, _, query = fact.request.partition("?")
    if path.endswith("/log"):
        container = next((p.partition("=")[2] for p in query.split("&") if p.startswith("container=")), "")
        before = ", the run before" if "previous=true" in query else ""
        return f"log of {fact.target.name if fact.target else path}/{container}{before}"
    return str(fact.target) if fact.target else fact.request


def _index(facts: Sequence[Evidence]) -> list[str]:
    by_request: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        by_request[fact.request.partition("?")[0].removeprefix("GET ")].append(fact.id)
    return [f"also {request}: {' '.join(names)}" for request, names in by_request.items()]


def _board(board: Sequence[Hypothesis]) -> str:
    # What the expert says stands above already; here it counts only once a person or the model has said more of it.
    told = [h for h in board if h.by != EXPERT or h.mark is not Mark.OPEN or h.speaks_against or h.decides]
    if not told:
        return ""
    lines = ["# Board"]
    for each in told:
        mark = "" if each.mark is Mark.OPEN else f" [{each.mark} by the person]"
        speaks = f" for {' '.join(each.speaks_for)}" if each.speaks_for else ""
        against = f" against {' '.join(each.speaks_against)}" if each.speaks_against else ""
        decides = f"; would decide: {each.decides}" if each.decides else ""
        lines.append(f"{each.id}{mark} ({each.by}): {each.cause}{speaks}{against}{decides}")
    return redact_text("\n".join(lines))[0]
