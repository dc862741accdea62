"""Requests of a claim or template in one form, whichever version of the API wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.expert.devices.inventory import CLASSES, Device, Inventory
from assistant.domain.raw import fold_int, mapping, rows, text
from assistant.domain.view import ClusterView, Thing

if TYPE_CHECKING:
    from agents.expert.cel.values import DeviceValue


@dataclass(frozen=True, slots=True)
class Selector:
    """One CEL selector: the object and path where it stands, and its expression."""

    source: Thing
    path: str
    expression: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request, or one alternative of `firstAvailable`.

    `name` is as in allocation results ("gpu", or "gpu/big" for an alternative), `path` where it stands in the claim
    or template, `capacity` what it takes of a device that is shared.
    """

    name: str
    path: str
    class_name: str
    selectors: tuple[Selector, ...]
    all: bool
    count: int
    admin: bool
    tolerations: tuple[Mapping[str, Any], ...] = field(compare=False, hash=False)
    capacity: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True, slots=True)
class Constraint:
    """An attribute that the devices of some requests have in common, or that tells each from the others."""

    path: str
    attribute: str
    distinct: bool
    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claim or template asks for: requests with their alternatives, and constraints."""

    source: Thing
    requests: tuple[tuple[Request, ...], ...]
    constraints: tuple[Constraint, ...]


def wanted(holder: Thing) -> Wanted:
    """Read the requests of a ResourceClaim or a ResourceClaimTemplate."""
    base = "spec.spec.devices" if holder.kind == "ResourceClaimTemplate" else "spec.devices"
    requests = []
    for i, row in enumerate(holder.rows(f"{base}.requests")):
        path, name = f"{base}.requests[{i}]", text(row.get("name"))
        options = rows(row.get("firstAvailable"))
        if options:
            requests.append(
                tuple(
                    _request(holder, f"{path}.firstAvailable[{j}]", f"{name}/{text(o.get('name'))}", o)
                    for j, o in enumerate(options)
                )
            )
        elif isinstance(row.get("exactly"), dict):
            requests.append((_request(holder, f"{path}.exactly", name, mapping(row["exactly"])),))
        else:
            requests.append((_request(holder, path, name, row),))
    constraints = []
    for i, row in enumerate(holder.rows(f"{base}.constraints")):
        same, apart = text(row.get("matchAttribute")), text(row.get("distinctAttribute"))
        own = row.get("requests")
        names = tuple(text(n) for n in own) if isinstance(own, list) else ()
        if same or apart:
            constraints.append(Constraint(f"{base}.constraints[{i}]", same or apart, bool(apart), names))
    return Wanted(holder, tuple(requests), tuple(constraints))


def _request(holder: Thing, path: str, name: str, row: Mapping[str, Any]) -> Request:
    selectors = tuple(
        Selector(holder, f"{path}.selectors[{i}].cel.expression", text(mapping(s.get("cel")).get("expression")))
        for i, s in enumerate(rows(row.get("selectors")))
    )
    every = row.get("allocationMode") == "All"
    return Request(
        name,
        path,
        text(row.get("deviceClassName")),
        selectors,
        every,
        1 if every else max(1, fold_int(row.get("count"), 1)),
        row.get("adminAccess") is True,
        tuple(rows(row.get("tolerations"))),
        mapping(mapping(row.get("capacity")).get("requests")),
    )


def class_selectors(view: ClusterView, name: str) -> tuple[Selector, ...] | None:
    """Return the selectors of a DeviceClass, None where there is no such class."""
    found = view.find("DeviceClass", "", name)
    if found is None:
        return None
    return tuple(
        Selector(found, f"spec.selectors[{i}].cel.expression", text(mapping(s.get("cel")).get("expression")))
        for i, s in enumerate(found.rows("spec.selectors"))
    )


def classes(view: ClusterView) -> list[str]:
    """Return the names of the device classes that there are."""
    return [c.name for c in view.all(CLASSES)]


def value_of(known: Inventory, device: Device) -> DeviceValue:
    """Return a device as selectors see it."""
    from agents.expert.cel.values import device_value  # read when the first selector is evaluated

    if device not in known.values:
        known.values[device] = device_value(device.driver, device.body)
    found: DeviceValue = known.values[device]
    return found


@dataclass(slots=True)
class Sifted:
    """What a selector leaves of some devices; `error` is what the scheduler would stumble over, `unread` what we do."""

    kept: list[Device]
    error: str = ""
    unread: str = ""


def sift(known: Inventory, selector: Selector, devices: list[Device]) -> Sifted:
    """Return the devices that a selector is true of; devices that it cannot tell apart are evaluated once."""
    from agents.expert.cel.evaluation import NotEvaluatedError, SelectorError, holds, reaches

    found = Sifted([])
    names = reaches(selector.expression)
    results: dict[object, bool | str] = {}
    for device in devices:
        value = value_of(known, device)
        alike = device if names is None else value.alike(names)
        if alike not in results:
            try:
                results[alike] = holds(selector.expression, value)
            except SelectorError as error:
                results[alike] = str(error)
            except NotEvaluatedError as error:
                found.unread = str(error)
                return found
        result = results[alike]
        if result is True:
            found.kept.append(device)
        elif isinstance(result, str):
            found.error = found.error or result
    return found
