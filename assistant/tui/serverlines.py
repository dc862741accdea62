"""MCP servers as lines: how each stands, what it offers, what an approval covers. Names and texts are the servers'."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.domain.case import Case
from assistant.domain.toolserver import OfferedTool, ServerPrompt, ServerState, Standing, ToolClass, ToolServer
from assistant.policy.sanitize import clip, safe
from assistant.tui.lines import BLANK, Given, Line, Tone, columns, line
from assistant.tui.words import named, one_line, said_lines, short

STATES: dict[ServerState, tuple[str, Tone]] = {
    ServerState.OFF: ("off", Tone.MUTED), ServerState.STARTING: ("starting ..", Tone.ACCENT),
    ServerState.READY: ("ready", Tone.GOOD), ServerState.FAILED: ("FAILED", Tone.BAD),
}  # fmt: skip
STANDINGS: dict[Standing, tuple[str, Tone]] = {
    Standing.NEW: ("NEW", Tone.WARN), Standing.APPROVED: ("approved", Tone.GOOD),
    Standing.CHANGED: ("CHANGED", Tone.BAD), Standing.REFUSED: ("cannot be used", Tone.MUTED),
}  # fmt: skip
CLASSES: dict[ToolClass, tuple[str, Tone]] = {
    ToolClass.READ: ("only reads", Tone.GOOD), ToolClass.ASK: ("asks first", Tone.WARN),
    ToolClass.ASK_DESTRUCTIVE: ("asks first, says it destroys", Tone.BAD),
}  # fmt: skip
EXAMPLE = """{"mcpServers": {
  "kube": {"command": "npx", "args": ["-y", "kubernetes-mcp-server@0.0.67"]}}}"""
NOTE_CELLS = 120
TO_REVIEW = frozenset({Standing.NEW, Standing.CHANGED})


def calls_of(case: Case, name: str) -> tuple[int, int]:
    """Return how many calls of a server's tools this session made, and how many failed."""
    calls = [call for call in case.calls if call.request.startswith(f"mcp {name} ")]
    return len(calls), sum(call.done and not call.ok for call in calls)


def usable(server: ToolServer) -> int:
    """Return how many of a server's tools may be called."""
    return sum(tool.standing is Standing.APPROVED for tool in server.tools)


def _calls(case: Case, name: str) -> list[tuple[str, Tone]]:
    count, failed = calls_of(case, name)
    words = f"{count} call{'' if count == 1 else 's'}"
    return [(words, Tone.PLAIN if count else Tone.MUTED), *([(f", {failed} FAILED", Tone.BAD)] if failed else [])]


def server_item(server: ToolServer, case: Case) -> list[Line]:
    """Return a server in the list: how it stands, what of it can be used, what went wrong last."""
    ref = server.name
    head = line(
        (short(server.name), Tone.STRONG),
        hang=2,
        right=[STATES[server.state], "  ", STANDINGS[server.standing]],
        ref=ref,
    )
    tools = f"{usable(server)} of {len(server.tools)} tools" if server.tools else "tools not listed yet"
    over = [(short(server.protocol, 12), Tone.MUTED)] if server.protocol else []
    out = [head, line((f"  {tools}  ", Tone.MUTED), *_calls(case, server.name), hang=2, right=over, ref=ref)]
    if server.error:
        out.append(line(("  last error: ", Tone.BAD), clip(safe(server.error, multiline=False), 160), hang=4, ref=ref))
    return out


def no_servers(file: str) -> list[Line]:
    """Return what stands there where no server is configured: which file, and the least that goes into it."""
    return [
        BLANK,
        line(("No MCP server is configured.", Tone.STRONG), hang=2),
        BLANK,
        line("Servers are named in ", (file, Tone.CODE), ", in the form that other clients use:", hang=2),
        BLANK,
        *(line(("  " + row, Tone.CODE), hang=4) for row in EXAMPLE.split("\n")),
        BLANK,
        line(("None starts before you have looked at what starts it and approved that.", Tone.MUTED), hang=2),
    ]


def problem_lines(file: str, problem: str) -> list[Line]:
    """Return why the file cannot be used; the reason may hold words of the file."""
    return [
        BLANK,
        line(("The file of MCP servers cannot be used: ", Tone.BAD), (file, Tone.CODE), hang=2),
        line(problem, hang=2),
        BLANK,
        line(("No server of it is used before that. Put the file right; it is read when a session opens.", Tone.MUTED),
             hang=2),
    ]  # fmt: skip


def offered_lines(server: ToolServer, case: Case) -> list[Line]:
    """Return all that a server is and offers, as items to open."""
    name = named(server.name)
    out = [line(("MCP server ", Tone.HEADING), name, right=[STATES[server.state]])]
    rows: list[tuple[str, Given]] = []
    if server.protocol:
        rows.append(("protocol", (short(server.protocol), Tone.PLAIN)))
    if server.log:
        rows.append(("log", (server.log, Tone.CODE)))
    words = "".join(each[0] for each in _calls(case, server.name))
    rows.append(("session", (words, Tone.BAD if calls_of(case, server.name)[1] else Tone.PLAIN)))
    out += columns(rows)
    if server.error:
        out.append(line((" last error: ", Tone.BAD), safe(server.error, multiline=False), hang=3))
    then = "enter shows it, and approves it" if server.standing in TO_REVIEW else "enter shows it"
    out += [
        BLANK,
        line("What starts it  ", STANDINGS[server.standing], hang=2, right=[(then, Tone.MUTED)], ref="start"),
    ]
    out += [BLANK, *_tool_lines(server)]
    if server.prompts:
        out += [
            BLANK,
            line((f"PROMPTS {len(server.prompts)}", Tone.HEADING), ("  enter fills the question", Tone.MUTED)),
        ]
        out += [each for prompt in server.prompts for each in _prompt_item(prompt)]
    if server.resources:
        out += [BLANK, line((f"RESOURCES {len(server.resources)}", Tone.HEADING), ("  enter reads one", Tone.MUTED))]
        for resource in server.resources:
            kind = [(short(resource.media_type, 24), Tone.MUTED)] if resource.media_type else []
            ref = f"resource:{resource.uri}"
            out.append(line("  ", named(resource.name or resource.uri), hang=4, right=kind, ref=ref))
            if resource.about:
                out.append(line(("    ", Tone.MUTED), (short(resource.about, 120), Tone.CODE), hang=4, ref=ref))
    if server.tools or server.prompts or server.resources:
        out += [
            BLANK,
            line(("Names and texts of tools, prompts and resources are the server's words.", Tone.MUTED), hang=2),
        ]
    return out


def _tool_lines(server: ToolServer) -> list[Line]:
    if not server.tools:
        first = "approve what starts it, then " if server.standing in TO_REVIEW else ""
        return [line((f"Its tools are not listed yet: {first}r starts it and lists them.", Tone.MUTED), hang=2)]
    new = sum(tool.standing is Standing.NEW for tool in server.tools)
    more = f"  v reviews the {new} new" if new else ""
    head = line((f"TOOLS {usable(server)} of {len(server.tools)} usable", Tone.HEADING), (more, Tone.WARN))
    out = [head]
    for tool in server.tools:
        word, tone = STANDINGS[tool.standing]
        right = [CLASSES[tool.kind], (f"  {word:<8}", tone)]
        out.append(line("  ", named(tool.name), hang=4, right=right, ref=f"tool:{tool.name}"))
        if tool.notes:
            note = one_line("; ".join(tool.notes), NOTE_CELLS)
            out.append(line((f"    ! {note}", Tone.WARN), hang=6, ref=f"tool:{tool.name}"))
    if server.left_out:
        out.append(line(("  It has more tools than are taken; the rest cannot be used.", Tone.WARN), hang=4))
    return out


def _prompt_item(prompt: ServerPrompt) -> list[Line]:
    ref = f"prompt:{prompt.name}"
    wants = ", ".join(
        f"{short(each, 20)}{' (needed)' if n < prompt.needed else ''}" for n, each in enumerate(prompt.arguments)
    )
    out = [line("  ", named(prompt.name), (f"  takes {wants}" if wants else "", Tone.MUTED), hang=4, ref=ref)]
    if prompt.about:
        out.append(line(("    ", Tone.MUTED), (short(prompt.about, 120), Tone.CODE), hang=4, ref=ref))
    return out


def start_lines(server: ToolServer, width: int) -> list[Line]:
    """Return what starts a server: the difference first where there is one."""
    return _with_changes(server.changes, server.lines, width)


def tool_lines(server: ToolServer, tools: Sequence[OfferedTool], width: int) -> list[Line]:
    """Return what an approval of these tools covers."""
    out: list[Line] = []
    for number, tool in enumerate(tools, start=1):
        count = f"{number} of {len(tools)}  " if len(tools) > 1 else ""
        head = line(
            (f"TOOL {count}", Tone.HEADING), named(tool.name), "  ", CLASSES[tool.kind], "  ", STANDINGS[tool.standing]
        )
        out += [head, *(line((f"! {note}", Tone.WARN), hang=2) for note in tool.notes)]
        out.append(line("models call it ", named(tool.exposed), ("; it says of itself:", Tone.MUTED), hang=2))
        out += [*_with_changes(tool.changes, tool.lines, width), BLANK]
    return out[:-1]


def _with_changes(changes: Sequence[str], lines: Sequence[str], width: int) -> list[Line]:
    if not changes:
        return said_lines(lines, width)
    out = [line(("what changed since it was approved: - before, + now", Tone.WARN), hang=2)]
    out += [*said_lines(changes, width, changes=True), BLANK, line(("all of it now", Tone.HEADING))]
    return out + said_lines(lines, width)
