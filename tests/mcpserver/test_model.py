"""With a language model in the settings, `diagnose` asks it and `scan` does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.mcpserver.serving import ON_BUNDLE, QUESTION, connected, said
from tests.unit.model import competent
from tests.unit.model.scene import calls
from tests.unit.model.server import Says, serving


async def test_a_question_goes_to_the_model_and_a_scan_does_not(tmp_path: Path) -> None:
    def think(request: dict[str, Any]) -> Says:
        return calls(*competent.reply(request), tokens=(100, 10))

    async with serving() as model:
        model.think = think
        asked = ("--model", "openai/scripted", "--base-url", model.url)
        async with connected(tmp_path, *ON_BUNDLE, *asked) as client:
            scanned = said(await client.call_tool("scan", {}))
            assert (scanned["mind"], scanned["usage"]["model_calls"]) == ("expert", 0)
            answered = said(await client.call_tool("diagnose", {"question": QUESTION}))
    assert answered["verdict"] == "fault"
    assert "openai/scripted" in answered["mind"]
    assert answered["usage"]["model_calls"] > 0
    assert answered["findings"][0]["target"]["name"] == "storefront"
