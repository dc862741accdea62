"""The command `rerun` where another mind answers, fails, or is stopped: what it prints and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.mind import Conclusion, Mind
from agents.recorded import RecordedMind
from assistant.cli import main
from assistant.config import Settings
from assistant.domain import event as ev
from assistant.domain.case import fold
from assistant.domain.finding import Finding, Verdict
from assistant.domain.ports import Clock, Recorder, Turn
from assistant.domain.recorded import RecordedTurn
from assistant.errors import ModelError
from assistant.store.log import SessionStore

RECORDING = str(Path(__file__).parents[2] / "recordings" / "sessions" / "missing-image.jsonl.gz")
Outcome = Callable[[Conclusion, Recorder], Conclusion]


class OtherMind(RecordedMind):
    """Stands for a language model: takes the recorded conclusion and makes of it what a test says."""

    def __init__(self, recorded: RecordedTurn, clock: Clock, outcome: Outcome, name: str) -> None:
        super().__init__(recorded, clock)
        self._outcome, self._name = outcome, name

    @property
    def name(self) -> str:
        return self._name

    async def conclude(self, turn: Turn, found: tuple[Finding, ...], recorder: Recorder) -> Conclusion:
        return self._outcome(await super().conclude(turn, found, recorder), recorder)


@pytest.fixture
def rerun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("PILOTHOUSE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PILOTHOUSE_RUNTIME_DIR", str(tmp_path))

    def run(outcome: Outcome, *arguments: str, name: str = "gpt-x") -> tuple[int, str, str]:
        def made(
            settings: Settings, recorded: RecordedTurn, model: str, client: object, store: SessionStore, clock: Clock
        ) -> Mind:
            return OtherMind(recorded, clock, outcome, name)

        monkeypatch.setattr("assistant.wiring.rerun_mind", made)
        code = main(["rerun", RECORDING, "--model", "gpt-x", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def called(recorder: Recorder) -> None:
    recorder.emit(ev.ModelCalled("gpt-x-2026", "diagnose", "0" * 64, 4100, 300, 0.0123, 2.0))


def test_another_answer_is_put_beside_the_recorded_one(
    rerun: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        called(recorder)
        return replace(told, findings=(replace(told.findings[0], category="rollout"),), markdown="Otherwise [E1].")

    code, out, err = rerun(outcome)
    assert (code, err) == (0, "")
    assert "cause: the same object, with another category or field" in out
    for row in ("mind                   expert      gpt-x", "prompt tokens          0           4100", "$0.0123"):
        assert " ".join(row.split()) in " ".join(out.split())
    with SessionStore.open(tmp_path / "sessions.db", read_only=True) as store:
        kept = store.sessions()[0]
        case = fold(store.load(kept.id).events)
    assert (kept.mind, kept.source) == ("gpt-x", "rerun of 20261124-df23667b")
    assert case.spent.calls == 1 and case.opened is not None and case.opened.mode == "observe"


def test_the_same_as_json(rerun: Callable[..., tuple[int, str, str]]) -> None:
    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        called(recorder)
        return replace(told, verdict=Verdict.UNDETERMINED, findings=(), remedies=())

    code, out, _ = rerun(outcome, "--format", "json")
    document = json.loads(out)
    assert (code, document["cause"], document["same_verdict"]) == (0, "none", False)
    assert (document["rerun"]["completion_tokens"], document["rerun"]["cost_usd"]) == (300, 0.0123)


def test_where_the_model_fails_the_recorded_answer_stands_and_that_is_said(
    rerun: Callable[..., tuple[int, str, str]],
) -> None:
    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        recorder.emit(ev.ErrorRaised("model-busy", "The model is overloaded.", "Try later."))
        return told

    code, out, err = rerun(outcome, name="expert")
    assert (code, "cause: the same" in out) == (0, True)
    assert "gpt-x did not answer, so the recorded answer stands. The model is overloaded." in err


def test_a_model_that_fails_without_any_answer_ends_with_6(rerun: Callable[..., tuple[int, str, str]]) -> None:
    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        raise ModelError("The model does not answer.", "Try another one.")

    code, out, err = rerun(outcome)
    assert (code, out) == (6, "")
    assert "The model does not answer." in err and "Try another one." in err


def test_a_fault_of_our_own_ends_with_70(rerun: Callable[..., tuple[int, str, str]]) -> None:
    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        raise RuntimeError("oops")

    code, out, err = rerun(outcome)
    assert (code, out) == (70, "") and "fault in Pilothouse" in err


def test_a_bound_ends_the_looking_and_what_stands_is_told(
    rerun: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTHOUSE_TOOL_CALLS", "1")

    def outcome(told: Conclusion, recorder: Recorder) -> Conclusion:
        recorder.new_call()
        return told

    code, out, err = rerun(outcome)
    assert (code, err) == (0, "") and "cause: the same" in out
