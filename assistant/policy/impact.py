"""What follows from a change: pods replaced, traffic, storage, watchers. Pure, over what the gate could read around it.

What could not be read is named by the caller as an unknown check; here an absent list only yields no line.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from assistant.domain.proposal import Check, CheckResult, Impact

Obj = dict[str, Any]
_TEMPLATED: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_NAMES: Final = 6


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The object before and after (dry run), and the lists around it that could be read."""

    method: str
    sub: str
    kind: str
    live: Obj | None
    after: Obj | None
    pods: tuple[Obj, ...] = ()
    workloads: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()
    scalers: tuple[Obj, ...] = ()
    budgets: tuple[Obj, ...] = ()
    dependents: tuple[Obj, ...] = ()
    claims: tuple[Obj, ...] = ()
    volumes: tuple[Obj, ...] = ()
    unread: tuple[str, ...] = field(default_factory=tuple)

    @property
    def deleting(self) -> bool:
        """Say whether the object goes away (delete or eviction)."""
        return self.method == "DELETE" or self.sub == "eviction"


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


def impact_of(around: Surroundings) -> tuple[Impact, ...]:
    """Return the lines of the blast radius."""
    lines: list[Impact] = []
    lines += _rollout(around)
    lines += _scale(around)
    lines += _deleted(around)
    lines += _traffic(around)
    lines += _readers(around)
    lines += _storage(around)
    lines += _watchers(around)
    return tuple(lines)


def template_changes(around: Surroundings) -> bool:
    """Say whether the pod template changes, so that pods are replaced."""
    if around.kind not in _TEMPLATED or around.sub or around.live is None or around.after is None:
        return False
    return bool(at(around.live, "spec", "template") != at(around.after, "spec", "template"))


def replicas(value: Obj | None, default: int = 1) -> int:
    """Return spec.replicas; the API's default is 1."""
    count = at(value, "spec", "replicas", default=default)
    return count if isinstance(count, int) else default


def _share(value: Any, total: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        exact = total * int(value[:-1] or 0) / 100
        return math.ceil(exact) if up else math.floor(exact)
    return value if isinstance(value, int) else 0


def _rollout(around: Surroundings) -> list[Impact]:
    if not template_changes(around):
        return []
    after = around.after or {}
    if around.kind == "DaemonSet":
        total = int(at(around.live, "status", "desiredNumberScheduled", default=len(around.pods)))
        value = at(after, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable", default=1)
        if at(after, "spec", "updateStrategy", "type") == "OnDelete":
            return [Impact("direct", "Pods change only when somebody deletes them (OnDelete).")]
        down = max(1, _share(value, total, up=True))
        return [Impact("direct", f"{total} pods are replaced, at most {down} down at once.")]
    total = replicas(after)
    if around.kind == "StatefulSet":
        if at(after, "spec", "updateStrategy", "type") == "OnDelete":
            return [Impact("direct", "Pods change only when somebody deletes them (OnDelete).")]
        return [Impact("direct", f"{total} pods are replaced one after the other, the highest number first.")]
    if at(after, "spec", "paused") is True:
        return [Impact("direct", "The Deployment is paused: pods are replaced only when it is resumed.")]
    if at(after, "spec", "strategy", "type") == "Recreate":
        return [Impact("direct", f"All {total} pods stop before new ones start (Recreate).")]
    rolling = at(after, "spec", "strategy", "rollingUpdate", default={})
    surge = _share(rolling.get("maxSurge", "25%"), total, up=True)
    down = _share(rolling.get("maxUnavailable", "25%"), total, up=False)
    # Both rounding to zero would never progress: the controller then takes one down (ResolveFenceposts).
    down = 1 if not down and not surge else down
    return [Impact("direct", f"{total} pods are replaced, at most {down} down and {surge} extra at once.")]


def _scale(around: Surroundings) -> list[Impact]:
    if around.live is None or around.after is None or around.deleting:
        return []
    if "replicas" not in at(around.live, "spec", default={}) and around.sub != "scale":
        return []
    before, after = replicas(around.live), replicas(around.after)
    if before == after:
        return []
    count = abs(after - before)
    pods = "pod" if count == 1 else "pods"
    return [
        Impact(
            "direct", f"Replicas go from {before} to {after}: {count} {pods} {'more' if after > before else 'less'}."
        )
    ]


def _listed(items: Iterable[Obj]) -> str:
    names = [name_of(item) for item in items]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _deleted(around: Surroundings) -> list[Impact]:
    if not around.deleting or around.live is None:
        return []
    lines = []
    owner = next((o for o in at(around.live, "metadata", "ownerReferences", default=[]) if o.get("controller")), None)
    if around.kind == "Pod":
        if owner:
            lines.append(Impact("direct", f"The pod stops; {owner.get('kind')} {owner.get('name')} starts another."))
        else:
            lines.append(Impact("direct", "The pod stops and nothing starts it again: it has no controller."))
    elif around.kind == "Namespace":
        lines.append(Impact("direct", "Everything in the namespace is deleted with it.", at_least=True))
    else:
        lines.append(Impact("direct", f"{around.kind} {name_of(around.live)} is deleted."))
    if around.dependents:
        kinds = sorted({str(item.get("kind") or "object") for item in around.dependents})
        lines.append(
            Impact("follows", f"{len(around.dependents)} {'/'.join(kinds)} go with it: {_listed(around.dependents)}.",
                   at_least=True)
        )  # fmt: skip
    if around.kind == "StatefulSet" and around.claims:
        lines.append(Impact("storage", f"{len(around.claims)} claims stay behind: {_listed(around.claims)}."))
    return lines


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


def _pod_labels(value: Obj | None, kind: str) -> Obj:
    path = ("metadata", "labels") if kind == "Pod" else ("spec", "template", "metadata", "labels")
    found = at(value, *path, default={})
    return found if isinstance(found, dict) else {}


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
    before, after = _pod_labels(around.live, around.kind), _pod_labels(around.after, around.kind)
    gone = around.deleting or (around.kind != "Pod" and around.after is not None and replicas(around.after) == 0)
    mine = {name_of(p) for p in around.pods}
    for service in around.services:
        selector = at(service, "spec", "selector")
        if not selects(selector, before):
            if around.after is not None and not gone and selects(selector, after):
                lines.append(Impact("traffic", f"Service {name_of(service)} begins to send traffic to its pods."))
            continue
        if gone and around.kind != "Pod":
            lines.append(Impact("traffic", f"Service {name_of(service)} loses the {len(mine)} pods of this workload."))
        elif gone:
            lines.append(Impact("traffic", f"Service {name_of(service)} loses this pod."))
        elif not selects(selector, after):
            lines.append(Impact("traffic", f"Service {name_of(service)} no longer selects its pods."))
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
    thing = around.live or around.after
    if around.kind not in ("ConfigMap", "Secret") or thing is None:
        return []
    env, files = readers(around.kind, name_of(thing), around.workloads)
    lines = []
    if env:
        lines.append(
            Impact(
                "watchers", f"{', '.join(env)} read it as environment: running pods see nothing of it until restarted."
            )
        )
    if files:
        lines.append(Impact("watchers", f"{', '.join(files)} mount it: files follow within about a minute."))
    if not env and not files and not around.unread:
        lines.append(Impact("watchers", "No workload of the namespace refers to it."))
    return lines


def _storage(around: Surroundings) -> list[Impact]:
    if not around.deleting:
        return []
    lines = []
    for volume in around.volumes:
        policy = at(volume, "spec", "persistentVolumeReclaimPolicy", default="unknown")
        what = "the data is deleted" if policy == "Delete" else "the data stays"
        lines.append(Impact("storage", f"Volume {name_of(volume)} has reclaim policy {policy}: {what}."))
    return lines


def _watchers(around: Surroundings) -> list[Impact]:
    thing = around.live or {}
    lines = []
    for scaler in around.scalers:
        ref = at(scaler, "spec", "scaleTargetRef", default={})
        if ref.get("kind") == around.kind and ref.get("name") == name_of(thing):
            low, high = at(scaler, "spec", "minReplicas", default=1), at(scaler, "spec", "maxReplicas")
            lines.append(
                Impact("watchers", f"HorizontalPodAutoscaler {name_of(scaler)} sets replicas ({low} to {high}).")
            )
    for budget in around.budgets:
        if matches(at(budget, "spec", "selector"), _pod_labels(around.live, around.kind)):
            left = at(budget, "status", "disruptionsAllowed", default="unknown")
            lines.append(Impact("watchers", f"PodDisruptionBudget {name_of(budget)} allows {left} disruptions now."))
    return lines


def owner_check(thing: Obj | None) -> Check:
    """Return who else keeps this object and may revert a change by hand (labels as the tools document them)."""
    labels = at(thing, "metadata", "labels", default={})
    notes = at(thing, "metadata", "annotations", default={})
    if "argocd.argoproj.io/tracking-id" in notes or "argocd.argoproj.io/instance" in labels:
        app = (
            labels.get("argocd.argoproj.io/instance") or str(notes.get("argocd.argoproj.io/tracking-id")).split(":")[0]
        )
        return Check("owner", CheckResult.WARN, f"Argo CD application {app} manages it and may revert this.")
    for tool in ("kustomize", "helm"):
        name = labels.get(f"{tool}.toolkit.fluxcd.io/name")
        if name:
            return Check("owner", CheckResult.WARN, f"Flux ({tool} {name}) manages it and may revert this.")
    if labels.get("app.kubernetes.io/managed-by") == "Helm" or "meta.helm.sh/release-name" in notes:
        release = notes.get("meta.helm.sh/release-name", "unknown")
        return Check("owner", CheckResult.WARN, f"Helm release {release} holds it: the next upgrade may revert this.")
    for owner in at(thing, "metadata", "ownerReferences", default=[]):
        if owner.get("controller"):
            text = f"{owner.get('kind')} {owner.get('name')} controls it and may revert this."
            return Check("owner", CheckResult.WARN, text)
    return Check("owner", CheckResult.PASS, "No GitOps tool, Helm release or controller is marked as its owner.")
