"""`pilothouse eval` on folders of incidents, as a person scores their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .test_gate_cli import pilothouse

PRACTICE = Path(__file__).parents[2] / "recordings" / "practice"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two incidents that are the same but for what is said to be true, and one that cannot be scored."""
    root = tmp_path_factory.mktemp("incidents")
    for name, culprit in (("right", "storefront"), ("wrong", "somebody-else")):
        shutil.copytree(PRACTICE / "missing-image", root / name)
        truth = yaml.safe_load((root / name / "incident.yaml").read_text())
        truth["culprit"][0]["name"] = culprit
        (root / name / "incident.yaml").write_text(yaml.safe_dump(truth))
    (root / "unreadable").mkdir()
    (root / "unreadable" / "truth.yaml").write_text("symptom: [")
    yield root


def test_each_incident_is_asked_as_often_as_told_and_a_wrong_answer_ends_with_1(folder: Path, tmp_path: Path) -> None:
    done = pilothouse(tmp_path, "eval", str(folder), "--repeat", "2", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    runs = {each["id"]: each for each in report["incidents"]}
    assert {name: (each["right"], len(each["runs"])) for name, each in runs.items()} == {
        "right": (True, 2),
        "wrong": (False, 2),
    }
    assert report["not_scored"][0]["id"] == "unreadable"
    assert (report["sums"]["incidents"], report["sums"]["runs"], report["sums"]["top1"]) == (2, 4, 2)
    assert report["sums"]["extra"] == 2, "a cause that is not true is a false alarm"
    assert report["usage"]["tokens"] == 0
    assert sum(row["findings"] for row in report["calibration"]) == 4
    assert sum(row["right"] for row in report["calibration"]) == 2
    assert list((tmp_path).rglob("sessions.db")) == [], "the runs do not stand among the person's own sessions"


def test_right_answers_alone_end_with_0_and_a_row_says_what_was_told(folder: Path, tmp_path: Path) -> None:
    done = pilothouse(tmp_path, "eval", str(folder), "--only", "right")
    assert done.returncode == 0
    row = done.stdout.splitlines()[0]
    assert row.startswith("  right") and "storefront" in row
    assert "top1 1" in row


def test_a_folder_in_which_nothing_can_be_scored_ends_with_4(folder: Path, tmp_path: Path) -> None:
    done = pilothouse(tmp_path, "eval", str(folder), "--only", "unreadable")
    assert done.returncode == 4
    assert "not scored" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--only", "rigth"), "Did you mean right?"), (("--repeat", "0"), "--repeat"), (("--jobs", "x"), "--jobs")],
)
def test_a_slip_is_named(folder: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = pilothouse(tmp_path, "eval", str(folder), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
