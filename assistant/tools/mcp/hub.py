"""All MCP servers of a session: approved before they run, started when needed, each apart from the others.

No call goes out but through `prepare` and `call`: the one says what the call needs, the other checks that it has it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from mcp_types import ElicitRequestParams, ElicitResult

from assistant.domain.canonical import canonical, sha256
from assistant.domain.ports import Clock
from assistant.domain.toolserver import ServerState, Standing, ToolClass
from assistant.errors import PilothouseError
from assistant.policy.redact import has_placeholder
from assistant.policy.sanitize import safe
from assistant.tools.mcp.catalog import MOST_TOLD, MOST_TOOLS, Tool, defined, judged, matching
from assistant.tools.mcp.connection import CallNews, Connection, Elicit, Ended
from assistant.tools.mcp.definition import Definition
from assistant.tools.mcp.environment import launch
from assistant.tools.mcp.faults import McpCallError, McpNotApprovedError
from assistant.tools.mcp.http import endpoint
from assistant.tools.mcp.pins import Pin, Pins, Verdict, pin_of
from assistant.tools.mcp.result import Outcome, outcome_of
from assistant.tools.mcp.servers import Server, Servers
from assistant.tools.mcp.stdio import StderrLog, child
from assistant.tools.mcp.warden import Warden

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mcp.client._transport import TransportStreams

FRESH_SECONDS: Final = 60.0
"""How long a list of tools is believed of a server that does not say when it changes."""
LARGEST_ARGUMENTS: Final = 200_000
MOST_AT_ONCE: Final = 8
"""Calls to one server at the same time; further ones wait."""


async def decline(server: str, question: ElicitRequestParams) -> ElicitResult:
    """Answer a server's question where nobody is asked: no."""
    return ElicitResult(action="decline")


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as a screen shows it. `error` is why it last ended; `left_out` says that it has too many tools."""

    name: str
    state: ServerState
    pin: Pin
    verdict: Verdict
    protocol: str
    error: str
    log: Path | None
    tools: int = 0
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A call that could be made. What is not a read needs `digest` as consent, from whoever was shown `lines`."""

    server: str
    tool: Tool
    arguments: Mapping[str, Any]
    digest: str

    @property
    def lines(self) -> tuple[str, ...]:
        """Return what a person has to see before a yes: server, tool, what it says of itself, all arguments."""
        shown = json.dumps(dict(self.arguments), indent=2, ensure_ascii=False, sort_keys=True)
        hints = ", ".join(f"{key} {value}".lower() for key, value in self.tool.definition.hints.items())
        return (
            f"server: {self.server}",
            f"tool: {safe(self.tool.definition.name, multiline=False)}",
            f"it says of itself: {hints or 'nothing'}",
            *safe(shown).split("\n"),
        )


@dataclass(slots=True)
class _Entry:
    server: Server
    connection: Connection
    log: StderrLog | None
    slots: asyncio.Semaphore
    definitions: tuple[Definition, ...] = ()
    left_out: bool = False
    kubeconfig: str = ""
    listed_at: float | None = None
    listing: asyncio.Lock | None = None


class Hub:
    """The servers of one session. Leave it with `close`, which ends them all."""

    def __init__(
        self, servers: Servers, pins: Pins, clock: Clock, *, kubeconfig: Callable[[str], str], logs: Path,
        elicit: Elicit = decline, environ: Mapping[str, str] | None = None, warden: Warden | None = None,
    ) -> None:  # fmt: skip
        """Keep what servers are started with; none is yet.

        `kubeconfig` returns a server's guarded kubeconfig by its name, "" without a gate.
        """
        self._pins = pins
        self._clock = clock
        self._kubeconfig = kubeconfig
        self._environ = environ
        self._warden = warden or Warden()
        self._entries: dict[str, _Entry] = {}
        self._used: set[str] = set()
        for server in servers.servers:
            log = None if server.url else StderrLog(logs / f"mcp-{server.name}.log")
            connection = Connection(server.name, partial(self._transport, server, log), clock, elicit)
            self._entries[server.name] = _Entry(server, connection, log, asyncio.Semaphore(MOST_AT_ONCE))

    async def __aenter__(self) -> Hub:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every server and return when none is left."""
        try:
            await asyncio.gather(*(entry.connection.close() for entry in self._entries.values()))
        finally:
            self._warden.close()

    def status(self) -> tuple[ServerStatus, ...]:
        """Return how each server stands, without starting any. Raises StoreError."""
        return tuple(self._status(entry) for entry in self._entries.values())

    def _status(self, entry: _Entry) -> ServerStatus:
        pin = self._pin(entry)
        link = entry.connection
        return ServerStatus(
            entry.server.name, link.state, pin, self._pins.server(entry.server.name, pin), link.protocol, link.error,
            entry.log.path if entry.log else None, len(entry.definitions), entry.left_out,
        )  # fmt: skip

    def approve_server(self, name: str, digest: str) -> None:
        """Take a person's yes to a command line, bound to the digest that was shown. Raises McpNotApprovedError."""
        pin = self._pin(self._entry(name))
        if pin.digest != digest:
            raise McpNotApprovedError(
                f"What starts MCP server {name} has changed since it was shown.", "Look at it again."
            )
        self._pins.approve_server(name, pin)

    async def approve_tools(self, name: str, digests: Mapping[str, str]) -> None:
        """Take a person's yes to tools (by name) as they were shown. Raises McpNotApprovedError, McpServerError."""
        entry = self._entry(name)
        await self._fresh(entry)
        found = {each.name: each for each in entry.definitions if not each.refused}
        for tool, digest in digests.items():
            if tool not in found or found[tool].digest != digest:
                raise McpNotApprovedError(
                    f"Tool {safe(tool, multiline=False)} of MCP server {name} has changed since it was shown.",
                    "Look at it again.",
                )
        self._pins.approve_tools([found[tool] for tool in digests])

    async def tools(self, name: str) -> tuple[Tool, ...]:
        """Return a server's tools, approved or not; starts it. Raises McpNotApprovedError, McpServerError."""
        entry = self._entry(name)
        await self._fresh(entry)
        return judged(entry.server, entry.definitions, self._pins)

    async def search(self, words: str, most: int = MOST_TOLD) -> tuple[Tool, ...]:
        """Return the usable tools of all approved servers that fit best. A server that fails has none."""

        async def of(name: str) -> tuple[Tool, ...]:
            try:
                return await self.tools(name)
            except PilothouseError:
                return ()  # what is wrong stands in its status

        found = await asyncio.gather(*(of(name) for name in self._entries))
        return matching((tool for tools in found for tool in tools), words, most)

    async def prepare(self, name: str, arguments: Mapping[str, Any]) -> Request:
        """Return what a call of `server__tool` would be, and needs. Nothing is sent.

        Raises McpCallError for a tool that is not there or arguments that cannot be sent, McpNotApprovedError for one
        that nobody has approved as it is, McpServerError.
        """
        server = name.partition("__")[0]
        if server not in self._entries:
            raise McpCallError(f"There is no tool {safe(name[:80], multiline=False)!r}.", "Search for one.")
        entry = self._entries[server]
        tool = next((each for each in await self.tools(server) if each.name == name), None)
        if tool is None:
            raise McpCallError(f"There is no tool {safe(name[:80], multiline=False)!r}.", "Search for one.")
        _check_standing(tool)
        text = _checked(arguments)
        digest = sha256([self._pin(entry).digest, tool.definition.digest, text, secrets.token_hex(8)])
        return Request(server, tool, json.loads(text), digest)

    async def call(
        self, request: Request, consent: str = "", watch: Callable[[CallNews], None] | None = None
    ) -> Outcome:
        """Make a prepared call, once. What is not a read needs `consent`, the digest of what was shown, single use.

        Raises McpNotApprovedError where that is missing or something changed meanwhile; McpCallError, McpServerError
        and McpUnknownOutcomeError as the connection does.
        """
        entry = self._entry(request.server)
        if request.digest in self._used:
            raise McpNotApprovedError("This call was made already.", "Prepare it anew.")
        if request.tool.kind is not ToolClass.READ and consent != request.digest:
            raise McpNotApprovedError(
                f"Tool {request.tool.name} may change something, so a person has to approve the call.",
                "Show the call with its arguments and ask.",
            )
        async with entry.slots:
            now = next((each for each in await self.tools(request.server) if each.name == request.tool.name), None)
            if now is None or now.definition.digest != request.tool.definition.digest:
                raise McpNotApprovedError(
                    f"Tool {request.tool.name} has changed since the call was prepared.", "Look at the change first."
                )
            _check_standing(now)
            if now.kind is not request.tool.kind:
                raise McpNotApprovedError(f"Tool {request.tool.name} needs an approval now.", "Prepare the call anew.")
            if request.digest in self._used:
                raise McpNotApprovedError("This call was made already.", "Prepare it anew.")
            # Before it is sent: whatever comes of it, the same consent never sends twice.
            self._used.add(request.digest)
            arguments, tool = dict(request.arguments), request.tool.definition.name
            result = await entry.connection.call(tool, arguments, entry.server.timeout_seconds, watch)
        # In a thread: taking secrets out of megabytes must not stop the keys of the person who wants to stop it.
        return await asyncio.to_thread(outcome_of, request.server, tool, arguments, result)

    def _pin(self, entry: _Entry) -> Pin:
        return pin_of(entry.server, self._environ)

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            known = ", ".join(self._entries) or "none"
            raise McpCallError(f"There is no MCP server {safe(name[:40], multiline=False)!r}.", f"There are: {known}.")
        return self._entries[name]

    async def _fresh(self, entry: _Entry) -> None:
        """List the tools anew where they may have changed: at most once a call, however often the server says so."""
        self._check_server(entry)
        running = entry.connection.state is ServerState.READY
        if entry.log is not None and running and entry.kubeconfig != self._kubeconfig(entry.server.name):
            # The gate was started anew: what the child was given opens nothing any more.
            entry.connection.renew("the gate was started anew")
        entry.listing = entry.listing or asyncio.Lock()
        async with entry.listing:
            now = self._clock.monotonic()
            ready = entry.connection.state is ServerState.READY and not entry.connection.ended
            young = entry.listed_at is not None and now - entry.listed_at < FRESH_SECONDS
            if young and ready and not entry.connection.stale:
                return
            listed, whole = await entry.connection.tools(MOST_TOOLS)
            entry.definitions, entry.left_out = defined(entry.server, listed), not whole
            entry.listed_at = self._clock.monotonic()

    def _check_server(self, entry: _Entry) -> None:
        name = entry.server.name
        verdict = self._pins.server(name, self._pin(entry))
        if verdict.standing is Standing.NEW:
            raise McpNotApprovedError(
                f"MCP server {name} has not been approved.", "Look at what starts it, then approve it."
            )
        if verdict.standing is not Standing.APPROVED:
            raise McpNotApprovedError(
                f"What starts MCP server {name} is not what was approved.", "Look at the change, then approve it.",
                detail="\n".join(verdict.changes),
            )  # fmt: skip

    def _transport(
        self, server: Server, log: StderrLog | None, ended: Ended
    ) -> AbstractAsyncContextManager[TransportStreams]:
        kubeconfig = self._entries[server.name].kubeconfig = self._kubeconfig(server.name)
        given = launch(server, kubeconfig, self._environ)
        if log is None:
            return endpoint(given)
        return child(given, log, ended, self._warden)


def _check_standing(tool: Tool) -> None:
    if tool.usable:
        return
    why = {
        Standing.NEW: "has not been approved",
        Standing.CHANGED: "is not what was approved",
        Standing.REFUSED: "cannot be used",
    }[tool.verdict.standing]
    raise McpNotApprovedError(
        f"Tool {tool.name} {why}.", "Look at it among the MCP servers.", detail="\n".join(tool.verdict.changes)
    )


def _checked(arguments: Mapping[str, Any]) -> str:
    try:
        text = canonical(dict(arguments)).decode()
    except (ValueError, TypeError, RecursionError) as error:
        raise McpCallError(
            "The arguments are no JSON object.", "Give plain values.", detail=str(error)[:200]
        ) from error
    if len(text) > LARGEST_ARGUMENTS:
        raise McpCallError(f"The arguments are larger than {LARGEST_ARGUMENTS // 1000} kB.", "Ask for less at once.")
    if has_placeholder(text):
        raise McpCallError(
            "The arguments hold a value that was taken out of a text as a secret.", "Name where it stands instead."
        )
    return text
