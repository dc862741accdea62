"""Log complaints about files, disks and ports: read-only places, rights in a volume, full disks, low ports."""

from __future__ import annotations

import re
from typing import Any

from agents.expert import logs
from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import Complaint
from agents.expert.remedies import json_patch, outside, pointer, set_path
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView

LOW_PORT = re.compile(r"(?:bind|listen)\w*\b[^\n]{0,60}?:(\d{2,3})\b(?!\d)|port (\d{2,3})\b(?!\d)", re.IGNORECASE)
"""Ports below 1024 need CAP_NET_BIND_SERVICE or root."""


def of_workload(
    workload: Workload, category: str, field: str, why: str, sure: float, cited: tuple[Citation, ...], fixes: list[Fix]
) -> Draft:
    """Return a draft whose target is the workload itself."""
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


def judge(
    view: ClusterView, workload: Workload, container: Container, said: Complaint, cited: tuple[Citation, ...]
) -> Draft | None:
    """Return the draft for the file, disk or port that the log may not use, None where it complains about none."""
    if logs.READ_ONLY.search(said.text):
        return _read_only(view, workload, container, said, cited)
    if logs.NO_SPACE.search(said.text):
        return _full(view, workload, said, cited)
    if logs.PERMISSION.search(said.text) and (low := LOW_PORT.search(said.text)):
        return _low_port(workload, container, low[1] or low[2], cited)
    if logs.PERMISSION.search(said.text) and said.files and not logs.CREDENTIALS.search(said.text):
        return _owner(view, workload, container, said, cited)
    return None


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
        return of_workload(
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
        return of_workload(
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
    return of_workload(
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
    return of_workload(
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
    return of_workload(
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
        return of_workload(
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
