"""OpenYurt: sites that are offline, pools without a leader, edge nodes without a pool or with a broken autonomy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from agents.expert.analyzers.autonomy import BINDING, DURATION, EDGE, autonomy, corrected, give, is_edge
from agents.expert.analyzers.nodes import pods_on
from agents.expert.analyzers.sites import MEMBER, POOLS, Site, everywhere, neighbours, pool_name, sites
from agents.expert.conditions import because, path_of_condition
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import workloads
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text, texts
from assistant.domain.view import ClusterView, Thing, selects

RAVEN = "gateways.raven.openyurt.io"
DELEGATED = "node.openyurt.io/unschedulable"
"""The taint of a node whose heartbeats come through its pool's coordinator (OpenYurt before 1.7)."""
_CERTIFICATE = re.compile(
    r"waiting for .*certificate|certificate .*(?:not ready|expired|not (?:been )?approved)"
    r"|bootstrap token .*(?:expired|invalid)|failed to (?:create|get|bootstrap) .*certificate",
    re.IGNORECASE,
)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with sites and their nodes, beyond single nodes that are not ready."""
    wide = everywhere(view)
    found = [_cloud_side(view, wide)] if wide else []
    for site in sites(view):
        if site.pool.deleting:
            continue
        if site.offline:
            found.append(_offline(view, site, Level.POLICY if wide else Level.PLATFORM))
        else:
            found += _leader(view, site)
    for node in view.all("nodes"):
        if is_edge(node):
            found += _edge_node(view, node)
        elif any(a in node.annotations for a in (BINDING, DURATION)):
            found += _no_effect(view, node)
    return found + [d for g in view.all(RAVEN) for d in _tunnel(view, g)] + _hub(view)


def _draft(
    view: ClusterView,
    thing: Thing,
    field: str,
    summary: str,
    sure: float,
    cited: Iterable[Citation],
    fixes: Iterable[Fix],
    keys: frozenset[str],
    level: Level = Level.OBJECT,
) -> Draft:
    """Return a claim; one of a site that nothing of the question's namespace is on or goes to is a note."""
    aside = bool(view.namespace) and not any(k.startswith(("Pod/", "Deployment/", "YurtAppSet/")) for k in keys)
    cites = tuple(cited)
    return Draft(
        "edge", thing.target, field, summary, sure, level, cites, frozenset({thing.key}), keys, tuple(fixes), note=aside
    )


def _keys(view: ClusterView, nodes: Iterable[Thing]) -> frozenset[str]:
    return frozenset(
        k for n in nodes for k in (n.key, f"{n.key}#taint", *(p.key for p in pods_on(view).get(n.name, ())))
    )


def _offline(view: ClusterView, site: Site, level: Level) -> Draft:
    pool, lost = site.pool, site.lost
    since = f" since {site.since:%Y-%m-%d %H:%M UTC}" if site.since is not None else ""
    at_once = ", all at once" if site.together else ""
    count = len(site.nodes) or pool.number("status.unreadyNodeNum")
    bare = [n.name for n in lost if is_edge(n) and autonomy(n).seconds == 0]
    kept = [n.name for n in lost if is_edge(n) and autonomy(n).seconds != 0]
    stay = f" Pods of {', '.join(kept)} stay (autonomy)." if kept else ""
    go = f" Pods of {', '.join(bare)} are evicted after their tolerationSeconds: no autonomy." if bare else ""
    fixes: list[Fix] = [
        outside(
            f"Check the link and the power of site {pool.name} first, not its {count} nodes; until it is back, delete, "
            "drain and roll out nothing there",
            "nodes that are lost together share one cause, and pods with autonomy keep serving the site meanwhile",
        )
    ]
    fixes += [f for n in lost if n.name in bare and (f := give(n, neighbours(view, n))) is not None]
    cited = [view.cite(pool, "status.readyNodeNum", "status.unreadyNodeNum", "status.nodes")]
    cited += [view.cite(n, path_of_condition(n, "Ready")) for n in lost[:3]]
    words = (
        f"NodePool {pool.name} is offline: its {count} nodes are NotReady{since}{at_once}, so suspect the site's link."
    )
    sure = 0.93 if site.together else 0.8
    keys = _keys(view, site.nodes) | {pool.key} | bound_for(view).get(pool.name, frozenset())
    return _draft(view, pool, "status.unreadyNodeNum", f"{words}{stay}{go}", sure, cited, fixes, keys, level)


def _cloud_side(view: ClusterView, wide: list[Site]) -> Draft:
    first = wide[0].pool
    keys = frozenset(s.pool.key for s in wide) | _keys(view, [n for s in wide for n in s.nodes])
    keys = keys.union(*(bound_for(view).get(s.pool.name, ()) for s in wide))
    fix = outside(
        "Look at the cloud's side: the API server's public address and load balancer, its certificate, yurt-manager",
        "sites share nothing else; the nodes and their pods are most likely well",
    )
    names = ", ".join(s.pool.name for s in wide[:5])
    words = f"All {len(wide)} sites were lost at once ({names}): the cause is in the cloud."
    cited = [view.cite(s.pool, "status.readyNodeNum", "status.unreadyNodeNum") for s in wide[:3]]
    return _draft(view, first, "status.readyNodeNum", words, 0.85, cited, (fix,), keys, Level.PLATFORM)


def _leader(view: ClusterView, site: Site) -> list[Draft]:
    """Judge a pool that wants a leader, has ready nodes and has elected none (fields of v1beta2 only)."""
    pool = site.pool
    if pool.at("spec.enableLeaderElection") is not True or pool.number("status.leaderNum") > 0:
        return []
    ready = [n for n in site.nodes if n not in site.lost]
    if not (ready if site.nodes else pool.number("status.readyNodeNum")) or not pool.map("status"):
        return []
    wanted = pool.map("spec.leaderNodeLabelSelector")
    cited = [view.cite(pool, "spec.leaderElectionStrategy", "spec.leaderNodeLabelSelector", "status.leaderNum")]
    keys = frozenset({pool.key}) | bound_for(view).get(pool.name, frozenset())
    chosen = [n for n in site.nodes if wanted and all(n.labels.get(k) == v for k, v in wanted.items())]
    if pool.text("spec.leaderElectionStrategy") != "mark" or (chosen and any(n in ready for n in chosen)):
        fix = outside("Look at yurt-manager and at YurtHub on the pool's nodes", "they elect and report the leader")
        place = path_of_condition(pool, "LeaderReady") if pool.condition("LeaderReady") else "status.leaderNum"
        words = f"NodePool {pool.name} has no leader although it has ready nodes."
        return [_draft(view, pool, place, words, 0.75, cited, (fix,), keys)]
    shown = ", ".join(f"{k}={v}" for k, v in wanted.items()) or "(empty)"
    fixes: list[Fix] = []
    for key, value in wanted.items():
        near = nearest(text(value), [text(n.labels.get(key)) for n in ready])
        if near:
            place = f"spec.leaderNodeLabelSelector['{key}']"
            fixes.append(
                set_path(pool, place, near, f"Select the leader by {key}={near}", "a ready node has that label")
            )
    fixes.append(
        outside("Label the node that is to lead with it", "the strategy is mark: only labelled nodes may lead")
    )
    title = "Let any ready node lead"
    fixes.append(set_path(pool, "spec.leaderElectionStrategy", "random", title, "right where it does not matter which"))
    why = "its labelled nodes are not ready" if chosen else "no node of the pool has that label"
    words = f"NodePool {pool.name} has no leader: leaderNodeLabelSelector {shown} fits no ready node ({why})."
    return [_draft(view, pool, "spec.leaderNodeLabelSelector", words, 0.93, cited, fixes, keys)]


def _edge_node(view: ClusterView, node: Thing) -> list[Draft]:
    found = []
    pods = frozenset(p.key for p in pods_on(view).get(node.name, ()))
    mine, failed = autonomy(node), node.condition("YurtNodeConversionFailed")
    if mine.wrong:
        value = text(node.annotations.get(DURATION))
        right = corrected(value)
        fixes = [
            outside("Write a Go duration such as 24h; 0 means for ever", "what cannot be read counts as no autonomy")
        ]
        if right:
            title = f"Set the autonomy of {node.name} to {right}"
            fixes.insert(0, set_path(node, mine.field, right, title, "Go knows h, m and s, and no days"))
        words = f"Node {node.name} has no autonomy: autonomy-duration {value!r} cannot be read, and nothing says so."
        cited = (view.cite(node, mine.field),)
        found.append(_draft(view, node, mine.field, words, 0.9, cited, fixes, pods | {f"{node.key}#autonomy"}))
        # A node that is lost is told of by itself; what is about its settings must not be taken for the cause.
        found[-1] = replace(found[-1], about=frozenset({f"{node.key}#autonomy"}), explains=frozenset())
    if failed.get("status") == "True":
        place = path_of_condition(node, "YurtNodeConversionFailed")
        fix = outside(
            "Read the conversion's pod on that node, then convert it again", "yurt-manager makes one for each try"
        )
        words = f"Node {node.name} was not turned into an edge node: {because(failed)}."
        found.append(_draft(view, node, place, words, 0.88, (view.cite(node, place),), (fix,), pods | {node.key}))
    if any(t.get("key") == DELEGATED for t in node.rows("spec.taints")):
        fix = outside("Check the node's own link to the cloud", "its pool's coordinator sends its heartbeats meanwhile")
        words = (
            f"Node {node.name} reaches the cloud only through its pool's coordinator: its pods stay, none are added."
        )
        keys = pods | {node.key, f"{node.key}#taint"}
        cited = (view.cite(node, "spec.taints"),)
        found.append(_draft(view, node, "spec.taints", words, 0.8, cited, (fix,), keys, Level.PLATFORM))
    return found + _membership(view, node, pods)


def _no_effect(view: ClusterView, node: Thing) -> list[Draft]:
    """Judge a node that has an autonomy and is no edge worker: the pod-binding controller passes it by."""
    name = next(a for a in (BINDING, DURATION) if a in node.annotations)
    pods = frozenset(p.key for p in pods_on(view).get(node.name, ()))
    fix = outside(
        f"Make node {node.name} an edge worker by joining it to an Edge pool, or take the annotation away",
        f"only yurt-manager may set {EDGE} in newer versions",
    )
    words = f"Node {node.name} has no autonomy: its annotation {name} has no effect, because it is no edge worker."
    cited = (view.cite(node, f"metadata.annotations['{name}']", "metadata.labels"),)
    found = _draft(
        view, node, f"metadata.labels['{EDGE}']", words, 0.85, cited, (fix,), pods | {f"{node.key}#autonomy"}
    )
    return [replace(found, about=frozenset({f"{node.key}#autonomy"}), explains=frozenset())]


def bound_for(view: ClusterView) -> dict[str, frozenset[str]]:
    """Return by pool the keys of what is to run there: application sets, and workloads that select its nodes."""
    memo = view.memo("bound-for-pools", logs=False)
    if "all" not in memo:
        index: dict[str, set[str]] = {}
        for app in view.all("yurtappsets.apps.openyurt.io"):
            chosen = [p.name for p in selected(view, s)] if (s := app.at("spec.nodepoolSelector")) is not None else []
            for name in (*texts(app.at("spec.pools")), *chosen):
                index.setdefault(name, set()).add(app.key)
        for workload in workloads(view) if view.all(POOLS) else ():
            name = text(mapping(workload.spec.get("nodeSelector")).get(MEMBER))
            if name:
                index.setdefault(name, set()).update(workload.keys)
        memo["all"] = {name: frozenset(keys) for name, keys in index.items()}
    found: dict[str, frozenset[str]] = memo["all"]
    return found


def _membership(view: ClusterView, node: Thing, pods: frozenset[str]) -> list[Draft]:
    if not view.complete(POOLS) or not view.all(POOLS):
        return []
    names, mine = [p.name for p in view.all(POOLS)], pool_name(node)
    if mine in names or (not mine and any(node in s.nodes for s in sites(view))):
        return []
    field = f"metadata.labels['{MEMBER}']"
    fixes: list[Fix] = []
    if mine and node.labels.get(MEMBER) == mine:
        near = nearest(mine, names)
        if near:
            gone = set_path(node, field, None, f"Take the label off node {node.name}", "it cannot be changed in place")
            new = set_path(node, field, near, f"Add node {node.name} to pool {near}", "that pool exists")
            fixes = [gone, replace(new, then=True)]
        why = f"is labelled into NodePool {mine}, which does not exist"
        last = outside(f"Or create NodePool {mine}", "right if the name is meant")
    else:
        site = [p for p in names if node.name.startswith(f"{p}-")]
        if len(site) == 1:
            fixes = [
                set_path(node, field, site[0], f"Add node {node.name} to pool {site[0]}", "its name says that site")
            ]
        why = "is an edge node of no NodePool"
        last = outside("Label it into the pool of its site", "services with a topology do not reach its pods otherwise")
    words = f"Node {node.name} {why}."
    cited = (view.cite(node, "metadata.labels"),)
    found = _draft(view, node, field, words, 0.85, cited, (*fixes, last), pods | {f"{node.key}#pool"})
    return [replace(found, about=frozenset({f"{node.key}#pool"}), explains=frozenset())]


def _tunnel(view: ClusterView, gateway: Thing) -> list[Draft]:
    """Judge a Raven Gateway that has nodes behind it and no active endpoint: nothing crosses between the sites."""
    ends = gateway.rows("spec.endpoints")
    if not ends or not gateway.rows("status.nodes") or gateway.rows("status.activeEndpoints"):
        return []
    names = [n.name for n in view.all("nodes")]
    lost = [i for i, e in enumerate(ends) if view.complete("nodes") and text(e.get("nodeName")) not in names]
    fixes: list[Fix] = [outside("Bring back a node that is an endpoint, or name another one", "Raven elects by itself")]
    field, why = "spec.endpoints", "none of its endpoint nodes is ready"
    if lost:
        field, name = f"spec.endpoints[{lost[0]}].nodeName", text(ends[lost[0]].get("nodeName"))
        near = nearest(name, names)
        why = f"its endpoint node {name} does not exist"
        if near:
            fixes.insert(0, set_path(gateway, field, near, f"Use node {near}", "that node exists"))
    words = f"Raven Gateway {gateway.name} has no active endpoint: {why}, so logs, exec and traffic do not cross sites."
    cited = (view.cite(gateway, "spec.endpoints", "status.activeEndpoints", "status.nodes"),)
    return [_draft(view, gateway, field, words, 0.85, cited, fixes, frozenset({gateway.key}))]


def _hub(view: ClusterView) -> list[Draft]:
    """Judge YurtHub by its log: without a certificate nothing on the node reaches the cloud."""
    found = []
    for log in view.logs:
        if not re.match(r"yurt-?hub\b", log.pod):
            continue
        line = next((x for x in reversed(log.lines) if _CERTIFICATE.search(x)), "")
        pod = view.find("Pod", log.namespace, log.pod)
        if not line or pod is None or pod.ready:
            continue
        fix = outside(
            "Approve its CertificateSigningRequest, or see why yurt-manager does not; join again with a fresh "
            "bootstrap token if that has expired",
            "YurtHub asks for its certificate with that token",
        )
        node = mapping(pod.at("spec")).get("nodeName")
        words = f"YurtHub on node {node} has no certificate: {' '.join(line.split())[:160]}."
        keys = frozenset({pod.key})
        cited = (view.cite_log(log, line),)
        found.append(_draft(view, pod, "status", words, 0.8, cited, (fix,), keys, Level.POD))
    return found


def selected(view: ClusterView, selector: object) -> list[Thing]:
    """Return the NodePools that a label selector takes."""
    return [p for p in view.all(POOLS) if selects(selector, p.labels)]
