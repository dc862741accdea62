"""Deletions that do not end: objects with a finalizer that nobody takes away, and the namespaces that wait for them."""

from __future__ import annotations

from datetime import timedelta

from agents.expert.draft import Draft, Fix, Level
from agents.expert.remedies import merge_patch, outside
from assistant.domain.action import RiskLevel
from assistant.domain.raw import text, texts
from assistant.domain.view import ClusterView, Thing, when

PATIENCE = timedelta(minutes=2)
BUILT_IN = frozenset({"foregroundDeletion", "orphan", "kubernetes"})


def analyze(view: ClusterView) -> list[Draft]:
    """Return what keeps deletions from ending."""
    found = []
    explained: set[str] = set()
    for resource in view.resources:
        for thing in view.all(resource):
            if not thing.deleting or thing.kind == "Namespace":
                continue
            if thing.kind == "ResourceClaim" and thing.rows("status.reservedFor"):
                continue  # it goes with its last pod, which analyzers/device_claims.py names
            left = [f for f in texts(thing.at("metadata.finalizers")) if f not in BUILT_IN]
            asked = when(thing.at("metadata.deletionTimestamp"))
            if left and (asked is None or view.now - asked > PATIENCE or _waits(view, thing.namespace)):
                found.append(_stuck(view, thing, left))
                explained.add(thing.namespace)
    for home in view.all("namespaces"):
        if home.text("status.phase") == "Terminating" and (not view.namespace or home.name == view.namespace):
            found.append(_namespace(view, home, home.name in explained))
            found += _served(view, home)
    return found


def _served(view: ClusterView, home: Thing) -> list[Draft]:
    """Return the API services that are down and without which the contents of a namespace cannot be listed."""
    broken = home.condition("NamespaceDeletionDiscoveryFailure")
    if broken.get("status") != "True":
        return []
    index = next(i for i, c in enumerate(home.rows("status.conditions")) if c is broken or c == broken)
    found = []
    for service in view.all("apiservices.apiregistration.k8s.io"):
        group = service.name.split(".", 1)[-1]
        table = service.rows("status.conditions")
        bad = next(
            (i for i, c in enumerate(table) if c.get("type") == "Available" and c.get("status") == "False"), None
        )
        if bad is None or group not in text(broken.get("message")):
            continue
        found.append(
            Draft(
                "finalizer",
                service.target,
                "status.conditions[Available]",
                f"Namespace {home.name} cannot end, because API {service.name} is not available: "
                f"{text(table[bad].get('message'))[:120]}.",
                0.93,
                Level.PLATFORM,
                (view.cite(home, f"status.conditions[{index}]"), view.cite(service, f"status.conditions[{bad}]")),
                frozenset({service.key}),
                frozenset({service.key, home.key}),
                (
                    outside(
                        "Bring back the Service and pods behind this API",
                        (
                            "the namespace ends by itself then; deleting the APIService is right only where nobody "
                            "uses it any more"
                        ),
                    ),
                ),
            )
        )
    return found


def _waits(view: ClusterView, namespace: str) -> bool:
    home = view.find("Namespace", "", namespace)
    return home is not None and home.text("status.phase") == "Terminating"


def _stuck(view: ClusterView, thing: Thing, left: list[str]) -> Draft:
    kept = [f for f in texts(thing.at("metadata.finalizers")) if f not in left]
    by_hand = merge_patch(
        thing,
        {"metadata": {"finalizers": kept}},
        f"Take the finalizer off {thing.kind} {thing.name} by hand",
        "the last resort: whatever its controller was to clean up stays behind",
        "none: the object is gone then",
    )
    last = Fix(by_hand.title, RiskLevel.CRITICAL, by_hand.reason, by_hand.action, by_hand.kubectl, "none")
    first = outside(
        f"Bring back the controller that owns {', '.join(left)}",
        "it cleans up and takes its finalizer away; the least invasive way",
    )
    if left == ["kubernetes.io/pvc-protection"] or left == ["kubernetes.io/pv-protection"]:
        first, last = (
            outside("Stop the pods that still use it", "the protection ends by itself then"),
            outside("Keep the finalizer: it protects data in use", "taking it away loses data"),
        )
    home = f"Namespace//{thing.namespace}"
    return Draft(
        "finalizer",
        thing.target,
        "metadata.finalizers",
        f"{thing.kind} {thing.name} cannot be deleted: finalizer {', '.join(left)} stays, so its "
        "controller does not do its part.",
        0.93,
        Level.OBJECT,
        (view.cite(thing, "metadata.finalizers", "metadata.deletionTimestamp"),),
        frozenset({thing.key}),
        frozenset({thing.key, home}),
        (first, last),
    )


def _namespace(view: ClusterView, home: Thing, explained: bool) -> Draft:
    table = home.rows("status.conditions")
    bad = [
        i
        for i, c in enumerate(table)
        if c.get("status") == "True" and text(c.get("type")) not in ("NamespaceDeletionDiscoveryFailure",)
    ]
    broken = next(
        (
            i
            for i, c in enumerate(table)
            if c.get("type") == "NamespaceDeletionDiscoveryFailure" and c.get("status") == "True"
        ),
        None,
    )
    index = broken if broken is not None else bad[-1] if bad else 0
    said = text(table[index].get("message")) if table else "no reason is given"
    return Draft(
        "finalizer",
        home.target,
        f"status.conditions[{index}]",
        f"Namespace {home.name} stays Terminating: {said[:160]}.",
        0.6,
        Level.TRAFFIC,
        (view.cite(home, "status.phase", f"status.conditions[{index}]"),),
        frozenset({home.key}),
        frozenset({home.key}),
        (
            outside(
                "Delete or mend what is left in the namespace; never its own finalizer",
                "otherwise objects are left behind without a home",
            ),
        ),
        missing="" if explained else "which objects are left in it",
    )
