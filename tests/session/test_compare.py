"""Two answers side by side: which causes are the same, what each took, and what is not known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from assistant.domain import event as ev
from assistant.domain.case import Case, fold
from assistant.domain.evidence import Evidence
from assistant.domain.finding import Finding, Role, Verdict
from assistant.domain.plan import Step
from assistant.domain.target import Target
from assistant.plain.compare import comparison_json, comparison_lines
from assistant.session.compare import Agreement, compare
from tests.session.scripted import FINDING, OPENED, START, WEB

OTHER = replace(
    FINDING, id="F2", category="probe", target=Target("v1", "Service", "shop", "api"), field="spec.selector"
)


def called(tokens: int = 100, cost: float = 0.01, **more: Any) -> ev.ModelCalled:
    return ev.ModelCalled("gpt-x", "diagnose", "0" * 64, tokens, 10, cost, 1.0, **more)


def case(
    *findings: Finding, calls: Sequence[ev.ModelCalled] = (), mind: str = "expert", opened: str = "expert",
    verdict: Verdict | None = Verdict.FAULT, body: str = "a" * 64, after: Sequence[ev.Payload] = (),
    seconds: float = 7.0,
) -> Case:  # fmt: skip
    payloads: list[tuple[float, ev.Payload]] = [
        (0, replace(OPENED, mind=opened)),
        (1, ev.Asked(1, "Why is web down?", "shop")),
        (1, ev.PlanMade((Step("S1", "look"),))),
        (2, ev.ToolStarted("T1", "list", "list pods")),
        (2, ev.EvidenceAdded(Evidence("E1", "GET /api/v1/pods", "x", START, body, 1, WEB), "T1")),
        (2, ev.ToolEnded("T1", True, "1 pod", 0.1)),
        *((3.0, call) for call in calls),
    ]
    if verdict is not None:
        answered = ev.Answered("It is [E1].", verdict, mind)
        payloads += [(1 + seconds, ev.FindingsRanked(findings)), (1 + seconds, answered)]
    payloads += [(400, payload) for payload in after]
    return fold(
        ev.Event("s1", seq, START + timedelta(seconds=at), payload) for seq, (at, payload) in enumerate(payloads, 1)
    )


@pytest.mark.parametrize(
    ("before", "after", "agreement"),
    [
        ([FINDING], [FINDING], Agreement.SAME),
        ([FINDING, OTHER], [OTHER, FINDING], Agreement.SAME),
        ([FINDING], [replace(FINDING, target=Target("", "deployment", "shop", "web", "uid"))], Agreement.SAME),
        ([FINDING], [replace(FINDING, field="spec['template']")], Agreement.SAME),
        ([FINDING], [replace(FINDING, field="spec.replicas")], Agreement.SAME_OBJECT),
        ([FINDING], [replace(FINDING, category="rollout")], Agreement.SAME_OBJECT),
        ([FINDING, OTHER], [FINDING], Agreement.PARTLY),
        ([FINDING], [FINDING, OTHER], Agreement.PARTLY),
        ([FINDING], [OTHER], Agreement.OTHER),
        ([], [OTHER], Agreement.OTHER),
        ([FINDING], [], Agreement.NONE),
        ([FINDING], [replace(FINDING, role=Role.CONSEQUENCE)], Agreement.NONE),
        ([], [], Agreement.SAME),
    ],
)
def test_causes_are_compared_by_category_object_and_field(
    before: list[Finding], after: list[Finding], agreement: Agreement
) -> None:
    assert compare(case(*before), case(*after)).agreement is agreement


def test_two_causes_in_one_object_are_told_apart_by_their_fields() -> None:
    one, two = replace(FINDING, field="spec.a"), replace(FINDING, id="F2", field="spec.b")
    found = compare(case(one, two), case(two, one))
    assert [(cause.before, cause.after) for cause in found.causes] == [(one, one), (two, two)]


def test_what_each_took_is_counted_until_its_answer() -> None:
    after: list[ev.Payload] = [ev.ToolStarted("T2", "verify", "check again"), ev.Used(99.0, 500), ev.TurnEnded(1)]
    effort = compare(case(FINDING, after=after), case(FINDING)).before.effort
    assert (effort.steps, effort.tool_calls, effort.seconds) == (1, 1, 7.0), "what was verified later is not thinking"


def test_calls_of_a_model_are_added_up() -> None:
    side = compare(case(FINDING), case(FINDING, calls=[called(), called(50)], mind="gpt-x")).after.effort
    assert (side.model_calls, side.prompt_tokens, side.completion_tokens, side.cost_usd) == (2, 150, 20, 0.02)


def test_only_the_last_turn_is_compared() -> None:
    later: list[ev.Payload] = [
        ev.TurnEnded(1), ev.Asked(2, "And now?", "shop"), called(7), ev.FindingsRanked((OTHER,)),
        ev.Answered("x", Verdict.FAULT, "gpt-x"),
    ]  # fmt: skip
    found = compare(case(OTHER), case(FINDING, calls=[called(100)], after=later))
    assert found.after.effort.prompt_tokens == 7 and found.after.effort.tool_calls == 0
    assert found.agreement is Agreement.SAME and found.after.turn == 2


def test_the_expert_has_spent_nothing_and_of_an_old_model_it_is_not_known() -> None:
    found = compare(case(FINDING, opened="gpt-x", mind="gpt-x"), case(FINDING))
    assert found.before.effort.prompt_tokens is None and found.before.effort.cost_usd is None
    assert found.after.effort.prompt_tokens == 0 and found.after.effort.cost_usd == 0.0
    text = "\n".join(comparison_lines(found))
    assert "model calls            not known  0" in text


def test_a_price_that_is_not_known_is_no_price_of_0() -> None:
    found = compare(case(FINDING), case(FINDING, calls=[called(), called(cost=-1.0)], mind="gpt-x"))
    assert found.after.effort.cost_usd is None and found.after.effort.prompt_tokens == 200
    assert "not known: 1 call has no price" in "\n".join(comparison_lines(found))
    document = json.loads(comparison_json(found))
    assert document["rerun"]["cost_usd"] is None and document["rerun"]["unpriced_calls"] == 1


def test_tokens_that_were_counted_here_are_marked() -> None:
    found = compare(case(FINDING), case(FINDING, calls=[called(estimated=True)], mind="gpt-x"))
    assert "100 (estimated)" in "\n".join(comparison_lines(found))
    assert json.loads(comparison_json(found))["rerun"]["tokens_estimated"] is True


def test_a_turn_without_an_answer_has_no_verdict_and_no_time() -> None:
    found = compare(case(verdict=None), case(FINDING))
    assert (found.before.verdict, found.before.effort.seconds, found.same_verdict) == (None, None, False)
    text = "\n".join(comparison_lines(found))
    assert "no answer" in text and "seconds to the answer  not known" in text


def test_neither_naming_a_cause_is_said_so() -> None:
    healthy = case(verdict=Verdict.HEALTHY)
    found = compare(healthy, healthy)
    assert found.same_verdict
    assert "cause: none in either answer" in comparison_lines(found)


def test_texts_that_both_rest_on_are_counted() -> None:
    same, other = compare(case(FINDING), case(FINDING)), compare(case(FINDING), case(FINDING, body="b" * 64))
    assert (same.cited_by_both, other.cited_by_both) == (1, 0)


@pytest.mark.parametrize("named", [FINDING, OTHER])
def test_a_claim_that_its_evidence_does_not_carry_is_marked(named: Finding) -> None:
    found = compare(case(FINDING), case(replace(named, unsupported="the quote does not stand there", by="gpt-x")))
    assert "not supported by its evidence" in " ".join(" ".join(comparison_lines(found)).split())
    assert json.loads(comparison_json(found))["causes"][-1]["rerun"]["supported"] is False


def test_what_a_model_says_beside_the_causes_is_not_lost() -> None:
    note = replace(OTHER, role=Role.NOTE, by="gpt-x")
    found = compare(case(FINDING), case(FINDING, note, replace(note, by="expert"), mind="gpt-x"))
    assert found.agreement is Agreement.SAME and found.beside == (note,)
    assert "beside    Service shop/api spec.selector" in "\n".join(comparison_lines(found))
    assert [each["category"] for each in json.loads(comparison_json(found))["beside"]] == ["probe"]


def test_text_of_a_cluster_or_a_model_does_not_reach_the_terminal_as_it_is() -> None:
    evil = replace(FINDING, target=Target("v1", "Pod", "shop", "a\x1b[2Jb\u202ec"), field="x\r\ny\x9b1m")
    found = compare(case(evil), case(evil, mind="gpt\x1b]0;x\x07", opened="gpt"))
    for text in ("\n".join(comparison_lines(found)), comparison_json(found)):
        assert not set(text) & {"\x1b", "\x9b", "\x07", "\r", "\u202e"}
