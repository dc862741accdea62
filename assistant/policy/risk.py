"""How dangerous a change is, by rules that name themselves. A model has no part in it."""

from __future__ import annotations

from typing import Any, Final

from assistant.domain.action import RequestClass, RiskLevel
from assistant.domain.proposal import Check, CheckResult, Risk, Undo
from assistant.policy.impact import lost_services
from assistant.policy.loss import list_losses, template_losses
from assistant.policy.surroundings import Surroundings, at, scaled, template_changes

_ORDER: Final = (RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL)
# What a warning of a check is worth.
_WARNINGS: Final = {
    "owner": (RiskLevel.MEDIUM, "something else manages the object and may revert it"),
    "fields": (RiskLevel.MEDIUM, "something else writes the same fields"),
    "autoscaler": (RiskLevel.MEDIUM, "an autoscaler sets the same number"),
    "quota": (RiskLevel.MEDIUM, "new pods would be refused"),
    "budget": (RiskLevel.HIGH, "goes below a disruption budget"),
    "webhooks": (RiskLevel.HIGH, "an admission webhook that must answer has no backend"),
    "fresh": (RiskLevel.MEDIUM, "the object is being deleted already"),
}
_STATEFUL: Final = frozenset({"StatefulSet", "PersistentVolumeClaim", "PersistentVolume", "Namespace"})


def raised(level: RiskLevel) -> RiskLevel:
    """Return the next higher level."""
    return _ORDER[min(_ORDER.index(level) + 1, len(_ORDER) - 1)]


def risk_of(
    request_class: RequestClass,
    rule: str,
    around: Surroundings,
    checks: tuple[Check, ...],
    undo: Undo,
    *,
    production: bool,
) -> Risk:
    """Return the level and every rule that fired.

    What could not be checked raises the level by one, up to the one that asks for the name to be typed. A production
    cluster raises it by one, but not to that: there every change would be critical, and none would stand out.
    """
    fired: list[tuple[RiskLevel, str]] = [(RiskLevel.LOW, "an ordinary write to one object")]
    if request_class is RequestClass.CRITICAL:
        fired.append((RiskLevel.CRITICAL, f"critical by its request ({rule})"))
    fired += _object_rules(around)
    if around.deleting and undo.action is None and around.kind != "Pod":
        fired.append((RiskLevel.HIGH, "cannot be undone"))
    for check in checks:
        if check.result is CheckResult.WARN and check.name in _WARNINGS:
            fired.append(_WARNINGS[check.name])
    level = max((item[0] for item in fired), key=_ORDER.index)
    reasons = [text for _, text in fired[1:]] or [fired[0][1]]
    unknown = [check.name for check in checks if check.result is CheckResult.UNKNOWN]
    if unknown:
        level = raised(level)
        reasons.append("could not be checked: " + ", ".join(unknown))
    if production:
        level = raised(level) if level is not RiskLevel.HIGH else level
        reasons.append("the cluster is marked as production")
    return Risk(level, tuple(reasons))


def _object_rules(around: Surroundings) -> list[tuple[RiskLevel, str]]:
    fired: list[tuple[RiskLevel, str]] = []
    if around.deleting:
        if around.kind in _STATEFUL:
            fired.append((RiskLevel.CRITICAL, f"deletes a {around.kind}, which holds data or everything below it"))
        elif around.kind == "Pod":
            owned = bool(at(around.live, "metadata", "ownerReferences"))
            fired.append((RiskLevel.LOW if owned else RiskLevel.HIGH, "stops a pod"))
        else:
            fired.append((RiskLevel.HIGH, "deletes an object"))
        return fired + _traffic_rules(around)
    if template_changes(around):
        recreate = at(around.after, "spec", "strategy", "type") == "Recreate"
        fired.append((RiskLevel.HIGH if recreate else RiskLevel.MEDIUM, "replaces the pods of a workload"))
    if around.live is not None and around.after is not None:
        fired += _loss_rules(around)
        change = scaled(around)
        if change is not None and change[1] == 0:
            fired.append((RiskLevel.HIGH, "scales to zero"))
        if _lost_finalizers(around.live, around.after):
            fired.append((RiskLevel.CRITICAL, "removes a finalizer, so clean-up may be skipped"))
        if around.kind == "Service" and at(around.live, "spec", "selector") != at(around.after, "spec", "selector"):
            fired.append((RiskLevel.MEDIUM, "changes where traffic goes"))
        if around.kind == "ConfigMap" and around.live.get("data") != around.after.get("data"):
            fired.append((RiskLevel.MEDIUM, "changes configuration that workloads read"))
    if around.kind == "Secret":
        fired.append((RiskLevel.HIGH, "writes a Secret, whose old value is not kept"))
    if around.kind == "NetworkPolicy":
        fired.append((RiskLevel.HIGH, "changes which connections are allowed"))
    return fired + _traffic_rules(around)


def _loss_rules(around: Surroundings) -> list[tuple[RiskLevel, str]]:
    # The request may name none of it: a merge patch replaces lists, and a stale manifest the whole object.
    if around.sub not in ("", "ephemeralcontainers", "resize"):
        return []
    fields = template_losses(around.kind, around.live, around.after)
    entries = list_losses(around.kind, around.live, around.after)
    fired = [(RiskLevel.HIGH, f"removes fields of the pod template: {fields}")] if fields else []
    return fired + ([(RiskLevel.HIGH, f"removes entries or fields of a list: {entries}")] if entries else [])


def _traffic_rules(around: Surroundings) -> list[tuple[RiskLevel, str]]:
    emptied = [name for name, now, then in lost_services(around) if now and not then]
    return [(RiskLevel.HIGH, f"leaves Service {name} without a ready pod") for name in emptied[:3]]


def _lost_finalizers(before: dict[str, Any], after: dict[str, Any]) -> bool:
    kept = set(at(after, "metadata", "finalizers", default=[]))
    return bool(set(at(before, "metadata", "finalizers", default=[])) - kept)
