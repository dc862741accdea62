"""Jobs that failed or never start, CronJobs that make none."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from agents.expert import logs
from agents.expert.analyzers.containers import judge
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint, complaint
from agents.expert.remedies import create, delete, outside, set_path
from agents.expert.settings import Setting, settings_of
from agents.expert.workload import Container, Workload, containers, log_lines, template_of
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
    if job.at("spec.parallelism") == 0 and not job.condition("Complete"):
        wanted = max(1, job.number("spec.completions", 1))
        fix = set_path(
            job, "spec.parallelism", 1, f"Let job {job.name} run one pod at a time", f"{wanted} must complete"
        )
        return [
            Draft(
                "job",
                job.target,
                "spec.parallelism",
                f"Job {job.name} may run no pod: parallelism is 0.",
                0.92,
                Level.WORKLOAD,
                (view.cite(job, "spec.parallelism"),),
                frozenset({job.key}),
                frozenset({job.key}),
                (fix,),
            )
        ]
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
    for _, container in _ends(workload) if reason != "DeadlineExceeded" else ():
        said = complaint(log_lines(view, container))
        hit = _named(view, workload, container, said) if said is not None else None
        if said is None or hit is None:
            continue
        cited += [view.cite_log(said.log, said.decisive), view.cite(hit.holder, hit.path)]
        why, sure = said.shown, 0.93
        field = f"{container.path}.env[{hit.name}]" if hit.holder is job else hit.path
        value = logs.wanted_value(said.text, hit.name, hit.value)
        if value and hit.holder is job and head.kind == "CronJob":
            place = hit.path.replace("spec.template.spec", "spec.jobTemplate.spec.template.spec", 1)
            title = f"Set {hit.name}={value} for the next runs"
            fixes = [set_path(head, place, value, title, "the log asks for this value")]
        elif value and hit.holder is job:
            fixes = _again(job, hit.path, value, hit.name)
        break
    else:
        deeper = _deeper(view, workload, head, job, reason) if reason != "DeadlineExceeded" else None
        if deeper is not None:
            return replace(deeper, citations=(*cited, *deeper.citations), about=deeper.about | keys, explains=keys)
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


def _ends(workload: Workload) -> list[tuple[Thing, Container]]:
    """Return the containers that ended, of the newest pods first, the failed ones before the others."""
    found = [(p, c) for p in workload.pods for c in containers(workload, p) if c.ended]
    return sorted(found, key=lambda pair: pair[1].exit_code == 0)


def _named(view: ClusterView, workload: Workload, container: Container, said: Complaint) -> Setting | None:
    """Return the variable that a log names and that the job sets: what it holds is what the job refuses."""
    settings = [
        s
        for s in settings_of(view, workload, container)
        if not s.is_file and not s.name.startswith(("command", "args"))
    ]
    return next((s for s in settings if re.search(rf"\b{re.escape(s.name)}\b", said.text)), None)


def _deeper(view: ClusterView, job_workload: Workload, head: Thing, job: Thing, reason: str) -> Draft | None:
    """Return what is wrong with the containers of a failed job: memory, image, names, whatever a crash is judged by."""
    workload = Workload(head, template_of(head), job_workload.pods) if head.kind == "CronJob" else job_workload
    for pod in workload.pods[:3]:
        for container in containers(workload, pod):
            if not container.exit_code and not container.reason:
                continue
            draft = judge(view, workload, container)
            if draft is not None and draft.confidence >= 0.5:
                words = draft.summary.split(": ", 1)[-1] if draft.category == "job" else draft.summary
                return replace(
                    draft,
                    summary=f"Job {job.name} failed ({reason}): {words}",
                    fixes=tuple(_lasting(f, job) for f in draft.fixes),
                )
    return None


def _lasting(fix: Fix, job: Thing) -> Fix:
    """Return a fix as it is, or in words where it would change a job's template, which is immutable."""
    if fix.action is None or fix.action.target.kind != "Job":
        return fix
    return outside(f"{fix.title}, in a new job like {job.name}", f"a job cannot be changed; {fix.reason}")


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
    idle = _never(cron)
    if idle is not None:
        field, why, fixes = idle
        return [
            Draft(
                "job",
                cron.target,
                field,
                f"CronJob {cron.name} makes no jobs: {why}.",
                0.93 if field == "spec.schedule" else 0.85,
                Level.WORKLOAD,
                (view.cite(cron, "spec.schedule", field),),
                key,
                key,
                tuple(fixes),
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


LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
"""Days of the months that do not have 31."""
TICK_SECONDS = 10
"""The CronJob controller looks every 10 s, so that a shorter deadline is always over."""


def _never(cron: Thing) -> tuple[str, str, list[Fix]] | None:
    """Return why a schedule never comes: a day that its months do not have, a deadline shorter than a look."""
    schedule = cron.text("spec.schedule").split()
    if len(schedule) == 5 and schedule[4] == "*":
        days, months = _numbers(schedule[2]), _numbers(schedule[3])
        if days and months and all(d > LONGEST.get(m, 31) for d in days for m in months):
            why = f'"{cron.text("spec.schedule")}" names a day that its month does not have'
            return "spec.schedule", why, [outside("Correct the schedule", "what is meant only its owner knows")]
    seconds = cron.at("spec.startingDeadlineSeconds")
    if isinstance(seconds, int) and 0 <= seconds < TICK_SECONDS and not cron.text("status.lastScheduleTime"):
        field = "spec.startingDeadlineSeconds"
        fix = set_path(cron, field, 200, "Give a run 200 s to start", "a run that is late by more is skipped")
        return (
            field,
            f"startingDeadlineSeconds {seconds} is shorter than the controller's look every {TICK_SECONDS} s",
            [fix],
        )
    return None


def _numbers(field: str) -> list[int]:
    """Return the numbers of a cron field that is a plain list, nothing for one with steps, ranges or names."""
    parts = field.split(",")
    return [int(p) for p in parts] if all(p.isdigit() for p in parts) else []
