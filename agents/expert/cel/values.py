"""Values that Kubernetes adds to CEL: quantities, semantic versions, and the device that a selector looks at.

Sources: apiserver/pkg/cel (quantity, semver) and dynamic-resource-allocation/cel of Kubernetes; semver.org 2.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import total_ordering
from typing import Any

from agents.expert.cel.syntax import NotEvaluatedError
from assistant.domain.raw import mapping, text

_QUANTITY = re.compile(r"^([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,2})|([numkMGTPE]|[KMGTPE]i))?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SEMVER = re.compile(
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$"
)


class SelectorError(Exception):
    """A run-time error of CEL: the scheduler gives up on the whole pod when a selector ends so."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount in its base unit, exact."""

    amount: Fraction

    def __lt__(self, other: object) -> bool:
        """Compare by amount."""
        return self.amount < other.amount if isinstance(other, Quantity) else NotImplemented


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; what follows a plus counts for nothing."""

    numbers: tuple[int, int, int]
    pre: tuple[tuple[int, int, str], ...] = ()

    @property
    def order(self) -> tuple[object, ...]:
        """Return what versions are sorted by: one without a pre-release is the higher."""
        return (self.numbers, not self.pre, self.pre)

    def __lt__(self, other: object) -> bool:
        """Compare by precedence (semver 2.0.0, 11)."""
        return self.order < other.order if isinstance(other, Version) else NotImplemented


def quantity_of(value: str) -> Quantity:
    """Read a quantity. Raises SelectorError for what is none."""
    match = _QUANTITY.match(value)
    if match is None:
        raise SelectorError(f"'{value[:40]}' is no quantity")
    number = Fraction(match[1] + match[2].rstrip(".") if match[2] != "." else "0")
    if match[3]:
        return Quantity(number * Fraction(10) ** int(match[3][1:]))
    unit = match[4] or ""
    scale = Fraction(2) ** _BINARY[unit] if unit in _BINARY else Fraction(10) ** _DECIMAL[unit]
    return Quantity(number * scale)


def version_of(value: str, *, lenient: bool = False) -> Version:
    """Read a semantic version, with `lenient` also "v1.02". Raises SelectorError for what is none."""
    if lenient:
        head, dash, tail = value.removeprefix("v").partition("-")
        if "+" in head:
            raise NotEvaluatedError("a version with build data to be normalized")
        parts = [p.lstrip("0") or "0" if p.isdigit() else p for p in head.split(".")]
        value = ".".join(parts + ["0"] * (3 - len(parts))) + dash + tail
    match = _SEMVER.match(value)
    if match is None:
        raise SelectorError(f"'{value[:40]}' is no semantic version")
    pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in (match[4] or "").split(".") if part)
    return Version((int(match[1]), int(match[2]), int(match[3])), pre)


class Domains(dict[str, Any]):
    """A map whose missing keys are empty maps when they are looked up, as `device.attributes["domain"]` is."""

    def __missing__(self, key: str) -> dict[str, Any]:
        """Return an empty map for a domain that the device has nothing of."""
        return {}


@dataclass(frozen=True, slots=True)
class Given:
    """An optional value of CEL; `present` says whether it holds one."""

    present: bool
    value: Any = None


@dataclass(frozen=True, slots=True)
class DeviceValue:
    """The variable `device`. Fields are those of the API; anything else is not evaluated."""

    driver: str
    attributes: Domains
    capacity: Domains
    shared: bool = False
    broken: str = field(default="", compare=False)

    def get(self, name: str) -> Any:
        """Return a field. Raises NotEvaluatedError for one that is not known here, SelectorError for an odd device."""
        if self.broken:
            raise SelectorError(self.broken)
        match name:
            case "driver":
                return self.driver
            case "attributes":
                return self.attributes
            case "capacity":
                return self.capacity
            case "allowMultipleAllocations":
                return self.shared
        raise NotEvaluatedError(f"the field device.{name}")

    def alike(self, names: frozenset[str]) -> tuple[object, ...]:
        """Return what two devices share that a selector cannot tell apart which reaches no more than these names."""
        kept = [
            (kind, domain, key, type(value), value)
            for kind, values in (("a", self.attributes), ("c", self.capacity))
            for domain, entries in values.items()
            for key, value in entries.items()
            if key in names
        ]
        return (self.driver, self.shared, self.broken, *self.attributes, "", *self.capacity, "", *kept)


def device_value(driver: str, device: Mapping[str, Any]) -> DeviceValue:
    """Return a device of a ResourceSlice as selectors see it; names without a domain are in the driver's."""
    attributes, capacity = Domains(), Domains()
    broken = ""
    for name, entry in mapping(device.get("attributes")).items():
        domain, _, key = name.rpartition("/")
        try:
            value = _attribute(mapping(entry))
        except SelectorError as error:
            # The scheduler refuses the whole device then, so a selector may not say anything about it.
            broken = f"attribute {name}: {error}"
            continue
        attributes.setdefault(domain or driver, {})[key] = value
    for name, entry in mapping(device.get("capacity")).items():
        domain, _, key = name.rpartition("/")
        raw = mapping(entry).get("value", entry)
        try:
            amount = quantity_of(str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else text(raw))
        except SelectorError as error:
            broken = f"capacity {name}: {error}"
            continue
        capacity.setdefault(domain or driver, {})[key] = amount
    shared = device.get("allowMultipleAllocations") is True
    return DeviceValue(driver, attributes, capacity, shared, broken)


class _Strange:
    """An attribute of a form that is not known here; to use it is not evaluated."""


STRANGE = _Strange()


def _attribute(entry: Mapping[str, Any]) -> Any:
    match entry:
        case {"string": str(value)} | {"bool": bool(value)}:
            return value
        case {"int": int(value)} if not isinstance(value, bool):
            return value
        case {"version": str(value)}:
            return version_of(value)
        case _:
            return STRANGE
