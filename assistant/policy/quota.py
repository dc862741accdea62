"""Whether the pods that a change leads to fit ResourceQuotas and LimitRanges. Pure.

The API server checks the request itself in the dry run; pods come later, from a controller, and are refused then.
"""

from __future__ import annotations

from typing import Any, Final

from assistant.domain.proposal import Check, CheckResult
from assistant.policy.impact import at_once
from assistant.policy.quantity import quantity, shown_bytes, shown_cpu
from assistant.policy.surroundings import (
    POD_TEMPLATES,
    Obj,
    Surroundings,
    at,
    listed,
    name_of,
    replicas,
    scaled,
    template_changes,
    template_of,
)

_PLAIN: Final = {"cpu": "requests.cpu", "memory": "requests.memory", "ephemeral-storage": "requests.ephemeral-storage"}
_SHOWN: Final = 3
Sums = dict[str, float]


def brings_pods(around: Surroundings) -> bool:
    """Say whether the change leads to new pods."""
    return bool(_new_pods(around))


def quota_check(around: Surroundings) -> Check | None:
    """Return whether the new pods fit; None where the change leads to none."""
    if around.kind == "PersistentVolumeClaim" and around.live is None and not around.deleting:
        return _claim_check(around)
    count = _new_pods(around)
    if not count:
        return None
    template = template_of(around.after if around.sub != "scale" else around.whole, around.kind)
    spec = at(template, "spec", default={})
    problems = [*_out_of_limits(spec, around.limits), *_out_of_quota(around, spec, count)]
    if problems:
        text = f"New pods would be refused: {listed(problems, _SHOWN)}."
        return Check("quota", CheckResult.WARN, text)
    unread = [kind for kind in ("ResourceQuota", "LimitRange") if kind in around.unread]
    if unread:
        return Check("quota", CheckResult.UNKNOWN, f"Could not read {listed(unread)}: whether new pods fit is unknown.")
    if not around.quotas and not around.limits:
        return Check("quota", CheckResult.PASS, "The namespace has no ResourceQuota and no LimitRange.")
    names = [f"{item.get('kind')} {name_of(item)}" for item in (*around.quotas, *around.limits)]
    return Check("quota", CheckResult.PASS, f"New pods fit {listed(names)}.")


def _new_pods(around: Surroundings) -> int:
    """Return how many pods may exist beyond today's at one time, at least 1 where any pod is made anew."""
    if around.deleting or around.after is None:
        return 0
    change = scaled(around)
    if change is not None and change[1] > change[0] and around.kind in POD_TEMPLATES:
        return change[1] - change[0]
    if template_changes(around) and replicas(around.after):
        return max(1, at_once(around)[2])
    if around.live is not None or around.sub:
        return 0
    match around.kind:
        case "Pod":
            return 1
        case "Job":
            return int(at(around.after, "spec", "parallelism", default=1))
        case "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController":
            return replicas(around.after)
        case _:
            return 1 if around.kind in POD_TEMPLATES else 0


def _containers(spec: Obj) -> list[tuple[str, Obj]]:
    """Return containers with their part in the pod: `main` (also sidecars) or `init`."""
    found = [("main", c) for c in at(spec, "containers", default=[]) if isinstance(c, dict)]
    for container in at(spec, "initContainers", default=[]):
        if isinstance(container, dict):
            found.append(("main" if container.get("restartPolicy") == "Always" else "init", container))
    return found


def _resources(container: Obj, limits: tuple[Obj, ...]) -> tuple[Sums, Sums]:
    """Return requests and limits with the defaults of the namespace's LimitRanges and of the API filled in."""
    most = {k: quantity(v) for k, v in at(container, "resources", "limits", default={}).items()}
    least = {k: quantity(v) for k, v in at(container, "resources", "requests", default={}).items()}
    own = dict(most)
    for item in _ranges(limits, "Container"):
        most = {**{k: quantity(v) for k, v in at(item, "default", default={}).items()}, **most}
    for name, value in own.items():
        least.setdefault(name, value)
    for item in _ranges(limits, "Container"):
        least = {**{k: quantity(v) for k, v in at(item, "defaultRequest", default={}).items()}, **least}
    for name, value in most.items():
        least.setdefault(name, value)
    return least, most


def _ranges(limits: tuple[Obj, ...], kind: str) -> list[Obj]:
    return [r for limit in limits for r in at(limit, "spec", "limits", default=[]) if r.get("type") == kind]


def _per_pod(spec: Obj, limits: tuple[Obj, ...]) -> Sums:
    """Return what one pod counts as, keyed as quotas are (`requests.cpu`, `limits.memory`)."""
    total: Sums = {}
    peak: Sums = {}
    for part, container in _containers(spec):
        for kind, values in zip(("requests", "limits"), _resources(container, limits), strict=True):
            for name, value in values.items():
                key = f"{kind}.{name}"
                if part == "main":
                    total[key] = total.get(key, 0.0) + value
                else:
                    peak[key] = max(peak.get(key, 0.0), value)
    for key, value in peak.items():
        total[key] = max(total.get(key, 0.0), value)
    for name, value in at(spec, "overhead", default={}).items():
        for key in (f"requests.{name}", f"limits.{name}"):
            if key in total:
                total[key] += quantity(value)
    return total


def _out_of_quota(around: Surroundings, spec: Obj, count: int) -> list[str]:
    per_pod = _per_pod(spec, around.limits)
    need = _needs(around, per_pod, count)
    found = []
    for quota in around.quotas:
        if not _applies(quota, spec, per_pod):
            continue
        used = at(quota, "status", "used", default={})
        for name, value in at(quota, "status", "hard", default=at(quota, "spec", "hard", default={})).items():
            key = _PLAIN.get(name, name)
            lacking = key.startswith(("requests.", "limits.")) and _lacks(key, spec, around.limits)
            if lacking:
                found.append(f"ResourceQuota {name_of(quota)} asks every container for {key}")
                continue
            asked = need.get("pods" if name == "count/pods" else key, 0.0)
            hard, now = quantity(value), quantity(used.get(name, 0))
            if asked > 0 and now + asked > hard + 1e-9:
                found.append(
                    f"ResourceQuota {name_of(quota)} has {_shown(key, max(0.0, hard - now))} of {name} left, "
                    f"they need {_shown(key, asked)}"
                )
    return found


def _needs(around: Surroundings, per_pod: Sums, count: int) -> Sums:
    change = scaled(around)
    more = max(0, change[1] - change[0]) if change is not None else 0
    if not template_changes(around):
        return {**{key: value * count for key, value in per_pod.items()}, "pods": float(count)}
    total, _, surge = at_once(around)
    before = _per_pod(at(template_of(around.live, around.kind), "spec", default={}), around.limits)
    # Beyond today's use: the pods that are more, and the extra pods of the rollout or what all need more in the end.
    need = {
        key: more * value + max(surge * value, max(0, total - more) * (value - before.get(key, 0.0)))
        for key, value in per_pod.items()
    }
    return {**need, "pods": float(more + surge)}


def _lacks(key: str, spec: Obj, limits: tuple[Obj, ...]) -> bool:
    kind, _, name = key.partition(".")
    if name not in ("cpu", "memory", "ephemeral-storage"):
        return False
    index = 0 if kind == "requests" else 1
    return any(name not in _resources(container, limits)[index] for _, container in _containers(spec))


def _applies(quota: Obj, spec: Obj, per_pod: Sums) -> bool:
    best_effort = not any(per_pod.get(f"{k}.{r}") for k in ("requests", "limits") for r in ("cpu", "memory"))
    ends = isinstance(at(spec, "activeDeadlineSeconds"), int)
    priority = str(at(spec, "priorityClassName", default=""))
    rules: list[Any] = [{"scopeName": s, "operator": "Exists"} for s in at(quota, "spec", "scopes", default=[])]
    rules += at(quota, "spec", "scopeSelector", "matchExpressions", default=[])
    for rule in rules:
        values = rule.get("values") or []
        fits = {
            "BestEffort": best_effort,
            "NotBestEffort": not best_effort,
            "Terminating": ends,
            "NotTerminating": not ends,
            "PriorityClass": {
                "In": priority in values,
                "NotIn": priority not in values,
                "Exists": bool(priority),
                "DoesNotExist": not priority,
            }.get(str(rule.get("operator")), True),
        }.get(str(rule.get("scopeName")), True)
        if not fits:
            return False
    return True


def _out_of_limits(spec: Obj, limits: tuple[Obj, ...]) -> list[str]:
    found = []
    for limit in limits:
        for rule in at(limit, "spec", "limits", default=[]):
            name = f"LimitRange {name_of(limit)}"
            if rule.get("type") == "Container":
                for _, container in _containers(spec):
                    least, most = _resources(container, limits)
                    found += _outside(rule, least, most, f"{name}: container {container.get('name')}")
            elif rule.get("type") == "Pod":
                sums = _per_pod(spec, limits)
                sides = [
                    {key.partition(".")[2]: value for key, value in sums.items() if key.startswith(kind)}
                    for kind in ("requests.", "limits.")
                ]
                found += _outside(rule, sides[0], sides[1], f"{name}: the pod")
    return list(dict.fromkeys(found))


def _outside(rule: Obj, least: Sums, most: Sums, who: str) -> list[str]:
    found = []
    for name, value in at(rule, "max", default={}).items():
        asked = most.get(name)
        if asked is None:
            found.append(f"{who} has no limit of {name}")
        elif max(asked, least.get(name, 0.0)) > quantity(value):
            found.append(f"{who} has {_shown(name, max(asked, least.get(name, 0.0)))} {name}, at most {value}")
    for name, value in at(rule, "min", default={}).items():
        given = least.get(name)
        if given is None:
            found.append(f"{who} requests no {name}")
        elif given < quantity(value):
            found.append(f"{who} requests {_shown(name, given)} {name}, at least {value}")
    for name, value in at(rule, "maxLimitRequestRatio", default={}).items():
        if least.get(name) and most.get(name, 0.0) / least[name] > quantity(value):
            found.append(f"{who} has a limit of {name} above {value} times its request")
    return found


def _claim_check(around: Surroundings) -> Check | None:
    size = at(around.after, "spec", "resources", "requests", "storage")
    rules = [(limit, r) for limit in around.limits for r in at(limit, "spec", "limits", default=[])]
    for limit, rule in rules:
        if rule.get("type") != "PersistentVolumeClaim":
            continue
        least, most = at(rule, "min", "storage"), at(rule, "max", "storage")
        if (most and quantity(size) > quantity(most)) or (least and quantity(size) < quantity(least)):
            text = (
                f"LimitRange {name_of(limit)} wants {least or 'any'} to {most or 'any'} of storage, it asks for {size}."
            )
            return Check("quota", CheckResult.WARN, text)
    return None


def _shown(key: str, value: float) -> str:
    if key.endswith("cpu"):
        return shown_cpu(value)
    if key.endswith(("memory", "storage")):
        return shown_bytes(value)
    return f"{value:g}"
