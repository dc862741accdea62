"""KubeRay: clusters without a head or workers, jobs that did not run, services without endpoints (ray.io/v1)."""

from __future__ import annotations

from datetime import timedelta

from agents.expert.analyzers.jobsets import suspended
from agents.expert.analyzers.statuses import MEANT, claim, judge, lasts, untouched
from agents.expert.conditions import age_of, because, path_of_condition, stale
from agents.expert.draft import Draft, Level
from agents.expert.remedies import outside, set_path
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing

CLUSTERS, JOBS, SERVICES = "rayclusters.ray.io", "rayjobs.ray.io", "rayservices.ray.io"
KINDS = (CLUSTERS, JOBS, SERVICES)
MINUTES = 10
STARTING = timedelta(minutes=15)
"""A head and its workers are pulled and started in this time; a job that is Initializing for longer hangs."""
_APPS = ("activeServiceStatus", "pendingServiceStatus")
_FIELDS = {
    "DeadlineExceeded": "spec.activeDeadlineSeconds",
    "PreRunningDeadlineExceeded": "spec.preRunningDeadlineSeconds",
    "AppFailed": "spec.entrypoint",
    "SubmissionFailed": "spec.submitterPodTemplate",
}


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with Ray clusters, jobs and services."""
    found: list[Draft] = []
    for kind, one in ((CLUSTERS, _cluster), (JOBS, _job), (SERVICES, _service)):
        for thing in view.all(kind):
            if thing.deleting:
                continue
            if "status" not in thing.raw and view.now - thing.created > STARTING:
                found.append(untouched(view, thing))
            else:
                found += one(view, thing)
    return found


def _cluster(view: ClusterView, cluster: Thing) -> list[Draft]:
    if cluster.at("spec.suspend") is True or cluster.text("status.state") == "suspended":
        return suspended(view, cluster)
    refused, head = cluster.condition("ReplicaFailure"), cluster.condition("HeadPodReady")
    if refused.get("status") == "True" and not stale(cluster, refused):
        fix = outside("Mend what refuses its pods: quota, policy, or the pod template", "the operator cannot make them")
        field = path_of_condition(cluster, "ReplicaFailure")
        return [claim(view, cluster, "other", field, f"cannot make its pods: {because(refused)}", 0.9, (fix,))]
    if head.get("status") == "False" and not stale(cluster, head) and lasts(view, head, MINUTES):
        fix = outside("Find out why the head pod does not become ready", "workers and jobs all go through it")
        field = path_of_condition(cluster, "HeadPodReady")
        return [claim(view, cluster, "other", field, f"has no ready head: {because(head)}", 0.75, (fix,))]
    wanted, ready = cluster.number("status.desiredWorkerReplicas"), cluster.number("status.readyWorkerReplicas")
    made = cluster.condition("RayClusterProvisioned")
    old = lasts(view, made, MINUTES) if made else view.now - cluster.created > STARTING
    if ready >= wanted or made.get("status") == "True" or not old:
        return []
    return [_workers(view, cluster, wanted, ready)]


def _workers(view: ClusterView, cluster: Thing, wanted: int, ready: int) -> Draft:
    """Judge workers that do not join; one of another Ray version than the head never does."""
    head = cluster.text("spec.headGroupSpec.template.spec.containers[0].image")
    for i, group in enumerate(cluster.rows("spec.workerGroupSpecs")):
        field = f"spec.workerGroupSpecs[{i}].template.spec.containers[0].image"
        image = cluster.text(field)
        if head and image and _version(head) and _version(image) and _version(head) != _version(image):
            title = f"Use the head's image {head} for worker group {text(group.get('groupName'))}"
            fix = set_path(cluster, field, head, title, "head and workers must be of one Ray version")
            words = f"has {ready} of {wanted} workers: they run Ray {_version(image)} and the head {_version(head)}"
            paths = (field, "spec.headGroupSpec.template.spec.containers[0].image", "status.readyWorkerReplicas")
            return claim(view, cluster, "other", field, words, 0.85, (fix,), paths, level=Level.WORKLOAD)
    fix = outside(
        "Look at a worker that is not ready: unscheduled, or waiting in its init container for the head's GCS (6379)",
        "a network policy or another Ray version keeps it from the head",
    )
    words = f"has {ready} of {wanted} workers ready"
    numbers = ("status.readyWorkerReplicas", "status.desiredWorkerReplicas")
    return claim(view, cluster, "other", "status.readyWorkerReplicas", words, 0.72, (fix,), numbers)


def _version(image: str) -> str:
    """Return the Ray version in an image's tag ("2.9.0" of "ray:2.9.0-py310-gpu"), "" where the tag tells none."""
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2].partition("-")[0]
    return tag if tag.replace(".", "").isdigit() and tag.count(".") == 2 else ""


def _job(view: ClusterView, job: Thing) -> list[Draft]:
    phase, reason = job.text("status.jobDeploymentStatus"), job.text("status.reason")
    message = " ".join(job.text("status.message").split())[:180].rstrip(" .")
    shown = ": ".join(p for p in (reason, message) if p)
    paths = ("status.jobDeploymentStatus", "status.reason", "status.message", "status.jobStatus")
    if phase == "ValidationFailed":
        fix = outside("Correct the spec as the message says and submit it again", "the operator does not start it")
        return [claim(view, job, "job", "spec", f"is not valid: {shown}", 0.93, (fix,), paths, level=Level.OBJECT)]
    if phase == "Failed" or job.text("status.jobStatus") == "FAILED":
        fix = outside("Mend what the message says and submit it again", "a RayJob that failed is not started again")
        field = _FIELDS.get(reason, "status.jobDeploymentStatus")
        return [claim(view, job, "job", field, f"has failed: {shown}", 0.85, (fix,), (*paths, field))]
    if phase == "Suspended" or job.at("spec.suspend") is True:
        return suspended(view, job)
    since = job.at("status.startTime") or job.at("metadata.creationTimestamp")
    if phase in ("Initializing", "Waiting", "Retrying", "") and age_of(view, since) > STARTING:
        fix = outside(
            "Look at its RayCluster and at the submitter's pod, and whether that reaches the dashboard (8265)",
            "the job is handed over only once the cluster is ready",
        )
        words = f"is {phase or 'not started'} for long" + (f": {shown}" if shown else "")
        asks = MEANT if phase == "Waiting" else ""  # in interactive mode it waits for somebody to submit
        return [claim(view, job, "job", "status.jobDeploymentStatus", words, 0.72, (fix,), paths, asks=asks)]
    return []


def _service(view: ClusterView, service: Thing) -> list[Draft]:
    for status in _APPS:
        for name, app in service.map(f"status.{status}.applicationStatuses").items():
            state = text(mapping(app).get("status"))
            if state in ("DEPLOY_FAILED", "UNHEALTHY"):
                place = f"status.{status}.applicationStatuses['{name}']"
                message = " ".join(text(mapping(app).get("message")).split())[:180].rstrip(" .")
                stays = ", so the cluster before it keeps serving" if status == _APPS[1] else ""
                fix = outside(
                    "Mend the Serve application that spec.serveConfigV2 names", "Ray Serve says what it trips over"
                )
                words = f"cannot serve {name}: {state}" + (f": {message}" if message else "") + stays
                return [claim(view, service, "other", "spec.serveConfigV2", words, 0.85, (fix,), (place,))]
    ready = service.condition("Ready")
    if ready.get("status") != "False":
        return judge(view, service) if stale(service, ready) else []
    late = ready.get("reason") == "InitializingTimeout"
    if stale(service, ready) or not (late or lasts(view, ready, MINUTES)):
        return []
    fix = outside("Look at its RayCluster and at the Serve applications", "it is ready once an endpoint serves")
    return [
        claim(
            view, service, "other", path_of_condition(service, "Ready"), f"is not ready: {because(ready)}", 0.78, (fix,)
        )
    ]
