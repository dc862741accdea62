"""Reads the admission webhooks that a change meets, and whether their Services can answer."""

from __future__ import annotations

import asyncio
from typing import Final

from assistant.domain.proposal import Check
from assistant.gate.facts import Reader
from assistant.policy.admission import Arriving, Hook, meeting, operation_of, webhooks_check
from assistant.policy.api_path import ApiPath
from assistant.policy.quota import brings_pods
from assistant.policy.surroundings import Obj, Surroundings, at, pod_labels

_ROOT: Final = "/apis/admissionregistration.k8s.io/v1"
_KINDS: Final = {
    "ValidatingWebhookConfiguration": f"{_ROOT}/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": f"{_ROOT}/mutatingwebhookconfigurations",
}


async def prefetch(reader: Reader) -> None:
    """Begin to read the configurations, so that `webhooks` need not wait."""
    await asyncio.gather(*(reader.items(kind, path) for kind, path in _KINDS.items()))


async def webhooks(reader: Reader, api: ApiPath, around: Surroundings) -> Check:
    """Return the check `webhooks` for a change and for the pods that it leads to."""
    lists = await asyncio.gather(*(reader.items(kind, path) for kind, path in _KINDS.items()))
    unread = any(kind in reader.unread for kind in _KINDS)
    configurations = [item for items in lists for item in items]
    if not configurations:
        return webhooks_check((), (), {}, unread)
    namespace = api.namespace or (api.name if api.resource == "namespaces" else "")
    labels = await _labels(reader, namespace) if namespace else {}
    sides = [at(side, "metadata", "labels", default={}) for side in (around.live, around.after) if side is not None]
    namespaced = bool(api.namespace) and api.resource != "namespaces"
    exists = around.live is not None
    operation = operation_of(around.method, api.sub, exists=exists)
    arriving = Arriving(operation, api.group, api.version, api.resource, api.sub, namespaced, tuple(sides), labels)
    now = meeting(configurations, arriving)
    pods: tuple[Hook, ...] = ()
    if brings_pods(around) and api.resource != "pods":
        template = pod_labels(around.after if api.sub != "scale" else around.whole, around.kind)
        pods = meeting(configurations, Arriving("CREATE", "", "v1", "pods", "", True, (template,), labels))
    asked = {hook.service for hook in (*now, *pods) if hook.fails_closed and hook.service is not None}
    found = await asyncio.gather(*(_endpoints(reader, *service) for service in sorted(asked)))
    return webhooks_check(now, pods, dict(zip(sorted(asked), found, strict=True)), unread)


async def _labels(reader: Reader, namespace: str) -> Obj | None:
    status, value = await reader.get(f"/api/v1/namespaces/{namespace}")
    return at(value, "metadata", "labels", default={}) if status == 200 else None


async def _endpoints(reader: Reader, namespace: str, service: str) -> int | None:
    """Return the ready endpoints of a Service, None where they could not be read."""
    slices = await reader.list("EndpointSlice", f"kubernetes.io/service-name={service}", namespace=namespace)
    if "EndpointSlice" in reader.unread:
        return None
    endpoints = [e for one in slices for e in one.get("endpoints") or []]
    # `ready` left out means ready (discovery/v1 EndpointConditions).
    return sum(at(endpoint, "conditions", "ready", default=True) is not False for endpoint in endpoints)
