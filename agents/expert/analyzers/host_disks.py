"""The disk that a bare-metal host is provisioned to: its root device hints against what the inspection found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.expert.draft import Fix
from agents.expert.remedies import outside, set_path
from assistant.domain.action import RiskLevel
from assistant.domain.raw import fold_int, text, texts
from assistant.domain.view import ClusterView, Thing

HINTS = "spec.rootDeviceHints"
_SAME = {
    "hctl": "hctl",
    "serialNumber": "serialNumber",
    "wwn": "wwn",
    "wwnWithExtension": "wwnWithExtension",
    "wwnVendorExtension": "wwnVendorExtension",
}
"""Hints that have to equal a disk's field; `model` and `vendor` are parts of it (metal3.io RootDeviceHints)."""


@dataclass(frozen=True, slots=True)
class NoDisk:
    """Why no disk fits: the hint's path, the words, ways to mend it, and the object that lists the disks."""

    field: str
    why: str
    fixes: tuple[Fix, ...]
    facts: Thing | None


def disks_of(view: ClusterView, host: Thing) -> tuple[list[Mapping[str, Any]], Thing | None]:
    """Return the disks that the inspection found, and the object that says so: HardwareData, or the old status."""
    facts = view.find("HardwareData", host.namespace, host.name)
    if facts is not None and facts.rows("spec.hardware.storage"):
        return facts.rows("spec.hardware.storage"), facts
    return host.rows("status.hardware.storage"), None


def hints_of(host: Thing) -> Mapping[str, Any]:
    """Return the hints of a host that say something."""
    return {k: v for k, v in host.map(HINTS).items() if v not in (None, "", 0)}


def fits(disk: Mapping[str, Any], name: str, value: object) -> bool:
    """Say whether a disk fits one hint; sizes are in gigabytes of 1024³ bytes, as Ironic reads them."""
    match name:
        case "deviceName":
            return value in (disk.get("name"), *texts(disk.get("alternateNames")))
        case "model" | "vendor":
            return text(value).lower() in text(disk.get(name)).lower()
        case "minSizeGigabytes":
            return fold_int(disk.get("sizeBytes")) >= fold_int(value) * 2**30
        case "rotational":
            return bool(disk.get("rotational")) is value
        case _:
            return name not in _SAME or text(disk.get(_SAME[name])).lower() == text(value).lower()


def no_disk(view: ClusterView, host: Thing) -> NoDisk:
    """Say which hint no disk of the host fits, and what disks it has."""
    hints = hints_of(host)
    disks, facts = disks_of(view, host)
    wrong = [n for n, v in hints.items() if disks and not any(fits(d, n, v) for d in disks)]
    name = wrong[0] if wrong else next(iter(hints), "")
    field = f"{HINTS}.{name}" if name else HINTS
    asked = f"{name} {hints.get(name)}" if name else "a disk"
    if not disks:
        fix = outside(
            "Compare the hints with the disks that the machine has (HardwareData, or its console)",
            "the inspection's list of them could not be read",
        )
        return NoDisk(field, f"no disk of it fits its root device hints ({asked})", (fix,), facts)
    listed = ", ".join(_shown(d) for d in disks[:6])
    fixes = [
        outside(
            f"Set {HINTS} to the disk that is meant, one of {listed}",
            "whoever knows what is on them decides: the image overwrites the disk",
        )
    ]
    rest = {n: v for n, v in hints.items() if n != name}
    left = [d for d in disks if all(fits(d, n, v) for n, v in rest.items())]
    if name == "deviceName" and len(left) == 1 and text(left[0].get("name")):
        only = text(left[0].get("name"))
        title = f"Provision to {only}, its only {'disk' if len(disks) == 1 else 'disk that fits the other hints'}"
        fix = set_path(host, field, only, title, "whatever is on it is overwritten; ask first")
        fixes.insert(0, replace(fix, risk=RiskLevel.HIGH))
    return NoDisk(field, f"no disk of it fits root device hint {asked}: it has {listed}", tuple(fixes), facts)


def _shown(disk: Mapping[str, Any]) -> str:
    size = fold_int(disk.get("sizeBytes")) // 2**30
    model = re.sub(r"\s+", " ", text(disk.get("model")))[:24]
    return " ".join(p for p in (text(disk.get("name")), f"{size} GiB" if size else "", model) if p)
