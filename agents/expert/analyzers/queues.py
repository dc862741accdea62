"""Kueue's queues: cluster and local queues that admit nothing, and the flavors, checks and namespaces behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.expert.conditions import because, path_of_condition, stale
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing, selects

KUEUE = "kueue.x-k8s.io"
CLUSTER, LOCAL, WORKLOADS = f"clusterqueues.{KUEUE}", f"localqueues.{KUEUE}", f"workloads.{KUEUE}"
FLAVORS, CHECKS, TOPOLOGIES = f"resourceflavors.{KUEUE}", f"admissionchecks.{KUEUE}", f"topologies.{KUEUE}"
KINDS = (CLUSTER, LOCAL, WORKLOADS)
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A Workload that is not admitted, with its queues (None where they do not exist) and what hangs on it."""

    work: Thing
    local: Thing | None
    cluster: Thing | None
    keys: frozenset[str]


def waiting_of(view: ClusterView) -> list[Waiting]:
    """Return the workloads that wait for admission, each with its queues; built once a view."""
    memo = view.memo("kueue-waiting", logs=False)
    if "all" not in memo:
        memo["all"] = [
            _waiting(view, w)
            for w in view.all(WORKLOADS)
            if w.condition("Admitted").get("status") != "True"
            and w.condition("Finished").get("status") != "True"
            and not w.deleting
        ]
    found: list[Waiting] = memo["all"]
    return found


def _waiting(view: ClusterView, work: Thing) -> Waiting:
    # Looked up by resource, because other projects have objects of the same kinds.
    local = next((q for q in view.all(LOCAL, work.namespace) if q.name == work.text("spec.queueName")), None)
    cluster = _cluster_of(view, local) if local is not None else None
    jobs = (f"{r.get('kind')}/{work.namespace}/{r.get('name')}" for r in owners_of(work))
    return Waiting(work, local, cluster, frozenset({work.key, *jobs}))


def in_queue(view: ClusterView, thing: Thing) -> bool:
    """Say whether a Workload of Kueue stands for an object, and is not admitted."""
    memo = view.memo("kueue-waiting-keys", logs=False)
    if "all" not in memo:
        memo["all"] = frozenset(k for w in waiting_of(view) for k in w.keys)
    keys: frozenset[str] = memo["all"]
    return thing.key in keys


def owners_of(work: Thing) -> list[Mapping[str, Any]]:
    """Return the references to the jobs that a Workload stands for."""
    return work.rows("metadata.ownerReferences")


def _cluster_of(view: ClusterView, local: Thing) -> Thing | None:
    memo = view.memo("kueue-cluster-queues", logs=False)
    if "all" not in memo:
        memo["all"] = {q.name: q for q in view.all(CLUSTER)}
    found: dict[str, Thing] = memo["all"]
    return found.get(local.text("spec.clusterQueue"))


def analyze(view: ClusterView) -> list[Draft]:
    """Return the queues that admit nothing, with what is wrong with them."""
    found: list[Draft] = []
    users: dict[str, list[Thing]] = {}
    for local in view.all(LOCAL):
        users.setdefault(local.text("spec.clusterQueue"), []).append(local)
    for queue in view.all(CLUSTER):
        # In a shared cluster there are queues of others, whose trouble is not that of this namespace.
        if queue.deleting or (view.namespace and queue.name not in users):
            continue
        held = [w for w in waiting_of(view) if w.cluster is not None and w.cluster.name == queue.name]
        keys = frozenset({queue.key, *(q.key for q in users.get(queue.name, ()))}).union(*(w.keys for w in held))
        found += _cluster(view, queue, held, keys)
    for local in view.all(LOCAL):
        held = [w for w in waiting_of(view) if w.local is local]
        found += _local(view, local, held, frozenset({local.key}).union(*(w.keys for w in held)))
    return found


def _draft(
    thing: Thing,
    field: str,
    summary: str,
    sure: float,
    cited: tuple[Citation, ...],
    keys: frozenset[str],
    fixes: Iterable[Fix],
    level: Level = Level.OBJECT,
    note: bool = False,
) -> Draft:
    return Draft(
        "kueue", thing.target, field, summary, sure, level, cited, frozenset({thing.key}), keys, tuple(fixes), note=note
    )


def _cluster(view: ClusterView, queue: Thing, held: list[Waiting], keys: frozenset[str]) -> list[Draft]:
    active = queue.condition("Active")
    down = active.get("status") == "False" and not stale(queue, active)
    agrees = (view.cite(queue, path_of_condition(queue, "Active")),) if down else ()
    # What the objects contradict is worth more where the controller says that the queue is inactive for it.
    sure = 0.95 if down else 0.85
    found = (
        _stopped(view, queue, held, keys, agrees)
        + _flavors(view, queue, keys, agrees, sure)
        + _checks(view, queue, keys, agrees, sure)
        + _namespaces(view, queue, held)
    )
    if down and not found:
        last = outside("Mend what the condition names; the queue becomes active by itself", "Kueue says what it lacks")
        place = path_of_condition(queue, "Active")
        words = f"ClusterQueue {queue.name} is inactive: {because(active)}."
        found.append(_draft(queue, place, words, 0.85, agrees, keys, (last,)))
    return found


def _stopped(
    view: ClusterView, queue: Thing, held: list[Waiting], keys: frozenset[str], agrees: tuple[Citation, ...]
) -> list[Draft]:
    policy = queue.text("spec.stopPolicy")
    if policy in ("", "None"):
        return []
    drains = " and what it had admitted is evicted" if policy == "HoldAndDrain" else ""
    title = f"Let {queue.kind} {queue.name} admit work again"
    fix = set_path(queue, "spec.stopPolicy", "None", title, "ask first who stopped it")
    words = f"{queue.kind} {queue.name} is stopped ({policy}): it admits nothing{drains}"
    tail = f", and {len(held)} workloads wait." if len(held) > 1 else "."
    cited = (view.cite(queue, "spec.stopPolicy"), *agrees)
    # A queue that is stopped while nobody waits in it is meant to be.
    return [_draft(queue, "spec.stopPolicy", words + tail, 0.93, cited, keys, (fix,), note=not held)]


def _flavors(
    view: ClusterView, queue: Thing, keys: frozenset[str], agrees: tuple[Citation, ...], sure: float
) -> list[Draft]:
    if not view.complete(FLAVORS):
        return []
    found = []
    flavors = {f.name: f for f in view.all(FLAVORS)}
    for i, group in enumerate(queue.rows("spec.resourceGroups")):
        for j, entry in enumerate(rows(group.get("flavors"))):
            name, field = text(entry.get("name")), f"spec.resourceGroups[{i}].flavors[{j}].name"
            flavor = flavors.get(name)
            if name and flavor is None:
                near = nearest(name, flavors) or (next(iter(flavors)) if len(flavors) == 1 else "")
                why = "that flavor exists; check that its nodes are the ones meant"
                fixes = [set_path(queue, field, near, f"Use flavor {near}", why)] if near else []
                fixes.append(outside(f"Or create ResourceFlavor {name}", "right if nodes of that kind exist"))
                words = f"ClusterQueue {queue.name} is inactive: ResourceFlavor {name} does not exist."
                found.append(_draft(queue, field, words, sure, (view.cite(queue, field), *agrees), keys, fixes))
            elif flavor is not None:
                found += _topology(view, flavor, keys, agrees)
    return found


def _topology(view: ClusterView, flavor: Thing, keys: frozenset[str], agrees: tuple[Citation, ...]) -> list[Draft]:
    name = flavor.text("spec.topologyName")
    known = [t.name for t in view.all(TOPOLOGIES)]
    if not name or name in known or not view.complete(TOPOLOGIES):
        return []
    near = nearest(name, known)
    fixes = [
        outside(f"Create Topology {name}, or make the flavor again with one that exists", "it lists the node labels")
    ]
    if near:
        fixes.insert(0, outside(f"Make ResourceFlavor {flavor.name} again with topologyName {near}", "that one exists"))
    words = f"ResourceFlavor {flavor.name} names Topology {name}, which does not exist: its queues are inactive."
    cited = (view.cite(flavor, "spec.topologyName"), *agrees)
    return [_draft(flavor, "spec.topologyName", words, 0.93, cited, keys | {flavor.key}, fixes)]


def _checks(
    view: ClusterView, queue: Thing, keys: frozenset[str], agrees: tuple[Citation, ...], sure: float
) -> list[Draft]:
    found = []
    named = [(f"spec.admissionChecks[{i}]", n) for i, n in enumerate(texts(queue.at("spec.admissionChecks")))]
    named += [
        (f"spec.admissionChecksStrategy.admissionChecks[{i}].name", text(c.get("name")))
        for i, c in enumerate(queue.rows("spec.admissionChecksStrategy.admissionChecks"))
    ]
    checks = {c.name: c for c in view.all(CHECKS)}
    for field, name in named:
        check = checks.get(name)
        if check is None and name and view.complete(CHECKS):
            near = nearest(name, checks)
            fixes = [set_path(queue, field, near, f"Use AdmissionCheck {near}", "that one exists")] if near else []
            fixes.append(
                outside(f"Create AdmissionCheck {name}, or take it out of the queue", "every check must exist")
            )
            words = f"ClusterQueue {queue.name} is inactive: AdmissionCheck {name} does not exist."
            found.append(_draft(queue, field, words, sure, (view.cite(queue, field), *agrees), keys, fixes))
        elif check is not None:
            active = check.condition("Active")
            if active.get("status") == "False" and not stale(check, active):
                place = path_of_condition(check, "Active")
                controller = check.text("spec.controllerName") or "its controller"
                fix = outside(f"Bring back {controller}, or mend the parameters that it is given", "it does the check")
                why = because(active)
                words = f"AdmissionCheck {check.name} is inactive ({why}), and with it ClusterQueue {queue.name}."
                cited = (view.cite(check, place, "spec.controllerName"), *agrees)
                found.append(_draft(check, place, words, 0.93, cited, keys | {check.key}, (fix,)))
    return found


def _namespaces(view: ClusterView, queue: Thing, held: list[Waiting]) -> list[Draft]:
    """Judge a queue that does not take the namespace of those that wait in it; no selector takes none at all."""
    selector = queue.at("spec.namespaceSelector")
    out: dict[str, list[Waiting]] = {}
    for entry in held:
        home = view.find("Namespace", "", entry.work.namespace)
        message = text(entry.work.condition("QuotaReserved").get("message"))
        refused = "namespace doesn't match" in message
        computed = home is not None and (selector is None or not selects(selector, home.labels))
        if refused and (home is None or computed):
            out.setdefault(entry.work.namespace, []).append(entry)
    found = []
    for place, entries in out.items():
        home = view.find("Namespace", "", place)
        work = entries[0].work
        fixes = _selector_fixes(queue, home, selector)
        keys = frozenset({queue.key}).union(*(e.keys for e in entries))
        cited = [view.cite(queue, "spec.namespaceSelector", "metadata.name")]
        cited.append(view.cite(work, path_of_condition(work, "QuotaReserved")))
        words = (
            f"ClusterQueue {queue.name} does not take work of namespace {place}: its namespaceSelector leaves it out."
        )
        found.append(_draft(queue, "spec.namespaceSelector", words, 0.95, tuple(cited), keys, fixes))
    return found


def _selector_fixes(queue: Thing, home: Thing | None, selector: object) -> list[Fix]:
    wanted = mapping(mapping(selector).get("matchLabels"))
    fixes = [outside("Submit it in a namespace that the queue takes", "right if the queue is not meant for this one")]
    if selector is None:
        title = f"Let ClusterQueue {queue.name} take every namespace"
        fixes.insert(0, set_path(queue, "spec.namespaceSelector", {}, title, "no selector takes none; {} takes all"))
    elif home is not None and len(wanted) == 1 and not mapping(selector).get("matchExpressions") and home.labels:
        key, value = next(iter(wanted.items()))
        title = f"Label namespace {home.name} with {key}={value}"
        fixes.insert(0, set_path(home, f"metadata.labels['{key}']", value, title, "the queue takes those that have it"))
    return fixes


def _local(view: ClusterView, local: Thing, held: list[Waiting], keys: frozenset[str]) -> list[Draft]:
    name = local.text("spec.clusterQueue")
    cluster = _cluster_of(view, local)
    if cluster is None and name and view.complete(CLUSTER):
        near = nearest(name, [q.name for q in view.all(CLUSTER)])
        title = f"Make the LocalQueue again with {'clusterQueue ' + near if near else 'a ClusterQueue that exists'}"
        words = f"LocalQueue {local.name} names ClusterQueue {name}, which does not exist."
        fix = outside(title, "the field cannot be changed in place")
        return [_draft(local, "spec.clusterQueue", words, 0.93, (view.cite(local, "spec.clusterQueue"),), keys, (fix,))]
    active = local.condition("Active")
    down = active.get("status") == "False" and not stale(local, active)
    agrees = (view.cite(local, path_of_condition(local, "Active")),) if down else ()
    found = _stopped(view, local, held, keys, agrees)
    if down and not found and active.get("reason") != "Stopped":
        place = path_of_condition(local, "Active")
        words = f"LocalQueue {local.name} is inactive: {because(active)}."
        fix = outside("Mend the ClusterQueue behind it", "a local queue is as active as the one that it leads to")
        found.append(_draft(local, place, words, 0.8, agrees, keys, (fix,), Level.WORKLOAD))
    return found
