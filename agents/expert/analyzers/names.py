"""Hosts that a container cannot reach: the name nobody has, the port nobody serves, the policy between."""

from __future__ import annotations

import re

from agents.expert import logs
from agents.expert.analyzers import policies
from agents.expert.analyzers.certificates import certificate
from agents.expert.analyzers.permissions import credentials
from agents.expert.analyzers.resolving import named, resolve
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import nearest, outside, restart, set_data, set_path
from agents.expert.settings import Setting, settings_of
from agents.expert.workload import Container, Workload, containers, workloads
from assistant.domain.evidence import Citation
from assistant.domain.raw import fold_int, text
from assistant.domain.view import ClusterView, Log, Thing

LAST = 6
"""Lines from the end of a running container's log in which a failed call still counts."""
NOT_THERE = re.compile(
    r"(?P<url>https?://[^\s\"')]+).{0,40}?(?:->|status|HTTP|code|:)\D{0,12}\b40[45]\b", re.IGNORECASE
)
GOOD = re.compile(r"\b(2\d\d|ok|success\w*|connected|ready|done|completed|recovered)\b", re.IGNORECASE)


def judge(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Return the draft for the address that a log cannot reach; None where it complains about none."""
    about = said.text
    dns, refused, slow = logs.DNS.search(about), logs.REFUSED.search(about), logs.TIMEOUT.search(about)
    status = logs.UPSTREAM_STATUS.search(said.decisive)
    if not (dns or refused or slow or status):
        return None
    for host, port in _addresses(said, settings):
        service, place, known = resolve(view, workload.thing.namespace, host)
        setting = _holder(settings, host, port)
        if service is not None:
            draft = reach(view, workload, service, port, setting, said, cited)
            if draft is not None:
                return draft
        elif known and dns and workload.thing.text("spec.serviceName") == named(host):
            return None  # told of the StatefulSet itself, which asks for that Service
        elif known and dns:
            return no_name(view, workload, host, place, setting, said, cited)
    if dns or refused or slow:
        host, port = next(iter(_addresses(said, settings)), ("", 0))
        if not host:
            return None
        setting = _holder(settings, host, port)
        field = setting.path if setting else container.path
        what = "resolve" if dns else "reach"
        return Draft(
            "dns" if dns else "network",
            setting.holder.target if setting else workload.thing.target,
            field,
            f"{workload.name()} cannot {what} {host}{':' + str(port) if port else ''}: {said.shown}.",
            0.6,
            Level.CALLER,
            cited,
            workload.keys,
            workload.keys,
            (
                outside(
                    f"Check {host}: is it right, is it up, may the pods reach it",
                    "it lies outside this cluster's objects",
                ),
            ),
        )
    return None


def _addresses(said: Complaint, settings: list[Setting]) -> list[tuple[str, int]]:
    named = [
        (h, p)
        for h, p in said.addresses
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", h) and h not in ("localhost", "urlopen", "error")
    ]
    values = " ".join(s.value for s in settings if s.value and not s.is_file)
    return sorted(dict.fromkeys(named), key=lambda pair: (pair[0] not in values, pair[1] == 0))


def _holder(settings: list[Setting], host: str, port: int) -> Setting | None:
    bare = host.removesuffix(".cluster.local").removesuffix(".svc")
    for name in dict.fromkeys((host, f"{bare}.svc", bare, bare.split(".")[0])):
        own = [s for s in settings if s.value and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", s.value)]
        if own:
            return next((s for s in own if not s.is_file), own[0])
    return None


def no_name(
    view: ClusterView,
    workload: Workload,
    host: str,
    place: str,
    setting: Setting | None,
    said: Complaint,
    cited: tuple[Citation, ...],
) -> Draft:
    """Return the draft for a host name of the cluster that no Service has."""
    own = workload.thing.namespace
    name = named(host)
    here = [s.name for s in view.all("services", own)]
    new = ""
    if "." in host and name in here and place != own:
        new = host.replace(f"{name}.{place}", f"{name}.{own}", 1)
        why = f"namespace {place} does not exist or has no Service {name}; the Service is in {own}"
    else:
        near = nearest(name, here) or _by_port(view, own, said)
        if near and "." not in host:
            new = near
        elif near:
            new = host.replace(name, near, 1)
        why = f"no Service has that name" + (f" ({near} exists)" if near else "")  # noqa: F541
    fixes: list[Fix] = []
    if setting is not None:
        cited = (*cited, view.cite(setting.holder, setting.path))
        if new and setting.value:
            fixes = change(
                view, workload, setting, setting.value.replace(host, new), f"Use {new}", "that Service exists"
            )
    other = view.find("Service", own, new.split(".")[0]) if new else None
    if other is not None:
        cited = (*cited, view.cite(other, "metadata.name"))
    fixes.append(
        outside(f"Or create Service {name} in namespace {place or own}", "right if other programs use that name too")
    )
    holder = setting.holder if setting is not None else workload.thing
    field = setting.path if setting is not None else f"{workload.template}.containers[0].env"
    if setting is not None and setting.path.endswith(".value"):
        field = f"{setting.path} ({setting.name})"
    return Draft(
        "dns",
        holder.target,
        field,
        f"{workload.name()} keeps failing: it asks for {host}, but {why}.",
        0.93,
        Level.OBJECT,
        cited,
        workload.keys | {holder.key},
        workload.keys,
        tuple(fixes),
    )


def change(view: ClusterView, workload: Workload, setting: Setting, value: str, title: str, reason: str) -> list[Fix]:
    """Return the fix that gives a setting another value, and the restart it needs to take effect."""
    if setting.holder.kind == "ConfigMap":
        key = setting.path.removeprefix("data").strip(".[]'")
        again = restart(view, workload)
        return [set_data(setting.holder, key, value, title, reason), *([again] if again is not None else [])]
    if setting.holder.kind == "Secret":
        return [outside(title, reason)]
    return [set_path(setting.holder, setting.path, value, title, reason)]


def _by_port(view: ClusterView, namespace: str, said: Complaint) -> str:
    wanted = {p for _, p in said.addresses if p}
    fitting = [
        s.name
        for s in view.all("services", namespace)
        if any(fold_int(p.get("port")) in wanted for p in s.rows("spec.ports"))
    ]
    return fitting[0] if len(fitting) == 1 else ""


def reach(
    view: ClusterView,
    workload: Workload,
    service: Thing,
    port: int,
    setting: Setting | None,
    said: Complaint,
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Say why a Service that exists does not answer: its port, a policy, or whatever is behind it."""
    table = [fold_int(p.get("port")) for p in service.rows("spec.ports")]
    if (
        port
        and table
        and port not in table
        and setting is not None
        and setting.value
        and service.text("spec.clusterIP") != "None"
    ):
        fixes = change(
            view,
            workload,
            setting,
            re.sub(rf"\b{port}\b", str(table[0]), setting.value),
            f"Use port {table[0]} of Service {service.name}",
            "the Service serves that port",
        )
        return Draft(
            "service",
            setting.holder.target,
            setting.path,
            f"{workload.name()} calls port {port} of Service {service.name}, which serves "
            f"{', '.join(map(str, table))}.",
            0.9,
            Level.OBJECT,
            (*cited, view.cite(setting.holder, setting.path), view.cite(service, "spec.ports")),
            workload.keys | {setting.holder.key},
            workload.keys,
            tuple(fixes),
        )
    dns, refused = logs.DNS.search(said.text), logs.REFUSED.search(said.text)
    if dns and service.text("spec.type") == "ExternalName":
        return _elsewhere(view, workload, service, cited)
    if dns or refused or logs.TIMEOUT.search(said.text):
        blocked = policies.between(view, workload, service, port, cited)
        if blocked is not None:
            return blocked
    if dns and (odd := _odd_policy(workload)):
        return _asks_the_node(view, workload, service, odd, cited)
    if logs.CREDENTIALS.search(said.decisive):
        return None
    about = frozenset({service.key}) | (
        workload.keys
        if workload.pods and not any(_fine(p) for p in workload.pods)
        else frozenset({workload.thing.key + "#calls"})
    )
    return Draft(
        "network",
        workload.thing.target,
        "",
        f"{workload.name()} gets no answer from Service {service.name}: {said.shown}.",
        0.5,
        Level.CALLER,
        (*cited, view.cite(service, "metadata.name")),
        about,
        frozenset(),
        missing=f"why Service {service.name} does not answer",
        outside=f"Look at what stands behind Service {service.name}",
    )


def _elsewhere(view: ClusterView, workload: Workload, service: Thing, cited: tuple[Citation, ...]) -> Draft:
    host = service.text("spec.externalName")
    return Draft(
        "dns",
        service.target,
        "spec.externalName",
        (
            f"Service {service.name} stands for {host} (ExternalName), and that name does not resolve "
            f"for {workload.name()}."
        ),
        0.9,
        Level.OBJECT,
        (*cited, view.cite(service, "spec.type", "spec.externalName")),
        frozenset({service.key}),
        workload.keys | {service.key, f"{workload.thing.key}#calls"},
        (outside(f"Correct {host}, or bring that name back", "it lies outside this cluster's objects"),),
    )


def _odd_policy(workload: Workload) -> str:
    """Return the dnsPolicy that keeps a pod from the cluster's DNS, "" where it asks there."""
    policy = text(workload.spec.get("dnsPolicy")) or "ClusterFirst"
    if policy in ("Default", "None") or (policy == "ClusterFirst" and workload.spec.get("hostNetwork") is True):
        return policy
    return ""


def _asks_the_node(
    view: ClusterView, workload: Workload, service: Thing, odd: str, cited: tuple[Citation, ...]
) -> Draft:
    field = f"{workload.template}.dnsPolicy"
    host = workload.spec.get("hostNetwork") is True
    new = "ClusterFirstWithHostNet" if host else "ClusterFirst"
    fix = set_path(
        workload.thing, field, new, f"Set dnsPolicy {new}", "names of Services are known to the cluster's DNS only"
    )
    return Draft(
        "dns",
        workload.thing.target,
        field,
        f"{workload.name()} cannot resolve Service {service.name}: with dnsPolicy {odd}"
        + (" and hostNetwork" if host else "")
        + " it does not ask the cluster's DNS.",
        0.93,
        Level.WORKLOAD,
        (*cited, view.cite(workload.thing, field)),
        workload.keys,
        workload.keys | {f"{workload.thing.key}#calls"},
        (fix,),
    )


def _fine(pod: Thing) -> bool:
    return pod.condition("Ready").get("status") == "True"


def analyze(view: ClusterView) -> list[Draft]:
    """Return the calls that fail at the end of the logs of containers that run."""
    found = []
    for workload in workloads(view):
        draft = next(
            (
                d
                for pod in workload.pods[:2]
                if view.logged(pod)
                for c in containers(workload, pod)
                if c.running and (d := _calls(view, workload, c)) is not None
            ),
            None,
        )
        if draft is not None:
            found.append(draft)
    return found


def _unknown_path(
    view: ClusterView, workload: Workload, container: Container, log: Log, tail: list[str]
) -> Draft | None:
    """Judge a caller whose every call is answered with 404 or 405: the path that it is set to does not exist there."""
    lost = [m for line in tail if (m := NOT_THERE.search(line))]
    if len(tail) < LAST or len(lost) < len(tail):
        return None
    settings = settings_of(view, workload, container)
    url = lost[-1]["url"]
    held = next((s for s in settings if s.value and (s.value in url or url in s.value) and "://" in s.value), None)
    if held is None:
        return None
    cited = (view.cite_log(log, *tail[-2:]), view.cite(held.holder, held.path))
    calls = frozenset({f"{workload.thing.key}#calls"})
    return Draft(
        "app-config",
        held.holder.target,
        held.path,
        f"{workload.name()} calls {url} ({held.name} of {held.holder.kind} {held.holder.name}, env), and the other "
        "side answers every call that there is no such path.",
        0.75,
        Level.OBJECT if held.holder is not workload.thing else Level.WORKLOAD,
        cited,
        calls | {held.holder.key},
        calls,
        (
            outside(
                f"Correct the path in {held.name}, or let the other side serve it", "both sides run and are reached"
            ),
        ),
    )


def _calls(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    log = view.log(container.pod.namespace, container.pod.name, container.name)
    lines = [line for line in (log.lines if log is not None else []) if line.strip()]
    tail = lines[-LAST:]
    wanted = (logs.DNS, logs.REFUSED, logs.TIMEOUT, logs.CREDENTIALS, logs.TLS)
    bad = [
        line
        for line in tail
        if any(p.search(line) for p in wanted) or (logs.BAD.search(line) and logs.UPSTREAM_STATUS.search(line))
    ]
    if log is None or not bad or len(bad) < min(2, len(tail)):
        return _unknown_path(view, workload, container, log, tail) if log is not None else None
    said = Complaint(log, tuple(bad))
    hosts = {h for h, _ in said.addresses}
    newest = max(lines.index(b) for b in bad)
    if any(
        GOOD.search(line) and not logs.BAD.search(line) and any(h in line for h in hosts)
        for line in lines[newest + 1 :]
    ):
        return None
    cited = (view.cite_log(log, *bad[-2:]),)
    settings = settings_of(view, workload, container)
    if logs.TLS.search(said.decisive):
        return certificate(view, workload, container, said, settings, cited)
    draft = judge(view, workload, container, said, settings, cited)
    if draft is None and logs.CREDENTIALS.search(said.text):
        draft = credentials(view, workload, settings, said, cited)
    return draft
