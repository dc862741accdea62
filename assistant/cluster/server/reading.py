"""Lists with selectors, chunks and resource versions, joined from bytes that were encoded once."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Entry, Object
from assistant.cluster.server.representation import Form, Wanted, encode, metadata_only, table
from assistant.cluster.server.selectors import exact_name, field_selector, label_selector
from assistant.cluster.server.status import bad_request, expired, too_large_version

GONE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a list or a watch is about."""

    resource: Resource
    namespace: str
    matches: Callable[[Object], bool] | None
    name: str = ""


def scope(resource: Resource, namespace: str, query: Mapping[str, str], name: str = "") -> Scope:
    """Read the selectors of a request. Raises ApiError 400."""
    tests: list[Callable[[Object], bool]] = []
    if query.get("labelSelector"):
        requirements = label_selector(query["labelSelector"])
        tests.append(lambda item: all(r.holds(item["metadata"].get("labels") or {}) for r in requirements))
    fields = query.get("fieldSelector", "")
    if fields:
        tests.append(field_selector(fields, resource))
    if name:
        tests.append(lambda item: item["metadata"]["name"] == name)
    matches = (lambda item: all(test(item) for test in tests)) if tests else None
    return Scope(resource, namespace, matches, name or exact_name(fields))


def number(query: Mapping[str, str], name: str) -> int:
    """Return a whole number of the query, 0 when it is not there. Raises ApiError 400."""
    text = query.get(name, "")
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 18:
        raise bad_request(f'strconv.ParseInt: parsing "{text[:40]}": invalid syntax')
    return int(text)


def version_of(cluster: Cluster, query: Mapping[str, str]) -> int:
    """Return the resourceVersion that was asked for, 0 for any. Raises ApiError 400, or 504 for one from the future."""
    text = query.get("resourceVersion", "")
    if text and (not text.isdecimal() or len(text) > 18):
        raise bad_request(
            f'resourceVersion: Invalid value: "{text[:40]}": strconv.ParseUint: parsing "{text[:40]}": invalid syntax'
        )
    wanted = int(text or 0)
    if wanted > cluster.objects.version:
        raise too_large_version(wanted, cluster.objects.version)
    return wanted


def list_body(cluster: Cluster, what: Scope, query: Mapping[str, str], wanted: Wanted) -> bytes:
    """Return the JSON of a list. Raises ApiError."""
    objects = cluster.objects
    limit, asked = number(query, "limit"), version_of(cluster, query)
    match_rule = query.get("resourceVersionMatch", "")
    if match_rule and match_rule not in ("Exact", "NotOlderThan"):
        raise bad_request(
            f'resourceVersionMatch: Unsupported value: "{match_rule}": supported values: "Exact", "NotOlderThan", ""'
        )
    if match_rule and not query.get("resourceVersion"):
        raise bad_request(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        )
    if match_rule == "Exact" and asked == 0:
        raise bad_request(
            'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        )
    version, start = objects.version, ""
    if query.get("continue"):
        version, start = _token(cluster, query["continue"])
        if query.get("resourceVersion"):
            raise bad_request("specifying resource version is not allowed when using continue")
    elif match_rule == "Exact" or (limit and asked):
        version = asked
        if asked < objects.floor:
            raise expired(f"The resourceVersion for the provided list is too old: {asked} ({objects.floor})")
    found = objects.entries_at(version, what.resource.store, what.namespace, start)
    if what.matches:
        test = what.matches
        found = ((key, entry) for key, entry in found if test(entry.item))
    meta: Object = {"resourceVersion": str(version)}
    chosen: list[tuple[str, Entry]] = list(islice(found, limit)) if limit else list(found)
    rest = next(found, None) if limit else None
    if rest is not None:
        token = {"v": "meta.k8s.io/v1", "rv": version, "start": f"/{chosen[-1][0]}\0"}
        meta["continue"] = (
            base64.urlsafe_b64encode(json.dumps(token, separators=(",", ":")).encode()).decode().rstrip("=")
        )
        if not what.matches:  # with a selector the API server does not know how many there are
            meta["remainingItemCount"] = 1 + sum(1 for _ in found)
    return _encoded(cluster, what.resource, (entry for _, entry in chosen), meta, wanted, query)


def _encoded(
    cluster: Cluster,
    resource: Resource,
    entries: Iterator[Entry],
    meta: Object,
    wanted: Wanted,
    query: Mapping[str, str],
) -> bytes:
    if wanted.form is Form.TABLE:
        items = (entry.item for entry in entries)
        return encode(table(cluster, resource, items, meta, wanted.version, query.get("includeObject", "Metadata")))
    if wanted.form is Form.METADATA:
        kind, api_version = "PartialObjectMetadataList", f"meta.k8s.io/{wanted.version}"
        parts = [encode(metadata_only(entry.item, wanted.version)) for entry in entries]
    else:
        kind, api_version = f"{resource.kind}List", resource.api_version
        parts = [_item(cluster, resource, entry) for entry in entries]
    head = encode({"kind": kind, "apiVersion": api_version, "metadata": meta})
    return b"".join((head[:-1], b',"items":[', b",".join(parts), b"]}"))


def _item(cluster: Cluster, resource: Resource, entry: Entry) -> bytes:
    """Return an object as it stands in a list: typed lists leave apiVersion and kind away, custom ones do not."""
    if entry.item["apiVersion"] == resource.api_version and not resource.custom:
        return entry.body
    item = cluster.in_version(entry.item, resource)
    if resource.custom:
        return encode(item)
    return encode({key: value for key, value in item.items() if key not in ("apiVersion", "kind")})


def _token(cluster: Cluster, text: str) -> tuple[int, str]:
    """Read a continue token. Raises ApiError 400 for garbage and 410 for one that is too old."""
    try:
        token = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        kind, version, start = token["v"], token["rv"], token["start"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    if (
        kind != "meta.k8s.io/v1"
        or not isinstance(version, int)
        or not isinstance(start, str)
        or ".." in start.split("/")
    ):
        raise bad_request(
            "invalid continue token: continue key is not valid: server does not recognize this encoded version"
        )
    key = start.removeprefix("/")
    if version == -1:
        return cluster.objects.version, key
    if version < cluster.objects.floor or version > cluster.objects.version:
        token = {"v": "meta.k8s.io/v1", "rv": -1, "start": start}
        fresh = base64.urlsafe_b64encode(json.dumps(token, separators=(",", ":")).encode()).decode().rstrip("=")
        raise expired(GONE, fresh)
    return version, key
