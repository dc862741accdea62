"""Access logs of Envoy (also of Istio and Envoy Gateway): response flags, joined to the route or Service they name.

Only what fails at the end of a log counts: the last requests to one back end, not one of which went well.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from agents.expert.analyzers.gateway_status import claim
from agents.expert.analyzers.referents import ROUTES, named
from agents.expert.analyzers.response_flags import FLAGS, LONG_NAMES, TRANSPORT
from agents.expert.analyzers.routes import H2C
from agents.expert.analyzers.senders import backends_of
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import outside, set_path
from agents.expert.workload import workload_of
from assistant.domain.raw import fold_int, mapping, text
from assistant.domain.view import ClusterView, Log, Thing, when

NEWS = timedelta(minutes=30)
"""A failed request is news for this long."""
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
LEAST = 2
"""Requests to one back end that have to fail, one after the other, up to the end of the log."""
LINE = re.compile(
    r'\] "(?P<method>[A-Z-]+) (?P<path>\S+) (?P<protocol>[A-Z]+/[\d.]+)" (?P<code>\d{1,3}) '
    r"(?P<flags>-|[A-Za-z]+(?:,[A-Za-z]+)*)(?: (?P<rest>.*))?$"
)
ROUTED = re.compile(
    r"\b(?P<kind>http|grpc|tls|tcp|udp)route/(?P<ns>[a-z0-9-]+)/(?P<name>[a-z0-9.-]+)/rule/(?P<rule>\d+)"
)
CALLED = re.compile(r"\boutbound\|(?P<port>\d+)\|[^|\s]*\|(?P<name>[a-z0-9-]+)\.(?P<ns>[a-z0-9-]+)\.svc")
PICKER = re.compile(r"ext_?proc", re.IGNORECASE)
KINDS = {"http": "HTTPRoute", "grpc": "GRPCRoute", "tls": "TLSRoute", "tcp": "TCPRoute", "udp": "UDPRoute"}
UNSET = {"AIGatewayRoute": "no timeout is set, which makes it 60 s"}
"""What it means that a route has no timeout, where that is not "none"."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of an access log: status code, flag ("" for none), where it was sent, and the line."""

    code: int
    flag: str
    host: str
    to: str
    line: str

    @property
    def failed(self) -> bool:
        """Say whether the proxy itself says what went wrong; an error of the back end's own has no flag."""
        return self.flag in FLAGS and (self.code == 0 or self.code >= 400)


def analyze(view: ClusterView) -> list[Draft]:
    """Return what the access logs of the view tell of requests that fail."""
    found = []
    for log in view.logs:
        if log.previous:
            continue
        groups: dict[str, list[Request]] = defaultdict(list)
        for line in log.lines:
            request = read(line)
            if request is not None:
                groups[request.to or f"host {request.host}"].append(request)
        for requests in groups.values():
            tail = requests[-LEAST:]
            if len(tail) == LEAST and all(r.failed for r in tail) and not _past(view, tail[-1].line):
                found.append(_judge(view, log, tail[-1], [r.line for r in tail]))
    return found


def _past(view: ClusterView, line: str) -> bool:
    """Say whether a line is so old that nobody may have called since; False where it tells no time."""
    match = TIME.search(line)
    moment = when(match[0]) if match is not None else None
    return moment is not None and view.now - moment > NEWS


def read(line: str) -> Request | None:
    """Read a line of an access log, as JSON or in one of Envoy's text formats; None for any other line."""
    if line.startswith("{"):
        return _from_json(line) if '"response_' in line else None
    match = LINE.search(line)
    if match is None:
        return None
    quoted = re.findall(r'"([^"]*)"', match["rest"] or "")
    host = next((q for q in quoted if re.fullmatch(r"[a-z0-9.-]+\.[a-z]+(:\d+)?", q)), "")
    code = int(match["code"])
    return Request(code, _flag(match["flags"], code, line), host, _to(line), line)


def _from_json(line: str) -> Request | None:
    try:
        raw: Any = json.loads(line)
    except ValueError:
        return None
    fields = mapping(raw)
    code = fields.get("response_code")
    number = int(code) if isinstance(code, str) and code.isdigit() else fold_int(code)
    host = text(fields.get(":authority")) or text(fields.get("authority")) or text(fields.get("requested_server_name"))
    return Request(number, _flag(text(fields.get("response_flags")), number, line), host, _to(line), line)


def _flag(flags: str, code: int, line: str) -> str:
    """Return the first flag that tells something; an answer of the endpoint picker's own has none and gets one."""
    found = next((n for f in flags.split(",") if (n := LONG_NAMES.get(f, f)) in FLAGS), "")
    if found or "via_upstream" in line or not PICKER.search(line):
        return found
    return "RL" if code == 429 else "UH" if code >= 500 else ""


def _to(line: str) -> str:
    match = ROUTED.search(line) or CALLED.search(line)
    return match[0] if match is not None else ""


def _judge(view: ClusterView, log: Log, request: Request, lines: list[str]) -> Draft:
    flag = FLAGS[request.flag]
    means, act = flag.means, flag.act
    for part, why, deed in TRANSPORT:
        if part.lower() in request.line.lower():
            means, act = f"{means}: {why}", deed
            break
    picked = PICKER.search(request.line) is not None
    if picked:
        means, act = _PICKER[request.flag] if request.flag in _PICKER else _PICKER[""]
    shown = f" ({request.flag})" if re.search(rf"\b{request.flag}\b", request.line) else ""
    subject, about = _subject(view, log, request)
    draft = claim(
        subject,
        "spec",
        f"Requests {_whither(request, subject)} are answered with {request.code or 'nothing'}{shown}: {means}.",
        0.6,
        Level.CALLER,
        (view.cite_log(log, *lines),),
        (outside(act, f"the access log of pod {log.pod} says so"),),
        about=about,
        asks="" if picked and request.flag != "RL" else flag.asks,
    )
    return _sharper(view, draft, request, subject, about)


_PICKER = {
    "": ("the endpoint picker (ext_proc) did not answer", "Mend the endpoint picker of the InferencePool"),
    "UH": (
        "the endpoint picker (ext_proc) found no ready endpoint",
        "Mend the pods of the InferencePool, or correct what selects them",
    ),
    "RL": (
        "the endpoint picker (ext_proc) sheds load, because its servers are saturated",
        "Scale the model servers by the length of their queues, or send less",
    ),
}
"""What the answers of an endpoint picker mean, by the flag that they get here, and what to do."""


def _whither(request: Request, subject: Thing) -> str:
    if request.to:
        return f"through {subject.kind} {subject.name}" if subject.kind.endswith("Route") else f"to {subject.name}"
    return f"for {request.host}" if request.host else f"that pass {subject.kind} {subject.name}"


def _subject(view: ClusterView, log: Log, request: Request) -> tuple[Thing, frozenset[str]]:
    """Return what a request was sent through, as far as it was read: a route, a Service, or the proxy itself."""
    routed, called = ROUTED.search(request.to), CALLED.search(request.to)
    if routed is not None:
        kind = KINDS[routed["kind"]]
        resource = next(r for r in ROUTES if r.startswith(f"{kind.lower()}s."))
        route = named(view, resource, routed["ns"], routed["name"])
        if route is not None:
            about = frozenset(f"{r.kind}/{r.namespace}/{r.name}" for r in backends_of(route))
            owner = view.owner(route)
            # A generated route is set back by its owner, so that any change belongs there.
            return (route, about) if owner is None else (owner, about | {route.key})
    if called is not None:
        service = named(view, "services", called["ns"], called["name"])
        if service is not None:
            return service, frozenset()
    pod = view.find("Pod", log.namespace, log.pod)
    thing = workload_of(view, pod).thing if pod is not None else None
    if thing is None:
        thing = Thing("pods", "v1", "Pod", {"metadata": {"name": log.pod, "namespace": log.namespace}}, log.request)
    return thing, frozenset({f"{thing.key}#calls"})


def _sharper(view: ClusterView, draft: Draft, request: Request, subject: Thing, about: frozenset[str]) -> Draft:
    """Name the field where the objects have one that fits the flag."""
    rule = ROUTED.search(request.to)
    if request.flag == "UT" and rule is not None and subject.rows("spec.rules"):
        field = f"spec.rules[{rule['rule']}].timeouts"
        held = mapping(subject.at(field))
        limit = (
            f" (timeouts {', '.join(f'{k} {v}' for k, v in held.items())})"
            if held
            else f" ({UNSET.get(subject.kind, 'no timeout is set')})"
        )
        cited = (*draft.citations, view.cite(subject, field if held else f"spec.rules[{rule['rule']}]"))
        sure = 0.72 if held else 0.62
        return replace(
            draft, field=field, summary=f"{draft.summary.rstrip('.')}{limit}.", citations=cited, confidence=sure
        )
    if request.flag == "UPE":
        return _protocol(view, draft, subject, about)
    return draft


def _protocol(view: ClusterView, draft: Draft, subject: Thing, about: frozenset[str]) -> Draft:
    """Blame the one back end whose port says nothing of its protocol, or says h2c while it speaks HTTP/1."""
    keys = {subject.key} if subject.kind == "Service" else about
    services = [s for k in sorted(keys) if (s := view.by_key(k)) is not None and s.kind == "Service"]
    if len(services) != 1 or len(services[0].rows("spec.ports")) != 1:
        return draft
    service, field = services[0], "spec.ports[0].appProtocol"
    held = service.text(field)
    if held not in ("", H2C):
        return draft
    if held:
        fix: Fix = set_path(service, field, None, "Speak HTTP/1.1 with it", "it does not speak HTTP/2 without TLS")
    else:
        fix = set_path(service, field, H2C, "Speak HTTP/2 with it", "gRPC needs HTTP/2, and a proxy speaks HTTP/1.1")
    return replace(
        draft,
        target=service.target,
        field=field,
        confidence=0.75,
        citations=(*draft.citations, view.cite(service, "spec.ports[0]")),
        fixes=(fix, *draft.fixes),
        about=draft.about | {service.key},
        explains=draft.explains | {service.key},
    )
