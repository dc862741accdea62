"""A crash loop after a rollout, written by hand: the events of one investigation with one proposal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from assistant.domain import event as ev
from assistant.domain.action import Action, Remedy, RequestClass, RiskLevel
from assistant.domain.case import Case, fold
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.hypothesis import Hypothesis
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import (
    Answer,
    Check,
    CheckResult,
    Decision,
    DiffLine,
    Impact,
    LineOrigin,
    Origin,
    Outcome,
    Proposal,
    ProposalState,
    Risk,
    Undo,
)
from assistant.domain.target import Target

START = datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC)
QUESTION = "checkout rollout in payments is stuck since 13:40, find out why"
DEPLOYMENT = Target("apps/v1", "Deployment", "payments", "checkout", "7c1e")
POD = Target("v1", "Pod", "payments", "checkout-7d9f-x2x1k")
LOG = """13:41:01 INFO  starting checkout 2.14.0
13:41:01 INFO  reading environment
13:41:02 FATAL config: DB_HOST is empty
13:41:02 exit status 1
"""
PODS = '{"items": [{"metadata": {"name": "checkout-7d9f-x2x1k"}, "status": {"phase": "Running"}}]}'
EVENTS = "BackOff x17: Back-off restarting failed container app in pod checkout-7d9f-x2x1k"
REVISIONS = "revision 13: envFrom configMapRef checkout-env\nrevision 14: no envFrom"
_CONTAINER = '{"name":"app","envFrom":[{"configMapRef":{"name":"checkout-env"}}]}'
BODY = '{"spec":{"template":{"spec":{"containers":[' + _CONTAINER + "]}}}}"
BODIES = {sha256(text.encode()).hexdigest(): text for text in (LOG, PODS, EVENTS, REVISIONS)}
ANSWER = """New pods exit at start because **`DB_HOST` is empty** [E3]. Revision 14, rolled out at 13:39, dropped the \
`envFrom` entry for the ConfigMap `checkout-env` [E4]. Pods of revision 13 still serve [E1].

- root cause: `Deployment payments/checkout`, missing `envFrom` [E4]
- follows: 17 restarts and a rollout that cannot finish [E2]

Not ruled out: a rotation of the secret at 13:35; I may not read secrets in this namespace.

1. Restore `envFrom` (proposed as a change).
2. Ask the owner of revision 14 why it was dropped.
"""


def evidence(number: int, request: str, quote: str, text: str, target: Target | None = None) -> Evidence:
    at = START + timedelta(seconds=9 + 4 * number)
    digest = sha256(text.encode()).hexdigest()
    return Evidence(f"E{number}", request, quote, at, digest, len(text.encode()), target)


def proposal(**changes: object) -> Proposal:
    action = Action(
        "PATCH", "/apis/apps/v1/namespaces/payments/deployments/checkout", DEPLOYMENT,
        (("fieldManager", "pilothouse"),), "application/strategic-merge-patch+json", BODY,
    )  # fmt: skip
    diff = (
        DiffLine("@", "spec.template.spec.containers[app]"),
        DiffLine(" ", "image: registry.example/checkout:2.14.0"),
        DiffLine(" ", "env:"),
        DiffLine(" ", "- name: LOG_LEVEL"),
        DiffLine(" ", "  value: info"),
        DiffLine("+", "envFrom:"),
        DiffLine("+", "- configMapRef:"),
        DiffLine("+", "    name: checkout-env"),
        DiffLine(" ", "metadata.generation 41 -> 42", LineOrigin.SERVER),
        DiffLine("-", "managedFields[3].time: 13:39", LineOrigin.HIDDEN),
        DiffLine("+", "managedFields[3].time: 14:03", LineOrigin.HIDDEN),
    )
    made = Proposal(
        id="A1", action=action, request_class=RequestClass.WRITE, digest="9f31c2" + "0" * 58,
        origin=Origin("session", "planner", "s1", "R1", "restores envFrom lost in revision 14", ("E3", "E4")),
        cluster="prod-eu-1", identity="alice", title="restore envFrom on Deployment payments/checkout",
        kubectl="kubectl -n payments patch deployment checkout --type strategic --patch-file A1.json", diff=diff,
        checks=(
            Check("access", CheckResult.PASS, "patch deployments as alice"),
            Check("dry run", CheckResult.PASS, "accepted, 0 warnings"),
            Check("fresh", CheckResult.PASS, "object unchanged since the plan"),
            Check("gitops", CheckResult.WARN, "Argo CD app checkout will revert this at its next sync"),
        ),
        impact=(
            Impact("direct", "1 Deployment"),
            Impact("follows", "1 ReplicaSet new, 5 pods replaced, 1 of 4 down at a time", at_least=True),
            Impact("traffic", "Service checkout keeps 3 of 4 endpoints"),
        ),
        risk=Risk(RiskLevel.MEDIUM, ("production", "replaces serving pods")),
        undo=Undo("remove envFrom again; the state before is kept", replace(action, body="{}")),
        created=START + timedelta(seconds=57), expires=START + timedelta(seconds=57 + 600),
        resource_version="88121734",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def investigation(made: Proposal | None = None) -> list[ev.Payload]:
    """Everything up to the open proposal."""
    made = made or proposal()
    e1 = evidence(1, "GET /api/v1/namespaces/payments/pods", '"name": "checkout-7d9f-x2x1k"', PODS)
    e2 = evidence(2, "GET /api/v1/namespaces/payments/events", "BackOff x17", EVENTS, POD)
    e3 = evidence(
        3, "GET /api/v1/namespaces/payments/pods/checkout-7d9f-x2x1k/log?previous=true",
        "13:41:02 FATAL config: DB_HOST is empty", LOG, POD,
    )  # fmt: skip
    e4 = evidence(
        4, "GET /apis/apps/v1/namespaces/payments/replicasets", "revision 14: no envFrom", REVISIONS, DEPLOYMENT
    )
    names = ["scope the symptom", "recent changes", "pod state", "confirm the cause", "propose a fix"]
    steps = tuple(Step(f"S{n}", name, "approval" if n == 5 else "auto") for n, name in enumerate(names, start=1))
    f1 = Finding(
        "F1", 1, Role.ROOT_CAUSE, "missing-configmap", DEPLOYMENT, "spec.template.spec.containers[0].envFrom",
        "Revision 14 dropped the envFrom entry for checkout-env, so DB_HOST is empty.", 0.95, ("E3", "E4"), ("F2",),
    )  # fmt: skip
    f2 = Finding("F2", 2, Role.CONSEQUENCE, "rollout", POD, "", "The new pods restart in a loop.", 0.99, ("E2",))
    r1 = Remedy(
        "R1", "Restore envFrom", ("F1",), RiskLevel.MEDIUM, made.action, made.kubectl, "remove it again", "smallest"
    )
    r2 = Remedy(
        "R2", "Ask the owner of revision 14", ("F1",), RiskLevel.LOW, outside="the team that rolled out revision 14"
    )
    return [
        ev.SessionOpened(
            "0.1.0", "prod-eu-1", "prod-eu-1", "v1.36.1", "payments", "alice", "ask", "live", "expert", True
        ),
        ev.Asked(1, QUESTION, "payments"),
        ev.PlanMade(steps),
        ev.StepStarted("S1"),
        ev.ToolStarted(
            "c1", "list", "list pods  payments  app=checkout", e1.request, "kubectl -n payments get pods", "S1"
        ),
        ev.ToolEnded("c1", True, "4 pods", 0.212, 2100),
        ev.EvidenceAdded(e1, "c1"),
        ev.StepEnded("S1", StepStatus.DONE),
        ev.StepStarted("S2"),
        ev.ToolStarted(
            "c2", "list", "list events  payments  last 30 min", e2.request, "kubectl -n payments get events", "S2"
        ),
        ev.ToolEnded("c2", True, "17 events", 0.34, 900),
        ev.EvidenceAdded(e2, "c2"),
        ev.StepEnded("S2", StepStatus.DONE),
        ev.StepStarted("S3"),
        ev.ToolStarted(
            "c3", "logs", "logs checkout-7d9f-x2x1k  app  previous", e3.request, "kubectl -n payments logs -p", "S3"
        ),
        ev.ToolEnded("c3", True, "4 lines", 1.1, len(LOG), LOG),
        ev.EvidenceAdded(e3, "c3"),
        ev.StepEnded("S3", StepStatus.DONE),
        ev.StepStarted("S4"),
        ev.ToolStarted(
            "c4", "history", "rollout history  deploy/checkout", e4.request, "kubectl rollout history", "S4"
        ),
        ev.ToolEnded("c4", True, "2 revisions", 0.095, 400),
        ev.EvidenceAdded(e4, "c4"),
        ev.ToolStarted(
            "c5", "get", "get secret checkout-db", "GET /api/v1/namespaces/payments/secrets/checkout-db", "", "S4"
        ),
        ev.ToolEnded("c5", False, "403 forbidden: alice may not get secrets in payments", 0.04),
        ev.StepEnded("S4", StepStatus.DONE),
        ev.FindingsRanked((f1, f2)),
        ev.RemediesSuggested((r1, r2)),
        ev.Answered(ANSWER, Verdict.FAULT, "expert", ("services", "quotas")),
        ev.Used(2.4, 31),
        ev.StepStarted("S5"),
        ev.Proposed(made),
    ]


MODEL, ASKED = "large-2026-10", "large"
MODEL_ANSWER = """Both minds agree: revision 14 dropped `envFrom`, so **`DB_HOST` is empty** [E3][E4].

The model adds: the ConfigMap `checkout-env` still exists [E5], so restoring the entry is enough.
"""
PROMPT = '{"messages": [{"role": "system", "content": "You look for a cause.\\nCite evidence."}], "tools": ["get"]}'
REPLY = '{"text": "", "calls": [{"name": "get", "arguments": {"kind": "ConfigMap", "name": "checkout-env"}}]}'
CONFIG = '{"kind": "ConfigMap", "metadata": {"name": "checkout-env"}}'
BODIES |= {sha256(text.encode()).hexdigest(): text for text in (PROMPT, REPLY, CONFIG)}


def called(purpose: str = "diagnose", **changes: object) -> ev.ModelCalled:
    digests = [sha256(text.encode()).hexdigest() for text in (PROMPT, REPLY)]
    made = ev.ModelCalled(
        MODEL, purpose, digests[0], 7_120, 310, 0.0121, 3.4, ASKED, "gateway.example", digests[1], ("diagnoser 1f3a",)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def thinking() -> list[ev.Payload]:
    """The expert has concluded and spoken, and a model has begun to think."""
    course = investigation()
    begun = course[: next(n for n, each in enumerate(course) if isinstance(each, ev.RemediesSuggested))]
    assert isinstance(begun[0], ev.SessionOpened)
    board = (
        Hypothesis(
            "H1", "Revision 14 dropped the envFrom entry for checkout-env.", "expert", DEPLOYMENT, ("E3", "E4"), (),
            "whether the ConfigMap still exists",
        ),
        Hypothesis("H2", "The database host moved and nobody changed the ConfigMap.", MODEL, None, (), ("E3",)),
        Hypothesis(
            "H3", "A rotation of the secret at 13:35 broke the login.", MODEL, None, ("E2",), (), "the secret's keys"
        ),
    )  # fmt: skip
    return [
        replace(begun[0], mind=ASKED), *begun[1:],
        ev.BoardMade(board),
        ev.OpinionGiven("expert", Verdict.FAULT, ANSWER),
        ev.ToolStarted("c6", "model", f"ask {ASKED}  diagnose", "", "", "S4"),
    ]  # fmt: skip


def thought() -> list[ev.Payload]:
    """Two calls of a model, one read of its own, an answer that agrees, and one claim that nothing carries."""
    request = "GET /api/v1/namespaces/payments/configmaps/checkout-env"
    e5 = evidence(5, request, '"name": "checkout-env"', CONFIG)
    ranked = next(each for each in investigation() if isinstance(each, ev.FindingsRanked))
    f1, f2 = ranked.findings
    f3 = Finding(
        "F3", 3, Role.NOTE, "credentials", DEPLOYMENT, "", "The secret was rotated and the login fails.", 0.4, (), (),
        "", MODEL, "no evidence is cited",
    )  # fmt: skip
    rest = [
        replace(each, mind=ASKED, markdown=MODEL_ANSWER) if isinstance(each, ev.Answered) else each
        for each in investigation()[investigation().index(ranked) + 1 :]
    ]
    return [
        *thinking(),
        ev.ToolEnded("c6", True, "1 tool call", 3.4),
        called(),
        ev.ToolStarted("c7", "get", "get configmap checkout-env", request, "kubectl -n payments get cm", "S4"),
        ev.EvidenceAdded(e5, "c7"),
        ev.ToolEnded("c7", True, "found", 0.06, len(CONFIG)),
        ev.ToolStarted("c8", "model", f"ask {ASKED}  diagnose", "", "", "S4"),
        ev.ToolEnded("c8", True, "an answer", 12.0),
        called(
            model="small", endpoint="spare.example", prompt_tokens=8_400, completion_tokens=90, cost_usd=-1.0,
            seconds=12.0, estimated=True, cut="more than 60,000 characters",
        ),
        ev.FindingsRanked((replace(f1, by=f"expert and {ASKED}"), f2, f3)),
        *rest,
    ]  # fmt: skip


def outcome(made: Proposal | None = None) -> list[ev.Payload]:
    """What follows an approval: sent, applied, verified, undo offered."""
    made = made or proposal()
    at = made.created + timedelta(seconds=95)
    assert made.undo.action is not None
    return [
        ev.Decided(Decision(made.id, made.digest, Answer.APPROVE, "alice", at)),
        ev.Sending(made.id, made.digest),
        ev.Concluded(Outcome(made.id, ProposalState.APPLIED, at, 200, "patched", "88121801")),
        ev.Verified(made.id, ev.Healing.FIXED, "4 of 4 pods are ready"),
        ev.UndoOffered(made.id, made.undo.action, "remove envFrom again", at + timedelta(seconds=600)),
        ev.StepEnded("S5", StepStatus.DONE),
        ev.TurnEnded(1),
        ev.SessionClosed("fixed"),
    ]


def numbered(payloads: list[ev.Payload], *, seconds: float = 2.0) -> list[ev.Event]:
    """The payloads as events, `seconds` apart."""
    step = timedelta(seconds=seconds)
    return [ev.Event("s-0188", n, START + step * (n - 1), payload) for n, payload in enumerate(payloads, start=1)]


def whole() -> list[ev.Event]:
    return numbered([*investigation(), *outcome()])


def case_of(payloads: list[ev.Payload]) -> Case:
    return fold(numbered(payloads))
