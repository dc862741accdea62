"""The prompts: Markdown files that can be reviewed and compared like code; a session records the digest of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import assistant

RULES: Final = "rules"
THINKING: Final = (RULES, "planner", "diagnoser", "reporter")
"""Planner, diagnoser and reporter share their calls: sending the case once for each would cost three times as much."""
CHANGING: Final = (RULES, "executor")
DIGEST_CHARACTERS: Final = 12


@dataclass(frozen=True, slots=True)
class Prompt:
    """One file: its name without `.md`, its text, and the beginning of its SHA-256."""

    name: str
    text: str
    digest: str


@lru_cache
def load(name: str) -> Prompt:
    """Return a prompt. Raises FileNotFoundError where the installation is not whole."""
    data = (_folder() / f"{name}.md").read_bytes()
    return Prompt(name, data.decode().strip(), hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS])


def system(names: Sequence[str]) -> str:
    """Return the text that goes in front of every call."""
    return "\n\n".join(load(name).text for name in names)


def told(names: Sequence[str]) -> tuple[str, ...]:
    """Return names and digests as the session records them."""
    return tuple(f"{name} {load(name).digest}" for name in names)


def _folder() -> Path:
    package = Path(assistant.__file__).parent
    inside = package / "_data" / "prompts"
    return inside if inside.is_dir() else package.parent / "prompts"
