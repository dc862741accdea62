"""Containers that the kernel kills for memory, with the limit that would have been enough."""

from __future__ import annotations

import math
import re

from agents.expert.draft import Draft, Fix, Level
from agents.expert.logs import MEMORY
from agents.expert.remedies import json_patch, pointer, set_path
from agents.expert.workload import Container, Workload, log_lines
from assistant.domain.raw import mapping, text
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity, shown_bytes

PROGRESS = re.compile(r"(?<!\d)(\d+) ?(?:/|of) ?(\d+)(?!\d)")
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(Mi?B|Gi?B|M|G)\b")
STEP = 64 * 2**20


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
