"""Deleting with preconditions, propagation, finalizers and grace, and evicting with disruption budgets.

The garbage collector's and the namespace controller's part of a delete happens at once: a client that deletes an owner
waits for its dependents to go. Nothing is created in the place of what was deleted.
"""

from __future__ import annotations

from typing import Any

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.clock import stamp
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object
from assistant.cluster.server.rights import selects
from assistant.cluster.server.status import ApiError, bad_request, conflict, success
from assistant.cluster.server.writing import Write, current

STOP_SECONDS = 1.0
"""How long a recorded container takes to end after it was told to; a real one has its grace period at most."""


def delete(cluster: Cluster, write: Write, options: Object) -> Object:
    """Delete an object; return a Status, or the object while it is still there. Raises ApiError."""
    resource, store = write.resource, write.resource.store
    live = current(cluster, resource, write.namespace, write.name)
    meta = live["metadata"]
    wanted = options.get("preconditions") or {}
    for field, title in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) and wanted[field] != meta.get(field):
            asked, real = wanted[field], meta.get(field)
            why = f"Precondition failed: {title} in precondition: {asked}, {title} in object meta: {real}"
            raise conflict(resource, write.name, why)
    policy = options.get("propagationPolicy")
    if policy not in (None, "Background", "Foreground", "Orphan"):
        text = f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}"'
        raise ApiError(422, "Invalid", text, {"kind": "DeleteOptions"})
    grace = _grace(resource, live, options)
    answer = success(resource, write.name, str(meta.get("uid", "")))
    if write.dry_run:
        return answer if not grace else live
    if grace or meta.get("finalizers"):
        marked = live
        if not meta.get("deletionTimestamp"):
            ending = {**meta, "deletionTimestamp": stamp(cluster.clock.now()), "deletionGracePeriodSeconds": grace}
            marked = cluster.objects.put(store, {**live, "metadata": ending})
        if not meta.get("finalizers"):
            uid = meta.get("uid")
            cluster.clock.later(min(grace, STOP_SECONDS), lambda: _stopped(cluster, write, uid))
        cluster.wrote()
        return marked
    if resource.store == ("", "namespaces"):
        return _delete_namespace(cluster, write, live)
    cluster.objects.remove(store, write.namespace, write.name)
    _dependents(cluster, str(meta.get("uid", "")), write.namespace, policy or "Background")
    if resource.kind == "CustomResourceDefinition":
        cluster.refresh_catalog()
    cluster.wrote()
    return answer


def _grace(resource: Resource, live: Object, options: Object) -> int:
    """Return the seconds that a pod has to end; 0 for everything that is not running anywhere."""
    if resource.store != ("", "pods"):
        return 0
    phase = (live.get("status") or {}).get("phase")
    if not (live.get("spec") or {}).get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    asked = options.get("gracePeriodSeconds")
    if asked is None:
        asked = (live.get("spec") or {}).get("terminationGracePeriodSeconds", 30)
    if not isinstance(asked, int) or asked < 0:
        raise bad_request("gracePeriodSeconds must be a non-negative integer")
    return asked


def _stopped(cluster: Cluster, write: Write, uid: Any) -> None:
    live = cluster.objects.get(write.resource.store, write.namespace, write.name)
    if live and live["metadata"].get("uid") == uid and not live["metadata"].get("finalizers"):
        cluster.objects.remove(write.resource.store, write.namespace, write.name)
        cluster.wrote()


def _dependents(cluster: Cluster, uid: str, namespace: str, policy: str) -> None:
    """Do to the objects that `uid` owns what the propagation policy says."""
    if not uid:
        return
    for store in cluster.objects.stores():
        for item in list(cluster.objects.items(store, namespace)):
            meta = item["metadata"]
            owners = meta.get("ownerReferences") or []
            if not any(owner.get("uid") == uid for owner in owners):
                continue
            left = [owner for owner in owners if owner.get("uid") != uid]
            if policy == "Orphan" or left:
                cluster.objects.put(store, {**item, "metadata": {**meta, "ownerReferences": left}})
            elif meta.get("finalizers"):
                ending = {**meta, "deletionTimestamp": stamp(cluster.clock.now())}
                cluster.objects.put(store, {**item, "metadata": ending})
            else:
                cluster.objects.remove(store, meta.get("namespace", ""), meta["name"])
                _dependents(cluster, str(meta.get("uid", "")), namespace, policy)


def _delete_namespace(cluster: Cluster, write: Write, live: Object) -> Object:
    """Empty the namespace and remove it; with objects left that have finalizers it stays and is Terminating."""
    ending = {
        **live,
        "metadata": {**live["metadata"], "deletionTimestamp": stamp(cluster.clock.now())},
        "status": {**(live.get("status") or {}), "phase": "Terminating"},
    }
    marked = cluster.objects.put(write.resource.store, ending)
    left = False
    for store in cluster.objects.stores():
        for item in list(cluster.objects.items(store, write.name)):
            if item["metadata"].get("finalizers"):
                left = True
                gone = {**item["metadata"], "deletionTimestamp": stamp(cluster.clock.now())}
                cluster.objects.put(store, {**item, "metadata": gone})
            elif item["metadata"].get("namespace") == write.name:
                cluster.objects.remove(store, write.name, item["metadata"]["name"])
    if not left:
        cluster.objects.remove(write.resource.store, "", write.name)
    cluster.wrote()
    return marked


def sweep_namespaces(cluster: Cluster) -> None:
    """Remove namespaces that are Terminating and have become empty (a finalizer was taken off their last object)."""
    for namespace in list(cluster.objects.items(("", "namespaces"))):
        name = namespace["metadata"]["name"]
        if not namespace["metadata"].get("deletionTimestamp") or not cluster.holds(name):
            continue
        stores = (store for store in cluster.objects.stores() if store != ("", "namespaces"))
        if not any(
            item["metadata"].get("finalizers") for store in stores for item in cluster.objects.items(store, name)
        ):
            for store in cluster.objects.stores():
                for item in list(cluster.objects.items(store, name)):
                    cluster.objects.remove(store, name, item["metadata"]["name"])
            cluster.objects.remove(("", "namespaces"), "", name)


def evict(cluster: Cluster, write: Write, body: Object) -> Object:
    """Delete a pod if no disruption budget forbids it. Raises ApiError 429 with the text of the real API."""
    pod = current(cluster, write.resource, write.namespace, write.name)
    labels = pod["metadata"].get("labels") or {}
    budgets = [
        budget
        for budget in cluster.objects.items(("policy", "poddisruptionbudgets"), write.namespace)
        if selects((budget.get("spec") or {}).get("selector"), labels)
    ]
    if len(budgets) > 1:
        text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", text, {})
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")
    if budgets and not ended:
        budget = budgets[0]
        status = dict(budget.get("status") or {})
        allowed = int(status.get("disruptionsAllowed") or 0)
        if allowed < 1:
            name = budget["metadata"]["name"]
            needs, has = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            message = f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
            text = "Cannot evict pod as it would violate the pod's disruption budget."
            causes = [{"reason": "DisruptionBudget", "message": message}]
            raise ApiError(429, "TooManyRequests", text, {"causes": causes})
        if not write.dry_run:
            status |= {"disruptionsAllowed": allowed - 1, "currentHealthy": int(status.get("currentHealthy") or 1) - 1}
            cluster.objects.put(("policy", "poddisruptionbudgets"), {**budget, "status": status})
    options = body.get("deleteOptions")
    delete(cluster, write, options if isinstance(options, dict) else {})
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def delete_all(cluster: Cluster, write: Write, options: Object, items: list[Object]) -> list[Object]:
    """Delete every given object (deletecollection) and return them as they were."""
    for item in items:
        meta = item["metadata"]
        one = Write(write.resource, meta.get("namespace", ""), meta["name"], write.manager, write.dry_run)
        delete(cluster, one, {key: value for key, value in options.items() if key != "preconditions"})
    return items
