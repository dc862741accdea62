"""Everything that is not a resource: version, health, discovery, OpenAPI."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from assistant.cluster.server import openapi_documents
from assistant.cluster.server.catalog import AGGREGATED, etag
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.representation import Form, encode, negotiate
from assistant.cluster.server.status import method_not_allowed, no_such_path

HEALTH = frozenset({"healthz", "livez", "readyz"})


class RootPaths:
    """Answers GET requests outside of the resources."""

    def __init__(self, cluster: Cluster) -> None:
        """Take the cluster whose catalog is shown."""
        self._cluster = cluster

    def answer(self, request: web.Request, parts: list[str]) -> web.Response:
        """Answer one request. Raises ApiError 404, 405 or 406."""
        known = parts[0] in HEALTH | {"version", "api", "apis", "openapi"}
        if not known:
            raise no_such_path()
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        match parts:
            case ["version"]:
                return _json(self._cluster.version())
            case ["healthz" | "livez" | "readyz", *_]:
                return self._health(request, parts)
            case ["api" | "apis"]:
                return self._groups(request, core=parts == ["api"])
            case ["api", "v1"]:
                return _json(self._cluster.catalog.resource_list("v1"))
            case ["apis", group]:
                found = next((item for item in self._cluster.catalog.groups() if item["name"] == group), None)
                if found is None:
                    raise no_such_path()
                return _json({"kind": "APIGroup", "apiVersion": "v1", **found})
            case ["apis", group, version]:
                listed = self._cluster.catalog.resource_list(f"{group}/{version}")
                if listed is None:
                    raise no_such_path()
                return _json(listed)
            case ["openapi", "v3"]:
                return _json(openapi_documents.index(self._cluster.catalog))
            case ["openapi", "v3", *rest]:
                return self._openapi(request, "/".join(rest))
            case _:
                raise no_such_path()

    def _groups(self, request: web.Request, *, core: bool) -> web.Response:
        wanted = negotiate(request.headers.get("Accept", ""), discovery=True)
        catalog = self._cluster.catalog
        if wanted.form is Form.AGGREGATED:
            data = encode(catalog.aggregated(core=core))
            tag = f'"{etag(data)}"'
            if request.headers.get("If-None-Match") == tag:
                return web.Response(status=304, headers={"ETag": tag, "Vary": "Accept"})
            return web.Response(body=data, headers={"Content-Type": AGGREGATED, "ETag": tag, "Vary": "Accept"})
        if core:
            address = {"clientCIDR": "0.0.0.0/0", "serverAddress": request.host}
            return _json({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]})
        return _json({"kind": "APIGroupList", "apiVersion": "v1", "groups": catalog.groups()})

    def _openapi(self, request: web.Request, path: str) -> web.Response:
        tag = openapi_documents.fingerprint(path)
        if not tag or not openapi_documents.served(self._cluster.catalog, path):
            raise no_such_path()
        headers = {"ETag": f'"{tag}"', "Vary": "Accept", "Content-Type": "application/json"}
        asked = request.query.get("hash")
        if asked is not None and asked != tag:
            return web.Response(status=301, headers={**headers, "Location": f"/openapi/v3/{path}?hash={tag}"})
        if request.headers.get("If-None-Match") == f'"{tag}"':
            return web.Response(status=304, headers={"ETag": f'"{tag}"', "Vary": "Accept"})
        if asked is not None:  # the address holds the content's hash, so it can be kept for ever
            headers["Cache-Control"] = "public, immutable"
        return web.Response(body=openapi_documents.document(path), headers=headers)

    def _health(self, request: web.Request, parts: list[str]) -> web.Response:
        if len(parts) > 1:
            if parts[1:] != ["ping"]:
                raise no_such_path()
            return web.Response(text="ok")
        if "verbose" not in request.query:
            return web.Response(text="ok")
        return web.Response(text=f"[+]ping ok\n{parts[0]} check passed\n")


def _json(value: Any) -> web.Response:
    return web.Response(body=encode(value) + b"\n", content_type="application/json")
