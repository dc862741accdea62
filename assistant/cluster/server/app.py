"""The HTTP face of a recorded cluster: authentication, authorisation, routing, and one line of the request log each."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import yaml as yaml_text
from aiohttp import web

from assistant.cluster.server import bodies, logs, reading, removing, reviews, rights, watching, writing
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object
from assistant.cluster.server.representation import encode, negotiate, one
from assistant.cluster.server.root_paths import RootPaths
from assistant.cluster.server.routes import Target, parts_of, target
from assistant.cluster.server.status import ApiError, forbidden, method_not_allowed, unauthorized
from assistant.cluster.server.subresources import scale_of, scale_to

MAX_BODY_BYTES = 3 * 1024 * 1024
"""The bound of the real API server for one request."""
LOG = logging.getLogger(__name__)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_PUBLIC = frozenset({"healthz", "livez", "readyz", "version"})


class RequestLog:
    """One JSON line a request, on disk before the answer leaves."""

    def __init__(self, path: str | None) -> None:
        """Open `path` for appending; None keeps no log."""
        self._file = open(path, "ab", buffering=0) if path else None  # noqa: SIM115, PTH123 (lives as long as the server)

    def write(self, request: web.Request, status: int) -> None:
        """Append one line."""
        if self._file is None:
            return
        line = {
            "time": datetime.now(UTC).isoformat(),
            "method": request.method,
            "path": request.path,
            "query": request.query_string,
            "user_agent": request.headers.get("User-Agent", ""),
            "status": status,
        }
        self._file.write(encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


class Api:
    """Answers requests from a Cluster."""

    def __init__(self, cluster: Cluster, token: str, log: RequestLog) -> None:
        """Take the cluster, the one bearer token that is good, and the log."""
        self._cluster = cluster
        self._token = token
        self._log = log
        self._roots = RootPaths(cluster)
        self._streams: set[asyncio.Task[Any]] = set()

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_shutdown.append(self._shut_down)
        return app

    async def _shut_down(self, app: web.Application) -> None:
        for task in list(self._streams):
            task.cancel()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        except ApiError as error:
            answer = _failure(error)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            answer = _failure(ApiError(413, "RequestEntityTooLarge", text, {}))
        except Exception as error:
            # A fault of ours is answered and logged like any other request: the request log must not have holes.
            LOG.exception("%s %s failed", request.method, request.path)
            text = f"Internal error occurred: {type(error).__name__}"
            answer = _failure(ApiError(500, "InternalError", text, {"causes": [{"message": text}]}))
        if not answer.prepared:
            self._seal(request, answer)
        return answer

    def _seal(self, request: web.Request, answer: web.StreamResponse) -> None:
        """Set what every answer has and log it; the Date is the cluster's, so that clients can tell ages."""
        answer.headers["Date"] = format_datetime(self._cluster.clock.now(), usegmt=True)
        answer.headers.setdefault("Cache-Control", "no-cache, private")
        self._log.write(request, answer.status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        parts = parts_of(request.rel_url.raw_path)
        resource_path = (parts[0] == "api" and len(parts) > 2 and parts[1] == "v1") or (
            parts[0] == "apis" and len(parts) > 3
        )
        if not resource_path:
            if user is rights.ANONYMOUS and parts[0] not in _PUBLIC:
                path = request.path
                text = f'forbidden: User "{user.name}" cannot {request.method.lower()} path "{path}"'
                raise ApiError(403, "Forbidden", text, {})
            return self._roots.answer(request, parts)
        what = target(self._cluster.catalog, parts)
        self._authorize(user, request, what)
        match request.method:
            case "GET" | "HEAD":
                return await self._read(request, what)
            case "POST" | "PUT" | "PATCH" | "DELETE":
                return await self._write(request, what, user)
            case _:
                raise method_not_allowed()

    def _user(self, request: web.Request) -> rights.User:
        header = request.headers.get("Authorization", "")
        if not header:
            return rights.ANONYMOUS
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise unauthorized()
        name = request.headers.get("Impersonate-User", "")
        if name:
            return rights.impersonated(name, request.headers.getall("Impersonate-Group", []))
        return rights.RECORDED

    def _authorize(self, user: rights.User, request: web.Request, what: Target) -> None:
        resource = what.resource
        verb = _VERBS.get(request.method, "")
        if request.method in ("GET", "HEAD"):
            verb = "get" if what.name else "watch" if _true(request, "watch") else "list"
        elif request.method == "DELETE":
            verb = "delete" if what.name else "deletecollection"
        subresource = what.subresource.split("/")[0]
        namespace = what.namespace or (what.name if resource.store == ("", "namespaces") else "")
        attempt = rights.Attempt(verb, resource.group, resource.name, subresource, namespace, what.name)
        if user is rights.ANONYMOUS or not rights.allowed(self._cluster, user, attempt)[0]:
            scope = f'in the namespace "{what.namespace}"' if what.namespace else "at the cluster scope"
            shown = f"{resource.name}/{subresource}" if subresource else resource.name
            why = f'User "{user.name}" cannot {verb} resource "{shown}" in API group "{resource.group}" {scope}'
            raise forbidden(resource, what.name, why)

    async def _read(self, request: web.Request, what: Target) -> web.StreamResponse:
        cluster, query = self._cluster, request.query
        if what.subresource:
            return await self._read_subresource(request, what)
        wanted = negotiate(request.headers.get("Accept", ""))
        if what.name and not _true(request, "watch"):
            reading.version_of(cluster, query)
            item = writing.current(cluster, what.resource, what.namespace, what.name)
            return _body(
                one(cluster, what.resource, item, wanted, query.get("includeObject", "Metadata")), yaml=wanted.yaml
            )
        scope = reading.scope(what.resource, what.namespace, query, what.name)
        warnings = []
        if not cluster.holds(what.namespace) and what.resource.namespaced:
            warnings.append(
                f"the bundle does not hold the objects of namespace {what.namespace}: an empty list says nothing"
            )
        if _true(request, "watch"):
            watching.check(cluster, query)
            return await self._stream(
                request, watching.events(cluster, scope, query, wanted), "application/json", warnings
            )
        data = reading.list_body(cluster, scope, query, wanted)
        if wanted.yaml:
            return _body(msgspec.json.decode(data), warnings, yaml=True)
        return _raw(data + b"\n", warnings)

    async def _read_subresource(self, request: web.Request, what: Target) -> web.StreamResponse:
        cluster = self._cluster
        match what.subresource:
            case "status":
                item = writing.current(cluster, what.resource, what.namespace, what.name)
                return _body(cluster.in_version(item, what.resource))
            case "scale":
                return _body(scale_of(cluster, what.resource, what.namespace, what.name))
            case "log":
                found = logs.read_log(cluster, what.resource, what.namespace, what.name, request.query)
                if found.running and _true(request, "follow"):
                    return await self._stream(request, self._follow(what, found.text), "text/plain", [])
                return web.Response(body=found.text, content_type="text/plain")
            case _:
                raise _not_recorded(what.subresource)

    async def _follow(self, what: Target, text: bytes) -> AsyncIterator[bytes]:
        """Yield a log and end when its pod goes, is replaced, or the cluster moves on to other logs."""
        if text:
            yield text
        changed = asyncio.Event()
        stop = self._cluster.objects.listen(lambda change: changed.set())
        try:
            pod = self._cluster.objects.get(what.resource.store, what.namespace, what.name)
            uid, source = (pod or {}).get("metadata", {}).get("uid"), self._cluster.log_source
            while pod and pod["metadata"].get("uid") == uid and self._cluster.log_source is source:
                changed.clear()
                await changed.wait()
                pod = self._cluster.objects.get(what.resource.store, what.namespace, what.name)
        finally:
            stop()

    async def _stream(
        self, request: web.Request, lines: AsyncIterator[bytes], content_type: str, warnings: list[str]
    ) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.content_type = content_type
        _warn(answer, warnings)
        self._seal(request, answer)
        await answer.prepare(request)
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
        try:
            async for line in lines:
                await answer.write(line)
            await answer.write_eof()
        except ConnectionError:
            return answer  # the client has left; that is how watches end
        finally:
            if task is not None:
                self._streams.discard(task)
        return answer

    async def _write(self, request: web.Request, what: Target, user: rights.User) -> web.StreamResponse:
        cluster, query, resource = self._cluster, request.query, what.resource
        data = await request.read()
        media = request.headers.get("Content-Type", "")
        write = writing.Write(
            resource, what.namespace, what.name, _manager(request), bodies.dry_run(query.getall("dryRun", [])),
            what.subresource, query.get("fieldValidation", "Warn"), _true(request, "force"),
        )  # fmt: skip
        if request.method == "DELETE":
            return self._delete(request, what, write, bodies.options(data, media))
        if request.method == "POST" and (resource.group, resource.name) in reviews.REVIEWS:
            body = bodies.read(data, media, resource.kind)
            return _body(reviews.review(cluster, resource.name, user, body, what.namespace), status=201)
        wanted = negotiate(request.headers.get("Accept", ""))
        if request.method == "POST" and what.subresource == "eviction":
            body = bodies.read(data, media, "Eviction")
            return _body(removing.evict(cluster, write, body), status=201)
        if what.subresource not in ("", "status", "scale", "resize", "finalize", "approval"):
            raise _not_recorded(what.subresource)
        if request.method == "POST":
            if what.name or (resource.namespaced and not what.namespace):
                raise method_not_allowed()
            made, status = writing.create(cluster, write, bodies.read(data, media, resource.kind)), 201
        elif not what.name:
            raise method_not_allowed()
        elif request.method == "PUT":
            if what.subresource == "scale":
                made, status = scale_to(cluster, write, None, bodies.read(data, media, "Scale")), 200
            else:
                made, status = writing.replace(cluster, write, bodies.read(data, media, resource.kind)), 200
        else:
            kind, patch = bodies.read_patch(data, media, resource)
            if kind == writing.APPLY_PATCH and not query.get("fieldManager"):
                raise _no_manager()
            if what.subresource == "scale":
                made, status = scale_to(cluster, write, kind, patch), 200
            else:
                made, new = writing.patched(cluster, write, kind, patch)
                status = 201 if new else 200
        removing.sweep_namespaces(cluster)
        if what.subresource != "scale":
            made = one(cluster, resource, made, wanted, query.get("includeObject", "Metadata"))
        return _body(made, write.warnings, status=status)

    def _delete(self, request: web.Request, what: Target, write: writing.Write, options: Object) -> web.StreamResponse:
        cluster, query = self._cluster, request.query
        if what.subresource:
            raise method_not_allowed()
        for name in ("propagationPolicy", "gracePeriodSeconds"):
            if name in query and name not in options:
                options[name] = query[name] if name == "propagationPolicy" else reading.number(query, name)
        write.dry_run = write.dry_run or bodies.dry_run(list(options.get("dryRun") or []))
        if what.name:
            answer = removing.delete(cluster, write, options)
            removing.sweep_namespaces(cluster)
            return _body(answer)
        if what.resource.namespaced and not what.namespace:
            raise method_not_allowed()
        scope = reading.scope(what.resource, what.namespace, query)
        found = cluster.objects.items(what.resource.store, what.namespace)
        chosen = [item for item in found if scope.matches is None or scope.matches(item)]
        gone = removing.delete_all(cluster, write, options, chosen)
        meta = {"resourceVersion": str(cluster.objects.version)}
        head = {"kind": f"{what.resource.kind}List", "apiVersion": what.resource.api_version, "metadata": meta}
        return _body({**head, "items": gone})


def _true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1", "t")


def _manager(request: web.Request) -> str:
    """Return the field manager: the named one, else the user agent up to its slash (apiserver, handlers/create.go)."""
    return (
        request.query.get("fieldManager") or request.headers.get("User-Agent", "").partition("/")[0][:128] or "unknown"
    )


def _warn(answer: web.StreamResponse, warnings: list[str]) -> None:
    for text in dict.fromkeys(warnings):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
        answer.headers.add("Warning", f'299 - "{quoted}"')


def _raw(data: bytes, warnings: list[str] | None = None, *, status: int = 200) -> web.Response:
    answer = web.Response(body=data, status=status, content_type="application/json")
    _warn(answer, warnings or [])
    return answer


def _body(value: Any, warnings: list[str] | None = None, *, status: int = 200, yaml: bool = False) -> web.Response:
    if yaml:
        text = yaml_text.safe_dump(value, sort_keys=False)
        return web.Response(text=text, status=status, content_type="application/yaml")
    return _raw(encode(value) + b"\n", warnings, status=status)


def _failure(error: ApiError) -> web.Response:
    if not error.reason:
        return web.Response(text=f"{error.message}\n", status=error.code)
    answer = _raw(encode(error.status()) + b"\n", status=error.code)
    if error.details and "retryAfterSeconds" in error.details:
        answer.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return answer


def _not_recorded(subresource: str) -> ApiError:
    text = f"a recorded cluster runs no containers and issues no credentials, so {subresource} is not served"
    return ApiError(501, "NotImplemented", text, {})


def _no_manager() -> ApiError:
    message = "Required value: is required for apply patch"
    causes = [{"reason": "FieldValueRequired", "message": message, "field": "fieldManager"}]
    text = f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {message}'
    return ApiError(422, "Invalid", text, {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes})
