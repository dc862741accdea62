"""Changes of a selector that make it match: one literal is exchanged for a value that devices have, and tried."""

from __future__ import annotations

from dataclasses import dataclass

from agents.expert.devices.inventory import Device, Inventory
from agents.expert.devices.requests import Selector, sift, value_of
from agents.expert.remedies import nearest
from assistant.domain.raw import mapping, text


@dataclass(frozen=True, slots=True)
class Change:
    """A selector's expression with `old` exchanged for `new`, and how many devices it matches then."""

    expression: str
    old: str
    new: str
    matches: int


def mended(known: Inventory, selector: Selector, devices: list[Device], count: int) -> Change | None:
    """Return the nearest change of one literal with which at least `count` of the devices match, None without one."""
    at = (selector.source.key, f"{selector.path} for {count}", "")
    if at not in known.sifted:
        known.sifted[at] = _mended(known, selector, devices, count)
    found: Change | None = known.sifted[at]
    return found


def _mended(known: Inventory, selector: Selector, devices: list[Device], count: int) -> Change | None:
    from agents.expert.cel.syntax import NotEvaluatedError, literals, parse

    try:
        found = literals(parse(selector.expression))
    except NotEvaluatedError:
        return None
    for literal in found:
        if not isinstance(literal.value, str):
            continue
        for new in _candidates(known, literal.value, devices):
            quoted = '"' + new.replace("\\", "\\\\").replace('"', '\\"') + '"'
            expression = selector.expression[: literal.start] + quoted + selector.expression[literal.end :]
            kept = sift(known, Selector(selector.source, selector.path, expression), devices)
            if not kept.error and not kept.unread and len(kept.kept) >= count:
                return Change(expression, literal.value, new, len(kept.kept))
    return None


def _candidates(known: Inventory, old: str, devices: list[Device]) -> list[str]:
    """Return what a literal may be exchanged for: amounts and versions from the highest, texts that look alike."""
    from agents.expert.cel.values import SelectorError, quantity_of, version_of

    values = {text(v) for d in devices for e in mapping(d.body.get("attributes")).values() for v in mapping(e).values()}
    amounts = {text(mapping(e).get("value", e)) for d in devices for e in mapping(d.body.get("capacity")).values()}
    versions = {text(mapping(e).get("version")) for d in devices for e in mapping(d.body.get("attributes")).values()}
    domains = {domain for d in devices for domain in value_of(known, d).attributes} | {d.driver for d in devices}
    for group, reader in ((amounts, quantity_of), (versions, version_of)):
        try:
            reader(old)
        except SelectorError:
            continue
        readable = [v for v in group if v and _reads(reader, v)]
        return sorted(readable, key=lambda v: reader(v), reverse=True)
    return [near for group in (domains, values) if (near := nearest(old, sorted(group)))]


def _reads(reader: object, value: str) -> bool:
    from agents.expert.cel.values import SelectorError

    try:
        reader(value)  # type: ignore[operator]
    except SelectorError:
        return False
    return True


def guarded(known: Inventory, selector: Selector, missing: str, devices: list[Device]) -> str:
    """Return an expression that asks first whether a device has the attribute, "" where that does not help."""
    from agents.expert.cel.syntax import Call, Index, Items, Literal, Node, NotEvaluatedError, Select, parse

    def domains(node: Node) -> list[str]:
        match node:
            case Select(of=Index(of=Select(field="attributes" | "capacity" as kind), key=Literal(value=str(domain)))):
                return [f'"{missing}" in device.{kind}["{domain}"]'] if node.field == missing else []
            case Index(of=Index(of=Select(field="attributes" | "capacity" as kind), key=Literal(value=str(domain)))):
                key = node.key
                return [f'"{missing}" in device.{kind}["{domain}"]'] if key == Literal(missing, *_span(key)) else []
            case Select(of=of):
                return domains(of)
            case Index(of=of, key=key):
                return domains(of) + domains(key)
            case Call(of=of, arguments=arguments):
                return (domains(of) if of is not None else []) + [d for a in arguments for d in domains(a)]
            case Items(items=items):
                return [d for i in items for d in domains(i)]
            case _:
                return []

    try:
        tests = list(dict.fromkeys(domains(parse(selector.expression))))
    except NotEvaluatedError:
        return ""
    expression = " && ".join([*tests, f"({selector.expression})"])
    tried = sift(known, Selector(selector.source, selector.path, expression), devices)
    return expression if tests and not tried.error and not tried.unread else ""


def _span(node: object) -> tuple[int, int]:
    return getattr(node, "start", 0), getattr(node, "end", 0)
