"""Creating, replacing, patching: from a request body to a stored object, the same way with and without `dryRun`."""

from __future__ import annotations

import copy
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from assistant.cluster.server import defaults, managed, patch, schema, validation
from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.clock import stamp
from assistant.cluster.server.cluster import Cluster, to_version
from assistant.cluster.server.objects import Object
from assistant.cluster.server.status import ApiError, bad_request, conflict, details, exists, invalid, not_found

# Kinds whose generation is not counted (they have a spec or data, but the API server leaves the field away).
_UNCOUNTED = frozenset(
    {"ConfigMap", "Secret", "Service", "ServiceAccount", "Namespace", "Node", "Endpoints", "Event", "Role",
     "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PersistentVolume", "PersistentVolumeClaim", "Lease",
     "LimitRange",
     "ResourceQuota", "HorizontalPodAutoscaler", "StorageClass", "CertificateSigningRequest", "VolumeAttachment",
     "ReplicationController"}
)  # fmt: skip
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery, util/rand
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(slots=True)
class Write:
    """One write as the request describes it; `warnings` collects what goes into Warning headers."""

    resource: Resource
    namespace: str
    name: str
    manager: str
    dry_run: bool = False
    subresource: str = ""
    field_validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)


def create(cluster: Cluster, write: Write, body: Object) -> Object:
    """Create an object from `body` and return it. Raises ApiError."""
    resource = write.resource
    item = _decoded(write, body)
    meta = item["metadata"]
    if meta.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"] + "".join(secrets.choice(_SUFFIX) for _ in range(5))
    _in_namespace(cluster, write, item)
    if meta.get("name") and cluster.objects.entry(resource.store, write.namespace, meta["name"]):
        raise exists(resource, meta["name"])
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "selfLink", "managedFields"):
        meta.pop(name, None)
    meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(cluster.clock.now())}
    if counted(resource):
        meta["generation"] = 1
    if "status" in resource.subresources:
        item.pop("status", None)
    item = _born(cluster, resource, defaults.fill(item))
    validation.check(resource, item, None)
    item = managed.track_update(None, item, _spec(resource), _writer(cluster, write))
    return finish(cluster, write, item)


def _born(cluster: Cluster, resource: Resource, item: Object) -> Object:
    """Fill in what the API server itself sets on new objects of some kinds."""
    match resource.store:
        case ("", "pods"):
            item["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        case ("", "namespaces"):
            item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"].get("name")
            item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            item["status"] = {"phase": "Active"}
        case ("", "services"):
            spec = item.get("spec") or {}
            if "clusterIP" not in spec and spec.get("type") != "ExternalName" and spec.get("ports"):
                spec["clusterIP"] = _free_address(cluster)
            if spec.get("clusterIP"):
                spec.setdefault("clusterIPs", [spec["clusterIP"]])
            item["status"] = {"loadBalancer": {}}
        case ("apps", _):
            item["status"] = {}
        case _:
            pass
    return item


def _free_address(cluster: Cluster) -> str:
    used = {(item.get("spec") or {}).get("clusterIP") for item in cluster.objects.items(("", "services"))}
    sample = next((str(address) for address in used if address and str(address).count(".") == 3), "10.96.0.1")
    prefix = ".".join(sample.split(".")[:2])
    free = (f"{prefix}.{third}.{fourth}" for third in range(200, 256) for fourth in range(1, 255))
    return next(address for address in free if address not in used)


def replace(cluster: Cluster, write: Write, body: Object) -> Object:
    """Replace an object (PUT). Raises ApiError."""
    live = current(cluster, write.resource, write.namespace, write.name)
    item = _decoded(write, body)
    if item["metadata"].get("name") != write.name:
        raise _other_name(item["metadata"].get("name"), write.name)
    _in_namespace(cluster, write, item)
    if write.resource.custom and not item["metadata"].get("resourceVersion"):
        cause = {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 0: must be specified for an update",
            "field": "metadata.resourceVersion",
        }
        raise invalid(write.resource, write.name, [cause])
    return update(cluster, write, live, item)


def patched(cluster: Cluster, write: Write, content_type: str, body: Any) -> tuple[Object, bool]:
    """Apply one of the four patch types; return the object and whether it is new. Raises ApiError."""
    resource = write.resource
    if content_type == APPLY_PATCH:
        return _applied(cluster, write, body)
    live = current(cluster, resource, write.namespace, write.name)
    shown = cluster.in_version(live, resource)
    spec = _spec(resource)
    match content_type:
        case _ if content_type == JSON_PATCH:
            made = patch.json_patch(shown, body)
        case _ if content_type == STRATEGIC_PATCH and not resource.custom:
            made = patch.strategic_merge(shown, _mapping(body), spec)
        case _:
            made = patch.merge_patch(shown, _mapping(body))
    item = _decoded(write, copy.deepcopy(made), patching=True)
    meta = item["metadata"]
    if meta.get("name") != write.name or (resource.namespaced and meta.get("namespace") != write.namespace):
        raise _other_name(meta.get("name"), write.name)
    return update(cluster, write, live, item), False


def _applied(cluster: Cluster, write: Write, body: Any) -> tuple[Object, bool]:
    resource = write.resource
    applied = _decoded(write, _mapping(body))
    if applied["metadata"].get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    applied["metadata"].setdefault("name", write.name)
    if applied["metadata"]["name"] != write.name:
        raise _other_name(applied["metadata"]["name"], write.name)
    if resource.namespaced:
        applied["metadata"].setdefault("namespace", write.namespace)
    _in_namespace(cluster, write, applied)
    entry = cluster.objects.entry(resource.store, write.namespace, write.name)
    writer = _writer(cluster, write)
    if entry is None:
        if write.subresource or applied["metadata"].get("uid"):
            raise not_found(resource, write.name)
        meta = {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(cluster.clock.now())}
        if counted(resource):
            meta["generation"] = 1  # type: ignore[assignment]
        empty: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        item = managed.apply(empty, applied, _spec(resource), writer, force=write.force)
        item = {**item, "metadata": {**item["metadata"], **meta}}
        item = _born(cluster, resource, defaults.fill(copy.deepcopy(item)))
        validation.check(resource, item, None)
        return finish(cluster, write, item), True
    live = entry.item
    made = managed.apply(cluster.in_version(live, resource), applied, _spec(resource), writer, force=write.force)
    return update(cluster, write, live, copy.deepcopy(made), tracked=True), False


def update(cluster: Cluster, write: Write, live: Object, item: Object, *, tracked: bool = False) -> Object:
    """Turn `live` into `item`: keep what cannot change, count the generation, check, store. Raises ApiError."""
    resource = write.resource
    old = cluster.in_version(live, resource)
    meta, before = item["metadata"], old["metadata"]
    wanted = meta.get("resourceVersion")
    if wanted and wanted != before.get("resourceVersion"):
        raise conflict(resource, write.name)
    if meta.get("uid") and meta["uid"] != before.get("uid"):
        why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before.get('uid')}"
        raise conflict(resource, write.name, why)
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
                 "resourceVersion", "generateName", "namespace"):  # fmt: skip
        meta.pop(name, None)
        if name in before:
            meta[name] = before[name]
    if write.subresource == "status":
        kept = {key: value for key, value in old.items() if key != "status"}
        item = {**kept, **({"status": item["status"]} if "status" in item else {}), "metadata": {**before}}
        item["metadata"]["managedFields"] = meta.get("managedFields") or before.get("managedFields") or []
    elif "status" in resource.subresources:
        item.pop("status", None)
        if "status" in old:
            item["status"] = old["status"]
    if not write.subresource:
        item = defaults.fill(item)
        _keep_addresses(item, old)
    if counted(resource) and _content(item) != _content(old):
        item["metadata"]["generation"] = int(before.get("generation") or 0) + 1
    validation.check(resource, item, old)
    if not tracked:
        item = managed.track_update(old, item, _spec(resource), _writer(cluster, write))
    if _unmanaged(item) == _unmanaged(old) and item["metadata"].get("managedFields", []) == before.get(
        "managedFields", []
    ):
        return old
    return finish(cluster, write, item)


def _keep_addresses(item: Object, old: Object) -> None:
    """Keep allocated addresses that a replacement leaves away (service strategy, `patchAllocatedValues`)."""
    if item.get("kind") != "Service":
        return
    new, before = item.get("spec") or {}, old.get("spec") or {}
    for name in ("clusterIP", "clusterIPs"):
        if name not in new and name in before and new.get("type") != "ExternalName":
            new[name] = before[name]


def finish(cluster: Cluster, write: Write, item: Object) -> Object:
    """Store `item`, unless this is a dry run, and return it as stored."""
    if write.dry_run:
        return item
    stored = item
    if write.resource.store in (("", "events"), ("autoscaling", "horizontalpodautoscalers")):
        home = cluster.catalog.find("", "v1", "events") if write.resource.name == "events" else None
        home = home or cluster.catalog.find("autoscaling", "v2", "horizontalpodautoscalers")
        stored = to_version(item, home) if home and item["apiVersion"] != home.api_version else item
    if (
        stored["metadata"].get("deletionTimestamp")
        and not stored["metadata"].get("finalizers")
        and write.resource.kind != "Pod"
    ):
        cluster.objects.remove(write.resource.store, write.namespace, write.name)
        done = item
    else:
        stored = cluster.objects.put(write.resource.store, stored)
        done = cluster.in_version(stored, write.resource)
    if write.resource.kind == "CustomResourceDefinition":
        cluster.refresh_catalog()
    cluster.wrote()
    return done


def current(cluster: Cluster, resource: Resource, namespace: str, name: str) -> Object:
    """Return the stored object. Raises ApiError 404."""
    entry = cluster.objects.entry(resource.store, namespace, name)
    if entry is None:
        raise not_found(resource, name)
    return entry.item


def counted(resource: Resource) -> bool:
    """Say whether objects of this resource have a generation."""
    return resource.kind not in _UNCOUNTED


def _spec(resource: Resource) -> schema.Spec:
    return schema.root(resource.api_version, resource.kind) or schema.OPEN


def _writer(cluster: Cluster, write: Write) -> managed.Writer:
    return managed.Writer(write.manager, write.resource.api_version, stamp(cluster.clock.now()), write.subresource)


def _content(item: Object) -> Object:
    return {key: value for key, value in item.items() if key not in ("metadata", "status")}


def _other_name(found: object, wanted: str) -> ApiError:
    return bad_request(f"the name of the object ({found or ''}) does not match the name on the URL ({wanted})")


def _unmanaged(item: Object) -> Object:
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "managedFields"}}


def _mapping(body: Any) -> Object:
    if not isinstance(body, dict):
        raise bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return body


def _decoded(write: Write, body: Object, *, patching: bool = False) -> Object:
    """Check that `body` is of the right kind and drop unknown fields as `fieldValidation` says. Raises ApiError."""
    resource = write.resource
    group_kind = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    kind, api_version = body.get("kind"), body.get("apiVersion")
    if not kind or not api_version:
        if not kind and not api_version:
            body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        else:
            missing = "Object 'Kind' is missing" if not kind else "Object 'apiVersion' is missing"
            raise bad_request(f"{missing} in the request body")
    elif api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match "
            f"the expected API version ({resource.api_version})"
        )
    elif kind != resource.kind:
        raise bad_request(f"{kind} in version \"{resource.version}\" cannot be handled as a {resource.kind}: "
                          f"converting ({kind}) to ({resource.kind}): unknown conversion")  # fmt: skip
    if not isinstance(body.get("metadata", {}), dict):
        raise bad_request(f"{group_kind}: json: cannot unmarshal metadata into Go struct field")
    unknown: list[str] = []
    try:
        item: Object = schema.prune(body, _spec(resource), "", unknown)
    except ApiError as error:
        if patching:
            details_ = details(resource, write.name, kind=resource.kind)
            text = f'{resource.kind} "{write.name}" is invalid: patch: Invalid value: {error.message}'
            raise ApiError(422, "Invalid", text, details_) from error
        raise bad_request(f"{group_kind}: {error.message}") from error
    texts = [f'unknown field "{path}"' for path in unknown]
    if texts and write.field_validation == "Strict":
        raise bad_request(f"{group_kind}: strict decoding error: {', '.join(texts)}")
    if write.field_validation == "Warn":
        write.warnings += texts
    item = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
    item["metadata"] = {key: value for key, value in (item.get("metadata") or {}).items() if value is not None}
    return item


def _in_namespace(cluster: Cluster, write: Write, item: Object) -> None:
    meta = item["metadata"]
    if not write.resource.namespaced:
        meta.pop("namespace", None)
        return
    if meta.setdefault("namespace", write.namespace) != write.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if not cluster.namespace_exists(write.namespace):
        namespaces = cluster.catalog.find("", "v1", "namespaces")
        raise not_found(namespaces or write.resource, write.namespace)
    namespace = cluster.objects.get(("", "namespaces"), "", write.namespace)
    created = not cluster.objects.entry(write.resource.store, write.namespace, str(meta.get("name", "")))
    if created and namespace and namespace["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {write.namespace} because it is being terminated"
        causes = [{"reason": "NamespaceTerminating", "message": f"namespace {write.namespace} is being terminated",
                   "field": "metadata.namespace"}]  # fmt: skip
        name = str(meta.get("name", ""))
        text = f'{write.resource.qualified} "{name}" is forbidden: {why}'
        raise ApiError(403, "Forbidden", text, details(write.resource, name, causes))
