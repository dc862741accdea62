"""Volcano: pod groups that their queue does not let in or that fit nowhere as a whole, and jobs that ended badly.

Phases and reasons are those of scheduling.volcano.sh/v1beta1 and batch.volcano.sh/v1alpha1.
"""

from __future__ import annotations

from dataclasses import replace

from agents.expert.analyzers.statuses import MEANT, below, claim, lasts, owners
from agents.expert.conditions import path_of_condition
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes

GROUPS, QUEUES, JOBS = "podgroups.scheduling.volcano.sh", "queues.scheduling.volcano.sh", "jobs.batch.volcano.sh"
KINDS = (GROUPS, QUEUES, JOBS)
MINUTES = 5
"""The scheduler looks at every pod group once a second; what waits for this long does not just start."""


def analyze(view: ClusterView) -> list[Draft]:
    """Return why pod groups and jobs of Volcano do not run."""
    found: list[Draft] = []
    queues = {q.name: q for q in view.all(QUEUES)}
    waiting: dict[str, list[Thing]] = {}
    for group in view.all(GROUPS):
        if group.deleting or group.text("status.phase") not in ("", "Pending", "Inqueue"):
            continue
        queue = queues.get(group.text("spec.queue") or "default")
        if queue is not None and queue.text("status.state") in ("Closed", "Closing"):
            waiting.setdefault(queue.name, []).append(group)
        else:
            found += _group(view, group, queue, list(queues))
    found += [_closed(view, queues[name], groups) for name, groups in waiting.items()]
    return found + [d for job in view.all(JOBS) if not job.deleting for d in _job(view, job)]


def _keys(view: ClusterView, group: Thing) -> frozenset[str]:
    """Return the keys of a pod group, of what made it and of its pods, which name it by an annotation only."""
    top = view.owner(group)
    return below(view, group) | owners(view, group) | (below(view, top) if top is not None else frozenset())


def _closed(view: ClusterView, queue: Thing, groups: list[Thing]) -> Draft:
    keys = frozenset({queue.key}).union(*(_keys(view, g) for g in groups))
    fix = outside(f"Open queue {queue.name} again (vcctl queue operate -a open -n {queue.name})", "ask who closed it")
    state = queue.text("status.state")
    words = f"Queue {queue.name} is {state}: it lets no pod group in, and {len(groups)} wait for it."
    cited = (view.cite(queue, "status.state"), view.cite(groups[0], "spec.queue", "status.phase"))
    field = "status.state"
    return Draft(
        "scheduling", queue.target, field, words, 0.93, Level.OBJECT, cited, frozenset({queue.key}), keys, (fix,)
    )


def _group(view: ClusterView, group: Thing, queue: Thing | None, names: list[str]) -> list[Draft]:
    name = group.text("spec.queue") or "default"
    if queue is None:
        return [_no_queue(view, group, name, names)] if view.complete(QUEUES) else []
    unfit = group.condition("Unschedulable")
    if group.text("status.phase") in ("", "Pending"):
        return _not_let_in(view, group, queue)
    if unfit.get("status") != "True" or not lasts(view, unfit, MINUTES):
        return []
    reason, message = text(unfit.get("reason")), " ".join(text(unfit.get("message")).split())
    members = group.number("spec.minMember")
    fixes: list[Fix] = [
        outside(
            "Free what its pods ask for, or ask for less; none of them starts before all of them can", "it is a gang"
        )
    ]
    field = "spec.minMember"
    if reason in ("NotEnoughTasks", "NotEnoughPodsOfTask"):
        fixes = _fewer(view, group, members)
    words = f"does not fit as a whole ({members} pods at once): {reason}: {message[:180].rstrip(' .')}"
    paths = (field, path_of_condition(group, "Unschedulable"))
    more = _keys(view, group)
    # Its pods' own reason explains it where the scheduler gave one, so it stands above them.
    return [claim(view, group, "scheduling", field, words, 0.85, fixes, paths, level=Level.TRAFFIC, more=more)]


def _no_queue(view: ClusterView, group: Thing, name: str, names: list[str]) -> Draft:
    near = nearest(name, names)
    owner = view.owner(group)
    fix = outside(
        f"Submit it again to queue {near}" if near else f"Create Queue {name}, or submit it to one that exists",
        "the queue of a job cannot be changed",
    )
    words = f"names Queue {name}, which does not exist" + (f" ({near} does)" if near else "")
    thing = owner if owner is not None and owner.text("spec.queue") == name else group
    more = _keys(view, group)
    return claim(view, thing, "scheduling", "spec.queue", words, 0.93, (fix,), level=Level.OBJECT, more=more)


def _not_let_in(view: ClusterView, group: Thing, queue: Thing) -> list[Draft]:
    """Compare what the group needs at least with what its queue may have (capability) and has given (allocated)."""
    if (view.now - group.created).total_seconds() < MINUTES * 60:
        return []
    more = _keys(view, group)
    for what, asked in group.map("spec.minResources").items():
        name = str(what).removeprefix("requests.")
        most = queue.map("spec.capability").get(name)
        if most is None:
            continue
        given, need, limit = queue.map("status.allocated").get(name, "0"), quantity(asked), quantity(most)
        numbers = f"it needs {_shown(name, need)} {name}, and queue {queue.name} may have {_shown(name, limit)}"
        paths = (f"spec.minResources['{what}']", "status.phase")
        cited = view.cite(queue, f"spec.capability['{name}']", "status.allocated")
        if need > limit:
            place = f"spec.capability['{name}']"
            title = f"Raise the capability of queue {queue.name} to {asked} {name}"
            fixes = (
                outside(f"Submit it again asking for at most {most} {name}", "it never starts as it is"),
                set_path(queue, place, asked, title, "right only where the nodes have as much"),
            )
            draft = claim(
                view,
                group,
                "scheduling",
                paths[0],
                f"never starts: {numbers}",
                0.93,
                fixes,
                paths,
                level=Level.OBJECT,
                more=more,
            )
            return [_and(draft, cited)]
        if need + quantity(given) > limit:
            held = _shown(name, quantity(given))
            words = f"waits: {numbers}, of which {held} are given away; it starts when they are free"
            wait = outside("Wait until what holds them ends", "the queue lets it in by itself then")
            draft = claim(
                view,
                group,
                "scheduling",
                paths[0],
                words,
                0.8,
                (wait,),
                paths,
                level=Level.OBJECT,
                more=more,
                asks=MEANT,
            )
            return [_and(draft, cited)]
    words = f"waits for its queue {queue.name} to let it in, and nothing of its own says why"
    look = outside("See whether the Volcano scheduler runs and what its log says of this group", "it writes the phase")
    draft = claim(view, group, "scheduling", "status.phase", words, 0.5, (look,), level=Level.CALLER, more=more)
    return [_undecided(draft)]


def _and(draft: Draft, cited: Citation) -> Draft:
    return replace(draft, citations=(*draft.citations, cited))


def _undecided(draft: Draft) -> Draft:
    return replace(draft, missing="the Volcano scheduler's log")


def _fewer(view: ClusterView, group: Thing, members: int) -> list[Fix]:
    job = view.owner(group)
    total = sum(fold_int(t.get("replicas"), 1) for t in job.rows("spec.tasks")) if job is not None else 0
    if job is not None and job.resource == JOBS and 0 < total < members:
        title = f"Let job {job.name} start with its {total} pods"
        return [set_path(job, "spec.minAvailable", total, title, f"it wants {members} at once and makes {total}")]
    return [outside("Make minMember no larger than the pods that there are", "a gang waits for all its members")]


def _job(view: ClusterView, job: Thing) -> list[Draft]:
    phase = job.text("status.state.phase")
    reason, message = job.text("status.state.reason"), " ".join(job.text("status.state.message").split())[:160]
    shown = " ".join(p for p in (reason, message) if p)
    paths = ("status.state", "status.retryCount")
    if phase == "Failed" or (phase == "Restarting" and job.number("status.retryCount") >= 2):
        retries = job.number("status.retryCount")
        tail = f" after {retries} of {job.number('spec.maxRetry', 3)} retries" if retries else ""
        fix = outside(
            "Find out why its pods failed, mend it and submit it again", "the job does not say more than they do"
        )
        words = f"is {phase}{tail}" + (f": {shown}" if shown else "")
        return [claim(view, job, "job", "status.state.phase", words, 0.8, (fix,), paths)]
    if phase in ("Aborted", "Aborting", "Terminated"):
        fix = outside("Resume it with vcctl job resume, or submit it again", "somebody or one of its policies ended it")
        words = f"is {phase}" + (f": {shown}" if shown else "")
        return [claim(view, job, "job", "status.state.phase", words, 0.8, (fix,), paths, asks=MEANT)]
    return []


def _shown(what: str, amount: float) -> str:
    return shown_bytes(amount) if "memory" in what or "storage" in what else f"{amount:g}"
