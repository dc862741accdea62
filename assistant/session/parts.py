"""What a session is made of: the one place where its collaborators are listed."""

from __future__ import annotations

from dataclasses import dataclass, field

from assistant.domain.ports import Clock, Workflow
from assistant.session.asking import Asking
from assistant.session.budget import Bounds
from assistant.session.changes import Verify
from assistant.session.door import RecordedGate
from assistant.session.follow import Reconnect
from assistant.session.ports import Log, ToolServers
from assistant.session.scrub import Redact


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of. `gate` is the same object that the workflow holds, None for a session without one.

    `redact` takes secrets out of a text and counts them; `by` is who decides, for the log; `verify` reads the
    cluster again after a change that was reviewed outside a turn; `propose` false means: suggest, submit nothing.
    `asking` is the desk that the workflow's tools ask at, one of the session's own where there is none; `servers` are
    the MCP servers whose tools those are.
    """

    store: Log
    workflow: Workflow
    gate: RecordedGate | None
    clock: Clock
    redact: Redact
    by: str
    reconnect: Reconnect | None = None
    verify: Verify | None = None
    propose: bool = True
    bounds: Bounds = field(default_factory=Bounds)
    asking: Asking | None = None
    servers: ToolServers | None = None
