"""What a probe asks for and the container does not have: port, path, scheme, host, command, gRPC health service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.expert.draft import Fix
from agents.expert.logs import ports
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Container, Workload, log_lines, previous_good
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Log, Thing

KINDS = {"Startup": "startupProbe", "Liveness": "livenessProbe", "Readiness": "readinessProbe"}
STATUS = re.compile(r"statuscode: (\d{3})")
PLAIN_TO_TLS = re.compile(
    r"HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS|tls handshake error", re.IGNORECASE
)
TLS_TO_PLAIN = re.compile(
    r"HTTP response to HTTPS client|malformed HTTP response|first record does not look like a TLS"
)
NO_HEALTH = re.compile(r"does not implement the grpc health protocol|SERVICE_UNKNOWN|unknown service", re.IGNORECASE)
NO_FILE = re.compile(r"no such file|not found|executable|can't open", re.IGNORECASE)
LATE = re.compile(r"deadline exceeded|Client\.Timeout|timed out|i/o timeout")
REQUESTED = re.compile(
    r"\b(?:GET|HEAD) (/[^\s\"?]*)[^\n]{0,40}?\b(2\d\d)\b|\"path\": ?\"(/[^\"?]*)\"[^\n]{0,60}?\"status\": ?(2\d\d)"
)
PATHS = ("/healthz", "/health", "/livez", "/readyz", "/ready", "/live", "/status", "/ping", "/-/healthy", "/-/ready")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a probe: the field, in words, how sure, the citations and the fixes."""

    field: str
    why: str
    sure: float
    cited: tuple[Citation, ...]
    fixes: tuple[Fix, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe that fails: its field of the container, its failures newest first, and the container's log."""

    view: ClusterView
    workload: Workload
    container: Container
    field: str
    events: list[Thing]
    lines: list[tuple[Log, str]]

    @property
    def spec(self) -> Mapping[str, Any]:
        """Return the probe."""
        return mapping(self.container.spec.get(self.field))

    @property
    def path(self) -> str:
        """Return the path of the probe in the workload."""
        return f"{self.container.path}.{self.field}"

    def having(self, pattern: str) -> list[Thing]:
        """Return the failures whose message matches."""
        return [e for e in self.events if re.search(pattern, e.text("message"))]

    def set(self, place: str, value: object, title: str, reason: str) -> Fix:
        """Return the fix that sets one field of the workload."""
        return set_path(self.workload.thing, place, value, title, reason)

    def cite(self, place: str, event: Thing | None = None) -> list[Citation]:
        """Return the citations of a field of the probe and of a failure."""
        said = event or next(iter(self.events), None)
        state = f"{self.container.status_path}.ready"
        told = self.view.cite(said, "message") if said is not None else self.view.cite(self.container.pod, state)
        return [self.view.cite(self.workload.thing, place), told]


def probe_of(view: ClusterView, workload: Workload, container: Container, field: str, events: list[Thing]) -> Probe:
    """Return a probe with what is needed to judge it."""
    return Probe(view, workload, container, field, events, log_lines(view, container))


def judge(probe: Probe) -> Verdict | None:
    """Return what is plainly wrong with the handler of a probe, None where it asks for the right thing."""
    return next((v for rule in RULES if (v := rule(probe)) is not None), None)


def declared(container: Container) -> dict[str, int]:
    """Return the ports that a container declares, by name; ports without a name by their number."""
    return {
        text(p.get("name")) or str(p.get("containerPort")): fold_int(p.get("containerPort"))
        for p in rows(container.spec.get("ports"))
    }


def _handler(probe: Probe) -> tuple[str, Mapping[str, Any]]:
    return next(
        ((k, h) for k in ("httpGet", "tcpSocket", "grpc", "exec") if (h := mapping(probe.spec.get(k)))), ("", {})
    )


def _port_name(probe: Probe) -> Verdict | None:
    kind, handler = _handler(probe)
    asked, known = handler.get("port"), declared(probe.container)
    if not isinstance(asked, str) or asked.isdigit() or asked in known:
        return None
    place = f"{probe.path}.{kind}.port"
    real: str | int = nearest(asked, known) or (next(iter(known)) if len(known) == 1 else "")
    if not real and (heard := ports(probe.lines)):
        real = heard[-1][0]
    fixes = [probe.set(place, real, f"Probe port {real}", "the container has that port")] if real else []
    fixes.append(outside(f"Or name the container's port {asked}", "right if other objects use that name"))
    why = f"asks the port named {asked}, which the container does not have"
    return Verdict(place, why, 0.95, tuple(probe.cite(place)), tuple(fixes))


def _port_number(probe: Probe) -> Verdict | None:
    """Judge a port on which nobody listens: by the log's own words, otherwise by the ports that are declared."""
    kind, handler = _handler(probe)
    asked, known = handler.get("port"), declared(probe.container)
    number = known.get(asked, fold_int(asked)) if isinstance(asked, str) else fold_int(asked)
    bad = (
        probe.having(r"refused|failed to connect|no route")
        or probe.having(LATE.pattern)
        or probe.having(STATUS.pattern)
    )
    if not number or (probe.events and not bad):
        return None
    place, heard = f"{probe.path}.{kind}.port", ports(probe.lines)
    fixes = _before(probe)
    if heard and number not in {p for p, _, _ in heard}:
        real, log, line = heard[-1]
        cited = (*probe.cite(place, next(iter(bad), None)), probe.view.cite_log(log, line))
        fix = probe.set(place, real, f"Probe port {real}", f"the log says that the application listens on {real}")
        return Verdict(
            place, f"asks port {asked}, but the application listens on {real}", 0.95, cited, tuple(fixes or [fix])
        )
    if heard or not known or number in known.values() or not probe.having("refused|failed to connect"):
        return None
    real = next(iter(known.values()))
    cited = (*probe.cite(place, bad[0]), probe.view.cite(probe.workload.thing, f"{probe.container.path}.ports"))
    fix = probe.set(place, real, f"Probe port {real}", "the container declares that port and refuses the other")
    return Verdict(place, f"asks port {asked}, and the container has port {real}", 0.85, cited, (*fixes, fix))


def _loopback(probe: Probe) -> Verdict | None:
    """Judge a probe whose httpGet.host is not the pod: it then asks the node."""
    host = text(mapping(probe.spec.get("httpGet")).get("host"))
    bad = probe.having(r"refused|no such host|deadline exceeded|no route")
    if not host or not bad:
        return None
    place = f"{probe.path}.httpGet.host"
    fix = probe.set(
        place, None, "Ask the pod itself", "the kubelet asks from the node, where that host is another machine"
    )
    return Verdict(place, f"asks host {host} instead of the pod", 0.93, tuple(probe.cite(place, bad[0])), (fix,))


def _scheme(probe: Probe) -> Verdict | None:
    own = mapping(probe.spec.get("httpGet"))
    if not own:
        return None
    events = probe.having(TLS_TO_PLAIN.pattern)
    line = next(((log, row) for log, row in reversed(probe.lines[-40:]) if PLAIN_TO_TLS.search(row)), None)
    plain = probe.having(r"statuscode: 400") and (line is not None or own.get("port") in ("https", 8443, 443))
    plain = plain or probe.having("HTTP request to an HTTPS server")
    if not events and not plain:
        return None
    place = f"{probe.path}.httpGet.scheme"
    other = "HTTP" if events and text(own.get("scheme")) == "HTTPS" else "HTTPS"
    cited = probe.cite(f"{probe.path}.httpGet", (events or probe.events)[0])
    if line is not None:
        cited.append(probe.view.cite_log(line[0], line[1]))
    fix = probe.set(place, other, f"Probe with {other}", "the application speaks the other one")
    return Verdict(place, "speaks the wrong scheme", 0.95, tuple(cited), (fix,))


def _path(probe: Probe) -> Verdict | None:
    answered = probe.having(STATUS.pattern)
    own = mapping(probe.spec.get("httpGet"))
    status = int(m[1]) if answered and (m := STATUS.search(answered[0].text("message"))) else 0
    asked, place = text(own.get("path")) or "/", f"{probe.path}.httpGet.path"
    shown = re.compile(rf"(?<![\w/.-]){re.escape(asked)}(?![\w/-]).{{0,40}}\b(4\d\d)\b")
    line = next(((log, row) for log, row in reversed(probe.lines) if shown.search(row)), None)
    if not answered and not probe.events and line is not None:
        status = int(shown.search(line[1])[1])  # type: ignore[index]
    if not own or not 400 <= status < 500:
        return None
    cited = probe.cite(place, next(iter(answered), None))
    if line is not None:
        cited.append(probe.view.cite_log(line[0], line[1]))
    fixes, shown_by = _paths(probe, place, asked)
    fixes = [*_before(probe), *fixes]
    cited += shown_by
    why = f"asks for {asked}, which the application answers with {status}"
    return Verdict(place, why, 0.95, tuple(cited), tuple(fixes))


def _paths(probe: Probe, place: str, asked: str) -> tuple[list[Fix], list[Citation]]:
    """Return the fixes that ask for another path, with what speaks for it: a line of the log, or the other probe."""
    answered = [(m[1] or m[3], log, line) for log, line in probe.lines if (m := REQUESTED.search(line))]
    health = [each for each in answered if re.search(r"health|ready|live|ping|status|up", each[0])]
    if health:
        path, log, line = health[-1]
        fix = probe.set(place, path, f"Probe {path}", "the log shows that the application answers it")
        return [fix], [probe.view.cite_log(log, line)]
    spec = probe.container.spec
    others = {f: text(mapping(mapping(spec.get(f)).get("httpGet")).get("path")) for f in KINDS.values()}
    tail = [p for p in PATHS if p != asked and any(o.endswith("z") for o in others.values() if o) == p.endswith("z")]
    guess = nearest(asked, [p for p in tail if p not in others.values()]) or nearest(asked, PATHS)
    form = next((f for f, path in others.items() if path and path != asked and f != probe.field), "")
    reason = "the nearest conventional path"
    reason += " in the form that the container's other probe uses" if form else ""
    fixes = [probe.set(place, guess, f"Probe {guess}", f"{reason}; the log does not prove it")] if guess else []
    fixes.append(outside(f"Or let the application answer {asked}", "right if that path was promised"))
    return fixes, [probe.view.cite(probe.workload.thing, f"{probe.container.path}.{form}")] if guess and form else []


def _command(probe: Probe) -> Verdict | None:
    if not mapping(probe.spec.get("exec")) or not probe.events or probe.having(r"timed out|deadline exceeded"):
        return None
    place = f"{probe.path}.exec.command"
    missing = NO_FILE.search(probe.events[0].text("message"))
    why = "runs a command that " + ("names a file that is not there" if missing else "fails")
    note = outside("Correct the command of the probe", "the kubelet shows what it says")
    return Verdict(place, why, 0.9 if missing else 0.7, tuple(probe.cite(place)), (*_before(probe), note))


def _health(probe: Probe) -> Verdict | None:
    own = mapping(probe.spec.get("grpc"))
    events = probe.having(NO_HEALTH.pattern)
    if not own or not events:
        return None
    unknown = "SERVICE_UNKNOWN" in events[0].text("message") or bool(own.get("service"))
    place = f"{probe.path}.grpc.service" if unknown else f"{probe.path}.grpc"
    tcp = set_path(
        probe.workload.thing,
        probe.path,
        {**{k: v for k, v in probe.spec.items() if k != "grpc"}, "tcpSocket": {"port": own.get("port")}},
        "Probe the TCP port instead",
        "says less, and needs no health service",
    )
    fix = (
        probe.set(place, "", "Ask for the health of the whole server", "every health service answers it")
        if unknown
        else tcp
    )
    note = outside("Or let the server offer grpc.health.v1.Health", "a health service tells more than an open port")
    return Verdict(
        place,
        "asks a gRPC health service that the server does not offer",
        0.93,
        tuple(probe.cite(place, events[0])),
        (fix, note),
    )


def _before(probe: Probe) -> list[Fix]:
    return before(probe.view, probe.workload, probe.container, probe.field)


def before(view: ClusterView, workload: Workload, container: Container, field: str) -> list[Fix]:
    """Return the fix that puts the probe of the revision before back, where that serves now with another one."""
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


RULES = (_port_name, _loopback, _scheme, _port_number, _path, _health, _command)
"""In the order of directness; what is late rather than wrong is no question of the handler."""
