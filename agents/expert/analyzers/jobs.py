"""Jobs that failed or never start, CronJobs that make none."""

from __future__ import annotations

from datetime import timedelta

from agents.expert import logs
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import complaint
from agents.expert.remedies import create, delete, outside, set_path
from agents.expert.settings import settings_of
from agents.expert.workload import Workload, containers, log_lines
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing, event_time, when

QUEUES = ("kueue.x-k8s.io/queue-name",)


def analyze(view: ClusterView) -> list[Draft]:
    """Return failed jobs with the reason in their log, jobs held back, and cron jobs that do not run."""
    found: list[Draft] = []
    for job in view.all("jobs.batch"):
        found += _job(view, job)
    for cron in view.all("cronjobs.batch"):
        found += _cron(view, cron)
    return found


def _job(view: ClusterView, job: Thing) -> list[Draft]:
    failed = job.condition("Failed")
    owner = view.owner(job)
    if owner is not None and any(
        j.created > job.created and j.condition("Complete").get("status") == "True"
        for j in view.all("jobs.batch", job.namespace)
        if view.owner(j) is owner
    ):
        return []
    if failed.get("status") == "True" and _superseded(view, job):
        return []
    if failed.get("status") == "True":
        return [_failed(view, job, failed)]
    if job.at("spec.suspend") is True and not any(q in job.labels for q in QUEUES):
        fix = set_path(job, "spec.suspend", False, f"Resume job {job.name}", "nothing else holds it back")
        return [
            Draft(
                "job",
                job.target,
                "spec.suspend",
                f"Job {job.name} is suspended, so it has no pods.",
                0.85,
                Level.WORKLOAD,
                (view.cite(job, "spec.suspend"),),
                frozenset({job.key}),
                frozenset({job.key}),
                (fix,),
            )
        ]
    return []


def _superseded(view: ClusterView, job: Thing) -> bool:
    """Say whether a later job of the same name and more has done the work."""
    later = (
        j for j in view.all("jobs.batch", job.namespace) if j.created > job.created and j.name.startswith(job.name[:57])
    )
    return any(j.condition("Complete").get("status") == "True" for j in later)


def _failed(view: ClusterView, job: Thing, failed: object) -> Draft:
    workload = Workload(job, "spec.template.spec", tuple(view.pods_of(job)))
    head = view.top(job)
    reason = text(mapping(failed).get("reason"))
    index = next((i for i, c in enumerate(job.rows("status.conditions")) if c.get("type") == "Failed"), 0)
    cited = [view.cite(job, f"status.conditions[{index}]")]
    keys = workload.keys | {head.key}
    field, why, fixes, sure = (
        "spec.template.spec.containers[0]",
        text(mapping(failed).get("message")) or reason,
        list[Fix](),
        0.6,
    )
    if reason == "DeadlineExceeded":
        field, why, sure = (
            "spec.activeDeadlineSeconds",
            f"it was stopped after activeDeadlineSeconds {job.number('spec.activeDeadlineSeconds')}",
            0.93,
        )
        cited.append(view.cite(job, field))
        fixes = [
            outside(
                "Run it again with a longer deadline, or find out why it takes so long",
                "the deadline of a job that ended cannot be changed",
            )
        ]
    for pod in workload.pods:
        if reason == "DeadlineExceeded":
            break
        for container in containers(workload, pod):
            said = complaint(log_lines(view, container))
            if said is None or not (container.exit_code or container.ended):
                continue
            cited.append(view.cite_log(said.log, said.decisive))
            why, sure = said.shown, 0.8
            settings = [s for s in settings_of(view, workload, container) if not s.is_file]
            wanted = {m["name"]: m["value"] for m in logs.ASSIGNED.finditer(said.text)}
            hit = next((s for s in settings if s.name in wanted or s.name in said.variables), None)
            field = container.path
            if hit is not None:
                field, sure = f"{container.path}.env[{hit.name}]" if hit.holder is job else hit.path, 0.93
                cited.append(view.cite(hit.holder, hit.path))
                if wanted.get(hit.name) and wanted[hit.name] != hit.value and hit.holder is job:
                    fixes = _again(job, hit.path, wanted[hit.name], hit.name)
            break
        else:
            continue
        break
    if not fixes:
        fixes = [
            outside(
                "Mend what the log names, then run the job again", "a job that has failed does not try again by itself"
            )
        ]
    target = head.target if head.kind == "CronJob" else job.target
    if head.kind == "CronJob":
        field = field.replace("spec.template.spec", "spec.jobTemplate.spec.template.spec", 1)
    return Draft(
        "job",
        target,
        field,
        f"Job {job.name} failed ({reason}): {why}.",
        sure,
        Level.WORKLOAD,
        tuple(cited),
        keys,
        keys,
        tuple(fixes),
    )


def _again(job: Thing, path: str, value: str, name: str) -> list[Fix]:
    """Return a new job like the failed one with one value changed; the template of a job is immutable."""
    import json

    spec = json.loads(json.dumps(dict(job.map("spec"))))
    for field in ("selector", "manualSelector", "suspend"):
        spec.pop(field, None)
    labels = mapping(mapping(spec.get("template")).get("metadata"))
    if isinstance(labels, dict):
        labels.pop("labels", None)
        labels.pop("creationTimestamp", None)
    for group in ("initContainers", "containers"):
        for container in rows(mapping(mapping(spec.get("template")).get("spec")).get(group)):
            for env in rows(container.get("env")):
                if env.get("name") == name and isinstance(env, dict):
                    env["value"] = value
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{job.name[:57]}-again", "namespace": job.namespace},
        "spec": spec,
    }
    made = create(
        "jobs.batch",
        body,
        f"Run the job again with {name}={value}",
        "the log asks for this value; the failed job stays as a record",
    )
    return [made]


def _cron(view: ClusterView, cron: Thing) -> list[Draft]:
    key = frozenset({cron.key})
    if cron.at("spec.suspend") is True:
        fix = set_path(
            cron,
            "spec.suspend",
            False,
            f"Resume cron job {cron.name}",
            "it makes no jobs while it is suspended; ask who suspended it",
        )
        return [
            Draft(
                "job",
                cron.target,
                "spec.suspend",
                f"CronJob {cron.name} is suspended, so it makes no jobs.",
                0.9,
                Level.WORKLOAD,
                (view.cite(cron, "spec.suspend", "spec.schedule"),),
                key,
                key,
                (fix,),
            )
        ]
    odd = next(
        (
            e
            for e in view.events_of(cron)
            if e.text("reason")
            in ("UnparseableSchedule", "InvalidSchedule", "UnknownTimeZone", "TooManyMissedTimes", "MissSchedule")
        ),
        None,
    )
    if odd is not None and view.now - event_time(odd) < timedelta(hours=2):
        field = (
            "spec.timeZone"
            if "TimeZone" in odd.text("reason")
            else "spec.startingDeadlineSeconds"
            if "Miss" in odd.text("reason")
            else "spec.schedule"
        )
        return [
            Draft(
                "job",
                cron.target,
                field,
                f"CronJob {cron.name} makes no jobs: {odd.text('message')[:140]}.",
                0.88,
                Level.WORKLOAD,
                (view.cite(odd, "message"), view.cite(cron, field)),
                key,
                key,
                (outside("Correct the schedule", "what is meant only its owner knows"),),
            )
        ]
    active = cron.rows("status.active")
    if cron.text("spec.concurrencyPolicy") == "Forbid" and active:
        skipped = next((e for e in view.events_of(cron) if e.text("reason") == "JobAlreadyActive"), None)
        job = view.find("Job", cron.namespace, text(active[0].get("name")))
        started = when(job.at("status.startTime")) if job is not None else None
        if skipped is not None and job is not None and started is not None:
            stuck = delete(
                job,
                f"Delete the hanging job {job.name}",
                "the next run can then start; what it has done so far is lost",
            )
            return [
                Draft(
                    "job",
                    cron.target,
                    "spec.concurrencyPolicy",
                    f"CronJob {cron.name} skips its runs: job {job.name} still runs and concurrencyPolicy is Forbid.",
                    0.85,
                    Level.WORKLOAD,
                    (view.cite(skipped, "message"), view.cite(cron, "spec.concurrencyPolicy")),
                    key,
                    key,
                    (stuck,),
                )
            ]
    return []
