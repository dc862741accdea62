"""MCP servers for the screens: what they hold, ask and offer, and a scripted set of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from assistant.domain import event as ev
from assistant.domain.asking import Choice, Field, FieldKind
from assistant.domain.toolserver import (
    OfferedTool,
    ServerPrompt,
    ServerResource,
    ServerState,
    Standing,
    ToolClass,
    ToolServer,
)
from assistant.errors import UsageError
from tests.tui import fixture

UNTIL = fixture.START + timedelta(seconds=420)
ARGUMENTS = ("{", '  "channel": "payments-oncall",', '  "text": "Rollout 14 dropped envFrom; rolling back."', "}")
LINES = ("server: notes", "tool: post_message", "it says of itself: nothing", *ARGUMENTS)


def held(call: str = "m1", **changes: object) -> ev.CallHeld:
    made = ev.CallHeld(
        call, "notes", "post_message", LINES, "a1b2c3" + "0" * 58, UNTIL,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


FIELDS = (
    Field("name", "Your name", FieldKind.TEXT, "It is written under the note.", True, hint="at most 40 characters"),
    Field("age", "Pages", FieldKind.INTEGER, preset="3", hint="1 to 10"),
    Field("share", "Share", FieldKind.NUMBER),
    Field("public", "Public?", FieldKind.YES_NO, required=True),
    Field("size", "Size", FieldKind.CHOICE, choices=(Choice("s", "small"), Choice("l", "large")), preset="s"),
    Field("tags", "Tags", FieldKind.CHOICES, choices=(Choice("db", "db"), Choice("web", "web"), Choice("ops", "ops"))),
)


def question(name: str = "Q7.1", **changes: object) -> ev.QuestionPut:
    made = ev.QuestionPut(name, "notes", "Whom shall the note name, and who may read it?", FIELDS, "", UNTIL)
    return replace(made, **changes)  # type: ignore[arg-type]


def tool(name: str, kind: ToolClass = ToolClass.READ, standing: Standing = Standing.APPROVED) -> OfferedTool:
    takes = ("takes: {", 'takes:  "type": "object"', "takes: }")
    lines = (f"tool: {name}", f"says: {name} of the notes", "hints: {}", *takes)
    changes = (f"-says: {name}", f"+says: {name} of the notes") if standing is Standing.CHANGED else ()
    return OfferedTool(name, f"notes__{name}", kind, standing, f"{name}-digest", lines, changes)


STARTS = (
    "server: notes", "command: npx", "program: /usr/bin/npx", "contents: 5f2c" + "0" * 60, "argument 1: -y",
    "argument 2: notes-mcp@1.4.2", "folder: the current one", "may see: no further variable", "profile: none",
)  # fmt: skip
NOTES = ToolServer(
    "notes", ServerState.READY, Standing.APPROVED, "notes-digest", STARTS, (), "2025-11-25", "", "/state/mcp-notes.log",
    (
        tool("search"), tool("post_message", ToolClass.ASK), tool("purge", ToolClass.ASK_DESTRUCTIVE, Standing.NEW),
        tool("tag", ToolClass.ASK, Standing.NEW), tool("export", ToolClass.READ, Standing.CHANGED),
    ),
    prompts=(ServerPrompt("summarise", "A summary of the newest notes", ("topic", "since"), 1), ServerPrompt("hello")),
    resources=(ServerResource("notes://today", "today", "What was written today", "text/markdown"),),
)  # fmt: skip
FRESH = ToolServer("kube", ServerState.OFF, Standing.NEW, "kube-digest", ("server: kube", "command: npx"))
MOVED = ToolServer(
    "search", ServerState.FAILED, Standing.CHANGED, "search-digest",
    ("server: search", "address: https://new.example/mcp"),
    ("-address: https://old.example/mcp", "+address: https://new.example/mcp"),
    error="it ended while a call was under way (exit code 1)",
)  # fmt: skip


def called() -> list[ev.Payload]:
    """Calls of a server's tools: one that ended, one that failed, one under way that says how far it is."""
    return [
        ev.ToolStarted("n1", "mcp", "notes  search", "mcp notes search {}"),
        ev.ToolEnded("n1", True, "3 notes", 0.4),
        ev.ToolStarted("n2", "mcp", "notes  search", "mcp notes search {}"),
        ev.ToolEnded("n2", False, "notes did not answer in 30 s", 30.0),
        ev.ToolStarted("n3", "mcp", "notes  export", "mcp notes export {}"),
        ev.ToolProgressed("n3", "page 2 of 7", 132.0),
    ]


@dataclass
class ScriptedServers:
    """A few servers that do what they are told; `done` keeps what was asked of them."""

    listed: list[ToolServer] = field(default_factory=lambda: [NOTES, FRESH, MOVED])
    file: str = "/home/user/.config/pilothouse/mcp.json"
    problem: str = ""
    done: list[object] = field(default_factory=list)
    refuses: UsageError | None = None
    text: str = "# Today\n\nNothing happened."

    def servers(self) -> tuple[ToolServer, ...]:
        return tuple(self.listed)

    def _put(self, name: str, **changes: object) -> ToolServer:
        place = next(n for n, each in enumerate(self.listed) if each.name == name)
        self.listed[place] = replace(self.listed[place], **changes)  # type: ignore[arg-type]
        return self.listed[place]

    def _check(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    async def look(self, name: str) -> ToolServer:
        self.done.append(("look", name))
        self._check()
        return self._put(name, state=ServerState.READY, tools=(tool("get_pods", standing=Standing.NEW),))

    async def approve_server(self, name: str, digest: str) -> None:
        self._check()
        self.done.append(("server", name, digest))
        self._put(name, standing=Standing.APPROVED, changes=())

    async def approve_tools(self, name: str, digests: Mapping[str, str]) -> None:
        self._check()
        self.done.append(("tools", name, dict(digests)))
        known = next(each for each in self.listed if each.name == name)
        self._put(
            name, tools=tuple(replace(t, standing=Standing.APPROVED) if t.name in digests else t for t in known.tools)
        )  # fmt: skip

    async def forget(self, name: str) -> None:
        self.done.append(("forget", name))
        self._put(name, standing=Standing.NEW)

    async def read(self, name: str, uri: str) -> str:
        self._check()
        self.done.append(("read", name, uri))
        return self.text

    async def prompt(self, name: str, prompt: str, values: Mapping[str, str]) -> str:
        self._check()
        self.done.append(("prompt", name, prompt, dict(values)))
        return self.text
