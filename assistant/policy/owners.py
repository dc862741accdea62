"""Who else keeps an object: GitOps tools, Helm, controllers above it, other writers of the same fields. Pure.

The labels and annotations are the ones that the tools document; they are claims, so they warn and never allow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from assistant.domain.proposal import Check, CheckResult
from assistant.policy.diff import BOOKKEEPING, Path, show_path
from assistant.policy.surroundings import Obj, Surroundings, at, controller_of, listed, name_of

_TRACKED: Final = "argocd.argoproj.io/tracking-id"
_INSTANCE: Final = "argocd.argoproj.io/instance"
_FLUX: Final = {"kustomize": "Kustomization", "helm": "HelmRelease"}
# Field managers that write again by themselves; what a person's tool wrote once stays as it is changed.
_CONTINUOUS: Final = re.compile(
    r"argocd|flux|kustomize-controller|helm-controller|controller|operator|autoscaler|vpa-|keda|karpenter|crossplane|fleet"
)
_BY_HAND: Final = re.compile(r"kubectl|pilothouse|helm$|k9s|lens|curl|python")


def keeper_paths(thing: Obj | None, owners: Iterable[Obj]) -> tuple[tuple[str, str, str], ...]:
    """Return the objects that tell where a GitOps tool takes this from: kind, namespace ("" unknown) and name."""
    for item in (thing, *owners):
        labels, notes = _marks(item)
        app = _argo_application(labels, notes)
        if app:
            namespace, _, name = app.rpartition("_")
            return (("Application", namespace, name),)
        for tool, kind in _FLUX.items():
            name = str(labels.get(f"{tool}.toolkit.fluxcd.io/name") or "")
            if name:
                return ((kind, str(labels.get(f"{tool}.toolkit.fluxcd.io/namespace") or ""), name),)
    return ()


def owner_check(around: Surroundings) -> Check:
    """Return who keeps this object and will put it back, with the place where to change it instead."""
    thing = around.thing
    for item in (thing, *around.owners):
        found = _gitops(item, around.keepers)
        if found:
            through = "" if item is thing else f"{item.get('kind') if item else ''} {name_of(item or {})} above it: "
            return Check("owner", CheckResult.WARN, through + found)
    direct = controller_of(thing)
    if direct is None:
        return Check("owner", CheckResult.PASS, "No GitOps tool, Helm release or controller is marked as its owner.")
    chain = [f"{direct.get('kind')} {direct.get('name')}"]
    chain += [f"{owner.get('kind')} {name_of(owner)}" for owner in around.owners[1:]]
    above = f", under {', under '.join(chain[1:])}" if chain[1:] else ""
    if around.deleting:
        return Check("owner", CheckResult.WARN, f"{chain[0]} controls it{above}, and makes it again.")
    if around.kind == "Pod":
        return Check("owner", CheckResult.WARN, f"{chain[0]} controls it{above}; the next pod has nothing of this.")
    return Check("owner", CheckResult.WARN, f"{chain[0]} controls it{above}, and will put it back; change {chain[-1]}.")


def _marks(item: Obj | None) -> tuple[Obj, Obj]:
    labels = at(item, "metadata", "labels", default={})
    notes = at(item, "metadata", "annotations", default={})
    return (labels if isinstance(labels, dict) else {}), (notes if isinstance(notes, dict) else {})


def _argo_application(labels: Obj, notes: Obj) -> str:
    # The tracking id is `application:group/Kind:namespace/name`; the application may be `namespace_name`.
    return str(labels.get(_INSTANCE) or "") or str(notes.get(_TRACKED) or "").partition(":")[0]


def _gitops(item: Obj | None, keepers: tuple[Obj, ...]) -> str:
    labels, notes = _marks(item)
    app = _argo_application(labels, notes)
    if app:
        return _argo(app, next((k for k in keepers if k.get("kind") == "Application"), None))
    for tool, kind in _FLUX.items():
        name = labels.get(f"{tool}.toolkit.fluxcd.io/name")
        if name:
            keeper = next((k for k in keepers if k.get("kind") == kind), None)
            return _flux(kind, str(name), keeper, notes)
    if labels.get("app.kubernetes.io/managed-by") == "Helm" or "meta.helm.sh/release-name" in notes:
        release = notes.get("meta.helm.sh/release-name", "unknown")
        place = notes.get("meta.helm.sh/release-namespace", "")
        where = f" -n {place}" if place else ""
        return (
            f"Helm release {release} holds it: its next upgrade may revert this; "
            f"change its values and run helm upgrade {release}{where}."
        )
    return ""


def _argo(app: str, keeper: Obj | None) -> str:
    name = app.rpartition("_")[2]
    if keeper is None:
        return f"Argo CD application {name} manages it and may revert this; change it in the repository it comes from."
    source: Obj = at(keeper, "spec", "source", default={}) or next(iter(at(keeper, "spec", "sources", default=[])), {})
    where = f"{source.get('repoURL', 'its repository')}, path {source.get('path', '.')}"
    automated = at(keeper, "spec", "syncPolicy", "automated")
    if automated is None:
        return f"Argo CD application {name} manages it: its next sync reverts this; change it in {where}."
    when = "within minutes (self-heal)" if at(automated, "selfHeal") is True else "at its next automatic sync"
    return f"Argo CD application {name} manages it and reverts this {when}; change it in {where}."


def _flux(kind: str, name: str, keeper: Obj | None, notes: Obj) -> str:
    tool = "kustomize" if kind == "Kustomization" else "helm"
    if notes.get(f"{tool}.toolkit.fluxcd.io/reconcile") == "disabled":
        return f"Flux {kind} {name} made it and is told not to reconcile it; the source differs then."
    if keeper is None:
        return f"Flux {kind} {name} manages it and may revert this; change it in the source it comes from."
    if at(keeper, "spec", "suspend") is True:
        return f"Flux {kind} {name} manages it and is suspended: it reverts this once it is resumed."
    source = at(keeper, "spec", "sourceRef", default={}) or at(keeper, "spec", "chart", "spec", "sourceRef", default={})
    where = f"{source.get('kind', 'its source')} {source.get('name', '')}".strip()
    if kind == "HelmRelease":
        on = at(keeper, "spec", "driftDetection", "mode") == "enabled"
        when = "at its next reconciliation" if on else "at its next upgrade"
        return f"Flux HelmRelease {name} manages it and reverts this {when}; change spec.values or {where}."
    every = at(keeper, "spec", "interval", default="its interval")
    path = at(keeper, "spec", "path", default="./")
    return f"Flux Kustomization {name} manages it and reverts this within {every}; change it in {where}, path {path}."


def fields_check(live: Obj | None, changed: Iterable[Path], manager: str, sub: str) -> Check | None:
    """Return which other field managers own the changed places (metadata.managedFields); None for no live object."""
    entries = at(live, "metadata", "managedFields", default=[])
    if live is None or not entries:
        return None
    paths = [path for path in changed if path and not any(path[: len(book)] == book for book in BOOKKEEPING)]
    again: dict[str, list[str]] = {}
    once: dict[str, list[str]] = {}
    for entry in entries:
        name = str(entry.get("manager") or "unknown") if isinstance(entry, dict) else "unknown"
        if not isinstance(entry, dict) or name == manager or entry.get("subresource", "") not in ("", sub, "scale"):
            continue
        places = [show_path(path) for path in paths if _owns(entry.get("fieldsV1"), path)]
        if not places:
            continue
        applies = entry.get("operation") == "Apply" and not _BY_HAND.search(name)
        keeps = again if applies or (_CONTINUOUS.search(name) and not _BY_HAND.search(name)) else once
        keeps.setdefault(name, []).extend(places)
    if again:
        text = "; ".join(f"{name} keeps {listed(dict.fromkeys(places), 3)}" for name, places in sorted(again.items()))
        return Check("fields", CheckResult.WARN, f"{text}, and may set it again.")
    if once:
        return Check("fields", CheckResult.PASS, f"Last set by {listed(sorted(once))}; nothing that writes by itself.")
    return Check("fields", CheckResult.PASS, "No other field manager owns what is changed.")


def _owns(fields: Any, path: Path) -> bool:
    here = fields
    for part in path:
        if not isinstance(here, dict):
            return False
        if set(here) <= {"."}:
            # A leaf above the place: the value is owned as a whole.
            return bool(here) or here is not fields
        step = _step(here, part)
        if step is None:
            return False
        here = here[step]
    return True


def _step(here: Obj, part: str) -> str | None:
    if not part.startswith("["):
        return f"f:{part}" if f"f:{part}" in here else None
    key, _, value = part[1:-1].partition("=")
    for name in here:
        if name.startswith("k:"):
            try:
                keys = json.loads(name[2:])
            except ValueError:
                continue
            if isinstance(keys, dict) and str(keys.get(key)) == value:
                return name
    return None
