"""The crash loop, short: every kind of kill a few times, and an oracle that is itself shown to find breaches."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.crash_loop import Kill, Run, Trial, breaches, crash_loop, plan, table
from tests.faults.oracle import judge

RUNS = 6
SEED = 7


async def test_killed_at_any_time_nothing_is_sent_unapproved_or_twice_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    runs = plan(RUNS, SEED)
    await crash_loop(runs, tmp_path)
    numbers = table(runs, 0.0)
    assert not breaches(runs), f"{numbers}\n{breaches(runs)}"
    assert all(run.found for run in runs), numbers
    # A loop in which nothing dies, nothing is changed or nothing is acknowledged would show nothing.
    assert sum(run.killed > 0 for run in runs) >= RUNS - 2, numbers
    found = [run.found for run in runs if run.found]
    assert sum(item.mutations for item in found) >= RUNS // 3, numbers
    assert sum(item.acknowledged for item in found) > 100 * RUNS, numbers
    assert min(item.acknowledged for item in found) > 0, numbers


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose session was killed after its change took effect, at rest and without a breach."""
    import asyncio

    folder = tmp_path_factory.mktemp("run")
    run = Run(0, Kill("session", "on-concluded"), "missing-image", 0)
    asyncio.run(Trial(run, folder, f"{os.getpid()}-oracle").carry_out())
    assert run.violations == []
    assert run.killed == 1
    assert run.found
    assert run.found.mutations == 1
    return folder


class TestTheOracleFinds:
    """Each breach is made by hand in the files of a good run; an oracle that stays silent would be worth nothing."""

    @pytest.fixture
    def folder(self, finished: Path, tmp_path: Path) -> Path:
        import shutil

        return Path(shutil.copytree(finished, tmp_path / "copy"))

    def requests(self, folder: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "requests.jsonl").read_bytes().splitlines()]

    def rewrite(self, folder: Path, lines: list[dict[str, Any]]) -> None:
        (folder / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def mutation(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        return next(line for line in lines if line["method"] == "PATCH" and not line["dry"])

    def execute(self, folder: Path, database: str, *statements: str) -> None:
        with closing(sqlite3.connect(folder / "state" / database)) as connection:
            for statement in ("DROP TRIGGER IF EXISTS entries_no_update", "DROP TRIGGER IF EXISTS entries_no_delete"):
                connection.execute(statement)
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def test_nothing_in_the_good_run(self, folder: Path) -> None:
        assert judge(folder).violations == ()

    def test_a_write_that_nobody_approved(self, folder: Path) -> None:
        lines = self.requests(folder)
        self.rewrite(folder, [*lines, {**self.mutation(lines), "method": "DELETE"}])
        assert any("without an approval" in text for text in judge(folder).violations)

    def test_other_bytes_than_the_approved_ones(self, folder: Path) -> None:
        lines = self.requests(folder)
        self.mutation(lines)["body"] = "0" * 64
        self.rewrite(folder, lines)
        assert any("without an approval of these bytes" in text for text in judge(folder).violations)

    def test_a_change_that_was_sent_twice(self, folder: Path) -> None:
        lines = self.requests(folder)
        self.rewrite(folder, [*lines, self.mutation(lines)])
        assert any("sent 2 times" in text for text in judge(folder).violations)

    def test_a_change_whose_end_is_nowhere(self, folder: Path) -> None:
        self.execute(folder, "journal.db", "DELETE FROM entries WHERE kind IN ('outcome', 'unknown')")
        assert any("its end is nowhere" in text for text in judge(folder).violations)

    def test_an_approval_that_is_not_on_record(self, folder: Path) -> None:
        self.execute(folder, "journal.db", "DELETE FROM entries WHERE kind = 'decided'")
        assert any("without an approval of its digest" in text for text in judge(folder).violations)

    def test_a_change_called_applied_that_never_arrived(self, folder: Path) -> None:
        lines = self.requests(folder)
        lines.remove(self.mutation(lines))
        self.rewrite(folder, lines)
        assert any("never saw it" in text for text in judge(folder).violations)

    def test_an_acknowledged_event_that_is_gone(self, folder: Path) -> None:
        with (folder / "acknowledged.jsonl").open("a") as file:
            file.write(json.dumps({"events": [[9999, "0" * 64]]}) + "\n")
        assert any("event 9999 was acknowledged and is lost" in text for text in judge(folder).violations)
