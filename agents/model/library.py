"""LiteLLM, loaded in a thread, because importing it takes seconds; the session has it in a process of its own.

Set before the import, because it acts on them while it is imported (measured with 1.97): without
LITELLM_LOCAL_MODEL_COST_MAP it fetches its price list from the network, and with LITELLM_MODE other than PRODUCTION it
takes a `.env` file of the working directory into the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import threading
from typing import Any

from agents.model.spared import spared

_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


async def load() -> Any:
    """Return the module, set up; loaded once. Raises ImportError."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Any] = loop.create_future()

    def done(library: Any, error: BaseException | None) -> None:
        if loaded.done():
            return
        if error is not None:
            loaded.set_exception(error)
        else:
            loaded.set_result(library)

    def work() -> None:
        try:
            library, error = _import(), None
        except BaseException as failure:
            library, error = None, failure
        # The loop may have ended meanwhile: then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done, library, error)

    # Not asyncio's own threads: whoever quits in the first seconds would wait for the import to end.
    threading.Thread(target=work, daemon=True, name="litellm").start()
    return await loaded


def load_ahead() -> None:
    """Begin to load, so that it is there when the first question is. For a process that does nothing else."""

    def work() -> None:
        _import()
        # What was loaded lives as long as the process; looking through it would fall into the first call.
        gc.freeze()

    threading.Thread(target=work, daemon=True, name="litellm").start()


def takes(library: Any, model: str, parameter: str) -> bool:
    """Say whether a model's provider knows an optional parameter; one that is not known to LiteLLM is sent none."""
    try:
        return parameter in (library.get_supported_openai_params(model) or ())
    except Exception:
        # It raises for a name without a provider, which the call itself will name.
        return False


def _import() -> Any:
    os.environ.update(_ENVIRONMENT)
    # Everything that is imported stays: looking through it for garbage took a fifth of the time (2.8 to 2.3 s of CPU).
    collecting = gc.isenabled()
    gc.disable()
    try:
        with spared():
            library: Any = importlib.import_module("litellm")
            # OpenAI's client loads this at its first call, in the event loop, where nothing could be stopped meanwhile.
            importlib.import_module("openai.resources.chat")
    finally:
        if collecting:
            gc.enable()
    library.telemetry = False
    library.suppress_debug_info = True
    # With drop_params it sends a request that was refused (422) once more, and returns None for the second refusal.
    library.drop_params = False
    library.num_retries = None
    for hook in ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "input_callback"):
        setattr(library, hook, [])
    return library
