"""One frozen settings value. Precedence: flags, then environment (PILOTHOUSE_*), then the TOML file, then defaults.

Apart from the command line, because the faces read it too. Standard library and platformdirs only: it is read at start.
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

APP: Final = "pilothouse"
PREFIX: Final = "PILOTHOUSE_"
MODES: Final = ("ask", "observe")


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
    hold_seconds: int = 600
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

    def mode_for(self, context: str) -> str:
        """Return "observe" for contexts that may only be looked at, else the mode that is set."""
        return "observe" if context in self.observe_contexts else self.mode

    def production(self, context: str) -> bool | None:
        """Say whether a context is production; None where nothing was set, so that the gate judges by its name."""
        return True if context in self.production_contexts else None


def config_path() -> Path:
    """Return where the settings file belongs."""
    import platformdirs

    return platformdirs.user_config_path(APP) / "config.toml"


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
    return replace(settings, sources=sources)


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
        found[name] = tuple(part for part in text.split(",") if part) if isinstance(blank, tuple) else text
    return found


def _checked(name: str, value: Any, source: str) -> Any:
    blank = _names()[name]
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


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, _names(), n=1)
    return f"Did you mean {near[0]}?" if near else f"Known names: {', '.join(_names())}."
