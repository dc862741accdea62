"""The processes behind a session: what is said of them is what they answer, not what the system still lists."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from assistant.backend import Backend, practice_place
from assistant.config import load
from assistant.practice import incident


async def test_a_gate_that_was_killed_a_moment_ago_is_replaced(tmp_path: Path) -> None:
    settings = load({"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}, {}, tmp_path / "none")
    backend = Backend(settings, practice_place(incident("lost-points")))
    first = await backend.open()
    try:
        (said,) = (tmp_path / "run" / "gates").glob("*.json")
        pid = int(json.loads(said.read_bytes())["pid"])
        assert (await backend.revive()).gate == first.gate, "one that answers stays"
        # Nothing has run on the loop since, so nobody was told yet that it has ended.
        os.kill(pid, signal.SIGKILL)
        second = await backend.revive()
        assert second.gate != first.gate
        assert (await backend.control.info()).gate == second.gate
        assert (await backend.client.get_json("/version"))["major"] == "1"
    finally:
        await backend.close()
