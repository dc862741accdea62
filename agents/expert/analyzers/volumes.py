"""Volumes that exist and cannot be used: by this node, by this pod, or beside another pod."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Level
from agents.expert.placement import fits
from agents.expert.remedies import outside, set_path
from agents.expert.workload import Workload, is_ready, workload_of
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import ClusterView, Thing

MOUNT = re.compile(r"FailedMount|FailedAttachVolume|FailedMapVolume|VolumeResizeFailed|FileSystemResizeFailed")
ELSEWHERE = re.compile(r"volume node affinity|PersistentVolume's node affinity|no available volume zone")
ALONE = re.compile(r"ReadWriteOncePod")


def placed(view: ClusterView) -> list[Draft]:
    """Return the pods that no node takes because of where their volume is, or who has it."""
    found: dict[str, Draft] = {}
    for pod in view.all("pods"):
        if pod.text("spec.nodeName") or pod.deleting or pod.text("status.phase") != "Pending":
            continue
        workload = workload_of(view, pod)
        event = next((e for e in view.events_of(pod) if e.text("reason") == "FailedScheduling"), None)
        said = text(pod.condition("PodScheduled").get("message")) or (
            event.text("message") if event is not None else ""
        )
        if workload.thing.key in found or not (ELSEWHERE.search(said) or ALONE.search(said)):
            continue
        index = next((i for i, c in enumerate(pod.rows("status.conditions")) if c.get("type") == "PodScheduled"), 0)
        cited = (view.cite(event, "message") if event is not None else view.cite(pod, f"status.conditions[{index}]"),)
        claims = [c for c, _ in _claims(view, pod)]
        if ALONE.search(said) and claims:
            found[workload.thing.key] = _alone(view, workload, claims, cited)
        elif ELSEWHERE.search(said):
            found[workload.thing.key] = _elsewhere(view, workload, pod, cited)
    return list(found.values())


def _claims(view: ClusterView, pod: Thing) -> list[tuple[Thing, Thing | None]]:
    """Return the claims of a pod, each with its volume where it has one."""
    names = [text(mapping(v.get("persistentVolumeClaim")).get("claimName")) for v in pod.rows("spec.volumes")]
    found = [c for n in names if n and (c := view.find("PersistentVolumeClaim", pod.namespace, n)) is not None]
    return [(c, view.find("PersistentVolume", "", c.text("spec.volumeName"))) for c in found]


def _alone(view: ClusterView, workload: Workload, claims: list[Thing], cited: tuple[Citation, ...]) -> Draft:
    claim = next((c for c in claims if "ReadWriteOncePod" in texts(c.at("spec.accessModes"))), claims[0])
    return Draft(
        "storage",
        claim.target,
        "spec.accessModes",
        f"{workload.name()} gets no node: claim {claim.name} is ReadWriteOncePod, and another pod has it.",
        0.9,
        Level.OBJECT,
        (*cited, view.cite(claim, "spec.accessModes")),
        workload.keys | {claim.key},
        workload.keys,
        (
            outside(
                (
                    "Run one pod that uses the claim (strategy Recreate for a Deployment), or use a claim "
                    "that is ReadWriteOnce"
                ),
                "the access mode lets one pod use the volume, and it cannot be changed on a claim in use",
            ),
        ),
    )


def _elsewhere(view: ClusterView, workload: Workload, pod: Thing, cited: tuple[Citation, ...]) -> Draft:
    pairs = [(c, v) for c, v in _claims(view, pod) if v is not None and v.map("spec.nodeAffinity")]
    volume = pairs[0][1] if pairs else None
    homes = [n for n in view.all("nodes") if volume is not None and _holds(volume, n)]
    names = ", ".join(n.name for n in homes) or "a node that is not there"
    base = workload.template
    own = next(
        (
            f
            for f in ("nodeSelector", "affinity.nodeAffinity", "nodeName")
            if mapping(workload.spec.get("affinity")).get(f.split(".")[-1]) or workload.spec.get(f)
        ),
        "",
    )
    if volume is None or (homes and own and not any(fits(pod, n) for n in homes)) or (homes and not volume):
        field = f"{base}.{own}" if own else f"{base}.volumes"
        fixes = (
            [
                set_path(
                    workload.thing,
                    field,
                    None,
                    f"Drop {own}, so that the pod goes where its volume is",
                    "the data is there",
                )
            ]
            if own
            else []
        )
        why = f"its volume is on {names}, and {own or 'its placement'} keeps it away from there"
        target, cites = workload.thing.target, view.cite(workload.thing, field)
    else:
        field, target, fixes = "spec.nodeAffinity", volume.target, []
        why = f"its volume {volume.name} can be used on {names} only, and that node does not take the pod"
        cites = view.cite(volume, "spec.nodeAffinity")
    return Draft(
        "storage",
        target,
        field,
        f"{workload.name()} gets no node: {why}.",
        0.88,
        Level.WORKLOAD,
        (*cited, cites, *(view.cite(v, "spec.nodeAffinity") for _, v in pairs[:1] if v is not None)),
        workload.keys,
        workload.keys,
        (
            *fixes,
            outside("Or bring that node back, or move the data", "a volume on a node's own disk cannot follow its pod"),
        ),
    )


def _holds(volume: Thing, node: Thing) -> bool:
    """Say whether a volume may be used on a node, by its required node affinity."""
    terms = rows(mapping(volume.map("spec.nodeAffinity").get("required")).get("nodeSelectorTerms"))
    probe = Thing(
        "pods",
        "v1",
        "Pod",
        {
            "metadata": {},
            "spec": {
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
                }
            },
        },
        "",
    )
    return fits(probe, node)


def _served(view: ClusterView, pod: Thing, name: str) -> Thing | None:
    """Return the volume of a pod that a file server or driver outside the cluster has to give, None without one."""
    volumes = [v for _, v in _claims(view, pod) if v is not None and (v.map("spec.nfs") or v.map("spec.csi"))]
    return next((v for v in volumes if v.name == name), volumes[0] if len(volumes) == 1 else None)


def mounts(view: ClusterView) -> list[Draft]:
    """Return the volumes that the kubelet cannot attach or mount, one draft for each workload."""
    found: dict[str, Draft] = {}
    for pod in view.all("pods"):
        if is_ready(pod) or not pod.text("spec.nodeName") or pod.deleting:
            continue
        workload = workload_of(view, pod)
        event = next(
            (
                e
                for e in view.events_of(pod)
                if MOUNT.search(e.text("reason")) and "not registered" not in e.text("message")
            ),
            None,
        )
        running = any("running" in mapping(s.get("state")) for s in pod.rows("status.containerStatuses"))
        if (
            event is None
            or running
            or workload.thing.key in found
            or re.search(r'(configmap|secret) "[^"]+" not found|non-existent', event.text("message"))
        ):
            continue
        found[workload.thing.key] = _mount(view, workload, pod, event)
    return list(found.values())


def _mount(view: ClusterView, workload: Workload, pod: Thing, event: Thing) -> Draft:
    message = " ".join(event.text("message").split())
    name = (re.search(r'volume \\?"([^"\\]+)', message) or ["", ""])[1]
    index = next((i for i, v in enumerate(rows(workload.spec.get("volumes"))) if v.get("name") == name), None)
    field = f"{workload.template}.volumes" + (f"[{index}]" if index is not None else "")
    cited = [view.cite(workload.thing, field)]
    target, why, fixes = (
        workload.thing.target,
        message[:180],
        [outside("Act on what the kubelet says of the volume", "no field of the cluster is plainly wrong")],
    )
    if "Multi-Attach" in message:
        claims = [text(mapping(v.get("persistentVolumeClaim")).get("claimName")) for v in pod.rows("spec.volumes")]
        claim = next((c for n in claims if n and (c := view.find("PersistentVolumeClaim", pod.namespace, n))), None)
        why = "its volume is still attached to another node, and it can be attached to one only"
        if claim is not None:
            field = "spec.strategy.type" if workload.thing.kind == "Deployment" else field
            fixes = [
                outside(
                    "Use the Recreate strategy, or a volume that several nodes can attach (ReadWriteMany)",
                    f"claim {claim.name} is {', '.join(texts(claim.at('spec.accessModes')))}",
                )
            ]
    elif "hostPath type check failed" in message:
        why = "its hostPath does not exist on the node in the type that is asked for"
    elif "driver name" in message and "registered CSI drivers" in message:
        driver = (re.search(r"driver name (\S+) not found", message) or ["", "its CSI driver"])[1]
        why = f"the node does not run CSI driver {driver}, which its volume needs"
        fixes = [
            outside(f"Install driver {driver} on the node, or let its node plugin tolerate the node", "volumes need it")
        ]
    elif (found := _served(view, pod, name)) is not None:
        target, field = found.target, "spec.nfs" if found.map("spec.nfs") else "spec.csi"
        why = f"its volume {found.name} cannot be mounted: {' '.join(message.split())[-140:]}"
        cited.append(view.cite(found, field))
        fixes = [
            outside("Bring the file server back, or correct its address in the volume", "the node cannot reach it")
        ]
    return Draft(
        "storage",
        target,
        field,
        f"{workload.name()} cannot start: {why}.",
        0.85 if fixes else 0.7,
        Level.WORKLOAD,
        (view.cite(event, "message"), *cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )
