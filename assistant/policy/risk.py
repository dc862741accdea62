"""How dangerous a change is, by rules that name themselves. A model has no part in it."""

from __future__ import annotations

from typing import Any, Final

from assistant.domain.action import RequestClass, RiskLevel
from assistant.domain.proposal import Check, CheckResult, Risk, Undo
from assistant.policy.impact import Surroundings, at, replicas, template_changes

_ORDER: Final = (RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.CRITICAL)
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
    """Return the level and every rule that fired; an unknown check or a production cluster raises it by one."""
    fired: list[tuple[RiskLevel, str]] = [(RiskLevel.LOW, "an ordinary write to one object")]
    if request_class is RequestClass.CRITICAL:
        fired.append((RiskLevel.CRITICAL, f"critical by its request ({rule})"))
    fired += _object_rules(around)
    if around.deleting and undo.action is None and around.kind != "Pod":
        fired.append((RiskLevel.HIGH, "cannot be undone"))
    for check in checks:
        if check.name == "owner" and check.result is CheckResult.WARN:
            fired.append((RiskLevel.MEDIUM, "something else manages the object and may revert it"))
    level = max((item[0] for item in fired), key=_ORDER.index)
    reasons = [text for _, text in fired[1:]] or [fired[0][1]]
    unknown = [check.name for check in checks if check.result is CheckResult.UNKNOWN]
    if unknown:
        level = raised(level) if level is not RiskLevel.HIGH else level
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
        return fired
    if template_changes(around):
        recreate = at(around.after, "spec", "strategy", "type") == "Recreate"
        fired.append((RiskLevel.HIGH if recreate else RiskLevel.MEDIUM, "replaces the pods of a workload"))
    if around.live is not None and around.after is not None:
        if (
            replicas(around.live) > 0
            and replicas(around.after) == 0
            and "replicas" in at(around.after, "spec", default={})
        ):
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
    return fired


def _lost_finalizers(before: dict[str, Any], after: dict[str, Any]) -> bool:
    kept = set(at(after, "metadata", "finalizers", default=[]))
    return bool(set(at(before, "metadata", "finalizers", default=[])) - kept)
