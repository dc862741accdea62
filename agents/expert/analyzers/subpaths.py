"""Single files of a ConfigMap or Secret (subPath) whose key is not there: the runtime then finds a directory."""

from __future__ import annotations

import re

from agents.expert.draft import Draft, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Container, Workload
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView

MOUNT = re.compile(r"mount a directory onto a file|failed to (prepare|create) subPath|not a directory", re.IGNORECASE)


def judge(
    view: ClusterView, workload: Workload, container: Container, said: str, cited: list[Citation]
) -> Draft | None:
    """Return the mount whose subPath names no key of its ConfigMap or Secret, None where something else is wrong."""
    if not MOUNT.search(said):
        return None
    thing = workload.thing
    volumes = {text(v.get("name")): v for v in rows(workload.spec.get("volumes"))}
    for i, mount in enumerate(rows(mapping(thing.at(container.path)).get("volumeMounts"))):
        sub, volume = text(mount.get("subPath")), volumes.get(text(mount.get("name")), {})
        for source, kind, named, category in (
            ("configMap", "ConfigMap", "name", "missing-configmap"),
            ("secret", "Secret", "secretName", "missing-secret"),
        ):
            holder = view.find(kind, thing.namespace, text(mapping(volume.get(source)).get(named)))
            if not sub or holder is None:
                continue
            items = rows(mapping(volume.get(source)).get("items"))
            keys = [text(x.get("path")) for x in items] or [*holder.map("data"), *holder.map("binaryData")]
            if not keys or sub in keys:
                continue
            field = f"{container.path}.volumeMounts[{i}].subPath"
            near = nearest(sub, keys) or (keys[0] if len(keys) == 1 else "")
            fixes = [set_path(thing, field, near, f'Mount "{near}"', f"{kind} {holder.name} has it")] if near else []
            fixes.append(outside(f'Or add key "{sub}" to {kind} {holder.name}', "its content must come from its owner"))
            return Draft(
                category,
                thing.target,
                field,
                (
                    f'{workload.name()} cannot start: it mounts "{sub}" (subPath) of {kind} {holder.name}, '
                    f"which has no such key"
                )
                + (f' (it has "{near}").' if near else "."),
                0.95,
                Level.WORKLOAD,
                (*cited, view.cite(thing, field), view.cite(holder, "metadata.name")),
                workload.keys,
                workload.keys,
                tuple(fixes),
            )
    return None
