"""One frozen settings value. Precedence: flags, then environment (PILOTHOUSE_*), then the TOML file, then defaults.

Apart from the command line, because the faces read it too. It is read at start, so it imports nothing heavy.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from assistant.errors import UsageError
from assistant.policy.contexts import MODES, Rule, read_key, read_namespaces, read_rule
from assistant.policy.endpoints import read_address, read_fallback, read_headers, read_model, read_variable
from assistant.policy.limits import PROPOSALS_PER_WINDOW, SENT_PER_WINDOW

APP: Final = "pilothouse"
PREFIX: Final = "PILOTHOUSE_"
PUBLIC_SUFFIX: Final = ".pub"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
_FOR_ALL: Final = ("mode", "four_eyes", "break_glass", "proposals_per_5_min", "sent_per_10_min")
"""Settings that hold for every context about which no section of the file says otherwise."""
_ZERO_IS_NO_BOUND: Final = (
    "turn_tokens", "turn_cost_usd", "turn_model_calls", "session_tokens", "session_cost_usd", "session_model_calls",
    "day_tokens", "day_cost_usd", "day_model_calls",
)  # fmt: skip
NO_MODEL: Final = "no_model"
"""The flag that wins over a model of the settings. A flag only: in a file, leaving `model` out says the same."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `sources` says for each name where its value came from, for `doctor`."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""
    mode: str = "ask"
    theme: str = ""
    state_dir: str = ""
    runtime_dir: str = ""
    production_contexts: tuple[str, ...] = ()
    observe_contexts: tuple[str, ...] = ()
    exec_allow: tuple[str, ...] = ()
    protected_namespaces: tuple[str, ...] = ()
    four_eyes: str = "off"
    break_glass: bool = False
    proposals_per_5_min: int = PROPOSALS_PER_WINDOW
    sent_per_10_min: int = SENT_PER_WINDOW
    contexts: Mapping[str, Any] = field(default_factory=dict)
    approvers: Mapping[str, Any] = field(default_factory=dict)
    hold_seconds: int = 600
    open_seconds: int = 600
    turn_seconds: int = 600
    tool_calls: int = 400
    mcp_config: str = ""
    model: str = ""
    # These may hold credentials, which must not come along with a Settings that somebody prints.
    base_url: str = field(default="", repr=False)
    model_fallbacks: tuple[str, ...] = field(default=(), repr=False)
    model_headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    model_key_env: str = ""
    model_wait_seconds: float = 90.0
    turn_tokens: int = 30_000
    turn_cost_usd: float = 0.5
    turn_model_calls: int = 8
    turn_model_tool_calls: int = 16
    turn_model_seconds: float = 180.0
    session_tokens: int = 300_000
    session_cost_usd: float = 5.0
    session_model_calls: int = 0
    day_tokens: int = 2_000_000
    day_cost_usd: float = 20.0
    day_model_calls: int = 0
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def state(self) -> Path:
        """Return the folder that sessions, journal and logs live in."""
        if self.state_dir:
            return Path(self.state_dir).expanduser()
        import platformdirs

        return platformdirs.user_state_path(APP)

    @property
    def runtime(self) -> Path:
        """Return the folder for what ends with the process: guarded kubeconfigs, control files."""
        if self.runtime_dir:
            return Path(self.runtime_dir).expanduser()
        for base in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
            if base and os.access(base, os.W_OK):
                return Path(base) / APP
        # Containers, su and cron have no such folder; a shared one in /tmp would be another user's to guess.
        return self.state / "run"

    @property
    def mcp_file(self) -> Path:
        """Return where the MCP servers are listed that a language model may use."""
        return Path(self.mcp_config).expanduser() if self.mcp_config else config_path().with_name("mcp.json")

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """Return name and address of each model in the order in which they are asked; none: the expert alone.

        A fallback without an address is asked at `base_url`: whoever sends questions to a gateway of their own does not
        want them at a provider's because the gateway is down.
        """
        if not self.model:
            return ()
        others = (read_fallback(text) for text in self.model_fallbacks)
        return ((self.model, self.base_url), *((name, address or self.base_url) for name, address in others))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return what is said about contexts, from the most general to the named ones. Raises UsageError.

        The gate applies them, because only the gate knows which context is the current one.
        """
        found: list[tuple[str, object, str, bool]] = []
        for name in _FOR_ALL:
            value, source = getattr(self, name), self.sources.get(name, "default")
            if source != "default" or value != _names()[name]:
                found.append(("*", {name: value}, f"{name}, {source}", True))
        for name, value in (("observe_contexts", {"mode": "observe"}), ("production_contexts", {"production": True})):
            source = f"{name}, {self.sources.get(name)}"
            found += [(pattern, value, source, False) for pattern in getattr(self, name)]
        for pattern, values in self.contexts.items():
            found.append((pattern, values, f'[contexts."{pattern}"], {self.sources.get("contexts")}', False))
        rules: list[Rule] = []
        for pattern, values, source, everywhere in found:
            try:
                rules.append(read_rule(pattern, values, source, everywhere=everywhere))
            except ValueError as error:
                raise UsageError(
                    f"The rule {source} cannot be read: {error}.", "Mend it; until then no gate starts."
                ) from error
        return tuple(rules)


def config_path() -> Path:
    """Return where the settings file belongs."""
    import platformdirs

    return platformdirs.user_config_path(APP) / "config.toml"


def key_path() -> Path:
    """Return where this user's own key for agreeing to other people's changes belongs."""
    return config_path().parent / "approval-key"


def own_key() -> str:
    """Return the public half of this user's own key, "" where there is none. Raises UsageError for a broken one."""
    beside = key_path().with_name(key_path().name + PUBLIC_SUFFIX)
    try:
        return read_key(beside.read_text())
    except FileNotFoundError:
        if key_path().exists():
            # Without it nobody could tell this user's signature from a colleague's.
            raise UsageError(f"The key {key_path()} has lost its public half.", f"Put {beside} back.") from None
        return ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{beside} cannot be read: {error}", "Put the public half of your key back.") from error


def load(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, path: Path | None = None) -> Settings:
    """Return the settings in force; a flag that is None or "" was not given.

    Raises UsageError for a file that cannot be read, a name that does not exist (with the nearest one), a wrong type.
    """
    path = path or config_path()
    settings = Settings()
    sources = {item.name: "default" for item in fields(Settings) if item.name != "sources"}
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = (
        (str(path), _from_file(path)),
        ("environment", _from_environment(environment)),
        ("flag", {name: value for name, value in flags.items() if value not in (None, "") and name != NO_MODEL}),
    )
    for source, values in layers:
        for name, value in values.items():
            settings = replace(settings, **{name: _checked(name, value, source)})
            sources[name] = source
    if flags.get(NO_MODEL):
        settings, sources["model"] = replace(settings, model=""), "flag"
    if settings.mode not in MODES:
        raise UsageError(f"The mode {settings.mode!r} does not exist.", f"Use one of: {', '.join(MODES)}.")
    settings = replace(settings, sources=sources)
    _check_rules(settings)
    _check_models(settings)
    return settings


def _check_rules(settings: Settings) -> None:
    # A rule that cannot be read might have been the one that forbids something.
    _ = settings.rules
    try:
        read_namespaces(settings.protected_namespaces)
    except ValueError as error:
        raise UsageError(
            f"protected_namespaces cannot be read: {error}.", "Mend it; until then no gate starts."
        ) from error
    for name, key in settings.approvers.items():
        try:
            read_key(key)
        except ValueError as error:
            raise UsageError(
                f"The key of {name!r} in [approvers] cannot be read: {error}.", "Ask for it anew."
            ) from error


def _check_models(settings: Settings) -> None:
    # What was given may be or hold a key, so an error names the setting and never its value.
    checks: tuple[tuple[str, Callable[[Any], object], tuple[Any, ...], str], ...] = (
        ("model", read_model, (settings.model,), "Give LiteLLM's name of a model, like openai/NAME or ollama/NAME."),
        ("base_url", read_address, (settings.base_url,), "Give an address like https://gateway.example/v1."),
        ("model_fallbacks", read_fallback, settings.model_fallbacks, "Give names, each with @URL where it needs one."),
        ("model_headers", read_headers, (settings.model_headers,), 'Write lines like X-Team = "sre" below it.'),
        ("model_key_env", read_variable, (settings.model_key_env,), "For example GATEWAY_KEY, and put the key there."),
    )
    for name, read, values, hint in checks:
        for value in values:
            try:
                if value or name == "model_fallbacks":
                    read(value)
            except ValueError as error:
                source = settings.sources.get(name, "default")
                raise UsageError(f"{name} ({source}) cannot be used: {error}.", hint) from error


def _names() -> dict[str, Any]:
    blank = Settings()
    return {item.name: getattr(blank, item.name) for item in fields(Settings) if item.name != "sources"}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The settings file {path} cannot be read.", "Mend it or move it away.", detail=str(error)
        ) from error
    for name in values:
        if name not in _names():
            raise UsageError(f"{path} sets {name!r}, which does not exist.", _nearest(name))
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, blank in _names().items():
        text = environment.get(PREFIX + name.upper())
        if not text:
            continue
        if isinstance(blank, Mapping):
            raise UsageError(f"{PREFIX}{name.upper()} cannot be set.", f"Write [{name}] into {config_path()}.")
        found[name] = tuple(part for part in text.split(",") if part) if isinstance(blank, tuple) else text
    return found


def _checked(name: str, value: Any, source: str) -> Any:
    blank = _names()[name]
    if isinstance(blank, bool):
        return _yes_or_no(name, value, source)
    if isinstance(blank, Mapping):
        if isinstance(value, Mapping):
            return dict(value)
        raise UsageError(f"{name} ({source}) has to be a section.", f"For example [{name}].")
    if isinstance(blank, int | float):
        return _number(name, value, source, type(blank))
    if isinstance(blank, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{name} ({source}) has to be a list of texts.", f'For example {name} = ["one", "two"].')
    if not isinstance(value, str):
        raise UsageError(f"{name} ({source}) has to be a text.", f'For example {name} = "…".')
    return value


def _number(name: str, value: Any, source: str, kind: type[int] | type[float]) -> int | float:
    free = name in _ZERO_IS_NO_BOUND
    hint = "Give a number above 0, or 0 for no bound." if free else "Give a number above 0."
    try:
        # int() would cut 2.5 to 2, and true is 1 to it.
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = kind(value)
        if not math.isfinite(number):
            raise ValueError(value)
    except (TypeError, ValueError, OverflowError) as error:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name} ({source}) is {value!r}, which is not {what}.", hint) from error
    if number < 0 or (not number and not free):
        raise UsageError(f"{name} ({source}) is {number}.", hint)
    return number


def _yes_or_no(name: str, value: Any, source: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if not isinstance(value, str) or text not in (*_TRUE, *_FALSE):
        raise UsageError(f"{name} ({source}) is {value!r}.", "Give true or false.")
    return text in _TRUE


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, _names(), n=1)
    return f"Did you mean {near[0]}?" if near else f"Known names: {', '.join(_names())}."
