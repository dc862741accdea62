"""Which rules hold in which context; a rule that is not understood permits nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.domain.action import RequestClass
from assistant.policy.classify import PROTECTED_NAMESPACES, classify
from assistant.policy.contexts import FourEyes, Patterns, Rule, policy_for, read_key, read_namespaces, read_rule


def rule(pattern: str, source: str = "file", *, everywhere: bool = False, **values: Any) -> Rule:
    return read_rule(pattern, values, source, everywhere=everywhere)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "name", "fits"),
        [
            ("prod", "prod", True), ("prod", "prod-eu", False), ("prod-*", "prod-eu", True), ("prod-*", "prod", False),
            ("*", "", True), ("*-eu-*", "a-eu-b", True), ("a.b", "axb", False), ("[ab]", "a", False),
            ("Prod", "prod", False), ("a?", "ab", False), ("*prod", "xprod\n", False), ("a*", "a\nb", True),
            ("arn:aws:eks:*:cluster/prod", "arn:aws:eks:eu-1:42:cluster/prod", True),
        ],
    )  # fmt: skip
    def test_only_the_star_is_special(self, pattern: str, name: str, fits: bool) -> None:
        assert (name in Patterns([pattern])) is fits

    @given(st.text(max_size=20))
    def test_every_name_fits_itself_and_the_star(self, name: str) -> None:
        assert "*" in name or name in Patterns([name])
        assert name in Patterns(["*"])


class TestWhichRuleHolds:
    def test_nothing_said_is_the_default(self) -> None:
        policy = policy_for("dev", [])
        assert (policy.mode, policy.four_eyes, policy.break_glass, policy.production) == ("ask", "off", False, None)
        assert set(policy.sources.values()) == {"default"}

    def test_the_named_context_beats_a_pattern_and_that_beats_what_holds_everywhere(self) -> None:
        rules = [
            rule("*", "environment", everywhere=True, four_eyes="all"),
            rule("prod-*", "pattern", four_eyes="critical"),
            rule("prod-eu", "name", four_eyes="off"),
        ]
        held = {name: policy_for(name, rules) for name in ("dev", "prod-us", "prod-eu")}
        assert {name: (p.four_eyes.value, p.sources["four_eyes"]) for name, p in held.items()} == {
            "dev": ("all", "environment"), "prod-us": ("critical", "pattern"), "prod-eu": ("off", "name"),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "lax", "strict"),
        [
            ("four_eyes", "critical", "all"), ("break_glass", True, False), ("production", False, True),
            ("proposals_per_5_min", 9, 3), ("sent_per_10_min", 9, 3), ("mode", "ask", "observe"),
        ],
    )  # fmt: skip
    def test_of_two_equally_specific_ones_the_stricter_holds(self, name: str, lax: Any, strict: Any) -> None:
        rules = [rule("p*", **{name: lax}), rule("*d", **{name: strict})]
        for order in (rules, rules[::-1]):
            assert getattr(policy_for("prod", order), name) == strict

    def test_observe_holds_whoever_says_it(self) -> None:
        for rules in (
            [rule("*", everywhere=True, mode="observe"), rule("prod", mode="ask")],
            [rule("*", everywhere=True, mode="ask"), rule("prod", mode="observe")],
            [rule("pro*", mode="observe"), rule("prod", mode="ask")],
        ):
            assert policy_for("prod", rules).mode == "observe"

    @pytest.mark.parametrize(
        ("four_eyes", "critical", "needs"),
        [("off", True, False), ("critical", True, True), ("critical", False, False), ("all", False, True)],
    )
    def test_which_changes_need_two(self, four_eyes: str, critical: bool, needs: bool) -> None:
        policy = policy_for("prod", [rule("prod", four_eyes=four_eyes)])
        assert policy.needs_second(critical=critical) is needs
        assert policy.four_eyes is FourEyes(four_eyes)

    def test_an_approval_is_bound_to_every_rule(self) -> None:
        plain = policy_for("prod", [])
        other: dict[str, Any] = {
            "four_eyes": "all", "break_glass": True, "production": True, "sent_per_10_min": 3, "mode": "observe",
            "proposals_per_5_min": 3,
        }  # fmt: skip
        for name, value in other.items():
            assert policy_for("prod", [rule("prod", **{name: value})]).as_list() != plain.as_list(), name
        assert policy_for("prod", [], ["shop"]).as_list() != plain.as_list()


@pytest.mark.parametrize(
    "values",
    [
        {"four_eyes": "sometimes"}, {"four_eyes": True}, {"four_eye": "all"}, {"mode": "look"}, {"mode": None},
        {"production": "yes"}, {"break_glass": 1}, {"break_glass": "false"}, {"sent_per_10_min": 0},
        {"sent_per_10_min": True}, {"sent_per_10_min": 1.5}, {"proposals_per_5_min": -1}, {"sources": {}},
    ],
)  # fmt: skip
def test_a_rule_that_is_not_understood_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        read_rule("prod", values, "file")


@pytest.mark.parametrize("pattern", ["", " ", " prod", "prod\n"])
def test_a_name_that_no_context_has_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        read_rule(pattern, {}, "file")
    with pytest.raises(ValueError, match="section"):
        read_rule("prod", "observe", "file")


class TestProtectedNamespaces:
    def test_are_the_given_ones_beside_those_of_kubernetes(self) -> None:
        protected = policy_for("dev", [], ["payments", "team-*"]).protected
        for name in (*PROTECTED_NAMESPACES, "payments", "team-a"):
            verdict = classify("PATCH", f"/apis/apps/v1/namespaces/{name}/deployments/web", protected=protected)
            assert (verdict.request_class, verdict.rule) == (RequestClass.CRITICAL, "protected-namespace")
        other = classify("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web", protected=protected)
        assert other.request_class is RequestClass.WRITE

    @pytest.mark.parametrize("text", ["", "Payments", "a b", "pay?", "pay_ments", "a/b"])
    def test_a_pattern_that_no_namespace_fits_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="namespace"):
            read_namespaces(["shop", text])


@pytest.mark.parametrize(
    "text", ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", 7, None]
)
def test_only_an_ed25519_public_key_is_one(text: object) -> None:
    with pytest.raises(ValueError, match="public key"):
        read_key(text)
