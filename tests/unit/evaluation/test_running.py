"""Who is asked, how often, and what the report makes of it; a program that answers as `ask` does plays its part."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from assistant.commands.eval import evaluate
from assistant.errors import UsageError

ASKED = """\
#!{python}
import json, pathlib, sys
home = pathlib.Path({home!r})
calls = home / "calls"
calls.mkdir(exist_ok=True)
question = sys.argv[sys.argv.index("ask") + 1]
number = len(list(calls.glob(f"{{question}} *")))
(calls / f"{{question}} {{number}}.json").write_text(json.dumps(sys.argv[1:]))
answers = json.loads((home / "answers.json").read_text())
answer = answers[number % len(answers)]
if isinstance(answer, str):
    sys.stderr.write(answer)
    sys.exit(2 if "version" in answer else 6)
print(json.dumps(answer))
"""


def answered(
    name: str = "settings", *, mind: str = "gpt-x", tokens: int = 4000, cost: float | None = 0.02, calls: int = 2
) -> dict[str, Any]:
    finding = {
        "id": "F1", "rank": 1, "role": "root_cause", "category": "app-config", "field": "data.X", "summary": "x",
        "target": {"kind": "ConfigMap", "namespace": "shop", "name": name}, "confidence": 0.9, "evidence": [],
    }  # fmt: skip
    usage = {"model_calls": calls, "prompt_tokens": tokens, "completion_tokens": 100, "cost_usd": cost}
    return {"version": 1, "mind": mind, "verdict": "fault", "findings": [finding], "usage": usage}


UNSURE = {"version": 1, "mind": "gpt-x", "verdict": "undetermined", "usage": {"prompt_tokens": 9000, "cost_usd": 0.04}}


class Bench:
    """Incidents in a folder, and what is answered in turn about each of them."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = home, capsys
        for name in ("one", "two"):
            bundle = home / "incidents" / name / "bundle"
            bundle.mkdir(parents=True)
            (bundle / "version.yaml").write_text("x: 1")
            (bundle.parent / "truth.yaml").write_text(
                f"symptom: {name} is down\nculprit:\n- {{kind: ConfigMap, namespace: shop, name: settings}}\n"
            )

    def evaluate(self, *answers: object, form: str = "json", repeat: int = 1, **given: Any) -> tuple[int, str]:
        (self.home / "answers.json").write_text(json.dumps(answers))
        defaults = {"only": "", "jobs": 1, "timeout": 30, "model": None, "no_model": False, "base_url": None}
        folder = self.home / "incidents"
        code = evaluate(argparse.Namespace(**defaults | given, folder=folder, repeat=repeat, format=form))
        return code, self._capsys.readouterr().out

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(path.read_text()) for path in sorted((self.home / "calls").iterdir())]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    program = tmp_path / "ask"
    program.write_text(ASKED.format(python=sys.executable, home=str(tmp_path)))
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    return Bench(tmp_path, capsys)


def test_the_expert_is_asked_where_no_model_is_named(bench: Bench) -> None:
    code, out = bench.evaluate(answered(mind="expert", tokens=0, cost=0.0, calls=0))
    report = json.loads(out)
    assert code == 0
    assert all("--no-model" in call and "--model" not in call for call in bench.calls)
    assert (report["model"], report["usage"]["model_failed"], report["usage"]["cost_usd"]) == (None, 0, 0.0)


@pytest.mark.parametrize("base_url", [None, "http://localhost:4000"])
def test_a_model_is_handed_on_with_its_address(bench: Bench, base_url: str | None) -> None:
    bench.evaluate(answered(), model="gpt-x", base_url=base_url)
    wanted = ["--model", "gpt-x", *(["--base-url", base_url] if base_url else [])]
    for call in bench.calls:
        assert "--no-model" not in call
        assert [part for part in call if part in ("--base-url", base_url, "--model", "gpt-x")] == wanted


def test_a_model_that_is_right_half_of_the_time_passes_once_and_not_always(bench: Bench) -> None:
    code, out = bench.evaluate(answered(), answered("other"), model="gpt-x", repeat=2)
    report = json.loads(out)
    assert code == 1
    assert report["passes"] == {"k": 2, "pass_at_1": 0.5, "pass_hat_k": 0.0}
    assert [each["right_runs"] for each in report["incidents"]] == [1, 1]
    assert [run["answered_by"] for run in report["incidents"][0]["runs"]] == ["gpt-x", "gpt-x"]


def test_tokens_cost_and_abstentions_are_reported(bench: Bench) -> None:
    _, out = bench.evaluate(answered(), answered(tokens=6000, cost=0.03), UNSURE, model="gpt-x", repeat=3)
    report = json.loads(out)
    usage = report["usage"]
    assert report["sums"]["abstained"] == 2
    assert (usage["median_prompt_tokens"], usage["largest_prompt_tokens"]) == (6000, 9000)
    assert usage["cost_usd_a_run"] == pytest.approx(0.03) and usage["unpriced_runs"] == 0


def test_the_table_says_it_in_words(bench: Bench) -> None:
    _, out = bench.evaluate(answered(), UNSURE, model="gpt-x", repeat=2, form="text")
    assert "pass@1 50%, pass^2 0% (every run of an incident right); abstained in 2 of 4 runs" in out
    assert "prompt tokens median 6500, largest 9000; 6550 tokens a run; $0.0300 a run" in out
    assert "gpt-x answered in 4 of 4 runs, right in 2; it failed and the expert's answer stood in 0, no answer" in out


def test_asked_once_only_the_first_figure_is_shown(bench: Bench) -> None:
    _, out = bench.evaluate(answered(), form="text")
    assert "pass@1 100%; abstained in 0 of 2 runs" in out
    assert "pass^" not in out and "prompt tokens" not in out


def test_a_run_without_a_price_makes_the_cost_unknown(bench: Bench) -> None:
    _, out = bench.evaluate(answered(), answered(cost=None), model="gpt-x", repeat=2)
    assert json.loads(out)["usage"]["cost_usd"] is None
    _, out = bench.evaluate(answered(cost=-1.0), model="gpt-x", form="text")
    assert "cost unknown: 2 of 2 runs have no price" in out


def test_an_answer_of_the_expert_in_place_of_the_models_is_counted(bench: Bench) -> None:
    code, out = bench.evaluate(answered(mind="expert", tokens=0), answered(), model="gpt-x", repeat=2)
    usage = json.loads(out)["usage"]
    assert code == 0, "what is scored is what the user is told"
    assert (usage["own_answers"], usage["own_right"], usage["model_failed"]) == (2, 2, 2)
    assert usage["median_prompt_tokens"] == 4000


def test_a_model_that_gives_no_answer_is_wrong_and_its_cost_not_known(bench: Bench) -> None:
    code, out = bench.evaluate("error: the model does not answer", model="gpt-x", form="text")
    assert code == 1
    assert "no answer: error: the model does not answer" in out
    assert "answered in 0 of 2 runs" in out and "no answer at all in 2" in out
    assert "tokens a run" not in out and "$" not in out


def test_a_model_that_cannot_be_asked_at_all_ends_it(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"gpt-x cannot be asked") as caught:
        bench.evaluate("error: not in this version", model="gpt-x")
    assert "not in this version" in caught.value.hint


def test_an_address_without_a_model_is_a_slip(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        bench.evaluate(answered(), base_url="http://localhost")
