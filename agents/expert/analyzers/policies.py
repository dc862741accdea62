"""NetworkPolicies evaluated for the pair of pods that cannot talk (networking.k8s.io/v1 semantics)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.expert import logs
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import json_patch
from agents.expert.workload import Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, mapping, rows, texts
from assistant.domain.view import ClusterView, Thing, selects

POLICIES = "networkpolicies.networking.k8s.io"


def between(
    view: ClusterView, caller: Workload, service: Thing, port: int, cited: tuple[Citation, ...]
) -> Draft | None:
    """Return the policy that keeps a caller from a Service's pods, None where policies allow it."""
    source = next(iter(caller.pods), None)
    backends = view.pods_with(service.namespace, service.map("spec.selector"))
    if source is None:
        return None
    if logs.DNS.search(cited[0].quote) or "lookup" in cited[0].quote:
        closed = _names_closed(view, caller, source, cited)
        if closed is not None:
            return closed
    inside = _target_port(service, port, backends[0] if backends else None)
    for side, pod, peer in (
        ("Ingress", backends[0] if backends else None, source),
        ("Egress", source, backends[0] if backends else None),
    ):
        if pod is None or peer is None:
            continue
        applied = [
            p
            for p in view.all(POLICIES, pod.namespace)
            if selects(p.at("spec.podSelector"), pod.labels) and side in _types(p)
        ]
        if applied and not any(_allows(view, p, side, peer, inside) for p in applied):
            return _draft(view, caller, service, side, applied, peer, inside, cited)
    return None


def _names_closed(view: ClusterView, caller: Workload, source: Thing, cited: tuple[Citation, ...]) -> Draft | None:
    """Return the egress policy that keeps a caller from the cluster's DNS (port 53, in another namespace)."""
    applied = [
        p
        for p in view.all(POLICIES, source.namespace)
        if selects(p.at("spec.podSelector"), source.labels) and "Egress" in _types(p)
    ]
    if not applied or any(_opens_names(rule) for p in applied for rule in p.rows("spec.egress")):
        return None
    policy = applied[0]
    rule = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    has = bool(policy.at("spec.egress"))
    step = {"op": "add", "path": "/spec/egress/-" if has else "/spec/egress", "value": rule if has else [rule]}
    fix = json_patch(
        policy,
        [step],
        f"Let NetworkPolicy {policy.name} allow DNS",
        "opens port 53 towards kube-system only",
        "remove the rule again",
    )
    return Draft(
        "network",
        policy.target,
        "spec.egress",
        f"NetworkPolicy {policy.name} keeps {caller.name()} from the cluster's DNS: no egress rule allows port 53.",
        0.9,
        Level.POLICY,
        (*cited, view.cite(policy, "spec.policyTypes", "spec.egress")),
        caller.keys | {policy.key},
        caller.keys,
        (fix,),
    )


def _opens_names(rule: Mapping[str, Any]) -> bool:
    table = rows(rule.get("ports"))
    port = not table or any(p.get("port") in (None, 53, "dns") and p.get("protocol") == "UDP" for p in table)
    peers = rows(rule.get("to"))
    return port and (not peers or any("namespaceSelector" in p or "ipBlock" in p for p in peers))


def _types(policy: Thing) -> list[str]:
    return texts(policy.at("spec.policyTypes")) or (
        ["Ingress", "Egress"] if policy.at("spec.egress") is not None else ["Ingress"]
    )


def _target_port(service: Thing, port: int, pod: Thing | None) -> int:
    entry = next((p for p in service.rows("spec.ports") if not port or p.get("port") == port), {})
    wanted = entry.get("targetPort", entry.get("port"))
    if isinstance(wanted, str) and pod is not None:
        return next(
            (
                fold_int(p.get("containerPort"))
                for c in pod.rows("spec.containers")
                for p in rows(c.get("ports"))
                if p.get("name") == wanted
            ),
            0,
        )
    return fold_int(wanted)


def _allows(view: ClusterView, policy: Thing, side: str, peer: Thing, port: int) -> bool:
    peers = "from" if side == "Ingress" else "to"
    for rule in policy.rows(f"spec.{side.lower()}"):
        ports = rows(rule.get("ports"))
        fits = not ports or any(_port_fits(p, port) for p in ports)
        who = rule.get(peers)
        if fits and (not who or any(_peer_fits(view, policy, p, peer) for p in rows(who))):
            return True
    return False


def _port_fits(entry: Mapping[str, Any], port: int) -> bool:
    asked = entry.get("port")
    if asked is None or isinstance(asked, str) or not port:
        return bool(entry.get("protocol", "TCP") == "TCP")
    inside = fold_int(asked) <= port <= fold_int(entry.get("endPort"), fold_int(asked))
    return inside and bool(entry.get("protocol", "TCP") == "TCP")


def _peer_fits(view: ClusterView, policy: Thing, entry: Mapping[str, Any], peer: Thing) -> bool:
    if "ipBlock" in entry:
        return mapping(entry.get("ipBlock")).get("cidr") == "0.0.0.0/0"
    place = entry.get("namespaceSelector")
    if place is None and peer.namespace != policy.namespace:
        return False
    if place is not None:
        home = view.find("Namespace", "", peer.namespace)
        labels = home.labels if home is not None else {"kubernetes.io/metadata.name": peer.namespace}
        if not selects(place, labels):
            return False
    return "podSelector" not in entry or selects(entry.get("podSelector"), peer.labels)


def _nearest(view: ClusterView, applied: list[Thing], side: str, peer: Thing, port: int) -> tuple[Thing, str, str]:
    """Return the policy that was most likely to allow a pair, the field that does not, and why in words.

    A rule that has the port and another peer, or the peer and another port, was meant for it; a policy without rules
    only closes.
    """
    peers, place = ("from" if side == "Ingress" else "to"), f"spec.{side.lower()}"
    found: list[tuple[int, Thing, str, str]] = []
    for policy in applied:
        for i, rule in enumerate(policy.rows(place)):
            ports, who = rows(rule.get("ports")), rows(rule.get(peers))
            fits = not ports or any(_port_fits(p, port) for p in ports)
            if not who or any(_peer_fits(view, policy, p, peer) for p in who):
                shown = ", ".join(str(p.get("port")) for p in ports)
                found.append((3, policy, f"{place}[{i}].ports[0].port", f"it allows port {shown} and not {port}"))
                continue
            j, lack = next(((j, _lacks(view, policy, p, peer)) for j, p in enumerate(who)), (0, "podSelector"))
            why = f"the {lack} of its {side.lower()} rule does not match {peer.name}"
            found.append((2 if fits else 1, policy, f"{place}[{i}].{peers}[{j}].{lack}", why))
    if not found:
        return applied[0], place, f"it has no {side.lower()} rule (policyTypes {side})"
    best = max(found, key=lambda item: item[0])
    return best[1], best[2], best[3]


def _lacks(view: ClusterView, policy: Thing, entry: Mapping[str, Any], peer: Thing) -> str:
    """Return the selector of a peer that does not match."""
    if "ipBlock" in entry:
        return "ipBlock"
    alone = {k: v for k, v in entry.items() if k == "namespaceSelector"}
    return "namespaceSelector" if alone and not _peer_fits(view, policy, alone, peer) else "podSelector"


def _draft(
    view: ClusterView,
    caller: Workload,
    service: Thing,
    side: str,
    applied: list[Thing],
    peer: Thing,
    port: int,
    cited: tuple[Citation, ...],
) -> Draft:
    peers = "from" if side == "Ingress" else "to"
    policy, near, why = _nearest(view, applied, side, peer, port)
    field = f"spec.{side.lower()}"
    labels = {
        k: v
        for k, v in peer.labels.items()
        if k not in ("pod-template-hash", "controller-revision-hash")
        and not k.startswith(("statefulset.kubernetes.io", "topology.kubernetes.io", "apps.kubernetes.io"))
    }
    one: dict[str, Any] = {"podSelector": {"matchLabels": labels}}
    if peer.namespace != policy.namespace:
        one["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": peer.namespace}}
    rule = {peers: [one], **({"ports": [{"protocol": "TCP", "port": port}]} if port else {})}
    where = f"/spec/{side.lower()}" + ("/-" if policy.at(field) else "")
    value = rule if policy.at(field) else [rule]
    fix: Fix = json_patch(
        policy,
        [{"op": "add", "path": where, "value": value}],
        f"Let NetworkPolicy {policy.name} allow {peers} {peer.name.rsplit('-', 2)[0]} on port {port or 'any'}",
        "opens this pair and this port only",
        "remove the rule again",
    )
    way = f"from reaching Service {service.name}"
    return Draft(
        "network",
        policy.target,
        near,
        f"NetworkPolicy {policy.name} keeps {caller.name()} {way}: {why}.",
        0.92,
        Level.POLICY,
        (*cited, view.cite(policy, "spec.podSelector", field)),
        caller.keys | {policy.key},
        caller.keys | {service.key + "#calls"},
        (fix,),
    )
