"""Makes a Proposal of what has no dry run: a session in a pod, a proxied request, a sensitive read.

Apart from the examiner of changes because nothing here is an object with a before and an after; the life cycle, the
digest and the card are the same.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from assistant.domain.action import Action, RequestClass, RiskLevel
from assistant.domain.proposal import Check, CheckResult, DiffLine, Impact, Origin, Proposal, Risk, Undo
from assistant.domain.target import Target
from assistant.errors import ClusterError
from assistant.gate.prepare import Prepared, bound_version, parse_body
from assistant.gate.preview import Examined, Examiner
from assistant.policy.api_path import ApiPath, Refused
from assistant.policy.classify import Verdict
from assistant.policy.connect import (
    Connect,
    connects,
    container_problem,
    impact_of_connect,
    kubectl_of_connect,
    lines_of_connect,
    read_connect,
    title_of_connect,
)
from assistant.policy.surroundings import Obj, at
from assistant.policy.whynot import approvable_if, closing

_HIDDEN = "It carries a value that looks secret and is not shown, so what would run cannot be read."
_INSTEAD = "Pass the value another way, from a file or by the session's input."


@dataclass(frozen=True, slots=True)
class _Card:
    """What differs between one kind of proposal and the other."""

    title: str
    kubectl: str
    lines: tuple[DiffLine, ...]
    checks: tuple[Check, ...]
    impact: tuple[Impact, ...]
    risk: Risk
    undo: str
    body: str = ""
    closed: str = ""


class ConnectExaminer(Examiner):
    """Examines changes, and also what is held without being one."""

    async def examine(self, verdict: Verdict, asked: Prepared, origin: Origin, supersedes: str = "") -> Examined:
        """Return the proposal for a request. Raises Refused or ClusterError when there can be none."""
        if connects(verdict) and verdict.api is not None:
            return await self._connect(verdict, verdict.api, asked, origin, supersedes)
        if verdict.request_class is RequestClass.SENSITIVE:
            return await self._sensitive(verdict, asked, origin, supersedes)
        return await super().examine(verdict, asked, origin, supersedes)

    async def moved(self, examined: Examined, *, sending: bool = False) -> str:
        """Return what is no longer as it was shown, "" for nothing. Raises ClusterError."""
        if not examined.prepared.raw:
            return await super().moved(examined, sending=sending)
        _, live = await self.live(examined.live_target)
        if not bound_version(examined.proposal, live):
            return "The object changed since you looked"
        access = await self._access_now(examined.verdict)
        return f"It is no longer allowed ({access.text})" if access.result is CheckResult.FAIL else ""

    async def _access_now(self, verdict: Verdict) -> Check:
        api = verdict.api
        if api is None:
            return await self._access.for_path(verdict.path)
        # RBAC knows the subresource `proxy`, not what is asked behind it.
        return await self._access.for_change(verdict.verb, replace(api, sub=api.sub.partition("/")[0]), exists=True)

    async def _connect(
        self, verdict: Verdict, api: ApiPath, asked: Prepared, origin: Origin, supersedes: str
    ) -> Examined:
        wanted = read_connect(verdict, asked.carried)
        where = _object_path(wanted)
        _, live = await self.live(where)
        if live is None:
            raise Refused("not-found", f"there is no {wanted.kind} {wanted.name}.", 404)
        target = Target("v1", wanted.kind, wanted.namespace, wanted.name, str(at(live, "metadata", "uid", default="")))
        if not target.uid:
            raise ClusterError("What to connect to has no uid, so nothing can be bound to it.", "Look at the object.")
        access = await self._access_now(verdict)
        bound = f"Bound to uid {target.uid}, whatever its state; looked at again right before it opens."
        checks = [access, Check("fresh", CheckResult.PASS, bound)]
        if problem := container_problem(wanted, live):
            checks.append(Check("container", CheckResult.WARN, problem))
        reasons = [f"critical by its request ({verdict.rule})", "what happens in it cannot be seen"]
        if self._production:
            reasons.append("the cluster is marked as production")
        shown = replace(wanted, command=tuple(self._redactor.object(list(wanted.command))[0]))
        card = _Card(
            title_of_connect(shown, target),
            kubectl_of_connect(shown, asked.raw_target),
            lines_of_connect(shown, target, asked.body),
            tuple(checks),
            impact_of_connect(wanted, live),
            Risk(RiskLevel.CRITICAL, tuple(reasons)),
            "none: what is done through it cannot be undone by Pilothouse",
            asked.body,
            # A hidden word could be the one that matters, and nobody may say yes to what they cannot read.
            "" if shown == wanted and self._plain(wanted.proxied, asked.body, *wanted.command) else _HIDDEN,
        )
        return self._made(verdict, asked, origin, supersedes, target, card, where)

    def _plain(self, *texts: str) -> bool:
        return not any(self._redactor.text(text)[1] for text in texts)

    async def _sensitive(self, verdict: Verdict, asked: Prepared, origin: Origin, supersedes: str) -> Examined:
        parsed = parse_body(asked.content_type, asked.body.encode())
        access = await self._access_now(verdict)
        target, lines = self._what_is_read(verdict, parsed)
        card = _Card(
            f"read {target}",
            f"kubectl get --raw {asked.raw_target}" if asked.method == "GET" else "",
            lines,
            (access,),
            (Impact("direct", f"The answer goes to {origin.client}, unredacted; nothing changes."),),
            Risk(RiskLevel.MEDIUM, (f"its answer is sensitive ({verdict.rule})",)),
            "not needed: nothing changes; what was read cannot be taken back",
        )
        return self._made(verdict, asked, origin, supersedes, target, card, "")

    def _what_is_read(self, verdict: Verdict, parsed: Any) -> tuple[Target, tuple[DiffLine, ...]]:
        again = DiffLine(" ", "The same request of this client then passes until the gate ends.")
        api = verdict.api
        if api is None:
            what = DiffLine("+", f"{verdict.method} {verdict.path}")
            return Target("", "path", "", verdict.path), (DiffLine("@", "reads"), what, again)
        spec = at(parsed, "spec", default=None)
        if not isinstance(spec, dict):
            raise Refused("body-shape", "The body of the review has no spec.", 400)
        kind = {"tokenreviews": "TokenReview", "subjectaccessreviews": "SubjectAccessReview"}.get(
            api.resource, "LocalSubjectAccessReview"
        )
        if kind == "TokenReview":
            token = self._redactor.mark("token", str(spec.get("token", "")))
            shown: Obj = {**spec, "token": token}
            name = token
        else:
            shown = spec
            name = str(spec.get("user") or ", ".join(str(group) for group in spec.get("groups") or []) or "nobody")
        text = json.dumps(shown, indent=2, ensure_ascii=False)
        lines = (DiffLine("@", f"asks the API server ({kind})"), *(DiffLine("+", line) for line in text.splitlines()))
        return Target(api.api_version, kind, api.namespace, self._redactor.text(name)[0]), (*lines, again)

    def _made(
        self, verdict: Verdict, asked: Prepared, origin: Origin, supersedes: str, target: Target, card: _Card,
        where: str,
    ) -> Examined:  # fmt: skip
        created: datetime = self._clock.now()
        lines = tuple(replace(line, text=self._redactor.text(line.text)[0]) for line in card.lines)
        words = self._redactor.object([value for _, value in asked.query])[0]
        query = tuple((key, self._redactor.text(word)[0]) for (key, _), word in zip(asked.query, words, strict=True))
        body = self._redactor.text(card.body)[0]
        closed = card.closed or closing(card.checks)
        proposal = Proposal(
            id=f"P{secrets.token_hex(4)}",
            action=Action(asked.method, asked.path, target, query, asked.content_type, body),
            request_class=verdict.request_class,
            digest="",
            origin=origin,
            cluster=self._cluster.name,
            identity=self._cluster.user,
            title=self._redactor.text(card.title)[0],
            kubectl=self._redactor.text(card.kubectl)[0],
            diff=lines,
            checks=card.checks,
            impact=card.impact,
            risk=card.risk,
            undo=Undo(card.undo),
            created=created,
            expires=created + self._open,
            not_approvable=closed,
            approvable_if=approvable_if(closed, card.checks, _INSTEAD),
            supersedes=supersedes,
        )  # fmt: skip
        return self._sealed(Examined(proposal, verdict, asked, asked, "", secrets.token_hex(16), where))


def _object_path(wanted: Connect) -> str:
    resource = {"Pod": "pods", "Service": "services", "Node": "nodes"}[wanted.kind]
    place = f"/namespaces/{quote(wanted.namespace, safe='')}" if wanted.namespace else ""
    return f"/api/v1{place}/{resource}/{quote(wanted.name, safe='')}"
