"""What references of the Gateway API and its neighbours lead to: by group, kind, namespace and name.

Apart from `ClusterView.find`, because several groups have kinds of the same name (Gateway, Backend, InferencePool).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from agents.expert.remedies import nearest
from assistant.domain.raw import fold_int, mapping, text
from assistant.domain.view import ClusterView, Knowledge, Thing

GATEWAY: Final = "gateway.networking.k8s.io"
GATEWAY_TRIAL: Final = "gateway.networking.x-k8s.io"
INFERENCE: Final = "inference.networking.k8s.io"
INFERENCE_TRIAL: Final = "inference.networking.x-k8s.io"
LLM_D: Final = "llm-d.ai"
ENVOY: Final = "gateway.envoyproxy.io"
AI: Final = "aigateway.envoyproxy.io"
AGENT: Final = "agentgateway.dev"
KGATEWAY: Final = "gateway.kgateway.dev"

ROUTES: Final = tuple(f"{k}.{GATEWAY}" for k in ("httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes"))
POOLS: Final = (f"inferencepools.{INFERENCE}", f"inferencepools.{INFERENCE_TRIAL}")
POLICIES: Final = (
    f"backendtlspolicies.{GATEWAY}",
    f"xbackendtrafficpolicies.{GATEWAY_TRIAL}",
    *(
        f"{k}.{ENVOY}"
        for k in (
            "backendtrafficpolicies",
            "clienttrafficpolicies",
            "securitypolicies",
            "envoyextensionpolicies",
            "envoypatchpolicies",
        )
    ),
    f"agentgatewaypolicies.{AGENT}",
    *(f"{k}.{KGATEWAY}" for k in ("trafficpolicies", "httplistenerpolicies", "backendconfigpolicies")),
)
_PLURALS: Final[Mapping[tuple[str, str], str]] = {
    ("", "Service"): "services",
    ("", "Secret"): "secrets",
    ("", "ConfigMap"): "configmaps",
    (GATEWAY, "GatewayClass"): "gatewayclasses",
    (GATEWAY, "Gateway"): "gateways",
    (GATEWAY, "ListenerSet"): "listenersets",
    (GATEWAY_TRIAL, "XListenerSet"): "xlistenersets",
    (GATEWAY_TRIAL, "XBackend"): "xbackends",
    (GATEWAY, "HTTPRoute"): "httproutes",
    (GATEWAY, "GRPCRoute"): "grpcroutes",
    (GATEWAY, "TLSRoute"): "tlsroutes",
    (GATEWAY, "TCPRoute"): "tcproutes",
    (GATEWAY, "UDPRoute"): "udproutes",
    (INFERENCE, "InferencePool"): "inferencepools",
    (INFERENCE_TRIAL, "InferencePool"): "inferencepools",
    (INFERENCE_TRIAL, "InferencePoolImport"): "inferencepoolimports",
    (ENVOY, "Backend"): "backends",
    (ENVOY, "HTTPRouteFilter"): "httproutefilters",
    (ENVOY, "EnvoyProxy"): "envoyproxies",
    (AI, "AIServiceBackend"): "aiservicebackends",
    (AI, "AIGatewayRoute"): "aigatewayroutes",
    (AI, "GatewayConfig"): "gatewayconfigs",
    (AGENT, "AgentgatewayBackend"): "agentgatewaybackends",
    (AGENT, "AgentgatewayParameters"): "agentgatewayparameters",
    (AGENT, "AgentgatewayModel"): "agentgatewaymodels",
    (KGATEWAY, "Backend"): "backends",
    (KGATEWAY, "GatewayParameters"): "gatewayparameters",
}
RESOURCES: Final[Mapping[tuple[str, str], str]] = {
    (group, kind): f"{plural}.{group}" if group else plural for (group, kind), plural in _PLURALS.items()
}
"""The resource ("plural.group") behind each group and kind that a reference may name here."""
_PLAIN: Final = frozenset({("", "Service")})
_POOLS: Final = frozenset({(INFERENCE, "InferencePool"), (INFERENCE_TRIAL, "InferencePool")})
_HOSTS: Final = frozenset({(ENVOY, "Backend"), (KGATEWAY, "Backend"), (GATEWAY_TRIAL, "XBackend")})
_AGENT: Final = frozenset({(AGENT, "AgentgatewayBackend")})
BACKENDS: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "HTTPRoute": _PLAIN | _POOLS | _HOSTS | _AGENT,
    "GRPCRoute": _PLAIN | _POOLS | _HOSTS | _AGENT,
    "AIGatewayRoute": _POOLS | {(AI, "AIServiceBackend")},
    "AIServiceBackend": _PLAIN | {(ENVOY, "Backend")},
    "MCPRoute": _PLAIN | {(ENVOY, "Backend")},
    "AgentgatewayBackend": _PLAIN | _POOLS,
    "InferenceObjective": _POOLS,
    "InferenceModelRewrite": _POOLS,
    "InferenceModel": _POOLS,
}
"""What objects of a kind can send traffic to, or belong to."""


class Answer(StrEnum):
    """What became of a reference. UNKNOWN is never a fault: the kind is foreign or could not be listed."""

    FOUND = "found"
    MISSING = "missing"
    UNSERVED = "unserved"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference: the object that holds it, the path of the reference in it, and what it names; port 0 is none."""

    holder: Thing
    path: str
    group: str
    kind: str
    namespace: str
    name: str
    port: int = 0
    section: str = ""

    @property
    def resource(self) -> str:
        """Return the resource that it names, "" for a group and kind that is not known here."""
        return RESOURCES.get((self.group, self.kind), "")

    @property
    def abroad(self) -> bool:
        """Say whether it leads into another namespace."""
        return self.namespace != self.holder.namespace

    @property
    def label(self) -> str:
        """Return the object as people name it; with its namespace where that is another one."""
        return f"{self.kind} {self.name}" + (f" in namespace {self.namespace}" if self.abroad else "")


def reference(
    holder: Thing, path: str, raw: Mapping[str, Any], kind: str = "Service", group: str = "", namespace: str = ""
) -> Reference:
    """Read a reference in the form of BackendObjectReference; `kind` and `group` are its defaults."""
    given = raw.get("group")
    port = raw.get("port")
    return Reference(
        holder,
        path,
        given if isinstance(given, str) else "" if raw.get("kind") == "Service" else group,
        text(raw.get("kind")) or kind,
        text(raw.get("namespace")) or namespace or holder.namespace,
        text(raw.get("name")),
        fold_int(mapping(port).get("number")) or fold_int(port),
        text(raw.get("sectionName")),
    )


def named(view: ClusterView, resource: str, namespace: str, name: str) -> Thing | None:
    """Return one object of a resource, None where it was not read."""
    index = view.memo("named", logs=False)
    if resource not in index:
        index[resource] = {(t.namespace, t.name): t for t in view.all(resource)}
    found: Thing | None = index[resource].get((namespace, name))
    return found


def look_up(view: ClusterView, ref: Reference) -> tuple[Answer, Thing | None]:
    """Follow a reference. It is MISSING only where the kind was listed in that namespace."""
    if not ref.resource or not ref.name:
        return Answer.UNKNOWN, None
    place = "" if ref.kind == "GatewayClass" else ref.namespace
    thing = named(view, ref.resource, place, ref.name)
    if thing is not None:
        return Answer.FOUND, thing
    if view.complete(ref.resource, place):
        return Answer.MISSING, None
    if view.knowledge(ref.resource, place) is Knowledge.ABSENT:
        return Answer.UNSERVED, None
    return Answer.UNKNOWN, None


def likely(view: ClusterView, ref: Reference) -> str:
    """Return the name in that namespace that was most likely meant, "" where none is near."""
    others = [t for t in view.all(ref.resource, ref.namespace) if t.name != ref.name]
    near = nearest(ref.name, [t.name for t in others])
    if near or ref.kind != "InferencePool":
        return near
    words = set(ref.name.lower().split("-"))
    fitting = [t for t in others if words & {w for v in selector_of(t).values() for w in v.lower().split("-")}]
    return fitting[0].name if len(fitting) == 1 else ""


def elsewhere(view: ClusterView, ref: Reference) -> str:
    """Return the one other namespace that has an object of this kind and name, "" where none or several have."""
    places = {t.namespace for t in view.all(ref.resource) if t.name == ref.name} - {ref.namespace}
    return next(iter(places)) if len(places) == 1 else ""


def other_kind(view: ClusterView, ref: Reference) -> tuple[str, str] | None:
    """Return the group and kind of the back end that has this name in that namespace, None unless it is one."""
    found = [
        key
        for key in sorted(BACKENDS.get(ref.holder.kind, ()))
        if key != (ref.group, ref.kind) and named(view, RESOURCES[key], ref.namespace, ref.name) is not None
    ]
    same = [key for key in found if key[1] == ref.kind]
    return (same or found)[0] if len(same or found) == 1 else None


def selector_of(pool: Thing) -> dict[str, str]:
    """Return the labels that an InferencePool selects: `matchLabels` in v1, a plain map in v1alpha2."""
    raw = pool.map("spec.selector.matchLabels") or pool.map("spec.selector")
    return {str(k): v for k, v in raw.items() if isinstance(v, str)}
