"""What goes with a deleted object, and the short form in which a delete is shown. Pure.

Apart from the other impact, because a delete is the one change whose diff says nothing: the question is what is lost.
"""

from __future__ import annotations

from typing import Any, Final

from assistant.domain.proposal import DiffLine, Impact
from assistant.policy.surroundings import (
    Obj,
    Surroundings,
    at,
    controller_of,
    counted,
    listed,
    name_of,
    ready,
    template_of,
)

_KINDS: Final = 10
_KEY_LINES: Final = 12
_VALUE_CHARACTERS: Final = 160
# What one looks at first, by kind; the rest of the object is in the state before.
_KEYS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "Service": (("spec", "type"), ("spec", "clusterIP"), ("spec", "selector")),
    "PersistentVolumeClaim": (
        ("spec", "resources", "requests", "storage"), ("spec", "storageClassName"), ("spec", "volumeName"),
        ("status", "phase"),
    ),
    "PersistentVolume": (
        ("spec", "capacity", "storage"), ("spec", "persistentVolumeReclaimPolicy"), ("spec", "storageClassName"),
        ("status", "phase"),
    ),
    "CustomResourceDefinition": (("spec", "group"), ("spec", "scope"), ("spec", "names", "kind")),
    "Pod": (("spec", "nodeName"), ("status", "phase")),
    "Namespace": (("status", "phase"),),
    "Job": (("spec", "completions"), ("spec", "suspend")),
    "CronJob": (("spec", "schedule"), ("spec", "suspend")),
    "HorizontalPodAutoscaler": (("spec", "scaleTargetRef"), ("spec", "minReplicas"), ("spec", "maxReplicas")),
    "RoleBinding": (("roleRef",), ("subjects",)),
    "ClusterRoleBinding": (("roleRef",), ("subjects",)),
}  # fmt: skip


def propagation(kind: str, api_version: str, options: Any, live: Obj | None) -> str:
    """Return what a delete does to dependents: Background, Foreground or Orphan.

    The order is the API server's (registry/generic/registry/store.go): the options, then finalizers that an earlier
    delete left, then the default of the kind. Jobs (batch/v1) and ReplicationControllers keep their pods by default.
    """
    asked = at(options, "propagationPolicy")
    if isinstance(asked, str) and asked:
        return asked
    if isinstance(at(options, "orphanDependents"), bool):
        return "Orphan" if at(options, "orphanDependents") else "Background"
    finalizers = at(live, "metadata", "finalizers", default=[])
    if "orphan" in finalizers:
        return "Orphan"
    if "foregroundDeletion" in finalizers:
        return "Foreground"
    orphans = (kind, api_version) in (("Job", "batch/v1"), ("ReplicationController", "v1"))
    return "Orphan" if orphans else "Background"


def removed(around: Surroundings) -> list[Impact]:
    """Return what a delete or an eviction takes with it."""
    live = around.live
    if not around.deleting or live is None:
        return []
    lines = [_first(around, live), *_finalizers(around, live)]
    lines += _counts(around)
    lines += _dependents(around)
    return [*lines, *_storage(around, live)]


def _first(around: Surroundings, live: Obj) -> Impact:
    if around.kind == "Pod":
        owner = controller_of(live)
        if owner:
            return Impact("direct", f"The pod stops; {owner.get('kind')} {owner.get('name')} starts another.")
        return Impact("direct", "The pod stops and nothing starts it again: it has no controller.")
    if around.kind == "Namespace":
        return Impact("direct", "Everything in the namespace is deleted with it.")
    if around.kind == "Node":
        return Impact("direct", f"Node {name_of(live)} leaves the cluster; its pods are deleted, the machine runs on.")
    return Impact("direct", f"{around.kind} {name_of(live)} is deleted.")


def _finalizers(around: Surroundings, live: Obj) -> list[Impact]:
    names = [str(item) for item in at(live, "metadata", "finalizers", default=[])]
    lines = (
        [Impact("follows", f"It stays Terminating until its finalizers are done: {listed(names)}.")] if names else []
    )
    if at(live, "metadata", "deletionTimestamp"):
        lines.insert(0, Impact("direct", "It is being deleted already."))
    return lines


def _counts(around: Surroundings) -> list[Impact]:
    some = [(what, number) for what, number in around.counts if number]
    if not some:
        if around.kind in ("Namespace", "CustomResourceDefinition") and not around.unread:
            return [Impact("follows", "Nothing is in it.")]
        return []
    some.sort(key=lambda item: (-item[1], item[0]))
    total = sum(number for _, number in some)
    parts = [f"{number} {what}" for what, number in some[:_KINDS]]
    more = some[_KINDS:]
    tail = f" and {sum(n for _, n in more)} objects of {counted(len(more), 'other kind')}" if more else ""
    names = f" ({listed(around.dependents)})" if around.dependents else ""
    without = "; events are not counted" if around.kind == "Namespace" else ""
    text = f"{counted(total, 'object')} with it: {', '.join(parts)}{tail}{names}{without}."
    return [Impact("follows", text, at_least=bool(around.unread))]


def _dependents(around: Surroundings) -> list[Impact]:
    if not around.dependents or around.counts:
        return []
    policy = propagation(around.kind, around.api_version, around.options, around.live)
    by_kind: dict[str, int] = {}
    for item in around.dependents:
        kind = str(item.get("kind") or "object")
        by_kind[kind] = by_kind.get(kind, 0) + 1
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(by_kind.items()))
    if policy == "Orphan":
        text = f"{kinds} stay behind without an owner ({policy}): {listed(around.dependents)}."
        return [Impact("follows", text, at_least=True)]
    first = " before it goes itself" if policy == "Foreground" else ""
    text = f"{kinds} go with it{first} ({policy}): {listed(around.dependents)}."
    return [Impact("follows", text, at_least=True)]


def _storage(around: Surroundings, live: Obj) -> list[Impact]:
    lines = []
    if around.kind == "StatefulSet" and around.claims:
        kept = at(live, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted", default="Retain")
        what = "are deleted with it" if kept == "Delete" else "stay behind"
        text = f"{counted(len(around.claims), 'claim')} {what} (whenDeleted: {kept}): {listed(around.claims)}."
        lines.append(Impact("storage", text))
    for volume in around.volumes:
        policy = at(volume, "spec", "persistentVolumeReclaimPolicy", default="unknown")
        size = at(volume, "spec", "capacity", "storage", default="unknown size")
        if around.kind == "PersistentVolume":
            what = "only the record of it goes, the storage behind it stays"
        else:
            what = "the data is deleted" if policy == "Delete" else "the data stays"
        lines.append(Impact("storage", f"Volume {name_of(volume)} ({size}) has reclaim policy {policy}: {what}."))
    if around.kind in ("PersistentVolumeClaim", "PersistentVolume"):
        claim = at(live, "spec", "claimRef")
        if claim:
            lines.append(Impact("storage", f"It is bound to claim {claim.get('namespace')}/{claim.get('name')}."))
        running = [pod for pod in around.pods if at(pod, "status", "phase") not in ("Succeeded", "Failed")]
        if running:
            text = f"Mounted by {listed(running)}: it stays Terminating until no pod uses it."
            lines.append(Impact("storage", text))
        elif "Pod" not in around.unread:
            lines.append(Impact("storage", "No running pod mounts it."))
    if around.kind == "Node":
        up = sum(ready(pod) for pod in around.pods)
        text = f"{counted(len(around.pods), 'pod')} on it ({up} ready): {listed(around.pods)}."
        lines.append(Impact("follows", text))
    return lines


def key_lines(around: Surroundings, live: Obj, goes_with_it: tuple[Impact, ...]) -> tuple[DiffLine, ...]:
    """Return a delete in few lines: which object, its key settings, what goes with it.

    `live` is without secret values. The whole object is the state before, in the undo.
    """
    place = at(live, "metadata", "namespace", default="")
    title = f"{around.kind} {place + '/' if place else ''}{name_of(live)}"
    lines = [DiffLine("@", title)]
    born = at(live, "metadata", "creationTimestamp")
    if born:
        lines.append(DiffLine("-", f"created: {born}"))
    replicas = at(live, "spec", "replicas")
    if replicas is not None:
        lines.append(DiffLine("-", f"replicas: {replicas}"))
    keys = [(".".join(path), at(live, *path)) for path in _KEYS.get(around.kind, ())]
    for container in at(template_of(live, around.kind), "spec", "containers", default=[]):
        keys.append((f"image of {container.get('name')}", container.get("image")))
    for part in ("data", "binaryData"):
        if isinstance(live.get(part), dict):
            keys.append((f"{part}, keys", listed(sorted(str(key) for key in live[part]), _KEY_LINES)))
    told = [(name, _short(value)) for name, value in keys if value is not None]
    lines += [DiffLine("-", f"{name}: {value}") for name, value in told[:_KEY_LINES]]
    if len(told) > _KEY_LINES:
        lines.append(DiffLine("-", f"and {len(told) - _KEY_LINES} more settings"))
    for item in goes_with_it:
        if item.heading in ("follows", "storage"):
            lines.append(DiffLine("-", f"{'at least ' if item.at_least else ''}{item.text}"))
    return tuple(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{key}={_short(item)}" for key, item in value.items())
    elif isinstance(value, list):
        text = "; ".join(_short(item) for item in value)
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…"
