"""A real AI gateway, LiteLLM's proxy, between Pilothouse and a model: keys, names, fallbacks and what is counted."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.integration.programs import AI_GATEWAY
from tests.unit.expert.test_practice import PRACTICE, unpack
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Server, serving

pytestmark = pytest.mark.skipif(AI_GATEWAY is None, reason="LiteLLM's proxy is not in .tools/gateway (make tools)")
INCIDENT = "misspelt-host"
START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def gateway(tmp: Path, behind: Server, key: str) -> AsyncIterator[str]:
    """Start the proxy with one model that is really the scripted one; returns its base address."""
    port = free_port()
    config = {
        "model_list": [{
            "model_name": "house-model",
            "litellm_params": {"model": "openai/behind", "api_base": behind.url, "api_key": "none"},
        }],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }  # fmt: skip
    (tmp / "gateway.yaml").write_text(yaml.safe_dump(config))
    assert AI_GATEWAY is not None
    with (tmp / "gateway.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            AI_GATEWAY, "--config", str(tmp / "gateway.yaml"), "--host", "127.0.0.1", "--port", str(port),
            stdout=log, stderr=log, cwd=tmp, start_new_session=True,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(tmp)},
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession(trust_env=False) as session:
            while True:
                assert process.returncode is None, (tmp / "gateway.log").read_text()[-2000:]
                try:
                    async with session.get(f"http://127.0.0.1:{port}/health/liveliness") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def ask(tmp: Path, url: str, key: str, *more: str) -> tuple[dict[str, Any], str]:
    about = yaml.safe_load((PRACTICE / INCIDENT / "incident.yaml").read_text())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assistant", "ask", about["symptom"], "-n", about["namespace"], "--bundle",
        str(tmp / "bundle" / "bundle") if (tmp / "bundle" / "bundle").is_dir() else str(tmp / "bundle"),
        "--base-url", url, "--format", "json", *more,
        env={
            **os.environ, "PILOTHOUSE_STATE_DIR": str(tmp / "state"), "PILOTHOUSE_RUNTIME_DIR": str(tmp / "run"),
            "HOUSE_KEY": key, "PILOTHOUSE_MODEL_KEY_ENV": "HOUSE_KEY", "XDG_CONFIG_HOME": str(tmp),
            "PILOTHOUSE_MODEL_FALLBACKS": "openai/house-model",
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    return json.loads(out), told.decode()


async def test_a_real_gateway_is_asked_with_its_key_and_its_names_and_another_name_where_it_has_none(
    tmp_path: Path,
) -> None:
    key = "sk-" + secrets.token_hex(12)
    root, _ = unpack(PRACTICE / INCIDENT / "bundle.tar.gz", tmp_path / "bundle")
    assert root.exists()
    async with serving() as behind:
        behind.think = lambda request: calls(*competent.reply(request))
        async with gateway(tmp_path, behind, key) as url:
            refused, _ = await ask(tmp_path, url, "sk-" + "of-nobody", "--model", "openai/house-model")
            assert behind.asked == [], "the gateway let nobody in"
            assert refused["mind"] == "expert"
            assert [each["code"] for each in refused["errors"]] == ["model-request"], (
                "without a database it says 400, not 401"
            )
            assert key not in json.dumps(refused)

            good, _ = await ask(tmp_path, url, key, "--model", "openai/house-model")
            assert good["mind"] == "openai/house-model"
            assert good["findings"][0]["by"] == "expert and openai/house-model"
            assert good["usage"]["model_calls"] == len(behind.asked) == 2
            # This gateway (1.97) counts a stream anew instead of handing on the 120 + 7 that the model behind it told.
            assert good["usage"]["prompt_tokens"] > 1000
            assert good["usage"]["completion_tokens"] > 100

            # A name that the gateway does not have: the next of the list is asked, and told.
            other, _ = await ask(tmp_path, url, key, "--model", "openai/unknown")
            assert other["findings"][0]["by"].startswith("expert and ")
            assert len(behind.asked) == 4
