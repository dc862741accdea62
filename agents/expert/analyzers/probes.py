"""Probes that fail on an application that works: a handler that asks the wrong thing, or too little patience."""

from __future__ import annotations

import re

from agents.expert.analyzers import handlers
from agents.expert.analyzers.handlers import KINDS, LATE, Probe, Verdict, probe_of
from agents.expert.draft import Draft, Level
from agents.expert.logs import ports
from agents.expert.remedies import outside
from agents.expert.settings import settings_of
from agents.expert.workload import YOUNG, Container, Workload
from assistant.domain.raw import fold_int
from assistant.domain.view import ClusterView, Thing, event_count

FAILED = re.compile(r"(Startup|Liveness|Readiness) probe (failed|errored)")
LOOPBACK = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::|\b[^\n]{0,20}port\D{0,3})\d{2,5}")
LOOPBACK_VALUE = re.compile(r"^(?:127\.0\.0\.1|localhost|::1)(?::\d+)?$|(?:=|//|\s)(?:127\.0\.0\.1|localhost)(?::|$)")


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the probe that is wrong, None where the container stops by itself or no probe fails."""
    failed = _failures(view, container)
    if not failed:
        return _unseen(view, workload, container)
    if not failed or not (container.running or container.exit_code in (0, 137, 143) or _killed(view, container)):
        return None
    order = (
        ("livenessProbe", "startupProbe", "readinessProbe")
        if container.restarts or not container.running
        else ("startupProbe", "readinessProbe", "livenessProbe")
    )
    for field in order:
        if field in failed:
            probe = probe_of(view, workload, container, field, failed[field])
            found = handlers.judge(probe) or _late(probe) or _impatient(probe)
            if found is not None:
                return _draft(probe, found)
            inside = _listens_inside(probe)
            if inside is not None:
                return inside
    return None


def _unseen(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Judge probes by the objects and the log alone, as events are kept for an hour only.

    None for a pod that may simply be starting, and for a container that was not stopped as the kubelet does it.
    """
    if view.now - container.pod.created < YOUNG:
        return None
    fields = ["livenessProbe"] if container.exit_code in (137, 143) and not container.ready else []
    fields += ["readinessProbe"] if container.running and not container.ready else []
    for field in fields:
        if field in container.spec:
            probe = probe_of(view, workload, container, field, [])
            found = handlers.judge(probe)
            if found is not None:
                return _draft(probe, found)
    return None


def _failures(view: ClusterView, container: Container) -> dict[str, list[Thing]]:
    """Return the failure events of each probe field, the newest first."""
    found: dict[str, list[Thing]] = {}
    several = len(container.pod.rows("spec.containers")) > 1
    for event in view.events_of(container.pod):
        match = FAILED.search(event.text("message")) if event.text("reason") in ("Unhealthy", "ProbeWarning") else None
        about = event.text("involvedObject.fieldPath")
        if (
            match
            and (not several or not about or f"{{{container.name}}}" in about)
            and KINDS[match[1]] in container.spec
        ):
            found.setdefault(KINDS[match[1]], []).append(event)
    return found


def _killed(view: ClusterView, container: Container) -> bool:
    words = (f"Container {container.name} failed liveness probe", f"Container {container.name} failed startup probe")
    return any(
        e.text("reason") == "Killing" and e.text("message").startswith(words) for e in view.events_of(container.pod)
    )


def _late(probe: Probe) -> Verdict | None:
    """Judge a probe that gives up before the application answers."""
    slow, refused = probe.having(LATE.pattern), probe.having("refused")
    if not slow or (refused and len(slow) * 2 < len(probe.events)):
        return None
    seconds = fold_int(probe.spec.get("timeoutSeconds"), 1)
    place = f"{probe.path}.timeoutSeconds"
    more = max(5, seconds * 5)
    fix = probe.set(
        place, more, f"Give the probe {more} s", "the application answers, only later; find out why it is slow"
    )
    fixes = [*handlers.before(probe.view, probe.workload, probe.container, probe.field), fix]
    cited = probe.cite(place if probe.spec.get("timeoutSeconds") else probe.path, slow[0])
    return Verdict(
        place, f"gives up after {seconds} s, before the application answers", 0.8, tuple(cited), tuple(fixes)
    )


def _impatient(probe: Probe) -> Verdict | None:
    """Judge a liveness or startup probe that kills the container while it still starts."""
    view, container = probe.view, probe.container
    refused = probe.having("refused|reset by peer|EOF")
    starting = container.exit_code in (137, 143, 0) and not ports(probe.lines[-15:])
    if not refused or probe.field == "readinessProbe" or not _killed(view, container) or not starting:
        return None
    period = fold_int(probe.spec.get("periodSeconds"), 10)
    patience = fold_int(probe.spec.get("initialDelaySeconds")) + period * fold_int(
        probe.spec.get("failureThreshold"), 3
    )
    place = f"{probe.path}.failureThreshold"
    cited = probe.cite(probe.path, refused[0])
    killing = next((e for e in view.events_of(container.pod) if e.text("reason") == "Killing"), None)
    cited += [view.cite(killing, "message")] if killing is not None else []
    cited += [view.cite_log(probe.lines[-1][0], probe.lines[-1][1])] if probe.lines else []
    fix = probe.set(
        place,
        30,
        f"Let it take {30 * period} s to start",
        "the kubelet kills it while it still starts; a startupProbe with that patience is the cleaner form",
    )
    fixes = [*handlers.before(view, probe.workload, container, probe.field), fix]
    why = f"kills the container after about {patience} s, before it has started"
    return Verdict(place, why, 0.85, tuple(cited), tuple(fixes))


def _listens_inside(probe: Probe) -> Draft | None:
    """Return the setting that lets a server listen on the loopback address only, where no probe can reach it."""
    line = next(
        ((log, row) for log, row in reversed(probe.lines) if LOOPBACK.search(row) and ports([(log, row)])), None
    )
    refused = probe.having("refused")
    if line is None or not refused:
        return None
    workload, view = probe.workload, probe.view
    settings = settings_of(view, workload, probe.container)
    held = next((s for s in settings if s.value and LOOPBACK_VALUE.search(s.value)), None)
    holder = held.holder if held is not None else workload.thing
    field = held.path if held is not None else f"{probe.container.path}.env"
    cited = [view.cite_log(line[0], line[1]), view.cite(refused[0], "message")]
    cited += [view.cite(holder, field)] if held is not None else []
    name = f" ({held.name} of {holder.kind} {holder.name})" if held is not None else ""
    fixes = [outside("Let it listen on 0.0.0.0", "the kubelet and the Service come from outside the container")]
    if held is not None and held.value:
        from agents.expert.analyzers.names import change

        value = re.sub(r"127\.0\.0\.1|localhost", "0.0.0.0", held.value)  # noqa: S104 - what a server in a pod must do
        fixes = change(
            view, workload, held, value, "Listen on all addresses", "nothing outside the container reaches it"
        )
    return Draft(
        "app-config",
        holder.target,
        field,
        (
            f"{workload.name()} listens on the loopback address only{name}, so neither its probes nor "
            f"its Service reach it."
        ),
        0.93 if held is not None else 0.8,
        Level.OBJECT if holder is not workload.thing else Level.WORKLOAD,
        tuple(cited),
        workload.keys | {holder.key},
        workload.keys,
        tuple(fixes),
    )


def _draft(probe: Probe, found: Verdict) -> Draft:
    effect = "so it is killed again and again" if probe.field != "readinessProbe" else "so no pod becomes ready"
    workload = probe.workload
    return Draft(
        "probe",
        workload.thing.target,
        found.field,
        f"The {probe.field} of {workload.name()} {found.why}, {effect}.",
        found.sure,
        Level.WORKLOAD,
        found.cited,
        workload.keys,
        workload.keys,
        found.fixes,
    )


def not_ready(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the symptom that a running container does not become ready, where no probe is plainly wrong."""
    failed = _failures(view, container).get("readinessProbe")
    if not container.running or container.ready or not failed:
        return None
    place = f"{container.path}.readinessProbe"
    cited = [view.cite(failed[0], "message"), view.cite(container.pod, f"{container.status_path}.ready")]
    return Draft(
        "probe",
        workload.thing.target,
        place,
        f"{workload.name()} runs but is not ready: {failed[0].text('message')[:120]} ({event_count(failed[0])} times).",
        0.5,
        Level.CALLER,
        tuple(cited),
        workload.keys,
        workload.keys,
        outside="Ask the application why it is not ready: its log and whatever it depends on decide",
        missing="what the application answers on its readiness path",
    )
