"""Probes that fail on an application that works: wrong port, wrong path, too little time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import ports
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Container, Workload, log_lines, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing, event_count

KINDS = {"Startup": "startupProbe", "Liveness": "livenessProbe", "Readiness": "readinessProbe"}
FAILED = re.compile(r"(Startup|Liveness|Readiness) probe (failed|errored)")
STATUS = re.compile(r"statuscode: (\d{3})")
REQUESTED = re.compile(
    r"\b(?:GET|HEAD) (/[^\s\"?]*)[^\n]{0,40}?\b(2\d\d)\b|\"path\": ?\"(/[^\"?]*)\"[^\n]{0,60}?\"status\": ?(2\d\d)"
)
PATHS = ("/healthz", "/health", "/livez", "/readyz", "/ready", "/live", "/status", "/ping", "/-/healthy", "/-/ready")


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the probe that is wrong, None where the container stops by itself or no probe fails."""
    failed = _failures(view, container)
    if not failed or not (container.running or container.exit_code in (0, 137, 143) or _killed(view, container)):
        return None
    order = (
        ("livenessProbe", "startupProbe", "readinessProbe")
        if container.restarts or not container.running
        else ("startupProbe", "readinessProbe", "livenessProbe")
    )
    for field in order:
        if field in failed:
            draft = _judge(view, workload, container, field, failed[field])
            if draft is not None:
                return draft
    return None


def _failures(view: ClusterView, container: Container) -> dict[str, list[Thing]]:
    """Return the failure events of each probe field, the most telling first."""
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


def _judge(
    view: ClusterView, workload: Workload, container: Container, field: str, events: list[Thing]
) -> Draft | None:
    probe = mapping(container.spec.get(field))
    path = f"{container.path}.{field}"
    answered = [e for e in events if STATUS.search(e.text("message"))]
    slow = [e for e in events if "deadline exceeded" in e.text("message") or "Client.Timeout" in e.text("message")]
    refused = [e for e in events if "refused" in e.text("message")]
    lines = log_lines(view, container)
    status = int(m[1]) if answered and (m := STATUS.search(answered[0].text("message"))) else 0
    wrong = _port(container, probe, lines)
    before = _before(view, workload, container, field)
    if wrong is not None and (refused or slow or answered):
        kind, asked, real, proof = wrong
        place = f"{path}.{kind}.port"
        cited = [view.cite(workload.thing, place), view.cite((refused or events)[0], "message"), proof(view)]
        return _draft(
            workload,
            container,
            field,
            place,
            cited,
            0.95,
            before
            or [
                _set(
                    workload, place, real, f"Probe port {real}", f"the log says that the application listens on {real}"
                )
            ],
            f"asks port {asked}, but the application listens on {real}",
        )
    if answered and 400 <= status < 500 and mapping(probe.get("httpGet")):
        asked = text(mapping(probe.get("httpGet")).get("path"))
        place = f"{path}.httpGet.path"
        cited = [view.cite(workload.thing, place), view.cite(answered[0], "message")]
        line = next(((log, row) for log, row in reversed(lines) if asked in row and str(status) in row), None)
        if line is not None:
            cited.append(view.cite_log(line[0], line[1]))
        return _draft(
            workload,
            container,
            field,
            place,
            cited,
            0.95,
            [*before, *_paths(view, workload, container, place, asked, lines)],
            f"asks for {asked}, which the application answers with {status}",
        )
    own = mapping(probe.get("httpGet"))
    tls = [
        e
        for e in events
        if "HTTP response to HTTPS client" in e.text("message") or "malformed HTTP response" in e.text("message")
    ]
    if own and tls:
        place = f"{path}.httpGet.scheme"
        other = "HTTP" if text(own.get("scheme")) == "HTTPS" else "HTTPS"
        return _draft(
            workload,
            container,
            field,
            place,
            [view.cite(workload.thing, place), view.cite(tls[0], "message")],
            0.95,
            [_set(workload, place, other, f"Probe with {other}", "the application speaks the other one")],
            "speaks the wrong scheme",
        )
    command = [e for e in events if mapping(probe.get("exec"))]
    if command:
        place = f"{path}.exec.command"
        cited = [view.cite(workload.thing, place), view.cite(command[0], "message")]
        missing = re.search(r"no such file|not found|executable", command[0].text("message"))
        return _draft(
            workload,
            container,
            field,
            place,
            cited,
            0.9 if missing else 0.65,
            before,
            "runs a command that " + ("is not in the image" if missing else "fails"),
        )
    if (slow and len(slow) * 2 >= len(events)) or (slow and not refused):
        seconds = fold_int(probe.get("timeoutSeconds"), 1)
        place = f"{path}.timeoutSeconds"
        cited = [view.cite(workload.thing, place), view.cite(slow[0], "message")]
        return _draft(
            workload,
            container,
            field,
            place,
            cited,
            0.8,
            [
                *before,
                _set(
                    workload,
                    place,
                    max(5, seconds * 5),
                    f"Give the probe {max(5, seconds * 5)} s",
                    "the application answers, only later; find out why it is slow",
                ),
            ],
            f"gives up after {seconds} s, before the application answers",
        )
    if (
        refused
        and field in ("livenessProbe", "startupProbe")
        and _killed(view, container)
        and _starting(container, lines)
    ):
        patience = fold_int(probe.get("initialDelaySeconds")) + fold_int(probe.get("periodSeconds"), 10) * fold_int(
            probe.get("failureThreshold"), 3
        )
        place = f"{path}.failureThreshold"
        cited = [view.cite(workload.thing, path), view.cite(refused[0], "message")]
        killing = next((e for e in view.events_of(container.pod) if e.text("reason") == "Killing"), None)
        cited += [view.cite(killing, "message")] if killing is not None else []
        cited += [view.cite_log(lines[-1][0], lines[-1][1])] if lines else []
        fix = _set(
            workload,
            place,
            30,
            f"Let it take {30 * fold_int(probe.get('periodSeconds'), 10)} s to start",
            "the kubelet kills it while it still starts; a startupProbe with that patience is the cleaner form",
        )
        return _draft(
            workload,
            container,
            field,
            place,
            cited,
            0.85,
            [*before, fix],
            f"kills the container after about {patience} s, before it has started",
        )
    return None


def _starting(container: Container, lines: list[tuple[Any, str]]) -> bool:
    """Say whether the container was still starting when it was killed: nothing in the log says that it listens."""
    return container.exit_code in (137, 143, 0) and not ports(lines[-15:])


def _port(container: Container, probe: Mapping[str, Any], lines: list[tuple[Any, str]]) -> Any:
    """Return (handler, port asked, port that answers, citation) where the log names another port, otherwise None."""
    names = {text(p.get("name")): fold_int(p.get("containerPort")) for p in rows(container.spec.get("ports"))}
    for kind in ("httpGet", "tcpSocket", "grpc"):
        handler = mapping(probe.get(kind))
        if not handler:
            continue
        asked = handler.get("port")
        number = names.get(asked, 0) if isinstance(asked, str) else fold_int(asked)
        heard = ports(lines)
        if heard and number and number not in {p for p, _, _ in heard}:
            real, log, line = heard[-1]
            return kind, asked, real, lambda view, log=log, line=line: view.cite_log(log, line)
    return None


def _paths(
    view: ClusterView, workload: Workload, container: Container, place: str, asked: str, lines: list[tuple[Any, str]]
) -> list[Fix]:
    answered = [m[1] or m[3] for _, line in lines if (m := REQUESTED.search(line))]
    health = [p for p in answered if re.search(r"health|ready|live|ping|status|up", p)]
    if health:
        return [
            _set(workload, place, health[-1], f"Probe {health[-1]}", "the log shows that the application answers it")
        ]
    others = [text(mapping(mapping(container.spec.get(f)).get("httpGet")).get("path")) for f in KINDS.values()]
    tail = [p for p in PATHS if p != asked and any(o.endswith("z") for o in others if o) == p.endswith("z")]
    guess = nearest(asked, [p for p in tail if p not in others]) or nearest(asked, PATHS)
    fixes = []
    if guess:
        fixes.append(
            _set(
                workload,
                place,
                guess,
                f"Probe {guess}",
                "the nearest conventional path in the form that the "
                "container's other probe uses; the log does not prove it",
            )
        )
    fixes.append(outside(f"Or let the application answer {asked}", "right if that path was promised"))
    return fixes


def _before(view: ClusterView, workload: Workload, container: Container, field: str) -> list[Fix]:
    thing = workload.thing
    good = previous_good(view, thing) if thing.kind == "Deployment" else None
    if good is None or not good.number("status.readyReplicas"):
        return []
    old = next((c for c in good.rows("spec.template.spec.containers") if c.get("name") == container.name), {})
    if not old.get(field) or old.get(field) == container.spec.get(field):
        return []
    return [
        set_path(
            thing,
            f"{container.path}.{field}",
            old[field],
            "Put the probe of the revision before back",
            "that revision is ready with it",
        )
    ]


def _set(workload: Workload, place: str, value: object, title: str, reason: str) -> Fix:
    return set_path(workload.thing, place, value, title, reason)


def _draft(
    workload: Workload,
    container: Container,
    field: str,
    place: str,
    cited: list[Citation],
    sure: float,
    fixes: list[Fix],
    why: str,
) -> Draft:
    effect = "so it is killed again and again" if field != "readinessProbe" else "so no pod becomes ready"
    return Draft(
        "probe",
        workload.thing.target,
        place,
        f"The {field} of {workload.name()} {why}, {effect}.",
        sure,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
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
