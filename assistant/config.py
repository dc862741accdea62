"""One frozen settings value. Precedence: flags, then environment (PILOTHOUSE_*), then the TOML file, then defaults.

Apart from the command line, because the faces read it too. It is read at start, so it imports nothing heavy.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from assistant.errors import UsageError
from assistant.policy.contexts import MODES, Rule, read_key, read_namespaces, read_rule
from assistant.policy.limits import PROPOSALS_PER_WINDOW, SENT_PER_WINDOW

APP: Final = "pilothouse"
PREFIX: Final = "PILOTHOUSE_"
PUBLIC_SUFFIX: Final = ".pub"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
_FOR_ALL: Final = ("mode", "four_eyes", "break_glass", "proposals_per_5_min", "sent_per_10_min")
"""Settings that hold for every context about which no section of the file says otherwise."""


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
        ("flag", {name: value for name, value in flags.items() if value not in (None, "")}),
    )
    for source, values in layers:
        for name, value in values.items():
            settings = replace(settings, **{name: _checked(name, value, source)})
            sources[name] = source
    if settings.mode not in MODES:
        raise UsageError(f"The mode {settings.mode!r} does not exist.", f"Use one of: {', '.join(MODES)}.")
    settings = replace(settings, sources=sources)
    _check_rules(settings)
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
    if isinstance(blank, int):
        try:
            number = int(value)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{name} ({source}) is {value!r}, which is not a whole number.", "Give a number above 0."
            ) from error
        if number <= 0:
            raise UsageError(f"{name} ({source}) is {number}.", "Give a number above 0.")
        return number
    if isinstance(blank, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{name} ({source}) has to be a list of texts.", f'For example {name} = ["one", "two"].')
    if not isinstance(value, str):
        raise UsageError(f"{name} ({source}) has to be a text.", f'For example {name} = "…".')
    return value


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
