"""`propose_change`: hands a change to the gate, and says what became of one. Nothing here can approve."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from assistant.domain.case import Case, ProposalCase
from assistant.domain.proposal import LineOrigin, Proposal, ProposalState
from assistant.errors import UsageError
from assistant.mcpserver.answers import answered, result, visible_value
from assistant.mcpserver.ports import Sessions
from assistant.mcpserver.reports import target_of
from assistant.mcpserver.shapes import Change
from assistant.mcpserver.turns import Turns
from assistant.session.runner import Session
from assistant.wire import to_builtins

HOLD: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
"""A call alone changes no cluster, but what comes of it may, once a person approves: so it says the worst."""
MOST_DIFF_LINES: Final = 200
LARGEST_PATCH: Final = 20_000
_MEANINGS: Final = {
    ProposalState.OPEN: "It waits for a person; nothing was changed.",
    ProposalState.APPROVED: "A person approved it; it is about to be sent.",
    ProposalState.DENIED: "A person denied it; nothing was changed.",
    ProposalState.EXPIRED: "Nobody decided in time; nothing was changed. Propose it again if it is still right.",
    ProposalState.REFUSED: "The gate refused it; nothing was changed.",
    ProposalState.WITHDRAWN: "It was taken back; nothing was changed.",
    ProposalState.VOID: "It is void, because the gate that held it ended or the cluster changed; nothing was changed.",
    ProposalState.SENDING: "It is being sent.",
    ProposalState.APPLIED: "A person approved it and the cluster took it.",
    ProposalState.FAILED: "A person approved it and the cluster refused it.",
    ProposalState.UNKNOWN: "It was sent and no answer came; it is never sent again. Look at the object.",
}

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?$")]


class Patch(BaseModel):
    """A change of one object that exists: the fields that change, and nothing else."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9.-]+$",
        description="Like Deployment; with its group where it is not unique: Kind.group.",
    )
    name: Name
    namespace: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
        description="Empty for objects of the whole cluster.",
    )
    patch: dict[str, Any] = Field(
        min_length=1,
        description="The fields to change, nested as in the object. Entries of lists are matched by name for built-in "
        "kinds (strategic merge patch); for other kinds a list replaces the whole list (merge patch).",
    )
    why: str = Field(min_length=1, max_length=500, description="One sentence for the person who has to decide.")


SessionName = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63})?$",
        description="The session whose remedy it is; for a patch, the session that it follows from, or empty.",
    ),
]
RemedyName = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z]{1,3}[0-9]{1,6})?$",
        description="Id of a fix of that session's answer, like A1; else empty.",
    ),
]
ProposalName = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63})?$",
        description="Id of a change proposed before: says what became of it and proposes nothing.",
    ),
]


def add_proposing_tool(server: MCPServer[Any], sessions: Sessions, turns: Turns) -> None:
    """Add the one tool that leads towards a change."""
    patches = Patches(sessions, turns)

    @server.tool(title="Propose a change", annotations=HOLD)
    async def propose_change(
        context: Context[Any, Any],
        session: SessionName = "",
        remedy: RemedyName = "",
        patch: Annotated[Patch | None, Field(description="A change of your own, instead of a remedy.")] = None,
        proposal: ProposalName = "",
    ) -> Annotated[CallToolResult, Change]:
        """Hand a change to Pilothouse's gate, where it waits until a person approves it in a terminal; nobody else can.

        Give exactly one of: `remedy` (with its `session`), `patch`, or `proposal` (to hear what became of one). The
        answer holds the server's dry run as a diff, the risk and the command for the person. It returns at once.
        """

        async def work() -> CallToolResult:
            if sum((bool(remedy), patch is not None, bool(proposal))) != 1:
                raise UsageError("Exactly one of remedy, patch and proposal is needed.", "Leave the others out.")
            if proposal:
                return await _became(sessions, session, proposal)
            asker = f"the MCP client {_client(context)}"
            if patch is not None:
                return await patches.propose(session, patch, asker)
            held = _held(sessions, session, remedy)
            made = await _whole(held.review(remedy, asker))
            return _said(held.case, made)

        return await answered(work())


def _client(context: Context[Any, Any]) -> str:
    params = context.request_context.session.client_params
    return params.client_info.name[:60] if params else "that does not say its name"


def _held(sessions: Sessions, session: str, remedy: str) -> Session:
    if not session:
        raise UsageError("A remedy needs the session whose answer names it.", "Give session and remedy.")
    held = sessions.held(session)
    if held is None:
        raise UsageError(
            f"Session {session} is not open in this server, so {remedy} cannot be proposed.",
            "Ask the question again with diagnose: the cluster may have changed meanwhile.",
        )
    return held


class Patches:
    """Proposes what no remedy names. Those without a session share one, so that the gate's bounds hold for them all."""

    def __init__(self, sessions: Sessions, turns: Turns) -> None:
        """Keep the parts; no session is opened yet."""
        self._sessions = sessions
        self._turns = turns
        self._shared = ""
        self._opening = asyncio.Lock()

    async def propose(self, session: str, given: Patch, asker: str) -> CallToolResult:
        """Hand a patch to the gate. Raises PilothouseError; then nothing waits."""
        if len(given.model_dump_json()) > LARGEST_PATCH:
            raise UsageError("The patch is too large.", "Only the fields that change belong into it.")
        action = await self._sessions.patch(given.kind, given.namespace, given.name, given.patch)
        held = _held(self._sessions, session, "the patch") if session else await self._own()
        made = await _whole(held.propose(action, f"{given.why} (asked for by {asker})"))
        return _said(held.case, made)

    async def _own(self) -> Session:
        async with self._opening:
            held = self._sessions.held(self._shared)
            if held is None:
                held = await self._turns.opened("")
                self._shared = held.id
            return held


async def _whole(proposing: Coroutine[Any, Any, Proposal]) -> Proposal:
    # A client that gives up half-way must not leave a change at the gate that no session waits for.
    task = asyncio.ensure_future(proposing)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


async def _became(sessions: Sessions, session: str, proposal: str) -> CallToolResult:
    held = sessions.holder(proposal)
    if held is not None:
        case = held.case
    elif session:
        case, _ = await sessions.case(session)
    else:
        raise UsageError(
            f"No open session of this server proposed {proposal}.", "Give the session that it was proposed in, too."
        )
    known = case.proposal(proposal)
    if known is None:
        raise UsageError(f"Session {case.session} has no change {proposal}.", "list_sessions names the sessions.")
    return _said(case, known.proposal)


def _said(case: Case, proposal: Proposal) -> CallToolResult:
    item = case.proposal(proposal.id) or ProposalCase(proposal)
    said = visible_value(change(case.session, item, _successor(case, proposal.id)))
    lines = [f"{said['proposal']}: {said['title']} (risk {said['risk']}). {said['state']}: {said['meaning']}"]
    if said["not_approvable"]:
        lines.append(f"It cannot be approved: {said['not_approvable']}")
    if said["approve_with"]:
        lines.append(f"A person reads and decides in a terminal: {said['approve_with']}")
        lines.append("Call propose_change with this proposal id to hear what became of it.")
    lines += [text for text in (said["outcome"], said["verified"], said["reason"]) if text]
    if said["superseded_by"]:
        lines.append(f"It was superseded by {said['superseded_by']}, which waits instead.")
    return result("\n".join([*lines, *said["diff"]]), said)


def change(session: str, item: ProposalCase, successor: str) -> dict[str, Any]:
    """Return what the schema `Change` holds. The digest is not in it: a person reads it off the card."""
    proposal, decision, outcome = item.proposal, item.decision, item.outcome
    waits = item.state is ProposalState.OPEN
    return {
        "proposal": proposal.id,
        "session": session,
        "state": item.state.value,
        "meaning": _MEANINGS[item.state],
        "title": proposal.title,
        "target": target_of(proposal.action.target),
        "risk": proposal.risk.level.value,
        "risk_reasons": list(proposal.risk.reasons),
        "kubectl": proposal.kubectl,
        "diff": _diff(proposal)[:MOST_DIFF_LINES],
        "undo": proposal.undo.text,
        "approvable": proposal.approvable,
        "not_approvable": proposal.not_approvable,
        "expires": to_builtins(proposal.expires),
        "approve_with": f"pilothouse approvals show {proposal.id}" if waits else "",
        "decided_by": decision.by if decision else "",
        "reason": decision.reason if decision else "",
        "outcome": " ".join(str(part) for part in (outcome.status_code or "", outcome.message) if part)
        if outcome
        else "",
        "verified": item.verified.healing.value if item.verified else "",
        "superseded_by": successor,
    }


def _diff(proposal: Proposal) -> list[str]:
    marks = {LineOrigin.OURS: "", LineOrigin.SERVER: "  (the server's own)"}
    shown = [line for line in proposal.diff if line.origin in marks]
    return [f"{line.sign} {line.text}{marks[line.origin]}" for line in shown]


def _successor(case: Case, proposal: str) -> str:
    return next((item.proposal.id for item in case.proposals if item.proposal.supersedes == proposal), "")
