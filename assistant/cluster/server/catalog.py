"""Which resources this API serves, and the discovery documents that say so."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources as package_data
from typing import Any

import msgspec

Object = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
CRUD = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

# Built-in groups whose objects carry their own kind and apiVersion inside lists are custom resources only: typed lists
# of the API server leave both away.
BUILTIN_GROUPS = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps",
        "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io",
        "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io",
        "scheduling.k8s.io", "storage.k8s.io",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource in one version, with its subresources."""

    group: str
    version: str
    name: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    subresources: frozenset[str]

    @property
    def api_version(self) -> str:
        """Return `group/version`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return the name as error texts have it: `deployments.apps`, `pods`."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def store(self) -> tuple[str, str]:
        """Return where the objects are kept: all versions of a resource share them, and so do both Event groups."""
        return ("", "events") if self.name == "events" else (self.group, self.name)

    @property
    def custom(self) -> bool:
        """Say whether this is a custom resource."""
        return self.group not in BUILTIN_GROUPS


class Catalog:
    """The resources of one cluster, from its recorded discovery and its custom resource definitions."""

    def __init__(self, lists: Iterable[Object], definitions: Iterable[Object] = ()) -> None:
        """Take APIResourceLists in their recorded order; without any, those of a plain 1.36 server."""
        recorded = list(lists) or builtin_lists()
        self._lists: dict[str, Object] = {item["groupVersion"]: item for item in recorded}
        for definition in definitions:
            for item in _lists_of(definition):
                known = self._lists.setdefault(item["groupVersion"], {**item, "resources": []})
                names = {entry["name"] for entry in known["resources"]}
                known["resources"] = [*known["resources"], *(r for r in item["resources"] if r["name"] not in names)]
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        for group_version, item in self._lists.items():
            group, _, version = group_version.rpartition("/")
            for entry in item["resources"]:
                if "/" in entry["name"]:
                    continue
                prefix = f"{entry['name']}/"
                subresources = (
                    r["name"].removeprefix(prefix) for r in item["resources"] if r["name"].startswith(prefix)
                )
                resource = Resource(
                    group, version, entry["name"], entry["kind"], bool(entry.get("namespaced")),
                    frozenset(entry.get("verbs", ())), frozenset(subresources),
                )  # fmt: skip
                self._by_path[group, version, entry["name"]] = resource
                self._by_kind.setdefault((group_version, entry["kind"]), resource)

    def find(self, group: str, version: str, name: str) -> Resource | None:
        """Return the resource at `/apis/<group>/<version>/<name>`, None when it is not served."""
        return self._by_path.get((group, version, name))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource for objects of a kind; another version of the same group is good enough."""
        exact = self._by_kind.get((api_version, kind))
        if exact:
            return exact
        group = api_version.rpartition("/")[0]
        return next((r for r in self._by_path.values() if r.group == group and r.kind == kind), None)

    def kinds(self, kind: str) -> list[Resource]:
        """Return the resources whose objects are of `kind`, in any group."""
        return [resource for resource in self._by_path.values() if resource.kind == kind]

    def serves(self, group: str, version: str) -> bool:
        """Say whether a group version exists."""
        return (f"{group}/{version}" if group else version) in self._lists

    def resource_list(self, group_version: str) -> Object | None:
        """Return the APIResourceList of `/apis/<group>/<version>`."""
        item = self._lists.get(group_version)
        if item is None:
            return None
        head = {"kind": "APIResourceList", "groupVersion": group_version, "resources": item["resources"]}
        return head if group_version == "v1" else {"kind": "APIResourceList", "apiVersion": "v1", **head}

    def groups(self) -> list[Object]:
        """Return the groups of `/apis` with their versions, the preferred one first as recorded."""
        found: dict[str, list[Object]] = {}
        for group_version in self._lists:
            group, _, version = group_version.rpartition("/")
            if group:
                found.setdefault(group, []).append({"groupVersion": group_version, "version": version})
        return [{"name": name, "versions": items, "preferredVersion": items[0]} for name, items in found.items()]

    def aggregated(self, *, core: bool) -> Object:
        """Return the APIGroupDiscoveryList of `/api` (core) or `/apis`."""
        groups: dict[str, Object] = {}
        for group_version, item in self._lists.items():
            group, _, version = group_version.rpartition("/")
            if bool(group) == core:
                continue
            entry = groups.setdefault(group, {"metadata": {"name": group} if group else {}, "versions": []})
            entry["versions"].append(
                {"version": version, "resources": _aggregate(item["resources"], group, version), "freshness": "Current"}
            )
        items = list(groups.values())
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregate(entries: list[Object], group: str, version: str) -> list[Object]:
    """Return the resources of one version; custom ones spell out their own group and come in sorted order."""
    made: dict[str, Object] = {}
    custom = group not in BUILTIN_GROUPS
    for entry in sorted(entries, key=lambda item: str(item["name"])) if custom else entries:
        name, _, subresource = entry["name"].partition("/")
        own = (group, version) if custom else ("", "")
        kind = {"group": entry.get("group", own[0]), "version": entry.get("version", own[1]), "kind": entry["kind"]}
        scope = "Namespaced" if entry.get("namespaced") else "Cluster"
        if not subresource:
            item: Object = {
                "resource": name,
                "responseKind": kind,
                "scope": scope,
                "singularResource": entry.get("singularName", ""),
                "verbs": entry.get("verbs", []),
            }
            item |= {key: entry[key] for key in ("shortNames", "categories") if entry.get(key)}
            made[name] = item
        elif name in made:
            made[name].setdefault("subresources", []).append(
                {"subresource": subresource, "responseKind": kind, "verbs": entry.get("verbs", [])}
            )
    return list(made.values())


def _lists_of(definition: Object) -> list[Object]:
    """Return the APIResourceLists that a CustomResourceDefinition adds."""
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    made = []
    for version in spec.get("versions") or []:
        if not version.get("served"):
            continue
        base: Object = {
            "name": names["plural"],
            "singularName": names.get("singular", ""),
            "namespaced": spec.get("scope") == "Namespaced",
            "kind": names["kind"],
            "verbs": CRUD,
        }
        base |= {key: names[key] for key in ("shortNames", "categories") if names.get(key)}
        entries = [base]
        subresources = version.get("subresources") or {}
        shared = {"singularName": "", "namespaced": base["namespaced"], "verbs": ["get", "patch", "update"]}
        if "status" in subresources:
            entries.append({**shared, "name": f"{names['plural']}/status", "kind": names["kind"]})
        if "scale" in subresources:
            scale = {"name": f"{names['plural']}/scale", "kind": "Scale", "group": "autoscaling", "version": "v1"}
            entries.append({**shared, **scale})
        made.append({"groupVersion": f"{spec['group']}/{version['name']}", "resources": entries})
    return made


def builtin_lists() -> list[Object]:
    """Return the APIResourceLists of the built-in groups of a 1.36 API server."""
    path = package_data.files("assistant.cluster.server.openapi") / "builtin.json.gz"
    return msgspec.json.decode(gzip.decompress(path.read_bytes()), type=list[dict[str, Any]])


def etag(body: bytes) -> str:
    """Return the strong entity tag of discovery and OpenAPI documents: the SHA-512 of the bytes in upper case."""
    return hashlib.sha512(body).hexdigest().upper()
