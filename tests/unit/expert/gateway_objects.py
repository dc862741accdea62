"""Objects of the Gateway API, its Inference Extension and the AI gateways, as their controllers leave them."""

from __future__ import annotations

import json
from typing import Any

from agents.expert.analyzers.referents import RESOURCES as KINDS
from assistant.domain.view import ClusterView, Knowledge

from . import objects
from .objects import OLD, SOON, Raw, deployment, node, pod, service, view

AI, AGENT, ENVOY = "aigateway.envoyproxy.io", "agentgateway.dev", "gateway.envoyproxy.io"
GATEWAY, INFERENCE, TRIAL = (
    "gateway.networking.k8s.io",
    "inference.networking.k8s.io",
    "inference.networking.x-k8s.io",
)
CONTROLLER = "gw.test/controller"
VERSIONS = {
    GATEWAY: "v1",
    "gateway.networking.x-k8s.io": "v1alpha1",
    INFERENCE: "v1",
    TRIAL: "v1alpha2",
    ENVOY: "v1alpha1",
    AI: "v1beta1",
    AGENT: "v1alpha1",
    "llm-d.ai": "v1alpha2",
    "gateway.kgateway.dev": "v1alpha1",
}
OTHERS = {
    (GATEWAY, "ReferenceGrant"): "referencegrants",
    (GATEWAY, "BackendTLSPolicy"): "backendtlspolicies",
    (ENVOY, "BackendTrafficPolicy"): "backendtrafficpolicies",
    (ENVOY, "SecurityPolicy"): "securitypolicies",
    (AI, "BackendSecurityPolicy"): "backendsecuritypolicies",
    (AI, "MCPRoute"): "mcproutes",
    (AI, "QuotaPolicy"): "quotapolicies",
    (AGENT, "AgentgatewayPolicy"): "agentgatewaypolicies",
    ("llm-d.ai", "InferenceObjective"): "inferenceobjectives",
    ("llm-d.ai", "InferenceModelRewrite"): "inferencemodelrewrites",
    (TRIAL, "InferenceObjective"): "inferenceobjectives",
}
RESOURCES = {(group, kind): resource for (group, kind), resource in KINDS.items() if group} | {
    (group, kind): f"{plural}.{group}" for (group, kind), plural in OTHERS.items()
}


def made(group: str, kind: str, name: str, namespace: str = "shop", **fields: Any) -> Raw:
    meta: Raw = {"name": name, "creationTimestamp": OLD, "generation": 1, **fields.pop("metadata", {})}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": f"{group}/{VERSIONS[group]}", "kind": kind, "metadata": meta, **fields}


def condition(kind: str, status: str = "True", reason: str = "", message: str = "", **fields: Any) -> Raw:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": message,
        "lastTransitionTime": OLD,
        **fields,
    }


def no(kind: str, reason: str, message: str = "", **fields: Any) -> Raw:
    return condition(kind, "False", reason, message, **fields)


GOOD = [condition("Accepted"), condition("ResolvedRefs")]


def family(name: str = "mesh", *conditions: Raw, **spec: Any) -> Raw:
    told = list(conditions) or [condition("Accepted")]
    return made(
        GATEWAY,
        "GatewayClass",
        name,
        "",
        spec={"controllerName": CONTROLLER, **spec},
        status={"conditions": told},
    )


def listener(name: str = "http", port: int = 80, protocol: str = "HTTP", **fields: Any) -> Raw:
    return {"name": name, "port": port, "protocol": protocol, **fields}


def gateway(
    name: str = "front",
    *listeners: Raw,
    conditions: list[Raw] | None = None,
    told: dict[str, list[Raw]] | None = None,
    namespace: str = "shop",
    metadata: Raw | None = None,
    routes: int = 1,
    **spec: Any,
) -> Raw:
    table = list(listeners) or [listener()]
    good = [condition("Accepted"), condition("Programmed"), condition("ResolvedRefs")]
    return made(
        GATEWAY,
        "Gateway",
        name,
        namespace,
        metadata=metadata or {},
        spec={"gatewayClassName": "mesh", "listeners": table, **spec},
        status={
            "addresses": [{"type": "IPAddress", "value": "192.0.2.7"}],
            "conditions": conditions if conditions is not None else [condition("Accepted"), condition("Programmed")],
            "listeners": [
                {"name": x["name"], "attachedRoutes": routes, "conditions": (told or {}).get(x["name"], good)}
                for x in table
            ],
        },
    )


def route(
    name: str = "web",
    *backends: Raw,
    parents: list[Raw] | None = None,
    told: list[Raw] | None = None,
    kind: str = "HTTPRoute",
    namespace: str = "shop",
    metadata: Raw | None = None,
    silent: bool = False,
    **spec: Any,
) -> Raw:
    """A route to a Gateway; `told` are the conditions of its parents, `silent` leaves the status out."""
    refs = parents if parents is not None else [{"name": "front"}]
    rules = [{"backendRefs": list(backends) or [{"name": "web", "port": 80}]}]
    status = {
        "parents": [
            {"parentRef": ref, "controllerName": CONTROLLER, "conditions": told if told is not None else GOOD}
            for ref in refs
        ]
    }
    return made(
        GATEWAY,
        kind,
        name,
        namespace,
        metadata=metadata or {},
        spec={"parentRefs": refs, "rules": rules, **spec},
        **({} if silent else {"status": status}),
    )


def pool(
    name: str = "llama",
    selector: Raw | None = None,
    port: int = 8000,
    *,
    picker: Raw | None = None,
    told: list[Raw] | None = None,
    silent: bool = False,
    **spec: Any,
) -> Raw:
    ref = picker if picker is not None else {"name": f"{name}-epp", "port": {"number": 9002}}
    parent = {"group": GATEWAY, "kind": "Gateway", "name": "front", "namespace": "shop"}
    status = {"parents": [{"parentRef": parent, "conditions": told if told is not None else GOOD}]}
    return made(
        INFERENCE,
        "InferencePool",
        name,
        spec={
            "selector": {"matchLabels": selector or {"app": name}},
            "targetPorts": [{"number": port}],
            "endpointPickerRef": ref,
            **spec,
        },
        status={} if silent else status,
    )


def server(name: str = "llama", port: int = 8000, *, ready: bool = True, replicas: int = 1) -> list[Any]:
    """A model server that serves on a port, without a Service of its own."""
    box = objects.container(ports=[{"containerPort": port}])
    run = [pod(name, containers=[box], ready=ready)] if replicas else []
    return [deployment(name, box, ready=int(ready and replicas > 0), replicas=replicas), *run]


def picker(name: str = "llama", *, ready: bool = True) -> list[Any]:
    """An endpoint picker with its Service, which serves on 9002."""
    box = objects.container(ports=[{"containerPort": 9002}])
    run = pod(f"{name}-epp", containers=[box], ready=ready)
    return [deployment(f"{name}-epp", box, ready=int(ready)), run, service(f"{name}-epp", port=9002, target=9002)]


def web() -> list[Any]:
    """A web application that is well, and a node."""
    return [deployment("web", ready=1), pod("web", ready=True), service("web"), node()]


def inference(*extra: Any, name: str = "llama") -> list[Any]:
    """A pool that is well in every part, with its gateway and its route."""
    back = {"group": INFERENCE, "kind": "InferencePool", "name": name}
    return [family(), gateway(), route(f"{name}-route", back), pool(name), *server(name), *picker(name), node(), *extra]


def cluster(
    *items: Any,
    without: tuple[str, ...] = (),
    unread: tuple[str, ...] = (),
    logs: dict[tuple[str, str], str] | None = None,
    namespace: str = "shop",
    apart: tuple[str, ...] = (),
) -> ClusterView:
    """A view of these objects. `without` are groups that are not served, `unread` resources that were not read.

    `apart` are resources of which nothing is known but what is in `items`: a namespace that was not listed.
    """
    flat = [raw for item in items for raw in (item if isinstance(item, list) else [item])]
    flat = [raw for item in flat for raw in (item if isinstance(item, list) else [item])]
    own = [raw for raw in flat if (raw["apiVersion"].partition("/")[0], raw["kind"]) in RESOURCES]
    built = view(*[raw for raw in flat if raw not in own], namespace=namespace, logs=logs)
    for (group, kind), resource in RESOURCES.items():
        mine = [
            json.loads(json.dumps(r)) for r in own if (r["apiVersion"].partition("/")[0], r["kind"]) == (group, kind)
        ]
        if group in without:
            built.know(resource, "", Knowledge.ABSENT, "the cluster does not serve this kind")
        elif resource in apart:
            version = f"{group}/{VERSIONS[group]}"
            built.add(resource, mine, f"GET /{resource}", api_version=version, kind=kind, namespace=namespace)
            built.know(resource, "", Knowledge.NOT_READ)
        elif resource not in unread:
            built.add(resource, mine, f"GET /{resource}", api_version=f"{group}/{VERSIONS[group]}", kind=kind)
    return built


__all__ = ["SOON", "cluster", "condition", "family", "gateway", "inference", "made", "no", "pool", "route"]
