"""Log complaints about rights: RBAC, tokens, credentials, certificates, ports in use, platforms."""

from __future__ import annotations

import re

from agents.expert import logs
from agents.expert.analyzers import filesystem
from agents.expert.analyzers.access import denial
from agents.expert.analyzers.certificates import certificate
from agents.expert.analyzers.filesystem import of_workload
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import json_patch, outside, pointer, set_path
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView

TOKEN = re.compile(r"/var/run/secrets/kubernetes\.io/serviceaccount|in-cluster config", re.IGNORECASE)
SECRETIVE = re.compile(r"pass(word|wd)?|secret|token|credential|auth|api[_-]?key|dsn|_url$|user", re.IGNORECASE)


def judge(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft | None:
    """Return the draft for the first right that the log's decisive line misses."""
    line = said.decisive
    if logs.RBAC.search(said.text):
        return denial(view, workload, said)
    if TOKEN.search(said.around):
        return _token(view, workload, said, cited)
    if logs.FORMAT.search(said.text):
        return of_workload(
            workload,
            "image",
            f"{container.path}.image",
            "its image is built for another processor",
            0.9,
            cited,
            [outside("Build the image for the nodes' platform", "no other change helps")],
        )
    if logs.IN_USE.search(said.text):
        return _in_use(workload, container, said, cited)
    if logs.TLS.search(line):
        return certificate(view, workload, container, said, settings, cited)
    blocked = filesystem.judge(view, workload, container, said, cited)
    if blocked is not None:
        return blocked
    if logs.CREDENTIALS.search(said.text) and not logs.DNS.search(line):
        return credentials(view, workload, settings, said, cited)
    return None


def credentials(
    view: ClusterView, workload: Workload, settings: list[Setting], said: Complaint, cited: tuple[Citation, ...]
) -> Draft:
    """Return the draft for refused credentials: the Secret that holds them, or the setting where no Secret does."""
    held = [s for s in settings if s.holder.kind == "Secret"] + [
        s for s in settings if s.holder.kind != "Secret" and SECRETIVE.search(s.name)
    ]
    ranked = sorted(
        held,
        key=lambda s: (
            s.holder.kind != "Secret",
            not re.search(r"pass|token|key|cred", s.name, re.IGNORECASE),
            not SECRETIVE.search(s.name),
        ),
    )
    note = [
        outside(
            "Put the credentials that the other side accepts there, then restart the pods",
            "only the owner of that account knows them",
        )
    ]
    if not ranked:
        note = [*_peer(view, workload, said), *note]
        return of_workload(
            workload,
            "credentials",
            f"{workload.template}.containers[0].env",
            f"the other side refuses its credentials: {said.shown}",
            0.65,
            cited,
            note,
        )
    best = ranked[0]
    keys = workload.keys | {best.holder.key}
    return Draft(
        "credentials",
        best.holder.target,
        best.path,
        f"{workload.name()} keeps failing: the credentials in {best.holder.kind} {best.holder.name} "
        f"({best.name}) are refused: "
        f"{said.shown}.",
        0.85,
        Level.OBJECT,
        (*cited, view.cite(best.holder, "metadata.name")),
        keys,
        workload.keys,
        tuple(note),
    )


def _peer(view: ClusterView, workload: Workload, said: Complaint) -> list[Fix]:
    """Return the fix that gives a client the password that its server takes from a Secret of the same namespace."""
    namespace = workload.thing.namespace
    for host, _ in said.addresses:
        service = view.find("Service", namespace, host.split(".")[0])
        pods = view.pods_with(namespace, service.map("spec.selector")) if service is not None else []
        for env in (e for p in pods[:1] for c in p.rows("spec.containers") for e in rows(c.get("env"))):
            ref = mapping(mapping(env.get("valueFrom")).get("secretKeyRef"))
            if ref and SECRETIVE.search(text(env.get("name"))):
                place = f"{workload.template}.containers[0].env"
                step = {"name": text(env.get("name")), "valueFrom": {"secretKeyRef": dict(ref)}}
                has = bool(workload.thing.rows(place))
                where = pointer(place) + ("/-" if has else "")
                patch = {"op": "add", "path": where, "value": step if has else [step]}
                title = f"Give it {step['name']} from Secret {text(ref.get('name'))}"
                why = f"Service {host} takes its password from there; check under which name the client reads it"
                return [json_patch(workload.thing, [patch], title, why, f"remove {step['name']} again")]
    return []


def _token(view: ClusterView, workload: Workload, said: Complaint, cited: tuple[Citation, ...]) -> Draft | None:
    """Return who keeps the account's token out of the pod: the template, otherwise its service account."""
    name = text(workload.spec.get("serviceAccountName")) or "default"
    account = view.find("ServiceAccount", workload.thing.namespace, name)
    field = f"{workload.template}.automountServiceAccountToken"
    if workload.spec.get("automountServiceAccountToken") is False:
        holder, field = workload.thing, field
    elif account is not None and account.at("automountServiceAccountToken") is False:
        holder, field = account, "automountServiceAccountToken"
    else:
        return None
    own = set_path(
        workload.thing,
        f"{workload.template}.automountServiceAccountToken",
        True,
        "Mount the token into these pods",
        "the pods talk to the API server; no other pod gets one",
    )
    return Draft(
        "rbac",
        holder.target,
        field,
        f"{workload.name()} keeps failing: it reads the service account's token, and "
        f"{holder.kind} {holder.name} sets automountServiceAccountToken false.",
        0.95,
        Level.WORKLOAD if holder is workload.thing else Level.OBJECT,
        (*cited, view.cite(holder, field)),
        workload.keys | {holder.key},
        workload.keys,
        (own,),
    )


def _in_use(workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]) -> Draft:
    port = re.search(r":(\d{2,5})\b|port \D{0,3}(\d{2,5})", said.text)
    number = (port[1] or port[2]) if port else ""
    others = [text(c.get("name")) for c in rows(workload.spec.get("containers")) if c.get("name") != container.name]
    shared = f", which {' and '.join(others)} in the same pod shares" if others else ""
    return of_workload(
        workload,
        "app-config",
        f"{container.path}.ports",
        f"port {number} is already in use in the pod{shared}",
        0.85,
        cited,
        [
            outside(
                f"Give container {container.name} or its neighbour another port",
                "containers of a pod share one network",
            )
        ],
    )
