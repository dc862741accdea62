"""The model mind over a recorded cluster and a real socket: both opinions, evidence checked, the expert's stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.model.loop import Loop, Outcome
from assistant.domain.finding import Role, Verdict

from .scene import MODEL, thinking


async def test_a_competent_model_agrees_with_the_expert_and_cites_what_stands(tmp_path: Path) -> None:
    async with thinking(tmp_path, "misspelt-host") as scene:
        done = await scene.conclude()
    assert done.by == MODEL
    assert done.verdict is Verdict.FAULT
    root = next(each for each in done.findings if each.role is Role.ROOT_CAUSE)
    assert root.by == f"expert and {MODEL}"
    assert not root.unsupported


async def test_a_fault_of_our_own_on_the_models_side_does_not_take_the_answer_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Loop) -> Outcome:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(Loop, "run", broken)
    async with thinking(tmp_path, "misspelt-host") as scene:
        done = await scene.conclude()
        assert done.by == "expert"
        assert done.verdict is Verdict.FAULT
        (error,) = scene.case.errors
        assert (error.code, "nobody thought of this" in error.detail) == ("model", True)
