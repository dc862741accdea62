"""A whole session as events: question, evidence, finding, approved change, verification, with a long wait in it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

from assistant.domain import event as ev
from assistant.domain.event import Event
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Verdict
from assistant.domain.plan import Step, StepStatus
from assistant.domain.proposal import Answer, Decision, DiffLine, LineOrigin, Origin, Outcome, ProposalState
from tests.session.scripted import FINDING, OPENED, REMEDY, START, WEB, patch, proposal

BODY = '{"items": [{"reason": "ImagePullBackOff", "message": "not found"}]}\n' * 60
SHA256 = hashlib.sha256(BODY.encode()).hexdigest()
CHANGE = replace(
    proposal(7, patch(), Origin("session", "pilothouse", "s1", "A1")),
    diff=(
        DiffLine("@", "spec.template.spec.containers[0]"),
        DiffLine("-", "image: shop/web:2"),
        DiffLine("+", "image: shop/web:1"),
        DiffLine("+", "terminationMessagePath: /dev/termination-log", LineOrigin.SERVER),
        DiffLine("+", "generation: 7", LineOrigin.HIDDEN),
    ),
)

PODS = "GET /api/v1/namespaces/shop/pods"

PAYLOADS: tuple[tuple[float, ev.Payload], ...] = (
    (0, OPENED),
    (1, ev.Asked(1, "Why does web not start?", "shop")),
    (2, ev.PlanMade((Step("S1", "look at the pods"), Step("S2", "read events")))),
    (2, ev.StepStarted("S1")),
    (3, ev.ToolStarted("T1", "list_pods", "list pods  shop", PODS, "kubectl get pods", "S1")),
    (
        4,
        ev.EvidenceAdded(
            Evidence("E1", PODS, '"reason": "ImagePullBackOff"', START, SHA256, len(BODY), WEB),
            "T1",
        ),
    ),
    (4, ev.ToolEnded("T1", True, "3 pods, 1 not ready", 0.4, 900, "web-1  0/1  ImagePullBackOff")),
    (5, ev.ToolEnded("T2", False, "forbidden", 0.1)),
    (6, ev.StepEnded("S1", StepStatus.DONE)),
    (7, ev.FindingsRanked((FINDING,))),
    (7, ev.RemediesSuggested((REMEDY,))),
    (8, ev.Answered("The image **shop/web:2** does not exist [E1].", Verdict.FAULT, "expert", ("pods", "events"))),
    (9, ev.Proposed(CHANGE)),
    (309, ev.Decided(Decision("A-0007", CHANGE.digest, Answer.APPROVE, "alice", START, "ok to patch"))),
    (309, ev.Sending("A-0007", CHANGE.digest)),
    (310, ev.Concluded(Outcome("A-0007", ProposalState.APPLIED, START, 200, "patched", "43"))),
    (330, ev.Verified("A-0007", ev.Healing.FIXED, "3 of 3 pods are ready", ("E1",))),
    (331, ev.UndoOffered("A-0007", patch("shop/web:2"), "set it back", START + timedelta(hours=1))),
    (332, ev.Used(12.5, 31)),
    (332, ev.TurnEnded(1)),
    (340, ev.SessionClosed("fixed")),
)  # fmt: skip

EVENTS = tuple(
    Event("s1", seq, START + timedelta(seconds=seconds), payload)
    for seq, (seconds, payload) in enumerate(PAYLOADS, start=1)
)
