"""From a path to what it names; nothing here knows HTTP libraries."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from assistant.cluster.server.catalog import Catalog, Resource
from assistant.cluster.server.status import no_such_path


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path: a list (name empty), an object, or a subresource of one."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def parts_of(raw_path: str) -> list[str]:
    """Split a raw path and decode each part. Raises ApiError 404 for an encoded slash and for dot segments."""
    made = [unquote(part) for part in raw_path.strip("/").split("/")]
    if any("/" in part or part in (".", "..") or "\0" in part for part in made):
        raise no_such_path()
    return made


def target(catalog: Catalog, parts: list[str]) -> Target:
    """Resolve `/api/v1/…` or `/apis/<group>/<version>/…` with at least one part below. Raises ApiError 404."""
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    if rest[0] == "namespaces" and not group:
        # `namespaces/NAME/status` is a subresource of the namespace, any other third part a resource inside of it.
        if len(rest) <= 2 or (len(rest) == 3 and rest[2] in ("status", "finalize")):
            return _made(catalog, group, version, "", rest)
        return _made(catalog, group, version, rest[1], rest[2:])
    if rest[0] == "namespaces" and len(rest) >= 3:
        return _made(catalog, group, version, rest[1], rest[2:])
    return _made(catalog, group, version, "", rest)


def _made(catalog: Catalog, group: str, version: str, namespace: str, rest: list[str]) -> Target:
    resource = catalog.find(group, version, rest[0])
    name = rest[1] if len(rest) > 1 else ""
    subresource = "/".join(rest[2:])
    if resource is None or (namespace and not resource.namespaced):
        raise no_such_path()
    if name and resource.namespaced and not namespace:
        raise no_such_path()
    proxied = subresource.split("/")[0]
    if subresource and proxied not in resource.subresources:
        raise no_such_path()
    return Target(resource, namespace, name, subresource)
