"""The session's side of the control API: `domain.ports.Gate` over HTTP, every fault a typed error."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import aiohttp
import msgspec

from assistant.domain.action import Action
from assistant.domain.event import Concluded, Decided, Proposed, Sending
from assistant.domain.ports import GateInfo
from assistant.domain.proposal import Consent, Decision, Origin, Outcome, Proposal, ProposalState
from assistant.errors import GateError
from assistant.policy.limits import SEND_SECONDS
from assistant.wire import convert, payload_from_builtins, to_builtins

T = TypeVar("T")
# Longer than the gate's own limits for a preview or for sending, so that its answer comes before ours.
_TIMEOUT_SECONDS = SEND_SECONDS + 60.0
_SILENCE_SECONDS = 45.0
_GONE_HINT = "Pilothouse starts a new gate; open approvals are void."


class GateGoneError(GateError):
    """The gate does not answer any more; what was sent through it may have happened."""

    code = "gate-gone"


class GateRefusedError(GateError):
    """The gate answered and refused; `code` is its own."""

    def __init__(self, code: str, meaning: str, hint: str, detail: str) -> None:
        """Keep the gate's own code."""
        super().__init__(meaning, hint, detail=detail)
        self.code = code


class ControlClient:
    """Implements `domain.ports.Gate`. One per gate; close it at the end."""

    def __init__(self, url: str, token: str, ca_pem: str) -> None:
        """Keep the address; nothing is connected yet. `journal` is the last entry of the gate's journal heard of."""
        self.journal = ""
        self._url = url.rstrip("/") + "/pilothouse/v1/"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls = ssl.create_default_context(cadata=ca_pem)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ControlClient:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, trust_env=False)
            # A decision or an execute that is sent twice is harmless at the gate; it is still not ours to repeat.
            self._session._retry_connection = False
        return self._session

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with self._open().request(
                method, self._url + path, json=body, timeout=timeout, allow_redirects=False
            ) as answer:
                value = json.loads(await answer.read())
                self.journal = answer.headers.get("Pilothouse-Journal", self.journal)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GateGoneError("The gate does not answer.", _GONE_HINT, detail=type(error).__name__) from error
        except ValueError as error:
            raise GateError("The gate's answer cannot be read.", "Check what listens at its address.") from error
        if status >= 400:
            fault = value if isinstance(value, dict) else {}
            meaning = str(fault.get("meaning") or fault.get("message") or f"The gate answered HTTP {status}.")
            code, hint = str(fault.get("code") or "gate"), str(fault.get("hint") or "")
            raise GateRefusedError(code, meaning, hint, str(fault.get("detail") or ""))
        return value

    async def info(self) -> GateInfo:
        """Return what is behind the gate. Raises GateError."""
        return _read(GateInfo, await self._ask("GET", "info"))

    async def kubeconfig_for(self, name: str) -> str:
        """Return the path of the guarded kubeconfig of a client by name, made at the first call. Raises GateError."""
        return _read(str, (await self._ask("POST", "clients", {"name": name})).get("kubeconfig"))

    async def propose(self, action: Action, origin: Origin, key: str) -> Proposal:
        """Have the gate examine a change. The same `key` returns the same open proposal. Raises GateError."""
        body = {"action": to_builtins(action), "origin": to_builtins(origin), "key": key}
        return _read(Proposal, await self._ask("POST", "proposals", body))

    async def recheck(self, proposal_id: str) -> Proposal:
        """Examine an open proposal again; a changed result is a new proposal that supersedes it. Raises GateError."""
        return _read(Proposal, await self._ask("POST", f"proposals/{proposal_id}/recheck"))

    async def decide(self, decision: Decision) -> ProposalState:
        """Hand over a decision. Raises GateError, with code `not-decided` where the proposal still waits."""
        state, meaning = await self.decide_with_meaning(decision)
        if state is ProposalState.OPEN:
            raise GateRefusedError("not-decided", meaning, "It still waits.", "")
        return state

    async def decision(self, proposal_id: str) -> Decision | None:
        """Return the decision as the gate took it, None while there is none. Raises GateError."""
        found = (await self._ask("GET", f"proposals/{proposal_id}")).get("decision")
        return None if found is None else _read(Decision, found)

    async def decided_alone(self) -> tuple[tuple[Proposal, Decision, ProposalState], ...]:
        """Return the changes on which one person went on alone although two were asked for. Raises GateError."""
        rows = [row for row in await self._ask("GET", "proposals") if row.get("decision")]
        found = [(_read(Proposal, r["proposal"]), _read(Decision, r["decision"]), r["state"]) for r in rows]
        return tuple((p, d, _read(ProposalState, state)) for p, d, state in found if d.break_glass)

    async def decide_with_meaning(self, decision: Decision) -> tuple[ProposalState, str]:
        """Hand over a decision; returns the state it led to and the gate's sentence on it. Raises GateError."""
        value = await self._ask("POST", f"proposals/{decision.proposal}/decision", to_builtins(decision))
        return _read(ProposalState, value.get("state")), str(value.get("meaning") or "")

    async def agree(self, consent: Consent) -> Proposal:
        """Hand over a second person's signed agreement. Raises GateError for one that does not count."""
        return _read(Proposal, await self._ask("POST", f"proposals/{consent.proposal}/second", to_builtins(consent)))

    async def stop(self, by: str, why: str) -> int:
        """Void all that waits and stop every change for good; returns how many that ended. Raises GateError."""
        return _read(int, (await self._ask("POST", "stop", {"by": by, "why": why})).get("ended"))

    async def execute(self, proposal_id: str) -> Outcome:
        """Send an approved proposal of our own, once; called again, return the recorded outcome. Raises GateError."""
        return _read(Outcome, await self._ask("POST", f"proposals/{proposal_id}/execute"))

    async def withdraw(self, proposal_id: str, why: str = "") -> None:
        """Take back a proposal; whoever waits for it is told why. Raises GateError."""
        await self._ask("POST", f"proposals/{proposal_id}/withdraw", {"why": why} if why else None)

    async def outcome(self, proposal_id: str) -> Outcome | None:
        """Return what came of a proposal of this or an ended gate, None while nothing has. Raises GateError."""
        found = (await self._ask("GET", f"proposals/{proposal_id}")).get("outcome")
        return None if found is None else _read(Outcome, found)

    async def proposals(self) -> tuple[tuple[Proposal, ProposalState], ...]:
        """Return every proposal that the gate holds. Raises GateError."""
        rows = await self._ask("GET", "proposals")
        return tuple((_read(Proposal, row["proposal"]), _read(ProposalState, row["state"])) for row in rows)

    async def watch(self) -> AsyncIterator[Proposed | Decided | Sending | Concluded]:
        """Follow what happens at the gate until the connection ends, which raises GateGoneError."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_SILENCE_SECONDS)
        try:
            async with self._open().get(self._url + "events", timeout=timeout, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise GateError("The gate refuses to tell what happens.", "Check the control token.")
                buffer = b""
                async for chunk in answer.content.iter_any():
                    buffer += chunk
                    *blocks, buffer = buffer.split(b"\n\n")
                    for block in blocks:
                        event = _event(block)
                        if event is not None:
                            yield event
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GateGoneError("The gate does not answer.", _GONE_HINT, detail=type(error).__name__) from error
        await asyncio.sleep(0)
        raise GateGoneError("The gate ended the stream of events.", _GONE_HINT)


def _event(block: bytes) -> Proposed | Decided | Sending | Concluded | None:
    if not block.startswith(b"data: "):
        return None
    try:
        payload = payload_from_builtins(json.loads(block[6:]))
    except ValueError as error:
        raise GateError("An event of the gate cannot be read.", "Update Pilothouse on both sides.") from error
    return payload if isinstance(payload, Proposed | Decided | Sending | Concluded) else None


def _read(kind: type[T], value: Any) -> T:
    try:
        return convert(kind, value)
    except msgspec.ValidationError as error:
        raise GateError(
            "The gate's answer has the wrong shape.", "Update Pilothouse.", detail=str(error)[:200]
        ) from error
