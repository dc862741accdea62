"""The OpenAPI v3 documents: an index with hashes, the documents, 304 and the redirect for an outdated hash."""

from __future__ import annotations

import functools
import gzip
from importlib import resources as package_data

from assistant.cluster.server.catalog import Catalog, etag


@functools.cache
def _packed() -> dict[str, bytes]:
    folder = package_data.files("assistant.cluster.server.openapi")
    names = (entry.name for entry in folder.iterdir() if entry.name.endswith(".json.gz"))
    skipped = ("fields.json.gz", "builtin.json.gz")
    return {name.removesuffix(".json.gz"): (folder / name).read_bytes() for name in names if name not in skipped}


@functools.cache
def fingerprint(path: str) -> str:
    """Return the hash of a document, "" when there is none at that path (`api/v1`, `apis/apps/v1`)."""
    data = _packed().get(path.replace("/", "_"))
    return etag(data) if data else ""


def served(catalog: Catalog, path: str) -> bool:
    """Say whether the cluster has the API that a document describes."""
    parts = path.split("/")
    if parts[0] == "apis" and len(parts) == 3:
        return catalog.serves(parts[1], parts[2])
    if parts[0] == "apis" and len(parts) == 2:
        return any(group["name"] == parts[1] for group in catalog.groups())
    return True


def index(catalog: Catalog) -> dict[str, dict[str, dict[str, str]]]:
    """Return the document of `/openapi/v3`."""
    paths = sorted(_path(name) for name in _packed())
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={fingerprint(path)}"}
            for path in paths
            if served(catalog, path)
        }
    }


def document(path: str) -> bytes:
    """Return one document as JSON bytes."""
    return gzip.decompress(_packed()[path.replace("/", "_")])


def _path(name: str) -> str:
    head, *rest = name.split("_")
    return "/".join([head, *rest])
