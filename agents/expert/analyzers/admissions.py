"""Kueue's Workloads: why one is not admitted, how much is lacking, and whether it will start by itself.

Reasons of the QuotaReserved condition are told apart since Kueue 0.19; before, all of them were "Pending". So the
scheduler's message decides, whose form is the same in both, and the reason only where the message is of another form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from agents.expert.analyzers.queues import LOCAL, QUEUE_LABEL, WORKLOADS, Waiting, owners_of, waiting_of
from agents.expert.analyzers.quotas import holders, quota_of, shown
from agents.expert.analyzers.statuses import untouched
from agents.expert.conditions import age_of, because, path_of_condition, stale
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text, texts
from assistant.domain.view import ClusterView, Thing

_LATER = re.compile(
    r"insufficient unused quota (?:in cohort )?for (?P<what>\S+) in flavor (?P<flavor>[^\s,]+), "
    r"(?P<lacks>\S+) more needed"
)
_NEVER = re.compile(
    r"insufficient quota for (?P<what>\S+) in flavor (?P<flavor>[^\s,]+)(?:.*?request \((?P<asks>[^)\s]+)\) > maximum "
    r"capacity \((?P<most>[^)\s]+)\)|.*?maximum capacity \((?P<asks2>\S+) > (?P<most2>[^)\s]+)\))?"
)
_UNCOVERED = re.compile(r"resource (?P<what>\S+) unavailable in ClusterQueue")
_MISFIT = re.compile(
    r"untolerated taint|doesn't match (?:node )?affinity|topology .*? (?:doesn't|allows)", re.IGNORECASE
)
_QUEUE = re.compile(r"(?:Local|Cluster)Queue \S+ (?:is inactive|doesn't exist|does not exist|not found)", re.IGNORECASE)
GRACE = timedelta(minutes=2)
"""Kueue decides within seconds; a ProvisioningRequest or another cluster answers in `CHECKING`."""
CHECKING = timedelta(minutes=15)
SUSPENDED = (
    "jobs.batch",
    "jobsets.jobset.x-k8s.io",
    "rayjobs.ray.io",
    "rayclusters.ray.io",
    "trainjobs.trainer.kubeflow.org",
    "pytorchjobs.kubeflow.org",
    "mpijobs.kubeflow.org",
)
"""Kinds that Kueue holds back by spec.suspend."""
MEANT = r"queue|pending|start|run|job|train|wait|admit|pod|gpu|quota|batch|workload"
"""Questions that ask for what waits in a queue: that it does is what queues are for."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return why workloads wait, the ones of a queue that is down left to the queue."""
    found = []
    for entry in waiting_of(view):
        draft = _judge(view, entry)
        if draft is not None:
            found.append(draft)
    return found + _unclaimed(view)


def _unclaimed(view: ClusterView) -> list[Draft]:
    """Return suspended jobs that ask for a queue and have no Workload: of a queue that does not exist, or unseen.

    Where Kueue's API is not served nothing is said of Kueue: it is not installed, and whoever suspended the job waits.
    """
    if not view.complete(WORKLOADS, view.namespace):
        return []
    claimed = {f"{r.get('kind')}/{w.namespace}/{r.get('name')}" for w in view.all(WORKLOADS) for r in owners_of(w)}
    found = []
    for job in (j for kind in SUSPENDED for j in view.all(kind)):
        name = text(job.labels.get(QUEUE_LABEL))
        if not name or job.at("spec.suspend") is not True or job.key in claimed or job.deleting:
            continue
        if job.rows("metadata.ownerReferences") or view.now - job.created < timedelta(minutes=2):
            continue
        field = f"metadata.labels['{QUEUE_LABEL}']"
        known = [q.name for q in view.all(LOCAL, job.namespace)]
        keys = frozenset({job.key})
        cited = (view.cite(job, field, "spec.suspend"),)
        if name not in known and view.complete(LOCAL, job.namespace):
            near = nearest(name, known)
            fixes = [set_path(job, field, near, f"Submit it to queue {near}", "that LocalQueue exists")] if near else []
            last = outside(f"Or create LocalQueue {name} in namespace {job.namespace}", "right if the name is meant")
            words = (
                f"{job.kind} {job.name} waits in LocalQueue {name}, which does not exist in namespace {job.namespace}."
            )
            level, why, sure = Level.OBJECT, "", 0.9
        else:
            fixes, level, why, sure = [], Level.CALLER, "whether Kueue's controller runs", 0.5
            last = outside(
                "See whether Kueue's controller runs and handles Jobs", "it makes a Workload for each at once"
            )
            words = f"{job.kind} {job.name} is suspended for queue {name}, and Kueue has made no Workload of it."
        draft = Draft("kueue", job.target, field, words, sure, level, cited, keys, keys, (*fixes, last), missing=why)
        found.append(draft)
    return found


def _judge(view: ClusterView, entry: Waiting) -> Draft | None:
    work = entry.work
    if work.at("spec.active") is False:
        return _inactive(view, entry)
    if not work.rows("status.conditions"):
        old = view.now - work.created > timedelta(minutes=10)
        return untouched(view, work) if old and entry.cluster is not None else _lost(view, entry)
    reserved = work.condition("QuotaReserved")
    if reserved.get("status") == "True":
        return _checked(view, entry)
    if reserved.get("status") != "False" or stale(work, reserved):
        return _lost(view, entry)
    message = " ".join(text(reserved.get("message")).split())
    lost = _lost(view, entry)
    if lost is not None:
        return lost
    if match := _LATER.search(message):
        return _later(view, entry, match)
    if match := _NEVER.search(message):
        return _never(view, entry, match)
    if match := _UNCOVERED.search(message):
        return _uncovered(view, entry, match["what"])
    if _MISFIT.search(message):
        return _misfit(view, entry, message)
    if "namespace doesn't match" in message or _QUEUE.search(message):
        words = f"waits: {message[:160]}"
        fix = outside("Mend the queue that the message names", "a workload starts by itself once its queue admits work")
        return _draft(view, entry, path_of_condition(work, "QuotaReserved"), words, 0.72, (fix,))
    return _verbatim(view, entry)


def _draft(
    view: ClusterView,
    entry: Waiting,
    field: str,
    words: str,
    sure: float,
    fixes: Iterable[Fix],
    thing: Thing | None = None,
    cited: Iterable[Citation] = (),
    asks: str = "",
    kind: str = "QuotaReserved",
) -> Draft:
    """Return a claim of a waiting workload; it stands above the queues, whose trouble may be why it waits."""
    target = thing or entry.work
    return Draft(
        "kueue",
        target.target,
        field,
        f"Workload {entry.work.name} {words}.",
        sure,
        Level.TRAFFIC,
        (view.cite(entry.work, path_of_condition(entry.work, kind)), *cited),
        entry.keys,
        entry.keys,
        tuple(fixes),
        asks=asks,
    )


def _owner(view: ClusterView, work: Thing) -> Thing:
    """Return the job behind a workload, which is what people submit; the workload itself where it was not read."""
    return view.owner(work) or work


def _lost(view: ClusterView, entry: Waiting) -> Draft | None:
    """Judge a workload whose queue does not exist in its namespace."""
    work, name = entry.work, entry.work.text("spec.queueName")
    if entry.local is not None or not name or not view.complete(LOCAL, work.namespace):
        return None
    job = _owner(view, work)
    near = nearest(name, [q.name for q in view.all(LOCAL, work.namespace)])
    field = f"metadata.labels['{QUEUE_LABEL}']" if QUEUE_LABEL in job.labels else "spec.queueName"
    fixes = [set_path(job, field, near, f"Submit it to queue {near}", "that LocalQueue exists")] if near else []
    fixes.append(outside(f"Or create LocalQueue {name} in namespace {work.namespace}", "right if the name is meant"))
    words = f"waits in LocalQueue {name}, which does not exist in namespace {work.namespace}"
    return _draft(view, entry, field, words, 0.93, fixes, job, (view.cite(job, field),))


def _inactive(view: ClusterView, entry: Waiting) -> Draft | None:
    work = entry.work
    evicted = work.condition("Evicted")
    tries = work.number("status.requeueState.count")
    spoken = f"{evicted.get('reason')} {evicted.get('message')} {work.condition('DeactivationTarget').get('message')}"
    again = set_path(work, "spec.active", True, "Let it be admitted again", "only after its pods can become ready")
    paths = ("spec.active", "status.requeueState", path_of_condition(work, "Evicted"))
    if tries or re.search(r"PodsReady|Requeuing", spoken, re.IGNORECASE):
        times = f"admitted {tries} times" if tries else "admitted again and again"
        words = f"was {times} and evicted because its pods never became ready, until Kueue gave up and deactivated it"
        mend = outside(
            "Find out why its pods do not become ready: image, settings, nodes", "otherwise it ends the same way"
        )
        found = _draft(
            view, entry, "spec.active", words, 0.9, (mend, again), None, (view.cite(work, *paths),), "", "Evicted"
        )
    elif re.search(r"admission check", spoken, re.IGNORECASE):
        words = f"was deactivated: {because(evicted)}"
        mend = outside("Find out why the admission check refused it", "otherwise it is refused again")
        found = _draft(
            view, entry, "spec.active", words, 0.88, (mend, again), None, (view.cite(work, *paths),), "", "Evicted"
        )
    else:
        words = "was deactivated, so it is not admitted (spec.active is false)"
        again = set_path(work, "spec.active", True, "Activate it again", "ask first who deactivated it")
        found = _draft(view, entry, "spec.active", words, 0.85, (again,), None, (view.cite(work, *paths),), MEANT)
    return found


def _checked(view: ClusterView, entry: Waiting) -> Draft | None:
    """Judge a workload that has its quota and waits for its admission checks."""
    work = entry.work
    if stale(work, work.condition("QuotaReserved")):
        return None
    states = work.rows("status.admissionChecks")
    order = ("Rejected", "Retry", "Pending")
    index = min(
        (i for i, c in enumerate(states) if c.get("state") in order),
        key=lambda i: order.index(text(states[i].get("state"))),
        default=None,
    )
    if index is None:
        return None
    check, place = states[index], f"status.admissionChecks[{index}]"
    state, name = text(check.get("state")), text(check.get("name"))
    if state != "Rejected" and age_of(view, check.get("lastTransitionTime")) < CHECKING:
        return None
    message = " ".join(text(check.get("message")).split())[:160].rstrip(" .")
    words = f"has its quota and is not admitted: AdmissionCheck {name} is {state}" + (f": {message}" if message else "")
    fix = outside(
        f"See why {name} {'refuses it' if state == 'Rejected' else 'does not answer'}: its controller and its request",
        "Kueue admits the workload once every check is ready",
    )
    sure = 0.9 if state == "Rejected" else 0.8
    draft = _draft(view, entry, place, words, sure, (fix,), None, (view.cite(work, place),))
    # A check that is inactive is told by itself and explains this, and so does a request that it made and that failed.
    return replace(draft, about=draft.about | {f"AdmissionCheck//{name}"}, level=Level.CALLER)


def _later(view: ClusterView, entry: Waiting, match: re.Match[str]) -> Draft | None:
    """Judge a workload for which there is enough quota, all of it given away just now."""
    work, what, flavor = entry.work, match["what"], match["flavor"]
    if age_of(view, work.condition("QuotaReserved").get("lastTransitionTime")) < GRACE:
        return None
    cited: list[Citation] = []
    funnel = holds = ""
    quota = quota_of(view, entry.cluster, what, flavor) if entry.cluster is not None else None
    if entry.cluster is not None and quota is not None:
        held = holders(view, entry.cluster, what, flavor)
        cited.append(view.cite(entry.cluster, quota.path))
        if quota.known:
            cited.append(view.cite(entry.cluster, "status.flavorsReservation"))
            funnel = f" ({shown(what, quota.used)} of {shown(what, quota.nominal)} are given away)"
        if held:
            cited.append(view.cite(held[0][0], "status.admission"))
            holds = ", held by " + ", ".join(f"{_name(view, w)} ({shown(what, n)})" for w, n in held[:3])
    preempted = "was preempted and " if work.condition("Preempted").get("status") == "True" else ""
    field = quota.path if quota is not None else path_of_condition(work, "QuotaReserved")
    words = (
        f"{preempted}waits for {match['lacks']} more {what} of flavor {flavor}{funnel}{holds}; it starts by itself "
        "when they are free"
    )
    fixes = [outside("Wait until what holds the quota ends, or lower its priority", "it is next when enough is free")]
    return _draft(view, entry, field, words, 0.8, fixes, entry.cluster, cited, MEANT)


def _name(view: ClusterView, work: Thing) -> str:
    owner = view.owner(work)
    return f"{owner.kind} {owner.name}" if owner is not None else f"Workload {work.name}"


def _never(view: ClusterView, entry: Waiting, match: re.Match[str]) -> Draft:
    """Judge a workload that asks for more than its queue, with all that it may borrow, can ever give."""
    what, flavor = match["what"], match["flavor"]
    asks, most = match["asks"] or match["asks2"] or "", match["most"] or match["most2"] or ""
    job = _owner(view, entry.work)
    cited = [view.cite(entry.work, "spec.podSets")]
    fixes: list[Fix] = [
        outside(
            f"Submit it again asking for at most {most} {what}" if most else f"Submit it again asking for less {what}",
            "it never starts as it is; requests of a submitted job cannot be changed",
        )
    ]
    quota = quota_of(view, entry.cluster, what, flavor) if entry.cluster is not None else None
    if entry.cluster is not None and quota is not None:
        cited.append(view.cite(entry.cluster, quota.path))
        if asks:
            title = f"Raise the quota of ClusterQueue {entry.cluster.name} to {asks} {what} of flavor {flavor}"
            fixes.append(set_path(entry.cluster, quota.path, asks, title, "right only where the nodes have as much"))
    amount = f"{asks} {what} of flavor {flavor}" if asks else f"more {what} of flavor {flavor} than there is"
    limit = f", and its queue can never give more than {most}" if most else ", and its queue can never give as much"
    field = _requests(job, what)
    return _draft(view, entry, field, f"never starts: it asks for {amount}{limit}", 0.93, fixes, job, cited)


def _requests(job: Thing, what: str) -> str:
    """Return where a job asks for a resource: in its own pod template, or in the workload's pod set."""
    for base in ("spec.template.spec", "spec.podSets[0].template.spec"):
        for i, box in enumerate(job.rows(f"{base}.containers")):
            for kind in ("requests", "limits"):
                if what in mapping(mapping(box.get("resources")).get(kind)):
                    return f"{base}.containers[{i}].resources.{kind}['{what}']"
    return "spec"


def _uncovered(view: ClusterView, entry: Waiting, what: str) -> Draft:
    queue = entry.cluster
    covered = [
        (f"spec.resourceGroups[{i}].coveredResources", texts(g.get("coveredResources")))
        for i, g in enumerate(queue.rows("spec.resourceGroups") if queue is not None else [])
    ]
    near = nearest(what, [n for _, names in covered for n in names])
    job = _owner(view, entry.work)
    fixes = [
        outside(
            f"Give the queue a quota of {what} (coveredResources and a flavor)"
            + (f", or ask for {near}" if near else ""),
            "a queue gives only what it covers",
        )
    ]
    words = f"never starts: it asks for {what}, which ClusterQueue {queue.name if queue else ''} does not cover"
    if near and _requests(job, what) != "spec" and what.partition("/")[0] != near.partition("/")[0]:
        # Another domain of the same name is mostly a slip of the job.
        return _draft(view, entry, _requests(job, what), f"{words} ({near} it does)", 0.93, fixes, job)
    cited = [view.cite(queue, *(p for p, _ in covered))] if queue is not None and covered else []
    return _draft(view, entry, "spec.resourceGroups", words, 0.93, fixes, queue, cited)


def _misfit(view: ClusterView, entry: Waiting, message: str) -> Draft:
    taint = "taint" in message
    job = _owner(view, entry.work)
    base = "spec.template.spec" if job.map("spec.template.spec") else "spec.podSets[0].template.spec"
    field = f"{base}.{'tolerations' if taint else 'nodeSelector'}" if "topology" not in message else "spec.podSets[0]"
    fix = outside(
        "Submit it with tolerations and a nodeSelector that fit a flavor of its queue, or to a queue whose flavor fits",
        "no flavor of the queue takes its pods; it does not start by itself while both stay as they are",
    )
    return _draft(view, entry, field, f"fits no flavor of its queue: {message[:180]}", 0.88, (fix,), job)


def _verbatim(view: ClusterView, entry: Waiting) -> Draft | None:
    """Show a reason that nobody taught us, and what every queue says while it works, once it lasts."""
    work, reserved = entry.work, entry.work.condition("QuotaReserved")
    preempted = work.condition("Preempted")
    passing = text(reserved.get("reason")) in ("PendingEvaluation", "WaitingForPreemptedWorkloads", "Suspended")
    if age_of(view, reserved.get("lastTransitionTime")) < (CHECKING if passing else GRACE):
        return None
    fix = outside("Wait, ask for less, or raise the queue's quota", "Kueue starts it by itself once there is room")
    if preempted.get("status") == "True":
        words = f"was preempted and waits for its turn again: {because(preempted)}"
        return _draft(
            view, entry, path_of_condition(work, "Preempted"), words, 0.8, (fix,), asks=MEANT, kind="Preempted"
        )
    evicted = work.condition("Evicted")
    if evicted.get("status") == "True" and evicted.get("reason") in ("PodsReadyTimeout", "NodeFailures"):
        words = f"was evicted and is to be tried again: {because(evicted)}"
        mend = outside(
            "Find out why its pods did not become ready, or which node failed", "otherwise it is evicted again"
        )
        return _draft(view, entry, path_of_condition(work, "Evicted"), words, 0.85, (mend,), kind="Evicted")
    words = f"waits in its queue: {because(reserved)}"
    return _draft(view, entry, path_of_condition(work, "QuotaReserved"), words, 0.7, (fix,), asks=MEANT)
