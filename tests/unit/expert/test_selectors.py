"""Device selectors in CEL: true, false, a run-time error as the scheduler would see it, or not evaluated."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.expert.cel.evaluation import holds, reaches
from agents.expert.cel.syntax import NotEvaluatedError, literals, parse
from agents.expert.cel.values import DeviceValue, SelectorError, device_value, quantity_of, version_of

D = "gpu.example.com"
RAW: dict[str, Any] = {
    "attributes": {
        "type": {"string": "gpu"},
        "model": {"string": "Example A100-80"},
        "cores": {"int": 108},
        "mig": {"bool": False},
        "driverVersion": {"version": "580.65.6"},
        "resource.kubernetes.io/pcieRoot": {"string": "pci0000:00"},
        "links": {"strings": ["a", "b"]},
    },
    "capacity": {"memory": {"value": "80Gi"}, "slots": {"value": 7}},
}
DEVICE = device_value(D, RAW)
A = f'device.attributes["{D}"]'
C = f'device.capacity["{D}"]'


TRUE_OR_FALSE: list[tuple[str, bool]] = [
    (f'device.driver == "{D}"', True),
    (f"device.driver == '{D}' && {A}.type == 'gpu'", True),
    (f'device.driver != "{D}" || {A}.type == "mig"', False),
    (f'{A}["type"] == "gpu"', True),
    (f"{A}.cores >= 100 && {A}.cores % 2 == 0", True),
    (f"{A}.cores > 107.5", True),
    (f"!{A}.mig", True),
    (f'{A}.type in ["gpu", "mig"]', True),
    (f'{A}.type == "gpu" ? {A}.cores == 108 : false', True),
    (f'{C}.memory.compareTo(quantity("40Gi")) >= 0', True),
    (f'{C}.memory.compareTo(quantity("141Gi")) >= 0', False),
    (f'{C}.memory.isGreaterThan(quantity("80G"))', True),
    (f'{C}.memory == quantity("81920Mi")', True),
    (f'{C}.memory.sub(quantity("1Gi")).isLessThan(quantity("80Gi"))', True),
    (f"{C}.slots.asInteger() == 7", True),
    (f'{A}.driverVersion.compareTo(semver("580.65.6")) == 0', True),
    (f'{A}.driverVersion.isGreaterThan(semver("v570.0", true))', True),
    (f'{A}.driverVersion.isLessThan(semver("580.65.6-rc.1"))', False),
    (f"{A}.driverVersion.major() >= 580", True),
    ('device.attributes["resource.kubernetes.io"].pcieRoot == "pci0000:00"', True),
    (f'{A}.model.matches("^Example A(100|200)") && {A}.model.startsWith("Ex")', True),
    (f'{A}.model.lowerAscii().contains("a100")', True),
    (f"has({A}.type) && !has({A}.missing)", True),
    ('has(device.attributes["other.example"].type)', False),
    (f'"type" in {A} && "x" in device.attributes', False),
    (f'"{D}" in device.attributes', True),
    (f'{A}.?missing.orValue("none") == "none"', True),
    (f'device.attributes["other.example"].?type.hasValue() || {A}[?"type"].orValue("") == "gpu"', True),
    (f'cel.bind(a, {A}, a.type == "gpu" && a.cores > 1)', True),
    (f'["mig", "gpu"].exists(t, t == {A}.type) && {A}.exists(k, k == "cores")', True),
    (f'["mig", "gpu"].all(t, t == {A}.type)', False),
    (f"{A}.cores == '108'", False),
    ("device.allowMultipleAllocations", False),
    (f'{A}.missing == "x" || device.driver == "{D}"', True),
    (f'{A}.missing == "x" && device.driver == "other"', False),
    (f'{A}.type.unheardOf() && device.driver == "other"', False),
    (r'"a\"b" == ' + "'a\"b'" + r" && r'\d' == '\\d'", True),
    ("true // a remark", True),
]
EXPRESSIONS = [expression for expression, _ in TRUE_OR_FALSE]


@pytest.mark.parametrize(("expression", "expected"), TRUE_OR_FALSE)
def test_a_selector_is_true_or_false(expression: str, expected: bool) -> None:
    assert holds(expression, DEVICE) is expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (f'{A}.missing == "x"', "no such key: missing"),
        ('device.attributes["other.example"].type == "gpu"', "no such key: type"),
        (f'{A}.type >= 3 && device.driver == "{D}"', "no such overload"),
        (f'{A}.type.isGreaterThan(semver("1.0.0"))', "no such overload"),
        (f"{A}.type", "no condition"),
        (f"{A}.cores / 0 == 1", "division"),
        (f'{C}.memory.compareTo(quantity("lots")) > 0', "no quantity"),
    ],
)
def test_what_the_scheduler_would_stumble_over_is_an_error_with_its_words(expression: str, words: str) -> None:
    with pytest.raises(SelectorError) as found:
        holds(expression, DEVICE)
    assert words.split()[-1] in str(found.value)


@pytest.mark.parametrize(
    "expression",
    [
        f"{A}.type.unheardOf()",
        f'{A}.type.unheardOf() || {A}.missing == "x"',
        "device.something",
        "other.driver == 'x'",
        f'{A}.links == ["a", "b"]',
        f'{A}.links.includes("a")',
        'device.driver == "x" &&',
        'device.driver == "\\x41"',
        "1u == 1",
        "{'a': 1}['a'] == 1",
        'device.driver.matches("(a+)+b")',
        'device.driver.matches("(?=gpu)")',
        'device.driver.matches("[[:alpha:]]")',
        "(" * 200 + "true" + ")" * 200,
        "!" + "device.driver == 'x' && " * 800 + "true",
        "",
    ],
)
def test_what_is_not_understood_is_not_guessed(expression: str) -> None:
    with pytest.raises(NotEvaluatedError):
        holds(expression, DEVICE)


def test_a_device_whose_version_is_none_can_be_judged_by_nobody() -> None:
    odd = device_value(D, {"attributes": {"v": {"version": "1.02"}}})
    with pytest.raises(SelectorError):
        holds(f'device.driver == "{D}"', odd)


def test_quantities_and_versions_are_exact() -> None:
    assert quantity_of("0.1") != quantity_of("100000001n")
    assert quantity_of("1Ki") == quantity_of("1024") == quantity_of("1024000m")
    assert quantity_of("1E") == quantity_of("1e18")
    assert version_of("1.0.0-alpha.2") < version_of("1.0.0-alpha.10") < version_of("1.0.0-beta") < version_of("1.0.0")
    assert version_of("1.0.0+one") == version_of("1.0.0")


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if reaches(e) is not None])
def test_devices_that_a_selector_cannot_tell_apart_give_the_same_result(expression: str) -> None:
    names = reaches(expression)
    assert names is not None
    for kind in ("attributes", "capacity"):
        for key in RAW[kind]:
            other = device_value(D, RAW | {kind: {k: v for k, v in RAW[kind].items() if k != key}})
            if other.alike(names) == DEVICE.alike(names):
                assert outcome(expression, other) == outcome(expression, DEVICE), key


def outcome(expression: str, device: DeviceValue) -> str:
    try:
        return str(holds(expression, device))
    except (SelectorError, NotEvaluatedError) as error:
        return str(error)


def test_an_expression_that_may_reach_anything_says_so() -> None:
    assert reaches(f'{A}.exists(k, k == "x")') is None
    assert reaches(f"{A}[{A}.type] == 1") is None
    assert reaches(f'cel.bind(a, {A}, a.type == "gpu")') is None
    assert reaches(f'{A}.type == "gpu"') == frozenset({"attributes", D, "type", "gpu"})


def test_a_literal_can_be_replaced_where_it_stands() -> None:
    expression = f'{C}.memory.compareTo(quantity("141Gi")) >= 0'
    found = next(x for x in literals(parse(expression)) if x.value == "141Gi")
    assert holds(f'{expression[: found.start]}"80Gi"{expression[found.end :]}', DEVICE)


def test_a_pattern_of_a_stranger_takes_no_time() -> None:
    odd = device_value("a" * 64, {})
    began = time.perf_counter()
    for pattern in ("a*a*a*a*b", "(a|a)*b", "(a*)*b", "a{1,64}a{1,64}a{1,64}b", "a?" * 30 + "a" * 30):
        try:
            holds(f'device.driver.matches("{pattern}")', odd)
        except NotEvaluatedError:
            continue
    assert time.perf_counter() - began < 2


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="device.attributes[\"'x]()&|!<>=? 0123:,+-*/%u", max_size=60))
def test_any_text_ends_in_one_of_four_ways(expression: str) -> None:
    with contextlib.suppress(SelectorError, NotEvaluatedError):
        assert holds(expression, DEVICE) in (True, False)
