"""Finds what is around the object of a change: its owners, what it owns, its pods, Services, claims and rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from assistant.gate.counting import count_instances, count_namespace
from assistant.gate.facts import Reader
from assistant.policy.api_path import ApiPath
from assistant.policy.owners import keeper_paths
from assistant.policy.surroundings import (
    POD_TEMPLATES,
    Obj,
    Surroundings,
    at,
    controller_of,
    matches,
    name_of,
    selects,
)

_DEEPEST: Final = 5
_NEAR: Final = ("Pod", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
# What the controllers of Kubernetes make for each kind; anything else may own anything, so the usual kinds are read.
_OWNED: Final = {
    "Deployment": ("ReplicaSet", "Pod"),
    "ReplicaSet": ("Pod",),
    "ReplicationController": ("Pod",),
    "StatefulSet": ("Pod",),
    "DaemonSet": ("Pod",),
    "Job": ("Pod",),
    "CronJob": ("Job", "Pod"),
    "Service": ("EndpointSlice",),
}
_ANYTHING: Final = (
    "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "CronJob", "Job", "Pod", "Service", "ConfigMap", "Secret",
    "PersistentVolumeClaim", "ServiceAccount", "Ingress", "Role", "RoleBinding",
)  # fmt: skip
# Kinds whose objects own nothing that anybody would miss.
_CHILDLESS: Final = frozenset(
    {
        "Pod", "ConfigMap", "Secret", "PersistentVolumeClaim", "PersistentVolume", "Namespace", "Node", "Event",
        "CustomResourceDefinition", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding",
        "ResourceQuota", "LimitRange", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Lease",
    }
)  # fmt: skip


async def surroundings(
    reader: Reader, method: str, api: ApiPath, kind: str, live: Obj | None, after: Obj | None,
    options: Mapping[str, Any] | None = None,
) -> Surroundings:  # fmt: skip
    """Read what impact, checks and risk need for this kind of change. What could not be read is in `unread`."""
    reader.begin()
    whole = await reader.one(kind, api.object_path) if api.sub == "scale" else live
    base = Surroundings(
        method, api.sub, kind, live, after, whole=whole, api_version=api.api_version, options=options or {}
    )
    (owners, keepers), found = await asyncio.gather(_owners(reader, base.thing), _by_kind(reader, api, base))
    return replace(
        found, owners=owners, keepers=keepers, unread=tuple(dict.fromkeys(reader.unread)),
        cut=tuple(dict.fromkeys(reader.cut)),
    )  # fmt: skip


async def _owners(reader: Reader, thing: Obj | None) -> tuple[tuple[Obj, ...], tuple[Obj, ...]]:
    found: list[Obj] = []
    here = thing
    while (ref := controller_of(here)) is not None and len(found) < _DEEPEST:
        version, kind, name = (str(ref.get(key) or "") for key in ("apiVersion", "kind", "name"))
        place = await reader.place(version, kind, name)
        owner = await reader.one(kind, place) if place else None
        if owner is not None and at(owner, "metadata", "uid") != ref.get("uid"):
            # A namesake of an owner that is gone: the garbage collector will take the object.
            owner = None
        if owner is None:
            found.append({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
            break
        here = owner
        found.append(owner)
    return tuple(found), await _keepers(reader, thing, tuple(found))


async def _keepers(reader: Reader, thing: Obj | None, owners: tuple[Obj, ...]) -> tuple[Obj, ...]:
    # Not being allowed to read these changes nothing but the precision of a warning that is given anyway.
    quiet = list(reader.unread), list(reader.cut)
    found: list[Obj] = []
    for kind, namespace, name in keeper_paths(thing, owners):
        if kind == "Application":
            place = f"/namespaces/{namespace}" if namespace else ""
            path = f"/apis/argoproj.io/v1alpha1{place}/applications"
            found += await reader.items(kind, path, fields=f"metadata.name={name}")
        else:
            tool = "kustomize.toolkit.fluxcd.io/v1" if kind == "Kustomization" else "helm.toolkit.fluxcd.io/v2"
            resource = "kustomizations" if kind == "Kustomization" else "helmreleases"
            space = namespace or reader.namespace
            one = await reader.one(kind, f"/apis/{tool}/namespaces/{space}/{resource}/{name}")
            found += [one] if one else []
    reader.unread = [kind for kind in reader.unread if kind not in ("Application", "Kustomization", "HelmRelease")]
    reader.cut = quiet[1] + [text for text in reader.cut if text not in quiet[1] and "Application" not in text]
    return tuple({**item, "kind": item.get("kind")} for item in found)


async def _by_kind(reader: Reader, api: ApiPath, base: Surroundings) -> Surroundings:
    kind, live = base.kind, base.live
    if kind == "Namespace" and base.deleting:
        return replace(base, counts=await count_namespace(reader, api.name or api.namespace))
    if kind == "CustomResourceDefinition" and base.deleting:
        counts, names = await count_instances(reader, live)
        return replace(base, counts=counts, dependents=names)
    if kind == "Node" and (base.deleting or at(base.after, "spec", "unschedulable") is True):
        pods = await reader.items("Pod", "/api/v1/pods", fields=f"spec.nodeName={api.name}")
        return replace(base, pods=pods)
    if kind == "PersistentVolume" and base.deleting:
        claim = at(live, "spec", "claimRef", default={})
        pods = await _mounting(reader, str(claim.get("name", "")), str(claim.get("namespace", "")))
        return replace(base, pods=pods, volumes=(live,) if live else ())
    if not api.namespace or api.resource == "namespaces":
        return base
    return await _namespaced(reader, base)


async def _namespaced(reader: Reader, base: Surroundings) -> Surroundings:
    kind, live = base.kind, base.live
    if kind in ("ConfigMap", "Secret"):
        found = await reader.all("Deployment", "StatefulSet", "DaemonSet", "CronJob")
        return replace(base, workloads=tuple(item for items in found.values() for item in items))
    if kind == "Service":
        pods, dependents = await asyncio.gather(reader.list("Pod"), _dependents(reader, base))
        return replace(base, pods=pods, dependents=dependents)
    if kind == "PersistentVolumeClaim":
        if not base.deleting:
            return replace(base, limits=await reader.list("LimitRange") if live is None else ())
        volumes, pods = await asyncio.gather(
            _volumes(reader, live), _mounting(reader, name_of(live or {}), reader.namespace)
        )
        return replace(base, volumes=volumes, pods=pods)
    if kind != "Pod" and kind not in POD_TEMPLATES:
        return replace(base, dependents=await _dependents(reader, base))
    return await _workload(reader, base)


async def _workload(reader: Reader, base: Surroundings) -> Surroundings:
    kind, thing = base.kind, base.thing
    more = () if base.deleting else ("ResourceQuota", "LimitRange")
    found, dependents = await asyncio.gather(reader.all(*_NEAR, *more), _dependents(reader, base))
    selector = at(thing, "spec", "selector", default={})
    picks = selects if kind == "ReplicationController" else matches
    known = kind != "Pod" and bool(selector)
    mine = tuple(p for p in found["Pod"] if known and picks(selector, at(p, "metadata", "labels")))
    claims = await _claims(reader, base.live) if base.deleting and kind == "StatefulSet" else ()
    return replace(
        base, pods=mine, every_pod=found["Pod"], services=found["Service"],
        scalers=found["HorizontalPodAutoscaler"], budgets=found["PodDisruptionBudget"],
        quotas=found.get("ResourceQuota", ()), limits=found.get("LimitRange", ()), dependents=dependents,
        claims=claims,
    )  # fmt: skip


async def _dependents(reader: Reader, base: Surroundings) -> tuple[Obj, ...]:
    """Return what names this object as its owner, and what names that as its owner."""
    uid = at(base.live, "metadata", "uid")
    if not base.deleting or base.kind in _CHILDLESS or not uid:
        return ()
    lists = await reader.all(*_OWNED.get(base.kind, _ANYTHING), slim=True)
    every = [item for items in lists.values() for item in items]
    known, found, grew = {uid}, [], True
    while grew:
        grew = False
        for item in every:
            refs = at(item, "metadata", "ownerReferences", default=[])
            own = at(item, "metadata", "uid")
            if own not in known and any(ref.get("uid") in known for ref in refs):
                known.add(own)
                found.append(item)
                grew = True
    return tuple(found)


async def _claims(reader: Reader, live: Obj | None) -> tuple[Obj, ...]:
    heads = [f"{name_of(t)}-{name_of(live or {})}-" for t in at(live, "spec", "volumeClaimTemplates", default=[])]
    every = await reader.list("PersistentVolumeClaim", slim=True) if heads else ()
    # Only an ordinal may follow: `data-web-` also begins the claims of a set named `web-canary`.
    return tuple(
        claim
        for claim in every
        if any(name_of(claim).startswith(head) and name_of(claim)[len(head) :].isdigit() for head in heads)
    )


async def _volumes(reader: Reader, live: Obj | None) -> tuple[Obj, ...]:
    name = str(at(live, "spec", "volumeName", default=""))
    volume = await reader.one("PersistentVolume", f"/api/v1/persistentvolumes/{name}") if name else None
    return (volume,) if volume else ()


async def _mounting(reader: Reader, claim: str, namespace: str) -> tuple[Obj, ...]:
    pods = await reader.list("Pod", namespace=namespace) if claim and namespace else ()
    return tuple(
        pod
        for pod in pods
        if any(
            at(volume, "persistentVolumeClaim", "claimName") == claim
            for volume in at(pod, "spec", "volumes", default=[])
        )
    )
