"""MCP servers of other people's as a person sees them: how each stands, what it offers, what was approved of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServerState(StrEnum):
    """Where the connection to a server is."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


class Standing(StrEnum):
    """How something stands against what was approved."""

    NEW = "new"
    APPROVED = "approved"
    CHANGED = "changed"
    REFUSED = "refused"


class ToolClass(StrEnum):
    """What a call of a tool needs: nothing, a person's yes, or a yes to something that says it destroys."""

    READ = "read"
    ASK = "ask"
    ASK_DESTRUCTIVE = "ask-destructive"


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as its server defines it now. `lines` is what an approval covers, `changes` its difference.

    `digest` binds an approval to `lines`. `name` is the server's own, `exposed` what a model calls it by. `notes` are
    sentences of ours: where its arguments go, what the identity may not do that it needs.
    """

    name: str
    exposed: str
    kind: ToolClass
    standing: Standing
    digest: str
    lines: tuple[str, ...]
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolServer:
    """A server of `mcp.json`. `lines` is what starts it and what an approval covers, bound by `digest`.

    `error` is why it last ended, `log` where its standard error is kept ("" for one over HTTP). `tools` are those that
    it listed last, `left_out` says that there are more than are taken; so with `prompts` and `resources`.
    """

    name: str
    state: ServerState
    standing: Standing
    digest: str
    lines: tuple[str, ...]
    changes: tuple[str, ...] = ()
    protocol: str = ""
    error: str = ""
    log: str = ""
    tools: tuple[OfferedTool, ...] = ()
    left_out: bool = False
    prompts: tuple[ServerPrompt, ...] = ()
    resources: tuple[ServerResource, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerPrompt:
    """A question that a server offers to ask; `arguments` names what it wants to be told, needed ones first."""

    name: str
    about: str = ""
    arguments: tuple[str, ...] = ()
    needed: int = 0


@dataclass(frozen=True, slots=True)
class ServerResource:
    """A text that a server offers to read. A `uri` with names in braces is a template: those are filled in first."""

    uri: str
    name: str = ""
    about: str = ""
    media_type: str = ""
