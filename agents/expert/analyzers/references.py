"""ConfigMaps, Secrets, keys, claims and service accounts that a pod template names and that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import nearest, outside, set_path
from agents.expert.workload import Container, Workload, is_ready, workloads
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, rows, text
from assistant.domain.view import ClusterView, Thing

CATEGORY = {
    "ConfigMap": "missing-configmap",
    "Secret": "missing-secret",
    "PersistentVolumeClaim": "storage",
    "ServiceAccount": "rbac",
}
RESOURCE = {
    "ConfigMap": "configmaps",
    "Secret": "secrets",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "ServiceAccount": "serviceaccounts",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A name (and key) that a pod template asks for; `name_path` and `key_path` lead to them."""

    kind: str
    name: str
    name_path: str
    key: str = ""
    key_path: str = ""


def references(workload: Workload) -> Iterator[Reference]:
    """Yield what a pod cannot start without; optional references are left out."""
    base = workload.template
    for group in ("initContainers", "containers"):
        for i, container in enumerate(rows(workload.spec.get(group))):
            place = f"{base}.{group}[{i}]"
            for j, env in enumerate(rows(container.get("env"))):
                for source, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                    at = f"{place}.env[{j}].valueFrom.{source}"
                    yield from _one(mapping(mapping(env.get("valueFrom")).get(source)), kind, at, "name")
            for j, env in enumerate(rows(container.get("envFrom"))):
                for source, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    yield from _one(mapping(env.get(source)), kind, f"{place}.envFrom[{j}].{source}", "name")
    for i, volume in enumerate(rows(workload.spec.get("volumes"))):
        place = f"{base}.volumes[{i}]"
        for source, kind, field in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            yield from _one(mapping(volume.get(source)), kind, f"{place}.{source}", field)
        for j, part in enumerate(rows(mapping(volume.get("projected")).get("sources"))):
            for source, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                yield from _one(mapping(part.get(source)), kind, f"{place}.projected.sources[{j}].{source}", "name")
    account = text(workload.spec.get("serviceAccountName"))
    if account:
        yield Reference("ServiceAccount", account, f"{base}.serviceAccountName")


def _one(source: Mapping[str, Any], kind: str, place: str, field: str) -> Iterator[Reference]:
    name = text(source.get(field))
    if not name or source.get("optional") is True:
        return
    key = text(source.get("key"))
    yield Reference(kind, name, f"{place}.{field}", key, f"{place}.key" if key else "")
    for i, item in enumerate(rows(source.get("items"))):
        yield Reference(kind, name, f"{place}.{field}", text(item.get("key")), f"{place}.items[{i}].key")


def analyze(view: ClusterView) -> list[Draft]:
    """Return the missing references of workloads that have pods which do not run, or no pods at all."""
    found: list[Draft] = []
    for workload in workloads(view):
        waiting = [p for p in workload.pods if not is_ready(p) and not p.deleting]
        starved = workload.wanted > len(workload.pods)
        if not waiting and not starved:
            continue
        seen: set[str] = set()
        for reference in references(workload):
            path = reference.key_path if _exists(view, workload, reference) else reference.name_path
            if path in seen or not _is_missing(view, workload, reference):
                continue
            if reference.kind == "ServiceAccount" and workload.pods and not starved:
                continue
            seen.add(path)
            found.append(_draft(view, workload, reference, waiting))
    return found


def _exists(view: ClusterView, workload: Workload, reference: Reference) -> bool:
    return view.find(reference.kind, workload.thing.namespace, reference.name) is not None


def _is_missing(view: ClusterView, workload: Workload, reference: Reference) -> bool:
    """Say that a reference leads nowhere: only where the kind was listed, or a component said so."""
    namespace = workload.thing.namespace
    holder = view.find(reference.kind, namespace, reference.name)
    if holder is not None:
        keys = {**holder.map("data"), **holder.map("binaryData")}
        return bool(reference.key) and bool(keys) and reference.key not in keys
    if _said(view, workload, reference):
        return True
    return view.complete(RESOURCE[reference.kind], namespace) and reference.kind != "Secret"


def _said(view: ClusterView, workload: Workload, reference: Reference) -> list[Citation]:
    """Return where the kubelet, the scheduler or a controller says that a name is missing."""
    pattern = re.compile(rf"(?<![\w.-]){re.escape(reference.name)}(?![\w-]|\.\w)")
    found = []
    for pod in workload.pods[:5]:
        for i, status in enumerate([*pod.rows("status.containerStatuses")]):
            message = text(mapping(mapping(status.get("state")).get("waiting")).get("message"))
            if pattern.search(message) and "not found" in message:
                found.append(view.cite(pod, f"status.containerStatuses[{i}].state.waiting"))
        for i, status in enumerate(pod.rows("status.initContainerStatuses")):
            message = text(mapping(mapping(status.get("state")).get("waiting")).get("message"))
            if pattern.search(message) and "not found" in message:
                found.append(view.cite(pod, f"status.initContainerStatuses[{i}].state.waiting"))
        for event in view.events_of(pod)[:20]:
            message = event.text("message")
            if pattern.search(message) and "not found" in message and "registered" not in message:
                found.append(view.cite(event, "message"))
                break
    return found


def _draft(view: ClusterView, workload: Workload, ref: Reference, waiting: list[Thing]) -> Draft:
    thing, namespace = workload.thing, workload.thing.namespace
    holder = view.find(ref.kind, namespace, ref.name)
    said = _said(view, workload, ref)
    cited = [view.cite(thing, ref.key_path if holder is not None else ref.name_path), *said[:2]]
    fixes: list[Fix] = []
    if holder is not None:
        near = nearest(ref.key, holder.map("data"))
        cited.append(
            view.cite(holder, "metadata.name", "data")
            if ref.kind == "ConfigMap"
            else view.cite(holder, "metadata.name")
        )
        what = f'{ref.kind} {ref.name} has no key "{ref.key}"' + (f' (it has "{near}")' if near else "")
        if near:
            fixes.append(
                set_path(
                    thing,
                    ref.key_path,
                    near,
                    f'Read key "{near}" of {ref.kind} {ref.name}',
                    "changes one word of the template; the object stays as it is",
                )
            )
        fixes.append(outside(f'Or add key "{ref.key}" to {ref.kind} {ref.name}', "its value must come from its owner"))
        field = ref.key_path
    else:
        others = [o for o in view.all(RESOURCE[ref.kind], namespace) if o.name not in ("kube-root-ca.crt", "default")]
        fitting = [o.name for o in others if not ref.key or not o.map("data") or ref.key in o.map("data")]
        near = nearest(ref.name, fitting) or (fitting[0] if len(fitting) == 1 and ref.key else "")
        what = f"{ref.kind} {ref.name} does not exist" + (f" ({near} does)" if near else "")
        if near:
            other = view.find(ref.kind, namespace, near)
            if other is not None:
                cited.append(view.cite(other, "metadata.name"))
            fixes.append(
                set_path(
                    thing,
                    ref.name_path,
                    near,
                    f"Point {thing.kind.lower()} {thing.name} at {ref.kind} {near}",
                    f"{near} exists" + (f' and has key "{ref.key}"' if ref.key else ""),
                )
            )
        fixes.append(
            outside(f"Or create {ref.kind} {ref.name} in namespace {namespace}", "its content must come from its owner")
        )
        field = ref.name_path
    sure = 0.95 if said else 0.85
    return Draft(
        CATEGORY[ref.kind],
        thing.target,
        field,
        f"{workload.name()} needs something that is not there: {what}.",
        sure,
        Level.WORKLOAD,
        tuple(cited),
        workload.keys,
        workload.keys,
        tuple(fixes),
    )


def cause(view: ClusterView, workload: Workload, container: Container) -> Draft | None:
    """Return the first missing reference of a workload, so that a container waiting for it is not told twice."""
    return next((d for d in analyze_one(view, workload)), None)


def analyze_one(view: ClusterView, workload: Workload) -> list[Draft]:
    """Return the missing references of one workload."""
    memo = view.memo("references")
    if "all" not in memo:
        memo["all"] = analyze(view)
    return [d for d in memo["all"] if workload.thing.key in d.about]
