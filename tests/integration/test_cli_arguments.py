"""How the command line is understood."""

from __future__ import annotations

import pytest

from assistant.arguments import parser, with_command
from assistant.cli import main
from assistant.commands.opening import settings_of
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
        (["--model", "openai/practice", "practice"], ["practice", "--model", "openai/practice"]),
        (["--base-url", "http://localhost:1/v1", "ask", "why"], ["ask", "--base-url", "http://localhost:1/v1", "why"]),
        (["--no-model", "ask", "why"], ["ask", "--no-model", "why"]),
        (["--theme", "nord", "practice"], ["practice", "--theme", "nord"]),
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
    assert all(option in told for option in ("--model", "--no-model", "--base-url"))
    assert "6  the language model failed" in told


@pytest.mark.parametrize("command", ["open", "practice", "ask why", "scan"])
def test_a_model_can_be_chosen_wherever_one_may_answer(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTHOUSE_MODEL", "openai/configured")

    def chosen(*flags: str) -> tuple[str, str]:
        settings = settings_of(parser().parse_args([*command.split(), *flags]))
        return settings.model, settings.base_url

    if command == "scan":
        assert chosen() == ("", ""), "the expert alone decides a scan's exit code"
        return
    assert chosen() == ("openai/configured", "")
    assert chosen("--model", "ollama/m", "--base-url", "http://localhost:1") == ("ollama/m", "http://localhost:1")
    assert chosen("--no-model") == ("", "")
    with pytest.raises(SystemExit):
        chosen("--no-model", "--model", "ollama/m")


def test_a_credential_in_a_misplaced_address_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scan", "--base-url", "https://ada:hunter2-hunter2@gateway.example/v1"])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "gateway.example" in told
    assert "hunter2" not in told
