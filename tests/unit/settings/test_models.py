"""Settings of language models: precedence, types, and that no key comes out of them again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.config import Settings, load
from assistant.errors import UsageError
from assistant.models import NO_KEY, allowance, day_began, endpoints

SECRET = "hunter2-hunter2"
GATEWAY = "https://gateway.example/v1"
FILE = f"""
model = "openai/large"
base_url = "https://ada:{SECRET}@gateway.example/v1"
model_key_env = "GATEWAY_KEY"
model_fallbacks = [
  "openai/small", "anthropic/other@https://other.example", "vertex_ai/claude@20250514@http://ada:{SECRET}@last.example",
]
turn_cost_usd = 0.25
day_tokens = 0

[model_headers]
X-Team = "{SECRET}"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_without_settings_no_model_is_asked(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path / "none")
    assert settings.models == ()
    assert endpoints(settings, {}) == ()
    assert (settings.turn_cost_usd, settings.session_cost_usd, settings.day_cost_usd) == (0.5, 5.0, 20.0)


def test_flag_goes_before_environment_and_environment_before_file(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    environment = {"PILOTHOUSE_MODEL": "ollama/b", "PILOTHOUSE_TURN_COST_USD": "1.5", "PILOTHOUSE_DAY_MODEL_CALLS": "9"}
    settings = load({"model": "openai/a", "base_url": None}, environment, path)
    assert (settings.model, settings.turn_cost_usd, settings.day_model_calls) == ("openai/a", 1.5, 9)
    assert settings.sources["model"] == "flag"
    assert settings.sources["turn_cost_usd"] == "environment"
    assert settings.sources["base_url"] == str(path)
    assert load({}, environment, path).model == "ollama/b"
    assert load({}, {}, path).model == "openai/large"


@pytest.mark.parametrize("environment", [{}, {"PILOTHOUSE_MODEL": "ollama/b"}])
def test_the_flag_for_no_model_wins_over_every_model_of_the_settings(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    settings = load({"no_model": True, "model": None}, environment, written(tmp_path, FILE))
    assert (settings.model, settings.models, settings.sources["model"]) == ("", (), "flag")
    assert endpoints(settings, {}) == (), "nor is its key missed"
    assert load({"no_model": False}, environment, written(tmp_path, FILE)).model


def test_a_fallback_without_an_address_is_asked_where_the_model_is(tmp_path: Path) -> None:
    names = load({}, {}, written(tmp_path, FILE)).models
    assert names == (
        ("openai/large", f"https://ada:{SECRET}@gateway.example/v1"),
        ("openai/small", f"https://ada:{SECRET}@gateway.example/v1"),
        ("anthropic/other", "https://other.example"),
        ("vertex_ai/claude@20250514", f"http://ada:{SECRET}@last.example"),
    )


def test_key_and_headers_go_to_the_address_that_they_were_given_for_and_nowhere_else(tmp_path: Path) -> None:
    found = endpoints(load({}, {}, written(tmp_path, FILE)), {"GATEWAY_KEY": f"{SECRET}\n"})
    assert [each.api_key for each in found] == [SECRET, SECRET, NO_KEY, ""]
    assert [dict(each.headers) for each in found] == [{"X-Team": SECRET}, {"X-Team": SECRET}, {}, {}]
    own = Settings(model="openai/a", model_fallbacks=("openai/b", "anthropic/c"), model_key_env="KEY")
    assert [each.api_key for each in endpoints(own, {"KEY": SECRET})] == [SECRET, SECRET, ""]


@pytest.mark.parametrize(
    ("environment", "sent"), [({}, NO_KEY), ({"OPENAI_API_KEY": "of the user"}, ""), ({"GROQ_API_KEY": "x"}, NO_KEY)]
)
def test_a_server_of_ones_own_needs_no_key_and_the_providers_variable_counts(
    environment: dict[str, str], sent: str
) -> None:
    local = Settings(model="openai/m", base_url="http://127.0.0.1:11434/v1")
    assert [each.api_key for each in endpoints(local, environment)] == [sent]


@pytest.mark.parametrize("environment", [{}, {"GATEWAY_KEY": " "}])
def test_a_key_that_is_not_there_is_told_before_another_one_is_sent_instead(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match="GATEWAY_KEY, which is not set"):
        endpoints(load({}, {}, written(tmp_path, FILE)), environment)


def test_no_credential_comes_out_of_the_settings_when_they_are_printed(tmp_path: Path) -> None:
    settings = load({}, {}, written(tmp_path, FILE))
    found = endpoints(settings, {"GATEWAY_KEY": SECRET})
    shown = f"{settings!r} {settings} {settings.sources!r} {[each.place for each in found]}"
    assert SECRET not in shown
    assert found[0].place == f"openai/large at {GATEWAY}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'base_url = "{SECRET}"', "http"),
        (f'base_url = "ftp://ada:{SECRET}@a.example"', "http"),
        (f'base_url = "https://ada:{SECRET}@"', "host"),
        (f'base_url = "https://ada:{SECRET}@a.example:port"', "port"),
        (f'base_url = "https://[{SECRET}"', "cannot be read"),
        (f'base_url = "https://a.example/?key={SECRET}"', "model_key_env"),
        (f'base_url = "https://a.example/#{SECRET}"', "model_key_env"),
        (f'base_url = "https://a.example/ {SECRET}"', "blanks"),
        (f'model = "openai/a@https://ada:{SECRET}@a.example"', "base_url"),
        (f'model = "two words {SECRET}"', "blanks"),
        (f'model = "{SECRET * 20}"', "at most"),
        (f'model_fallbacks = ["openai/a", "openai/b@https://{SECRET}:x"]', "port"),
        ('model_fallbacks = ["", "openai/b"]', "a name"),
        ('model_fallbacks = "openai/b"', "list"),
        (f'model_key_env = "sk-{SECRET}"', "not the key itself"),
        (f'model_key_env = "{SECRET.replace("-", "")}"', "not the key itself"),
        (f'[model_headers]\n"X Team" = "{SECRET}"', "no name of a header"),
        (f'[model_headers]\nX-Team = "{SECRET}\\r\\nX-Other: 1"', "X-Team"),
        (f'[model_headers]\nX-Team = ["{SECRET}"]', "X-Team"),
        ('[model_headers]\nX-Team = "ü"', "ASCII"),
        (f'model_headers = "{SECRET}"', "section"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_without_its_value(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as raised:
        load({}, {}, path)
    error = raised.value
    assert said in error.meaning
    assert str(path) in error.meaning
    assert error.hint
    assert SECRET not in f"{error.meaning} {error.hint} {error.detail}"
    assert SECRET.replace("-", "") not in f"{error.meaning} {error.hint} {error.detail}"


@pytest.mark.parametrize(
    "text",
    [
        "turn_tokens = -1", "turn_tokens = 2.5", "turn_tokens = true", 'turn_tokens = "many"', "turn_tokens = inf",
        "turn_cost_usd = -0.1", "turn_cost_usd = nan", "turn_cost_usd = inf", "turn_cost_usd = true",
        'turn_cost_usd = "0,5"', f"turn_cost_usd = 1{'0' * 400}", f"day_tokens = 1{'0' * 400}",
        "turn_model_seconds = 0", "turn_model_tool_calls = 0", "turn_seconds = 0",
    ],
)  # fmt: skip
def test_a_bound_that_bounds_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=text.partition(" ")[0]) as raised:
        load({}, {}, written(tmp_path, text))
    assert "Give a number" in raised.value.hint


@pytest.mark.parametrize("text", ["0", "1e-3", "2"])
def test_money_may_be_any_number_and_zero_is_no_bound(tmp_path: Path, text: str) -> None:
    assert load({}, {}, written(tmp_path, f"day_cost_usd = {text}")).day_cost_usd == float(text)
    assert load({}, {"PILOTHOUSE_DAY_COST_USD": text}, tmp_path / "none").day_cost_usd == float(text)


def test_every_bound_of_the_settings_reaches_the_budget() -> None:
    names = [name for name in Settings.__dataclass_fields__ if name.startswith(("turn_", "session_", "day_"))]
    given = {name: number for number, name in enumerate(names, start=1) if name != "turn_seconds"}
    allowed = allowance(Settings(**given))  # type: ignore[arg-type]
    found = [
        number for bound in (allowed.turn, allowed.session, allowed.day)
        for number in (bound.tokens, bound.cost_usd, bound.calls)
    ]  # fmt: skip
    assert sorted([*found, allowed.seconds, allowed.tool_calls]) == sorted(given.values())


def test_a_day_begins_at_this_machines_midnight() -> None:
    now = datetime(2026, 11, 24, 3, 30, tzinfo=UTC)
    began = day_began(now)
    local = began.astimezone()
    assert (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)
    assert timedelta(0) <= now - began < timedelta(hours=26)
