"""The events of being asked in the middle of a turn: calls of tools that wait for a yes, and questions of MCP servers.

Part of the union in `event`. A change of the cluster is neither: it is a proposal, and the gate asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ToolProgressed:
    """What a server says of a call under way (`text`, may be empty), which is given up in `seconds_left`."""

    call: str
    text: str
    seconds_left: float


@dataclass(frozen=True, slots=True)
class CallHeld:
    """A tool's call waits for a person, until `until`, because its server's tool is not known to only read.

    `lines` is all that a yes covers: server, tool, what it says of itself, every argument. `digest` binds it.
    """

    call: str
    server: str
    tool: str
    lines: tuple[str, ...]
    digest: str
    until: datetime
    destructive: bool = False


@dataclass(frozen=True, slots=True)
class CallDecided:
    """A person allowed a held call, once, or did not; `by` is empty where nobody was there or nobody answered."""

    call: str
    allowed: bool
    reason: str = ""
    by: str = ""


class FieldKind(StrEnum):
    """What may be typed into a field of a server's question (MCP elicitation, form mode: flat schemas only)."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    YES_NO = "yes or no"
    CHOICE = "choice"
    CHOICES = "choices"


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer that a field takes; `title` is what people read."""

    value: str
    title: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a question. `hint` says in words which values its schema takes; `preset` is the server's default."""

    name: str
    title: str
    kind: FieldKind
    about: str = ""
    required: bool = False
    choices: tuple[Choice, ...] = ()
    preset: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class QuestionPut:
    """An MCP server asks the person something, in the middle of a call of one of its tools.

    Its words are the server's. With `url` it wants that address looked at instead of a form (URL mode); nothing opens
    it.
    """

    question: str
    server: str
    message: str
    fields: tuple[Field, ...] = ()
    url: str = ""
    until: datetime | None = None


class Reply(StrEnum):
    """What a person can say to a server's question, in the protocol's words."""

    ACCEPT = "accept"
    DECLINE = "decline"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class QuestionAnswered:
    """How a server's question was answered. The values go to the server and into no log; `fields` names them."""

    question: str
    reply: Reply
    fields: tuple[str, ...] = ()
    by: str = ""
