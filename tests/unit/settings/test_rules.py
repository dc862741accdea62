"""Rules in the settings: where each comes from, and that a broken one stops everything instead of permitting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.config import Settings, load, own_key
from assistant.errors import UsageError
from assistant.policy.contexts import policy_for
from tests.gate.people import Person

FILE = """
mode = "ask"
protected_namespaces = ["payments", "team-*"]
observe_contexts = ["audit-*"]
production_contexts = ["eu"]

[contexts."prod-*"]
four_eyes = "critical"
break_glass = true
sent_per_10_min = 3

[contexts.prod-lab]
four_eyes = "off"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_sections_hold_for_the_contexts_that_they_name(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    settings = load({}, {}, path)
    prod = policy_for("prod-eu", settings.rules, settings.protected_namespaces)
    assert (prod.four_eyes, prod.break_glass, prod.sent_per_10_min) == ("critical", True, 3)
    assert prod.sources["four_eyes"] == f'[contexts."prod-*"], {path}'
    assert policy_for("prod-lab", settings.rules).four_eyes == "off"
    assert policy_for("dev", settings.rules).four_eyes == "off"
    assert policy_for("audit-1", settings.rules).mode == "observe"
    assert policy_for("eu", settings.rules).production is True
    assert "team-x" in prod.protected


def test_flag_environment_and_file_keep_their_order_where_no_section_speaks(tmp_path: Path) -> None:
    path = written(tmp_path, 'four_eyes = "critical"\nsent_per_10_min = 5\n')
    environment = {"PILOTHOUSE_FOUR_EYES": "all", "PILOTHOUSE_BREAK_GLASS": "yes"}
    policy = policy_for("dev", load({"mode": "observe"}, environment, path).rules)
    assert (policy.mode, policy.four_eyes, policy.sent_per_10_min, policy.break_glass) == ("observe", "all", 5, True)
    assert policy.sources["four_eyes"] == "four_eyes, environment"
    assert policy.sources["mode"] == "mode, flag"
    assert policy.sources["sent_per_10_min"] == f"sent_per_10_min, {path}"


def test_settings_that_were_made_without_a_file_count_too() -> None:
    assert policy_for("dev", Settings(mode="observe").rules).mode == "observe"
    assert policy_for("dev", Settings(observe_contexts=("dev",)).rules).mode == "observe"


@pytest.mark.parametrize(
    "text",
    [
        '[contexts.prod]\nfour_eyes = "two"', '[contexts.prod]\nfour_eys = "all"', 'contexts = ["prod"]',
        '[contexts]\nprod = "observe"', '[contexts.prod]\nsent_per_10_min = "3"', 'four_eyes = "two"',
        'protected_namespaces = ["Payments"]', "break_glass = 3", '[approvers]\nada = "ssh-rsa AAAA"',
        '[approvers]\nada = 5', "approvers = 5", "sent_per_10_min = 0", '[contexts.prod]\nmode = "look"',
        '[contexts." "]\nmode = "ask"',
    ],
)  # fmt: skip
def test_a_broken_rule_stops_everything(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load({}, {}, written(tmp_path, text))


@pytest.mark.parametrize("name", ["CONTEXTS", "APPROVERS"])
def test_sections_are_for_the_file_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be set"):
        load({}, {f"PILOTHOUSE_{name}": "{}"}, tmp_path / "none")


def test_whose_key_is_ones_own_is_never_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.config.config_path", lambda: tmp_path / "config.toml")
    assert own_key() == ""
    (tmp_path / "approval-key").write_text("a private key")
    with pytest.raises(UsageError, match="public half"):
        own_key()
    (tmp_path / "approval-key.pub").write_text("junk")
    with pytest.raises(UsageError, match="cannot be read"):
        own_key()
    ada = Person("ada")
    (tmp_path / "approval-key.pub").write_text(f"{ada.public} ada\n")
    assert own_key() == ada.public
