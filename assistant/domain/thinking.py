"""The events of thinking: hypotheses, opinions and the calls of a language model. Part of the union in `event`."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.domain.finding import Verdict
from assistant.domain.hypothesis import Hypothesis, Mark

MODEL_TOOL = "model"
"""The `tool` of a `ToolStarted` that asks a language model: it is no read, and a `ModelCalled` says more of it."""


@dataclass(frozen=True, slots=True)
class BoardMade:
    """The hypotheses of the turn; a later board replaces the earlier one, what a person marked stays marked."""

    hypotheses: tuple[Hypothesis, ...]


@dataclass(frozen=True, slots=True)
class HypothesisMarked:
    """A person struck or pinned a hypothesis, or took that back; the mind looks at the board before its next call."""

    hypothesis: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class OpinionGiven:
    """What one mind makes of it, told before the answer: the expert's, while a language model still thinks."""

    mind: str
    verdict: Verdict
    markdown: str

    @property
    def who(self) -> str:
        """Return the mind as the subject of a sentence."""
        return "the expert" if self.mind == "expert" else self.mind


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """One call of a language model. `model` is who answered as the server says, `asked` the name that was asked for.

    `endpoint` is the address without credentials ("" for the provider's own). `prompt_digest` and `reply_digest` are
    the SHA-256 under which the store keeps what was sent and what came, as JSON. `prompts` names the prompt files with
    their digests (`diagnoser 1f3a…`). Tokens are the server's count, or `estimated` here where it told none.
    `cost_usd` is negative when it is not known. `cut` says why the answer was broken off at a bound, `failed` why there
    is none.
    """

    model: str
    purpose: str
    prompt_digest: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float
    asked: str = ""
    endpoint: str = ""
    reply_digest: str = ""
    prompts: tuple[str, ...] = ()
    estimated: bool = False
    cut: str = ""
    failed: str = ""

    @property
    def instead_of(self) -> str:
        """Return the name that was asked for where another model answered; a provider in front is no difference."""
        return "" if self.asked == self.model or self.asked.endswith(f"/{self.model}") else self.asked
