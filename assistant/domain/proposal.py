"""A change that the gate has examined, the person's decision about it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from assistant.domain.action import Action, RequestClass, RiskLevel
from assistant.domain.target import Target


class CheckResult(StrEnum):
    """Outcome of one check; UNKNOWN means that it could not be made, which raises the risk."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the CHECKS block. A FAIL of `access` or `dry run` closes the proposal to approval."""

    name: str
    result: CheckResult
    text: str


class LineOrigin(StrEnum):
    """Where a changed line of the dry run comes from."""

    OURS = "ours"
    SERVER = "server"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of the diff between the live object and the server's dry run, as YAML.

    `sign` is "+", "-", " " or "@" (a heading with the path of the block). `origin` tells our own change from
    what the server defaults or admission changed, and from bookkeeping that is hidden (managedFields, status).
    """

    sign: str
    text: str
    origin: LineOrigin = LineOrigin.OURS


@dataclass(frozen=True, slots=True)
class Impact:
    """One line of the blast radius, under a heading (`direct`, `follows`, `traffic`, `storage`, `watchers`)."""

    heading: str
    text: str
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Risk:
    """How dangerous a change is, with the rules that fired."""

    level: RiskLevel
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undo:
    """The way back: an inverse action with the before-image, or none, said in plain words.

    `before` is the whole object that a delete takes away, as YAML without secret values; "" for other changes.
    """

    text: str
    action: Action | None = None
    before: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked: our own session (its id) or a foreign client of a guarded kubeconfig. For people; nothing rests on it.

    `client` is what the client says of itself. `token` is the name of the kubeconfig that it used, `process` what the
    system says of the process at the other end of the connection, "" where that cannot be known.
    """

    kind: str
    client: str
    session: str = ""
    remedy: str = ""
    why: str = ""
    evidence: tuple[str, ...] = ()
    token: str = ""
    process: str = ""

    @property
    def who(self) -> str:
        """Return who asked in one line: the client's own word first, then what the gate knows itself."""
        parts = [self.client or self.kind]
        parts += [f"kubeconfig {self.token}"] if self.token and self.kind != "session" else []
        parts += [self.process] if self.process else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SecondPerson:
    """A rule that one person's yes is not enough.

    `rule` says which and where it was set, `people` whose signature counts, `agreed` who has signed. `break_glass` says
    whether one person may go on alone, with a reason and the object's name typed.
    """

    rule: str
    people: tuple[str, ...] = ()
    agreed: tuple[str, ...] = ()
    break_glass: bool = False

    @property
    def missing(self) -> bool:
        """Say whether nobody has signed yet."""
        return not self.agreed


@dataclass(frozen=True, slots=True)
class Consent:
    """A second person's signed agreement to one exact change.

    `shown` is the hash of the proposal as that person read it, `key` the public key in OpenSSH's form, `signature` is
    Ed25519 in base64. `by` is the name that the gate's own settings give the key; it is not part of what is signed.
    """

    proposal: str
    digest: str
    shown: str
    key: str
    at: datetime
    signature: str
    by: str = ""


class ProposalState(StrEnum):
    """The life of a proposal: OPEN, then exactly one of the decided states, then an outcome."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    VOID = "void"
    SENDING = "sending"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """One object of a change to several; it is sent as a request of its own, bound to uid and resourceVersion."""

    target: Target
    resource_version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything a person needs to decide about one exact request; made by the gate only.

    `digest` binds an approval to cluster, identity, request bytes, target uid and resourceVersion, dry-run
    answer, policy version, session, nonce and expiry. `approvable` is false when the whole request cannot be
    shown, access is denied or the dry run failed; `not_approvable` then says why, and `approvable_if` what would
    have to be different. `parts` are the objects of a change to several, all of them; nothing else is sent then.
    """

    id: str
    action: Action
    request_class: RequestClass
    digest: str
    origin: Origin
    cluster: str
    identity: str
    title: str
    kubectl: str
    diff: tuple[DiffLine, ...]
    checks: tuple[Check, ...]
    impact: tuple[Impact, ...]
    risk: Risk
    undo: Undo
    created: datetime
    expires: datetime
    resource_version: str = ""
    not_approvable: str = ""
    supersedes: str = ""
    parts: tuple[Part, ...] = ()
    approvable_if: str = ""
    second: SecondPerson | None = None

    @property
    def approvable(self) -> bool:
        """Say whether a person may approve this at all."""
        return not self.not_approvable

    @property
    def critical(self) -> bool:
        """Say whether the request or its risk is critical."""
        return self.request_class is RequestClass.CRITICAL or self.risk.level is RiskLevel.CRITICAL

    @property
    def typed_name(self) -> str:
        """Return the name that must be typed before approving, "" where arming and enter are enough.

        For several objects it is their count and kind: `9-pods`.
        """
        name = self.action.target.name
        return "" if not self.critical else f"{len(self.parts)}-{name}" if self.parts else name


BREAK_GLASS = "BREAK-GLASS"
"""How a change is marked, wherever it is listed, on which one person went on alone although two were asked for."""


class Answer(StrEnum):
    """What a person may say to a proposal."""

    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer to the proposal with this digest. `shown` is the SHA-256 of the card on screen.

    `looked_seconds` is how long that card had been on screen, negative where that is not known. The gate fills in
    `second`, the signed agreement that counted, and `quick`: approved sooner than anybody can have read it.
    `break_glass` says that one person went on alone where two are asked for; `reason` then says why.
    """

    proposal: str
    digest: str
    answer: Answer
    by: str
    at: datetime
    reason: str = ""
    shown: str = ""
    typed_name: str = ""
    looked_seconds: float = -1.0
    break_glass: bool = False
    second: Consent | None = None
    quick: bool = False

    @property
    def word(self) -> str:
        """Return what was answered, loud where one person went on alone although two were asked for."""
        if self.answer is Answer.DENY:
            return "denied"
        return f"{BREAK_GLASS}, approved alone" if self.break_glass else "approved"

    @property
    def who(self) -> str:
        """Return who answered, and what has to be known about it: the second person, and that nobody read the card."""
        marks = [f"agreed by {self.second.by}"] if self.second else []
        marks += ["sooner than it can be read"] if self.quick else []
        return f"{self.by} ({'; '.join(marks)})" if marks else self.by


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a proposal. `state` is APPLIED, FAILED, UNKNOWN, REFUSED, EXPIRED, DENIED, VOID or WITHDRAWN.

    `status_code` is the API server's, 0 when it never answered. UNKNOWN means: sent, no answer, never sent again.
    """

    proposal: str
    state: ProposalState
    at: datetime
    status_code: int = 0
    message: str = ""
    resource_version: str = ""
