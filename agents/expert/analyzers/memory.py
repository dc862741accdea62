"""Containers that the kernel kills for memory, with the limit that would have been enough."""

from __future__ import annotations

import math
import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import MEMORY
from agents.expert.remedies import json_patch, pointer, set_path
from agents.expert.workload import Container, Workload, containers, log_lines, workloads
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes

PROGRESS = re.compile(r"(?<!\d)(\d+) ?(?:/|of) ?(\d+)(?!\d)")
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(Mi?B|Gi?B|M|G)\b")
STEP = 64 * 2**20
RECENTLY = 40
"""Lines from the end of a running container's log in which a killed child still counts."""
CHILD_KILLED = re.compile(
    r"(worker|child|process|task|subprocess|executor|fork)\b.{0,60}(sigkill|signal 9|signal: "
    r"killed|was killed|out of memory|oom)|"
    r"killed process \d+|oom[- ]?kill|signal: killed|exit(ed)?( with)?( code| status)?[ :=]*-?(9|137)\b",
    re.IGNORECASE,
)


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the memory limit that is too low, None where memory is not the trouble."""
    lines = log_lines(view, container)
    told = next(((log, line) for log, line in reversed(lines[-40:]) if MEMORY.search(line)), None)
    killed = container.ended.get("reason") == "OOMKilled"
    if not killed and not told:
        return None
    limits = mapping(mapping(container.spec.get("resources")).get("limits"))
    limit = text(limits.get("memory"))
    if not killed and container.exit_code not in (1, 3, 134, 137):
        return None
    pod, thing = container.pod, workload.thing
    spec_path = f"spec.{'initContainers' if container.init else 'containers'}[{container.name}]"
    cited = [view.cite(pod, container.ended_path, f"{spec_path}.resources.limits")]
    if told or lines:
        log, line = told or lines[-1]
        cited.append(view.cite_log(log, line))
    field = f"{container.path}.resources.limits.memory"
    own = text(mapping(mapping(mapping(thing.at(container.path)).get("resources")).get("limits")).get("memory"))
    ranges = _range(view, thing, own, limit)
    need = _need(limit, [line for _, line in lines])
    fixes = []
    if container.path and limit:
        fixes.append(_raise(thing, container, need, own))
    why = f"its memory limit of {limit} is too low" if limit else "it uses more memory than the node can give"
    target = thing.target
    if ranges is not None:
        target, field = ranges.target, "spec.limits[0].default.memory"
        cited.append(view.cite(ranges, "spec.limits"))
        why = f"LimitRange {ranges.name} gives it a default memory limit of {limit}, which is too low"
        fixes.append(
            set_path(
                ranges,
                field,
                need,
                f"Raise the default limit of LimitRange {ranges.name}",
                "changes every new container without a limit in this namespace",
            )
        )
    return Draft(
        "oom",
        target,
        field,
        f"Container {container.name} of {workload.name()} is killed for memory (exit {container.exit_code}): {why}.",
        0.95 if killed else 0.75,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def survivors(view: ClusterView) -> list[Draft]:
    """Return containers that stay up while the kernel kills their children again and again.

    With cgroup v1, and with memory.oom.group off, the kernel takes the largest process and not the container, so that
    neither a restart nor a reason OOMKilled shows it; only the main process can tell.
    """
    found = []
    for workload in workloads(view):
        for pod in filter(view.logged, workload.pods[:2]):
            draft = next(
                (d for c in containers(workload, pod) if (d := _survivor(view, workload, c)) is not None), None
            )
            if draft is not None:
                found.append(draft)
                break
    return found


def _survivor(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    limit = text(mapping(mapping(container.spec.get("resources")).get("limits")).get("memory"))
    log = view.log(container.pod.namespace, container.pod.name, container.name)
    if not limit or log is None or not container.running:
        return None
    told = [line for line in log.lines[-RECENTLY:] if CHILD_KILLED.search(line)]
    if len(told) < 2:
        return None
    field = f"{container.path}.resources.limits.memory"
    own = text(
        mapping(mapping(mapping(workload.thing.at(container.path)).get("resources")).get("limits")).get("memory")
    )
    fixes = [_raise(workload.thing, container, _need(limit, log.lines), own)] if container.path else []
    keys = frozenset({workload.thing.key + "#calls", *workload.keys})
    return Draft(
        "oom",
        workload.thing.target,
        field,
        f"Children of container {container.name} of {workload.name()} are killed for memory again and again, while its "
        f"main process lives: the memory limit of {limit} is too low.",
        0.85,
        Level.WORKLOAD,
        (view.cite_log(log, *told[-2:]), view.cite(workload.thing, field)),
        keys,
        keys,
        tuple(fixes),
    )


def _range(view: ClusterView, thing: Thing, own: str, limit: str) -> Thing | None:
    if own or not limit:
        return None
    return next(
        (
            r
            for r in view.all("limitranges", thing.namespace)
            if any(text(mapping(x.get("default")).get("memory")) == limit for x in r.rows("spec.limits"))
        ),
        None,
    )


def _need(limit: str, lines: list[str]) -> str:
    """Return a limit: what the log's progress extrapolates to and a fifth more, otherwise twice the limit of now."""
    now = quantity(limit)
    wanted = 2 * now
    for line in reversed(lines[-30:]):
        part, size = PROGRESS.search(line), SIZE.search(line)
        if part and size and 0 < int(part[1]) <= int(part[2]):
            unit = 2**30 if size[2].startswith("G") else 2**20
            wanted = max(wanted, float(size[1]) * unit * int(part[2]) / int(part[1]) * 1.2)
            break
    return shown_bytes(math.ceil(wanted / STEP) * STEP)


def _raise(thing: Thing, container: Container, need: str, own: str) -> Fix:
    base = f"{container.path}.resources"
    title = f"Raise the memory limit of {container.name} to {need}"
    reason = "the kernel kills it at the limit; check that the use does not simply grow without end"
    if own:
        return set_path(thing, f"{base}.limits.memory", need, title, reason)
    resources = {**mapping(thing.at(base))}
    resources["limits"] = {**mapping(resources.get("limits")), "memory": need}
    return json_patch(
        thing, [{"op": "add", "path": pointer(base), "value": resources}], title, reason, "remove the limit again"
    )
