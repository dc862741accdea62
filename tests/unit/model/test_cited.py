"""What a model cites is held against what it was shown: mended once, then shown as unsupported, and never in front."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.mind import Conclusion
from agents.model.answer import Cause, ModelAnswer, Quoted, Ruled
from agents.model.citations import check
from agents.model.quotes import squeezed
from assistant.domain.finding import Role, Verdict

from .scene import MODEL, Scene, calls, thinking
from .server import Says
from .test_tools import Plant, logging, put_config

CONFIG = "label-printer-env"
POD = "label-printer-7d99b9b8f9-zwc2x"
HOST = "data.QUEUE_HOST: shipping-queue.shiping.svc.cluster.local"
BUSY = "\n".join(
    [f"2026-11-23T08:{n % 60:02}:00Z info served request {n} for the printer" for n in range(150)]
    + ["2026-11-23T08:59:00Z ERROR cannot reach shipping-queue.shiping: Name or service not known"]
)
READ = (
    ("get", {"kind": "ConfigMap", "name": CONFIG}),  # E5
    ("logs", {"pod": POD, "container": "printer", "previous": True}),  # E6
    ("get", {"kind": "Service", "name": "shipping-queue"}),  # E7
)


def answer(*quotes: tuple[str, str], kind: str = "ConfigMap", name: str = CONFIG, **more: Any) -> Says:
    cause = {
        "kind": kind, "namespace": "shipping", "name": name, "field": "data.QUEUE_HOST", "category": "dns",
        "summary": "The host name is misspelt.", "confidence": 0.8,
        "evidence": [{"id": each, "quote": quote} for each, quote in quotes],
    }  # fmt: skip
    given = {"verdict": "fault", "text": "The name is wrong.", "causes": [cause], **more}
    return calls(("answer", given))


def stored(scene: Scene, done: Conclusion) -> None:
    """Every quote of every evidence of every finding stands in the body that was kept for it."""
    known = {each.id: each for each in scene.case.evidence}
    for finding in done.findings:
        for fact in (known[each] for each in finding.evidence):
            body = squeezed(scene.store.body(fact.body))
            assert all(squeezed(part) in body for part in fact.quote.split(" … ")), fact
            assert fact.quote


@dataclass(frozen=True)
class Wrong:
    """Evidence that shows nothing, and what the model is told of it."""

    quotes: tuple[tuple[str, str], ...]
    told: str
    kind: str = "ConfigMap"
    name: str = CONFIG


WRONG = {
    "an id that was made up": Wrong((("E99", "QUEUE_HOST"),), "there is no evidence 'E99'"),
    "a quote that was made up": Wrong(
        (("E5", "QUEUE_HOST: localhost"),), "'QUEUE_HOST: localhost' does not stand in E5"
    ),
    "a quote of another object": Wrong((("E7", HOST),), "does not stand in E7"),
    "an object that the evidence does not name": Wrong(
        (("E5", HOST),), "none of E5 says anything of Deployment checkout", "Deployment", "checkout"
    ),
    "nothing": Wrong((), "it cites nothing"),
    "two letters": Wrong((("E5", "Q"),), "too short to show anything"),
    "one of two made up": Wrong((("E5", HOST), ("E6", "panic: nil map")), "'panic: nil map' does not stand in E6"),
    "letters of another case": Wrong((("E5", HOST.upper()),), "does not stand in E5"),
}


def planted() -> Plant:
    return logging(BUSY)


@pytest.mark.parametrize("name", WRONG)
async def test_what_does_not_stand_is_mended_once_and_then_shown_as_unsupported(name: str, tmp_path: Path) -> None:
    wrong = WRONG[name]
    bad = answer(*wrong.quotes, kind=wrong.kind, name=wrong.name)
    async with thinking(tmp_path, "misspelt-host", calls(*READ), bad, bad, planted=planted()) as scene:
        done = await scene.conclude()
        assert len(scene.server.asked) == 3, "one repair and no more"
        assert wrong.told in scene.prompt(2).partition("# Mend this")[2]
        (shown,) = [each for each in done.findings if each.by == MODEL]
        assert shown.role is Role.NOTE
        assert shown.confidence <= 0.2
        assert wrong.told in shown.unsupported
        assert shown.evidence == ()
        assert done.findings[0].by == "expert"
        assert "Said without evidence that carries it" in done.markdown
        assert [each.purpose for each in scene.called()] == ["diagnose", "diagnose", "diagnose, mend"]


async def test_a_repair_that_stands_is_as_good_as_a_first_answer(tmp_path: Path) -> None:
    answers = (calls(*READ), answer(("E99", "QUEUE_HOST")), answer(("E5", HOST)))
    async with thinking(tmp_path, "misspelt-host", *answers, planted=planted()) as scene:
        done = await scene.conclude()
        assert not [each for each in done.findings if each.unsupported]
        assert done.findings[0].by == f"expert and {MODEL}"


@dataclass(frozen=True)
class Right:
    """A quote that stands, and what of it becomes evidence of a finding."""

    id: str
    quote: str
    kept: str


RIGHT = {
    "a line of the projection": Right("E5", HOST, '"QUEUE_HOST": "shipping-queue.shiping.svc.cluster.local"'),
    "with other blanks": Right(
        "E5", "data.QUEUE_HOST:\n   shipping-queue.shiping.svc.cluster.local", "shipping-queue.shiping"
    ),
    "two lines of the projection": Right("E5", f"data.CONNECT_RETRIES: 5\n{HOST}", '"CONNECT_RETRIES": "5"'),
    "two lines in one": Right("E5", f"data.CONNECT_RETRIES: 5 {HOST}", '"CONNECT_RETRIES": "5"'),
    "the value only": Right("E5", "shipping-queue.shiping.svc", "shipping-queue.shiping.svc"),
    "the object's own JSON": Right(
        "E5", '"QUEUE_HOST": "shipping-queue.shiping', '"QUEUE_HOST": "shipping-queue.shiping'
    ),
    "a counted line of a log": Right(
        "E6", "x1 [152] 2026-11-23T08:59:00Z ERROR cannot reach", "2026-11-23T08:59:00Z ERROR cannot reach"
    ),
    "a numbered line of a log": Right(
        "E6", "152| 2026-11-23T08:59:00Z ERROR cannot reach", "2026-11-23T08:59:00Z ERROR cannot reach"
    ),
    "a line of a log": Right("E6", "Name or service not known", "Name or service not known"),
    "what the expert quoted": Right("E3", '"QUEUE_HOST": "shipping-queue.shiping', "QUEUE_HOST"),
}


@pytest.mark.parametrize("name", RIGHT)
async def test_what_stands_is_evidence_that_stands_in_the_kept_body(name: str, tmp_path: Path) -> None:
    right = RIGHT[name]
    # It differs from the expert on purpose: where both agree, the expert's finding is the one that is shown.
    quotes = ((right.id, right.quote), ("E7", "ClusterIP"))
    said = answer(*quotes, kind="Service", name="shipping-queue")
    async with thinking(tmp_path, "misspelt-host", calls(*READ), said, planted=planted()) as scene:
        done = await scene.conclude()
        assert len(scene.server.asked) == 2, scene.prompt(-1).partition("# Mend")[2]
        (mine,) = [each for each in done.findings if each.by == MODEL]
        assert not mine.unsupported
        known = {each.id: each for each in scene.case.evidence}
        assert right.kept in known[mine.evidence[0]].quote
        stored(scene, done)


async def test_a_cause_that_differs_leads_where_the_expert_is_not_sure_and_both_are_shown(tmp_path: Path) -> None:
    def plant(server: Any) -> None:
        put_config(server, "flags", {"mode": "blue"})

    quotes = (("E5", "data.mode: blue"),)
    answers = (calls(("get", {"kind": "ConfigMap", "name": "flags"})), answer(*quotes, name="flags"))
    async with thinking(tmp_path, "misspelt-host", *answers, planted=plant) as scene:
        done = await scene.conclude()
        assert done.findings[0].target.name == CONFIG, "the expert is almost certain here"
        assert [each.target.name for each in done.findings if each.by == MODEL] == ["flags"]
        assert "almost certain" in done.markdown and "What the expert says" in done.markdown
        stored(scene, done)


def test_a_flood_of_false_citations_is_told_in_a_bounded_repair() -> None:
    false = [Quoted(f"E{n}", "x" * 380) for n in range(1_500)]
    causes = [Cause("Pod", "p" * 380, "s", false) for _ in range(5)]
    text = " ".join(f"[E{n}]" for n in range(1_000))
    result = check(ModelAnswer(Verdict.FAULT, text, causes, [Ruled("r", false)] * 10), {})
    assert not result.whole
    assert len(result.repair) < 4_000
    assert "and " in result.repair and "more" in result.repair
