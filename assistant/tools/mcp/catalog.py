"""The tools of a server as they may be used: standing, class, and few enough at a time for a model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from assistant.domain.toolserver import OfferedTool, Standing, ToolClass
from assistant.tools.mcp.access import NOTHING, Access, May, Need, checked, needs_of
from assistant.tools.mcp.classes import class_of
from assistant.tools.mcp.definition import Definition, define
from assistant.tools.mcp.pins import Pins, Verdict
from assistant.tools.mcp.servers import Server, remote_host

if TYPE_CHECKING:
    import mcp_types as types

MOST_TOOLS: Final = 1_000
"""Of one server; what comes after them cannot be used."""
MOST_TOLD: Final = 12
LARGEST_TOLD: Final = 24_000
"""Characters of the definitions that go into one call of a model."""
_WORD: Final = re.compile(r"[a-z0-9]+")
_COMMON: Final = frozenset({
    "a", "an", "and", "are", "by", "for", "from", "in", "is", "it", "its", "of", "on", "or", "that", "the", "this",
    "to", "what", "which", "with",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a server, with how it stands against its pin and what a call of it needs.

    `access` is what its identity lacks for any call of it; `host` is where it is, "" for this machine.
    """

    definition: Definition
    kind: ToolClass
    verdict: Verdict
    access: Access = NOTHING
    host: str = ""

    @property
    def name(self) -> str:
        """Return the name that it is called by, `server__tool`."""
        return self.definition.exposed

    @property
    def usable(self) -> bool:
        """Say whether it may be called: approved, and unchanged since."""
        return self.verdict.standing is Standing.APPROVED

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a person has to know of it besides what the server says: sentences of ours."""
        away = f"Over the network: what stands in the arguments of a call goes to {self.host}." if self.host else ""
        return tuple(note for note in (away, self.access.sentence) if note)

    @property
    def needs(self) -> tuple[Need, ...]:
        """Return what it says that it needs of the Kubernetes API."""
        return needs_of(self.definition.meta)

    def allowed(self, arguments: Mapping[str, Any], may: May) -> Access:
        """Return what is lacking for a call with these arguments."""
        takes = self.definition.parameters.get("properties")
        named = isinstance(takes, dict) and "namespace" in takes
        return checked(self.needs, arguments, may, may_name_namespace=named)

    @property
    def offered(self) -> OfferedTool:
        """Return it as faces show it."""
        return OfferedTool(
            self.definition.name, self.name, self.kind, self.verdict.standing, self.definition.digest,
            self.definition.lines, self.verdict.changes, self.notes,
        )  # fmt: skip

    @property
    def function(self) -> dict[str, Any]:
        """Return the definition as the chat completions protocol has it."""
        about = self.definition.told + ("" if self.kind is ToolClass.READ else " (A person is asked first.)")
        if self.host:
            about += f" (What you put into its arguments goes to {self.host}.)"
        function = {"name": self.name, "description": about, "parameters": self.definition.told_parameters}
        return {"type": "function", "function": function}


def defined(server: Server, listed: Sequence[types.Tool]) -> tuple[Definition, ...]:
    """Return the definitions of what a server lists. A name that is there twice cannot be used: which one is meant?"""
    made = [
        define(
            server.name, tool.name, tool.description or "", tool.input_schema,
            tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else {},
            (tool.title, tool.output_schema), tool.meta,
        )
        for tool in listed[:MOST_TOOLS]
    ]  # fmt: skip
    names = Counter(each.exposed for each in made)
    twice = "another tool of this server has the same name"
    return tuple(replace(each, refused=each.refused or twice) if names[each.exposed] > 1 else each for each in made)


def judged(server: Server, definitions: Iterable[Definition], pins: Pins, may: May | None = None) -> tuple[Tool, ...]:
    """Return the tools with their standing now, and what the identity lacks for them. Raises StoreError.

    A server that is reached by its address has an identity of its own, of which nothing is known.
    """
    may = None if server.url else may
    known, host = tuple(definitions), remote_host(server)
    verdicts = pins.tools(server.name, known)
    tools = [
        Tool(each, class_of(server, each), verdict, host=host) for each, verdict in zip(known, verdicts, strict=True)
    ]
    return tuple(tools if may is None else (replace(each, access=each.allowed({}, may)) for each in tools))


def matching(tools: Iterable[Tool], words: str, most: int = MOST_TOLD) -> tuple[Tool, ...]:
    """Return the usable tools that fit some words best, the best first; no words: the first by name.

    A word counts the more, the fewer tools have it, and three times as much in a name.
    """
    usable = [tool for tool in tools if tool.usable and not tool.access.barred]
    wanted = _words(words)
    if not wanted:
        return tuple(sorted(usable, key=lambda tool: tool.name)[:most])
    named = {tool.name: _words(tool.name) for tool in usable}
    told = {tool.name: _words(tool.definition.told) | named[tool.name] for tool in usable}
    spread = Counter(word for has in told.values() for word in has)
    ranked = []
    for tool in usable:
        score = sum(
            (3 if word in named[tool.name] else 1) * math.log(1 + len(usable) / spread[word])
            for word in wanted & told[tool.name]
        )
        if score:
            ranked.append((-score, tool.name, tool))
    ranked.sort(key=lambda each: each[:2])
    return tuple(tool for _, _, tool in ranked[:most])


def _words(text: str) -> frozenset[str]:
    # Singular and plural are the same word here, and so are `pods_list` and `list pods`.
    found = (word if len(word) < 4 else word.removesuffix("s") for word in _WORD.findall(text.lower()))
    return frozenset(found) - _COMMON


def functions(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Return the definitions for a model, as many of the first as fit into what one call may hold."""
    told: list[dict[str, Any]] = []
    room = LARGEST_TOLD
    for tool in tools:
        room -= len(tool.definition.told) + len(tool.definition.schema)
        if len(told) == MOST_TOLD or room < 0:
            break
        if tool.usable:
            told.append(tool.function)
    return told
