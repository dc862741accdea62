"""A value that the gate took out of an answer is never written back, whoever sends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.policy.redact_text import MARKER
from tests.gate.conftest import MERGE, lab
from tests.gate.scripted import DEPLOYMENT


@pytest.mark.parametrize("spelt", [MARKER, MARKER.replace("[", "\\u005b")])
async def test_a_body_with_a_placeholder_is_refused_and_nothing_is_held_or_sent(tmp_path: Path, spelt: str) -> None:
    body = f'{{"metadata":{{"annotations":{{"note":"{spelt}"}}}}}}'
    async with lab(tmp_path, hold_seconds=1) as here, here.client(**{"Content-Type": MERGE}) as client:
        async with client.patch(DEPLOYMENT, data=body) as answer:
            assert answer.status == 422
            assert "destroy the real one" in (await answer.json())["message"]
        assert await here.control.proposals() == ()
        assert here.server.writes == []
