"""The graph of causes: which claim explains which, which stand alone, and in what order to look at them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from agents.expert.analyzers import gateway_summary
from agents.expert.catalogue import SUBJECTS
from agents.expert.changes import Change, change_of
from agents.expert.draft import Draft, Level
from agents.expert.question import named_in
from agents.expert.remedies import outside
from agents.expert.workload import CONTROLLERS, YOUNG, Workload, is_ready, workloads
from assistant.domain.finding import Role, Verdict
from assistant.domain.raw import mapping
from assistant.domain.view import ClusterView, Thing

ODD_OBJECTS = Exception
"""Whatever an analyzer trips over becomes a gap of the verdict, never the end of the turn."""
"""What an analyzer may raise on an object of a form that no API server would send."""
SURE = 0.7
"""A root cause from here on; below, and with something still to be decided, the verdict is "undetermined"."""
NEWER, POINTED = 0.03, 0.4
"""What a change of the last hour adds to the order of a cause, and what being named in the question adds."""
WEAK = 0.55
"""Below this a claim that explains nothing is a note as soon as a better one stands."""
TROUBLE = re.compile(
    r"\b(not|no|never|nothing|nobody|none|only|cannot|can't|\w+n't|missing|gone|stop\w*|down|fail\w*|wrong|broken?|stuck|"
    r"hangs?|old|still|instead|without|absent|since|why|refus\w+|den\w+|wait\w*|late|lost|too|slow|error\w*)\b",
    re.IGNORECASE,
)
"""Words of a question that says what is wrong, and does not only ask whether anything is."""
QUIET = frozenset({"disruption", "autoscaling"})
"""Faults that break nothing by themselves: a root cause only where nothing is broken or the question asks for them."""
ASKED = {
    "disruption": r"drain|evict|maintenance|upgrad|disrupt|budget|cordon",
    "autoscaling": r"scal|load|hpa|replica",
    "service": r"address|external|endpoint|reach|refus|503|502|connect|load ?balanc|traffic|shown",
    "network": r"timeout|time out|reach|connect|slow|block|ingress|404|503",
    "dns": r"resolve|dns|host|name",
    "storage": r"volume|disk|storage|pvc|claim|data|mount",
    "scheduling": r"pending|node|schedul|gpu",
    "dra": r"pending|schedul|gpu|device|claim|accelerator",
    "job": r"job|cron|batch|run|nightly|report|digest|close",
    "finalizer": r"delet|terminat|remov",
    "rbac": r"forbidden|permission|rights|sync",
    "rollout": r"release|rollout|version|deploy|stuck",
    "image": r"release|image|pull|deploy",
    "tls": r"certificate|tls|https|x509",
    "node": r"node|machine|edge|maintenance",
    "quota": r"scal|quota|replica",
    "oom": r"memory|oom|restart|kill",
    "kueue": r"queue|quota|train|batch|admit|workload",
    "baremetal": r"host|server|machine|bare.?metal|provision|bmc|inspect",
    "edge": r"edge|site|store|pool|offline|autonom",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A draft in its place: role, rank from 1, and the ranks of the claims that follow from it.

    `change` is what changed before it; `beside` says that the question is about something else.
    """

    draft: Draft
    role: Role
    rank: int
    explains: tuple[int, ...] = ()
    change: Change | None = None
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """What the expert makes of a view: claims by rank, what was checked, what could not be seen or decided."""

    verdict: Verdict
    claims: tuple[Claim, ...]
    checked: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def roots(self) -> list[Claim]:
        """Return the root causes, best first."""
        return [c for c in self.claims if c.role is Role.ROOT_CAUSE]


def scan(view: ClusterView, question: str = "", answered: frozenset[str] = frozenset()) -> Scan:
    """Analyze a view; pure and linear in its objects. The question's words only order what was found.

    `answered` are the keys of causes that were told before and that the question is not about ("the other one").
    """
    drafts, broken = collect(view)
    drafts += _unexplained(view, drafts)
    return rank(view, _meant(drafts, question), question, broken, answered)


def _meant(drafts: list[Draft], question: str) -> list[Draft]:
    """Make notes of what may well be meant, unless the question asks for it or somebody complains of it."""
    felt = {k for d in drafts if not d.note and not d.asks for k in d.about}
    return [
        replace(d, note=True) if d.asks and not (asked_for(d, question) or d.explains & felt) else d for d in drafts
    ]


def collect(view: ClusterView) -> tuple[list[Draft], list[str]]:
    """Return the drafts of all analyzers, each once, and the analyzers that failed on odd objects.

    A failed analyzer is never silent: it becomes a gap, and a view with a gap is not called healthy.
    """
    found: dict[tuple[str, str, str], Draft] = {}
    broken = []
    for subject in SUBJECTS:
        for name, analyze in subject.analyzers:
            try:
                drafts = drafts_of(view, name, analyze)
            except ODD_OBJECTS as error:
                broken.append(f"{name} could not judge these objects ({type(error).__name__}: {str(error)[:80]})")
                continue
            for draft in drafts:
                known = found.get(draft.identity)
                found[draft.identity] = draft if known is None else _merge(known, draft)
    return list(found.values()), broken


def drafts_of(view: ClusterView, name: str, analyze: Callable[[ClusterView], list[Draft]]) -> list[Draft]:
    """Return what an analyzer says of a view; asked once until something more is read. Raises what it raises."""
    memo = view.memo("drafts")
    if name not in memo:
        memo[name] = analyze(view)
    found: list[Draft] = memo[name]
    return found


def _merge(one: Draft, two: Draft) -> Draft:
    best, other = (one, two) if one.confidence >= two.confidence else (two, one)
    return replace(best, about=best.about | other.about, explains=best.explains | other.explains)


def _unexplained(view: ClusterView, drafts: list[Draft]) -> list[Draft]:
    """Return the plain fact for every workload that lacks ready pods and that no claim is about."""
    touched = {k for d in drafts if not d.note for k in d.about | d.explains}
    found = []
    for workload in workloads(view):
        lacking = workload.wanted - sum(is_ready(p) for p in workload.pods)
        bare = workload.thing.resource not in CONTROLLERS and any(_waits(workload, p) for p in workload.pods)
        if workload.keys & touched or (lacking <= 0 and not bare) or workload.thing.deleting:
            continue
        newest = max((p.created for p in workload.pods), default=workload.thing.created)
        cited = [view.cite(p, "status.phase", "status.conditions") for p in workload.pods if not is_ready(p)][:1]
        found.append(
            Draft(
                "other",
                workload.thing.target,
                "status",
                f"{workload.name()} has {max(0, workload.wanted - lacking)} of {workload.wanted} pods ready.",
                0.3,
                Level.CALLER,
                tuple(cited) or (view.cite(workload.thing, "spec.replicas", "status"),),
                workload.keys,
                workload.keys,
                (outside("Read the events and logs of its pods", "the objects do not say why"),),
                missing="its logs, or newer events",
                note=view.now - newest < YOUNG,
            )
        )
    return found


def _waits(workload: Workload, pod: Thing) -> bool:
    """Say whether a pod that no built-in controller counts is not ready; one that failed was replaced by its owner."""
    return not is_ready(pod) and (workload.thing.kind == "Pod" or pod.text("status.phase") != "Failed")


def _reach(view: ClusterView) -> dict[str, set[str]]:
    """Return what hangs on a workload or pod: its Services, autoscalers, budgets, and for a pod its workload."""
    index: dict[str, set[str]] = defaultdict(set)
    for service in view.all("services"):
        for pod in view.pods_with(service.namespace, service.map("spec.selector")):
            index[pod.key].add(service.key)
    by_labels: dict[str, list[Workload]] = defaultdict(list)
    for workload in workloads(view):
        by_labels[workload.thing.namespace].append(workload)
        for pod in workload.pods:
            index[pod.key].add(workload.thing.key)
            index[workload.thing.key] |= index[pod.key] - {workload.thing.key}
    for service in view.all("services"):
        wanted = service.map("spec.selector")
        for workload in by_labels[service.namespace] if wanted and len(by_labels[service.namespace]) < 200 else ():
            labels = workload.thing.map(f"{workload.template.removesuffix('.spec')}.metadata.labels")
            if not workload.pods and all(labels.get(k) == v for k, v in wanted.items()):
                index[workload.thing.key].add(service.key)
    for scaler in view.all("horizontalpodautoscalers.autoscaling"):
        target = mapping(scaler.at("spec.scaleTargetRef"))
        index[f"{target.get('kind')}/{scaler.namespace}/{target.get('name')}"].add(scaler.key)
    return index


def rank(
    view: ClusterView,
    drafts: list[Draft],
    question: str,
    broken: list[str],
    answered: frozenset[str] = frozenset(),
) -> Scan:
    """Link the drafts, give each its role, and order them: root causes, what follows from them, notes."""
    hangs = _reach(view)
    about: dict[str, list[int]] = defaultdict(list)
    for i, draft in enumerate(drafts):
        for key in draft.about:
            about[key].append(i)
    explains: dict[int, set[int]] = defaultdict(set)
    explained: set[int] = set()
    for i, draft in enumerate(drafts):
        if draft.note:
            continue
        keys = set(draft.explains)
        for _ in range(2):
            keys |= {far for key in list(keys) for far in hangs.get(key, ())}
        for j in {j for key in keys for j in about.get(key, ())}:
            if j != i and drafts[j].level > draft.level and not drafts[j].note:
                explains[i].add(j)
                explained.add(j)
    words = set(re.findall(r"[a-z0-9]{4,}", question.lower()))
    changes = {i: change_of(view, d) for i, d in enumerate(drafts) if not d.note and i not in explained}
    reached = {i: _touches(drafts, i, explains, hangs) for i in changes}
    asked = named_in(view, question)
    score = {i: _score(d, len(explains[i]), words, question) for i, d in enumerate(drafts)}
    for i, change in changes.items():
        key = f"{drafts[i].target.kind}/{drafts[i].target.namespace}/{drafts[i].target.name}"
        score[i] += NEWER * (change is not None and change.news) + POINTED * bool(asked & reached[i])
        score[i] -= POINTED * (key in answered)
    roots = [i for i, d in enumerate(drafts) if not d.note and i not in explained]
    strong = [i for i in roots if drafts[i].confidence >= SURE and drafts[i].category not in QUIET]
    kept = [
        i
        for i in roots
        if not strong
        or i in strong
        or (_asked(drafts[i], question) and drafts[i].confidence >= SURE)
        or (drafts[i].confidence >= WEAK and explains[i] and drafts[i].category not in QUIET)
    ]
    kept.sort(key=lambda i: -score[i])
    doubt = bool(kept) and all(drafts[i].missing or drafts[i].confidence < 0.45 for i in kept)
    order = kept + sorted((i for i in explained), key=lambda i: (drafts[i].level, -score[i]))
    order += [i for i in range(len(drafts)) if i not in set(order)]
    place = {i: n for n, i in enumerate(order, 1)}
    claims = []
    for i in order:
        role = Role.ROOT_CAUSE if i in kept and not doubt else Role.CONSEQUENCE if i in explained else Role.NOTE
        beside = role is Role.ROOT_CAUSE and bool(asked) and not asked & reached[i] and not _asked(drafts[i], question)
        follow = tuple(sorted(place[j] for j in explains[i]))
        claims.append(Claim(drafts[i], role, place[i], follow, changes.get(i), beside))
    if all(c.beside for c in claims if c.role is Role.ROOT_CAUSE):
        # Nothing found touches what the question names, so whatever was found is the best answer that there is.
        claims = [replace(c, beside=False) for c in claims]
    unheard = [] if kept else _unheard(view, question)
    gaps = (*broken, *_blind(view), *unheard)
    verdict = (
        Verdict.UNDETERMINED
        if doubt
        else Verdict.FAULT
        if kept
        else Verdict.UNDETERMINED
        if broken or _too_blind(view) or unheard
        else Verdict.HEALTHY
    )
    return Scan(verdict, tuple(claims), checked(view), gaps)


def _touches(drafts: list[Draft], i: int, explains: dict[int, set[int]], hangs: dict[str, set[str]]) -> frozenset[str]:
    """Return the keys that a claim is about or explains, through the graph, with one hop around."""
    seen, todo = {i}, [i]
    while todo:
        for j in explains.get(todo.pop(), ()):
            if j not in seen:
                seen.add(j)
                todo.append(j)
    keys = {k for j in seen for k in drafts[j].about | drafts[j].explains}
    keys.add(f"{drafts[i].target.kind}/{drafts[i].target.namespace}/{drafts[i].target.name}")
    return frozenset(keys | {far for key in list(keys) for far in hangs.get(key, ())})


def _score(draft: Draft, explained: int, words: set[str], question: str) -> float:
    named = set(re.findall(r"[a-z0-9]{4,}", f"{draft.target.name} {draft.target.kind} {draft.summary}".lower()))
    own = set(re.findall(r"[a-z0-9]{4,}", draft.target.name.lower()))
    score = draft.confidence + 0.05 * min(explained, 6) + 0.04 * len(words & named) + 0.12 * bool(words & own)
    return score + 0.1 * _asked(draft, question) - 0.3 * bool(draft.missing)


def asked_for(draft: Draft, question: str) -> bool:
    """Say whether a question asks for a claim that may well be meant: by its subject, or by its object's name."""
    if not TROUBLE.search(question):
        return False
    words = set(re.findall(r"[a-z0-9]{4,}", question.lower()))
    named = bool(words & set(re.findall(r"[a-z0-9]{4,}", draft.target.name.lower())))
    return named or bool(re.search(draft.asks, question, re.IGNORECASE))


def _asked(draft: Draft, question: str) -> bool:
    pattern = ASKED.get(draft.category)
    return bool(pattern and re.search(pattern, question, re.IGNORECASE))


def _blind(view: ClusterView) -> list[str]:
    return [
        f"{resource}{' in ' + place if place else ''} could not be read ({knowledge}): {why[:100]}"
        for resource, place, knowledge, why in view.gaps()
    ]


def _unheard(view: ClusterView, question: str) -> list[str]:
    """Return what a complaint cannot be answered without: of the containers that run, not one log was to be had."""
    if any(True for _ in view.logs) or not TROUBLE.search(question):
        return []
    running = sum(
        "running" in mapping(s.get("state")) for p in view.all("pods") for s in p.rows("status.containerStatuses")
    )
    if not running:
        return []
    return [f"no log of the {running} running containers could be read"]


def _too_blind(view: ClusterView) -> bool:
    """Say whether so little was seen that "nothing is wrong" would be a guess: no pods or no workloads."""
    return not view.complete("pods", view.namespace) or not view.complete("deployments.apps", view.namespace)


def checked(view: ClusterView) -> tuple[str, ...]:
    """Return in plain words what was looked at, with numbers."""
    found = []
    runs = [w for w in workloads(view) if w.thing.kind in ("Deployment", "StatefulSet", "DaemonSet")]
    if runs:
        good = sum(sum(is_ready(p) for p in w.pods) >= w.wanted for w in runs)
        found.append(f"{good} of {len(runs)} Deployments, StatefulSets and DaemonSets have all their pods ready")
    pods = view.all("pods")
    if pods:
        found.append(f"{sum(is_ready(p) for p in pods)} of {len(pods)} pods are ready or complete")
    jobs = view.all("jobs.batch")
    if jobs:
        found.append(
            f"{sum(j.condition('Complete').get('status') == 'True' for j in jobs)} of {len(jobs)} Jobs are complete"
        )
    services = [s for s in view.all("services") if s.map("spec.selector")]
    if services:
        served = sum(any(is_ready(p) for p in view.pods_with(s.namespace, s.map("spec.selector"))) for s in services)
        found.append(f"{served} of {len(services)} Services have a ready endpoint")
    found += gateway_summary.checked(view)
    claims = view.all("persistentvolumeclaims")
    if claims:
        found.append(
            f"{sum(c.text('status.phase') == 'Bound' for c in claims)} of {len(claims)} "
            "PersistentVolumeClaims are bound"
        )
    nodes = view.all("nodes")
    if nodes:
        found.append(
            f"{sum(n.condition('Ready').get('status') == 'True' for n in nodes)} of {len(nodes)} nodes are ready"
        )
    lines = sum(len(log.lines) for log in view.logs)
    if lines:
        found.append(f"{lines} log lines of {len({(x.namespace, x.pod, x.container) for x in view.logs})} containers")
    return tuple(found)
