"""JobSets, TrainJobs and LeaderWorkerSets: failed, restarting, held back, or waiting for one of their own parts.

Field and condition names are those of jobset.x-k8s.io/v1alpha2, trainer.kubeflow.org/v1alpha1 and
leaderworkerset.x-k8s.io/v1.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from agents.expert.analyzers.queues import QUEUE_LABEL, WORKLOADS, in_queue
from agents.expert.analyzers.statuses import MEANT, claim, judge, lasts, untouched
from agents.expert.conditions import age_of, because, path_of_condition, stale
from agents.expert.draft import Draft, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import owned_by
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing, when

JOBSETS, TRAINJOBS = "jobsets.jobset.x-k8s.io", "trainjobs.trainer.kubeflow.org"
GROUPS = "leaderworkersets.leaderworkerset.x-k8s.io"
RUNTIMES = {
    "ClusterTrainingRuntime": "clustertrainingruntimes.trainer.kubeflow.org",
    "TrainingRuntime": "trainingruntimes.trainer.kubeflow.org",
}
KINDS = (JOBSETS, TRAINJOBS, GROUPS)
MINUTES = 10
"""What is under way for less is no fault: images of several gigabytes are pulled in this time."""
_REFUSED = ("JobCreationFailed", "HeadlessServiceCreationFailed", "ExclusivePlacementViolation", "FailedCreate")


def analyze(view: ClusterView) -> list[Draft]:
    """Return what keeps groups of jobs and pods from their work."""
    found: list[Draft] = []
    for kind, one in ((JOBSETS, _jobset), (TRAINJOBS, _trainjob), (GROUPS, _group)):
        for thing in view.all(kind):
            if not thing.deleting:
                found += one(view, thing)
    return found


def suspended(view: ClusterView, thing: Thing) -> list[Draft]:
    """Return that an object is suspended, as what may be meant; nothing where a Kueue Workload says why it waits."""
    served = view.complete(WORKLOADS, thing.namespace)
    queued = (served and QUEUE_LABEL in thing.labels) or in_queue(view, thing)
    if thing.at("spec.suspend") is not True or queued or thing.rows("metadata.ownerReferences"):
        return []
    fix = set_path(thing, "spec.suspend", False, f"Resume {thing.kind} {thing.name}", "ask first who suspended it")
    return [claim(view, thing, "job", "spec.suspend", "is suspended", 0.85, (fix,), asks=MEANT)]


def _jobset(view: ClusterView, jobset: Thing) -> list[Draft]:
    failed = jobset.condition("Failed")
    if jobset.condition("Completed").get("status") == "True":
        return []
    if failed.get("status") == "True" and not stale(jobset, failed):
        return [_failed(view, jobset, path_of_condition(jobset, "Failed"), f"has failed: {because(failed)}")]
    if jobset.at("spec.suspend") is True:
        return suspended(view, jobset)
    if view.now - jobset.created < timedelta(minutes=MINUTES):
        return []
    refused = [e for e in view.events_of(jobset) if e.text("reason") in _REFUSED]
    parts = jobset.rows("status.replicatedJobsStatus")
    if refused and not any(p.get("active") or p.get("ready") for p in parts):
        draft = claim(view, jobset, "job", "spec.replicatedJobs", _quoted(refused[0]), 0.9, (_READ,))
        return [_with(draft, view, refused[0])]
    if "status" not in jobset.raw:
        return [untouched(view, jobset)]
    restarts, waits = jobset.number("status.restarts"), _first_unready(jobset)
    if restarts >= 2 and waits is not None:
        most = jobset.at("spec.failurePolicy.maxRestarts")
        limit = f" of {most} allowed" if isinstance(most, int) else ""
        return [_failed(view, jobset, "status.restarts", f"was restarted {restarts} times{limit}, and is not ready")]
    return [_in_order(view, jobset, waits)] if waits is not None and _ordered(jobset, waits) else []


_READ = outside("Do what the event says", "the controller could not make what it needs")


def _quoted(event: Thing) -> str:
    return f"gets no jobs: {event.text('reason')}: {' '.join(event.text('message').split())[:160].rstrip(' .')}"


def _with(draft: Draft, view: ClusterView, event: Thing) -> Draft:
    return replace(draft, citations=(*draft.citations, view.cite(event, "reason", "message")))


def _failed(view: ClusterView, jobset: Thing, field: str, words: str) -> Draft:
    """Name the Job that failed first: the others are taken down with it."""
    jobs = owned_by(view, jobset, "jobs.batch")
    broken = [j for j in jobs if j.condition("Failed").get("status") == "True"]
    broken.sort(key=lambda j: when(j.condition("Failed").get("lastTransitionTime")) or j.created)
    first = f"; Job {broken[0].name} failed first" if broken else ""
    fix = outside(
        f"Find out why {'Job ' + broken[0].name if broken else 'its first job'} failed, mend it, and submit it again",
        "a failed set is not started again, and its jobs cannot be changed",
    )
    # What a job's own claim says explains this one, which stands above all of them.
    draft = claim(
        view, jobset, "job", field, words + first, 0.85, (fix,), (field, "status.restarts"), more=[j.key for j in jobs]
    )
    if not broken:
        return draft
    cited = view.cite(broken[0], "metadata.name", path_of_condition(broken[0], "Failed"))
    return replace(draft, citations=(*draft.citations, cited))


def _first_unready(jobset: Thing) -> int | None:
    """Return the place of the first replicated job that is neither ready nor done, None where all are."""
    states = {text(s.get("name")): s for s in jobset.rows("status.replicatedJobsStatus")}
    for i, part in enumerate(jobset.rows("spec.replicatedJobs")):
        state, replicas = states.get(text(part.get("name")), {}), part.get("replicas", 1)
        done = sum(n for k in ("ready", "succeeded") if isinstance(n := state.get(k), int))
        if isinstance(replicas, int) and done < replicas:
            return i
    return None


def _ordered(jobset: Thing, first: int) -> bool:
    """Say whether a replicated job waits for this one: by startupPolicy InOrder or by its own dependsOn."""
    parts = jobset.rows("spec.replicatedJobs")
    name = text(parts[first].get("name"))
    in_order = jobset.text("spec.startupPolicy.startupPolicyOrder") == "InOrder" and first + 1 < len(parts)
    return in_order or any(d.get("name") == name for p in parts for d in rows(p.get("dependsOn")))


def _in_order(view: ClusterView, jobset: Thing, first: int) -> Draft:
    part = jobset.rows("spec.replicatedJobs")[first]
    name = text(part.get("name"))
    words = f"waits in order: its replicated job {name} is not ready, and others start only after it"
    fix = outside(f"Find out why the pods of {name} do not become ready", "the others start by themselves then")
    return claim(
        view,
        jobset,
        "job",
        f"spec.replicatedJobs[{first}]",
        words,
        0.75,
        (fix,),
        ("spec.startupPolicy", "status.replicatedJobsStatus"),
        more=[j.key for j in owned_by(view, jobset, "jobs.batch")],
    )


def _trainjob(view: ClusterView, job: Thing) -> list[Draft]:
    if job.condition("Complete").get("status") == "True":
        return []
    ref = mapping(job.at("spec.runtimeRef"))
    name, kind = text(ref.get("name")), text(ref.get("kind")) or "ClusterTrainingRuntime"
    resource = RUNTIMES.get(kind, "")
    known = [r.name for r in view.all(resource, job.namespace if kind == "TrainingRuntime" else "")]
    if name and resource and name not in known and view.complete(resource, job.namespace):
        near = nearest(name, known)
        fix = outside(
            f"Submit it again with runtimeRef {near}" if near else f"Create {kind} {name}, or submit it with another",
            "the runtime of a TrainJob cannot be changed",
        )
        words = f"never starts: {kind} {name} does not exist" + (f" ({near} does)" if near else "")
        return [claim(view, job, "job", "spec.runtimeRef.name", words, 0.93, (fix,), level=Level.OBJECT)]
    failed = job.condition("Failed")
    if failed.get("status") == "True":
        fix = outside(
            "Mend what its JobSet and pods say, and submit it again", "a failed TrainJob is not started again"
        )
        return [
            claim(view, job, "job", path_of_condition(job, "Failed"), f"has failed: {because(failed)}", 0.8, (fix,))
        ]
    return suspended(view, job)


def _group(view: ClusterView, group: Thing) -> list[Draft]:
    available = group.condition("Available")
    stuck = _held_update(view, group)
    if stuck is not None:
        return [stuck]
    if available.get("status") != "False" or stale(group, available):
        return judge(view, group) if "status" not in group.raw else []
    if not lasts(view, available, MINUTES) or age_of(view, group.at("metadata.creationTimestamp")) < timedelta(
        minutes=5
    ):
        return []
    leaders = [p for p in view.pods_of(group) if p.labels.get("leaderworkerset.sigs.k8s.io/worker-index") == "0"]
    down = [p for p in leaders if not p.ready]
    ready, wanted = group.number("status.readyReplicas"), group.number("spec.replicas", 1)
    base = f"has {ready} of {wanted} groups ready: {because(available)}"
    field, extra = path_of_condition(group, "Available"), ""
    if down and group.text("spec.startupPolicy") == "LeaderReady":
        field, extra = "spec.startupPolicy", f"; leader {down[0].name} is not ready, and workers are made only after it"
    elif group.text("spec.leaderWorkerTemplate.restartPolicy") in ("RecreateGroupOnPodRestart", "Default"):
        extra = "; when one pod of a group fails the whole group is made again"
    look = outside(
        f"Find out why {'leader ' + down[0].name if down else 'a pod of the group'} does not become ready",
        "a group is ready only as a whole",
    )
    return [claim(view, group, "other", field, base + extra, 0.75, (look,), (path_of_condition(group, "Available"),))]


def _held_update(view: ClusterView, group: Thing) -> Draft | None:
    """Judge a rolling update that its own partition holds back: groups below that number keep the old template."""
    field = "spec.rolloutStrategy.rollingUpdateConfiguration.partition"
    updating = group.condition("UpdateInProgress")
    replicas, partition = group.number("spec.replicas", 1), group.number(field)
    if updating.get("status") != "True" or not partition > 0 or group.number("status.updatedReplicas") >= replicas:
        return None
    if group.number("status.updatedReplicas") < replicas - partition or not lasts(view, updating, MINUTES):
        return None
    fix = set_path(group, field, 0, f"Let the update of {group.name} reach all groups", "ask first who holds it back")
    words = f"keeps {min(partition, replicas)} of {replicas} groups at the old template: its partition is {partition}"
    return claim(view, group, "rollout", field, words, 0.85, (fix,), (field, "status.updatedReplicas"), asks=_OLD)


_OLD = r"old|version|update|roll|release|template|partition"
