"""Counts what goes with a namespace or a CustomResourceDefinition, without reading the objects."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from assistant.gate.facts import AGGREGATED, METADATA, Reader
from assistant.policy.surroundings import Obj, at

# Records of what happened, and what a controller derives: counted they would hide what matters.
_LEFT_OUT: Final = frozenset({"events", "endpointslices", "endpoints", "controllerrevisions"})
_SHOWN_NAMES: Final = 6


async def count_namespace(reader: Reader, namespace: str) -> tuple[tuple[str, int], ...]:
    """Return how many objects of each kind are in a namespace; kinds that could not be counted are in `unread`."""
    resources = await _resources(reader)
    space = quote(namespace, safe="")
    found = await asyncio.gather(
        *(_count(reader, f"{root}/namespaces/{space}/{name}", name) for root, name in resources)
    )
    return tuple((name, number) for (_, name), number in zip(resources, found, strict=True) if number)


async def count_instances(reader: Reader, crd: Obj | None) -> tuple[tuple[tuple[str, int], ...], tuple[Obj, ...]]:
    """Return how many objects a CustomResourceDefinition has, and the first of them."""
    group, plural = at(crd, "spec", "group"), at(crd, "spec", "names", "plural")
    versions = [v for v in at(crd, "spec", "versions", default=[]) if isinstance(v, dict) and v.get("served")]
    if not versions or not group or not plural:
        return (), ()
    path = quote(f"/apis/{group}/{versions[0]['name']}/{plural}", safe="/")
    status, value = await reader.get(f"{path}?limit={_SHOWN_NAMES}", METADATA)
    if status == 404:
        return (), ()
    if status != 200:
        reader.unread.append(str(plural))
        return (), ()
    items = tuple(item for item in at(value, "items", default=[]) if isinstance(item, dict))
    return ((str(plural), _total(reader, str(plural), value)),), items


async def _resources(reader: Reader) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for root in ("/api", "/apis"):
        status, value = await reader.get(root, AGGREGATED)
        if status != 200 or value.get("kind") != "APIGroupDiscoveryList":
            reader.unread.append("the list of kinds")
            continue
        for group in at(value, "items", default=[]):
            name = str(at(group, "metadata", "name", default=""))
            # The first version is the preferred one; the others show the same objects again.
            for version in at(group, "versions", default=[])[:1]:
                base = f"{root}/{name}/{version.get('version')}" if name else f"{root}/{version.get('version')}"
                if version.get("freshness") == "Stale":
                    reader.unread.append(f"{name} objects")
                    continue
                found += [(base, str(r.get("resource"))) for r in version.get("resources") or [] if _holds(r)]
    return found


def _holds(resource: Obj) -> bool:
    verbs = resource.get("verbs") or []
    return (
        resource.get("scope") == "Namespaced"
        and "list" in verbs
        and "delete" in verbs
        and resource.get("resource") not in _LEFT_OUT
    )


async def _count(reader: Reader, path: str, name: str) -> int:
    status, value = await reader.get(f"{path}?limit=1", METADATA)
    if status == 404:
        return 0
    if status != 200:
        reader.unread.append(name)
        return 0
    return _total(reader, name, value)


def _total(reader: Reader, name: str, value: Obj) -> int:
    seen = len(at(value, "items", default=[]))
    left = at(value, "metadata", "remainingItemCount", default=0)
    if at(value, "metadata", "continue") and not left:
        # More than these, and the server does not say how many.
        reader.unread.append(f"all {name}")
    return seen + (left if isinstance(left, int) else 0)
