"""What a tool says it needs of the Kubernetes API, against what the identity may do: told before a call, not after it.

kubernetes-mcp-server (0.0.67) puts it into `_meta` as "io.kubernetes-mcp-server/rbac", version v1alpha1: `none`,
`unbounded` with a reason, or `bounded` with requirements. A requirement has verbs, a target (a resource, a kind that
arguments name, or a manifest) and a namespace (an argument, all, or none for what is in no namespace). It is a claim:
it can keep a call from being made, and never allows one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.policy.sanitize import safe

KEY: Final = "io.kubernetes-mcp-server/rbac"
VERSION: Final = "v1alpha1"
MOST_NEEDS: Final = 32
LONGEST_WORD: Final = 100
May = Callable[[str, str, str, str], "bool | None"]
"""Says whether the identity may: verb, group, resource ("pods/log" with a subresource), namespace ("" is all of them,
or that of what is in none). None: not known. It is asked for every tool, so it has to answer from what it holds."""

_CONNECTING: Final = frozenset({"attach", "exec", "portforward", "proxy"})
"""Opened by `get` or by `create`, whichever the client speaks: one of the two is enough."""
_NAMESPACED: Final[Mapping[str, Mapping[str, str]]] = {
    "": {
        "ConfigMap": "configmaps", "Endpoints": "endpoints", "Event": "events", "LimitRange": "limitranges",
        "PersistentVolumeClaim": "persistentvolumeclaims", "Pod": "pods", "ReplicationController":
        "replicationcontrollers", "ResourceQuota": "resourcequotas", "Secret": "secrets", "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps": {
        "DaemonSet": "daemonsets", "Deployment": "deployments", "ReplicaSet": "replicasets",
        "StatefulSet": "statefulsets",
    },
    "autoscaling": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch": {"CronJob": "cronjobs", "Job": "jobs"},
    "networking.k8s.io": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "policy": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io": {"Role": "roles", "RoleBinding": "rolebindings"},
}  # fmt: skip
_IN_NO_NAMESPACE: Final[Mapping[str, Mapping[str, str]]] = {
    "": {"Namespace": "namespaces", "Node": "nodes", "PersistentVolume": "persistentvolumes"},
    "rbac.authorization.k8s.io": {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"},
    "storage.k8s.io": {"StorageClass": "storageclasses"},
}
"""Kinds whose resource is certain. Of others it is not guessed: a wrong name would keep a call back for nothing."""


@dataclass(frozen=True, slots=True)
class Need:
    """One requirement. `resource` is "" where arguments name it: those called `kind_from` and `version_from`."""

    verbs: tuple[str, ...]
    group: str = ""
    resource: str = ""
    subresource: str = ""
    version_from: str = ""
    kind_from: str = ""
    namespace_from: str = ""
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What the identity lacks for a tool, in words; `barred` says that the tool cannot do its work without it."""

    lacking: tuple[str, ...] = ()
    barred: bool = False

    @property
    def sentence(self) -> str:
        """Return it as a sentence, "" for nothing."""
        return f"It may not {', '.join(self.lacking)}." if self.lacking else ""


NOTHING: Final = Access()


def needs_of(meta: str) -> tuple[Need, ...]:
    """Return what a tool's `_meta` says that it needs; nothing where it says nothing that can be checked."""
    try:
        said = json.loads(meta) if meta else {}
    except (ValueError, RecursionError):
        return ()
    said = said.get(KEY) if isinstance(said, dict) else None
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return ()
    bounded = said.get("bounded")
    listed = bounded.get("requirements") if isinstance(bounded, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_NEEDS:
        return ()
    return tuple(need for each in listed if (need := _need(each)) is not None)


def checked(
    needs: tuple[Need, ...], arguments: Mapping[str, Any], may: May, *, may_name_namespace: bool = True
) -> Access:
    """Return what is lacking for a call with these arguments.

    Only what is certain counts. The requirements are what a tool may need at most: some resources are looked at only
    where they are used. So a call is barred when its first resource, or a subresource of that, is out of reach, and
    the rest is told. `may_name_namespace`: the tool takes a `namespace`; then "all" is needed only without one, and
    which one is used where none is given, only the server knows.
    """
    lacking: list[str] = []
    barred, first = False, ""
    for number, need in enumerate(needs):
        target = _target(need, arguments)
        if number == 0 and target is not None:
            first = target[1]
        namespace = _namespace(need, arguments, target, may_name_namespace)
        if target is None or namespace is None:
            continue
        group, plural, _ = target
        resource = f"{plural}/{need.subresource}" if need.subresource else plural
        answers = {verb: may(verb, group, resource, namespace) for verb in need.verbs}
        refused = [verb for verb, answer in answers.items() if answer is False]
        if not refused or (need.subresource in _CONNECTING and len(refused) < len(answers)):
            continue
        where = f" in namespace {namespace}" if namespace else ""
        lacking.append(str(safe(f"{' and '.join(refused)} {resource}{where}", multiline=False)))
        barred = barred or plural == first
    return Access(tuple(lacking), barred)


def _need(said: Any) -> Need | None:
    if not isinstance(said, dict) or not isinstance(said.get("target"), dict):
        return None
    verbs = said.get("verbs")
    if not isinstance(verbs, list) or not verbs or not all(_word(verb) for verb in verbs[:MOST_NEEDS]):
        return None
    place = said.get("namespace")
    place = place if isinstance(place, dict) else {}
    taken, everywhere = _word(place.get("argument")), place.get("all") is True
    target, kind = said["target"].get("resource"), said["target"].get("gvk")
    if isinstance(target, dict) and _word(target.get("resource")):
        return Need(
            tuple(verbs[:MOST_NEEDS]), _word(target.get("apiGroup")), _word(target.get("resource")),
            _word(target.get("subresource")), namespace_from=taken, everywhere=everywhere,
        )  # fmt: skip
    if isinstance(kind, dict) and _word(kind.get("kindArgument")) and _word(kind.get("apiVersionArgument")):
        return Need(
            tuple(verbs[:MOST_NEEDS]), subresource=_word(kind.get("subresource")),
            version_from=_word(kind.get("apiVersionArgument")), kind_from=_word(kind.get("kindArgument")),
            namespace_from=taken, everywhere=everywhere,
        )  # fmt: skip
    return None  # a manifest: what it needs stands in the manifest, and the gate asks about it anyway


def _word(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_WORD else ""


def _target(need: Need, arguments: Mapping[str, Any]) -> tuple[str, str, bool] | None:
    """Return group, resource and whether it is in a namespace; None where that is not certain."""
    if need.resource:
        return need.group, need.resource, bool(need.namespace_from) or need.everywhere
    version, kind = arguments.get(need.version_from), arguments.get(need.kind_from)
    if not isinstance(version, str) or not isinstance(kind, str):
        return None
    group = version.rpartition("/")[0]
    for table, inside in ((_NAMESPACED, True), (_IN_NO_NAMESPACE, False)):
        plural = table.get(group, {}).get(kind)
        if plural is not None:
            return group, plural, inside
    return None


def _namespace(
    need: Need, arguments: Mapping[str, Any], target: tuple[str, str, bool] | None, may_name_namespace: bool
) -> str | None:
    if target is None:
        return None
    if not target[2]:
        return ""
    given = arguments.get(need.namespace_from or "namespace")
    if isinstance(given, str) and given:
        return given
    return "" if need.everywhere and not may_name_namespace else None
