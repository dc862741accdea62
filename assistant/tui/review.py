"""Approving what starts an MCP server, or its tools: read all of it, arm, enter. Bound to the digest that was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from assistant.domain.toolserver import OfferedTool, Standing, ToolServer
from assistant.errors import PilothouseError
from assistant.session.ports import ToolServers
from assistant.tui.consent import Card, ConsentScreen
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import Given, Line, Tone, line
from assistant.tui.serverlines import STANDINGS, start_lines, tool_lines
from assistant.tui.words import named

AS_YOU = (
    "A yes lets Pilothouse start this whenever a tool of it is wanted. It then runs as you: it can read your files and "
    "reach the network."
)
NO_SANDBOX = "What it does to the cluster goes through the gate. Everything else that it does, nobody checks."
AS_SHOWN = "A yes holds for the tools as shown; one that changes is off until reviewed."
STILL_ASKS = "What does not only read still asks before each call. Below: its own words."


class ReviewScreen(ConsentScreen):
    """What is to be approved, as it stood when it was opened; the digest holds it to that."""

    PLACE = Place.REVIEW
    BINDINGS = bindings(Place.REVIEW)
    CSS = ConsentScreen.styled("ReviewScreen")
    OTHERS = ("esc back",)

    def __init__(
        self, servers: ToolServers, server: ToolServer, tools: Sequence[OfferedTool], then: Callable[[], None]
    ) -> None:
        """Take what to approve: the server where `tools` is empty. `then` is called after a yes."""
        super().__init__()
        self._servers, self._server, self._tools, self._then = servers, server, tuple(tools), then
        self._done = False

    def card(self) -> Card | None:
        """Return what is to be approved."""
        server, tools = self._server, self._tools
        what = "tools of MCP server " if len(tools) > 1 else "a tool of MCP server " if tools else "MCP server "
        word: Given = (" APPROVE WHAT STARTS AN MCP SERVER " if not tools else " APPROVE MCP TOOLS ", Tone.MATCH)
        count = f"  {len(tools)} " if len(tools) > 1 else "  "
        standing = tools[0].standing if tools else server.standing
        key = f"{server.name} {' '.join(each.digest for each in tools) or server.digest}"
        head: tuple[Line, ...] = (line(f" {AS_YOU}", hang=1), line((f" {NO_SANDBOX}", Tone.MUTED), hang=1))
        if tools:
            head = (line(f" {AS_SHOWN}", hang=1), line((f" {STILL_ASKS}", Tone.MUTED), hang=1))
        title = (word, count, what, named(server.name))
        right: tuple[Given, ...] = (STANDINGS[standing], " ")
        return Card(key, title, right, head, self.laid(key, self._lines), self._why_not())

    def _lines(self, width: int) -> list[Line]:
        body = tool_lines(self._server, self._tools, width) if self._tools else start_lines(self._server, width)
        digest = self._tools[0].digest if self._tools else self._server.digest
        binds = f"digest {digest[:12]} binds" if len(self._tools) < 2 else f"{len(self._tools)} digests bind"
        return [*body, line((f"end; {binds} your yes to exactly this", Tone.MUTED))]

    def _why_not(self) -> str:
        refused = [each for each in self._tools if each.standing is Standing.REFUSED]
        if self._done:
            return "It is approved."
        return "This tool cannot be used, so there is nothing to approve." if refused else ""

    def empty(self) -> Line:
        """Return nothing: there is always something here."""
        return line("Nothing is to be approved.")

    def on_screen_resume(self) -> None:
        """Go where a yes was given meanwhile."""
        super().on_screen_resume()
        if self._done:
            self.call_after_refresh(self._leave)

    def allow(self, card: Card) -> None:
        """Hand the approval over."""
        if self._tools:
            work = self._servers.approve_tools(self._server.name, {each.name: each.digest for each in self._tools})
        else:
            work = self._servers.approve_server(self._server.name, self._server.digest)
        self._sending = True
        self.run_worker(self._hand_over(work), group="approval")

    async def _hand_over(self, work: Awaitable[None]) -> None:
        try:
            await work
        except PilothouseError as error:
            self._sending = False
            self.guard.settle()
            self.say(f"{error.meaning} {error.hint}")
            return
        self._sending, self._done = False, True
        self._then()
        self._leave()

    def _leave(self) -> None:
        if self.is_current:
            self.dismiss(None)

    def back(self) -> None:
        """Approve nothing."""
        self._leave()
