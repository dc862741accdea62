"""Makes a Proposal of a change: live object, dry run, diff, access, impact, owner, risk, undo, digest.

What could not be found out becomes an UNKNOWN check and raises the risk; nothing is assumed to be fine.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from assistant.domain.action import Action
from assistant.domain.canonical import sha256
from assistant.domain.ports import Clock
from assistant.domain.proposal import Check, CheckResult, DiffLine, Origin, Part, Proposal, Undo
from assistant.domain.target import Target
from assistant.errors import ClusterError
from assistant.gate.access import Access
from assistant.gate.around import surroundings
from assistant.gate.changed import Changed
from assistant.gate.collection import expand
from assistant.gate.dryrun import Dry, dry_hash, dry_run
from assistant.gate.facts import SAFE, Reader, ask
from assistant.gate.hooks import prefetch, webhooks
from assistant.gate.identity import ClusterIdentity
from assistant.gate.prepare import Prepared, bound_version, parse_body, prepare
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath, Refused
from assistant.policy.classify import Verdict
from assistant.policy.diff import Change, diff_lines
from assistant.policy.impact import autoscaler_check, budget_check, impact_of
from assistant.policy.limits import MAX_DIFF_LINES, POLICY_VERSION
from assistant.policy.owners import fields_check, owner_check
from assistant.policy.quota import quota_check
from assistant.policy.redact import Redactor
from assistant.policy.removal import key_lines
from assistant.policy.risk import risk_of
from assistant.policy.surroundings import Obj, Surroundings, at
from assistant.policy.undo import MADE_BY_SERVER, moved_since, undo_of
from assistant.policy.whynot import approvable_if, closing

# After this long an answer of the server is asked for again before a change is sent.
_DRY_RUN_SECONDS: Final = 30.0
# These have a check of their own that says what could not be read.
_OWN_CHECKS: Final = frozenset(
    {"ResourceQuota", "LimitRange", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "EndpointSlice"}
)


@dataclass(frozen=True, slots=True)
class Examined:
    """A proposal as people see it, beside the exact request that stays in the gate (it may hold secrets).

    `parts` are the requests that are sent instead, one for each of `proposal.parts`.
    """

    proposal: Proposal
    verdict: Verdict
    prepared: Prepared
    asked: Prepared
    dry_hash: str
    nonce: str
    live_target: str
    parts: tuple[Prepared, ...] = ()


class Examiner:
    """Examines changes against one cluster."""

    def __init__(
        self, upstream: Upstream, cluster: ClusterIdentity, redactor: Redactor, clock: Clock, *,
        production: bool, open_seconds: float, policy: object = POLICY_VERSION,
    ) -> None:  # fmt: skip
        """Keep what every proposal of this gate is bound to; `policy` is the rules that it is approved under."""
        self._policy = policy
        self._upstream = upstream
        self._cluster = cluster
        self._access = Access(upstream, cluster.user)
        self._redactor = redactor
        self._clock = clock
        self._production = production
        self._open = timedelta(seconds=open_seconds)

    async def live(self, target: str) -> tuple[int, Obj | None]:
        """Read the object as it is now. Raises ClusterError."""
        if not target:
            return 404, None
        status, value = await ask(self._upstream, "GET", target)
        if status == 404:
            return status, None
        if status != 200:
            meaning = "The object to change cannot be read, so the change cannot be shown."
            raise ClusterError(meaning, "Ask for the right to get it.", detail=str(value.get("message", ""))[:300])
        return status, value

    async def moved(self, examined: Examined, *, sending: bool = False) -> str:
        """Return what is no longer as it was shown, "" for nothing. Raises ClusterError.

        Before sending, access is asked for again, and the dry run where it is older than 30 s.
        """
        proposal, api = examined.proposal, examined.verdict.api
        if examined.parts and api is not None:
            now = await expand(self._upstream, api, examined.asked.query)
            same = [(p.target.name, p.target.uid, p.resource_version) for p in proposal.parts]
            if now.marks != same:
                return "What matches changed since you looked"
        else:
            _, live = await self.live(examined.live_target)
            if not bound_version(proposal, live):
                return "The object changed since you looked"
        if not sending or api is None:
            return ""
        access = await self._may(examined.verdict, api, exists=bool(proposal.action.target.uid), parts=examined.parts)
        if access.result is CheckResult.FAIL:
            return f"It is no longer allowed ({access.text})"
        if not examined.parts and (self._clock.now() - proposal.created).total_seconds() > _DRY_RUN_SECONDS:
            dry = await dry_run(self._upstream, self._redactor, api, examined.prepared)
            if dry.check.result is CheckResult.FAIL:
                return dry.check.text.rstrip(".")
        return ""

    async def examine(self, verdict: Verdict, asked: Prepared, origin: Origin, supersedes: str = "") -> Examined:
        """Return the proposal for a change. Raises Refused or ClusterError when there can be none."""
        api = verdict.api
        if api is None:
            raise Refused("unknown-path", "The gate does not know what this request would do, so it is not sent.", 403)
        parsed = parse_body(asked.content_type, asked.body.encode())
        if asked.method == "DELETE" and not api.name:
            return await self._examine_parts(verdict, api, asked, parsed, origin, supersedes)
        where = _live_target(api, parsed)
        _, live = await self.live(where)
        prepared = prepare(asked.method, api, asked.query, asked.content_type, parsed, live)
        target = _target(api, parsed, live)
        reader = Reader(self._upstream, api.namespace)
        dry, access, _ = await asyncio.gather(
            dry_run(self._upstream, self._redactor, api, prepared),
            self._may(verdict, api, exists=live is not None),
            prefetch(reader),
        )
        options = parse_body(prepared.content_type, prepared.body.encode()) if asked.method == "DELETE" else {}
        around = await surroundings(reader, asked.method, api, target.kind, live, dry.after, options)
        undo = undo_of(api, target, around)
        changed = Changed(self._redactor, api, target, prepared, parsed, live, dry.after)
        found = [] if around.deleting else changed.changes()
        ours = changed.asked_for(found)
        checks = await self._checks(api, asked, parsed, reader, around, access, dry, undo, ours)
        impact = impact_of(around)
        lines, cut = diff_lines(found)
        if around.deleting and live is not None:
            lines = key_lines(around, changed.clean(live), impact)
            undo = replace(undo, before=changed.before_image())
        why_not = f"{cut} lines of the change cannot be shown." if cut else closing(checks)
        shown = Action(
            prepared.method, prepared.path, target, prepared.query, prepared.content_type, changed.shown(prepared.body)
        )
        proposal = self._proposal(
            verdict, shown, origin, changed.title(found, ours),
            changed.kubectl(asked, ours), lines, tuple(checks),
            # Without a dry run, what the request itself comes to is what the risk is told by.
            around if dry.after is not None else replace(around, after=changed.meant), undo, why_not,
        )  # fmt: skip
        proposal = replace(
            proposal, impact=impact, resource_version=str(at(live, "metadata", "resourceVersion", default="")),
            supersedes=supersedes,
        )  # fmt: skip
        return self._sealed(
            Examined(proposal, verdict, prepared, asked, dry_hash(dry.after), secrets.token_hex(16), where)
        )

    async def _checks(
        self, api: ApiPath, asked: Prepared, parsed: Any, reader: Reader, around: Surroundings, access: Check,
        dry: Dry, undo: Undo, ours: list[Change],
    ) -> list[Check]:  # fmt: skip
        back = self._access.for_undo(undo.action) if undo.action is not None else None
        hooks, undo_access = await asyncio.gather(webhooks(reader, api, around), back if back else _nothing())
        manager = dict(asked.query).get("fieldManager", "pilothouse-gate")
        optional = [
            _as_expected(parsed, around.live, self._redactor),
            undo_access,
            owner_check(around),
            fields_check(around.live, [change.path for change in ours], manager, api.sub),
            autoscaler_check(around),
            budget_check(around),
            quota_check(around),
            hooks,
            _read_check(around),
        ]
        checks = [access, dry.check, _fresh(around.live, dry), *(check for check in optional if check is not None)]
        return [replace(check, text=self._redactor.text(check.text)[0]) for check in checks]

    async def _examine_parts(
        self, verdict: Verdict, api: ApiPath, asked: Prepared, parsed: Any, origin: Origin, supersedes: str
    ) -> Examined:
        found = await expand(self._upstream, api, asked.query)
        parts = found.requests(asked, parsed) if not found.why_not else ()
        access, dry = await asyncio.gather(
            self._may(verdict, api, exists=True, parts=parts), found.dry_run(self._upstream, self._redactor, parts)
        )
        target = Target(api.api_version, found.kind or _singular(api.resource), api.namespace, api.resource)
        around = Surroundings("DELETE", "", target.kind, None, None, api_version=api.api_version)
        checks = [access, dry, found.owner_check(), found.rest_check()]
        undo = Undo("none: several objects at once are not brought back by one request")
        prepared = prepare("DELETE", api, asked.query, asked.content_type, parsed, None)
        shown = Action("DELETE", prepared.path, target, prepared.query, prepared.content_type, prepared.body)
        lines = found.lines()
        why_not = found.why_not or closing(checks)
        if len(lines) > MAX_DIFF_LINES:
            why_not = why_not or f"{len(lines) - MAX_DIFF_LINES} lines of the change cannot be shown."
        proposal = self._proposal(
            verdict, shown, origin, found.title(), found.kubectl(parsed), lines[:MAX_DIFF_LINES], tuple(checks), around,
            undo, why_not,
        )  # fmt: skip
        each = tuple(
            Part(Target(api.api_version, target.kind, space, name, uid), version, self.part_digest(part, uid, version))
            for (space, name, uid, version), part in zip(found.objects, parts, strict=False)
        )
        proposal = replace(
            proposal, impact=found.impact(), parts=each, supersedes=supersedes,
            approvable_if=approvable_if(why_not, checks, found.instead),
        )  # fmt: skip
        return self._sealed(Examined(proposal, verdict, prepared, asked, "", secrets.token_hex(16), "", parts))

    async def _may(self, verdict: Verdict, api: ApiPath, *, exists: bool, parts: tuple[Prepared, ...] = ()) -> Check:
        if parts or verdict.verb == "deletecollection":
            return await self._access.for_parts(api)
        return await self._access.for_change(verdict.verb, api, exists=exists)

    def _proposal(
        self, verdict: Verdict, action: Action, origin: Origin, title: str, kubectl: str, lines: tuple[DiffLine, ...],
        checks: tuple[Check, ...], around: Surroundings, undo: Undo, why_not: str,
    ) -> Proposal:  # fmt: skip
        risk = risk_of(verdict.request_class, verdict.rule, around, checks, undo, production=self._production)
        risk = replace(risk, reasons=tuple(self._redactor.text(reason)[0] for reason in risk.reasons))
        created = self._clock.now()
        return Proposal(
            f"P{secrets.token_hex(4)}", action, verdict.request_class, "", origin, self._cluster.name,
            self._cluster.user, self._redactor.text(title)[0], kubectl, lines, checks, (), risk, undo, created,
            created + self._open, not_approvable=why_not, approvable_if=approvable_if(why_not, checks),
        )  # fmt: skip

    def _sealed(self, examined: Examined) -> Examined:
        return replace(examined, proposal=replace(examined.proposal, digest=self.digest(examined)))

    def digest(self, examined: Examined) -> str:
        """Return what an approval is bound to, over the bytes that will be sent (DESIGN section 3)."""
        proposal, sent = examined.proposal, examined.prepared
        return sha256(
            {
                "cluster": self._cluster.fingerprint,
                "identity": self._cluster.user,
                "request": sent.as_list(),
                "parts": [
                    self.part_digest(part, shown.target.uid, shown.resource_version)
                    for part, shown in zip(examined.parts, proposal.parts, strict=True)
                ],
                "uid": proposal.action.target.uid,
                "resourceVersion": proposal.resource_version,
                "dryRun": examined.dry_hash,
                "policy": self._policy,
                "session": proposal.origin.session,
                "nonce": examined.nonce,
                "expires": proposal.expires.isoformat(),
            }
        )

    def part_digest(self, part: Prepared, uid: str, version: str) -> str:
        """Return the digest of one request of several, over the bytes that will be sent."""
        return sha256(
            {"cluster": self._cluster.fingerprint, "request": part.as_list(), "uid": uid, "resourceVersion": version}
        )


async def _nothing() -> None:
    return None


def _fresh(live: Obj | None, dry: Dry) -> Check:
    version = at(live, "metadata", "resourceVersion", default="")
    if at(live, "metadata", "deletionTimestamp"):
        return Check("fresh", CheckResult.WARN, "The object is being deleted already.")
    text = f"Bound to resourceVersion {version}; read again before sending." if version else "There is no object yet."
    return Check("fresh", CheckResult.PASS, text)


def _as_expected(parsed: Any, live: Obj | None, redactor: Redactor) -> Check | None:
    """Return whether the values that a JSON patch expects are still there; None where it expects none."""
    if not isinstance(parsed, list) or not any(isinstance(op, dict) and op.get("op") == "test" for op in parsed):
        return None
    moved = moved_since(parsed, live)
    if not moved:
        return Check("expected", CheckResult.PASS, "Every value that the request expects is there.")
    pointer, now, expected = moved[0]
    values = [_clipped(redactor, pointer, value) for value in (now, expected)]
    more = f" (and {len(moved) - 1} more)" if len(moved) > 1 else ""
    text = f"{pointer} is {values[0]} now and not {values[1]}{more}: this would overwrite what was changed since."
    return Check("expected", CheckResult.FAIL, text)


def _clipped(redactor: Redactor, pointer: str, value: Any) -> str:
    name = pointer.rsplit("/", 1)[-1]
    clean, _ = redactor.object({"value": value, name: value} if name else {"value": value})
    text = str(clean.get(name) if isinstance(clean, dict) and name else "(another value)")
    return text if len(text) <= 60 else f"{text[:59]}…"


def _read_check(around: Surroundings) -> Check | None:
    unread = sorted(set(around.unread) - _OWN_CHECKS)
    if not unread and not around.cut:
        return None
    parts = [f"Could not read {', '.join(unread[:8])}{f' and {len(unread) - 8} more' if unread[8:] else ''}"] * bool(
        unread
    )
    parts += [f"Only {', '.join(around.cut)} were looked at"] * bool(around.cut)
    return Check("surroundings", CheckResult.UNKNOWN, f"{'. '.join(parts)}: what follows may be more.")


def _live_target(api: ApiPath, parsed: Any) -> str:
    if api.name:
        sub = f"/{api.sub}" if api.sub in ("scale", "status") else ""
        path = api.object_path if api.resource != "namespaces" else f"{api.collection}/{api.name or api.namespace}"
        return quote(path + sub, safe=SAFE)
    name = at(parsed, "metadata", "name", default="") if isinstance(parsed, dict) else ""
    return quote(f"{api.collection}/{name}", safe=SAFE) if isinstance(name, str) and name else ""


def _target(api: ApiPath, parsed: Any, live: Obj | None) -> Target:
    body = parsed if isinstance(parsed, dict) else {}
    special = bool(api.sub) or str(body.get("kind", "")) in ("DeleteOptions", "Eviction", "Scale", "Binding")
    kind = "" if special else str(body.get("kind") or "")
    kind = kind or (str(live.get("kind") or "") if live is not None and api.sub != "scale" else "")
    kind = kind or _singular(api.resource)
    name = api.name or str(at(body, "metadata", "name", default=""))
    if not name and at(body, "metadata", "generateName"):
        name = f"{at(body, 'metadata', 'generateName')}{MADE_BY_SERVER}"
    namespace = "" if api.resource == "namespaces" else api.namespace
    return Target(
        api.api_version, kind, namespace, name or api.resource, str(at(live, "metadata", "uid", default=""))
    )  # fmt: skip


_KINDS = {
    "deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet", "replicasets": "ReplicaSet",
    "configmaps": "ConfigMap", "persistentvolumeclaims": "PersistentVolumeClaim", "networkpolicies": "NetworkPolicy",
    "serviceaccounts": "ServiceAccount", "cronjobs": "CronJob", "ingresses": "Ingress",
    "replicationcontrollers": "ReplicationController",
}  # fmt: skip


def _singular(resource: str) -> str:
    return _KINDS.get(resource) or resource.removesuffix("s").capitalize()
