"""A turn in which a language model thinks after the expert: board, opinion, calls, an unsupported claim."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from assistant.domain import event as ev
from assistant.domain.event import Event
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.hypothesis import Hypothesis, Mark
from assistant.store.bodies import body_key
from tests.replay.course import BODY, PODS, SHA256
from tests.session.scripted import FINDING, OPENED, REMEDY, START, WEB

PROMPT = '{"messages": [{"role": "user", "content": "case file"}]}'
REPLY = '{"text": "", "calls": [{"name": "answer"}]}'
LATER_REPLY = '{"text": "half an answer"}'
TEXTS = {SHA256: BODY, **{body_key(text): text for text in (PROMPT, REPLY, LATER_REPLY)}}
MODEL, ASKED = "large-2026-10", "large"
OPINION = "**The cause** (almost certain)\n\n- The image does not exist [E1]."
ANSWER = "The registry refuses the tag [E1]. The expert says the image does not exist [E1]."
BOARD = (
    Hypothesis("H1", "The image tag does not exist.", "expert", WEB, ("E1",), (), "the registry's list of tags"),
    Hypothesis("H2", "The pull secret is wrong.", MODEL, None, (), ("E1",), "the message of the pull"),
)
CALLED = ev.ModelCalled(
    MODEL, "diagnose", body_key(PROMPT), 11_900, 480, 0.0213, 4.2, ASKED, "gateway.example", body_key(REPLY),
    ("diagnoser 1f3a",),
)  # fmt: skip
CUT = replace(
    CALLED, purpose="repair", prompt_tokens=900, completion_tokens=40, cost_usd=-1.0, model=ASKED, estimated=True,
    cut="no token for 45 s", reply_digest=body_key(LATER_REPLY),
)  # fmt: skip
SUPPORTED = replace(FINDING, by=f"expert and {MODEL}")
UNSUPPORTED = Finding(
    "F2", 2, Role.NOTE, "credentials", WEB, "", "The pull secret may be wrong.", 0.4, (), (), "", MODEL,
    "no evidence is cited",
)  # fmt: skip

PAYLOADS: tuple[ev.Payload, ...] = (
    replace(OPENED, mind=ASKED),
    ev.Asked(1, "Why does web not start?", "shop"),
    ev.ToolStarted("T1", "list_pods", "list pods  shop", PODS),
    ev.EvidenceAdded(Evidence("E1", PODS, '"reason": "ImagePullBackOff"', START, SHA256, len(BODY), WEB), "T1"),
    ev.ToolEnded("T1", True, "3 pods, 1 not ready", 0.4, 900),
    ev.FindingsRanked((FINDING,)),
    ev.BoardMade(BOARD),
    ev.OpinionGiven("expert", Verdict.FAULT, OPINION),
    ev.ToolStarted("T2", "model", f"ask {ASKED}  diagnose"),
    ev.HypothesisMarked("H2", Mark.STRUCK),
    ev.ToolEnded("T2", True, "1 tool call", 4.2),
    CALLED,
    ev.ToolStarted("T3", "model", f"ask {ASKED}  repair"),
    ev.ToolEnded("T3", False, "cut", 45.0),
    CUT,
    ev.FindingsRanked((SUPPORTED, UNSUPPORTED)),
    ev.RemediesSuggested((REMEDY,)),
    ev.Answered(ANSWER, Verdict.FAULT, ASKED, ("pods",)),
    ev.Used(50.0, 31),
    ev.TurnEnded(1),
    ev.SessionClosed("fault"),
)
EVENTS = tuple(
    Event("s1", seq, START + timedelta(seconds=seq), payload) for seq, payload in enumerate(PAYLOADS, start=1)
)
STANDING = next(n for n, payload in enumerate(PAYLOADS, start=1) if isinstance(payload, ev.OpinionGiven))
"""The number of events after which the expert has spoken and the model still thinks."""
