"""Which admission webhooks a request meets, and whether they can answer. Pure.

Rules as in the API server (k8s.io/apiserver, admission/plugin/webhook): a rule that cannot be judged here may match.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from assistant.domain.proposal import Check, CheckResult
from assistant.policy.surroundings import Obj, at, listed, matches, name_of

# Requests for these are never sent to webhooks, so that a broken one can be removed.
_EXEMPT: Final = frozenset({"validatingwebhookconfigurations", "mutatingwebhookconfigurations"})
_OPERATIONS: Final = {"POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


@dataclass(frozen=True, slots=True)
class Arriving:
    """A request as admission sees it. `labels` are those of the object before and after, where known.

    `namespace_labels` is None where they could not be read; `namespaced` is false for objects of the whole cluster.
    """

    operation: str
    group: str
    version: str
    resource: str
    sub: str
    namespaced: bool
    labels: tuple[Obj, ...]
    namespace_labels: Obj | None


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook that a request meets. `sure` is false where only the server can tell (CEL, unread labels)."""

    name: str
    fails_closed: bool
    service: tuple[str, str] | None
    sure: bool


def operation_of(method: str, sub: str, *, exists: bool) -> str:
    """Return the admission operation of a request; an apply that makes the object is a CREATE."""
    if sub == "eviction":
        return "CREATE"
    if method == "PATCH" and not exists and not sub:
        return "CREATE"
    return _OPERATIONS.get(method, "CONNECT")


def meeting(configurations: Iterable[Obj], arriving: Arriving) -> tuple[Hook, ...]:
    """Return the webhooks of these configurations that the request meets."""
    if arriving.group == "admissionregistration.k8s.io" and arriving.resource in _EXEMPT:
        return ()
    found = []
    for configuration in configurations:
        for hook in at(configuration, "webhooks", default=[]):
            if not isinstance(hook, dict) or not any(_rule(r, arriving, hook) for r in hook.get("rules") or []):
                continue
            sure = _selected(hook, arriving)
            if sure is None:
                continue
            service = at(hook, "clientConfig", "service")
            place = (str(service.get("namespace")), str(service.get("name"))) if isinstance(service, dict) else None
            closed = hook.get("failurePolicy", "Fail") == "Fail"
            name = str(hook.get("name") or name_of(configuration))
            found.append(Hook(name, closed, place, sure and not hook.get("matchConditions")))
    return tuple(found)


def _rule(rule: Any, arriving: Arriving, hook: Obj) -> bool:
    if not isinstance(rule, dict):
        return False
    # matchPolicy Equivalent, the default, also matches the other versions of the same resource.
    exact = hook.get("matchPolicy") == "Exact"
    versions = rule.get("apiVersions") or []
    if not ({"*", arriving.operation} & set(rule.get("operations") or [])):
        return False
    if not ({"*", arriving.group} & set(rule.get("apiGroups") or [])):
        return False
    if exact and not ({"*", arriving.version} & set(versions)):
        return False
    if rule.get("scope", "*") not in ("*", "Namespaced" if arriving.namespaced else "Cluster"):
        return False
    return any(_resource(str(pattern), arriving) for pattern in rule.get("resources") or [])


def _resource(pattern: str, arriving: Arriving) -> bool:
    resource, _, sub = pattern.partition("/")
    if pattern == "*":
        return not arriving.sub
    return resource in ("*", arriving.resource) and (sub == arriving.sub or sub == "*")


def _selected(hook: Obj, arriving: Arriving) -> bool | None:
    """Return whether the selectors pick the request: True, False for perhaps, None for no."""
    sure = True
    spaces = hook.get("namespaceSelector")
    if spaces and (arriving.namespaced or arriving.resource == "namespaces"):
        if arriving.namespace_labels is None:
            sure = False
        elif not matches(spaces, arriving.namespace_labels):
            return None
    objects = hook.get("objectSelector")
    if objects:
        if not arriving.labels:
            sure = False
        elif not any(matches(objects, labels) for labels in arriving.labels):
            return None
    return sure


def webhooks_check(
    now: tuple[Hook, ...], pods: tuple[Hook, ...], backends: dict[tuple[str, str], int | None], unread: bool
) -> Check:
    """Return what admission will do with the request and with the pods that it leads to.

    `backends` are the ready endpoints of the webhooks' Services, None where they could not be read.
    """
    dead = [hook for hook in now if _is_dead(hook, backends)]
    if dead:
        return Check("webhooks", CheckResult.WARN, f"{_named(dead)}: the API server would refuse this.")
    dead = [hook for hook in pods if _is_dead(hook, backends)]
    if dead:
        return Check("webhooks", CheckResult.WARN, f"{_named(dead)}: new pods would not be created.")
    if unread:
        text = "The webhook configurations could not be read: whether one changes or refuses this is not known."
        return Check("webhooks", CheckResult.UNKNOWN, text)
    both = (*now, *pods)
    silent = [h for h in both if h.fails_closed and h.service and h.service in backends and backends[h.service] is None]
    if silent:
        who = listed(dict.fromkeys(hook.name for hook in silent))
        return Check("webhooks", CheckResult.UNKNOWN, f"Whether {who} can answer could not be read; it must.")
    parts = []
    for hooks, what in ((now, "this"), (tuple(hook for hook in pods if hook not in now), "the new pods")):
        if hooks:
            names = [hook.name if hook.sure else f"{hook.name} (perhaps)" for hook in hooks]
            parts.append(f"{what}: {listed(dict.fromkeys(names))}")
    text = f"Webhooks see {'; '.join(parts)}." if parts else "No admission webhook matches."
    return Check("webhooks", CheckResult.PASS, text)


def _is_dead(hook: Hook, backends: dict[tuple[str, str], int | None]) -> bool:
    return hook.fails_closed and hook.service is not None and backends.get(hook.service, -1) == 0


def _named(hooks: list[Hook]) -> str:
    one = hooks[0]
    place = "/".join(one.service or ("", ""))
    perhaps = "" if one.sure else "perhaps "
    more = f" (and {len(hooks) - 1} more)" if len(hooks) > 1 else ""
    return (
        f"Webhook {one.name}{more} must {perhaps}answer (failurePolicy Fail), and Service {place} has no ready endpoint"
    )
