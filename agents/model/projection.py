"""An object in the few lines that matter: `path: value`, so that a line is a quote and its path is the field to change.

What is left out is what the API server fills in and what nobody has to know; the whole object stays in the evidence.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from assistant.domain.raw import dig, mapping, rows, text

VALUE_CHARACTERS: Final = 400
LISTED: Final = 30
PIECE_CHARACTERS: Final = 1_000
"""Of a long line of a value that is shown whole, so that a page holds it."""
_KEY: Final = re.compile(r"[\w-]+")
_NAME: Final = re.compile(r"(?!\d+$|name=)[\w./-][\w./:-]*")
_OWN_WORDS: Final = ("data", "stringData", "binaryData", "metadata.labels", "metadata.annotations")
"""Where every key is somebody's own: none of them is noise."""
_EMPTY_SAYS_NOTHING: Final = frozenset({"", "securityContext", "loadBalancer", "status", "strategy", "annotations"})
_LEFT_OUT: Final = frozenset(
    {
        "apiVersion", "kind", "metadata.managedFields", "metadata.uid", "metadata.resourceVersion",
        "metadata.selfLink", "metadata.generateName", "metadata.namespace", "metadata.name",
    }
)  # fmt: skip
_NOISE: Final = frozenset(
    {
        "terminationMessagePath", "terminationMessagePolicy", "imageID", "containerID", "hostIP", "hostIPs", "podIPs",
        "enableServiceLinks", "preemptionPolicy", "qosClass", "uid", "blockOwnerDeletion", "lastProbeTime",
        "lastUpdateTime", "lastHeartbeatTime", "internalTrafficPolicy", "sessionAffinity", "ipFamilies",
        "ipFamilyPolicy", "clusterIPs", "allocatedResources", "progressDeadlineSeconds", "collisionCount",
        "terminationGracePeriodSeconds", "deprecatedServiceAccount", "recursiveReadOnly",
    }
)  # fmt: skip
_USUAL: Final[Mapping[str, object]] = {
    "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "protocol": "TCP", "readOnly": True,
    "scheme": "HTTP", "successThreshold": 1, "defaultMode": 420, "serviceAccount": "default", "controller": True,
    "revisionHistoryLimit": 10, "priority": 0, "started": True, "observedGeneration": None,
}  # fmt: skip
"""Values that say nothing, because nearly every object has them. `observedGeneration` is told where it lags."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_OWN_TOKEN: Final = "kube-api-access"  # noqa: S105 - the name of a volume
_ALWAYS_TOLERATED: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_CONDITION: Final = ("status", "reason", "message")


def project(raw: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the lines of an object, of what stands at `path` where one is given (then nothing is left out)."""
    if path:
        _, value = dig(raw, path)
        return [] if value is None else list(_lines(path, value, whole=True))
    meta, status = mapping(raw.get("metadata")), mapping(raw.get("status"))
    lines = list(_lines("", raw, whole=False))
    generation, seen = meta.get("generation"), status.get("observedGeneration")
    if isinstance(seen, int) and isinstance(generation, int) and seen < generation:
        lines.append(f"status.observedGeneration: {seen}")
    return lines


def _lines(path: str, value: object, *, whole: bool) -> Iterator[str]:
    match value:
        case dict():
            # Nothing chosen means everything chosen: `podSelector: {}`, a rule `{}`.
            if not value and path.rpartition(".")[2] not in _EMPTY_SAYS_NOTHING:
                yield f"{path}: {{}}"
            for key, item in value.items():
                yield from _entry(path, str(key), item, whole=whole)
        case list():
            if path.startswith("status.") and path.endswith("conditions"):
                yield from (_condition(path, each) for each in rows(value))
                return
            if all(not isinstance(item, dict | list) for item in value):
                yield _line(path, value)
                return
            places = _places(value)
            for place, item in zip(places, value[:LISTED], strict=False):
                if whole or not _is_usual(path, item):
                    yield from _lines(f"{path}[{place}]", item, whole=whole)
            if len(value) > LISTED:
                yield f"{path}: ({len(value) - LISTED} more)"
        case None if whole:
            return
        case str() if whole and len(value) > VALUE_CHARACTERS:
            yield f"{path}:"
            for line in value.splitlines():
                yield from (line[at : at + PIECE_CHARACTERS] for at in range(0, len(line), PIECE_CHARACTERS))
        case _:
            yield _line(path, value)


def _places(items: Sequence[object]) -> list[str]:
    """Return how each item of a list is called in a path: by its name, by its number where that does not lead there.

    Mounts of one volume share their name, and a name of digits would be read as a number.
    """
    names = [text(item.get("name")) if isinstance(item, dict) else "" for item in items]
    often = Counter(names)
    return [
        name if often[name] == 1 and _NAME.fullmatch(name) else str(number) for number, name in enumerate(names)
    ]  # fmt: skip


def _entry(path: str, key: str, item: object, *, whole: bool) -> Iterator[str]:
    inner = (f"{path}.{key}" if path else key) if _KEY.fullmatch(key) else f"{path}['{key}']"
    if not whole and not path.startswith(_OWN_WORDS):
        if inner in _LEFT_OUT or key in _NOISE:
            return
        if key in _USUAL and _USUAL[key] in (item, None):
            return
        if inner == "metadata.ownerReferences":
            yield from (f"{inner}: {text(each.get('kind'))}/{text(each.get('name'))}" for each in rows(item))
            return
        if key == "name" and path.endswith(f"[{item}]"):
            return  # stands in the path already
    if whole or key != _LAST_APPLIED:
        yield from _lines(inner, item, whole=whole)


def _is_usual(path: str, item: object) -> bool:
    entry = mapping(item)
    if path.endswith("tolerations"):
        return entry.get("key") in _ALWAYS_TOLERATED
    return path.endswith(("volumes", "volumeMounts")) and text(entry.get("name")).startswith(_OWN_TOKEN)


def _condition(path: str, condition: Mapping[str, Any]) -> str:
    # Pieces apart by bars stand so in the object, each for itself.
    said = [str(condition[each]) for each in _CONDITION if condition.get(each)]
    since = text(condition.get("lastTransitionTime"))
    return f"{path}[{text(condition.get('type'))}]: {' | '.join([*said, *([since] if since else [])])}"


def _line(path: str, value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown = " ".join(shown.split()) if len(shown) < 200 else shown.strip()
    cut = shown if len(shown) <= VALUE_CHARACTERS else f"{shown[:VALUE_CHARACTERS]}… ({len(shown)} characters)"
    return f"{path}: {cut}"


def within(lines: Sequence[str], characters: int) -> tuple[str, int]:
    """Return as many whole lines as fit, and how many were left out; the first one always, cut where it must be."""
    kept: list[str] = []
    room = characters
    for line in lines:
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:characters])
        room -= len(line) + 1
    return "\n".join(kept), len(lines) - len(kept)
