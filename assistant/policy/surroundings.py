"""What could be read around a change, and how its fields are looked at. Pure data for impact, checks, risk and undo."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Obj = dict[str, Any]
TEMPLATED: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
POD_TEMPLATES: Final = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_NAMES: Final = 6


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The object before and after (dry run), and the lists around it that could be read.

    `live` and `after` are what the request is about (for `/scale` the Scale), `whole` is the object itself. `owners`
    are its controllers, nearest first. `unread` names what could not be read, `cut` what was read in part only.
    """

    method: str
    sub: str
    kind: str
    live: Obj | None
    after: Obj | None
    whole: Obj | None = None
    api_version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    owners: tuple[Obj, ...] = ()
    keepers: tuple[Obj, ...] = ()
    pods: tuple[Obj, ...] = ()
    every_pod: tuple[Obj, ...] = ()
    workloads: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()
    scalers: tuple[Obj, ...] = ()
    budgets: tuple[Obj, ...] = ()
    quotas: tuple[Obj, ...] = ()
    limits: tuple[Obj, ...] = ()
    dependents: tuple[Obj, ...] = ()
    claims: tuple[Obj, ...] = ()
    volumes: tuple[Obj, ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    unread: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    @property
    def deleting(self) -> bool:
        """Say whether the object goes away (delete or eviction)."""
        return self.method == "DELETE" or self.sub == "eviction"

    @property
    def thing(self) -> Obj | None:
        """Return the object itself as it is now, as it will be where it is new."""
        return self.whole or self.live or self.after


def at(value: Any, *path: str, default: Any = None) -> Any:
    """Return a nested field, `default` where a step is missing or of another type."""
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return default if value is None else value


def name_of(value: Obj) -> str:
    """Return metadata.name."""
    return str(at(value, "metadata", "name", default=""))


def listed(items: Iterable[Obj] | Iterable[str], most: int = _NAMES) -> str:
    """Return names in one line; what does not fit is counted."""
    names = [item if isinstance(item, str) else name_of(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, what: str) -> str:
    """Return `1 pod` or `3 pods`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def controller_of(thing: Obj | None) -> Obj | None:
    """Return the ownerReference of the controller, None where there is none."""
    owners = at(thing, "metadata", "ownerReferences", default=[])
    return next((owner for owner in owners if isinstance(owner, dict) and owner.get("controller")), None)


def template_of(value: Obj | None, kind: str) -> Obj:
    """Return the pod template of a workload, a pod itself, {} for anything else."""
    found = value if kind == "Pod" else at(value, *POD_TEMPLATES[kind]) if kind in POD_TEMPLATES else {}
    return found if isinstance(found, dict) else {}


def pod_labels(value: Obj | None, kind: str) -> Obj:
    """Return the labels that the pods of an object have."""
    found = at(template_of(value, kind), "metadata", "labels", default={})
    return found if isinstance(found, dict) else {}


def template_changes(around: Surroundings) -> bool:
    """Say whether the pod template changes, so that pods are replaced."""
    if around.kind not in TEMPLATED or around.sub or around.live is None or around.after is None:
        return False
    return bool(at(around.live, "spec", "template") != at(around.after, "spec", "template"))


def replicas(value: Obj | None, default: int = 1) -> int:
    """Return spec.replicas; the API's default is 1."""
    count = at(value, "spec", "replicas", default=default)
    return count if isinstance(count, int) else default


def scaled(around: Surroundings) -> tuple[int, int] | None:
    """Return the number of replicas before and after, None where the change does not set it."""
    if around.live is None or around.after is None or around.deleting:
        return None
    named = any("replicas" in at(side, "spec", default={}) for side in (around.live, around.after))
    if not named and around.sub != "scale":
        return None
    # A Scale leaves out a spec.replicas of 0; elsewhere the API's default is 1.
    default = 0 if around.sub == "scale" else 1
    before, after = replicas(around.live, default), replicas(around.after, default)
    return (before, after) if before != after else None


def share(value: Any, total: int, *, up: bool) -> int:
    """Return an IntOrString of `total` pods (`25%`), rounded up or down."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        exact = total * int(value[:-1]) / 100
        return math.ceil(exact) if up else math.floor(exact)
    return value if isinstance(value, int) else 0


def selects(selector: Any, labels: Any) -> bool:
    """Say whether an equality selector (a Service's) picks these labels; an empty one picks nothing."""
    if not isinstance(selector, dict) or not selector or not isinstance(labels, dict):
        return False
    return all(labels.get(key) == value for key, value in selector.items())


def matches(selector: Any, labels: Any) -> bool:
    """Say whether a LabelSelector picks these labels (matchLabels and matchExpressions)."""
    labels = labels if isinstance(labels, dict) else {}
    if not isinstance(selector, dict):
        return False
    if any(labels.get(k) != v for k, v in at(selector, "matchLabels", default={}).items()):
        return False
    for rule in at(selector, "matchExpressions", default=[]):
        key, values = rule.get("key"), rule.get("values") or []
        ok = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(str(rule.get("operator")), False)
        if not ok:
            return False
    return True


def ready(pod: Obj) -> bool:
    """Say whether a pod has the Ready condition."""
    conditions = at(pod, "status", "conditions", default=[])
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
