"""What `doctor` says of MCP servers: whether each is there, approved, starts, and offers what was approved."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from assistant.backend import Backend
from assistant.commands.checks import Line, State
from assistant.config import Settings
from assistant.domain.toolserver import Standing, ToolClass, ToolServer
from assistant.errors import PilothouseError
from assistant.toolservers import ToolServers, servers_at_rest

WHAT: Final = "mcp server"
START_SECONDS: Final = 20.0
"""For all of them together; they are started at once."""


async def servers_checked(settings: Settings, backend: Backend | None) -> list[Line]:
    """Return a line for each server; approved ones are started, over the gate of `backend` where there is one."""
    from assistant.wiring import tool_servers

    found = tool_servers(settings, backend, None) if backend is not None else servers_at_rest(settings)
    if found.problem:
        return [Line(State.FAIL, WHAT, found.problem, "Until then a model has Pilothouse's own tools alone.")]
    try:
        servers = found.servers()
    except PilothouseError as error:
        return [Line(State.FAIL, WHAT, error.meaning, error.hint)]
    if not servers:
        return [Line(State.OK, WHAT, f"none is set up in {found.file}")]
    try:
        bare = "" if backend else "It was started without a cluster, because that cannot be used."
        return list(await asyncio.gather(*(_checked(found, each, bare) for each in servers)))
    finally:
        await found.close()


async def _checked(found: ToolServers, server: ToolServer, bare: str) -> Line:
    name, show = server.name, f"pilothouse servers show {server.name}"
    if "program: not there" in server.lines:
        command = next((line for line in server.lines if line.startswith("command: ")), "")
        return Line(
            State.WARN, WHAT, f"{name}: its program is not there ({command})", f"Install it, or mend {found.file}."
        )
    if server.standing is Standing.NEW:
        return Line(State.WARN, WHAT, f"{name}: nobody has approved it, so it is not started", f"Read it: {show}")
    if server.standing is not Standing.APPROVED:
        count = sum(line.startswith(("+", "-")) for line in server.changes)
        found_ = f"{name}: what starts it is not what was approved ({count} lines differ), so it is not started"
        return Line(State.WARN, WHAT, found_, f"Read the difference: {show}")
    try:
        async with asyncio.timeout(START_SECONDS):
            offered = await found.look(name)
    except TimeoutError:
        return Line(State.WARN, WHAT, f"{name}: did not start within {START_SECONDS:.0f} s", _log(found, name))
    except PilothouseError as error:
        detail = f" ({error.detail.splitlines()[-1][:160]})" if error.detail else ""
        return Line(
            State.WARN,
            WHAT,
            f"{name}: {error.meaning}{detail}",
            " ".join(filter(None, (bare or error.hint, _log(found, name)))),
        )
    standings = Counter(tool.standing for tool in offered.tools)
    reads = sum(tool.kind is ToolClass.READ and tool.standing is Standing.APPROVED for tool in offered.tools)
    said = f"{name}: ready, speaks {offered.protocol}; {standings[Standing.APPROVED]} of {len(offered.tools)} tools"
    said += f" approved, {reads} of them only read"
    changed = standings[Standing.CHANGED]
    if changed:
        return Line(State.WARN, WHAT, f"{said}; {changed} changed since and are off", f"Read the difference: {show}")
    waiting = standings[Standing.NEW]
    return Line(State.OK, WHAT, said, f"{waiting} wait for your approval: {show}" if waiting else "")


def _log(found: ToolServers, name: str) -> str:
    log = next((each.log for each in found.servers() if each.name == name), "")
    return f"What it said is in {log}." if log else ""
