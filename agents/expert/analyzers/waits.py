"""Init containers that wait for something that never comes: a name nobody has, a Service that does not answer."""

from __future__ import annotations

import re

from agents.expert.analyzers import names
from agents.expert.analyzers.resolving import resolve
from agents.expert.draft import Draft, Level
from agents.expert.logs import Complaint, complaint
from agents.expert.remedies import outside
from agents.expert.settings import Setting, settings_of
from agents.expert.workload import Container, Workload, lingers, log_lines
from assistant.domain.evidence import Citation
from assistant.domain.view import ClusterView, Log

TARGET = re.compile(
    r"\bnc\b(?:\s+-\w+)*(?:\s+\d+)?\s+(?P<nc>[a-z0-9][a-z0-9.-]*)\s+(?P<ncport>\d{2,5})|"
    r"(?:nslookup|getent\s+(?:a?hosts\w*)|dig(?:\s+\+\w+)*|host|ping(?:\s+-\w\s*\d*)*)\s+(?P<name>[a-z0-9][a-z0-9.-]*)|"
    r"(?:-h|--host)[ =](?P<host>[a-z0-9][a-z0-9.-]*)(?:.*?(?:-p|-P|--port)[ =](?P<hostport>\d{2,5}))?|"
    r"/dev/tcp/(?P<tcp>[a-z0-9][a-z0-9.-]*)/(?P<tcpport>\d{2,5})|"
    r"[a-z][a-z0-9+]*://(?:[^@/\s'\"]*@)?(?P<url>[a-z0-9][a-z0-9.-]*)(?::(?P<urlport>\d{2,5}))?|"
    r"(?<![\w./-])(?P<pair>[a-z][a-z0-9.-]*):(?P<pairport>\d{2,5})\b"
)


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return what an init container waits for that does not come; None where it does not wait so long."""
    if not lingers(view, container):
        return None
    lines = log_lines(view, container)
    said = complaint(lines)
    settings = settings_of(view, workload, container)
    place = f"{container.status_path}.state"
    state = view.cite(container.pod, place, f"spec.initContainers[{container.name}].command")
    if said is not None:
        cited = (view.cite_log(said.log, said.decisive), state)
        draft = names.judge(view, workload, container, said, settings, cited)
        if draft is not None:
            return draft
    cited = (*((view.cite_log(lines[-1][0], lines[-1][1]),) if lines else ()), state)
    for setting in settings:
        for host, port in _asked(setting):
            draft = _waits(view, workload, container, setting, host, port, cited)
            if draft is not None:
                return draft
    return Draft(
        "init-container",
        workload.thing.target,
        container.path or "spec.initContainers",
        f"{workload.name()} does not start: init container {container.name} runs on and on.",
        0.5,
        Level.CALLER,
        cited,
        workload.keys,
        workload.keys,
        (outside(f"Find out what init container {container.name} waits for", "its command and log do not name it"),),
        missing=f"what init container {container.name} waits for",
    )


def _asked(setting: Setting) -> list[tuple[str, int]]:
    found = []
    for match in TARGET.finditer(setting.value or ""):
        host = next((match[g] for g in ("nc", "name", "host", "tcp", "url", "pair") if match[g]), "")
        port = next((match[g] for g in ("ncport", "hostport", "tcpport", "urlport", "pairport") if match[g]), "0")
        if host and host not in ("localhost", "127.0.0.1"):
            found.append((host.rstrip("."), int(port)))
    return found


def _waits(
    view: ClusterView,
    workload: Workload,
    container: Container,
    setting: Setting,
    host: str,
    port: int,
    cited: tuple[Citation, ...],
) -> Draft | None:
    service, place, known = resolve(view, workload.thing.namespace, host)
    line = f"init container {container.name} waits for {host}{':' + str(port) if port else ''}"
    said = Complaint(Log(container.pod.namespace, container.pod.name, container.name, False, line, ""), (line,))
    if service is not None:
        return names.reach(view, workload, service, port, setting, said, cited)
    if known and view.complete("services", place):
        return names.no_name(view, workload, host, place, setting, said, cited)
    return None
