"""Asks the API server whether a change, and the way back of it, is allowed to us (SelfSubjectAccessReview)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from assistant.domain.action import Action
from assistant.domain.proposal import Check, CheckResult
from assistant.errors import ClusterError
from assistant.gate.facts import ask
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath, read_path
from assistant.policy.classify import verb_of
from assistant.policy.surroundings import at

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True)
class Access:
    """What one user may do."""

    upstream: Upstream
    user: str

    async def for_change(self, verb: str, api: ApiPath, *, exists: bool) -> Check:
        """Return whether the request is allowed; one that makes its object needs the right to create it, too."""
        check = await self._may("access", verb, api, api.name)
        # The API server asks for both where a patch or a replace creates (endpoints/handlers, withAuthorization).
        if exists or verb not in ("patch", "update") or api.sub or check.result is not CheckResult.PASS:
            return check
        created = await self._may("access", "create", api, "")
        return (
            created if created.result is not CheckResult.PASS else replace(check, text=f"{check.text} {created.text}")
        )

    async def for_parts(self, api: ApiPath) -> Check:
        """Return whether every object of a collection may be deleted."""
        return await self._may("access", "delete", api, "")

    async def for_undo(self, action: Action) -> Check:
        """Return whether the way back is allowed."""
        api = read_path(action.path)
        if api is None:
            return Check("access for undo", CheckResult.UNKNOWN, "The way back is not a known request.")
        check = await self._may("access for undo", verb_of(action.method, api), api, api.name)
        # The way back being closed is worth a warning; it does not forbid the change itself.
        return replace(check, result=CheckResult.WARN) if check.result is CheckResult.FAIL else check

    async def for_path(self, path: str) -> Check:
        """Return whether a path that is about no resource may be read."""
        return await self._review("access", f"get {path}", {"nonResourceAttributes": {"path": path, "verb": "get"}})

    async def _may(self, title: str, verb: str, api: ApiPath, name: str) -> Check:
        # For a Namespace the API server fills in its own name as the namespace (apiserver, RequestInfo), so that a
        # Role inside of it can grant the request.
        namespace = name if api.resource == "namespaces" and not api.group else api.namespace
        attributes = {
            "verb": verb, "group": api.group, "version": api.version, "resource": api.resource,
            "subresource": api.sub, "name": name, "namespace": namespace,
        }  # fmt: skip
        what = f"{verb} {api.resource}{'/' + api.sub if api.sub else ''}"
        return await self._review(title, what, {"resourceAttributes": {k: v for k, v in attributes.items() if v}})

    async def _review(self, title: str, what: str, spec: dict[str, dict[str, str]]) -> Check:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        try:
            status, value = await ask(self.upstream, "POST", _REVIEWS, body)
        except ClusterError as error:
            text = f"Could not ask whether {self.user} may {what}: {error.meaning}"
            return Check(title, CheckResult.UNKNOWN, text)
        if status not in (200, 201):
            return Check(title, CheckResult.UNKNOWN, f"Could not ask whether {self.user} may {what} (HTTP {status}).")
        if at(value, "status", "allowed") is True:
            return Check(title, CheckResult.PASS, f"{self.user} may {what}.")
        reason = str(at(value, "status", "reason", default=""))[:200]
        return Check(title, CheckResult.FAIL, f"{self.user} may not {what}. {reason}".strip())
