"""The closed union of events. A session is an append-only list of these; everything visible is derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from assistant.domain.action import Action, Remedy
from assistant.domain.asking import CallDecided as CallDecided
from assistant.domain.asking import CallHeld as CallHeld
from assistant.domain.asking import QuestionAnswered as QuestionAnswered
from assistant.domain.asking import QuestionPut as QuestionPut
from assistant.domain.asking import ToolProgressed as ToolProgressed
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Verdict
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import Decision, Outcome, Proposal
from assistant.domain.thinking import BoardMade as BoardMade
from assistant.domain.thinking import HypothesisMarked as HypothesisMarked
from assistant.domain.thinking import ModelCalled as ModelCalled
from assistant.domain.thinking import OpinionGiven as OpinionGiven


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The first event: where we are, as whom, and which mind thinks."""

    app_version: str
    context: str
    cluster: str
    server_version: str
    namespace: str
    identity: str
    mode: str
    source: str
    mind: str
    production: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A person asked something; starts a turn (counted from 1)."""

    turn: int
    text: str
    namespace: str


@dataclass(frozen=True, slots=True)
class PlanMade:
    """The whole plan of the turn; a later one replaces the earlier one."""

    steps: tuple[Step, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step of the plan began."""

    step: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step of the plan ended."""

    step: str
    status: StepStatus
    note: str = ""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call began. `title` is what people read: `list pods  payments`."""

    call: str
    tool: str
    title: str
    request: str = ""
    kubectl: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class ToolWaiting:
    """A tool call waits `seconds` before it tries again; `why` says for what: `HTTP 503`, `asked to wait 30 s`."""

    call: str
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call ended; `ok` is false for a failure, then `result` is its one-sentence meaning."""

    call: str
    ok: bool
    result: str
    seconds: float
    size_bytes: int = 0
    preview: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceAdded:
    """A fact was recorded. The text it stands in is in the store under `evidence.body`."""

    evidence: Evidence
    call: str = ""


@dataclass(frozen=True, slots=True)
class FindingsRanked:
    """The findings of the turn, ordered by rank, root causes first; a later one replaces the earlier one."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class RemediesSuggested:
    """What would mend the findings, in the order in which to consider it."""

    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer of the turn, Markdown with citations like [E1].

    `remark` is what had to be said about the question itself ("" for nothing); the Markdown begins with it.
    """

    markdown: str
    verdict: Verdict
    mind: str
    checked: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Proposed:
    """The gate examined a change; it waits for a person.

    `journal`, here and below, is `NUMBER:HASH` of an entry that the gate's journal had then, "" where that is not
    known: kept here, it shows whether the journal has been cut off since.
    """

    proposal: Proposal
    journal: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """A person decided."""

    decision: Decision
    journal: str = ""


@dataclass(frozen=True, slots=True)
class Sending:
    """The approved request is about to leave; written and flushed before it does."""

    proposal: str
    digest: str


@dataclass(frozen=True, slots=True)
class Concluded:
    """What came of a proposal, whatever it was: applied, failed, unknown, refused, expired, void, withdrawn."""

    outcome: Outcome
    journal: str = ""


class Healing(StrEnum):
    """What verification reads say after a change."""

    FIXED = "fixed"
    NOT_FIXED = "not fixed"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Verified:
    """The cluster was read again after a change."""

    proposal: str
    healing: Healing
    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UndoOffered:
    """The way back is ready until `until`; using it is a change like any other."""

    proposal: str
    action: Action
    text: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Steered:
    """A person gave a direction while the turn ran."""

    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth knowing that is none of the others. `level` is "info" or "warning"."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """A bound was hit; what is known is reported all the same. `bound` is steps, calls, tokens, cost or seconds."""

    bound: str
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class Used:
    """What the session has cost so far, totals."""

    seconds: float
    api_requests: int
    model_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class ErrorRaised:
    """Something failed: what it means and what to do, with the raw detail one key away."""

    code: str
    meaning: str
    hint: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClusterLost:
    """The gate or the cluster behind it went away; open proposals are void."""

    reason: str


@dataclass(frozen=True, slots=True)
class ClusterBack:
    """The cluster answers again."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The turn was stopped before its end: by a person, a bound or a crash (then written at the next start)."""

    reason: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn ran to its end."""

    turn: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Another process took the session over after event `after`; `continues` says whether it goes on with the turn."""

    after: int
    continues: bool = False


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The last event. `result` is one line for the session list."""

    result: str


Payload = (
    SessionOpened
    | Asked
    | PlanMade
    | StepStarted
    | StepEnded
    | ToolStarted
    | ToolWaiting
    | ToolProgressed
    | ToolEnded
    | CallHeld
    | CallDecided
    | QuestionPut
    | QuestionAnswered
    | EvidenceAdded
    | FindingsRanked
    | BoardMade
    | HypothesisMarked
    | OpinionGiven
    | RemediesSuggested
    | Answered
    | Proposed
    | Decided
    | Sending
    | Concluded
    | Verified
    | UndoOffered
    | Steered
    | Noted
    | BudgetReached
    | ModelCalled
    | Used
    | ErrorRaised
    | ClusterLost
    | ClusterBack
    | Stopped
    | TurnEnded
    | Resumed
    | SessionClosed
)

KINDS: dict[str, type[Payload]] = {
    "session_opened": SessionOpened,
    "asked": Asked,
    "plan_made": PlanMade,
    "step_started": StepStarted,
    "step_ended": StepEnded,
    "tool_started": ToolStarted,
    "tool_waiting": ToolWaiting,
    "tool_progressed": ToolProgressed,
    "tool_ended": ToolEnded,
    "call_held": CallHeld,
    "call_decided": CallDecided,
    "question_put": QuestionPut,
    "question_answered": QuestionAnswered,
    "evidence_added": EvidenceAdded,
    "findings_ranked": FindingsRanked,
    "board_made": BoardMade,
    "hypothesis_marked": HypothesisMarked,
    "opinion_given": OpinionGiven,
    "remedies_suggested": RemediesSuggested,
    "answered": Answered,
    "proposed": Proposed,
    "decided": Decided,
    "sending": Sending,
    "concluded": Concluded,
    "verified": Verified,
    "undo_offered": UndoOffered,
    "steered": Steered,
    "noted": Noted,
    "budget_reached": BudgetReached,
    "model_called": ModelCalled,
    "used": Used,
    "error_raised": ErrorRaised,
    "cluster_lost": ClusterLost,
    "cluster_back": ClusterBack,
    "stopped": Stopped,
    "turn_ended": TurnEnded,
    "resumed": Resumed,
    "session_closed": SessionClosed,
}
"""Kind names as stored; never renamed, because old sessions must open with new versions."""

NAMES: dict[type[Payload], str] = {kind: name for name, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Event:
    """A payload with its place in the session: `seq` counts from 1 without gaps, `at` is aware UTC."""

    session: str
    seq: int
    at: datetime
    payload: Payload

    @property
    def kind(self) -> str:
        """Return the stored name of the payload's kind."""
        return NAMES[type(self.payload)]
