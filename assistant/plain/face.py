"""The linear face: prints a session as it goes, line by line, and takes approvals typed in full."""

from __future__ import annotations

import re
from typing import Final, Protocol, TextIO

from assistant.domain import event as ev
from assistant.domain.case import Case
from assistant.domain.event import Event, EvidenceAdded
from assistant.domain.finding import Role
from assistant.domain.hypothesis import Mark
from assistant.domain.ports import Clock
from assistant.domain.proposal import Answer, Proposal, ProposalState
from assistant.errors import PilothouseError, UsageError
from assistant.plain.card import card_digest, card_lines, read_decision
from assistant.plain.lines import WIDTH, event_lines, evidence_lines, one_line, wrapped
from assistant.plain.thinking import claim_words, hypothesis_words, spent_words
from assistant.plain.typed import ReadLine
from assistant.policy.sanitize import SafeText

CITED: Final = re.compile(r"\[(E\d+)\]")
EXPERT: Final = "expert"
LATER: Final = frozenset({"later", "quit", "exit", "q"})


class Deciding(Protocol):
    """The part of a session that approvals need."""

    @property
    def case(self) -> Case:
        """Return the case as it stands."""
        ...

    async def decide(
        self, proposal_id: str, answer: Answer, reason: str = "", shown: str = "", typed_name: str = "",
        *, looked_seconds: float = -1.0,
    ) -> ProposalState:  # fmt: skip
        """Hand over a person's decision."""
        ...


class PlainFace:
    """Prints events as they come: `session.subscribe(PlainFace(sys.stdout))`."""

    def __init__(self, out: TextIO, *, width: int = WIDTH, evidence: bool = True) -> None:
        self._out = out
        self._width = width
        self._evidence = evidence
        self._before = Case()

    def __call__(self, event: Event, case: Case) -> None:
        """Print one event."""
        before, self._before = self._before, case
        if isinstance(event.payload, EvidenceAdded) and not self._evidence:
            return
        self.lines(event_lines(event, case, self._width, before=before))

    def lines(self, lines: list[SafeText]) -> None:
        """Print lines at once; a reader of a pipe must not wait for a full buffer."""
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()

    def prompt(self, text: str) -> None:
        """Print what is asked for, without ending the line."""
        self._out.write(text)
        self._out.flush()

    def error(self, error: PilothouseError) -> None:
        """Print what an error means and what to do."""
        self.lines(wrapped(one_line(f"error: {error.meaning} {error.hint}"), rest="  ", width=self._width))

    async def ask_decision(self, session: Deciding, proposal: Proposal, read: ReadLine, clock: Clock) -> ProposalState:
        """Show a proposal in full and take the answer, until it is decided, put off, or input ends (state OPEN).

        `read(prompt)` returns the next line typed, None at the end of input. An empty line decides nothing.
        """
        self.lines(card_lines(proposal, clock.now(), self._width))
        since = clock.monotonic()
        while True:
            typed = await read("approve, deny or later> ")
            known = session.case.proposal(proposal.id)
            if known and known.state is not ProposalState.OPEN:
                self.lines([SafeText(f"{proposal.id} is {known.state.value} already.")])
                return known.state
            if typed is None or typed.strip() in LATER:
                return ProposalState.OPEN
            try:
                said = read_decision(typed, proposal)
                return await session.decide(
                    proposal.id, said.answer, said.reason, card_digest(proposal), said.typed_name,
                    looked_seconds=clock.monotonic() - since,
                )  # fmt: skip
            except UsageError as error:
                self.error(error)


def warnings(case: Case) -> list[str]:
    """Return what went wrong in the turn besides the cluster: warnings, bounds, errors of a model; each once."""
    said: list[str] = []
    for entry in case.transcript:
        match entry.payload:
            case ev.Asked():
                said.clear()
            case ev.Noted(text, "warning") | ev.BudgetReached(_, _, text):
                said.append(text)
            case ev.ErrorRaised(_, meaning, hint):
                said.append(f"{meaning} {hint}".strip())
            case _:
                pass
    return list(dict.fromkeys(said))


def report_lines(case: Case, width: int = WIDTH) -> list[SafeText]:
    """Return the outcome of a turn for `ask --format text`: answer, causes, what would mend it, evidence."""
    lines: list[SafeText] = []
    for said in warnings(case):
        lines += wrapped(one_line(said), first="warning: ", rest="   ", width=width)
    if lines:
        lines.append(SafeText())
    if case.answer:
        place = f" in {case.namespace}" if case.namespace else ""
        lines += [SafeText(one_line(f"{case.answer.verdict.value.upper()}{place}")), SafeText()]
        if case.answer.remark and case.findings:
            lines += [*wrapped(case.answer.remark, rest="", width=width), SafeText()]
        # The expert's prose says what its findings say; a model's, and that of a clean bill of health, says more.
        if case.answer.mind != "expert" or not case.findings:
            lines += [*wrapped(case.answer.markdown, rest="", width=width), SafeText()]
    for finding in case.findings:
        word = "cause" if finding.role is Role.ROOT_CAUSE else finding.role.value.replace("_", " ")
        facts = " ".join(finding.evidence) or "nothing cited, so a guess"
        claim = f"; {told}" if (told := claim_words(finding, case.mind)) else ""
        text = f"{finding.target}: {finding.summary} ({finding.confidence:.0%} sure; {facts}{claim})"
        lines += wrapped(one_line(text), first=f"{finding.id} {word}: ", rest="   ", width=width)
        if finding.outside and finding.role is Role.ROOT_CAUSE:
            lines += wrapped(one_line(finding.outside), first="   outside the cluster: ", rest="   ", width=width)
    # What stands as a cause is not said again.
    board = [each for each in case.board if each.by != EXPERT or each.mark is not Mark.OPEN]
    if board:
        lines.append(SafeText())
    for hypothesis in board:
        lines += wrapped(one_line(hypothesis_words(hypothesis)), first="might be: ", rest="   ", width=width)
    if case.remedies:
        lines.append(SafeText())
    for remedy in case.remedies:
        after = f", after {remedy.after}" if remedy.after else ""
        risk = f" (risk {remedy.risk.value})" if remedy.action else " (not a change that can be made from here)"
        why = f": {remedy.reason}" if remedy.reason and remedy.reason != remedy.title else ""
        lines += wrapped(
            one_line(f"{remedy.title}{risk}{why}"), first=f"{remedy.id} suggestion{after}: ", rest="   ", width=width
        )
        # On a line of its own and never wrapped, to be copied.
        if remedy.kubectl:
            lines.append(SafeText(f"   {one_line(remedy.kubectl)}"))
        if remedy.outside and remedy.outside not in (remedy.title, remedy.reason):
            lines += wrapped(one_line(remedy.outside), first="   ", rest="   ", width=width)
    cited = {fact for finding in case.findings for fact in finding.evidence}
    cited |= set(CITED.findall(case.answer.markdown)) if case.answer else set()
    facts_shown = [fact for fact in case.evidence if fact.id in cited]
    if facts_shown:
        lines += [SafeText(), SafeText("evidence:")]
    for fact in facts_shown:
        lines += evidence_lines(fact, width)
    if case.answer and case.answer.checked and case.findings:
        lines += [SafeText(), SafeText("checked:")]
        for item in case.answer.checked:
            lines += wrapped(one_line(item), first="  - ", rest="    ", width=width)
    if spent := spent_words(case):
        lines += [SafeText(), *wrapped(one_line(spent), first="model: ", rest="   ", width=width)]
    return lines
