"""How the command line is understood."""

from __future__ import annotations

import pytest

from assistant.cli import with_command
from assistant.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ([], ["open"]),
        (["why is it slow"], ["open", "why is it slow"]),
        (["-n", "shop", "why"], ["open", "-n", "shop", "why"]),
        (["-n", "shop", "ask", "why"], ["ask", "-n", "shop", "why"]),
        (["--context", "scan", "scan", "-A"], ["scan", "--context", "scan", "-A"]),
        (["--namespace=shop", "ask", "why"], ["ask", "--namespace=shop", "why"]),
        (["ask", "scan"], ["ask", "scan"]),
        (["--resume", "x"], ["open", "--resume", "x"]),
        (["-A"], ["open", "-A"]),
        (["--help"], ["--help"]),
    ],
)
def test_flags_may_stand_before_the_command_as_with_kubectl(typed: list[str], understood: list[str]) -> None:
    assert with_command(typed) == understood


@pytest.mark.parametrize("slip", ["sesions", "practise", "aprovals", "doctro"])
def test_a_misspelt_command_is_not_taken_for_a_question(slip: str) -> None:
    with pytest.raises(UsageError, match="no command"):
        with_command([slip])
