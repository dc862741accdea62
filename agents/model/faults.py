"""What a provider's error means: whether another try helps, how long to wait, and which error of ours it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from agents.model.types import (
    Endpoint,
    ModelBusyError,
    ModelCallError,
    ModelContextError,
    ModelCutError,
    ModelRefusedError,
    ModelRequestError,
)
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe

# Providers word it differently and LiteLLM knows some of it; the code is OpenAI's, others repeat it.
CONTEXT: Final = re.compile(
    r"context[_ ]length|context window|maximum context|prompt is too long|too many (?:input )?tokens|"
    r"input (?:is )?too long|exceeds? the (?:model's )?(?:maximum )?(?:context|number of tokens)",
    re.IGNORECASE,
)
# What OpenAI's client says before it asks anybody; LiteLLM makes an error of the server (500) of it.
KEYLESS: Final = re.compile(r"missing credentials|api_key client option must be set", re.IGNORECASE)
QUOTED_CHARACTERS: Final = 240
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_REFUSED: Final = frozenset({401, 402, 403, 404, 407})


def status_of(error: BaseException) -> int:
    """Return the HTTP status that an error stands for, 0 where it tells none."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0


def may_try_again(error: BaseException) -> bool:
    """Say whether the same request may go through a little later."""
    text = str(error)
    return status_of(error) in _AGAIN and not CONTEXT.search(text) and not KEYLESS.search(text)


def retry_after_seconds(error: BaseException, otherwise: float) -> float:
    """Return what the server asked to wait (Retry-After, RFC 9110: seconds or a date), else `otherwise`."""
    headers = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    text = str((headers or {}).get("retry-after") or "").strip()
    try:
        return max(0.0, float(text)) if text else otherwise
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return otherwise


def typed(
    error: BaseException, endpoint: Endpoint, said: str, *, tries: int, asked_seconds: float = 0.0
) -> ModelCallError:
    """Return the error as ours; its detail is redacted and the key is not in it."""
    status, place = status_of(error), endpoint.place
    text = str(error)
    for secret in endpoint.secrets:
        text = text.replace(secret, "[key]")
    detail = redact_text(safe(" ".join(text.split()), multiline=False))[0][:QUOTED_CHARACTERS]
    often = f" Tried {tries} times." if tries > 1 else ""
    if said:
        return ModelCutError(f"{place} broke off its answer.", "Ask again.", detail=detail, said=said)
    if CONTEXT.search(text):
        return ModelContextError(
            f"The request is larger than {endpoint.model} takes.",
            "Choose a model with a larger context.",
            detail=detail,
        )
    if KEYLESS.search(text):
        hint = "Put the provider's key into its variable, or name another one with model_key_env."
        return ModelRefusedError(f"There is no key for {place}.", hint, detail=detail)
    if status in _REFUSED:
        meaning = {
            401: f"{place} does not accept the key.", 402: f"{place} wants to be paid.",
            403: f"{place} does not allow this.", 404: f"{place} is not there.",
        }.get(status, f"{place} does not let us in (HTTP {status}).")  # fmt: skip
        return ModelRefusedError(meaning, "Check the key, the model's name and the address.", detail=detail)
    if asked_seconds:
        text = f"{place} asked to wait {asked_seconds:.0f} s, which is too long to wait for."
        return ModelBusyError(text, "Ask again later, or choose another model.", detail=detail)
    if status in (408, 429):
        what = "asked to wait" if status == 429 else "gave up waiting"
        return ModelBusyError(f"{place} {what} (HTTP {status}).{often}", "Ask again later.", detail=detail)
    if status in _AGAIN or status >= 500:
        return ModelBusyError(f"{place} cannot be reached or fails.{often}", "Ask again later.", detail=detail)
    return ModelRequestError(f"{place} refused the request (HTTP {status or '?'}).", "See the detail.", detail=detail)
