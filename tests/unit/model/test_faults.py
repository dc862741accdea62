"""Whatever a provider or a model does wrong, the expert's answer stands, the log says why, and calls are bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path

import pytest

from agents.mind import Conclusion
from agents.model.types import Bounds
from assistant.domain import event as ev
from assistant.domain.case import fold
from tests.session import scripted

from .scene import WIDE, Scene, calls, thinking
from .server import DONE, Says, call, event, fails, text, usage
from .test_client import Clock

READ = calls(("get", {"kind": "ConfigMap", "name": "label-printer-env"}))


class FakeClock(scripted.FakeClock):
    """One that says what is waited for."""

    def waits_for(self, seconds: float) -> bool:
        return any(abs((due - self.time).total_seconds() - seconds) < 0.01 for due, _ in self._sleepers)


NESTED = 900
"""Levels of a list that JSON can still be read with, and hardly written."""


def raw(*parts: Iterable[bytes]) -> Says:
    return Says([*chain.from_iterable(parts), event({}, "tool_calls"), usage(), DONE])


def answering(arguments: str) -> Says:
    return raw(call("answer", arguments))


WRONG = answering(json.dumps({"verdict": "broken", "text": "x", "causes": []}))
CUT = answering('{"verdict": "fault", "text": "The Servi')
OVERFLOW = fails(400, "This model's maximum context length is 10 tokens.")


@dataclass(frozen=True)
class Fault:
    """What a model does after it has read something, and what the log has to say of it."""

    answers: tuple[Says, ...]
    told: str
    requests: int
    """Requests to the model in all, the first one included."""
    bounds: Bounds = field(default_factory=Bounds)


FAULTS = {
    "down": Fault((fails(503),), "Tried 3 times", 4),
    "key refused": Fault((fails(401),), "does not accept the key", 2),
    "no such model": Fault((fails(404),), "is not there", 2),
    "busy, and says until when": Fault((fails(429, retry_after="2"),), "asked to wait (HTTP 429)", 4),
    "busy for an hour": Fault((fails(429, retry_after="3600"),), "too long to wait for", 2),
    "case too large twice": Fault((OVERFLOW,), "asking again with half of it", 3),
    "cut in its words": Fault((Says(text("The ", finish=None)),), "broke off its answer", 2),
    "cut in its call": Fault((Says(call("answer", '{"verdict"')),), "broke off its answer", 2),
    "no completion at all": Fault((Says([b"<html>log in"], content_type="text/html"),), "no completion", 2),
    "arguments that are no JSON": Fault((raw(call("get", "{oops")),), "did not answer when it had to", 7),
    "arguments nested beyond reading": Fault(
        (raw(call("get", '{"a": ' + "[" * 20_000)),), "did not answer when it had to", 7
    ),
    "arguments nested beyond writing": Fault(
        (raw(call("get", '{"a": ' + "[" * NESTED + "]" * NESTED + "}")),), "did not answer when it had to", 7
    ),
    "a call without a name": Fault((raw(call("", "{}")),), "said nothing, 2 times", 3),
    "a tool that is not there": Fault(
        (raw(call("kubectl", '{"args": "delete"}')),), "`kubectl` was called 3 times with the same arguments", 5
    ),
    "a thousand tool calls": Fault(
        (raw(*(call("get", f'{{"kind": "Pod", "name": "p{n}"}}', index=n, id=f"c{n}") for n in range(1_000))),),
        "more than 32 tool calls", 3,
    ),
    "a thousand changes": Fault(
        (raw(*(call("propose_change", json.dumps({
            "title": f"t{n}", "kind": "ConfigMap", "name": "label-printer-env", "why": "x",
            "patch": {"data": {"N": str(n)}}}), index=n, id=f"c{n}") for n in range(1_000))),),
        # The last one is asked again for its answer, within the eight calls of a turn.
        "more than 32 tool calls", 8,
    ),
    "nothing": Fault((raw(),), "said nothing, 2 times", 3),
    "blanks": Fault((Says([*text(" ", "\n"), usage(), DONE]),), "said nothing, 2 times", 3),
    "words for ever": Fault(
        (Says(chain(text("a", finish=None), repeat(event({"content": "and so on " * 50})))),),
        "longer than 5000", 3, Bounds(characters=5_000),
    ),
    "words and never a call": Fault((Says([*text("It is DNS."), usage(), DONE]),), "in words and not with evidence", 3),
    "half of a character": Fault((raw([event({"content": "caf\ud800"})]),), "in words and not with evidence", 3),
    "half of a character in arguments": Fault(
        (raw(call("get", '{"kind": "Pod", "name": "caf\\ud800"}')),), "3 times with the same arguments", 5
    ),
    "half of a character in an answer": Fault(
        (answering('{"verdict": "broken", "text": "caf\\ud800", "causes": []}'),), "could not be read", 3
    ),
    "an answer of another shape twice": Fault((WRONG,), "could not be read", 3),
    "an answer cut in its JSON twice": Fault((CUT,), "could not be read", 3),
    "another shape, then down": Fault((WRONG, fails(503)), "Tried 3 times", 5),
    "the same call for ever": Fault((READ,), "3 times with the same arguments", 4),
}  # fmt: skip


def outline(conclusion: Conclusion) -> tuple[object, ...]:
    return conclusion.verdict, conclusion.findings, conclusion.remedies, conclusion.markdown, conclusion.by


async def stands(scene: Scene, done: Conclusion) -> None:
    """The expert's conclusion is returned as it was, and the log is one that folds."""
    again = await scene.expert.conclude(scene.turn, tuple(scene.found), scene.recorder)
    assert outline(done)[:-1] == outline(again)[:-1]
    assert done.by == "expert"
    assert scene.case.opinion and scene.case.opinion.markdown == done.markdown, "and it was told before the model was"
    assert fold(scene.recorder.events) == scene.case
    assert any("gave no answer; the expert's stands" in said for said in scene.said())


@pytest.mark.parametrize("name", FAULTS)
async def test_the_experts_answer_stands_and_the_log_says_what_happened(name: str, tmp_path: Path) -> None:
    fault, clock = FAULTS[name], Clock()
    async with thinking(tmp_path, "misspelt-host", READ, *fault.answers, bounds=fault.bounds, clock=clock) as scene:
        done = await scene.conclude()
        await stands(scene, done)
        assert any(fault.told in said for said in scene.said()), scene.said()
        assert len(scene.server.asked) == fault.requests
        # Tries of one call are one ModelCalled: the waits between them are told as such.
        asked_again = sum(isinstance(each.payload, ev.ToolWaiting) for each in scene.recorder.events)
        assert len(scene.called()) == fault.requests - asked_again
        assert all(each.failed or each.reply_digest for each in scene.called())
        assert any("QUEUE_HOST" in each.quote for each in scene.case.evidence[-4:]), "what was read is kept"
        assert scene.changing() == []


async def test_an_error_of_the_provider_is_an_error_of_the_log_with_what_to_do(tmp_path: Path) -> None:
    async with thinking(tmp_path, "misspelt-host", fails(401, "wrong: k-" + "of-nobody")) as scene:
        await scene.conclude()
        (error,) = scene.case.errors
        assert error.code == "model-refused"
        assert "Check the key" in error.hint
        assert "of-nobody" not in str(scene.recorder.events)


async def test_a_case_that_is_too_large_is_sent_once_more_by_half(tmp_path: Path) -> None:
    reads = calls(
        *(("get", {"kind": "Pod", "name": "label-printer-7d99b9b8f9-zwc2x", "path": p}) for p in ("spec", "status"))
    )
    async with thinking(tmp_path, "misspelt-host", reads, OVERFLOW, Says()) as scene:
        await scene.conclude()
        first, second = (scene.prompt(n) for n in (1, 2))
        assert len(second) < len(first) - 1_000
        known = {each.id for each in scene.case.evidence}
        assert all(each in second for each in known), "ids are never dropped"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_model_that_hangs_ends_at_the_clients_bound(begun: bool, tmp_path: Path) -> None:
    clock = FakeClock()
    hangs = Says(text("The ", finish=None) if begun else (), then="hang")
    patient = replace(WIDE, seconds=100_000.0)
    async with thinking(tmp_path, "misspelt-host", hangs, clock=clock, allowance=patient) as scene:
        thinks = asyncio.create_task(scene.conclude())
        seconds = 45.0 if begun else 90.0
        # Asked and, where it has begun, heard: then the client waits on the clock for just so long.
        async with asyncio.timeout(60):
            while not scene.server.asked or not clock.waits_for(seconds):  # noqa: ASYNC110 - time is its own
                await asyncio.sleep(0.001)
            while not thinks.done():
                await clock.pass_seconds(seconds + 1)
                await asyncio.sleep(0.001)
        done = await thinks
        assert done.by == "expert"
        assert [each.code for each in scene.case.errors] == ["model-timeout"]
        (paid,) = scene.called()
        assert (paid.prompt_tokens > 0) is begun, "what had come was paid for, though nobody said how much"
        await asyncio.wait_for(scene.server.gone.wait(), 10)


async def test_an_answer_without_support_stays_shown_where_its_repair_fails(tmp_path: Path) -> None:
    made_up = {"kind": "Node", "name": "n1", "summary": "The node is broken.", "category": "node", "evidence": []}
    first = answering(json.dumps({"verdict": "fault", "text": "The node.", "causes": [made_up]}))
    async with thinking(tmp_path, "misspelt-host", first, fails(401)) as scene:
        done = await scene.conclude()
        assert done.findings[0].by == "expert"
        assert [each.summary for each in done.findings if each.unsupported] == ["The node is broken."]
        assert [each.code for each in scene.case.errors] == ["model-refused"], "the log says why it was not mended"


@pytest.mark.parametrize("what", [[0] * 3, {"a": 1}, None])
async def test_arguments_of_every_type_are_a_sentence_and_no_crash(what: object, tmp_path: Path) -> None:
    given = {"kind": what, "name": what, "namespace": what, "path": what, "find": what, "pod": what, "id": what}
    odd = calls(
        *((name, given) for name in ("get", "list", "logs", "events", "more")), ("suppose", {"hypotheses": what}),
        ("propose_change", {**given, "patch": what, "title": what, "why": what}),
    )  # fmt: skip
    async with thinking(tmp_path, "misspelt-host", odd, Says()) as scene:
        await scene.conclude()
        assert scene.prompt(1).count("\n- ") >= 3, "the model is told"
        assert not [each for each in scene.recorder.events if isinstance(each.payload, ev.BoardMade)][1:]
