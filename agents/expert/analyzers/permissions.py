"""Log complaints about rights and the machine: RBAC, credentials, certificates, files, disks, ports, platforms."""

from __future__ import annotations

import re
from typing import Any

from agents.expert import logs
from agents.expert.analyzers.access import denial
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import json_patch, outside, pointer, set_path
from agents.expert.settings import Setting
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView

LOW_PORT = re.compile(r"(?:bind|listen)\w*\b[^\n]{0,60}?:(\d{2,3})\b(?!\d)|port (\d{2,3})\b(?!\d)", re.IGNORECASE)
"""Ports below 1024 need CAP_NET_BIND_SERVICE or root."""
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
    if logs.FORMAT.search(said.text):
        return _own(
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
        return _tls(view, workload, container, said, settings, cited)
    if logs.READ_ONLY.search(said.text):
        return _read_only(view, workload, container, said, cited)
    if logs.NO_SPACE.search(said.text):
        return _full(view, workload, said, cited)
    if logs.CREDENTIALS.search(said.text) and not logs.DNS.search(line):
        return credentials(view, workload, settings, said, cited)
    if logs.PERMISSION.search(said.text) and (low := LOW_PORT.search(said.text)):
        return _low_port(workload, container, low[1] or low[2], cited)
    if logs.PERMISSION.search(said.text) and said.files:
        return _owner(view, workload, container, said, cited)
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
        return _own(
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


def _own(
    workload: Workload, category: str, field: str, why: str, sure: float, cited: tuple[Citation, ...], fixes: list[Fix]
) -> Draft:
    return Draft(
        category,
        workload.thing.target,
        field,
        f"{workload.name()} keeps failing: {why}.",
        sure,
        Level.WORKLOAD,
        cited,
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def _in_use(workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]) -> Draft:
    port = re.search(r":(\d{2,5})\b|port \D{0,3}(\d{2,5})", said.text)
    number = (port[1] or port[2]) if port else ""
    others = [text(c.get("name")) for c in rows(workload.spec.get("containers")) if c.get("name") != container.name]
    shared = f", which {' and '.join(others)} in the same pod shares" if others else ""
    return _own(
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


def _tls(
    view: ClusterView,
    workload: Workload,
    container: Container,
    said: Complaint,
    settings: list[Setting],
    cited: tuple[Citation, ...],
) -> Draft:
    held = [s.holder for s in settings if s.holder.text("type") == "kubernetes.io/tls"]
    held += [s.holder for s in settings if s.is_file and re.search(r"\.(crt|pem|cer|key)$|ca", s.name.split("/")[-1])]
    what = "has expired" if "expired" in said.text else "is not trusted or not valid"
    note = [
        outside(
            "Renew the certificate (or mount the authority that signed it), then restart the pods",
            "a certificate is issued, not edited",
        )
    ]
    if held:
        return Draft(
            "tls",
            held[0].target,
            "data['tls.crt']" if "tls.crt" in held[0].map("data") else "data",
            f"{workload.name()} keeps failing: the certificate in {held[0].kind} {held[0].name} {what}: {said.shown}.",
            0.85,
            Level.OBJECT,
            (*cited, view.cite(held[0], "metadata.name")),
            workload.keys | {held[0].key},
            workload.keys,
            tuple(note),
        )
    return _own(workload, "tls", container.path, f"a certificate {what}: {said.shown}", 0.6, cited, note)


def _read_only(
    view: ClusterView, workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]
) -> Draft:
    thing = workload.thing
    context = mapping(mapping(thing.at(container.path)).get("securityContext"))
    mounts = rows(mapping(thing.at(container.path)).get("volumeMounts"))
    path = next((f for f in said.files), "/tmp")  # noqa: S108 - where programs write when they name no place
    mount = next(
        (i for i, m in enumerate(mounts) if text(m.get("mountPath")) and path.startswith(text(m.get("mountPath")))),
        None,
    )
    if mount is not None and mounts[mount].get("readOnly") is True:
        field = f"{container.path}.volumeMounts[{mount}].readOnly"
        return _own(
            workload,
            "storage",
            field,
            f"it writes to {path}, which is mounted read-only",
            0.9,
            (*cited, view.cite(thing, field)),
            [set_path(thing, field, False, "Mount the volume writable", "the application has to write there")],
        )
    field = f"{container.path}.securityContext.readOnlyRootFilesystem"
    if context.get("readOnlyRootFilesystem") is not True:
        return _own(
            workload,
            "storage",
            container.path,
            f"it cannot write to {path}: the file system is read-only",
            0.6,
            cited,
            [outside("Look at the volume behind that path", "a file system turns read-only after disk errors")],
        )
    folder = path.rsplit("/", 1)[0] or path if "." in path.rsplit("/", 1)[-1] else path
    volume = "writable" + re.sub(r"[^a-z0-9]+", "-", folder.lower()).rstrip("-")
    steps: list[dict[str, Any]] = [
        {
            "op": "add",
            "path": pointer(f"{workload.template}.volumes") + ("/-" if workload.spec.get("volumes") else ""),
            "value": {"name": volume, "emptyDir": {}}
            if workload.spec.get("volumes")
            else [{"name": volume, "emptyDir": {}}],
        },
        {
            "op": "add",
            "path": pointer(f"{container.path}.volumeMounts") + ("/-" if mounts else ""),
            "value": {"name": volume, "mountPath": folder} if mounts else [{"name": volume, "mountPath": folder}],
        },
    ]
    fix = json_patch(
        thing,
        steps,
        f"Mount an empty directory at {folder}",
        "keeps the root file system read-only and lets the application write where it must",
        "remove the volume and its mount",
    )
    return _own(
        workload,
        "security",
        field,
        f"readOnlyRootFilesystem is set, but it writes to {path}",
        0.93,
        (*cited, view.cite(thing, field)),
        [fix],
    )


def _low_port(workload: Workload, container: Container, port: str, cited: tuple[Citation, ...]) -> Draft:
    own = f"{container.path}.securityContext"
    base = own if mapping(workload.thing.at(own)) else f"{workload.template}.securityContext"
    context = dict(mapping(workload.thing.at(own)))
    capabilities = {**mapping(context.get("capabilities")), "add": ["NET_BIND_SERVICE"]}
    fixes = [outside(f"Let it listen on a port above 1023 instead of {port}", "needs no right at all")]
    if container.path:
        fixes.append(
            json_patch(
                workload.thing,
                [{"op": "add", "path": pointer(own), "value": {**context, "capabilities": capabilities}}],
                "Give the container NET_BIND_SERVICE",
                "lets it bind low ports and nothing else",
                "put the old securityContext back",
            )
        )
    return _own(
        workload,
        "security",
        base,
        f"its user may not bind port {port} (securityContext)",
        0.9,
        cited,
        fixes,
    )


def _owner(
    view: ClusterView, workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]
) -> Draft:
    thing, base = workload.thing, f"{workload.template}.securityContext"
    user = mapping(mapping(thing.at(container.path)).get("securityContext")).get("runAsUser") or thing.map(base).get(
        "runAsUser"
    )
    mounts = [text(m.get("mountPath")) for m in rows(container.spec.get("volumeMounts"))]
    path = said.files[0]
    mounted = any(m and path.startswith(m) for m in mounts)
    fixes = []
    field = base
    capable = f"{container.path}.securityContext.capabilities"
    if re.search(r"operation not permitted|eperm", said.text, re.IGNORECASE) and "ALL" in texts(
        mapping(thing.at(capable)).get("drop")
    ):
        fixes.append(
            set_path(
                thing,
                f"{capable}.add",
                ["CHOWN", "SETUID", "SETGID"],
                "Give back the capabilities that its start needs",
                "everything else stays dropped; an image that runs as non-root needs none of them",
            )
        )
        field = capable
    if user and mounted and "fsGroup" not in thing.map(base):
        field = f"{base}.fsGroup"
        context = {**thing.map(base), "fsGroup": user}
        fixes.append(
            json_patch(
                thing,
                [{"op": "add", "path": pointer(base), "value": context}],
                f"Set fsGroup {user}",
                "the kubelet then gives the volume to the group that the container runs in",
                "remove fsGroup again",
            )
        )
    fixes.append(outside(f"Or let the image own {path}", "right where the path is part of the image"))
    who = f" as user {user}" if user else ""
    return _own(
        workload,
        "security",
        field,
        f"it may not use {path}{who} (securityContext)",
        0.8,
        (*cited, view.cite(thing, base)),
        fixes,
    )


def _full(view: ClusterView, workload: Workload, said: Complaint, cited: tuple[Citation, ...]) -> Draft:
    claims = [
        text(mapping(v.get("persistentVolumeClaim")).get("claimName")) for v in rows(workload.spec.get("volumes"))
    ]
    claim = next(
        (c for name in claims if name and (c := view.find("PersistentVolumeClaim", workload.thing.namespace, name))),
        None,
    )
    note = [outside("Free space, or grow the volume", "what may be deleted only its owner knows")]
    if claim is None:
        return _own(
            workload, "storage", f"{workload.template}.volumes", "the disk that it writes to is full", 0.75, cited, note
        )
    return Draft(
        "storage",
        claim.target,
        "spec.resources.requests.storage",
        f"{workload.name()} keeps failing: the volume of claim {claim.name} is full ({said.shown}).",
        0.88,
        Level.OBJECT,
        (*cited, view.cite(claim, "spec.resources.requests.storage")),
        workload.keys | {claim.key},
        workload.keys,
        tuple(note),
    )
