"""What the expert says about the question itself: nothing understood, or an object named that is not there."""

from __future__ import annotations

import pytest

from agents.expert.question import remark
from assistant.domain.view import ClusterView, Knowledge

from .objects import deployment, pod, service, view


def shop() -> ClusterView:
    return view(deployment("checkout", ready=1), pod("checkout", ready=True), service("checkout"))


@pytest.mark.parametrize(
    "question",
    [
        "why does checkout restart?",
        "Checkout is down: customers get 503 at the payment step.",
        "Is anything wrong?",
        "what changed",
        "warum geht checkout nicht",
        "deploy/checkout",
        "why is pod checkout-1-1 slow",
        "the pod-restarts dashboard is red",
        "",
    ],
)
def test_a_question_with_a_name_a_kind_or_a_symptom_is_answered_without_ado(question: str) -> None:
    assert remark(shop(), question) == ""


@pytest.mark.parametrize("question", ["asdf", "hello there", "lorem ipsum dolor", "42"])
def test_a_text_without_any_known_word_is_said_not_to_be_understood(question: str) -> None:
    said = remark(shop(), question)
    assert "did not understand" in said
    assert "namespace shop" in said


@pytest.mark.parametrize(
    ("question", "absent"),
    [
        ("why is deployment/billing down?", "deployment billing"),
        ("why is the pod billing-7d9f-x restarting", "pod billing-7d9f-x"),
        ("svc/cart has no endpoints", "svc cart"),
    ],
)
def test_an_object_that_is_named_and_not_there_is_named_in_the_answer(question: str, absent: str) -> None:
    assert f"There is no {absent} in namespace shop." in remark(shop(), question)


def test_what_could_not_be_read_is_not_said_to_be_absent() -> None:
    seen = shop()
    seen.know("deployments.apps", "shop", Knowledge.FORBIDDEN, "no right")
    assert remark(seen, "why is deployment/billing down?") == ""
