"""What follows from a change: pods replaced, traffic, storage, watchers. Pure, over what the gate could read around it.

What could not be read is named by the caller as an unknown check; here an absent list only yields no line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from assistant.domain.proposal import Check, CheckResult, Impact
from assistant.policy.removal import removed
from assistant.policy.surroundings import (
    Obj,
    Surroundings,
    at,
    counted,
    listed,
    matches,
    name_of,
    pod_labels,
    ready,
    replicas,
    scaled,
    selects,
    share,
    template_changes,
)

_ROLLED_PARTLY: Final = "the others keep the old template"


def impact_of(around: Surroundings) -> tuple[Impact, ...]:
    """Return the lines of the blast radius."""
    lines: list[Impact] = []
    lines += _rollout(around)
    lines += _scale(around)
    lines += removed(around)
    lines += _traffic(around)
    lines += _readers(around)
    lines += _watchers(around)
    return tuple(lines)


def at_once(around: Surroundings) -> tuple[int, int, int]:
    """Return how many pods a rollout replaces in all, how many are down and how many are extra at once, at most."""
    after = around.after or {}
    if around.kind == "DaemonSet":
        total = int(at(around.live, "status", "desiredNumberScheduled", default=len(around.pods)))
        rolling = at(after, "spec", "updateStrategy", "rollingUpdate", default={})
        surge = share(rolling.get("maxSurge", 0), total, up=True)
        down = share(rolling.get("maxUnavailable", 0 if surge else 1), total, up=True)
        return total, down if surge else max(1, down), surge
    total = replicas(after)
    if around.kind == "StatefulSet":
        rolling = at(after, "spec", "updateStrategy", "rollingUpdate", default={})
        total = max(0, total - int(at(rolling, "partition", default=0)))
        down = max(1, share(rolling.get("maxUnavailable", 1), replicas(after), up=True))
        return total, min(down, total), 0
    if at(after, "spec", "strategy", "type") == "Recreate":
        return total, total, 0
    rolling = at(after, "spec", "strategy", "rollingUpdate", default={})
    surge = share(rolling.get("maxSurge", "25%"), total, up=True)
    down = share(rolling.get("maxUnavailable", "25%"), total, up=False)
    # Both rounding to zero would never progress: the controller then takes one down (ResolveFenceposts).
    return total, 1 if not down and not surge else down, surge


def _rollout(around: Surroundings) -> list[Impact]:
    if not template_changes(around):
        return []
    after = around.after or {}
    if at(after, "spec", "updateStrategy", "type") == "OnDelete":
        return [Impact("direct", "Pods change only when somebody deletes them (OnDelete).")]
    if at(after, "spec", "paused") is True:
        return [Impact("direct", "The Deployment is paused: pods are replaced only when it is resumed.")]
    total, down, surge = at_once(around)
    pods = f"{total} pods are" if total != 1 else "1 pod is"
    if around.kind == "StatefulSet":
        partition = int(at(after, "spec", "updateStrategy", "rollingUpdate", "partition", default=0))
        kept = f" with ordinal {partition} and above; {_ROLLED_PARTLY}" if partition else ""
        if not total:
            return [Impact("direct", f"No pod is replaced: the partition {partition} keeps all of them back.")]
        order = "one after the other" if down == 1 else f"at most {down} at once where the cluster allows that"
        return [Impact("direct", f"{pods} replaced {order}, the highest number first{kept}.")]
    if around.kind == "Deployment" and at(after, "spec", "strategy", "type") == "Recreate":
        return [Impact("direct", f"All {total} pods stop before new ones start (Recreate).")]
    extra = f" and {surge} extra" if surge or around.kind == "Deployment" else ""
    return [Impact("direct", f"{pods} replaced, at most {down} down{extra} at once.")]


def _scale(around: Surroundings) -> list[Impact]:
    change = scaled(around)
    if change is None:
        return []
    before, after = change
    count = abs(after - before)
    text = f"Replicas go from {before} to {after}: {counted(count, 'pod')} {'more' if after > before else 'less'}."
    lines = [Impact("direct", text)]
    if around.kind == "StatefulSet" and after < before:
        lines[0] = Impact("direct", f"{text} The highest numbers stop first.")
        kept = at(around.thing, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled", default="Retain")
        if at(around.thing, "spec", "volumeClaimTemplates"):
            what = "are deleted" if kept == "Delete" else "stay"
            lines.append(Impact("storage", f"The claims of the pods that stop {what} (whenScaled: {kept})."))
    return lines


def lost_services(around: Surroundings) -> tuple[tuple[str, int, int], ...]:
    """Return the Services that lose ready pods by a delete or by scaling down: name, ready now, ready afterwards."""
    labels = pod_labels(around.thing, around.kind)
    change = scaled(around)
    if around.deleting:
        going = len(around.pods) or (1 if around.kind == "Pod" else 0)
    elif change is not None and change[1] < change[0]:
        going = change[0] - change[1]
    elif template_changes(around) and at(around.after, "spec", "strategy", "type") == "Recreate":
        going = len(around.pods)
    else:
        return ()
    mine = {name_of(pod) for pod in around.pods if ready(pod)}
    if around.deleting and around.kind == "Pod" and around.thing is not None:
        mine = {name_of(around.thing)} if ready(around.thing) else set()
    found = []
    for service in around.services:
        selector = at(service, "spec", "selector")
        if not selects(selector, labels):
            continue
        behind = {
            name_of(pod) for pod in around.every_pod if ready(pod) and selects(selector, at(pod, "metadata", "labels"))
        }
        gone = len(behind & mine)
        # Which pods a controller stops is its own choice; it takes those that are not ready first.
        stays = len([pod for pod in around.pods if not ready(pod)]) if change is not None else 0
        gone = max(0, min(gone, going - stays)) if change is not None and not around.deleting else gone
        found.append((name_of(service), len(behind), len(behind) - gone))
    return tuple(found)


def _traffic(around: Surroundings) -> list[Impact]:
    lines = []
    if around.kind == "Service" and around.live is not None:
        old = [p for p in around.pods if selects(at(around.live, "spec", "selector"), at(p, "metadata", "labels"))]
        if around.deleting:
            return [Impact("traffic", f"Its address stops answering; {sum(map(ready, old))} ready pods are behind it.")]
        new = [p for p in around.pods if selects(at(around.after, "spec", "selector"), at(p, "metadata", "labels"))]
        if len(old) != len(new):
            text = f"Pods behind it go from {len(old)} to {len(new)} ({sum(map(ready, new))} ready)."
            lines.append(Impact("traffic", text))
        return lines
    for name, now, then in lost_services(around):
        what = "no ready pod is left" if now and not then else f"{then} of {now} ready pods are left"
        if not now:
            what = "it has no ready pod now"
        for_now = " until the new ones are ready" if template_changes(around) else ""
        lines.append(Impact("traffic", f"Service {name}: {what}{for_now}."))
    if around.deleting or around.after is None or around.sub:
        return lines
    before, after = pod_labels(around.live, around.kind), pod_labels(around.after, around.kind)
    for service in around.services:
        old_one, new_one = (selects(at(service, "spec", "selector"), labels) for labels in (before, after))
        if old_one and not new_one:
            lines.append(Impact("traffic", f"Service {name_of(service)} no longer selects its pods."))
        elif new_one and not old_one:
            lines.append(Impact("traffic", f"Service {name_of(service)} begins to send traffic to its pods."))
    return lines


def readers(kind: str, name: str, workloads: Iterable[Obj]) -> tuple[list[str], list[str]]:
    """Return which workloads read a ConfigMap or Secret: as environment (seen at start only), and as files."""
    env, files = [], []
    for workload in workloads:
        own = str(workload.get("kind") or "Pod")
        spec = (
            at(workload, "spec", default={}) if own == "Pod" else at(workload, "spec", "template", "spec", default={})
        )
        if own == "CronJob":
            spec = at(workload, "spec", "jobTemplate", "spec", "template", "spec", default={})
        label = f"{own} {name_of(workload)}"
        if _reads_as_env(kind, name, spec):
            env.append(label)
        if _reads_as_files(kind, name, spec):
            files.append(label)
    return env, files


def _reads_as_env(kind: str, name: str, spec: Obj) -> bool:
    from_ref, key_ref = ("configMapRef", "configMapKeyRef") if kind == "ConfigMap" else ("secretRef", "secretKeyRef")
    for container in [*at(spec, "containers", default=[]), *at(spec, "initContainers", default=[])]:
        if any(at(item, from_ref, "name") == name for item in container.get("envFrom") or []):
            return True
        if any(at(item, "valueFrom", key_ref, "name") == name for item in container.get("env") or []):
            return True
    return False


def _reads_as_files(kind: str, name: str, spec: Obj) -> bool:
    field_name, key = ("configMap", "name") if kind == "ConfigMap" else ("secret", "secretName")
    for volume in at(spec, "volumes", default=[]):
        if at(volume, field_name, key) == name:
            return True
        sources = at(volume, "projected", "sources", default=[])
        if any(at(source, field_name, "name") == name for source in sources):
            return True
    return False


def _readers(around: Surroundings) -> list[Impact]:
    thing = around.thing
    if around.kind not in ("ConfigMap", "Secret") or thing is None:
        return []
    env, files = readers(around.kind, name_of(thing), around.workloads)
    lines = []
    if env:
        lines.append(
            Impact("watchers", f"{listed(env)} read it as environment: running pods see nothing of it until restarted.")
        )
    if files:
        lines.append(Impact("watchers", f"{listed(files)} mount it: files follow within about a minute."))
    if not env and not files and not around.unread:
        lines.append(Impact("watchers", "No workload of the namespace refers to it."))
    return lines


def _watchers(around: Surroundings) -> list[Impact]:
    lines = []
    for scaler in scalers_of(around):
        low, high = at(scaler, "spec", "minReplicas", default=1), at(scaler, "spec", "maxReplicas")
        lines.append(Impact("watchers", f"HorizontalPodAutoscaler {name_of(scaler)} sets replicas ({low} to {high})."))
    for budget in budgets_of(around):
        left = at(budget, "status", "disruptionsAllowed", default="unknown")
        lines.append(Impact("watchers", f"PodDisruptionBudget {name_of(budget)} allows {left} disruptions now."))
    return lines


def scalers_of(around: Surroundings) -> list[Obj]:
    """Return the autoscalers that set the replicas of this object."""
    name = name_of(around.thing or {})
    refs = [(scaler, at(scaler, "spec", "scaleTargetRef", default={})) for scaler in around.scalers]
    return [scaler for scaler, ref in refs if ref.get("kind") == around.kind and ref.get("name") == name]


def budgets_of(around: Surroundings) -> list[Obj]:
    """Return the disruption budgets that cover the pods of this object."""
    labels = pod_labels(around.thing, around.kind)
    return [budget for budget in around.budgets if labels and matches(at(budget, "spec", "selector"), labels)]


def autoscaler_check(around: Surroundings) -> Check | None:
    """Return whether an autoscaler will fight a change of replicas; None where that cannot be."""
    change, scalers = scaled(around), scalers_of(around)
    if change is None or not scalers:
        return None
    low, high = at(scalers[0], "spec", "minReplicas", default=1), at(scalers[0], "spec", "maxReplicas", default=0)
    name = f"HorizontalPodAutoscaler {name_of(scalers[0])}"
    if change[1] == 0:
        return Check("autoscaler", CheckResult.WARN, f"At 0 replicas {name} stops scaling until somebody raises them.")
    text = f"{name} keeps {low} to {high} replicas and sets them again; change its minReplicas or maxReplicas instead."
    return Check("autoscaler", CheckResult.WARN, text)


def budget_check(around: Surroundings) -> Check | None:
    """Return whether a disruption budget blocks the change or is broken by it; None where none is concerned."""
    budgets = budgets_of(around)
    if not budgets:
        return None
    change, rolling = scaled(around), template_changes(around)
    down = 1 if around.deleting and around.kind == "Pod" else len(around.pods) if around.deleting else 0
    if change is not None and change[1] < change[0]:
        down = change[0] - change[1]
    elif rolling and at(around.after, "spec", "updateStrategy", "type") != "OnDelete":
        down = at_once(around)[1]
    if not down:
        return None
    broken = []
    for budget in budgets:
        allowed = at(budget, "status", "disruptionsAllowed")
        if not isinstance(allowed, int):
            return Check("budget", CheckResult.UNKNOWN, f"PodDisruptionBudget {name_of(budget)} has no status yet.")
        if down > allowed:
            broken.append(f"{name_of(budget)} allows {allowed}")
    if not broken:
        return Check("budget", CheckResult.PASS, f"{counted(down, 'pod')} down at once is within {listed(budgets)}.")
    asks = "the eviction would be refused" if around.sub == "eviction" else "it is not asked, so it would be broken"
    text = f"{counted(down, 'pod')} down at once, PodDisruptionBudget {listed(broken)}: {asks}."
    return Check("budget", CheckResult.WARN, text)
