"""Which nodes a pod may go to: selectors, affinity, taints (rules of the scheduler plug-ins of the same names)."""

from __future__ import annotations

from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import Thing
from assistant.policy.quantity import quantity


def fits(pod: Thing, node: Thing) -> bool:
    """Say whether a node satisfies the pod's nodeSelector and its required node affinity."""
    if any(node.labels.get(k) != v for k, v in pod.map("spec.nodeSelector").items()):
        return False
    terms = rows(
        mapping(pod.map("spec.affinity.nodeAffinity").get("requiredDuringSchedulingIgnoredDuringExecution")).get(
            "nodeSelectorTerms"
        )
    )
    return not terms or any(all(_expression(e, node) for e in rows(t.get("matchExpressions"))) for t in terms)


def _expression(rule: object, node: Thing) -> bool:
    entry = mapping(rule)
    value, values = node.labels.get(text(entry.get("key"))), texts(entry.get("values"))
    match entry.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return bool(values) and quantity(value) > quantity(values[0])
        case "Lt":
            return bool(values) and quantity(value) < quantity(values[0])
        case _:
            return False


def selected(selector: object, node: Thing) -> bool:
    """Say whether a node satisfies a NodeSelector: one of its terms, and all of a term; an empty term takes no node."""
    return any(
        (bool(rows(t.get("matchExpressions"))) or bool(rows(t.get("matchFields"))))
        and all(_expression(e, node) for e in rows(t.get("matchExpressions")))
        and all(_named(e, node) for e in rows(t.get("matchFields")))
        for t in rows(mapping(selector).get("nodeSelectorTerms"))
    )


def _named(rule: object, node: Thing) -> bool:
    """Judge a field rule; the only field of a node that may be asked for is its name."""
    entry = mapping(rule)
    if entry.get("key") != "metadata.name":
        return False
    match entry.get("operator"):
        case "In":
            return node.name in texts(entry.get("values"))
        case "NotIn":
            return node.name not in texts(entry.get("values"))
        case _:
            return False


def untolerated(pod: Thing, node: Thing) -> list[str]:
    """Return the keys of a node's taints that keep a pod away, the cordon left out."""
    found = []
    for taint in node.rows("spec.taints"):
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not any(
            _tolerates(t, taint) for t in pod.rows("spec.tolerations")
        ):
            found.append(text(taint.get("key")))
    return [k for k in found if k != "node.kubernetes.io/unschedulable"]


def _tolerates(toleration: object, taint: object) -> bool:
    mine, its = mapping(toleration), mapping(taint)
    if mine.get("effect") and mine.get("effect") != its.get("effect"):
        return False
    if not mine.get("key"):
        return mine.get("operator") == "Exists"
    same = mine.get("key") == its.get("key")
    return same and (mine.get("operator") == "Exists" or text(mine.get("value")) == text(its.get("value")))
