"""What may be spent on language models: never more than one answer above a bound, and a sentence that says which."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.model.budget import Allowance, Bound, price_unknown, reached, unpriced
from assistant.domain.case import Spent

NONE = Spent()
amounts = st.integers(0, 60)
money = st.integers(0, 60).map(lambda tenths: tenths / 10)
bounds = st.builds(Bound, amounts, money, st.integers(0, 12))
allowances = st.builds(Allowance, bounds, bounds, bounds)
spendings = st.builds(Spent, st.integers(0, 12), amounts, amounts, money, st.integers(0, 3))


def more(spent: Spent, by: Spent) -> Spent:
    return Spent(
        spent.calls + by.calls, spent.prompt_tokens + by.prompt_tokens, spent.completion_tokens + by.completion_tokens,
        spent.cost_usd + by.cost_usd, spent.unpriced + by.unpriced,
    )  # fmt: skip


@given(allowances, st.lists(st.tuples(amounts, amounts, money), max_size=40))
def test_no_bound_is_passed_by_more_than_the_last_calls_own_answer(
    allowed: Allowance, calls: list[tuple[int, int, float]]
) -> None:
    spent = NONE
    for prompt, completion, cost in calls:
        if reached(allowed, spent, spent, spent, prompt):
            break
        spent = more(spent, Spent(1, prompt, completion, cost))
        for bound in (allowed.turn, allowed.session, allowed.day):
            assert not bound.tokens or spent.tokens <= bound.tokens + completion
            assert not bound.calls or spent.calls <= bound.calls
            assert not bound.cost_usd or spent.cost_usd < bound.cost_usd + cost + 1e-9


@given(allowances, spendings, spendings, spendings, amounts, spendings, amounts)
def test_what_is_refused_stays_refused_when_more_is_spent_or_asked_for(
    allowed: Allowance, turn: Spent, session: Spent, day: Spent, tokens: int, by: Spent, longer: int
) -> None:
    if reached(allowed, turn, session, day, tokens):
        assert reached(allowed, more(turn, by), more(session, by), more(day, by), tokens + longer)


@given(allowances, spendings, spendings, spendings, amounts)
def test_a_call_that_one_scope_refuses_is_refused_whatever_the_others_say(
    allowed: Allowance, turn: Spent, session: Spent, day: Spent, tokens: int
) -> None:
    alone = [
        reached(replace(allowed, session=Bound(), day=Bound()), turn, session, day, tokens),
        reached(replace(allowed, turn=Bound(), day=Bound()), turn, session, day, tokens),
        reached(replace(allowed, turn=Bound(), session=Bound()), turn, session, day, tokens),
    ]
    together = reached(allowed, turn, session, day, tokens)
    assert together == next((found for found in alone if found), None)


@given(spendings, spendings, spendings, amounts)
def test_without_bounds_every_call_may_be_made(turn: Spent, session: Spent, day: Spent, tokens: int) -> None:
    assert reached(Allowance(Bound(), Bound(), Bound()), turn, session, day, tokens) is None


@pytest.mark.parametrize(
    ("allowed", "spent", "tokens", "bound", "limit", "text"),
    [
        (
            Allowance(Bound(tokens=30_000), Bound(), Bound()), Spent(3, 28_000, 400), 4_000, "tokens", 30_000,
            "This turn has used 28,400 of 30,000 tokens, and the next call needs about 4,000."
            " Ask again to go on in another turn, or raise turn_tokens.",
        ),
        (
            Allowance(Bound(), Bound(tokens=300), Bound()), Spent(3, 300, 4), 4_000, "tokens", 300,
            "This session has used 304 of 300 tokens. Start another session, or raise session_tokens.",
        ),
        (
            Allowance(Bound(), Bound(), Bound(cost_usd=20.0)), Spent(9, 1, 1, 20.125), 0, "cost", 20.0,
            "Today's sessions have used 20.12 of 20.00 USD."
            " It counts anew from midnight; to go on today, raise day_cost_usd.",
        ),
        (
            Allowance(Bound(cost_usd=0.002), Bound(), Bound()), Spent(9, 1, 1, 0.0031), 0, "cost", 0.002,
            "This turn has used 0.0031 of 0.0020 USD. Ask again to go on in another turn, or raise turn_cost_usd.",
        ),
        (
            Allowance(Bound(calls=8), Bound(), Bound()), Spent(8), 0, "calls", 8,
            "This turn has used 8 of 8 calls of a language model."
            " Ask again to go on in another turn, or raise turn_model_calls.",
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_scope_limit_used_and_what_to_do(
    allowed: Allowance, spent: Spent, tokens: int, bound: str, limit: float, text: str
) -> None:
    found = reached(allowed, spent, spent, spent, tokens)
    assert found is not None
    assert (found.bound, found.limit, found.text) == (bound, limit, text)


def test_a_price_that_is_not_known_is_told_with_the_bound_that_holds_instead() -> None:
    assert unpriced(Spent(2, unpriced=1))
    assert not unpriced(Spent(2, cost_usd=0.1))
    money_and = Allowance(Bound(cost_usd=0.5), Bound(), Bound())
    text = "The price of openai/m is not known, so the bound of money cannot hold"
    assert price_unknown(replace(money_and, day=Bound(tokens=9)), "openai/m") == f"{text}; the bound of tokens does."
    assert price_unknown(replace(money_and, day=Bound(calls=9)), "openai/m") == f"{text}; the bound of calls does."
    assert price_unknown(money_and, "openai/m") == f"{text}, and no other is set. Set turn_tokens."
    assert price_unknown(Allowance(Bound(tokens=9), Bound(), Bound()), "openai/m") == ""
