"""One answer against the truth: what counts in which column, and what does not."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import BundleError
from assistant.evaluation import (
    Answer,
    BundleText,
    Incident,
    Passes,
    Score,
    Stated,
    calibration,
    judge,
    passes,
    read_incident,
    spending,
    sums,
)

SETTINGS = Answer("ConfigMap", "shop", "settings", "data.DB_POOL_SIZE")
WEB = Answer("Deployment", "shop", "web", "")


def incident(*culprits: Answer, accept: tuple[Answer, ...] = ()) -> Incident:
    return Incident("one", Path("bundle"), "down", "shop", "app-config", culprits, accept)


def finding(
    kind: str = "ConfigMap", name: str = "settings", *, namespace: str = "shop", rank: int = 1, **more: Any
) -> dict[str, Any]:
    target = {"kind": kind, "namespace": namespace, "name": name}
    base = {
        "id": f"F{rank}",
        "rank": rank,
        "role": "root_cause",
        "target": target,
        "confidence": 0.9,
        "evidence": ["E1"],
    }
    return {**base, "field": "data.DB_POOL_SIZE", "summary": "its pool size is a word", **more}


def answer(*findings: dict[str, Any], verdict: str = "fault", **more: Any) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "findings": list(findings),
        "evidence": [{"id": "E1", "quote": "invalid literal"}, {"id": "E2", "quote": "made up"}],
        "proposals": [{"id": "A1", "fixes": ["F1"]}],
        "usage": {"api_requests": 40, "prompt_tokens": 7, "completion_tokens": 3},
        **more,
    }


def scored(document: dict[str, Any], what: Incident) -> Score:
    return judge(document, what, lambda quote: quote == "invalid literal")


def counts(score: Score) -> tuple[int, ...]:
    return (score.top1, score.all, score.extra, score.field, score.cited, score.fix)


def test_the_right_cause_with_a_true_quote_and_a_fix_counts_everywhere() -> None:
    score = scored(answer(finding()), incident(SETTINGS))
    assert counts(score) == (1, 1, 0, 1, 1, 1)
    assert score.right
    assert (score.api_requests, score.tokens) == (40, 10)
    assert score.stated == (Stated(0.9, True),)


def test_a_false_alarm_beside_the_cause_is_counted_and_is_not_right() -> None:
    score = scored(answer(finding(), finding("Secret", "other", rank=2, confidence=0.6)), incident(SETTINGS))
    assert counts(score) == (1, 1, 1, 1, 1, 1)
    assert not score.right
    assert score.stated == (Stated(0.9, True), Stated(0.6, False))


def test_behind_a_false_alarm_the_cause_is_not_first() -> None:
    score = scored(answer(finding("Secret", "other"), finding(rank=2)), incident(SETTINGS))
    assert counts(score) == (0, 1, 1, 0, 0, 0)


def test_with_two_culprits_both_have_to_be_named() -> None:
    assert counts(scored(answer(finding()), incident(SETTINGS, WEB))) == (1, 0, 0, 1, 1, 1)
    both = scored(answer(finding(), finding("Deployment", "web", rank=2)), incident(SETTINGS, WEB))
    assert both.right


def test_an_accepted_object_stands_for_a_single_culprit_only() -> None:
    other = Answer("Secret", "", "db", "")
    assert scored(answer(finding("Secret", "db")), incident(SETTINGS, accept=(other,))).right
    assert not scored(answer(finding("Secret", "db")), incident(SETTINGS, WEB, accept=(other,))).right


@pytest.mark.parametrize(
    ("place", "name", "right"),
    [
        ("shop", "settings", True),
        ("", "settings", True),
        ("elsewhere", "settings", False),
        ("shop", "settings-2", False),
    ],
)
def test_the_object_has_to_be_the_same(place: str, name: str, right: bool) -> None:
    assert scored(answer(finding(name=name, namespace=place)), incident(SETTINGS)).right is right


@pytest.mark.parametrize("name", ["sett*", "", "(the one it should have)"])
def test_a_name_may_be_a_pattern_or_a_description(name: str) -> None:
    assert scored(answer(finding()), incident(Answer("configmap", "shop", name, ""))).right


def test_consequences_and_notes_are_no_root_causes() -> None:
    score = scored(answer(finding(role="consequence"), finding("Pod", "x", role="note", rank=2)), incident(SETTINGS))
    assert counts(score) == (0, 0, 0, 0, 0, 0)


def test_the_field_counts_by_its_words_and_words_that_every_path_has_do_not() -> None:
    other = finding(field="spec.template.spec.containers[0].image", summary="an image")
    assert scored(answer(other), incident(SETTINGS)).field == 0
    only_common = finding(field="data", summary="the data is missing")
    assert scored(answer(only_common), incident(SETTINGS)).field == 0
    assert scored(answer(finding(field="x", summary="the pool is too large")), incident(SETTINGS)).field == 1


def test_a_quote_that_does_not_stand_in_the_bundle_is_no_citation() -> None:
    assert scored(answer(finding(evidence=["E2"])), incident(SETTINGS)).cited == 0
    assert scored(answer(finding(evidence=[])), incident(SETTINGS)).cited == 0


def test_a_fix_has_to_be_for_the_first_cause_or_outside() -> None:
    assert scored(answer(finding(), proposals=[{"id": "A1", "fixes": ["F9"]}]), incident(SETTINGS)).fix == 0
    assert scored(answer(finding(outside="ask its owner"), proposals=[]), incident(SETTINGS)).fix == 1


def test_where_nothing_is_wrong_only_healthy_is_right_and_no_root_cause_is() -> None:
    assert counts(scored(answer(verdict="healthy"), incident())) == (1, 1, 0, 1, 1, 1)
    assert counts(scored(answer(verdict="undetermined"), incident())) == (0, 0, 0, 0, 0, 0)
    alarm = scored(answer(finding()), incident())
    assert counts(alarm) == (0, 0, 1, 0, 0, 0)
    assert alarm.stated == (Stated(0.9, False),)


def test_undetermined_without_a_cause_is_an_abstention() -> None:
    assert scored(answer(verdict="undetermined"), incident(SETTINGS)).abstained == 1
    assert scored(answer(finding(), verdict="undetermined"), incident(SETTINGS)).abstained == 0


def test_calibration_counts_by_what_was_said() -> None:
    stated = [Stated(0.9, True)] * 9 + [Stated(0.92, False), Stated(0.3, False), Stated(1.0, True)]
    rows = calibration(stated)
    assert [(row.low, row.high, row.findings, row.right) for row in rows] == [
        (0.0, 0.5, 1, 0),
        (0.9, 0.95, 10, 9),
        (0.95, 1.0, 1, 1),
    ]
    assert rows[1].share == 0.9
    assert calibration([]) == ()


def test_sums_add_every_count() -> None:
    assert sums([Score(top1=1, extra=2), Score(top1=1, all=1, abstained=1)]) == {
        "top1": 2, "all": 1, "extra": 2, "field": 0, "cited": 0, "fix": 0, "abstained": 1,
    }  # fmt: skip


RIGHT, WRONG = Score(top1=1, all=1), Score()


def test_a_question_is_worth_its_share_of_right_runs_and_an_incident_only_all_of_them() -> None:
    assert passes([[RIGHT, RIGHT], [RIGHT, WRONG]]) == Passes(at_1=0.75, all_k=0.5)
    assert passes([[RIGHT], [WRONG]]) == Passes(0.5, 0.5), "asked once, both say the same"
    assert passes([[RIGHT, RIGHT, RIGHT], []]) == Passes(1.0, 1.0), "what could not be scored does not count"
    assert passes([]) == Passes(0.0, 0.0)


def test_an_incident_counts_the_same_however_often_it_was_asked_about() -> None:
    assert passes([[RIGHT], [WRONG, WRONG, WRONG]]).at_1 == 0.5


def usage(cost: float | None, **more: Any) -> dict[str, Any]:
    return {"model_calls": 3, "prompt_tokens": 5000, "completion_tokens": 200, "cost_usd": cost, **more}


def test_what_a_model_took_is_read_from_the_document() -> None:
    score = scored(answer(finding(), mind="gpt-x", usage=usage(0.02)), incident(SETTINGS))
    assert (score.answered_by, score.model_calls, score.tokens, score.cost_usd) == ("gpt-x", 3, 5200, 0.02)
    assert (score.prompt_tokens, score.completion_tokens) == (5000, 200)


@pytest.mark.parametrize(("cost", "unpriced"), [(-1.0, 0), (None, 0), ("free", 0), (0.0, 3), (0.01, 1)])
def test_a_cost_that_nobody_knows_is_not_0(cost: Any, unpriced: int) -> None:
    told = usage(cost, unpriced_calls=unpriced)
    assert scored(answer(finding(), mind="gpt-x", usage=told), incident(SETTINGS)).cost_usd is None


def model_run(tokens: int = 1000, cost: float | None = 0.01, by: str = "gpt-x") -> Score:
    return Score(answered_by=by, model_calls=2, prompt_tokens=tokens, completion_tokens=10, cost_usd=cost)


def test_spending_adds_up_what_is_known_and_leaves_out_runs_without_an_answer() -> None:
    spent = spending([model_run(), model_run(3000, 0.03), model_run(9000, 0.05), Score(said="no answer")], "gpt-x")
    assert (spent.own, spent.prompt_tokens, spent.completion_tokens, spent.model_calls) == (3, 13000, 30, 6)
    assert (spent.median_prompt_tokens, spent.largest_prompt_tokens) == (3000, 9000)
    assert spent.cost_usd == pytest.approx(0.09) and spent.cost_a_run == pytest.approx(0.03)
    assert spent.tokens_a_run == pytest.approx(13030 / 3)


def test_one_run_without_a_price_makes_the_sum_unknown() -> None:
    spent = spending([model_run(), model_run(cost=None)], "gpt-x")
    assert (spent.cost_usd, spent.cost_a_run, spent.unpriced) == (None, None, 1)
    assert spending([Score(said="no answer")], "gpt-x").cost_usd is None


def test_an_answer_of_the_expert_is_told_apart_where_a_model_was_asked_for() -> None:
    """What its failed calls took is not known, and 0 would make it look cheap."""
    runs = [replace(model_run(), top1=1, all=1), model_run(), model_run(0, 0.0, by="expert")]
    spent = spending(runs, "gpt-x")
    assert (spent.own, spent.right, spent.stood_in) == (2, 1, 1)
    assert (spent.median_prompt_tokens, spent.cost_a_run) == (1000, 0.01)
    assert (spending(runs).own, spending(runs).stood_in) == (3, 0)


TRUTH = (
    "symptom: down\nnamespace: shop\nculprit:\n- {kind: ConfigMap, namespace: shop, name: settings, field: data.X}\n"
)


def folder(at: Path, truth: str | None, *, name: str = "truth.yaml", bundle: bool = True) -> Path:
    if truth is not None:
        (at / name).write_text(truth)
    if bundle:
        (at / "bundle" / "cluster-resources" / "pods").mkdir(parents=True)
        (at / "bundle" / "cluster-resources" / "pods" / "shop.json").write_text(
            '{"message": "Invalid  literal: twenty"}'
        )
    return at


@pytest.mark.parametrize("name", ["truth.yaml", "incident.yaml"])
def test_an_incident_is_read(tmp_path: Path, name: str) -> None:
    found = read_incident(folder(tmp_path, TRUTH, name=name))
    assert found.culprits == (Answer("ConfigMap", "shop", "settings", "data.X"),)
    assert (found.symptom, found.namespace, found.category, found.accepted) == ("down", "shop", "none", ())


@pytest.mark.parametrize("culprit", ["culprit: []", "culprit:", "culprit: [{kind: None}]"])
def test_an_incident_without_a_culprit_says_so(tmp_path: Path, culprit: str) -> None:
    assert read_incident(folder(tmp_path, f"symptom: all well?\n{culprit}\n")).culprits == ()


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (None, "no truth.yaml"),
        ("symptom: [", "cannot be read"),
        ("- a list", "not a mapping"),
        ("culprit: []", "no symptom"),
        ("symptom: down\nculprits: []", "no culprit"),
        ("symptom: down\nculprit: web", "have to be lists"),
    ],
)
def test_what_cannot_be_scored_says_why(tmp_path: Path, truth: str | None, told: str) -> None:
    with pytest.raises(BundleError, match=told):
        read_incident(folder(tmp_path, truth))


def test_an_incident_without_a_bundle_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        read_incident(folder(tmp_path, TRUTH, bundle=False))


@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_is_looked_for_in_all_files_whatever_their_layout(tmp_path: Path, packed: bool) -> None:
    bundle = folder(tmp_path, TRUTH) / "bundle"
    if packed:
        with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as archive:
            data = (bundle / "cluster-resources/pods/shop.json").read_bytes()
            member = tarfile.TarInfo("shop/cluster-resources/pods/shop.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        bundle = tmp_path / "bundle.tar.gz"
    text = BundleText(bundle)
    assert text.holds('"message": "invalid literal … twenty"')
    assert not text.holds("invalid literal … thirty-one")
    assert not text.holds("ab")
