"""The control side: what the session process and `pilothouse approvals` may ask (docs/architecture.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Container
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from assistant.domain.action import Action
from assistant.domain.ports import GateInfo
from assistant.domain.proposal import Consent, Decision, Origin, Proposal, ProposalState
from assistant.errors import ClusterError, GateError, PilothouseError, StoreError
from assistant.gate.broker import Broker, Held
from assistant.gate.clients import SESSION, Kubeconfigs
from assistant.gate.prepare import Prepared, parse_body
from assistant.policy.api_path import Refused
from assistant.policy.classify import CRITICAL, DRY_RUN, WRITE, classify, with_body
from assistant.policy.limits import MAX_REQUEST_BODY_BYTES
from assistant.policy.redact import has_placeholder
from assistant.policy.sanitize import safe
from assistant.store.journal import Journal
from assistant.wire import convert, decode, encode, payload_to_builtins, to_builtins

PREFIX = "/pilothouse/v1/"
# The last entry of the journal, with every answer: the session keeps it, so that a journal cut off later shows.
JOURNAL_HEADER = "Pilothouse-Journal"
_PING_SECONDS = 15.0


class _Withdrawal(msgspec.Struct, frozen=True):
    why: str = ""


class _Stop(msgspec.Struct, frozen=True):
    by: str
    why: str = ""


class _Client(msgspec.Struct, frozen=True):
    name: str


class ControlApi:
    """Answers requests that carry the control token."""

    def __init__(
        self, broker: Broker, info: GateInfo, protected: Container[str], journal: Journal, kubeconfigs: Kubeconfigs
    ) -> None:
        """Keep the parts; every write in a protected namespace is critical."""
        self._journal = journal
        self._kubeconfigs = kubeconfigs
        self._protected = protected
        self._broker = broker
        self._info = info

    async def handle(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one request below the prefix; faults are `{code, meaning, hint, detail}`."""
        response = await self._answer(request, path)
        if not response.prepared:
            response.headers[JOURNAL_HEADER] = self._broker.journal
        return response

    async def _answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        try:
            return await self._route(request, path.split("/"))
        except Refused as refused:
            return _fault(refused.code, refused.rule, f"The gate refused this change: {refused.meaning}")
        except msgspec.ValidationError as error:
            return _fault(400, "bad-request", "The request has the wrong shape.", str(error)[:300])
        except ValueError as error:
            return _fault(400, "bad-request", "The request is not JSON.", str(error)[:300])
        except PilothouseError as error:
            status = 404 if error.code == "no-such-proposal" else 409 if isinstance(error, GateError) else 502
            return _fault(status, error.code, error.meaning, error.detail, error.hint)

    async def _route(self, request: web.BaseRequest, parts: list[str]) -> web.StreamResponse:
        match request.method, parts:
            case "GET", ["info"]:
                return _json(to_builtins(replace(self._info, stopped=self._broker.stopped)))
            case "POST", ["stop"]:
                stop = decode(_Stop, await _read(request))
                return _json({"ended": self._broker.stop(stop.by, stop.why), "meaning": self._broker.stopped})
            case "GET", ["clients"]:
                return _json(self._kubeconfigs.paths())
            case "POST", ["clients"]:
                name = decode(_Client, await _read(request)).name
                return _json({"name": name, "kubeconfig": str(self._kubeconfigs.issue(name))}, 201)
            case "POST", ["proposals"]:
                return await self._propose(await _read(request))
            case "GET", ["proposals"]:
                return _json([self._row(proposal, state) for proposal, state in self._broker.listed()])
            case "GET", ["proposals", proposal_id]:
                return self._one(proposal_id)
            case "POST", ["proposals", proposal_id, "recheck"]:
                return _json(to_builtins((await self._broker.recheck(proposal_id)).proposal))
            case "POST", ["proposals", proposal_id, "decision"]:
                decision = decode(Decision, await _read(request))
                if decision.proposal != proposal_id:
                    raise ValueError("the decision is about another proposal")
                state, meaning = await self._broker.decide(decision)
                return _json({"state": state.value, "meaning": meaning})
            case "POST", ["proposals", proposal_id, "second"]:
                consent = decode(Consent, await _read(request))
                if consent.proposal != proposal_id:
                    raise ValueError("the agreement is about another proposal")
                return _json(to_builtins((await self._broker.agree(consent)).proposal))
            case "POST", ["proposals", proposal_id, "execute"]:
                return _json(to_builtins(await self._broker.execute(proposal_id)))
            case "POST", ["proposals", proposal_id, "withdraw"]:
                why = decode(_Withdrawal, await _read(request) or b"{}").why
                return _json({"state": self._broker.withdraw(proposal_id, why).value})
            case "GET", ["events"]:
                return await self._events(request)
            case _:
                return _fault(404, "no-such-request", "The gate has no such control request.")

    def _row(self, proposal: Proposal, state: ProposalState) -> dict[str, Any]:
        row: dict[str, Any] = {"proposal": to_builtins(proposal), "state": state.value}
        held = self._held(proposal.id)
        if held is not None and held.decision is not None:
            row["decision"] = to_builtins(held.decision)
        return row

    def _one(self, proposal_id: str) -> web.Response:
        for proposal, state in self._broker.listed():
            if proposal.id == proposal_id:
                found = self._row(proposal, state)
                held = self._held(proposal_id)
                if held is not None and held.outcome is not None:
                    found["outcome"] = to_builtins(held.outcome)
                if "outcome" in found or held is not None:
                    return _json(found)
        ended = self._broker.ended(proposal_id)
        if ended is None:
            return _fault(404, "no-such-proposal", "The gate holds no such change.")
        proposal, outcome = ended
        return _json({"proposal": to_builtins(proposal), "state": outcome.state.value, "outcome": to_builtins(outcome)})

    def _held(self, proposal_id: str) -> Held | None:
        try:
            return self._broker.get(proposal_id)
        except GateError:
            return None

    async def _propose(self, data: bytes) -> web.Response:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("the request is not an object")
        action = convert(Action, value.get("action"))
        origin = replace(convert(Origin, value.get("origin")), token=SESSION)
        try:
            held = await self._held_change(action, origin, str(value.get("key") or ""))
        except (Refused, ClusterError) as error:
            # The record of a refusal is no condition for refusing.
            with contextlib.suppress(StoreError):
                rule = error.rule if isinstance(error, Refused) else error.code
                said = {"method": action.method, "path": safe(action.path, multiline=False)[:500], "rule": rule}
                self._journal.refused({**said, "client": origin.client, "token": SESSION, "session": origin.session})
            raise
        return _json(to_builtins(held.proposal), 201)

    async def _held_change(self, action: Action, origin: Origin, key: str) -> Held:
        asked = Prepared(action.method, action.path, action.query, action.content_type, action.body)
        # The same reading as for foreign requests: our own have no other rights.
        verdict = classify(action.method, asked.raw_target, protected=self._protected)
        if verdict.path != action.path:
            raise Refused("path-tricks", "the path reads differently once it is encoded.")
        if has_placeholder(action.body):
            raise Refused("placeholder", "it carries a value that was taken out of an answer.", 422)
        verdict = with_body(verdict, parse_body(action.content_type, action.body.encode()))
        if verdict.request_class is DRY_RUN or verdict.request_class not in (WRITE, CRITICAL):
            raise Refused("not-a-change", "it is not a change.")
        if verdict.rule.startswith(("connect-", "unknown-")):
            raise Refused(verdict.rule, "the gate does not know what it would do.", 403)
        return await self._broker.propose(verdict, asked, origin, key, own=True)

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        async with self._broker.news.listen() as queue:
            await response.prepare(request)
            await response.write(b": open\n\n")
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), _PING_SECONDS)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                await response.write(b"data: " + encode(payload_to_builtins(event)) + b"\n\n")


async def _read(request: web.BaseRequest) -> bytes:
    data = b""
    async for chunk in request.content.iter_any():
        data += chunk
        # A body of the largest allowed change, as a JSON string, can double.
        if len(data) > 2 * MAX_REQUEST_BODY_BYTES:
            raise ValueError("the request is too large")
    return data


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json")


def _fault(status: int, code: str, meaning: str, detail: str = "", hint: str = "") -> web.Response:
    return _json({"code": code, "meaning": meaning, "hint": hint, "detail": detail}, status)
