"""Makes a Proposal of a change: live object, dry run, diff, access, impact, owner, risk, undo, digest.

What could not be found out becomes an UNKNOWN check and raises the risk; nothing is assumed to be fine.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from assistant.domain.action import Action
from assistant.domain.canonical import sha256
from assistant.domain.ports import Clock
from assistant.domain.proposal import Check, CheckResult, LineOrigin, Origin, Proposal
from assistant.domain.target import Target
from assistant.errors import ClusterError
from assistant.gate.facts import ask, surroundings
from assistant.gate.identity import ClusterIdentity
from assistant.gate.prepare import JSON_PATCH, Prepared, media_type, parse_body, prepare
from assistant.gate.shown import shown_body
from assistant.gate.title import title_of
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath, Refused, read_path
from assistant.policy.classify import BUILT_IN_GROUPS, Verdict, verb_of
from assistant.policy.diff import Change, changes, diff_lines, leaves, pointer_paths, requested
from assistant.policy.impact import at, impact_of, owner_check
from assistant.policy.kubectl import kubectl_line
from assistant.policy.limits import MAX_PREVIEW_BYTES, POLICY_VERSION, PREVIEW_SECONDS
from assistant.policy.redact import Redactor
from assistant.policy.risk import risk_of
from assistant.policy.undo import undo_of

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Examined:
    """A proposal as people see it, beside the exact request that stays in the gate (it may hold secrets)."""

    proposal: Proposal
    verdict: Verdict
    prepared: Prepared
    asked: Prepared
    dry_hash: str
    nonce: str
    live_target: str


@dataclass(frozen=True, slots=True)
class _Dry:
    check: Check
    after: Obj | None


class Examiner:
    """Examines changes against one cluster."""

    def __init__(
        self, upstream: Upstream, cluster: ClusterIdentity, redactor: Redactor, clock: Clock, *,
        production: bool, open_seconds: float,
    ) -> None:  # fmt: skip
        """Keep what every proposal of this gate is bound to."""
        self._upstream = upstream
        self._cluster = cluster
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

    async def examine(self, verdict: Verdict, asked: Prepared, origin: Origin, supersedes: str = "") -> Examined:
        """Return the proposal for a change. Raises Refused or ClusterError when there can be none."""
        api = verdict.api
        if api is None:
            raise Refused("unknown-path", "The gate does not know what this request would do, so it is not sent.", 403)
        parsed = parse_body(asked.content_type, asked.body.encode())
        where = _live_target(api, parsed)
        _, live = await self.live(where)
        prepared = prepare(asked.method, api, asked.query, asked.content_type, parsed, live)
        target = _target(api, parsed, live)
        dry, access = await asyncio.gather(self._dry_run(api, prepared, live), self._access(verdict, api, target))
        around = await surroundings(self._upstream, asked.method, api, target.kind, live, dry.after)
        undo = undo_of(api, target, around)
        checks = [access, dry.check]
        if undo.action is not None:
            checks.append(await self._undo_access(undo.action))
        checks.append(owner_check(live or dry.after))
        if around.unread:
            text = f"Could not read {', '.join(sorted(set(around.unread)))}: what follows may be more."
            checks.append(Check("surroundings", CheckResult.UNKNOWN, text))
        risk = risk_of(
            verdict.request_class, verdict.rule, around, tuple(checks), undo, production=self._production
        )  # fmt: skip
        found = self._changes(api, target, prepared, parsed, live, dry, undo_deleting=around.deleting)
        lines, cut = diff_lines(found)
        why_not = f"{cut} lines of the change cannot be shown." if cut else ""
        ours = self._asked_for(asked.method, target, parsed, live, dry, found)
        why_not = why_not or _failed(checks) or _collection(asked.method, api)
        created = self._clock.now()
        proposal = Proposal(
            id=f"P{secrets.token_hex(4)}",
            action=Action(
                prepared.method, prepared.path, target, prepared.query, prepared.content_type,
                self._shown_body(prepared.body, target.kind, live),
            ),
            request_class=verdict.request_class,
            digest="",
            origin=origin,
            cluster=self._cluster.name,
            identity=self._cluster.user,
            title=self._redactor.text(title_of(asked.method, api, target, ours, exists=live is not None))[0],
            kubectl=self._kubectl(asked, target, parsed, ours, live),
            diff=lines,
            checks=tuple(checks),
            impact=impact_of(around),
            risk=risk,
            undo=undo,
            created=created,
            expires=created + self._open,
            resource_version=str(at(live, "metadata", "resourceVersion", default="")),
            not_approvable=why_not,
            supersedes=supersedes,
        )  # fmt: skip
        examined = Examined(proposal, verdict, prepared, asked, _dry_hash(dry.after), secrets.token_hex(16), where)
        return replace(examined, proposal=replace(proposal, digest=self.digest(examined)))

    def digest(self, examined: Examined) -> str:
        """Return what an approval is bound to, over the bytes that will be sent (DESIGN section 3)."""
        proposal, sent = examined.proposal, examined.prepared
        return sha256(
            {
                "cluster": self._cluster.fingerprint,
                "identity": self._cluster.user,
                "request": sent.as_list(),
                "uid": proposal.action.target.uid,
                "resourceVersion": proposal.resource_version,
                "dryRun": examined.dry_hash,
                "policy": POLICY_VERSION,
                "session": proposal.origin.session,
                "nonce": examined.nonce,
                "expires": proposal.expires.isoformat(),
            }
        )

    async def _dry_run(self, api: ApiPath, prepared: Prepared, live: Obj | None) -> _Dry:
        name = "dry run"
        if not await self._dry_run_is_safe(api):
            return _Dry(Check(name, CheckResult.UNKNOWN, "Not made: this API may not honour dry runs."), None)
        dry = prepared.dry()
        try:
            answer = await self._upstream.fetch(
                dry.method, dry.raw_target, dry.headers, dry.payload, PREVIEW_SECONDS, MAX_PREVIEW_BYTES
            )
            value = json.loads(answer.body) if answer.body else {}
        except (ClusterError, ValueError) as error:
            meaning = error.meaning if isinstance(error, ClusterError) else "The answer is not JSON."
            return _Dry(Check(name, CheckResult.UNKNOWN, f"No answer: {meaning}"), None)
        message = self._redactor.text(str(value.get("message", "")))[0][:500]
        if answer.status >= 500 or 300 <= answer.status < 400:
            return _Dry(Check(name, CheckResult.UNKNOWN, f"The server could not make it: {message}"), None)
        if answer.status >= 400:
            return _Dry(Check(name, CheckResult.FAIL, f"The server would refuse this: {message}"), None)
        warnings = [v for k, v in answer.headers if k.lower() == "warning"]
        text = "The server would accept this." if not warnings else f"Accepted, with a warning: {warnings[0][:300]}"
        result = CheckResult.WARN if warnings else CheckResult.PASS
        after = None if prepared.method == "DELETE" or value.get("kind") == "Status" else value
        return _Dry(Check(name, result, text), after)

    async def _dry_run_is_safe(self, api: ApiPath) -> bool:
        # An aggregated API server may ignore dryRun and write. A group is served by the API server itself where its
        # APIService has no service behind it, or, where that cannot be read, where a CRD defines the resource.
        if api.group in BUILT_IN_GROUPS:
            return api.sub != "token"
        root = "/apis/apiregistration.k8s.io/v1/apiservices/"
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
        try:
            status, service = await ask(self._upstream, "GET", f"{root}{api.version}.{api.group}")
            if status == 200:
                return not at(service, "spec", "service")
            status, _ = await ask(self._upstream, "GET", f"{crds}{api.resource}.{api.group}")
        except ClusterError:
            return False
        return status == 200

    async def _access(self, verdict: Verdict, api: ApiPath, target: Target) -> Check:
        name = target.name if api.name else ""
        return await self._may("access", verdict.verb, api, name)

    async def _undo_access(self, action: Action) -> Check:
        api = read_path(action.path)
        if api is None:
            return Check("access for undo", CheckResult.UNKNOWN, "The way back is not a known request.")
        check = await self._may("access for undo", verb_of(action.method, api), api, api.name)
        # The way back being closed is worth a warning; it does not forbid the change itself.
        return replace(check, result=CheckResult.WARN) if check.result is CheckResult.FAIL else check

    async def _may(self, title: str, verb: str, api: ApiPath, name: str) -> Check:
        attributes = {
            "verb": verb, "group": api.group, "version": api.version, "resource": api.resource,
            "subresource": api.sub, "name": name, "namespace": "" if api.resource == "namespaces" else api.namespace,
        }  # fmt: skip
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        what = f"{verb} {api.resource}{'/' + api.sub if api.sub else ''}"
        try:
            target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            status, value = await ask(self._upstream, "POST", target, body)
        except ClusterError as error:
            return Check(
                title, CheckResult.UNKNOWN, f"Could not ask whether {self._cluster.user} may {what}: {error.meaning}"
            )
        if status not in (200, 201):
            return Check(
                title, CheckResult.UNKNOWN, f"Could not ask whether {self._cluster.user} may {what} (HTTP {status})."
            )
        if at(value, "status", "allowed") is True:
            return Check(title, CheckResult.PASS, f"{self._cluster.user} may {what}.")
        reason = str(at(value, "status", "reason", default=""))[:200]
        return Check(title, CheckResult.FAIL, f"{self._cluster.user} may not {what}. {reason}".strip())

    def _changes(
        self, api: ApiPath, target: Target, prepared: Prepared, parsed: Any, live: Obj | None, dry: _Dry, *,
        undo_deleting: bool,
    ) -> list[Change]:  # fmt: skip
        if prepared.method == "POST" and api.sub:
            before, after, touched = {}, shown_body(self._redactor, parsed, target.kind, live), leaves(parsed)
        elif undo_deleting:
            whole = {key: value for key, value in (live or {}).items() if key != "status"}
            notes = {k: v for k, v in at(whole, "metadata", default={}).items() if k != "managedFields"}
            before, after, touched = self._clean({**whole, "metadata": notes}, target), {}, frozenset({()})
        elif dry.after is None:
            before, after, touched = {}, shown_body(self._redactor, parsed, target.kind, live), frozenset({()})
        else:
            before, after = self._clean(live or {}, target), self._clean(dry.after, target)
            patch = media_type(prepared.content_type) == JSON_PATCH and isinstance(parsed, list)
            touched = pointer_paths(parsed, live) if patch else leaves(parsed)
            if prepared.method == "POST":
                touched = leaves(parsed)
            elif prepared.method == "PUT":
                ours = self._clean(parsed if isinstance(parsed, dict) else {}, target)
                touched = frozenset(c.path for c in changes(before, ours, frozenset(), hidden=False))
        return changes(before, after, touched)

    def _asked_for(
        self, method: str, target: Target, parsed: Any, live: Obj | None, dry: _Dry, found: list[Change]
    ) -> list[Change]:
        if method not in ("PATCH", "PUT"):
            return []
        if dry.after is not None:
            return [change for change in found if change.origin is LineOrigin.OURS]
        return requested(shown_body(self._redactor, parsed, target.kind, live), self._clean(live or {}, target))

    def _kubectl(self, asked: Prepared, target: Target, parsed: Any, ours: list[Change], live: Obj | None) -> str:
        action = Action(asked.method, asked.path, target, asked.query, media_type(asked.content_type), asked.body)
        return self._redactor.text(kubectl_line(action, shown_body(self._redactor, parsed, target.kind, live), ours))[0]

    def _clean(self, value: Obj, target: Target) -> Obj:
        clean, _ = self._redactor.object({"kind": target.kind, **value}, target.kind)
        return clean if isinstance(clean, dict) else {}

    def _shown_body(self, body: str, kind: str, live: Obj | None) -> str:
        if not body:
            return ""
        parsed = json.loads(body)
        clean = shown_body(self._redactor, parsed, kind, live)
        return body if clean == parsed else json.dumps(clean, separators=(",", ":"), ensure_ascii=False)


def _live_target(api: ApiPath, parsed: Any) -> str:
    if api.name:
        sub = f"/{api.sub}" if api.sub in ("scale", "status") else ""
        path = api.object_path if api.resource != "namespaces" else f"{api.collection}/{api.name or api.namespace}"
        return quote(path + sub, safe="/:@!$&'()*+,=-._~")
    name = at(parsed, "metadata", "name", default="") if isinstance(parsed, dict) else ""
    return quote(f"{api.collection}/{name}", safe="/:@!$&'()*+,=-._~") if isinstance(name, str) and name else ""


def _target(api: ApiPath, parsed: Any, live: Obj | None) -> Target:
    body = parsed if isinstance(parsed, dict) else {}
    special = bool(api.sub) or str(body.get("kind", "")) in ("DeleteOptions", "Eviction", "Scale", "Binding")
    kind = "" if special else str(body.get("kind") or "")
    kind = kind or (str(live.get("kind") or "") if live is not None and api.sub != "scale" else "")
    kind = kind or _singular(api.resource)
    name = api.name or str(at(body, "metadata", "name", default="") or at(body, "metadata", "generateName", default=""))
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


def _failed(checks: list[Check]) -> str:
    return next((c.text for c in checks if c.result is CheckResult.FAIL and c.name in ("access", "dry run")), "")


def _collection(method: str, api: ApiPath) -> str:
    if method == "DELETE" and not api.name:
        return "It deletes a whole collection, whatever is in it by then; delete the objects one by one."
    return ""


def _dry_hash(after: Obj | None) -> str:
    if after is None:
        return ""
    metadata = {k: v for k, v in at(after, "metadata", default={}).items() if k in ("name", "labels", "annotations")}
    return sha256({**{k: v for k, v in after.items() if k not in ("metadata", "status")}, "metadata": metadata})
