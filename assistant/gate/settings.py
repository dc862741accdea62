"""What the parent tells the gate on standard input."""

from __future__ import annotations

import msgspec

from assistant.policy.limits import OPEN_SECONDS


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One JSON line (docs/architecture.md); times in seconds, paths absolute.

    `exec_allow` lists the credential plugins that may run, by absolute path; empty means none.
    """

    state_dir: str
    runtime_dir: str
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    mode: str = "ask"
    kubeconfig_out: str | None = None
    production: bool | None = None
    hold_seconds: float = OPEN_SECONDS
    open_seconds: float = OPEN_SECONDS
    exec_allow: tuple[str, ...] = ()
