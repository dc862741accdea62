"""The server-side dry run of a change: the server's own answer to the same bytes, without their effect."""

from __future__ import annotations

import json
from dataclasses import dataclass

from assistant.domain.canonical import sha256
from assistant.domain.proposal import Check, CheckResult
from assistant.errors import ClusterError
from assistant.gate.facts import ask
from assistant.gate.prepare import Prepared
from assistant.gate.upstream import Upstream
from assistant.policy.api_path import ApiPath
from assistant.policy.classify import BUILT_IN_GROUPS
from assistant.policy.limits import MAX_PREVIEW_BYTES, PREVIEW_SECONDS
from assistant.policy.redact import Redactor
from assistant.policy.retry import BUSY, refused_by_budget
from assistant.policy.sanitize import safe
from assistant.policy.surroundings import Obj, at

NAME = "dry run"


@dataclass(frozen=True, slots=True)
class Dry:
    """What the server said, and the object as it would be; `after` is None for a delete and where there is none."""

    check: Check
    after: Obj | None


async def dry_run(upstream: Upstream, redactor: Redactor, api: ApiPath, prepared: Prepared) -> Dry:
    """Make the dry run of one request. What goes wrong is in the check."""
    if not await is_safe(upstream, api):
        return Dry(Check(NAME, CheckResult.UNKNOWN, "Not made: this API may not honour dry runs."), None)
    dry = prepared.dry()
    try:
        answer = await upstream.fetch(
            dry.method, dry.raw_target, dry.headers, dry.payload, PREVIEW_SECONDS, MAX_PREVIEW_BYTES
        )
        value = json.loads(answer.body) if answer.body else {}
    except (ClusterError, ValueError) as error:
        meaning = error.meaning if isinstance(error, ClusterError) else "The answer is not JSON."
        return Dry(Check(NAME, CheckResult.UNKNOWN, f"No answer: {meaning}"), None)
    value = value if isinstance(value, dict) else {}
    message = str(safe(redactor.text(str(value.get("message", "")))[0][:500]))
    busy = answer.status == BUSY and not refused_by_budget(value)
    if answer.status >= 500 or busy or 300 <= answer.status < 400:
        return Dry(Check(NAME, CheckResult.UNKNOWN, f"The server could not make it: {message}"), None)
    if answer.status >= 400:
        return Dry(Check(NAME, CheckResult.FAIL, f"The server would refuse this: {message}"), None)
    warnings = [redactor.text(v)[0] for k, v in answer.headers if k.lower() == "warning"]
    text = "The server would accept this."
    if warnings:
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        text = f"Accepted, with a warning: {warnings[0][:300]}{more}"
    result = CheckResult.WARN if warnings else CheckResult.PASS
    after = None if prepared.method == "DELETE" or value.get("kind") == "Status" else value
    return Dry(Check(NAME, result, text), after)


async def is_safe(upstream: Upstream, api: ApiPath) -> bool:
    """Say whether the API honours `dryRun`: an aggregated API server may ignore it and write.

    A group is served by the API server itself where its APIService has no service behind it, or, where that cannot be
    read, where a CRD defines the resource.
    """
    if api.group in BUILT_IN_GROUPS:
        return api.sub != "token"
    root = "/apis/apiregistration.k8s.io/v1/apiservices/"
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
    try:
        status, service = await ask(upstream, "GET", f"{root}{api.version}.{api.group}")
        if status == 200:
            return not at(service, "spec", "service")
        status, _ = await ask(upstream, "GET", f"{crds}{api.resource}.{api.group}")
    except ClusterError:
        return False
    return status == 200


def dry_hash(after: Obj | None) -> str:
    """Return the SHA-256 of what the server would make, without bookkeeping; "" for nothing."""
    if after is None:
        return ""
    metadata = {k: v for k, v in at(after, "metadata", default={}).items() if k in ("name", "labels", "annotations")}
    return sha256({**{k: v for k, v in after.items() if k not in ("metadata", "status")}, "metadata": metadata})
