"""Containers with a GPU that cannot start or crash: runtime and toolkit, driver versions, unhealthy devices, no GPU."""

from __future__ import annotations

import re

from agents.expert.devices.inventory import inventory, tolerated
from agents.expert.devices.plugins import extended, pods_with_plugins, wants
from agents.expert.devices.users import over, pods_with_claims
from agents.expert.devices.xid import MEANINGS, number_in
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import delete, outside, set_path
from agents.expert.workload import Container, Workload, log_lines, workload_of
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.raw import rows, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

RUNTIME = (
    (re.compile(r'no runtime for "([\w.-]+)" is configured'), "its container runtime has no handler {0}"),
    (re.compile(r"unresolvable CDI devices? ([\w./=,-]+)"), "its container runtime does not know the CDI device {0}"),
    (
        re.compile(r"nvidia-container-cli: (?:[\w ]{1,30} error: )?([^\n]{1,120})"),
        "the NVIDIA container toolkit fails on it: {0}",
    ),
)
MISMATCH = re.compile(
    r"[Dd]river/library version mismatch|CUDA driver version is insufficient|forward compatibility was attempted"
)
NO_DEVICE = re.compile(
    r"no CUDA-capable device|[Nn]o CUDA GPUs are available|Found no NVIDIA driver|CUDA_ERROR_NO_DEVICE|hipErrorNoDevice"
)


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return what an accelerator, its driver or its toolkit has to do with a failing container; None for nothing."""
    pod = container.pod
    bad = unhealthy(view, pod)
    if bad is not None:
        return bad
    said, cited = _words(view, container)
    for pattern, why in RUNTIME:
        match = pattern.search(said) if said else None
        if match is not None:
            return _runtime(view, workload, pod, why.format(match[1].strip()), cited)
    if container.running and container.ready:
        return None
    for log, line in reversed(log_lines(view, container)[-60:]):
        if MISMATCH.search(line):
            return _mismatch(view, workload, pod, line, view.cite_log(log, line))
        if NO_DEVICE.search(line):
            return _no_device(view, workload, container, line, view.cite_log(log, line))
    return None


def _words(view: ClusterView, container: Container) -> tuple[str, list[Citation]]:
    waiting, ended = text(container.waiting.get("message")), text(container.ended.get("message"))
    if container.reason in ("RunContainerError", "CreateContainerError", "StartError") and waiting:
        return waiting, [view.cite(container.pod, f"{container.status_path}.state.waiting")]
    if ended and text(container.ended.get("reason")) in ("StartError", "ContainerCannotRun"):
        return ended, [view.cite(container.pod, container.ended_path)]
    reasons = ("FailedCreatePodSandBox", "Failed")
    event = next((e for e in view.events_of(container.pod) if e.text("reason") in reasons), None)
    if event is not None and not container.running:
        return event.text("message"), [view.cite(event, "reason", "message")]
    return "", []


def _runtime(view: ClusterView, workload: Workload, pod: Thing, why: str, cited: list[Citation]) -> Draft:
    name = pod.text("spec.nodeName")
    node = view.find("Node", "", name)
    kind = pod.text("spec.runtimeClassName")
    runtime = node.text("status.nodeInfo.containerRuntimeVersion") if node is not None else ""
    on = f" ({runtime})" if runtime else ""
    if node is not None:
        cited = [*cited, view.cite(node, "metadata.name", "status.nodeInfo.containerRuntimeVersion")]
    return Draft(
        "node",
        node.target if node is not None else workload.thing.target,
        "container runtime" if node is not None else f"{workload.template}.runtimeClassName",
        f"{workload.name()} cannot start on node {name}: {why[:200]}.",
        0.9,
        Level.PLATFORM,
        tuple(cited),
        workload.keys,
        workload.keys,
        (
            outside(
                f"On node {name}: see that the GPU driver is loaded, configure the container runtime{on} for it with "
                "the vendor's toolkit, and restart it" + (f"; RuntimeClass {kind} needs that handler" if kind else ""),
                "the runtime's configuration is on the machine, no object of the cluster holds it",
            ),
        ),
    )


def _mismatch(view: ClusterView, workload: Workload, pod: Thing, line: str, cited: Citation) -> Draft:
    name = pod.text("spec.nodeName")
    node = view.find("Node", "", name)
    behind = "insufficient" in line or "forward compat" in line
    todo = (
        f"Update the driver of node {name}, or use an image with an older CUDA"
        if behind
        else f"Reboot node {name}, or reload its GPU driver: it was updated while the old one was loaded"
    )
    label = next((k for k in (node.labels if node is not None else ()) if k.startswith("nvidia.com/cuda.driver")), "")
    more = (view.cite(node, "metadata.name", f"metadata.labels['{label}']"),) if node is not None else ()
    return Draft(
        "node",
        node.target if node is not None else workload.thing.target,
        "GPU driver",
        f"{workload.name()} fails on node {name}: the GPU driver and the libraries do not go together "
        f"({' '.join(line.split())[-140:]}).",
        0.8,
        Level.PLATFORM,
        (cited, *more),
        workload.keys,
        workload.keys,
        (outside(todo, "the driver is on the machine, the libraries in the image"),),
    )


def _no_device(view: ClusterView, workload: Workload, container: Container, line: str, cited: Citation) -> Draft:
    pod = container.pod
    mine = next((n for n in extended(view) if wants(pod, n)), "")
    name = pod.text("spec.nodeName")
    if not mine and not pod.rows("spec.resourceClaims"):
        offered = next(
            (
                n
                for n in extended(view)
                for x in view.all("nodes")
                if re.search(r"/gpu(?:\.shared)?$", n) and quantity(x.map("status.allocatable").get(n)) > 0
            ),
            "",
        )
        field = f"{container.path}.resources.limits"
        fixes: list[Fix] = []
        if offered and container.path:
            have = dict(workload.thing.map(field))
            fixes.append(
                set_path(
                    workload.thing,
                    field,
                    {**have, offered: "1"},
                    f"Ask for 1 {offered}",
                    "a container sees the devices that it asks for",
                )
            )
        fixes.append(outside("Or let the program run without a GPU", "right if it can"))
        return Draft(
            "scheduling",
            workload.thing.target,
            field,
            f"{workload.name()} looks for a GPU and asks for none ({' '.join(line.split())[:140]}).",
            0.85,
            Level.OBJECT,
            (cited, view.cite(pod, f"spec.containers[{container.name}].name", "spec.nodeName")),
            workload.keys,
            workload.keys,
            tuple(fixes),
        )
    node = view.find("Node", "", name)
    return Draft(
        "node",
        node.target if node is not None else workload.thing.target,
        "GPU driver",
        f"{workload.name()} has {mine or 'a device'} and its program sees none on node {name} "
        f"({' '.join(line.split())[:140]}).",
        0.72,
        Level.PLATFORM,
        (cited, view.cite(pod, "spec.nodeName")),
        workload.keys,
        workload.keys,
        (
            outside(
                f"On node {name}: see that the GPU answers (driver loaded, no Xid in the kernel's log) and that the "
                "container runtime hands it over",
                "the cluster gave the device; the machine does not show it",
            ),
        ),
    )


def analyze(view: ClusterView) -> list[Draft]:
    """Return the pods under which a device is unhealthy, whether they have noticed or not."""
    pods = {p.key: p for p in [*pods_with_claims(view), *pods_with_plugins(view)]}
    return [d for p in pods.values() if not over(p) and not p.deleting and (d := unhealthy(view, p)) is not None]


def unhealthy(view: ClusterView, pod: Thing) -> Draft | None:
    """Return the unhealthy device of a pod, as its kubelet reports it (allocatedResourcesStatus); None without one."""
    for group in ("containerStatuses", "initContainerStatuses"):
        for i, status in enumerate(pod.rows(f"status.{group}")):
            for j, resource in enumerate(rows(status.get("allocatedResourcesStatus"))):
                for k, device in enumerate(rows(resource.get("resources"))):
                    if device.get("health") == "Unhealthy":
                        place = f"status.{group}[{i}].allocatedResourcesStatus[{j}]"
                        return _unhealthy(view, pod, place, text(resource.get("name")), dict(device), k)
    return None


def _unhealthy(view: ClusterView, pod: Thing, place: str, name: str, device: dict[str, object], k: int) -> Draft:
    workload = workload_of(view, pod)
    identity, message = text(device.get("resourceID")), text(device.get("message"))
    xid = number_in(message)
    said = f" ({message[:120]}" + (f": {MEANINGS[xid]}" if xid in MEANINGS else "") + ")" if message else ""
    found = next((d for d in inventory(view).devices if identity == "/".join(d.place)), None)
    closed = found is not None and any(not tolerated([], t) for t in inventory(view).taints(found))
    own = any(r.get("resourceClaimTemplateName") for r in pod.rows("spec.resourceClaims"))
    node = pod.text("spec.nodeName")
    fixes: list[Fix] = [
        outside(
            f"Repair or replace device {identity or name} of node {node}; a restarted container has the same one",
            "the device is at fault, not the program",
        )
    ]
    if pod.rows("metadata.ownerReferences") and ((closed and own) or not name.startswith("claim:")):
        fixes.insert(
            0,
            delete(
                pod,
                f"Delete pod {pod.name}, so that its controller makes one with another device",
                "the bad device is given to nobody else"
                if closed
                else "the kubelet gives an unhealthy device to nobody",
                RiskLevel.MEDIUM,
            ),
        )
    cites = [view.cite(pod, f"{place}.name", f"{place}.resources[{k}]", "spec.nodeName")]
    if found is not None:
        cites.append(view.cite(found.source, "metadata.name", f"{found.path}.taints" if closed else "spec.pool"))
    return Draft(
        "dra" if name.startswith("claim:") else "scheduling",
        pod.target,
        place,
        f"{workload.name()}: device {identity or name} of pod {pod.name} is unhealthy{said}.",
        0.92,
        Level.PLATFORM,
        tuple(cites),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )
