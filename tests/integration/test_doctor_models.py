"""What `doctor` says about language models: what is set, who said so, what is used; never a credential, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from assistant.domain import event as ev
from assistant.domain.event import Event
from assistant.store.log import SessionStore

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-hunter2"
PROVIDERS = ("OPENAI_", "ANTHROPIC_", "XDG_", "PILOTHOUSE_", "KUBE")
CODE = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and "127.0.0.1" not in str(arguments):
        print("NETWORK", event, arguments)
sys.addaudithook(watch)
from assistant.cli import main
main(["doctor"])
print("MODULES", *{name.partition(".")[0] for name in sys.modules})
"""


def doctor(home: Path, settings: str = "", **variables: str) -> str:
    folder = home / "config" / "pilothouse"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PROVIDERS)}
    own = {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "PILOTHOUSE_STATE_DIR": str(home / "state"),
        "PILOTHOUSE_RUNTIME_DIR": str(home / "run"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=kept | own | variables, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    told, _, modules = done.stdout.partition("MODULES")
    assert modules and not done.stderr, done.stderr
    assert "litellm" not in modules.split()
    assert "NETWORK" not in told
    assert SECRET not in told
    return "\n".join(line.rstrip() for line in told.splitlines())


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    told = doctor(tmp_path, f'base_url = "https://ada:{SECRET}@gateway.example/v1"')
    assert "model         none (default): the built-in expert answers alone; base_url without effect" in told
    assert 'model = "openai/NAME" in the settings' in told
    assert "model key" not in told


def test_everything_that_is_set_is_told_without_its_credentials(tmp_path: Path) -> None:
    settings = f"""
base_url = "https://ada:{SECRET}@gateway.example/v1"
model_key_env = "GATEWAY_KEY"
model_fallbacks = ["anthropic/b@http://ada:{SECRET}@other.example/x"]
turn_cost_usd = 0.25
session_cost_usd = 0
[model_headers]
X-Team = "{SECRET}"
"""
    path = tmp_path / "config" / "pilothouse" / "config.toml"
    told = doctor(tmp_path, settings, PILOTHOUSE_MODEL="openai/a", GATEWAY_KEY=SECRET)
    first = f"openai/a at https://gateway.example/v1, from environment, its address from {path}"
    assert f"ok    model         {first}" in told
    assert f"ok    model key     GATEWAY_KEY is set; named by {path}" in told
    assert f"warn  model         then anthropic/b at http://other.example/x, from {path}" in told
    assert "use https where you can" in told
    assert f"headers X-Team, from {path}; values are not shown" in told
    assert "a turn: 30,000 tokens, 0.25 USD, 8 calls, 16 calls of tools, 180 s" in told
    assert "a session: 300,000 tokens\n" in told
    assert "used today: 0 tokens, 0.00 USD, calls: 0" in told


def test_a_key_that_is_not_set_is_told_by_its_variable(tmp_path: Path) -> None:
    model = 'model = "openai/a"\n'
    assert "warn  model key     GATEWAY_KEY is not set" in doctor(tmp_path, f'{model}model_key_env = "GATEWAY_KEY"')
    told = doctor(tmp_path, model)
    assert "warn  model key     OPENAI_API_KEY: not set" in told
    assert "Set OPENAI_API_KEY, or name another variable in model_key_env." in told
    assert "ok    model key     OPENAI_API_KEY is set" in doctor(tmp_path, model, OPENAI_API_KEY=SECRET)
    local = doctor(tmp_path, f'{model}base_url = "http://localhost:8000/v1"')
    assert "ok    model key     OPENAI_API_KEY: not set" in local


def test_an_address_that_the_library_takes_from_the_environment_is_told(tmp_path: Path) -> None:
    told = doctor(tmp_path, 'model = "openai/a"', OPENAI_BASE_URL=f"https://ada:{SECRET}@elsewhere.example/v1")
    assert "openai/a at https://elsewhere.example/v1" in told
    assert "its address from OPENAI_BASE_URL" in told
    told = doctor(tmp_path, 'model = "openai/a"', OPENAI_BASE_URL=f"https://[{SECRET}")
    assert "That address cannot be used" in told


def test_what_the_day_has_used_is_told_and_what_to_do_when_it_is_all(tmp_path: Path) -> None:
    opened = ev.SessionOpened("0.1", "prod-eu", "c-1", "v1.36.0", "shop", "alice", "ask", "live", "openai/a")
    with SessionStore.open(tmp_path / "state" / "sessions.db") as store:
        store.append(Event("s1", 1, datetime.now(UTC), opened))
        called = ev.ModelCalled("a", "diagnose", "0" * 64, 1_500, 500, 0.75, 2.0)
        store.append(Event("s1", 2, datetime.now(UTC), called))
        store.flush_blocking()
    told = doctor(tmp_path, 'model = "ollama/a"')
    assert "ok    model budget  used today: 2,000 tokens, 0.75 USD, calls: 1" in told
    with SessionStore.open(tmp_path / "state" / "sessions.db") as store:
        store.append(Event("s1", 3, datetime.now(UTC), ev.ModelCalled("a", "diagnose", "0" * 64, 10, 5, -1.0, 2.0)))
        store.flush_blocking()
    told = doctor(tmp_path, 'model = "ollama/a"\nday_cost_usd = 0.5')
    used = "used today: 2,015 tokens, 0.75 USD, calls: 2, of which 1 at a price that is not known"
    assert f"warn  model budget  {used}" in told
    assert "raise day_cost_usd" in told
