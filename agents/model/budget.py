"""What language models may use in a turn, a session and a day, and the sentence that says which bound is reached.

Pure: it is given what was spent. Asked before each call, so that a bound is passed by one call's answer at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from assistant.domain.case import Spent

_CENTS_FROM: Final = 0.1
"""Below this, dollars are shown with four digits: most calls cost less than a cent."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What one scope may use; 0 is no bound. Tokens are those of prompts and answers together."""

    tokens: int = 0
    cost_usd: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The bounds of all scopes, and what one turn may take besides: `seconds` and calls of tools."""

    turn: Bound
    session: Bound
    day: Bound
    seconds: float = 180.0
    tool_calls: int = 16


@dataclass(frozen=True, slots=True)
class Reached:
    """The bound (`tokens`, `cost` or `calls`) that forbids another call; `text` says scope, limit, used, what to do."""

    bound: str
    limit: float
    text: str


def reached(allowance: Allowance, turn: Spent, session: Spent, day: Spent, next_tokens: int = 0) -> Reached | None:
    """Return the bound that forbids another call with about `next_tokens` in its prompt, None when it may be made.

    The narrowest scope is named first. A call's answer is not known before, so tokens may end above a bound by that
    answer, and money by the last call.
    """
    scopes = (("turn", allowance.turn, turn), ("session", allowance.session, session), ("day", allowance.day, day))
    return next((found for scope in scopes for found in _reached(*scope, next_tokens)), None)


def unpriced(spent: Spent) -> bool:
    """Say whether calls were made whose price is not known, so that the sum of money is too small."""
    return spent.unpriced > 0


def price_unknown(allowance: Allowance, model: str) -> str:
    """Return what to tell once the price of `model` turns out to be unknown; "" where no bound of money is set."""
    scopes = (allowance.turn, allowance.session, allowance.day)
    if not any(bound.cost_usd for bound in scopes):
        return ""
    text = f"The price of {model} is not known, so the bound of money cannot hold"
    if any(bound.tokens for bound in scopes):
        return f"{text}; the bound of tokens does."
    if any(bound.calls for bound in scopes):
        return f"{text}; the bound of calls does."
    return f"{text}, and no other is set. Set turn_tokens."


def _reached(scope: str, bound: Bound, spent: Spent, next_tokens: int) -> Iterator[Reached]:
    if bound.tokens and spent.tokens + max(1, next_tokens) > bound.tokens:
        used = f"{_whose(scope)} {spent.tokens:,} of {bound.tokens:,} tokens"
        more = f", and the next call needs about {next_tokens:,}" if spent.tokens < bound.tokens else ""
        yield Reached("tokens", bound.tokens, f"{used}{more}. {_to_do(scope, 'tokens')}")
    if bound.cost_usd and spent.cost_usd >= bound.cost_usd:
        used = f"{_whose(scope)} {dollars(spent.cost_usd)} of {dollars(bound.cost_usd)} USD"
        yield Reached("cost", bound.cost_usd, f"{used}. {_to_do(scope, 'cost_usd')}")
    if bound.calls and spent.calls >= bound.calls:
        used = f"{_whose(scope)} {spent.calls:,} of {bound.calls:,} calls of a language model"
        yield Reached("calls", bound.calls, f"{used}. {_to_do(scope, 'model_calls')}")


def dollars(amount: float) -> str:
    """Return an amount in digits: cents, or hundredths of a cent where it is small."""
    return f"{amount:,.2f}" if amount >= _CENTS_FROM or not amount else f"{amount:.4f}"


def _whose(scope: str) -> str:
    return {"turn": "This turn has used", "session": "This session has used", "day": "Today's sessions have used"}[
        scope
    ]


def _to_do(scope: str, unit: str) -> str:
    setting = f"{scope}_{unit}"
    return {
        "turn": f"Ask again to go on in another turn, or raise {setting}.",
        "session": f"Start another session, or raise {setting}.",
        "day": f"It counts anew from midnight; to go on today, raise {setting}.",
    }[scope]
