"""Whether a Gateway takes a route: the listener that is asked for, its protocol, kinds, namespaces and host names.

Follows the order of the Gateway API: section and port, then `allowedRoutes`, then host names that intersect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.domain.raw import fold_int, mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing, selects

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "HTTP": frozenset({"HTTPRoute", "GRPCRoute"}),
    "HTTPS": frozenset({"HTTPRoute", "GRPCRoute"}),
    "TLS": frozenset({"TLSRoute", "TCPRoute"}),
    "TCP": frozenset({"TCPRoute"}),
    "UDP": frozenset({"UDPRoute"}),
}
"""Kinds of routes that a listener takes when it does not say, by its protocol."""
HOSTED = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute"})
_MADE_INTO = {"AIGatewayRoute": "HTTPRoute", "MCPRoute": "HTTPRoute", "AgentgatewayModel": "HTTPRoute"}
"""Kinds that a gateway serves as if they were another one."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of a Gateway or ListenerSet, with its path."""

    owner: Thing
    path: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return its name."""
        return text(self.spec.get("name"))

    @property
    def host(self) -> str:
        """Return its host name, "" for all."""
        return text(self.spec.get("hostname"))

    @property
    def port(self) -> int:
        """Return its port."""
        return fold_int(self.spec.get("port"))

    @property
    def origin(self) -> str:
        """Return from which namespaces routes may come: Same, All, Selector or None."""
        return text(mapping(mapping(self.spec.get("allowedRoutes")).get("namespaces")).get("from")) or "Same"

    @property
    def selector(self) -> Mapping[str, Any]:
        """Return the selector of namespaces."""
        return mapping(mapping(mapping(self.spec.get("allowedRoutes")).get("namespaces")).get("selector"))

    def takes(self, kind: str) -> bool:
        """Say whether it takes routes of a kind."""
        kind = _MADE_INTO.get(kind, kind)
        named = rows(mapping(self.spec.get("allowedRoutes")).get("kinds"))
        if named:
            return any(k.get("kind") == kind for k in named)
        # Protocols with a domain prefix are the implementation's own: nothing is known of them.
        return kind in KINDS.get(text(self.spec.get("protocol")), {kind})

    def admits(self, view: ClusterView, namespace: str) -> bool | None:
        """Say whether routes of a namespace may attach; None where the namespace's labels are not known."""
        match self.origin:
            case "Same":
                return namespace == self.owner.namespace
            case "All":
                return True
            case "Selector":
                home = view.find("Namespace", "", namespace)
                labels = {"kubernetes.io/metadata.name": namespace, **(home.labels if home is not None else {})}
                return selects(self.selector, labels) or (False if home is not None else None)
            case "None":
                return False
            case _:
                return None

    def serves(self, hosts: list[str]) -> bool:
        """Say whether any of these host names falls to it; no host names at all do."""
        return not hosts or not self.host or any(meet(self.host, h) for h in hosts)


def listeners(owner: Thing) -> list[Listener]:
    """Return the listeners of a Gateway or ListenerSet."""
    return [Listener(owner, f"spec.listeners[{i}]", spec) for i, spec in enumerate(owner.rows("spec.listeners"))]


def meet(one: str, two: str) -> bool:
    """Say whether two host names intersect; "*." stands for one or more labels in front."""
    one, two = one.lower().rstrip("."), two.lower().rstrip(".")
    if one.startswith("*.") and two.startswith("*."):
        return one[1:].endswith(two[1:]) or two[1:].endswith(one[1:])
    if one.startswith("*."):
        return two.endswith(one[1:])
    return meet(two, one) if two.startswith("*.") else one == two


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a Gateway does not take a route: the reason in the words of the API, and the listeners that come nearest."""

    reason: str
    near: tuple[Listener, ...]


def refusal(view: ClusterView, route: Thing, ref: Mapping[str, Any], gateway: Thing) -> Refusal | None:
    """Return why a Gateway does not take a route, None where one of its listeners does or where that is not known."""
    every = listeners(gateway)
    section, port = text(ref.get("sectionName")), fold_int(ref.get("port"))
    asked = [x for x in every if section in ("", x.name) and port in (0, x.port)]
    if not asked:
        # A listener of a ListenerSet belongs to the Gateway as well, but is referred to through its ListenerSet.
        return Refusal("NoMatchingParent", tuple(every)) if every else None
    fitting = [x for x in asked if x.takes(route.kind)]
    if not fitting:
        return Refusal("kind", tuple(asked))
    admitted = [(x, x.admits(view, route.namespace)) for x in fitting]
    if any(a is None for _, a in admitted):
        return None
    allowed = [x for x, a in admitted if a]
    if not allowed:
        return Refusal("NotAllowedByListeners", tuple(fitting))
    hosts = texts(route.at("spec.hostnames")) if _MADE_INTO.get(route.kind, route.kind) in HOSTED else []
    if not any(x.serves(hosts) for x in allowed):
        return Refusal("NoMatchingListenerHostname", tuple(allowed))
    return None
