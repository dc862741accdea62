"""The checks of an API server that people run into: names, ports, selectors, and fields that cannot change."""

from __future__ import annotations

import json
import re
from typing import Any

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.patch import same
from assistant.cluster.server.selectors import LABEL_VALUE_TEXT
from assistant.cluster.server.status import Cause, invalid

Object = dict[str, Any]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_ANY_NAMED = frozenset({"rbac.authorization.k8s.io"})
_POD_CHANGES = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_STATEFUL_CHANGES = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_FREE = frozenset(
    {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds",
     "persistentVolumeClaimRetentionPolicy"}
)  # fmt: skip


def _cause(kind: str, field: str, message: str) -> Cause:
    return {"reason": kind, "message": message, "field": field}


def _bad(field: str, value: Any, why: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return _cause("FieldValueInvalid", field, f"Invalid value: {shown}: {why}")


def _needed(field: str, why: str = "") -> Cause:
    return _cause("FieldValueRequired", field, f"Required value{': ' + why if why else ''}")


def _refused(field: str, why: str) -> Cause:
    return _cause("FieldValueForbidden", field, f"Forbidden: {why}")


def check(resource: Resource, item: Object, live: Object | None) -> None:
    """Check an object against its kind and, for an update, its predecessor. Raises ApiError 422 with all causes."""
    causes = [*_metadata(resource, item), *_ports(item), *_workload(resource, item), *_counts(item)]
    if live is not None:
        causes += _fixed(resource, item, live)
    if causes:
        raise invalid(resource, str(item["metadata"].get("name", "")), causes)


def _metadata(resource: Resource, item: Object) -> list[Cause]:
    meta = item["metadata"]
    name = meta.get("name")
    if not name:
        return [_needed("metadata.name", "name or generateName is required")]
    causes = []
    if resource.group in _ANY_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            causes.append(_bad("metadata.name", name, "may not contain '/' or '%'"))
    elif resource.store in (("", "services"), ("", "namespaces")):
        if not _LABEL.fullmatch(name):
            causes.append(_bad("metadata.name", name, _LABEL_TEXT))
        elif len(name) > 63:
            causes.append(_bad("metadata.name", name, "must be no more than 63 characters"))
    elif not _SUBDOMAIN.fullmatch(name):
        causes.append(_bad("metadata.name", name, _SUBDOMAIN_TEXT))
    elif len(name) > 253:
        causes.append(_bad("metadata.name", name, "must be no more than 253 characters"))
    for key, value in (meta.get("labels") or {}).items():
        if not re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", str(value)) or len(str(value)) > 63:
            why = LABEL_VALUE_TEXT
            causes.append(_bad("metadata.labels", value if value else key, why))
    return causes


def _port(field: str, value: Any) -> list[Cause]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return [_bad(field, value, "must be between 1 and 65535, inclusive")] if whole and not 1 <= value <= 65535 else []


def _ports(item: Object) -> list[Cause]:
    spec = item.get("spec")
    causes: list[Cause] = []
    if item.get("kind") == "Service" and isinstance(spec, dict):
        ports = spec.get("ports") or []
        if not ports and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
            causes.append(_needed("spec.ports"))
        for index, port in enumerate(ports):
            causes += _port(f"spec.ports[{index}].port", port.get("port"))
            causes += _port(f"spec.ports[{index}].targetPort", port.get("targetPort"))
    pod, path = _pod_of(item)
    for index, container in enumerate((pod or {}).get("containers") or []):
        for number, port in enumerate(container.get("ports") or []):
            causes += _port(f"{path}.containers[{index}].ports[{number}].containerPort", port.get("containerPort"))
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            for how in ("httpGet", "tcpSocket"):
                port = ((container.get(probe) or {}).get(how) or {}).get("port")
                causes += _port(f"{path}.containers[{index}].{probe}.{how}.port", port)
    return causes


def _pod_of(item: Object) -> tuple[Object | None, str]:
    spec = item.get("spec")
    if not isinstance(spec, dict):
        return None, ""
    if item.get("kind") == "Pod":
        return spec, "spec"
    if item.get("kind") in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        return (spec.get("template") or {}).get("spec"), "spec.template.spec"
    return None, ""


def _workload(resource: Resource, item: Object) -> list[Cause]:
    causes: list[Cause] = []
    spec = item.get("spec") or {}
    pod, path = _pod_of(item)
    if pod is not None or item.get("kind") in ("Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"):
        containers = (pod or {}).get("containers") or []
        if not containers:
            causes.append(_needed(f"{path or 'spec.template.spec'}.containers"))
        seen: set[str] = set()
        for index, container in enumerate(containers):
            name = container.get("name")
            if not name:
                causes.append(_needed(f"{path}.containers[{index}].name"))
            elif not _LABEL.fullmatch(str(name)):
                causes.append(_bad(f"{path}.containers[{index}].name", name, _LABEL_TEXT))
            elif name in seen:
                message = f"Duplicate value: {json.dumps(name)}"
                causes.append(_cause("FieldValueDuplicate", f"{path}.containers[{index}].name", message))
            seen.add(str(name))
            if not container.get("image"):
                causes.append(_needed(f"{path}.containers[{index}].image"))
    if resource.store[0] == "apps" and resource.kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if not spec.get("selector"):
            causes.append(_needed("spec.selector"))
        if any(labels.get(key) != value for key, value in wanted.items()):
            causes.append(_bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
    return causes


def _counts(item: Object) -> list[Cause]:
    value = (item.get("spec") or {}).get("replicas") if isinstance(item.get("spec"), dict) else None
    if isinstance(value, int) and value < 0:
        return [_bad("spec.replicas", value, "must be greater than or equal to 0")]
    return []


def _fixed(resource: Resource, item: Object, live: Object) -> list[Cause]:
    """Return what the update changes although it must not."""
    new, old = item.get("spec") or {}, live.get("spec") or {}
    match resource.store:
        case ("apps", "deployments" | "replicasets" | "daemonsets"):
            if not same(new.get("selector"), old.get("selector")):
                return [_bad("spec.selector", new.get("selector"), "field is immutable")]
        case ("apps", "statefulsets"):
            if any(not same(new.get(k), old.get(k)) for k in {*new, *old} - _STATEFUL_FREE):
                return [_refused("spec", _STATEFUL_CHANGES)]
        case ("batch", "jobs"):
            names = ("selector", "template", "completionMode")
            suspended = bool(old.get("suspend"))
            return [_bad(f"spec.{n}", new.get(n), "field is immutable") for n in names
                    if not same(new.get(n), old.get(n)) and not (n == "template" and suspended)]  # fmt: skip
        case ("", "pods"):
            if not same(_frozen_pod(new), _frozen_pod(old)) or not _only_added(old, new):
                return [_refused("spec", _POD_CHANGES)]
        case ("", "services"):
            before = old.get("clusterIP")
            if before and new.get("clusterIP") != before and "ExternalName" not in (new.get("type"), old.get("type")):
                return [_bad("spec.clusterIPs[0]", new.get("clusterIP", ""), "may not change once set")]
        case ("", "persistentvolumeclaims"):
            free = ("resources", "volumeAttributesClassName")
            if old.get("volumeName") and not same(_without(new, free), _without(old, free)):
                why = ("spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                       "bound claims")  # fmt: skip
                return [_refused("spec", why)]
        case ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings"):
            if not same(item.get("roleRef"), live.get("roleRef")):
                return [_bad("roleRef", item.get("roleRef"), "cannot change roleRef")]
        case ("", "secrets"):
            if item.get("type") != live.get("type"):
                return [_bad("type", item.get("type", ""), "field is immutable")]
            return _sealed(item, live)
        case ("", "configmaps"):
            return _sealed(item, live)
        case ("storage.k8s.io", "storageclasses"):
            sealed = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
            return [_refused(n, "updates to storageclass are forbidden.") for n in sealed
                    if not same(item.get(n), live.get(n))]  # fmt: skip
        case _:
            pass
    return []


def _sealed(item: Object, live: Object) -> list[Cause]:
    if not live.get("immutable"):
        return []
    if not item.get("immutable"):
        return [_refused("immutable", "field is immutable when `immutable` is set")]
    if not same(item.get("data"), live.get("data")):
        return [_refused("data", "field is immutable when `immutable` is set")]
    return []


def _without(spec: Object, names: tuple[str, ...]) -> Object:
    return {key: value for key, value in spec.items() if key not in names}


def _frozen_pod(spec: Object) -> Object:
    kept = _without(spec, ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"))
    for name in ("containers", "initContainers"):
        if kept.get(name):
            kept[name] = [_without(container, ("image",)) for container in kept[name]]
    return kept


def _only_added(old: Object, new: Object) -> bool:
    return all(toleration in (new.get("tolerations") or []) for toleration in old.get("tolerations") or [])
