"""One broken build, and the copy of the source that it is made in. Apart from the lists, which are long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("assistant", "agents", "tests", "recordings", "prompts", "docs", "pyproject.toml", "README.md")
TEST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is broken, where (`old` stands `times` times in the file), and which tests must fail (pytest arguments)."""

    name: str
    path: str
    old: str
    new: str
    tests: str = "tests/gate/test_holding.py"
    times: int = 1


def fits(mutant: Mutant) -> str:
    """Return why a mutant cannot be made of the source as it stands, "" where it can."""
    path = ROOT / mutant.path
    if not path.exists():
        return f"there is no {mutant.path} any more"
    found = path.read_text().count(mutant.old)
    return "" if found == mutant.times else f"its text stands {found} times in {mutant.path}, not {mutant.times}"


class Tree:
    """A copy of the source in a folder of its own; the worktree is never touched."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mutants-"))

    def __enter__(self) -> Tree:
        for name in COPIED:
            source, target = ROOT / name, self._folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, target)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def caught(self, mutant: Mutant) -> bool:
        """Say whether the tests fail on this broken build; the copy is whole again afterwards."""
        path = self._folder / mutant.path
        whole = path.read_text()
        path.write_text(whole.replace(mutant.old, mutant.new))
        try:
            # 1: tests ran and failed. Anything else (usage, nothing collected) is not a catch.
            return self._run(mutant.tests) == 1
        finally:
            path.write_text(whole)

    def failing(self, tests: list[str]) -> list[str]:
        """Return those tests that fail on the build as it is."""
        return [each for each in tests if self._run(each) != 0]

    def _run(self, tests: str) -> int:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *_arguments(tests)]
        # No byte code: an edit of the same length within a second would not be seen.
        environment = {**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        # A session of its own: without a terminal nobody is stopped for touching one, and all of it can be ended.
        with subprocess.Popen(
            command, cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                return process.wait(TEST_SECONDS)
            except subprocess.TimeoutExpired:
                # A build that hangs is noticed by whoever waits for the suite.
                os.killpg(process.pid, signal.SIGKILL)
                return 1


def _arguments(tests: str) -> list[str]:
    path, _, words = tests.partition(" -k ")
    return [*path.split(), *(["-k", words] if words else [])]
