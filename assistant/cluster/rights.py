"""What our identity may do in a namespace, by its SelfSubjectRulesReview: only what is certain is said.

The review adds up the rules of all bindings (authorization.k8s.io/v1, `status.resourceRules`); `incomplete` says that
an authorizer did not tell its rules, as webhooks do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.domain.raw import rows


class Rights:
    """The rules that hold in one namespace."""

    def __init__(self, namespace: str, status: Mapping[str, Any]) -> None:
        """Keep the `status` of the review for a namespace."""
        self._namespace = namespace
        self._rules = rows(status.get("resourceRules"))
        self._whole = status.get("incomplete") is False

    def may(self, verb: str, group: str, resource: str, namespace: str) -> bool | None:
        """Say whether we may, None where that is not known; `resource` is like "pods/log", `namespace` "" for all.

        A rule of the namespace need not hold in all of them, and one for named objects need not hold for the one that
        is meant; but what no rule allows here is allowed nowhere wider.
        """
        if namespace not in ("", self._namespace):
            return None
        fits = [rule for rule in self._rules if _fits(rule, verb, group, resource)]
        if not fits:
            return False if self._whole else None
        if namespace == "" or all(rule.get("resourceNames") for rule in fits):
            return None
        return True


def _fits(rule: Mapping[str, Any], verb: str, group: str, resource: str) -> bool:
    def has(key: str, *wanted: str) -> bool:
        values = rule.get(key)
        return isinstance(values, list) and any(each in values for each in ("*", *wanted))

    sub = resource.partition("/")[2]
    return has("verbs", verb) and has("apiGroups", group) and has("resources", resource, *([f"*/{sub}"] if sub else []))
