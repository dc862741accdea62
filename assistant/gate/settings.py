"""What the parent tells the gate on standard input."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import msgspec

from assistant.domain.ports import InForce
from assistant.errors import GateError
from assistant.policy.contexts import (
    DEFAULT,
    MODES,
    NAMES,
    ContextPolicy,
    Rule,
    policy_for,
    read_key,
    read_namespaces,
    read_rule,
)
from assistant.policy.limits import OPEN_SECONDS

_PRODUCTION: Final = re.compile(r"(?:^|[^a-z])(?:prod|production|live)(?:[^a-z]|$)", re.IGNORECASE)


class RuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one place in the settings says about the contexts that fit `pattern` (`policy/contexts.py`)."""

    pattern: str
    values: dict[str, Any]
    source: str
    everywhere: bool = False


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One JSON line (docs/architecture.md); times in seconds, paths absolute.

    `exec_allow` lists the credential plugins that may run, by absolute path; empty means none. `rules` say what holds
    in which context; `mode` "observe" and a `production` hold in this one whatever they say. `approvers` are public
    keys by name, `own_key` is the one that does not count as a second person's. `sources` says where lists come from.
    `recorded` says that the cluster is a recording, whose clock is that of then.
    """

    state_dir: str
    runtime_dir: str
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    mode: str = "ask"
    kubeconfig_out: str | None = None
    clients: dict[str, str] = msgspec.field(default_factory=dict)
    production: bool | None = None
    hold_seconds: float = OPEN_SECONDS
    open_seconds: float = OPEN_SECONDS
    exec_allow: tuple[str, ...] = ()
    protected_namespaces: tuple[str, ...] = ()
    rules: tuple[RuleSettings, ...] = ()
    approvers: dict[str, str] = {}
    own_key: str = ""
    sources: dict[str, str] = {}
    recorded: bool = False


def check(settings: Settings) -> None:
    """Read every rule once. Raises GateError for one that is not understood: then nothing may be permitted by it."""
    if settings.mode not in MODES:
        raise GateError(f"There is no gate mode {settings.mode!r}.", "Use ask or observe.")
    try:
        _rules(settings)
        read_namespaces(settings.protected_namespaces)
        for key in (*settings.approvers.values(), *([settings.own_key] if settings.own_key else [])):
            read_key(key)
    except ValueError as error:
        raise GateError(
            f"The gate's rules cannot be read: {error}.", "Mend the settings; see: pilothouse doctor"
        ) from error


def _rules(settings: Settings) -> tuple[Rule, ...]:
    return tuple(
        read_rule(rule.pattern, rule.values, rule.source, everywhere=rule.everywhere) for rule in settings.rules
    )


def policy_of(settings: Settings, context: str) -> ContextPolicy:
    """Return what holds in the gate's context. Raises ValueError for what `check` would have refused."""
    policy = policy_for(context, _rules(settings), settings.protected_namespaces)
    sources = dict(policy.sources)
    mode, production = policy.mode, policy.production
    if settings.mode == "observe" and mode != "observe":
        mode, sources["mode"] = "observe", "whoever started the gate"
    if settings.production is not None:
        production, sources["production"] = settings.production, "whoever started the gate"
    elif production is None:
        production, sources["production"] = bool(_PRODUCTION.search(context)), "the context's name"
    return replace(policy, mode=mode, production=production, sources=sources)


def in_force(settings: Settings, policy: ContextPolicy) -> tuple[InForce, ...]:
    """Return what holds, with where each value came from, for people."""
    lines = [InForce(name, _said(getattr(policy, name)), policy.sources[name]) for name in NAMES]
    lists = {
        "protected_namespaces": ", ".join(policy.protected.texts),
        "approvers": ", ".join(sorted(settings.approvers)) or "nobody",
    }
    lines += [InForce(name, text, settings.sources.get(name, DEFAULT)) for name, text in lists.items()]
    return tuple(lines)


def _said(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
