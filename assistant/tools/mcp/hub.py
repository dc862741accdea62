"""All MCP servers of a session: approved before they run, started when needed, each apart from the others.

No call goes out but through `prepare` and `call`: the one says what the call needs, the other checks that it has it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from assistant.domain.canonical import sha256
from assistant.domain.ports import Clock
from assistant.domain.toolserver import ServerPrompt, ServerResource, ServerState, Standing, ToolClass, ToolServer
from assistant.errors import PilothouseError
from assistant.policy.sanitize import safe
from assistant.tools.mcp.access import NOTHING, May
from assistant.tools.mcp.catalog import MOST_TOLD, MOST_TOOLS, Tool, defined, judged, matching
from assistant.tools.mcp.connection import CallNews, Connection, Ended
from assistant.tools.mcp.definition import Definition
from assistant.tools.mcp.environment import launch
from assistant.tools.mcp.faults import McpAccessError, McpCallError, McpNotApprovedError
from assistant.tools.mcp.http import endpoint
from assistant.tools.mcp.listing import Listing
from assistant.tools.mcp.offered import MOST_PROMPTS, MOST_RESOURCES, MOST_TEMPLATES, prompts_of, readable, resources_of
from assistant.tools.mcp.pins import Pin, Pins, pin_of
from assistant.tools.mcp.questions import Elicit, decline
from assistant.tools.mcp.request import Request, check_standing, sendable
from assistant.tools.mcp.result import Outcome, outcome_of, prompt_outcome, read_outcome
from assistant.tools.mcp.servers import Server, Servers
from assistant.tools.mcp.stdio import StderrLog, child
from assistant.tools.mcp.texts import line
from assistant.tools.mcp.warden import Warden

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mcp.client._transport import TransportStreams

SEARCH_SECONDS: Final = 5.0
"""How long a search waits for servers that are being started."""
FRESH_SECONDS: Final = 60.0
"""How long a list of tools is believed of a server that does not say when it changes."""
NOT_APPROVED: Final = "it is not approved any more"
MOST_AT_ONCE: Final = 8
"""Calls to one server at the same time; further ones wait."""


@dataclass(slots=True)
class _Entry:
    server: Server
    connection: Connection
    log: StderrLog | None
    slots: asyncio.Semaphore
    definitions: tuple[Definition, ...] = ()
    resources: tuple[ServerResource, ...] = ()
    prompts: tuple[ServerPrompt, ...] = ()
    whole: dict[Listing, bool] = field(default_factory=lambda: dict.fromkeys(Listing, True))
    """Has every key from the start: a look from another thread must not meet a dict that grows."""
    kubeconfig: str = ""
    listed_at: dict[Listing, float] = field(default_factory=dict)
    locks: dict[Listing, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))


class Hub:
    """The servers of one session. Leave it with `close`, which ends them all."""

    def __init__(
        self, servers: Servers, pins: Pins, clock: Clock, *, kubeconfig: Callable[[str], str], logs: Path,
        elicit: Elicit = decline, environ: Mapping[str, str] | None = None, warden: Warden | None = None,
        may: May | None = None,
    ) -> None:  # fmt: skip
        """Keep what servers are started with; none is yet.

        `kubeconfig` returns a server's guarded kubeconfig by its name, "" without a gate. `elicit` answers what servers
        ask the person (`elicitation.answering` makes one). `may` says what the identity may do in the cluster; without
        it, nobody is told before a call that it cannot succeed.
        """
        self._may = may
        self._looking: set[asyncio.Future[tuple[Tool, ...]]] = set()
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

    def status(self) -> tuple[ToolServer, ...]:
        """Return how each server stands and what it listed last, without starting any. Raises StoreError."""
        return tuple(self._status(entry) for entry in self._entries.values())

    async def look(self, name: str) -> ToolServer:
        """Start a server where it does not run, list all that it offers, and return it.

        Raises McpNotApprovedError, McpServerError.
        """
        entry = self._entry(name)
        lists = (Listing.TOOLS, Listing.RESOURCES, Listing.PROMPTS)
        await asyncio.gather(*(self._fresh(entry, what) for what in lists))
        return self._status(entry)

    def _status(self, entry: _Entry) -> ToolServer:
        pin, link, name = self._pin(entry), entry.connection, entry.server.name
        verdict = self._pins.server(name, pin)
        return ToolServer(
            name, link.state, verdict.standing, pin.digest, pin.lines, verdict.changes, link.protocol, link.error,
            str(entry.log.path) if entry.log else "", tuple(tool.offered for tool in self._judged(entry)),
            not all(entry.whole.values()), entry.prompts, entry.resources,
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

    def forget(self, name: str) -> None:
        """Take back every approval of a server and end it. Raises StoreError."""
        self._pins.forget(name)
        self._entry(name).connection.renew(NOT_APPROVED)

    async def tools(self, name: str) -> tuple[Tool, ...]:
        """Return a server's tools, approved or not; starts it. Raises McpNotApprovedError, McpServerError."""
        entry = self._entry(name)
        await self._fresh(entry)
        return self._judged(entry)

    async def resources(self, name: str) -> tuple[ServerResource, ...]:
        """Return the texts that a server offers, templates after them; starts it.

        Raises McpNotApprovedError, McpServerError.
        """
        entry = self._entry(name)
        await self._fresh(entry, Listing.RESOURCES)
        return entry.resources

    async def prompts(self, name: str) -> tuple[ServerPrompt, ...]:
        """Return the questions that a server offers to ask; starts it. Raises McpNotApprovedError, McpServerError."""
        entry = self._entry(name)
        await self._fresh(entry, Listing.PROMPTS)
        return entry.prompts

    async def read(self, name: str, uri: str, watch: Callable[[CallNews], None] | None = None) -> Outcome:
        """Read one text: one that the server lists, or that fits a template of it.

        Raises McpCallError for another one, and what `call` raises.
        """
        entry = self._entry(name)
        if not readable(uri, await self.resources(name)):
            raise McpCallError(f"MCP server {name} offers no resource {line(uri, 80)!r}.", "Take one that it lists.")
        sendable({"uri": uri})
        async with entry.slots:
            result = await entry.connection.read(uri, entry.server.timeout_seconds, watch)
        return await asyncio.to_thread(read_outcome, name, uri, result)

    async def prompt(
        self, name: str, prompt: str, values: Mapping[str, str], watch: Callable[[CallNews], None] | None = None
    ) -> Outcome:
        """Return what a server's prompt says with these values; whether it is then asked is the person's to decide.

        Raises McpCallError for a prompt that is not there or values that it does not take, and what `call` raises.
        """
        entry = self._entry(name)
        found = next((each for each in await self.prompts(name) if each.name == prompt), None)
        if found is None:
            raise McpCallError(f"MCP server {name} has no prompt {line(prompt, 80)!r}.", "Take one that it lists.")
        given = {key: value for key, value in values.items() if value}
        missing = [key for key in found.arguments[: found.needed] if key not in given]
        if missing or given.keys() - set(found.arguments) or not all(isinstance(each, str) for each in given.values()):
            wants = ", ".join(found.arguments) or "nothing"
            said = f"needs {', '.join(missing)}" if missing else f"takes {wants}, as texts"
            raise McpCallError(f"The prompt {line(prompt, 80)} of MCP server {name} {said}.", f"It takes {wants}.")
        sendable(given)
        async with entry.slots:
            result = await entry.connection.prompt(prompt, given, entry.server.timeout_seconds, watch)
        return await asyncio.to_thread(prompt_outcome, name, prompt, given, result)

    async def search(self, words: str, most: int = MOST_TOLD) -> tuple[Tool, ...]:
        """Return the usable tools of all approved servers that fit best.

        A server that fails has none, and nobody waits longer for one that does not start; it goes on starting.
        """

        async def of(name: str) -> tuple[Tool, ...]:
            try:
                return await self.tools(name)
            except PilothouseError:
                return ()  # what is wrong stands in its status

        looking = {asyncio.ensure_future(of(name)) for name in self._entries}
        alarm = asyncio.ensure_future(self._clock.sleep(SEARCH_SECONDS))
        try:
            pending = looking
            while pending and not alarm.done():
                done, _ = await asyncio.wait({*pending, alarm}, return_when=asyncio.FIRST_COMPLETED)
                pending = pending - done
        finally:
            alarm.cancel()
            self._looking = {task for task in self._looking | looking if not task.done()}
        found = (task.result() for task in looking if task.done() and not task.cancelled())
        return matching((tool for tools in found for tool in tools), words, most)

    async def prepare(self, name: str, arguments: Mapping[str, Any]) -> Request:
        """Return what a call of `server__tool` would be, and needs. Nothing is sent.

        Raises McpCallError for a tool that is not there or arguments that cannot be sent, McpNotApprovedError for one
        that nobody has approved as it is, McpAccessError where the identity may not do what it needs, McpServerError.
        """
        server = name.partition("__")[0]
        if server not in self._entries:
            raise McpCallError(f"There is no tool {safe(name[:80], multiline=False)!r}.", "Search for one.")
        entry = self._entries[server]
        tool = next((each for each in await self.tools(server) if each.name == name), None)
        if tool is None:
            raise McpCallError(f"There is no tool {safe(name[:80], multiline=False)!r}.", "Search for one.")
        check_standing(tool)
        text = sendable(arguments)
        access = tool.allowed(arguments, self._may) if self._may and not entry.server.url else NOTHING
        if access.barred:
            raise McpAccessError(
                f"Tool {tool.name} needs what this identity may not do: {', '.join(access.lacking)}.",
                "It was not called. Look another way, or ask for that access.",
            )
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
            check_standing(now)
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

    def _judged(self, entry: _Entry) -> tuple[Tool, ...]:
        return judged(entry.server, entry.definitions, self._pins, self._may)

    async def _fresh(self, entry: _Entry, what: Listing = Listing.TOOLS) -> None:
        """List anew what may have changed: at most once a call, however often the server says so."""
        self._check_server(entry)
        link, running = entry.connection, entry.connection.state is ServerState.READY
        if entry.log is not None and running and entry.kubeconfig != self._kubeconfig(entry.server.name):
            # The gate was started anew: what the child was given opens nothing any more.
            link.renew("the gate was started anew")
        async with entry.locks[what]:
            now = self._clock.monotonic()
            ready = link.state is ServerState.READY and not link.ended
            young = what in entry.listed_at and now - entry.listed_at[what] < FRESH_SECONDS
            if not (young and ready and what not in link.stale):
                await self._list(entry, what)
                entry.listed_at[what] = self._clock.monotonic()

    async def _list(self, entry: _Entry, what: Listing) -> None:
        link = entry.connection
        if what is Listing.TOOLS:
            listed, whole = await link.listed(what, MOST_TOOLS)
            entry.definitions = defined(entry.server, listed)
        elif what is Listing.PROMPTS:
            listed, whole = await link.listed(what, MOST_PROMPTS)
            entry.prompts, usable = prompts_of(listed)
            whole = whole and usable
        else:
            listed, whole = await link.listed(Listing.RESOURCES, MOST_RESOURCES)
            templates, rest = await link.listed(Listing.TEMPLATES, MOST_TEMPLATES)
            entry.resources, usable = resources_of(listed, templates)
            whole = whole and rest and usable
        entry.whole[what] = whole

    def _check_server(self, entry: _Entry) -> None:
        name = entry.server.name
        verdict = self._pins.server(name, self._pin(entry))
        if verdict.standing is not Standing.APPROVED:
            # Taken back or changed since it was started, in another terminal perhaps: it does not run on as the person.
            entry.connection.renew(NOT_APPROVED)
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
        # Again, because a start may come seconds after it was asked for, or in the place of one that ended.
        self._check_server(self._entries[server.name])
        kubeconfig = self._entries[server.name].kubeconfig = self._kubeconfig(server.name)
        given = launch(server, kubeconfig, self._environ)
        if log is None:
            return endpoint(given)
        return child(given, log, ended, self._warden)
