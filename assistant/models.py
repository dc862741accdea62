"""From the settings to the language models that are asked: where, with which key, and what they may cost.

Apart from the settings, which know no mind, and from wiring, because `doctor` shows the same. Loads no LiteLLM.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING, Final

from agents.model.budget import Allowance, Bound
from agents.model.types import Bounds, ChatClient, Endpoint
from assistant.config import Settings
from assistant.domain.case import Spent
from assistant.domain.ports import Clock
from assistant.errors import UsageError

if TYPE_CHECKING:
    from agents.mind import Mind
    from agents.model.reading import Reader
    from agents.model.toolsets import Servers
    from assistant.model_worker.link import ModelWorker


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment variables of a provider as LiteLLM 1.97 reads them; any one of `keys` will do."""

    keys: tuple[str, ...]
    addresses: tuple[str, ...] = ()


PROVIDERS: Final[Mapping[str, Variables]] = {
    "anthropic": Variables(("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"), ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")),
    "azure": Variables(("AZURE_API_KEY",), ("AZURE_API_BASE",)),
    "cohere": Variables(("COHERE_API_KEY",)),
    "deepseek": Variables(("DEEPSEEK_API_KEY",)),
    "gemini": Variables(("GOOGLE_API_KEY", "GEMINI_API_KEY"), ("GEMINI_API_BASE",)),
    "groq": Variables(("GROQ_API_KEY",)),
    "huggingface": Variables(("HUGGINGFACE_API_KEY", "HF_TOKEN")),
    "litellm_proxy": Variables(("LITELLM_PROXY_API_KEY",), ("LITELLM_PROXY_API_BASE",)),
    "mistral": Variables(("MISTRAL_API_KEY",), ("MISTRAL_API_BASE",)),
    "openai": Variables(("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    "openrouter": Variables(("OPENROUTER_API_KEY",)),
    "together_ai": Variables(("TOGETHERAI_API_KEY", "TOGETHER_API_KEY")),
    "xai": Variables(("XAI_API_KEY",)),
}
"""Those that need a key. Others are left out, because nothing certain can be said of them without LiteLLM."""


NO_KEY: Final = "no-key"
"""Sent to an address of one's own where there is no key: local servers want none, and OpenAI's client wants one."""


def endpoints(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[Endpoint, ...]:
    """Return the models to ask, the wanted one first; none where the expert answers alone.

    Raises UsageError where the variable that `model_key_env` names is not set: LiteLLM would send the provider's own
    key to that address instead.
    """
    key = environment.get(settings.model_key_env, "").strip() if settings.model_key_env else ""
    if settings.model and settings.model_key_env and not key:
        source = settings.sources.get("model_key_env", "default")
        text = f"model_key_env ({source}) names {settings.model_key_env}, which is not set."
        raise UsageError(text, "Set it to the key, or take model_key_env out.")
    found = []
    # A fallback that is the model itself would only be asked once more.
    for name, address in dict.fromkeys(settings.models):
        ours = _ours(settings, name, address)
        own = key if ours else ""
        if address and not own and not _has_key(name, environment):
            own = NO_KEY
        found.append(Endpoint(name, address, own, dict(settings.model_headers) if ours else {}))
    return tuple(found)


def allowance(settings: Settings) -> Allowance:
    """Return what the settings let language models use."""
    return Allowance(
        Bound(settings.turn_tokens, settings.turn_cost_usd, settings.turn_model_calls),
        Bound(settings.session_tokens, settings.session_cost_usd, settings.session_model_calls),
        Bound(settings.day_tokens, settings.day_cost_usd, settings.day_model_calls),
        settings.turn_model_seconds,
        settings.turn_model_tool_calls,
    )


def model_worker(settings: Settings, clock: Clock) -> ModelWorker:
    """Return the process in which the models of the settings are asked; not started yet. Raises UsageError."""
    from assistant.model_worker.link import ModelWorker

    wait = settings.model_wait_seconds
    bounds = Bounds(wait, max(wait / 2, 45.0), max(settings.turn_model_seconds, wait))
    return ModelWorker(endpoints(settings), bounds, settings.state / "logs" / "model.log", clock)


def model_mind(
    settings: Settings, client: ChatClient, expert: Mind, reader: Reader, clock: Clock,
    spent_since: Callable[[datetime], Spent], servers: Servers | None = None,
) -> Mind:  # fmt: skip
    """Return the mind that asks the models of the settings; `spent_since` tells what a day has cost.

    `servers` are the MCP servers whose tools it may look for.
    """
    from agents.model.mind import ModelMind

    def day() -> Spent:
        return spent_since(day_began(clock.now()))

    return ModelMind(expert, reader, client, settings.model, allowance(settings), clock, day, servers)


def key_variables(settings: Settings) -> frozenset[str]:
    """Return the environment variables that hold keys of language models: only who asks one may have them."""
    known = {name for each in PROVIDERS.values() for name in each.keys}
    return frozenset(known | {settings.model_key_env} - {""})


def day_began(now: datetime) -> datetime:
    """Return the last midnight of this machine's time zone: the day that a bill surprises somebody on."""
    return datetime.combine(now.astimezone().date(), time.min).astimezone()


def keyed(settings: Settings, name: str, address: str) -> bool:
    """Say whether the key of `model_key_env` is the one that a model at an address is asked with."""
    return bool(settings.model_key_env) and _ours(settings, name, address)


def variables(name: str) -> Variables | None:
    """Return the variables of a model's provider, None where nothing certain can be said of them."""
    return PROVIDERS.get(_provider(name))


def _ours(settings: Settings, name: str, address: str) -> bool:
    # A key is never sent to another server than the one that it was given for.
    if settings.base_url:
        return address == settings.base_url
    return not address and _provider(name) == _provider(settings.model)


def _has_key(name: str, environment: Mapping[str, str]) -> bool:
    known = variables(name)
    return known is None or any(environment.get(each) for each in known.keys)


def _provider(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""
