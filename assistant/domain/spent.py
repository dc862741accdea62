"""What language models have cost: a sum over their calls."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.domain.thinking import ModelCalled


@dataclass(frozen=True, slots=True)
class Spent:
    """What language models have cost. `unpriced` counts the calls whose price is not known; they are not in the sum."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """Return all tokens."""
        return self.prompt_tokens + self.completion_tokens

    def and_also(self, other: Spent) -> Spent:
        """Return the sum of both."""
        return Spent(
            self.calls + other.calls, self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens, self.cost_usd + other.cost_usd,
            self.unpriced + other.unpriced,
        )  # fmt: skip

    @property
    def price(self) -> str:
        """Return what it cost as people read it: `$0.02`, `price unknown`, `$0.02 + 1 unpriced`."""
        if self.calls and self.unpriced == self.calls:
            return "price unknown"
        known = "<$0.01" if 0 < self.cost_usd < 0.005 else f"${self.cost_usd:.2f}"
        return f"{known} + {self.unpriced} unpriced" if self.unpriced else known

    def plus(self, call: ModelCalled) -> Spent:
        """Return the sum with one more call."""
        known = call.cost_usd >= 0
        return Spent(
            self.calls + 1, self.prompt_tokens + call.prompt_tokens, self.completion_tokens + call.completion_tokens,
            self.cost_usd + (call.cost_usd if known else 0.0), self.unpriced + (not known),
        )  # fmt: skip
