"""What a model claims is held against what it was shown: ids, quotes, objects, the shape of the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.model.answer import ModelAnswer, read, tool
from agents.model.citations import Checked, Shown, check
from assistant.domain.finding import Verdict
from assistant.domain.target import Target

WEB = Target("apps/v1", "Deployment", "shop", "web")
EVENT = 'Failed to pull image "registry.test/web:9":\n  not found'
SHOWN = {
    "E1": Shown("E1", '"image": "registry.test/web:9"', WEB),
    "E2": Shown("E2", EVENT, Target("v1", "Pod", "shop", "web-77f-abc")),
    "E3": Shown("E3", "level=error msg='deployment/web-2 is slow' peer=db.shop.svc", None),
}


def cause(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment", "namespace": "shop", "name": "web", "field": "spec.template.spec.containers[0].image",
        "summary": "The image does not exist.", "category": "image", "confidence": 0.9,
        "evidence": [{"id": "E1", "quote": "registry.test/web:9"}, {"id": "E2", "quote": "Failed to pull image"}],
        **changes,
    }  # fmt: skip


def answer(*causes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"verdict": "fault", "text": "The image is not there [E1][E2].", "causes": list(causes), **changes}


def checked(*causes: dict[str, Any], **changes: Any) -> Checked:
    return check(read(answer(*causes, **changes)), SHOWN)


def test_a_claim_with_true_quotes_about_its_object_is_supported() -> None:
    result = checked(cause())
    assert result.whole
    assert result.causes[0].evidence == ("E1", "E2")


def test_quotes_are_compared_with_blanks_squeezed_and_nothing_else() -> None:
    assert checked(cause(evidence=[{"id": "E2", "quote": 'web:9": not   found'}, {"id": "E1", "quote": "image"}])).whole
    assert not checked(cause(evidence=[{"id": "E2", "quote": "failed to pull image"}])).whole


@pytest.mark.parametrize(
    ("evidence", "fault"),
    [
        ([], "cites nothing"),
        ([{"id": "E9", "quote": "registry.test/web:9"}], "no evidence 'E9'"),
        ([{"id": "", "quote": "registry.test/web:9"}], "no evidence ''"),
        ([{"id": "E1", "quote": "registry.test/web:10"}], "does not stand in E1"),
        ([{"id": "E1", "quote": "not found"}], "does not stand in E1"),
        ([{"id": "E1", "quote": ""}], "too short"),
        ([{"id": "E1", "quote": ' " '}], "too short"),
        ([{"id": "E3", "quote": "is slow"}], "says anything of Deployment web"),
    ],
)
def test_what_does_not_stand_on_the_evidence_is_named_for_the_repair(evidence: list[Any], fault: str) -> None:
    result = checked(cause(evidence=evidence))
    assert not result.causes[0].supported
    assert not result.whole
    assert fault in result.repair


@pytest.mark.parametrize(
    ("name", "kind", "there"),
    [
        ("web-2", "Deployment", True), ("web", "Deployment", False), ("db", "Service", True),
        ("db.shop.svc", "Host", True), ("db.shop", "Service", False),
        ("shop", "Namespace", False), ("slow", "Thing", True), ("", "Thing", False),
    ],
)  # fmt: skip
def test_a_name_has_to_stand_there_as_a_whole(name: str, kind: str, there: bool) -> None:
    result = checked(cause(kind=kind, name=name, evidence=[{"id": "E3", "quote": "level=error"}]))
    assert result.causes[0].supported is there


def test_another_object_of_the_same_name_is_not_the_cited_one() -> None:
    shown = {"E1": Shown("E1", "replicas: 2", WEB)}
    quote = [{"id": "E1", "quote": "replicas"}]
    assert check(read(answer(cause(evidence=quote), text="x")), shown).whole
    assert not check(read(answer(cause(evidence=quote, namespace="other"), text="x")), shown).whole
    assert not check(read(answer(cause(evidence=quote, kind="Service"), text="x")), shown).whole


def test_one_good_citation_does_not_carry_a_false_one() -> None:
    false = [{"id": "E1", "quote": "registry.test/web:9"}, {"id": "E2", "quote": "unauthorized"}]
    result = checked(cause(evidence=false))
    assert not result.causes[0].supported
    assert result.causes[0].evidence == ("E1",)


def test_an_id_in_the_text_has_to_exist_and_what_is_ruled_out_is_checked_too() -> None:
    ruled = [{"what": "the network", "evidence": [{"id": "E3", "quote": "connection refused"}]}]
    result = checked(cause(), text="So it is [E1] [E7].", ruled_out=ruled)
    assert [fault.split()[0] for fault in result.faults] == ["[E7]", "ruled"]
    assert not result.whole


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "verdict"),
        (answer(cause(), verdict="broken"), "verdict"),
        (answer(cause(confidence=2)), "confidence"),
        (answer(cause(confidence="high")), "confidence"),
        (answer(cause(category="bad luck")), "bad luck"),
        (answer(cause(evidence="E1")), "evidence"),
        (answer(cause(because="x")), "because"),
        (answer(*[cause()] * 6), "length"),
        (answer(cause(), text="x" * 12_001), "length"),
        (answer(), "no cause"),
        (answer(cause(), verdict="healthy"), "healthy"),
        (answer(cause(), thoughts="x"), "thoughts"),
    ],
)
def test_an_answer_of_another_shape_is_told_to_the_model(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(given)


def test_undetermined_needs_no_cause() -> None:
    assert read(answer(verdict="undetermined")).verdict is Verdict.UNDETERMINED
    assert check(read(answer(verdict="undetermined", text="Not enough.")), {}).whole


JSON = st.recursive(
    st.sampled_from([None, True, 0, 1.5, -1, "", "E1", "fault", "healthy", "web"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "quote", "kind", "name", "summary", "evidence", "what"]), inner),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["verdict", "text", "causes", "ruled_out", "fixes", "x"]), JSON))
def test_whatever_comes_is_an_answer_or_a_sentence(given: dict[str, Any]) -> None:
    try:
        found = read(given)
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(found, ModelAnswer)
        check(found, SHOWN)


@given(st.text('ab \n"', max_size=12), st.text('ab \n"', max_size=12))
def test_no_quote_passes_that_does_not_stand_there(quote: str, text: str) -> None:
    found = check(read(answer(cause(evidence=[{"id": "E1", "quote": quote}], name="x"))), {"E1": Shown("E1", text)})
    if " ".join(quote.split()) not in " ".join(text.split()):
        assert not found.causes[0].supported


def test_the_definition_names_every_field_that_is_read() -> None:
    parameters = tool()["function"]["parameters"]["properties"]
    assert set(parameters) == set(ModelAnswer.__struct_fields__)
    assert set(parameters["causes"]["items"]["properties"]) == {
        "kind", "namespace", "name", "field", "summary", "evidence", "category", "confidence",
    }  # fmt: skip
