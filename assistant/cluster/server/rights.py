"""Who may do what: the rights that the bundle recorded for whoever captured it, and RBAC for everybody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class User:
    """An identity. `recorded` is the one that captured the bundle, whose name the bundle does not hold."""

    name: str
    groups: tuple[str, ...]
    recorded: bool = False


RECORDED = User("recorded", ("system:authenticated",), recorded=True)
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What somebody wants to do, in the terms of a SelfSubjectAccessReview."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def impersonated(name: str, groups: list[str]) -> User:
    """Return the identity of an Impersonate-User header with the groups that the API server adds itself."""
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        extra = ("system:serviceaccounts", f"system:serviceaccounts:{parts[2]}", "system:authenticated")
        return User(name, (*groups, *extra))
    if name == ANONYMOUS.name:
        return ANONYMOUS
    return User(name, tuple(dict.fromkeys((*groups, "system:authenticated"))))


def allowed(cluster: Cluster, user: User, attempt: Attempt) -> tuple[bool, str]:
    """Say whether `user` may do that, and why where there is something to say."""
    if not user.recorded:
        if "system:masters" in user.groups:
            return True, ""
        return any(_fits(rule, attempt) for rule in _rbac_rules(cluster, user, attempt.namespace)), ""
    rights = cluster.bundle.rights
    if not rights:
        return True, "the bundle does not record what its identity may do"
    known = rights.get(attempt.namespace)
    if known is not None:
        return any(_fits(rule, attempt) for rule in rules_of(known)), ""
    # Cluster-wide, or a namespace that was not asked about: only what holds in every recorded namespace holds here.
    return all(any(_fits(rule, attempt) for rule in rules_of(status)) for status in rights.values()), ""


def rules_review(cluster: Cluster, user: User, namespace: str) -> Object:
    """Return the `status` of a SelfSubjectRulesReview."""
    if user.recorded:
        recorded = cluster.bundle.rights.get(namespace)
        if recorded is None and not cluster.bundle.rights:
            everything = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            return {"resourceRules": everything, "nonResourceRules": [], "incomplete": True}
        return dict(recorded or {"resourceRules": [], "nonResourceRules": [], "incomplete": True})
    rules = list(_rbac_rules(cluster, user, namespace))
    return {
        "resourceRules": [rule for rule in rules if rule.get("resources")],
        "nonResourceRules": [
            {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
            for rule in rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": False,
    }


def rules_of(status: Mapping[str, Any]) -> Iterator[Object]:
    """Yield the rules of a recorded SelfSubjectRulesReview."""
    yield from status.get("resourceRules") or []
    yield from status.get("nonResourceRules") or []


def _fits(rule: Object, attempt: Attempt) -> bool:
    def has(values: Any, wanted: str) -> bool:
        return isinstance(values, list) and ("*" in values or wanted in values)

    if not has(rule.get("verbs"), attempt.verb):
        return False
    if attempt.path:
        urls = rule.get("nonResourceURLs") or []
        return any(
            url in ("*", attempt.path) or (url.endswith("*") and attempt.path.startswith(url[:-1])) for url in urls
        )
    resource = f"{attempt.resource}/{attempt.subresource}" if attempt.subresource else attempt.resource
    named = rule.get("resourceNames") or []
    return (
        has(rule.get("apiGroups"), attempt.group)
        and (has(rule.get("resources"), resource) or f"*/{attempt.subresource}" in (rule.get("resources") or []))
        and (not named or attempt.name in named)
    )


def _rbac_rules(cluster: Cluster, user: User, namespace: str) -> Iterator[Object]:
    """Yield the rules that the recorded bindings give `user` in a namespace ("" for cluster-wide)."""
    for binding in cluster.objects.items((RBAC, "clusterrolebindings")):
        if _binds(binding, user):
            yield from _role(cluster, binding, "")
    if namespace:
        for binding in cluster.objects.items((RBAC, "rolebindings"), namespace):
            if _binds(binding, user):
                yield from _role(cluster, binding, namespace)


def _role(cluster: Cluster, binding: Object, namespace: str) -> list[Object]:
    reference = binding.get("roleRef") or {}
    clusterwide = reference.get("kind") == "ClusterRole"
    store = (RBAC, "clusterroles" if clusterwide else "roles")
    role = cluster.objects.get(store, "" if clusterwide else namespace, str(reference.get("name")))
    return list((role or {}).get("rules") or [])


def _binds(binding: Object, user: User) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.groups:
            return True
        if kind == "ServiceAccount":
            home = subject.get("namespace") or binding["metadata"].get("namespace")
            if user.name == f"system:serviceaccount:{home}:{name}":
                return True
    return False


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """Say whether a LabelSelector of an object's spec matches; an empty one matches all, a missing one nothing."""
    if not isinstance(selector, dict):
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or []:
        value, values = labels.get(term.get("key")), term.get("values") or []
        match term.get("operator"):
            case "In":
                fits = value in values
            case "NotIn":
                fits = value not in values
            case "Exists":
                fits = value is not None
            case "DoesNotExist":
                fits = value is None
            case _:
                fits = False
        if not fits:
            return False
    return True
