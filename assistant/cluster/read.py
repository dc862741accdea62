"""What kinds a cluster has, and reading one kind so that a refusal becomes knowledge instead of an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.cluster.client import ClusterClient
from assistant.cluster.listing import KeptListing, Listing, Told
from assistant.cluster.pages import Keeping
from assistant.domain.raw import mapping, rows, text, texts
from assistant.domain.view import Knowledge
from assistant.errors import ClusterError, ForbiddenError, NotFoundError

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
"""One answer for all groups (Kubernetes 1.30, GA); an older server ignores it and sends the plain list of groups."""

KEPT: Mapping[str, Keeping] = {
    "pods": Keeping.PODS,
    "replicasets.apps": Keeping.OBJECTS,
    "endpointslices.discovery.k8s.io": Keeping.OBJECTS,
}
"""Kinds of which a large cluster has thousands, nearly all of them never looked at."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """A kind that the server serves, in its preferred version. `resource` is "plural.group", or the bare plural."""

    resource: str
    plural: str
    group: str
    version: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the version alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "") -> str:
        """Return the list path, of one namespace or of all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{place}/{self.plural}"


@dataclass(frozen=True, slots=True)
class KindRead:
    """What became of reading one kind."""

    resource: str
    namespace: str
    knowledge: Knowledge
    listing: Listing | KeptListing | None = None
    why: str = ""
    request: str = ""


async def discover(client: ClusterClient, told: Told | None = None) -> dict[str, KindInfo]:
    """Return the kinds that can be listed, by "plural.group". Raises ClusterError when nothing answers.

    A group whose own server is down is left out, as kubectl does; its APIService tells why.
    """
    core, named = await asyncio.gather(
        client.get_json("/api", accept=AGGREGATED, told=told), client.get_json("/apis", accept=AGGREGATED, told=told)
    )
    if text(core.get("kind")) == "APIGroupDiscoveryList" and text(named.get("kind")) == "APIGroupDiscoveryList":
        found = [info for answer in (core, named) for info in _aggregated(answer)]
    else:
        found = await _plain(client, core, named, told)
    kinds: dict[str, KindInfo] = {}
    for info in found:
        if "list" in info.verbs:
            kinds.setdefault(info.resource, info)
    return kinds


def _aggregated(answer: Mapping[str, Any]) -> list[KindInfo]:
    found = []
    for item in rows(answer.get("items")):
        group = text(mapping(item.get("metadata")).get("name"))
        for version in rows(item.get("versions")):
            for entry in rows(version.get("resources")):
                plural, kind = text(entry.get("resource")), text(mapping(entry.get("responseKind")).get("kind"))
                if plural and kind:
                    verbs = frozenset(texts(entry.get("verbs")))
                    found.append(
                        _info(
                            plural, group, text(version.get("version")), kind, entry.get("scope") == "Namespaced", verbs
                        )
                    )
    return found


async def _plain(
    client: ClusterClient, core: Mapping[str, Any], named: Mapping[str, Any], told: Told | None
) -> list[KindInfo]:
    places = [("", v) for v in texts(core.get("versions"))[:1]]
    for group in rows(named.get("groups")):
        preferred = text(mapping(group.get("preferredVersion")).get("version"))
        versions = [preferred, *(text(v.get("version")) for v in rows(group.get("versions")))]
        places += [(text(group.get("name")), v) for v in dict.fromkeys(versions) if v]

    async def one(group: str, version: str) -> list[KindInfo]:
        try:
            answer = await client.get_json(f"/apis/{group}/{version}" if group else f"/api/{version}", told=told)
        except ClusterError:
            return []
        return [
            _info(
                text(e.get("name")),
                group,
                version,
                text(e.get("kind")),
                e.get("namespaced") is True,
                frozenset(texts(e.get("verbs"))),
            )
            for e in rows(answer.get("resources"))
            if "/" not in text(e.get("name"))
        ]

    return [info for part in await asyncio.gather(*(one(g, v) for g, v in places)) for info in part]


def _info(plural: str, group: str, version: str, kind: str, namespaced: bool, verbs: frozenset[str]) -> KindInfo:
    return KindInfo(f"{plural}.{group}" if group else plural, plural, group, version, kind, namespaced, verbs)


async def read_kind(
    client: ClusterClient,
    kinds: Mapping[str, KindInfo],
    resource: str,
    namespace: str,
    told: Told | None = None,
) -> KindRead:
    """List one kind; what cannot be read becomes FORBIDDEN, ABSENT or FAILED with the reason."""
    info = kinds.get(resource)
    if info is None:
        return KindRead(resource, namespace, Knowledge.ABSENT, why="the cluster does not serve this kind")
    place = namespace if info.namespaced else ""
    path = info.path(place)
    try:
        keeping = KEPT.get(resource)
        listing = await (client.list_kept(path, keeping, told=told) if keeping else client.list(path, told=told))
    except ForbiddenError as error:
        return KindRead(resource, place, Knowledge.FORBIDDEN, why=error.detail or error.meaning, request=f"GET {path}")
    except NotFoundError as error:
        return KindRead(resource, place, Knowledge.ABSENT, why=error.detail or error.meaning, request=f"GET {path}")
    except ClusterError as error:
        why = f"{error.meaning} {error.detail}".strip()
        return KindRead(resource, place, Knowledge.FAILED, why=why, request=f"GET {path}")
    return KindRead(resource, place, Knowledge.LISTED, listing, why=listing.cut, request=listing.request)
