"""The MCP servers of a session: what a mind and a screen may do with them, and how a person is asked.

Beside wiring, because it joins the hub, the gate's kubeconfigs and the session's desk. Nothing of MCP is loaded before
a server is needed: the SDK takes most of a second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from assistant.domain.asking import CallDecided
from assistant.domain.canonical import sha256
from assistant.domain.ports import Clock
from assistant.domain.toolserver import ServerState, Standing, ToolClass, ToolServer
from assistant.errors import PilothouseError
from assistant.policy.redact import redact_text

if TYPE_CHECKING:
    from assistant.config import Settings
    from assistant.session.asking import Asking
    from assistant.tools.mcp.elicitation import Put
    from assistant.tools.mcp.hub import Hub
    from assistant.tools.mcp.pins import Pins
    from assistant.tools.mcp.questions import Elicit
    from assistant.tools.mcp.result import Outcome
    from assistant.tools.mcp.servers import Server, Servers

CLIENT: Final = "mcp-"
LONGEST_CLIENT: Final = 32
"""Of the name that the gate knows a kubeconfig by (gate/clients.py)."""

Kubeconfig = Callable[[str], Awaitable[str]]
"""Returns the path of the gate's kubeconfig for a client of this name. Raises GateError."""
May = Callable[[str, str, str, str], "bool | None"]
Rights = Callable[[], Awaitable[May]]
"""Returns what says whether we may: verb, group, resource, namespace. Raises ClusterError."""


class NotAllowedError(PilothouseError):
    """A person did not allow a call, or nobody was there to."""

    code = "mcp-not-allowed"


class ToolServers:
    """Servers of one `mcp.json`; `asking` is where a person is asked, None where nobody can be."""

    def __init__(
        self, file: Path, state: Path, kubeconfig: Kubeconfig, clock: Clock, asking: Asking | None = None,
        rights: Rights | None = None,
    ) -> None:  # fmt: skip
        """Keep the parts; the file is read, and the hub loaded, when somebody asks for a server.

        `rights` tells what the gate's identity may do; without it a tool that needs more is called in vain.
        """
        self._rights = rights
        self._file = file
        self._state = state
        self._kubeconfig = kubeconfig
        self._clock = clock
        self._asking = asking
        self._configured: Servers | None = None
        self._problem = ""
        self._hub: Hub | None = None
        self._opening = asyncio.Lock()
        self._kubeconfigs: dict[str, str] = {}
        self._closed = False

    @property
    def file(self) -> str:
        """Return the path of `mcp.json`, which need not be there."""
        return str(self._file)

    @property
    def problem(self) -> str:
        """Return why the file cannot be used and what to do, "" where it can."""
        self._servers()
        return self._problem

    # For a screen ----------------------------------------------------------------------------------------------

    def servers(self) -> tuple[ToolServer, ...]:
        """Return how each server stands; none is started. Raises StoreError."""
        if self._hub is not None:
            return self._hub.status()
        return tuple(_standing(server, self._pins()) for server in self._servers().servers)

    async def look(self, name: str) -> ToolServer:
        """Start a server and return what it offers. Raises PilothouseError."""
        return await (await self._ready([name])).look(name)

    async def approve_server(self, name: str, digest: str) -> None:
        """Take a person's yes to what starts a server, as it was shown. Raises PilothouseError."""
        (await self._open()).approve_server(name, digest)

    async def approve_tools(self, name: str, digests: Mapping[str, str]) -> None:
        """Take a person's yes to tools, by name and as they were shown. Raises PilothouseError."""
        await (await self._ready([name])).approve_tools(name, digests)

    async def forget(self, name: str) -> None:
        """Take back every approval of a server, and end it where it runs. Raises StoreError."""
        if self._hub is not None:
            self._hub.forget(name)
        else:
            self._pins().forget(name)

    async def read(self, name: str, uri: str) -> str:
        """Return the text of a resource. Raises PilothouseError."""
        return (await (await self._ready([name])).read(name, uri)).text

    async def prompt(self, name: str, prompt: str, values: Mapping[str, str]) -> str:
        """Return the text of a server's prompt, filled in. Raises PilothouseError."""
        return (await (await self._ready([name])).prompt(name, prompt, values)).text

    # For a mind ------------------------------------------------------------------------------------------------

    async def approved(self) -> tuple[str, ...]:
        """Return the names of the servers that a person has approved; none is started. Never raises."""

        def look() -> tuple[str, ...]:
            with suppress(PilothouseError):
                return tuple(each.name for each in self.servers() if each.standing is Standing.APPROVED)
            return ()

        # What is pinned is a program's whole contents, and the first look at them takes a moment.
        return await asyncio.to_thread(look)

    async def search(self, words: str, most: int) -> Sequence[Mapping[str, Any]]:
        """Return definitions of the approved tools that fit best; servers that fail have none. Never raises."""
        from assistant.tools.mcp.catalog import functions

        try:
            hub = await self._ready(await self.approved())
            found = await hub.search(words, most)
        except PilothouseError:
            return []  # the screen of the servers says what is wrong
        # One whose words look like a secret would have the whole prompt refused, and with it every answer.
        return [each for each in functions(found) if not redact_text(json.dumps(each, ensure_ascii=False))[1]]

    async def call(
        self, name: str, arguments: Mapping[str, Any], call: str, watch: Callable[[str, float], None]
    ) -> Outcome:
        """Call a tool by its full name, once a person has agreed where that is needed. Raises PilothouseError."""
        server = name.partition("__")[0]
        hub = await self._ready([server])
        request = await hub.prepare(name, arguments)
        consent = ""
        if request.tool.kind is not ToolClass.READ:
            destructive = request.tool.kind is ToolClass.ASK_DESTRUCTIVE
            decided = await self._permit(call, server, name, request.lines, request.digest, destructive)
            if not decided.allowed:
                raise NotAllowedError(f"The call was not allowed: {decided.reason or 'no'}.", "Look for another way.")
            consent = request.digest
            # The gate may have been started anew while the person read; what the server was given then opens nothing.
            await self._ready([server])
        return await hub.call(
            request, consent, lambda news: watch(_told(news.message, news.progress, news.total), news.seconds_left)
        )

    async def close(self) -> None:
        """End every server that was started."""
        async with self._opening:
            self._closed = True
            hub, self._hub = self._hub, None
            if hub is not None:
                await hub.close()

    async def _permit(
        self, call: str, server: str, tool: str, lines: Sequence[str], digest: str, destructive: bool
    ) -> CallDecided:
        if self._asking is None:
            return CallDecided(call, False, "nobody is here to be asked")
        return await self._asking.permit(call, server, tool, lines, digest, destructive=destructive)

    def _servers(self) -> Servers:
        if self._configured is None:
            from assistant.tools.mcp.classes import profile_of
            from assistant.tools.mcp.servers import Servers, load

            try:
                loaded = load(self._file)
                for each in loaded.servers:
                    profile_of(each)
                self._configured = loaded
            except PilothouseError as error:
                self._configured, self._problem = Servers(()), f"{error.meaning} {error.hint}"
        return self._configured

    async def _ready(self, names: Sequence[str]) -> Hub:
        """Return the hub, with a kubeconfig of the gate that runs now for each of these servers."""
        hub = await self._open()
        local = {each.name for each in self._servers().servers if each.command}
        for name in local.intersection(names):
            # A client of its own at the gate: whoever is asked about a change reads which server it came from.
            self._kubeconfigs[name] = await self._kubeconfig(client_of(name))
        return hub

    async def _open(self) -> Hub:
        async with self._opening:
            if self._closed:
                raise NotAllowedError("The session is closed.", "Open it again.")
            if self._hub is None:
                may = None
                if self._rights is not None:
                    with suppress(PilothouseError):  # then nobody is told beforehand
                        may = await self._rights()
                hub, answering, decline = await asyncio.to_thread(_loaded)
                self._hub = hub(
                    self._servers(), self._pins(), self._clock, logs=self._state / "logs", may=may,
                    kubeconfig=lambda name: self._kubeconfigs.get(name, ""),
                    elicit=answering(self._asking.put) if self._asking is not None else decline,
                )  # fmt: skip
            return self._hub

    def _pins(self) -> Pins:
        from assistant.tools.mcp.pins import FILE, Pins

        return Pins(self._state / FILE)


def servers_at_rest(settings: Settings) -> ToolServers:
    """Return the MCP servers of the settings where there is no gate: what is started gets no cluster."""
    from assistant.session.clock import SystemClock

    async def nothing(name: str) -> str:
        return ""

    return ToolServers(settings.mcp_file, settings.state, nothing, SystemClock())


def _loaded() -> tuple[type[Hub], Callable[[Put], Elicit], Elicit]:
    from assistant.tools.mcp.elicitation import answering
    from assistant.tools.mcp.hub import Hub
    from assistant.tools.mcp.questions import decline

    return Hub, answering, decline


def client_of(server: str) -> str:
    """Return the name that the gate knows a server by: `mcp-NAME`; a long one ends in its hash, so no two are one."""
    whole = f"{CLIENT}{server}"
    if len(whole) <= LONGEST_CLIENT:
        return whole
    mark = "-" + sha256(server)[:6]
    return whole[: LONGEST_CLIENT - len(mark)].rstrip("-") + mark


def _told(message: str, done: float | None, total: float | None) -> str:
    """Return what a server says of its progress: `reading (3 of 10)`."""
    count = "" if done is None else f"{done:g} of {total:g}" if total else f"{done:g}"
    return f"{message} ({count})" if message and count else message or count


def _standing(server: Server, pins: Pins) -> ToolServer:
    """Return how a server stands that nobody has started."""
    from assistant.tools.mcp.pins import pin_of

    pin = pin_of(server)
    verdict = pins.server(server.name, pin)
    return ToolServer(server.name, ServerState.OFF, verdict.standing, pin.digest, pin.lines, verdict.changes)
