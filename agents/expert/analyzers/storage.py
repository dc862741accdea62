"""Claims that are not bound, volumes that cannot be attached or mounted."""

from __future__ import annotations

import re

from agents.expert.analyzers.volumes import mounts, placed
from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import create, delete, json_patch, nearest, outside
from agents.expert.workload import YOUNG, workload_of
from assistant.domain.action import RiskLevel
from assistant.domain.evidence import Citation
from assistant.domain.raw import mapping, text, texts
from assistant.domain.view import ClusterView, Thing
from assistant.policy.quantity import quantity

CLASSES = "storageclasses.storage.k8s.io"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def analyze(view: ClusterView) -> list[Draft]:
    """Return what is wrong with claims and with the volumes of waiting pods."""
    users: dict[str, list[Thing]] = {}
    for pod in view.all("pods"):
        if not pod.may_hold("persistentVolumeClaim"):
            continue
        for volume in pod.rows("spec.volumes"):
            name = text(mapping(volume.get("persistentVolumeClaim")).get("claimName"))
            if name:
                users.setdefault(f"{pod.namespace}/{name}", []).append(pod)
    found = []
    for claim in view.all("persistentvolumeclaims"):
        pods = users.get(f"{claim.namespace}/{claim.name}", [])
        if claim.text("status.phase") != "Bound" and not claim.deleting:
            draft = _unbound(view, claim, pods)
            if draft is not None:
                found.append(draft)
    return found + mounts(view) + placed(view)


def _keys(view: ClusterView, claim: Thing, pods: list[Thing]) -> frozenset[str]:
    keys = {claim.key}
    for pod in pods:
        keys |= workload_of(view, pod).keys
    return frozenset(keys)


def _unbound(view: ClusterView, claim: Thing, pods: list[Thing]) -> Draft | None:
    events = view.events_of(claim)
    said = next(
        (e for e in events if e.text("reason") in ("ProvisioningFailed", "FailedBinding", "VolumeMismatch")), None
    )
    cited = [view.cite(claim, "spec.storageClassName", "status.phase")] + (
        [view.cite(said, "message")] if said is not None else []
    )
    keys = _keys(view, claim, pods)

    head = _maker(view, claim, pods)

    def draft(field: str, why: str, sure: float, fixes: list[Fix], note: bool = False) -> Draft:
        if head is not None and re.match(r"spec\.(storageClassName|accessModes|resources|volumeMode)", field):
            return _templated(view, head, claim, field, why, sure, tuple(cited), keys, fixes)
        return Draft(
            "storage",
            claim.target,
            field,
            f"PersistentVolumeClaim {claim.name} is not bound: {why}.",
            sure,
            Level.OBJECT,
            tuple(cited),
            keys,
            keys,
            tuple(fixes),
            note=note,
        )

    classes = view.all(CLASSES)
    name = claim.at("spec.storageClassName")
    holder = next((c for c in classes if c.name == name), None)
    volumes = [v for v in view.all("persistentvolumes") if v.text("spec.storageClassName") == text(name)]
    if claim.text("spec.volumeName") and view.complete("persistentvolumes"):
        volume = view.find("PersistentVolume", "", claim.text("spec.volumeName"))
        if volume is not None and volume.text("status.phase") == "Released":
            return _released(view, claim, volume, keys, tuple(cited))
        why = f"it asks for volume {claim.text('spec.volumeName')}, which " + (
            "belongs to another claim or does not fit" if volume is not None else "does not exist"
        )
        return draft(
            "spec.volumeName",
            why,
            0.9,
            [
                outside(
                    "Name a volume that is Available, or leave the choice to the cluster",
                    "a claim's volume cannot be changed",
                )
            ],
        )
    if text(name) and holder is None and view.complete(CLASSES) and not volumes:
        default = [c.name for c in classes if c.annotations.get(DEFAULT) == "true"]
        near = nearest(text(name), [c.name for c in classes]) or (default or [c.name for c in classes] or [""])[0]
        if near:
            cited.append(view.cite(next(c for c in classes if c.name == near), "metadata.name"))
        have = f"; the cluster has {', '.join(c.name for c in classes[:4])}" if classes else "; the cluster has none"
        return draft(
            "spec.storageClassName",
            f"StorageClass {name} does not exist{have}",
            0.95,
            _again(claim, {"storageClassName": near}, f"class {near}") if near else [],
        )
    if name is None and not any(c.annotations.get(DEFAULT) == "true" for c in classes) and view.complete(CLASSES):
        one = classes[0].name if len(classes) == 1 else ""
        return draft(
            "spec.storageClassName",
            "it names no StorageClass and the cluster has no default one",
            0.92,
            _again(claim, {"storageClassName": one}, f"class {one}")
            if one
            else [outside("Name a StorageClass", "there are several")],
        )
    message = said.text("message") if said is not None else ""
    modes = texts(claim.at("spec.accessModes"))
    if said is not None and re.search(r"volume ?mode|block", message, re.IGNORECASE):
        return draft(
            "spec.volumeMode",
            f"the provisioner makes no {claim.text('spec.volumeMode')} volumes: {message[:120]}",
            0.93,
            _again(claim, {"volumeMode": "Filesystem"}, "volumeMode Filesystem"),
        )
    if said is not None and re.search(
        r"access ?mode|ReadWriteMany|only support|not support|multi[- ]?node", message, re.IGNORECASE
    ):
        return draft(
            "spec.accessModes",
            f"the provisioner refuses access mode {', '.join(modes)}: {message[:120]}",
            0.93,
            _again(claim, {"accessModes": ["ReadWriteOnce"]}, "ReadWriteOnce"),
        )
    if (holder is not None and holder.text("provisioner") == "kubernetes.io/no-provisioner") or (
        not text(name) and name is not None
    ):
        return draft(
            *_static(claim, volumes),
            0.85,
            [outside("Make a volume that fits the claim", "this class does not make volumes by itself")],
        )
    if holder is not None and holder.text("volumeBindingMode") == "WaitForFirstConsumer" and not pods:
        return draft(
            "spec.storageClassName",
            "no pod uses it yet (WaitForFirstConsumer), which is as it should be",
            0.9,
            [],
            note=True,
        )
    if said is not None:
        field = (
            "spec.resources.requests.storage"
            if re.search(r"size|capacity|space|quota|larger|exceed", message, re.IGNORECASE)
            else "spec.storageClassName"
        )
        return draft(
            field, message[:160], 0.85, [outside("Act on what the provisioner says", "the claim and its class exist")]
        )
    waiting = next((e for e in events if e.text("reason") == "ExternalProvisioning"), None)
    if waiting is not None and view.now - claim.created > YOUNG:
        cited.append(view.cite(waiting, "message"))
        return draft(
            "spec.storageClassName",
            f"the provisioner of class {text(name)} does not answer",
            0.75,
            [outside("Look at the provisioner's pods and log", "it has been asked and makes no volume")],
        )
    return None


def _maker(view: ClusterView, claim: Thing, pods: list[Thing]) -> Thing | None:
    """Return the StatefulSet that made a claim from its template: the claim's name is TEMPLATE-SET-ORDINAL."""
    for head in view.all("statefulsets.apps", claim.namespace):
        for template in head.rows("spec.volumeClaimTemplates"):
            name = f"{text(mapping(template.get('metadata')).get('name'))}-{head.name}-"
            if claim.name.startswith(name) and claim.name.removeprefix(name).isdigit():
                return head
    return None


def _templated(
    view: ClusterView,
    head: Thing,
    claim: Thing,
    field: str,
    why: str,
    sure: float,
    cited: tuple[Citation, ...],
    keys: frozenset[str],
    fixes: list[Fix],
) -> Draft:
    names = [text(mapping(t.get("metadata")).get("name")) for t in head.rows("spec.volumeClaimTemplates")]
    index = next((i for i, n in enumerate(names) if claim.name.startswith(f"{n}-{head.name}-")), 0)
    place = f"spec.volumeClaimTemplates[{index}].{field}"
    note = outside(
        f"Make StatefulSet {head.name} again with a template that fits (kubectl delete "
        f"--cascade=orphan keeps its pods)",
        "volumeClaimTemplates cannot be changed in place, and the claim would be made the same way again",
    )
    return Draft(
        "storage",
        head.target,
        place,
        f"StatefulSet {head.name} makes claim {claim.name} from its volumeClaimTemplates, and it is not bound: {why}.",
        sure,
        Level.OBJECT,
        (view.cite(head, place), *cited),
        keys | {head.key},
        keys | {head.key},
        (note, *fixes),
    )


def _released(
    view: ClusterView, claim: Thing, volume: Thing, keys: frozenset[str], cited: tuple[Citation, ...]
) -> Draft:
    fix = json_patch(
        volume,
        [{"op": "remove", "path": "/spec/claimRef"}],
        f"Let volume {volume.name} go free for the new claim",
        "its data stays on it and becomes visible to whoever binds it: make sure that this is meant",
        "put spec.claimRef back",
    )
    note = outside(f"Save what is on volume {volume.name} first", "it still holds the data of the claim that is gone")
    return Draft(
        "storage",
        volume.target,
        "spec.claimRef",
        f"PersistentVolumeClaim {claim.name} is not bound: it asks for volume {volume.name}, "
        f"which is Released and still "
        "belongs to a claim that is gone (claimRef).",
        0.93,
        Level.OBJECT,
        (*cited, view.cite(volume, "spec.claimRef", "status.phase")),
        keys | {volume.key},
        keys,
        (note, fix),
    )


def _static(claim: Thing, volumes: list[Thing]) -> tuple[str, str]:
    want = quantity(claim.at("spec.resources.requests.storage"))
    free = [v for v in volumes if v.text("status.phase") == "Available"]
    if not free:
        return "spec.storageClassName", "no volume of its class is available"
    if all(quantity(v.at("spec.capacity.storage")) < want for v in free):
        return (
            "spec.resources.requests.storage",
            f"it asks for {claim.text('spec.resources.requests.storage')}, more than any available volume has",
        )
    return "spec.accessModes", f"no available volume offers {', '.join(texts(claim.at('spec.accessModes')))}"


def _again(claim: Thing, change: dict[str, object], what: str) -> list[Fix]:
    """Return delete and create: the spec of a claim is immutable; an unbound claim holds no data."""
    spec = {k: v for k, v in claim.map("spec").items() if k != "volumeName"} | change
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim.name, "namespace": claim.namespace},
        "spec": spec,
    }
    made = create(
        "persistentvolumeclaims",
        body,
        f"Create claim {claim.name} again with {what}",
        "the spec of a claim cannot be changed in place",
    )
    return [
        delete(
            claim, f"Delete the unbound claim {claim.name}", "it holds no data: it was never bound", RiskLevel.CRITICAL
        ),
        Fix(made.title, made.risk, made.reason, made.action, made.kubectl, made.undo, then=True),
    ]
