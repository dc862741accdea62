"""`servers`: the MCP servers whose tools a language model may use, and what a person approved of them, in lines."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from assistant.backend import Backend
from assistant.commands.opening import place_for, settings_of
from assistant.domain.canonical import sha256
from assistant.domain.toolserver import OfferedTool, Standing, ToolClass, ToolServer
from assistant.errors import PilothouseError, UsageError
from assistant.policy.redact import redact_text
from assistant.policy.sanitize import safe
from assistant.toolservers import ToolServers, servers_at_rest

LEAST_DIGEST: Final = 12
"""Characters of a digest that have to be typed: nobody has them who has not seen what they are of."""
EVERY: Final = "*"
"""In place of a tool's name: all that are not approved yet."""
NEEDS: Final = {
    ToolClass.READ: "only reads", ToolClass.ASK: "asks first", ToolClass.ASK_DESTRUCTIVE: "asks first, may destroy",
}  # fmt: skip


def servers(given: argparse.Namespace) -> int:
    """List servers, show one, approve what was shown, or take servers over."""
    match given.action:
        case "list":
            return _list(given)
        case "import":
            return _import(given)
        case "forget":
            return asyncio.run(_forget(given))
        case "show":
            return asyncio.run(_show(given))
        case _:
            return asyncio.run(_approve(given))


def _print(text: str = "") -> None:
    # The words are a server's, and a name in a command line may be a key.
    print(safe(redact_text(text)[0], multiline=False))


def _list(given: argparse.Namespace) -> int:
    found = servers_at_rest(settings_of(given))
    if given.format == "json":
        rows = [{"name": each.name, "standing": each.standing.value, "digest": each.digest} for each in found.servers()]
        print(json.dumps({"file": found.file, "problem": found.problem, "servers": rows}, indent=2))
    elif found.problem:
        _print(found.problem)
    elif not found.servers():
        _print(f"No MCP server is set up. {found.file} would hold them, as other clients write it:")
        _print('  {"mcpServers": {"NAME": {"command": "PROGRAM", "args": ["..."]}}}')
        _print("Or take them over from another client: pilothouse servers import FILE")
    else:
        for each in found.servers():
            starts = next((line for line in each.lines if line.startswith(("command:", "address:"))), "")
            _print(f"{each.name:20} {each.standing.value:9} {starts}")
    return 2 if found.problem else 0


async def _show(given: argparse.Namespace) -> int:
    name, _, tool = str(given.name).partition("/")
    async with _opened(given, name) as (found, server):
        if tool == EVERY:
            _every(await found.look(name))
            return 0
        if tool:
            _tool(server, _named(await found.look(name), tool))
            return 0
        _lines(server.lines, server.changes)
        if server.standing is not Standing.APPROVED:
            _print(
                f"{server.standing.value}; once you have read it: pilothouse servers approve {name} {_short(server)}"
            )
            return 0
        server = await found.look(name)
        _print(f"{server.state.value}, speaks {server.protocol or 'nothing yet'}")
        for each in server.tools:
            _print(f"  {each.name:36} {NEEDS[each.kind]:24} {each.standing.value:9} {each.digest[:LEAST_DIGEST]}")
        if server.left_out:
            _print("  (there are more, which are not taken)")
        for prompt in server.prompts:
            _print(f"  prompt {prompt.name}: {prompt.about}")
        for resource in server.resources:
            _print(f"  resource {resource.uri} {resource.name}")
        if any(each.standing in (Standing.NEW, Standing.CHANGED) for each in server.tools):
            _print(f"Read a tool with: pilothouse servers show {name}/TOOL, all of them with: show '{name}/{EVERY}'")
    return 0


def _tool(server: ToolServer, tool: OfferedTool) -> None:
    _lines(tool.lines, tool.changes)
    _print(f"class: {NEEDS[tool.kind]}")
    if tool.standing is Standing.REFUSED:
        _print("It cannot be used.")
    elif tool.standing is not Standing.APPROVED:
        command = f"pilothouse servers approve {server.name}/{tool.name} {_short(tool)}"
        _print(f"{tool.standing.value}; once you have read it: {command}")


def _every(server: ToolServer) -> None:
    waiting = _waiting(server)
    for each in waiting:
        _lines(each.lines, each.changes)
        _print(f"class: {NEEDS[each.kind]}")
        _print()
    if not waiting:
        _print(f"Every tool of {server.name} that can be used is approved as it is.")
        return
    command = f"pilothouse servers approve '{server.name}/{EVERY}' {_of_all(waiting)[:LEAST_DIGEST]}"
    _print(f"{len(waiting)} tools; once you have read them: {command}")


def _waiting(server: ToolServer) -> list[OfferedTool]:
    return [each for each in server.tools if each.standing in (Standing.NEW, Standing.CHANGED)]


def _of_all(tools: Sequence[OfferedTool]) -> str:
    return sha256(sorted(each.digest for each in tools))


def _lines(lines: Sequence[str], changes: Sequence[str]) -> None:
    for line in lines:
        _print(line)
    if changes:
        _print("changed since it was approved:")
        for line in changes:
            _print(f"  {line}")


async def _approve(given: argparse.Namespace) -> int:
    name, _, tool = str(given.name).partition("/")
    async with _opened(given, name) as (found, server):
        if tool == EVERY:
            waiting = _waiting(await found.look(name))
            _typed(given.digest, _of_all(waiting))
            await found.approve_tools(name, {each.name: each.digest for each in waiting})
        elif tool:
            shown = _named(await found.look(name), tool)
            _typed(given.digest, shown.digest)
            await found.approve_tools(name, {tool: shown.digest})
        else:
            _typed(given.digest, server.digest)
            await found.approve_server(name, server.digest)
    _print(f"{given.name} is approved, as long as it stays what it is.")
    return 0


async def _forget(given: argparse.Namespace) -> int:
    found = servers_at_rest(settings_of(given))
    _server(found, given.name)
    await found.forget(given.name)
    _print(f"Nothing of {given.name} is approved any more.")
    return 0


def _import(given: argparse.Namespace) -> int:
    from assistant.tools.mcp.adding import add
    from assistant.tools.mcp.servers import imported

    settings, theirs = settings_of(given), imported(given.file.expanduser())
    only = {name for name in given.only.split(",") if name}
    chosen = [each for each in theirs.servers if not only or each.name in only]
    for note in theirs.notes:
        _print(f"note: {note}")
    if missing := only - {each.name for each in chosen}:
        raise UsageError(f"{given.file} has no server {', '.join(sorted(missing))}.", "Leave --only out to see them.")
    if not chosen:
        _print(f"There is no server in {given.file} that can be taken over.")
        return 2
    add(settings.mcp_file, chosen, [name for name in given.allow_env.split(",") if name])
    for each in chosen:
        _print(f"{each.name} was added to {settings.mcp_file}; next: pilothouse servers show {each.name}")
    return 0


@asynccontextmanager
async def _opened(given: argparse.Namespace, name: str) -> AsyncIterator[tuple[ToolServers, ToolServer]]:
    """Yield the servers, over a gate where the cluster can be opened, and the one that is meant."""
    from assistant.wiring import tool_servers

    settings = settings_of(given)
    server = _server(servers_at_rest(settings_of(given)), name)
    if server.standing is not Standing.APPROVED:
        # It is not started, so no cluster is needed for it.
        yield servers_at_rest(settings_of(given)), server
        return
    backend = Backend(settings, place_for(given))
    try:
        try:
            await backend.open()
        except PilothouseError as error:
            print(safe(f"note: {error.meaning} The server starts without a cluster.", multiline=False), file=sys.stderr)
            found = servers_at_rest(settings_of(given))
        else:
            found = tool_servers(settings, backend, None)
        try:
            yield found, server
        finally:
            await found.close()
    finally:
        await backend.close()


def _server(found: ToolServers, name: str) -> ToolServer:
    if found.problem:
        raise UsageError(found.problem, "")
    known = {each.name: each for each in found.servers()}
    if name not in known:
        raise UsageError(
            f"There is no MCP server {name!r} in {found.file}.", f"There are: {', '.join(known) or 'none'}."
        )
    return known[name]


def _named(server: ToolServer, tool: str) -> OfferedTool:
    found = next((each for each in server.tools if each.name == tool), None)
    if found is None:
        raise UsageError(
            f"{server.name} has no tool {tool!r}.", f"See them with: pilothouse servers show {server.name}"
        )
    return found


def _typed(given: str, digest: str) -> None:
    if len(given) < LEAST_DIGEST or not digest.startswith(given):
        raise UsageError(
            "That is not the digest of what stands there now.",
            f"Read it with `pilothouse servers show`, and type {LEAST_DIGEST} characters or more of its digest.",
        )


def _short(shown: ToolServer | OfferedTool) -> str:
    return shown.digest[:LEAST_DIGEST]
