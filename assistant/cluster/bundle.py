"""A support bundle in the layout of troubleshoot.sh, read into plain objects.

Lenient about what is missing, because collectors differ and rights are often partial; strict about what is there: a
file that cannot be understood is an error that names the file, never an empty list.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from assistant.cluster.bundle_files import BundleFiles, open_files
from assistant.errors import BundleError

Object = dict[str, Any]

LOG_FAILURE = "failed to get log stream: "
HIDDEN = "***HIDDEN***"

# Folder or file below cluster-resources/ → what its items are, for items that do not say it themselves.
LAYOUT: Mapping[str, tuple[str, str]] = {
    "certificatesigningrequests": ("certificates.k8s.io/v1", "CertificateSigningRequest"),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    "configmaps": ("v1", "ConfigMap"),
    "cronjobs": ("batch/v1", "CronJob"),
    "custom-resource-definitions": ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    "daemonsets": ("apps/v1", "DaemonSet"),
    "deployments": ("apps/v1", "Deployment"),
    "deviceclasses": ("resource.k8s.io/v1", "DeviceClass"),
    "endpoints": ("v1", "Endpoints"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "events": ("v1", "Event"),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "ingress": ("networking.k8s.io/v1", "Ingress"),
    "ingress-classes": ("networking.k8s.io/v1", "IngressClass"),
    "jobs": ("batch/v1", "Job"),
    "leases": ("coordination.k8s.io/v1", "Lease"),
    "limitranges": ("v1", "LimitRange"),
    "mutating-webhook-configurations": ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    "namespaces": ("v1", "Namespace"),
    "network-policy": ("networking.k8s.io/v1", "NetworkPolicy"),
    "nodes": ("v1", "Node"),
    "pod-disruption-budgets": ("policy/v1", "PodDisruptionBudget"),
    "pods": ("v1", "Pod"),
    "priorityclasses": ("scheduling.k8s.io/v1", "PriorityClass"),
    "pvcs": ("v1", "PersistentVolumeClaim"),
    "pvs": ("v1", "PersistentVolume"),
    "replicasets": ("apps/v1", "ReplicaSet"),
    "resource-quota": ("v1", "ResourceQuota"),
    "resourceclaims": ("resource.k8s.io/v1", "ResourceClaim"),
    "resourceclaimtemplates": ("resource.k8s.io/v1", "ResourceClaimTemplate"),
    "resourceslices": ("resource.k8s.io/v1", "ResourceSlice"),
    "rolebindings": ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    "roles": ("rbac.authorization.k8s.io/v1", "Role"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "services": ("v1", "Service"),
    "statefulsets": ("apps/v1", "StatefulSet"),
    "storage-classes": ("storage.k8s.io/v1", "StorageClass"),
    "validating-webhook-configurations": ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    "volumeattachments": ("storage.k8s.io/v1", "VolumeAttachment"),
}
NOT_OBJECTS = frozenset({"resources", "groups", "auth-cani-list", "pods/logs", "image-pull-secrets"})


@dataclass(frozen=True, slots=True)
class PodLog:
    """One captured log, or the sentence that the API server answered instead of it."""

    text: bytes
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a support bundle holds. Every object has apiVersion, kind, metadata.name and metadata.uid.

    `namespaces` are those whose objects were captured, `rights` the answers of SelfSubjectRulesReview (`status`) by
    namespace, `logs` the paths of logs by (namespace, pod, container, previous).
    """

    name: str
    captured_at: datetime
    version: Object
    resources: tuple[Object, ...]
    objects: tuple[Object, ...]
    namespaces: tuple[str, ...]
    rights: Mapping[str, Object]
    logs: Mapping[tuple[str, str, str, bool], str]
    files: BundleFiles

    def log(self, namespace: str, pod: str, container: str, previous: bool) -> PodLog | None:
        """Return the captured log, None when the bundle has none for this container."""
        path = self.logs.get((namespace, pod, container, previous))
        if path is None:
            return None
        text = self.files.read(path) or b""
        failure = text.decode("utf-8", "replace").strip()
        if path.endswith("-logs-errors.log") or failure.startswith(LOG_FAILURE):
            return PodLog(b"", failure.removeprefix(LOG_FAILURE))
        return PodLog(text)


def read_bundle(path: Path) -> Bundle:
    """Read the bundle at `path` (folder or .tar.gz). Raises BundleError with what is wrong and what to do."""
    files = open_files(path)
    objects: dict[tuple[str, str, str, str], Object] = {}
    for item in _objects(files):
        meta = item["metadata"]
        group = item["apiVersion"].rpartition("/")[0]
        objects.setdefault((group, item["kind"], meta.get("namespace", ""), meta["name"]), item)
    if not objects:
        raise BundleError(
            f"{path.name} holds no objects.", "It was captured without rights or cut short: capture it again."
        )
    rights = {
        _stem(name): _object(files, name)
        for name in files.readers
        if name.startswith("cluster-resources/auth-cani-list/") and name.endswith(".json")
    }
    everything = tuple(objects.values())
    return Bundle(
        name=_name(path),
        captured_at=_captured_at(files, everything),
        version=_version(files),
        resources=tuple(_resources(files)),
        objects=everything,
        namespaces=_namespaces(files),
        rights={name: _rules(value) for name, value in rights.items() if not name.endswith("-errors")},
        logs=dict(_logs(files)),
        files=files,
    )


def _name(path: Path) -> str:
    stem = re.sub(r"\.(tar\.gz|tgz|tar)$", "", path.resolve().name)
    name = path.resolve().parent.name if stem in ("bundle", "after") else stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "recorded"


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _decode(files: BundleFiles, path: str) -> Any:
    data = files.read(path) or b""
    try:
        if path.endswith((".yaml", ".yml")):
            return yaml.safe_load(data)
        return msgspec.json.decode(data) if data.strip() else None
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(
            f"The file {path} of the bundle is not valid {path.rsplit('.', 1)[-1].upper()}.",
            "The bundle is damaged or truncated: copy or capture it again.",
            detail=str(error)[:300],
        ) from error


def _object(files: BundleFiles, path: str) -> Object:
    value = _decode(files, path)
    if not isinstance(value, dict):
        raise BundleError(f"The file {path} of the bundle is not a JSON object.", "Capture the bundle again.")
    return value


def _version(files: BundleFiles) -> Object:
    path = "cluster-info/cluster_version.json"
    if path not in files.readers:
        return {}
    info = _object(files, path).get("info")
    return info if isinstance(info, dict) else {}


def _resources(files: BundleFiles) -> Iterator[Object]:
    value = _decode(files, "cluster-resources/resources.json")
    if value is None:
        return
    for item in value if isinstance(value, list) else [None]:
        resources = item.get("resources") if isinstance(item, dict) else None
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("groupVersion"), str)
            or not isinstance(resources, list)
        ):
            raise BundleError("The bundle's resources.json is not a list of API resources.", "Capture it again.")
        yield item


def _rules(value: Object) -> Object:
    status = value.get("status")
    return status if isinstance(status, dict) else value


def _namespaces(files: BundleFiles) -> tuple[str, ...]:
    found = set()
    for path in files.readers:
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == "cluster-resources" and parts[1] in ("pods", "deployments", "services"):
            found.add(_stem(path))
    return tuple(sorted(name for name in found if not name.endswith("-errors")))


def _logs(files: BundleFiles) -> Iterator[tuple[tuple[str, str, str, bool], str]]:
    for path in sorted(files.readers):
        match = re.fullmatch(r"(?:cluster-resources/)?pods/logs/([^/]+)/([^/]+)/([^/]+)\.log", path)
        if not match:
            continue
        namespace, pod, stem = match.groups()
        stem = stem.removesuffix("-logs-errors")
        container = stem.removesuffix("-previous")
        yield (namespace, pod, container, stem != container), path


def _objects(files: BundleFiles) -> Iterator[Object]:
    for path in sorted(files.readers):
        parts = path.split("/")
        stem = _stem(path)
        if not path.endswith((".json", ".yaml", ".yml")) or stem.endswith("-errors") or stem == "errors":
            continue
        if parts[0] in ("secrets", "configmaps") and len(parts) >= 3:
            yield from _existence(files, path, parts)
        elif parts[0] == "cluster-resources" and len(parts) in (2, 3, 4):
            subject = stem if len(parts) == 2 else parts[1]
            if subject not in NOT_OBJECTS and (len(parts) < 4 or subject == "custom-resources"):
                yield from _items(files, path, subject, "" if len(parts) == 2 else stem)


def _items(files: BundleFiles, path: str, subject: str, namespace: str) -> Iterator[Object]:
    value = _decode(files, path)
    known = LAYOUT.get(subject)
    api_version, kind = known or ("", "")
    if isinstance(value, dict) and isinstance(value.get("items"), list | None) and "items" in value:
        kind = str(value.get("kind") or "").removesuffix("List") or kind
        api_version = str(value.get("apiVersion") or "") or api_version
        value = value["items"]
    elif isinstance(value, dict) and "metadata" in value:
        value = [value]
    if value is None:
        return
    if not isinstance(value, list):
        if known is None and subject != "custom-resources":
            return  # a file of another collector that happens to live here
        raise BundleError(f"The file {path} of the bundle is not a list of objects.", "Capture the bundle again.")
    for item in value:
        meta = item.get("metadata") if isinstance(item, dict) else None
        if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
            if known is None and subject != "custom-resources":
                return
            raise BundleError(
                f"The file {path} of the bundle holds something that is not an object.", "Capture it again."
            )
        whole: Object = {"apiVersion": item.get("apiVersion") or api_version, "kind": item.get("kind") or kind, **item}
        if not whole["apiVersion"] or not whole["kind"]:
            raise BundleError(f"The objects in {path} do not say what kind they are.", "Capture the bundle again.")
        meta.setdefault("uid", str(uuid.uuid5(uuid.NAMESPACE_URL, f"{whole['kind']}/{namespace}/{meta['name']}")))
        yield whole


def _existence(files: BundleFiles, path: str, parts: list[str]) -> Iterator[Object]:
    """Turn what the secret and configMap collectors write (that it exists, and which keys) into an object."""
    value = _object(files, path)
    secret = parts[0] == "secrets"
    name, namespace = value.get("name"), value.get("namespace") or parts[1]
    if not isinstance(name, str) or not value.get("secretExists" if secret else "configMapExists"):
        return
    data = value.get("data")
    keys = dict(data) if isinstance(data, dict) else {}
    if value.get("keyExists") and isinstance(value.get("key"), str):
        keys[value["key"]] = value.get("value") or HIDDEN
    if secret:
        # The value is not in the bundle. It says so itself, in the form that the API field must have (base64).
        keys = dict.fromkeys(keys, base64.b64encode(HIDDEN.encode()).decode())
    item: Object = {
        "apiVersion": "v1",
        "kind": "Secret" if secret else "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{parts[0]}/{namespace}/{name}")),
        },
        "data": {key: str(text) for key, text in keys.items()},
    }
    if secret:
        item["type"] = "Opaque"
    yield item


def parse_time(text: object) -> datetime | None:
    """Read an RFC 3339 time of an object, None for anything else (the field is optional in the API)."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _captured_at(files: BundleFiles, objects: tuple[Object, ...]) -> datetime:
    """Return when the bundle was made: version.yaml says it, else the newest time in events, leases and objects."""
    if "version.yaml" in files.readers:
        value = _decode(files, "version.yaml")
        meta = value.get("metadata") if isinstance(value, dict) else None
        stamp = meta.get("creationTimestamp") if isinstance(meta, dict) else None
        moment = stamp if isinstance(stamp, datetime) else parse_time(stamp)
        if moment:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    newest = datetime.fromtimestamp(0, UTC)
    for item in objects:
        spec = item.get("spec") if isinstance(item.get("spec"), dict) else {}
        times = (item["metadata"].get("creationTimestamp"), item.get("lastTimestamp"), (spec or {}).get("renewTime"))
        newest = max([newest, *(moment for moment in map(parse_time, times) if moment)])
    return newest
