"""What a client may attach to a conversation: sessions as reports, and the practice incidents."""

from __future__ import annotations

from typing import Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from assistant.errors import PilothouseError
from assistant.mcpserver.answers import visible
from assistant.mcpserver.ports import Sessions
from assistant.plain.markdown import literal, report
from assistant.practice import incident, incidents

MARKDOWN: Final = "text/markdown"
LONGEST_REPORT: Final = 200_000
LISTED: Final = 50


def add_resources(server: MCPServer[Any], sessions: Sessions) -> None:
    """Add the resources; each is read when it is asked for."""

    @server.resource(
        "pilothouse://sessions", name="sessions", title="Recorded investigations", mime_type=MARKDOWN,
        description="The latest sessions on this machine, with the address of each report.",
    )  # fmt: skip
    async def latest() -> str:
        try:
            rows = await sessions.list(LISTED)
        except PilothouseError as error:
            raise _resource_error(error) from error
        lines = [f"- pilothouse://sessions/{item.row.id} {literal(item.row.title or 'nothing asked')}" for item in rows]
        return visible("\n".join(["# Sessions", "", *(lines or ["There are none yet."])]))

    @server.resource(
        "pilothouse://sessions/{session}", name="session", title="Report of a session", mime_type=MARKDOWN,
        description="One investigation: question, answer, findings, evidence, changes. `last` is the newest.",
    )  # fmt: skip
    async def one(session: str) -> str:
        try:
            case, cut = await sessions.case(session)
        except PilothouseError as error:
            raise _resource_error(error) from error
        text = visible(report(case, cut=cut))
        return text if len(text) <= LONGEST_REPORT else f"{text[:LONGEST_REPORT]}\n\n… cut here."

    @server.resource(
        "pilothouse://incidents", name="incidents", title="Practice incidents", mime_type=MARKDOWN,
        description="Recorded clusters with a real fault, to practise on.",
    )  # fmt: skip
    def practice() -> str:
        lines = [f"- pilothouse://incidents/{item.name} {item.title}" for item in incidents()]
        return "\n".join(["# Practice incidents", "", *lines])

    @server.resource(
        "pilothouse://incidents/{name}", name="incident", title="A practice incident", mime_type=MARKDOWN,
        description="What its users say, and how to open it. The fault is for you to find.",
    )  # fmt: skip
    def practised(name: str) -> str:
        try:
            item = incident(name)
        except PilothouseError as error:
            raise _resource_error(error) from error
        how = f"Open it: `pilothouse practice {item.name}`"
        return "\n\n".join([f"# {item.title}", item.symptom, f"Namespace: {item.namespace}", how])


def _resource_error(error: PilothouseError) -> ResourceError:
    text = visible(f"{error.meaning} {error.hint} ({error.code})")
    missing = error.code in ("usage", "store", "store-missing")
    return ResourceNotFoundError(text) if missing else ResourceError(text)
