"""Cluster API on bare metal: machines that get no host, no address or no node, and what waits for them.

The chain is Machine → Metal3Machine → BareMetalHost → Node, by infrastructureRef, consumerRef and provider ID
(cluster.x-k8s.io and infrastructure.cluster.x-k8s.io, v1beta1 and v1beta2).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from agents.expert.analyzers.host_errors import HOSTS
from agents.expert.analyzers.hosts import PAUSED, consumers
from agents.expert.analyzers.statuses import owners, told
from agents.expert.conditions import read, said, stale
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing, when

CAPI, INFRA = "cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io"
MACHINES, METAL_MACHINES, POOLS = f"machines.{CAPI}", f"metal3machines.{INFRA}", "ippools.ipam.metal3.io"
CLUSTERS, REMEDIATIONS = f"metal3clusters.{INFRA}", f"metal3remediations.{INFRA}"
_LEVELS = {
    f"metal3datas.{INFRA}": Level.OBJECT,
    f"metal3dataclaims.{INFRA}": Level.OBJECT,
    "ipclaims.ipam.metal3.io": Level.OBJECT,
    METAL_MACHINES: Level.WORKLOAD,
    CLUSTERS: Level.WORKLOAD,
    MACHINES: Level.POD,
    f"machinesets.{CAPI}": Level.TRAFFIC,
    f"machinedeployments.{CAPI}": Level.TRAFFIC,
    f"machinehealthchecks.{CAPI}": Level.TRAFFIC,
    f"kubeadmcontrolplanes.controlplane.{CAPI}": Level.TRAFFIC,
    f"clusters.{CAPI}": Level.CALLER,
}
"""Each kind stands above those that it is made of, so that one machine's trouble is told once."""
KINDS = (*_LEVELS, POOLS, REMEDIATIONS)
LONG = timedelta(minutes=60)
"""Writing an image to a machine and its first boot take this long at most; waiting for it is no fault before."""
JOINING = timedelta(minutes=30)
UNHEALTHY = "capi.metal3.io/unhealthy"


def analyze(view: ClusterView) -> list[Draft]:
    """Return what keeps machines from becoming nodes."""
    if not any(view.all(kind) for kind in KINDS):
        return []
    found = [d for pool in view.all(POOLS) for d in _pool(view, pool)]
    for kind, level in _LEVELS.items():
        for thing in view.all(kind):
            if thing.deleting or thing.at("spec.paused") is True:
                continue
            own = _machine(view, thing) if kind == METAL_MACHINES else _joining(view, thing) if kind == MACHINES else []
            found += own or _by_condition(view, thing, level)
    for remedy in view.all(REMEDIATIONS):
        if remedy.text("status.phase") == "Failed":
            found.append(_failed_remedy(view, remedy))
    return found


def _by_condition(view: ClusterView, thing: Thing, level: Level) -> list[Draft]:
    failure = thing.text("status.failureMessage")
    bad = read(view, thing, LONG).bad
    if not bad and not failure:
        return []
    path, condition = bad[0] if bad else ("status.failureMessage", {"type": "failureMessage", "message": failure})
    draft = told(view, thing, path, condition)
    category = "baremetal" if view.all(METAL_MACHINES) or view.all(HOSTS) else "other"
    words = said(condition) if bad else " ".join(failure.split())[:160]
    # A machine's trouble is also its cluster's, which names it by a label where no owner leads there.
    home = text(thing.labels.get("cluster.x-k8s.io/cluster-name")) or thing.text("spec.clusterName")
    keys = draft.explains | owners(view, thing) | ({f"Cluster/{thing.namespace}/{home}"} if home else set())
    return [
        replace(draft, category=category, level=level, explains=keys, summary=f"{thing.kind} {thing.name}: {words}.")
    ]


def _machine(view: ClusterView, machine: Thing) -> list[Draft]:
    """Judge a machine for which no host was found: which of the hosts fit, and what is the matter with those."""
    bad = [
        (p, c)
        for p, c in _association(machine)
        if not stale(machine, c)
        and text(c.get("type")).startswith(("AssociateBareMetalHost", "AssociateBMH"))
        and c.get("status") == "False"
        and "no available host" in text(c.get("message")).lower()
    ]
    if not bad:
        return []
    path, _ = bad[0]
    hosts = view.all(HOSTS, machine.namespace)
    fitting = [h for h in hosts if _selected(machine, h)]
    blocked = {h.name: why for h in fitting if (why := _unfit(h))}
    cited = [view.cite(machine, path, "spec.hostSelector")]
    fixes: list[Fix] = []
    if not view.complete(HOSTS, machine.namespace) and not hosts:
        why = "no BareMetalHost is available for it"
    elif not hosts:
        why = f"there is no BareMetalHost in namespace {machine.namespace}"
    elif not fitting:
        free = sum(not _unfit(h) for h in hosts)
        why = f"none of {len(hosts)} hosts ({free} free) matches its hostSelector {_shown(machine)}"
        fixes = _selector_fixes(view, machine, hosts)
        cited.append(view.cite(hosts[0], "metadata.labels"))
    else:
        reasons = "; ".join(f"{name} {why}" for name, why in list(blocked.items())[:4])
        why = f"of {len(hosts)} hosts {len(fitting)} match, and none is free: {reasons}"
        cited += [
            view.cite(h, "status.provisioning.state", "spec.consumerRef", "status.errorMessage") for h in fitting[:2]
        ]
    fixes.append(
        outside(
            "Register another host with the labels that are asked for, or free one",
            "Cluster API takes the next host that fits by itself",
        )
    )
    above = owners(view, machine)
    troubled = {h.key for h in fitting if h.text("status.errorMessage") or h.text("status.errorType")}
    return [
        Draft(
            "baremetal",
            machine.target,
            "spec.hostSelector",
            f"Metal3Machine {machine.name} gets no host: {why}.",
            0.93 if hosts else 0.85,
            Level.WORKLOAD,
            tuple(cited),
            frozenset({machine.key, *troubled}),
            frozenset({machine.key, *above}),
            tuple(fixes),
        )
    ]


def _association(machine: Thing) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a machine's conditions, of any type: that of its host ends in none of the words that we know."""
    return [(f"status.conditions[{i}]", c) for i, c in enumerate(machine.rows("status.conditions"))]


def _selected(machine: Thing, host: Thing) -> bool:
    """Say whether a host fits a machine's hostSelector; operators may be written in lower case there."""
    labels = host.labels
    if any(labels.get(k) != v for k, v in machine.map("spec.hostSelector.matchLabels").items()):
        return False
    for rule in machine.rows("spec.hostSelector.matchExpressions"):
        key, values = text(rule.get("key")), texts(rule.get("values"))
        match text(rule.get("operator")).lower():
            case "in" | "=" | "==":
                good = labels.get(key) in values
            case "notin" | "!=":
                good = labels.get(key) not in values
            case "exists":
                good = key in labels
            case "doesnotexist" | "!":
                good = key not in labels
            case _:
                good = False
        if not good:
            return False
    return True


def _unfit(host: Thing) -> str:
    """Return why Cluster API does not take a host, "" where it may."""
    if host.map("spec.consumerRef"):
        return f"is used by {text(host.map('spec.consumerRef').get('name'))}"
    if host.text("status.errorMessage") or host.text("status.errorType"):
        return f"has a {host.text('status.errorType') or 'fault'}"
    if host.deleting:
        return "is being deleted"
    held = [a for a in (PAUSED, UNHEALTHY) if a in host.annotations]
    if held:
        return f"is annotated {held[0]}"
    state = host.text("status.provisioning.state")
    return "" if state in ("available", "ready") else f"is {state or 'not registered'}"


def _shown(machine: Thing) -> str:
    wanted = [f"{k}={v}" for k, v in machine.map("spec.hostSelector.matchLabels").items()]
    wanted += [
        f"{r.get('key')} {r.get('operator')} {','.join(texts(r.get('values')))}".strip()
        for r in machine.rows("spec.hostSelector.matchExpressions")
    ]
    return ", ".join(wanted) or "(empty)"


def _selector_fixes(view: ClusterView, machine: Thing, hosts: list[Thing]) -> list[Fix]:
    fixes = []
    free = [h for h in hosts if not _unfit(h)]
    for key, value in machine.map("spec.hostSelector.matchLabels").items():
        near = nearest(text(value), [text(h.labels.get(key)) for h in free])
        if near:
            place = f"spec.hostSelector.matchLabels['{key}']"
            fixes.append(
                set_path(machine, place, near, f"Select hosts with {key}={near}", "free hosts have that label")
            )
    template = text(machine.annotations.get("cluster.x-k8s.io/cloned-from-name"))
    if fixes and template:
        title = f"Make a new Metal3MachineTemplate from {template} with the right hostSelector"
        fixes.append(outside(title, "the next machines are made from it, and a template cannot be changed in place"))
    return fixes


def _joining(view: ClusterView, machine: Thing) -> list[Draft]:
    """Judge a machine whose host runs its image for long, and that is no node yet."""
    if machine.text("status.nodeRef.name") or machine.text("status.phase") in ("Deleting", "Deleted", "Failed"):
        return []
    ref = machine.map("spec.infrastructureRef")
    metal = view.find(text(ref.get("kind")), text(ref.get("namespace")) or machine.namespace, text(ref.get("name")))
    host = _host_of(view, metal) if metal is not None else None
    if metal is None or host is None or host.text("status.provisioning.state") != "provisioned":
        return []
    ended = when(mapping(host.at("status.operationHistory.provision")).get("end")) or when(
        host.at("status.lastUpdated")
    )
    if ended is None or view.now - ended < JOINING or host.at("status.poweredOn") is False:
        return []
    if any(k.startswith("Node/") for k in consumers(view, host)):
        return []  # its node is there, and Cluster API is about to see it
    joined = _other_id(view, machine, metal, host)
    if joined is not None:
        return [joined]
    fix = outside(
        "Read cloud-init's and kubeadm's output on the machine's console, and see that it reaches the API server",
        "the image was written and booted; what keeps it from joining is on the machine",
    )
    lost = "" if metal.text("spec.providerID") else " (and its Metal3Machine has no providerID)"
    return [
        Draft(
            "baremetal",
            machine.target,
            "status.nodeRef",
            f"Machine {machine.name} is no node: host {host.name} runs its image, and no node has joined{lost}.",
            0.75,
            Level.POD,
            (
                view.cite(machine, "status.phase", "spec.infrastructureRef"),
                view.cite(host, "status.provisioning.state", "status.operationHistory"),
            ),
            frozenset({machine.key}),
            frozenset({machine.key, *owners(view, machine)}),
            (fix,),
        )
    ]


def _other_id(view: ClusterView, machine: Thing, metal: Thing, host: Thing) -> Draft | None:
    """Judge a node that has joined and does not count, because its provider ID is not that of the machine."""
    named = (view.find("Node", "", n) for n in (host.name, machine.name, metal.name))
    node = next((n for n in named if n is not None), None)
    wanted = metal.text("spec.providerID")
    if node is None or (wanted and node.text("spec.providerID") == wanted):
        return None
    keys = frozenset({machine.key, *owners(view, machine)})
    cloud = next((c for c in view.all(CLUSTERS, metal.namespace) if c.at("spec.cloudProviderEnabled") is True), None)
    cited = [view.cite(node, "spec.providerID", "metadata.name"), view.cite(metal, "spec.providerID", "metadata.name")]
    has = node.text("spec.providerID") or "none"
    words = f"Machine {machine.name} is no node: node {node.name} has provider ID {has}, not that of its Metal3Machine"
    if cloud is None or node.text("spec.providerID"):
        identity = wanted or f"metal3://{host.namespace}/{host.name}/{metal.name}"
        fix = outside(
            f"Let the node's kubelet register with provider ID {identity}", "Cluster API finds its node by that"
        )
        return _unjoined(machine, machine, "status.nodeRef", f"{words}.", cited, keys, fix)
    field = "spec.cloudProviderEnabled"
    cited.append(view.cite(cloud, field))
    title = f"Say that Metal3Cluster {cloud.name} has no cloud provider"
    off = set_path(cloud, field, False, title, "right unless an external cloud provider is to be installed")
    return _unjoined(machine, cloud, field, f"{words}: no cloud provider sets it.", cited, keys, off)


def _unjoined(
    machine: Thing, thing: Thing, field: str, words: str, cited: list[Citation], keys: frozenset[str], fix: Fix
) -> Draft:
    about = frozenset({machine.key})
    return Draft("baremetal", thing.target, field, words, 0.85, Level.WORKLOAD, tuple(cited), about, keys, (fix,))


def _host_of(view: ClusterView, metal: Thing) -> Thing | None:
    place, _, name = text(metal.annotations.get("metal3.io/BareMetalHost")).partition("/")
    return view.find("BareMetalHost", place, name) if name else None


def _pool(view: ClusterView, pool: Thing) -> list[Draft]:
    """Judge an address pool all of whose addresses are given out while somebody waits for one."""
    room, used = _room(pool), len(pool.map("status.indexes"))
    waiting = [c for c in view.all("ipclaims.ipam.metal3.io", pool.namespace) if c.text("spec.pool.name") == pool.name]
    waiting = [c for c in waiting if not c.map("status.address") and not c.deleting]
    if room is None or used < room or not waiting:
        return []
    keys = frozenset(c.key for c in waiting) | {k for c in waiting for k in owners(view, c)}
    fix = outside(
        "Add a range of addresses to the pool that nobody else uses", "who runs that network knows which is free"
    )
    return [
        Draft(
            "baremetal",
            pool.target,
            "spec.pools",
            f"IPPool {pool.name} has no address left: all {room} are given out, and {len(waiting)} claims wait.",
            0.93,
            Level.OBJECT,
            (view.cite(pool, "spec.pools"), view.cite(waiting[0], "spec.pool", "metadata.name")),
            frozenset({pool.key}),
            keys | {pool.key},
            (fix,),
        )
    ]


def _room(pool: Thing) -> int | None:
    """Return how many addresses a pool has, None where a range cannot be read."""
    total = 0
    for part in rows(pool.at("spec.pools")):
        try:
            if part.get("start") and part.get("end"):
                first, last = (ipaddress.ip_address(text(part.get(k))) for k in ("start", "end"))
                total += int(last) - int(first) + 1
            else:
                net = ipaddress.ip_network(text(part.get("subnet")), strict=False)
                total += max(0, net.num_addresses - 2)
        except ValueError:
            return None
    return total or None


def _failed_remedy(view: ClusterView, remedy: Thing) -> Draft:
    fix = outside(
        "See why the machine does not come back after its reboots, then replace it", "its retries are used up"
    )
    return Draft(
        "baremetal",
        remedy.target,
        "status.phase",
        f"Metal3Remediation {remedy.name} failed: rebooting did not bring its machine back.",
        0.8,
        Level.POD,
        (view.cite(remedy, "status.phase", "status.retryCount"),),
        frozenset({remedy.key}),
        frozenset({remedy.key, *owners(view, remedy)}),
        (fix,),
    )
