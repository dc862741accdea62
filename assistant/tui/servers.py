"""MCP servers: how each stands and what it offers; what is new is approved from here. Looking starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from assistant.domain.toolserver import OfferedTool, ServerPrompt, Standing, ToolServer
from assistant.errors import PilothouseError
from assistant.policy.sanitize import safe
from assistant.tui.keys import Place, bindings
from assistant.tui.lines import BLANK, Line, Tone, line
from assistant.tui.overlays import FieldScreen, TextScreen
from assistant.tui.review import ReviewScreen
from assistant.tui.screen import CaseScreen, framed
from assistant.tui.serverlines import (
    TO_REVIEW,
    no_servers,
    offered_lines,
    problem_lines,
    server_item,
    start_lines,
    tool_lines,
)
from assistant.tui.templates import blanks, filled
from assistant.tui.view import LinesView, Row, Rule
from assistant.tui.words import BAR, short

if TYPE_CHECKING:
    from assistant.session.ports import ToolServers

READ_AGAIN_SECONDS = 2.0
"""A server comes up and goes down without an event, so the list is read anew while it is looked at."""
TEXT_WIDTH = 68
LONGEST_PROMPT = 8_000
"""Characters of a server's prompt that are put into the question: more than that nobody reads there."""


class ServersScreen(CaseScreen):
    """A list of servers, and what the chosen one offers; on narrow screens one of the two."""

    PLACE = Place.SERVERS
    BINDINGS = bindings(Place.SERVERS)
    AUTO_FOCUS = "#list"
    CSS = framed(
        "ServersScreen",
        """
    ServersScreen #listpane { width: 46%; border-right: solid $border; }
    ServersScreen #offered { width: 1fr; }
    ServersScreen.-narrow #offered { display: none; }
    ServersScreen.-narrow #listpane { width: 1fr; border: none; }
    ServersScreen.-narrow.-opened #offered { display: block; }
    ServersScreen.-narrow.-opened #listpane { display: none; }
    ServersScreen.-empty #offered { display: none; }
    ServersScreen.-empty #listpane { width: 1fr; border: none; }
    """,
    )

    def __init__(self) -> None:
        """Start with nothing listed."""
        super().__init__()
        self._listed: tuple[ToolServer, ...] = ()
        self._trouble = ""
        self._read_at = float("-inf")
        self._known = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield from self.chrome_top()
        with Horizontal(id="body"):
            with Vertical(id="listpane"):
                yield Row(id="count")
                yield Rule()
                yield LinesView(picks=True, id="list")
            yield LinesView(picks=True, id="offered")
        yield from self.chrome_bottom()

    def on_screen_resume(self) -> None:
        """Read the list again."""
        self._read_at = float("-inf")
        super().on_screen_resume()

    @property
    def servers(self) -> ToolServers | None:
        """Return the servers of the session."""
        return self.host.session.servers if self.host.session is not None else None

    @property
    def chosen(self) -> ToolServer | None:
        """Return the server under the cursor."""
        cursor = self.query_one("#list", LinesView).cursor
        return next((each for each in self._listed if each.name == cursor), None)

    # Drawing -----------------------------------------------------------------------------------------------------

    def refresh_case(self) -> None:
        """Draw both panes, and read the list where it is old."""
        if not self.drawable or not self.query("#count"):
            return
        if self.servers is not None and self.host.clock.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
            self._read_at = self.host.clock.monotonic()
            self._read()
        self.set_class(not self._listed, "-empty")
        count = f"{len(self._listed)}" if self._listed else ""
        self.query_one("#count", Row).show(line((" MCP SERVERS ", Tone.HEADING), count))
        view = self.query_one("#list", LinesView)
        view.show(self._list_lines())
        if not view.cursor and view.refs:
            view.move(1)
        self._draw_offered()
        self.refresh_rows()

    def _list_lines(self) -> list[Line]:
        servers = self.servers
        if servers is None:
            why = "MCP servers belong to a session: open one first (gi)."
            if self.host.session is not None:
                why = "This session has no MCP servers."
            return [BLANK, line((why, Tone.MUTED), hang=2)]
        if servers.problem:
            return problem_lines(servers.file, servers.problem)
        if self._trouble:
            return [BLANK, line((self._trouble, Tone.BAD), hang=2)]
        if not self._listed:
            return no_servers(servers.file) if self._known else [line(("reading ..", Tone.MUTED))]
        out: list[Line] = []
        for server in self._listed:
            out += [*server_item(server, self.host.case), line("", ref=server.name)]
        return out

    def _draw_offered(self) -> None:
        chosen, view = self.chosen, self.query_one("#offered", LinesView)
        view.show(offered_lines(chosen, self.host.case) if chosen is not None else [])
        if not view.cursor and view.refs:
            view.pick(view.refs[0], reveal=False)

    @work(group="read", exclusive=True)
    async def _read(self) -> None:
        servers = self.servers
        if servers is None:
            return
        try:
            self._listed, self._trouble = await asyncio.to_thread(servers.servers), ""
        except PilothouseError as error:
            self._listed, self._trouble = (), f"{error.meaning} {error.hint}"
        self._known = True
        if self.drawable:
            self.refresh_case()

    def _again(self) -> None:
        self._read_at = float("-inf")
        self.host.draw()

    def on_lines_view_picked(self, message: LinesView.Picked) -> None:
        """Show what the server under the cursor offers, from the top."""
        if message.view.id == "list" and self.drawable:
            view = self.query_one("#offered", LinesView)
            view.cursor = ""
            view.show([], reset=True)
            self._draw_offered()

    # Keys --------------------------------------------------------------------------------------------------------

    def back(self) -> None:
        """Leave what a server offers, then the screen."""
        if self.focused is self.query_one("#offered"):
            self.remove_class("-opened")
            self.query_one("#list").focus()
        else:
            self.host.switch("investigate")

    def action_open(self) -> None:
        """Open the server, or the item under the cursor."""
        chosen, offered = self.chosen, self.query_one("#offered", LinesView)
        if chosen is None:
            return
        if self.focused is not offered:
            self.add_class("-opened")
            self.call_after_refresh(offered.focus)
            if chosen.standing is Standing.APPROVED and not chosen.tools:
                self.action_look()
            return
        kind, _, name = offered.cursor.partition(":")
        match kind:
            case "start":
                self._open_start(chosen)
            case "tool":
                self._open_tools(chosen, [each for each in chosen.tools if each.name == name])
            case "prompt":
                self._fill(chosen, [each for each in chosen.prompts if each.name == name])
            case "resource":
                self._open_resource(chosen.name, name)
            case _:
                pass

    def _review(self, server: ToolServer, tools: Sequence[OfferedTool]) -> None:
        servers = self.servers
        if servers is None:
            return

        def approved() -> None:
            then = "r lists its tools" if not tools else f"{len(tools)} more can be called"
            self.host.tell(f"approved: {short(server.name)}; {then}")
            self._again()

        self.app.push_screen(ReviewScreen(servers, server, tools, approved))

    def _open_start(self, server: ToolServer) -> None:
        if server.standing in TO_REVIEW:
            self._review(server, ())
        else:
            self.app.push_screen(
                TextScreen(f"What starts MCP server {short(server.name)}", start_lines(server, TEXT_WIDTH))
            )

    def _open_tools(self, server: ToolServer, tools: Sequence[OfferedTool]) -> None:
        for tool in tools[:1]:
            if tool.standing in TO_REVIEW:
                self._review(server, [tool])
            else:
                title = f"Tool {short(tool.name)} of MCP server {short(server.name)}, its words"
                self.app.push_screen(TextScreen(title, tool_lines(server, [tool], TEXT_WIDTH)))

    def action_review_new(self) -> None:
        """Review all new tools; a changed one is looked at alone."""
        chosen = self.chosen
        new = [each for each in chosen.tools if each.standing is Standing.NEW] if chosen is not None else []
        if chosen is not None and new:
            self._review(chosen, new)
        else:
            self.host.tell("no tool of this server is new; one that changed is opened with enter")

    def action_look(self) -> None:
        """Start the server and list what it offers."""
        chosen = self.chosen
        if chosen is None:
            return
        if chosen.standing in TO_REVIEW:
            self.host.tell("look at what starts it and approve that first: enter")
            return
        self._look(chosen.name)

    @work(group="look")
    async def _look(self, name: str) -> None:
        servers = self.servers
        if servers is None:
            return
        self.host.tell(f"starting {short(name)} ..")
        try:
            looked = await servers.look(name)
        except PilothouseError as error:
            self.host.tell(f"{error.meaning} {error.hint}")
        else:
            self._listed = tuple(looked if each.name == name else each for each in self._listed)
            self.host.tell(f"{short(name)}: {len(looked.tools)} tools")
        self._again()

    def action_forget(self) -> None:
        """Take every approval of the server back."""
        chosen, servers = self.chosen, self.servers
        if chosen is None or servers is None:
            return

        def answered(text: str | None) -> None:
            if text is not None and text.strip().lower() in ("y", "yes"):
                self.host.run_safely(servers.forget(chosen.name), "taking the approvals back", self._again)

        self.app.push_screen(
            FieldScreen(f"forget every approval of {short(chosen.name, 20)}? y, then enter: "), answered
        )

    @work(group="resource", exclusive=True)
    async def _read_resource(self, name: str, uri: str) -> None:
        servers = self.servers
        if servers is None:
            return
        self.host.tell(f"reading {short(uri)} ..")
        try:
            text = await servers.read(name, uri)
        except PilothouseError as error:
            self.host.tell(f"{error.meaning} {error.hint}")
            return
        self.host.tell("")
        if self.drawable:
            head = [line(("from MCP server ", Tone.MUTED), (short(name), Tone.CODE), "; the text is its own words")]
            title = f"Resource {short(uri, 60)}"
            rows = [line((BAR, Tone.MUTED), (row, Tone.CODE), hang=len(BAR)) for row in safe(text).split("\n")]
            self.app.push_screen(TextScreen(title, rows, head=head))

    def _fill(self, server: ToolServer, prompts: Sequence[ServerPrompt]) -> None:
        """Ask for a prompt's arguments one after the other, then for its text."""
        if not prompts:
            return
        prompt = prompts[0]
        self._ask(
            server.name, prompt.arguments, prompt.needed, lambda values: self._fetch(server.name, prompt.name, values)
        )

    def _ask(self, server: str, names: Sequence[str], needed: int, then: Callable[[dict[str, str]], object]) -> None:
        """Ask for one value after the other, the first `needed` of which may not be empty."""
        values = dict[str, str]()

        def ask(number: int) -> None:
            if number >= len(names):
                then(values)
                return

            def told(text: str | None) -> None:
                if text is None or (not text and number < needed):
                    self.host.tell("nothing was asked of the server")
                    return
                if text:
                    values[names[number]] = text
                self.call_after_refresh(ask, number + 1)

            need = "needed" if number < needed else "may be empty"
            label = f"{short(server, 16)} wants “{short(names[number], 20)}” ({need}): "
            self.app.push_screen(FieldScreen(label), told)

        ask(0)

    def _open_resource(self, server: str, uri: str) -> None:
        """Read a resource; what is open in its address is asked for first."""
        names = blanks(uri)
        if names is None:
            self.host.tell("this address has parts that cannot be filled in here")
        elif names:
            self._ask(server, names, len(names), lambda values: self._read_resource(server, filled(uri, values)))
        else:
            self._read_resource(server, uri)

    @work(group="prompt", exclusive=True)
    async def _fetch(self, name: str, prompt: str, values: dict[str, str]) -> None:
        servers = self.servers
        if servers is None:
            return
        try:
            text = await servers.prompt(name, prompt, values)
        except PilothouseError as error:
            self.host.tell(f"{error.meaning} {error.hint}")
            return
        if len(text) > LONGEST_PROMPT:
            self.host.tell(f"the prompt has {len(text):,} characters: too long to be read before it is sent")
            return
        self.host.take_prompt(text, short(name))
