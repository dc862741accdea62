"""How the command line is understood."""

from __future__ import annotations

import pytest

from assistant.cli import main, with_command
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
        (["--bundle", "b.tar.gz", "scan", "-A"], ["scan", "--bundle", "b.tar.gz", "-A"]),
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


def test_help_lists_the_options_of_the_command_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--resume", "--bundle", "--all-namespaces", "--plain", "--theme"))
